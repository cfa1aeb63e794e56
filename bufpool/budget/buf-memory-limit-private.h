/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

guint64 buf_memory_limit_read (const gchar *root, guint64 machine);

G_END_DECLS
