/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Chooses the singular or the plural: "1 allocation is outstanding", "2 allocations are
 * outstanding". */
static inline const gchar *
buf_words_choose (guint64 n, const gchar *one, const gchar *many)
{
  return n == 1 ? one : many;
}

gchar *buf_words_buffers (gsize n_buffers, guint64 buffer_size, gint64 bytes);

G_END_DECLS
