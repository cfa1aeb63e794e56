/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The size, in bytes, from which on a block gets pages of its own. */
#define BUF_LARGE_MIN_SIZE ((gsize) 128 * 1024)

/* How many bytes before the data belong to the caller. */
#define BUF_LARGE_ROOM 16

gboolean buf_large_is_available (void);
gpointer buf_large_alloc (gsize size, gsize alignment, gboolean zero_fill);
void buf_large_free (gpointer data);
void buf_large_clear (gpointer data, gsize size);
gsize buf_large_cut (gpointer data, gsize size);

G_END_DECLS
