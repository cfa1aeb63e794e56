/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "memory/buf-aligned-private.h"

/*
 * Aligned and optionally zeroed memory from the C library's allocator.
 *
 * Up to BUF_NATURAL_ALIGNMENT, a block comes from malloc() or calloc(). For larger alignments,
 * there are two kinds:
 *
 *   exact     posix_memalign() returns it, and zeros are written to it.
 *   embedded  It lies in a block of malloc() or calloc() that is larger by the alignment. The
 *             address of that block stands right before it.
 *
 * A large block of calloc() consists of fresh pages, which are zero and use no memory until they
 * are accessed. So a large zeroed block is embedded. All other aligned blocks are exact, which
 * avoids an extra page that is used only for a pointer. On systems without posix_memalign(), all
 * aligned blocks are embedded, so free() is the only function that frees blocks; the aligned
 * allocators of Windows need a function of their own, which must not be confused with free().
 *
 * The kind follows from the arguments, so buf_aligned_free() takes the same ones.
 */

/* From this size on, a block of calloc() usually consists of fresh pages, because allocators map
 * it. */
#define LARGE_SIZE ((gsize) 128 * 1024)

static gboolean
is_embedded (gsize size, gsize alignment, gboolean zero_fill)
{
  if (alignment <= BUF_NATURAL_ALIGNMENT)
    return FALSE;
#ifdef HAVE_POSIX_MEMALIGN
  return zero_fill && size >= LARGE_SIZE;
#else
  return TRUE;
#endif
}

static gpointer
new_natural (gsize size, gboolean zero_fill)
{
  return zero_fill ? calloc (1, size) : malloc (size);
}

/* Where the address of the block around @data is stored. */
static gpointer *
get_block_address (gpointer data)
{
  return (gpointer *) data - 1;
}

static gpointer
new_embedded (gsize size, gsize alignment, gboolean zero_fill)
{
  guint8 *block, *data;
  gsize whole;

  if (!g_size_checked_add (&whole, size, alignment))
    return NULL;
  block = new_natural (whole, zero_fill);
  if (block == NULL)
    return NULL;

  /* At least BUF_NATURAL_ALIGNMENT after the beginning, which is enough for a pointer. */
  data = block + alignment - (guintptr) block % alignment;
  *get_block_address (data) = block;
  ASAN_POISON_MEMORY_REGION (block, data - block);
  ASAN_POISON_MEMORY_REGION (data + size, block + whole - (data + size));
  return data;
}

static void
free_embedded (gpointer data)
{
  gpointer *address = get_block_address (data);

  ASAN_UNPOISON_MEMORY_REGION (address, sizeof *address);
  free (*address);
}

#ifdef HAVE_POSIX_MEMALIGN
static gpointer
new_exact (gsize size, gsize alignment, gboolean zero_fill)
{
  gpointer data;

  if (posix_memalign (&data, alignment, size) != 0)
    return NULL;
  if (zero_fill)
    memset (data, 0, size);
  return data;
}
#endif

/* Returns NULL if there is no memory. @alignment is a power of two, or 0 for the natural one. */
gpointer
buf_aligned_alloc (gsize size, gsize alignment, gboolean zero_fill)
{
  if (alignment <= BUF_NATURAL_ALIGNMENT)
    return new_natural (size, zero_fill);
#ifdef HAVE_POSIX_MEMALIGN
  if (!is_embedded (size, alignment, zero_fill))
    return new_exact (size, alignment, zero_fill);
#endif
  return new_embedded (size, alignment, zero_fill);
}

/* Takes the arguments with which @data was allocated. */
void
buf_aligned_free (gpointer data, gsize size, gsize alignment, gboolean zero_fill)
{
  if (is_embedded (size, alignment, zero_fill))
    free_embedded (data);
  else
    free (data);
}
