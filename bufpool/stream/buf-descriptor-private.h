/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

gint buf_descriptor_get (gpointer stream);
gssize buf_descriptor_read (gint fd, gpointer data, gsize size);
gssize buf_descriptor_write (gint fd, gconstpointer data, gsize size);
gboolean
buf_descriptor_wait (gint fd, gpointer stream, GIOCondition condition, GCancellable *cancellable);

G_END_DECLS
