/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

gboolean buf_number_parse (const gchar *text, guint64 most, guint64 *number);

G_END_DECLS
