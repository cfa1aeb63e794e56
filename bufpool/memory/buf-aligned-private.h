/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stddef.h>

#include <glib.h>

#if defined(__SANITIZE_ADDRESS__)
#define BUF_HAVE_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BUF_HAVE_ADDRESS_SANITIZER
#endif
#endif

#ifdef BUF_HAVE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)
#define ASAN_UNPOISON_MEMORY_REGION(address, size)
#endif

G_BEGIN_DECLS

/* The alignment of malloc(). Where max_align_t needs more, as on 32-bit Windows, malloc() does not
 * provide it. */
#define BUF_NATURAL_ALIGNMENT (MIN (_Alignof(max_align_t), 2 * sizeof (gpointer)))

gpointer buf_aligned_alloc (gsize size, gsize alignment, gboolean zero_fill);
void buf_aligned_free (gpointer data, gsize size, gsize alignment, gboolean zero_fill);

G_END_DECLS
