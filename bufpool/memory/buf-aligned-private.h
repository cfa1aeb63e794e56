/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stddef.h>

#include <glib.h>

G_BEGIN_DECLS

/* What malloc() aligns to by itself. Where max_align_t needs more, as on Windows with 32 bits,
 * malloc() does not give it. */
#define BUF_NATURAL_ALIGNMENT (MIN (_Alignof(max_align_t), 2 * sizeof (gpointer)))

gpointer buf_aligned_alloc (gsize size, gsize alignment, gboolean zero_fill);
void buf_aligned_free (gpointer data, gsize size, gsize alignment, gboolean zero_fill);

G_END_DECLS
