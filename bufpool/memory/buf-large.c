/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdlib.h>
#include <string.h>
#ifdef HAVE_MMAP
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "memory/buf-large-private.h"

/*
 * Large memory, in pages of its own.
 *
 * It comes from mmap() and not from malloc(): glibc raises its mmap() threshold with each large
 * block that is freed, up to 32 MiB. Large blocks are then in its heap, and what a program frees
 * there stays resident. Memory from mmap() is returned to the system when it is freed, and is zero
 * and aligned to a page without further work.
 *
 *   | first page                    | pages of the data            |
 *   |    ... BufLarge | room (16)   | size bytes            | rest |
 *
 * The page before the data is the price of data that begins at a page boundary. It is 3 percent of
 * the smallest large block. It has room for the header of an allocation.
 *
 * A process can have only a limited number of mappings (65530 on Linux). If there are no more, a
 * block of malloc() with the same layout is used.
 */

/* Stored right before the room. */
typedef struct
{
  gpointer base; /* const */
  gsize size;    /* of the mapping, from @base on; 0 for a block of malloc() */
} BufLarge;

static BufLarge *
get_large (gpointer data)
{
  return (BufLarge *) ((guint8 *) data - BUF_LARGE_ROOM) - 1;
}

static guint8 *
align_up (guint8 *address, gsize alignment)
{
  return address + (-(guintptr) address & (alignment - 1));
}

#ifdef HAVE_MMAP

static gsize
get_page_size (void)
{
  return sysconf (_SC_PAGESIZE);
}

/* If there are no more mappings, the system may not be able to unmap a part of a larger one. In
 * that case, the memory is returned, and only the addresses are lost. */
static void
unmap (guint8 *base, gsize size)
{
  if (size > 0 && munmap (base, size) != 0)
    madvise (base, size, MADV_DONTNEED);
}

/* A page, and @size aligned bytes: whole pages. */
static guint8 *
map_data (gsize size, gsize alignment, gsize page)
{
  gsize excess = MAX (alignment, page) - page;
  guint8 *mapping, *base, *data;
  gsize whole;

  if (!g_size_checked_add (&whole, size, page + excess))
    return NULL;
  mapping = mmap (NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED)
    return NULL;

  data = align_up (mapping + page, MAX (alignment, page));
  base = data - page;
  unmap (mapping, base - mapping);
  unmap (data + size, mapping + whole - (data + size));
  *get_large (data) = (BufLarge){ .base = base, .size = page + size };
  return data;
}

static guint8 *
map (gsize size, gsize alignment)
{
  gsize page = get_page_size ();
  gsize up;

  if (!g_size_checked_add (&up, size, page - 1))
    return NULL;
  return map_data (up - up % page, alignment, page);
}

#endif

/* The same layout from malloc(). */
static guint8 *
allocate_data (gsize size, gsize alignment, gboolean zero_fill)
{
  const gsize before = sizeof (BufLarge) + BUF_LARGE_ROOM;
  guint8 *base, *data;
  gsize whole;

  alignment = MAX (alignment, BUF_LARGE_ROOM);
  if (!g_size_checked_add (&whole, size, before + alignment))
    return NULL;
  base = zero_fill ? calloc (1, whole) : malloc (whole);
  if (base == NULL)
    return NULL;

  data = align_up (base + before, alignment);
  *get_large (data) = (BufLarge){ .base = base };
  return data;
}

/* Returns whether large memory comes from mmap(). */
gboolean
buf_large_is_available (void)
{
#ifdef HAVE_MMAP
  return TRUE;
#else
  return FALSE;
#endif
}

/* Returns the data, or NULL if there is no memory. @alignment is a power of two, or 0. The data is
 * usually aligned to a page anyway. */
gpointer
buf_large_alloc (gsize size, gsize alignment, gboolean zero_fill)
{
#ifdef HAVE_MMAP
  gpointer data = map (size, alignment);

  if (data != NULL)
    return data;
#endif
  return allocate_data (size, alignment, zero_fill);
}

void
buf_large_free (gpointer data)
{
  BufLarge large = *get_large (data);

#ifdef HAVE_MMAP
  if (large.size > 0)
    {
      unmap (large.base, large.size);
      return;
    }
#endif
  free (large.base);
}

/* From this size on, fresh pages are cheaper than writing zeros to existing ones, even if the
 * program accesses all of them. */
#define CLEAR_SIZE ((gsize) 1024 * 1024)

/* Fills the memory with zeros. Linux guarantees that pages it took back read as zero. */
void
buf_large_clear (gpointer data, gsize size)
{
#if defined(HAVE_MMAP) && defined(__linux__)
  gsize page = get_page_size ();

  if (size >= CLEAR_SIZE && get_large (data)->size > 0 &&
      madvise (data, (size + page - 1) / page * page, MADV_DONTNEED) == 0)
    return;
#endif
  memset (data, 0, size);
}

/* Returns the whole pages after the first @size bytes to the system. Returns how many bytes from
 * @data on remain, or G_MAXSIZE for all of them. */
gsize
buf_large_cut (gpointer data, gsize size)
{
#ifdef HAVE_MMAP
  BufLarge *large = get_large (data);
  gsize page = get_page_size ();
  gsize whole = (guint8 *) large->base + large->size - (guint8 *) data;
  gsize left = (size + page - 1) / page * page;

  if (large->size == 0 || left >= whole || munmap ((guint8 *) data + left, whole - left) != 0)
    return G_MAXSIZE;

  large->size -= whole - left;
  return left;
#else
  return G_MAXSIZE;
#endif
}
