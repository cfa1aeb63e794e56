/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Blocks in separate pages. The linker replaces functions of the C library by functions that count,
 * and that can fail. */

#include <errno.h>
#include <string.h>

#include "memory/buf-pool-allocation-private.h"
#include "pool/buf-pool-private.h"
#include "memory/wrapped-mmap.h"
#include "testing.h"

#define KIBIBYTE 1024
#define MEBIBYTE (1024 * 1024)

static gint64 n_mapped;       /* bytes */
static guint n_maps;          /* calls */
static guint n_mallocs;       /* calls with a large size */
static gboolean map_fails;    /* whether mmap() fails */
static gboolean unmap_fails;  /* whether munmap() fails */
static gboolean malloc_fails; /* whether malloc() fails for a large size */

void *__real_malloc (size_t size);
void *__real_calloc (size_t n, size_t size);
int __real_posix_memalign (void **memory, size_t alignment, size_t size);
void *__wrap_malloc (size_t size);
void *__wrap_calloc (size_t n, size_t size);
int __wrap_posix_memalign (void **memory, size_t alignment, size_t size);

void *
__wrap_mmap (void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
  void *mapping =
      map_fails ? MAP_FAILED : __real_mmap (address, size, protection, flags, fd, offset);

  n_maps++;
  n_mapped += mapping != MAP_FAILED ? (gint64) size : 0;
  return mapping;
}

int
__wrap_munmap (void *address, size_t size)
{
  if (unmap_fails)
    return -1;
  n_mapped -= (gint64) size;
  return __real_munmap (address, size);
}

static gboolean
is_to_fail (gsize size)
{
  if (size < BUF_LARGE_MIN_SIZE)
    return FALSE;
  n_mallocs++;
  return malloc_fails;
}

void *
__wrap_malloc (size_t size)
{
  return is_to_fail (size) ? NULL : __real_malloc (size);
}

void *
__wrap_calloc (size_t n, size_t size)
{
  return is_to_fail (n * size) ? NULL : __real_calloc (n, size);
}

int
__wrap_posix_memalign (void **memory, size_t alignment, size_t size)
{
  return is_to_fail (size) ? ENOMEM : __real_posix_memalign (memory, alignment, size);
}

static gsize
get_page_size (void)
{
  return sysconf (_SC_PAGESIZE);
}

static gboolean
is_mapped (guint8 *page)
{
  return msync (page, get_page_size (), MS_ASYNC) == 0;
}

static void
assert_zero (const guint8 *data, gsize size)
{
  g_assert_true (data[0] == 0 && memcmp (data, data + 1, size - 1) == 0);
}

static const gsize sizes[] = { 1, 128 * KIBIBYTE - 1, 128 * KIBIBYTE, 1000 * 1000, 3 * MEBIBYTE };

static void
assert_usable (gsize size, gsize alignment, gboolean zero_fill)
{
  for (guint round = 0; round < 3; round++)
    {
      guint8 *data = buf_large_alloc (size, alignment, zero_fill);

      g_assert_nonnull (data);
      g_assert_cmpuint ((guintptr) data % MAX (alignment, BUF_LARGE_ROOM), ==, 0);
      if (zero_fill || !map_fails)
        assert_zero (data, size);
      memset (data - BUF_LARGE_ROOM, 0xa5, BUF_LARGE_ROOM + size);
      buf_large_free (data);
      g_assert_cmpint (n_mapped, ==, 0);
    }
}

static void
assert_all_usable (void)
{
  for (gsize alignment = 1; alignment <= 2 * MEBIBYTE; alignment *= 2)
    for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
      {
        assert_usable (sizes[i], alignment == 1 ? 0 : alignment, FALSE);
        assert_usable (sizes[i], alignment == 1 ? 0 : alignment, TRUE);
      }
}

static void
test_usable (void)
{
  g_test_summary (
      "Large memory has its alignment, is zero, is writable from the room to the last byte, and is "
      "returned in full");

  assert_all_usable ();
}

static void
test_no_excess (void)
{
  g_test_summary ("Pages that are mapped for an alignment but not needed are unmapped immediately");

  for (gsize alignment = get_page_size (); alignment <= 2 * MEBIBYTE; alignment *= 2)
    {
      guint8 *data = buf_large_alloc (256 * KIBIBYTE, alignment, FALSE);

      g_assert_cmpint (n_mapped, ==, 256 * KIBIBYTE + get_page_size ());
      buf_large_free (data);
    }
}

static void
test_without_mappings (void)
{
  g_test_summary (
      "If nothing can be mapped, malloc() provides the same; if that fails, the request fails");

  map_fails = TRUE;
  assert_all_usable ();
  malloc_fails = TRUE;
  g_assert_null (buf_large_alloc (MEBIBYTE, 0, FALSE));
  g_assert_null (buf_large_alloc (MEBIBYTE, 4096, TRUE));
  malloc_fails = FALSE;
  map_fails = FALSE;
}

/* A memory checker would report what these tests do on purpose. */
static gboolean
is_checked (void)
{
  if (!buf_block_is_checked ())
    return FALSE;
  g_test_skip ("A memory checker is active");
  return TRUE;
}

static void
test_wrapping (void)
{
  g_test_summary ("A size that overflows fails");
  if (is_checked ())
    return;

  for (guint i = 0; i < 2; i++)
    {
      map_fails = i == 1;
      for (gsize less = 0; less <= 8192; less += 1024)
        {
          g_assert_null (buf_large_alloc (G_MAXSIZE - less, 0, FALSE));
          g_assert_null (buf_large_alloc (G_MAXSIZE - less, 4096, TRUE));
        }
    }
  map_fails = FALSE;
  g_assert_cmpint (n_mapped, ==, 0);
}

static void
test_not_unmapped (void)
{
  guint8 *data = buf_large_alloc (MEBIBYTE, 0, FALSE);

  g_test_summary ("If the system cannot unmap a block, its memory is returned");

  memset (data, 0xa5, MEBIBYTE);
  unmap_fails = TRUE;
  g_assert_cmpuint (buf_large_cut (data, 4096), ==, G_MAXSIZE);
  buf_large_free (data);
  unmap_fails = FALSE;
  assert_zero (data, MEBIBYTE);
  n_mapped = 0;
}

static void
test_cut (void)
{
  gsize page = get_page_size ();
  guint8 *data;

  g_test_summary ("A block that is cut keeps the whole pages that it needs, and their contents");
  if (is_checked ())
    return;

  data = buf_large_alloc (MEBIBYTE - 1, 0, FALSE);

  memset (data, 0xa5, MEBIBYTE - 1);
  g_assert_cmpuint (buf_large_cut (data, MEBIBYTE - 1), ==, G_MAXSIZE);
  g_assert_cmpuint (buf_large_cut (data, 10 * page + 1), ==, 11 * page);
  g_assert_cmpint (n_mapped, ==, 12 * page);
  g_assert_false (is_mapped (data + 11 * page));
  g_assert_cmpuint (buf_large_cut (data, 10 * page + 1), ==, G_MAXSIZE);
  g_assert_cmpuint (buf_large_cut (data, 1), ==, page);
  g_assert_true (is_mapped (data));
  g_assert_cmpint (data[page - 1], ==, 0xa5);
  buf_large_free (data);
  g_assert_cmpint (n_mapped, ==, 0);

  map_fails = TRUE;
  data = buf_large_alloc (MEBIBYTE, 0, FALSE);
  g_assert_cmpuint (buf_large_cut (data, 1), ==, G_MAXSIZE);
  buf_large_free (data);
  map_fails = FALSE;
}

/* Large blocks in a pool. */

static BufPool *
new_pool (gsize buffer_size, guint alignment, gboolean zero_fill, gint64 max_cached)
{
  return g_object_new (BUF_TYPE_POOL,
                       "buffer-size",
                       (guint64) buffer_size,
                       "max-memory",
                       (guint64) 64 * MEBIBYTE,
                       "alignment",
                       alignment,
                       "zero-fill",
                       zero_fill,
                       "max-cached-memory",
                       max_cached,
                       NULL);
}

/* Memory checkers see more of memory from malloc(). */
static gboolean
skip_if_never_large (void)
{
  if (!buf_block_is_checked ())
    return FALSE;
  g_test_skip ("Nothing is mapped under a memory checker");
  return TRUE;
}

static void
test_threshold (void)
{
  const gsize buffer_sizes[] = { 1000, 4096, 128 * KIBIBYTE - 1, 128 * KIBIBYTE, MEBIBYTE };

  g_test_summary (
      "Blocks of 128 KiB and more are mapped, but not if the pool was created without a cache");

  if (skip_if_never_large ())
    return;
  for (guint i = 0; i < G_N_ELEMENTS (buffer_sizes); i++)
    for (gsize n_buffers = 1; n_buffers * buffer_sizes[i] <= 300 * KIBIBYTE; n_buffers++)
      for (guint caches = 0; caches < 2; caches++)
        {
          gboolean large = n_buffers * buffer_sizes[i] >= 128 * KIBIBYTE && caches;
          g_autoptr (BufPool) pool = new_pool (buffer_sizes[i], 0, FALSE, caches ? -1 : 0);
          g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, n_buffers);

          g_assert_cmpint (n_mapped > 0, ==, large);
        }
  g_assert_cmpint (n_mapped, ==, 0);
}

/* Requests a block in one of several ways. */
static BufPoolAllocation *
request (BufPool *pool, gsize n_buffers, gboolean pinned)
{
  BufPoolAllocation *allocation = pinned ? buf_pool_try_allocate_pinned (pool, n_buffers, NULL)
                                         : buf_pool_try_allocate (pool, n_buffers, NULL);

  g_assert_nonnull (allocation);
  return allocation;
}

static void
test_kinds (void)
{
  const guint alignments[] = { 0, 4096, 65536 };

  g_test_summary (
      "Plain, pinned, aligned and zeroed large blocks have their properties, even when they are "
      "reused, and are freed");

  for (guint kind = 0; kind < 4 * G_N_ELEMENTS (alignments); kind++)
    {
      guint alignment = alignments[kind / 4];
      BufPool *pool = new_pool (65536, alignment, (kind & 1) != 0, -1);

      for (guint round = 0; round < 3; round++)
        {
          BufPoolAllocation *allocation = request (pool, 16, (kind & 2) != 0);
          guint8 *data = buf_pool_allocation_get_first (allocation);

          g_assert_cmpuint ((guintptr) data % MAX (alignment, 16), ==, 0);
          if (kind & 1)
            assert_zero (data, MEBIBYTE);
          memset (data, 0xa5, MEBIBYTE);
          test_assert_figures (pool, 16, 1);
          buf_pool_allocation_unref (allocation);
          test_assert_figures (pool, 0, 0);
        }
      buf_pool_trim (pool, 0);
      g_assert_cmpint (n_mapped, ==, 0);
      g_object_unref (pool);
    }
}

static void
test_many_references (void)
{
  g_autoptr (BufPool) pool = new_pool (65536, 0, FALSE, -1);
  BufPoolAllocation *allocation = request (pool, 16, FALSE);
  GBytes *view = buf_pool_allocation_get_bytes (allocation);

  g_test_summary ("A large block with a view is cached or freed when the view is dropped");

  buf_pool_allocation_unref (allocation);
  test_assert_figures (pool, 16, 1);
  g_bytes_unref (view);
  test_assert_figures (pool, 0, 0);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, MEBIBYTE);
  buf_pool_close (pool);
  g_assert_cmpint (n_mapped, ==, 0);
}

static void
test_limit_of_mappings (void)
{
  g_autoptr (BufPool) pool = new_pool (65536, 0, FALSE, -1);
  g_autoptr (GError) error = NULL;
  guint n = n_mallocs;

  g_test_summary (
      "If a process can map no more memory, blocks come from malloc(); if that fails, too, the "
      "request fails");

  if (skip_if_never_large ())
    return;
  map_fails = TRUE;
  buf_pool_allocation_unref (request (pool, 16, FALSE));
  g_assert_cmpuint (n_mallocs, ==, n + 1);
  malloc_fails = TRUE;
  buf_pool_allocation_unref (request (pool, 16, FALSE));
  g_assert_null (buf_pool_try_allocate (pool, 17, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_NO_MEMORY);
  map_fails = malloc_fails = FALSE;
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 0);
  test_assert_figures (pool, 0, 0);
}

/* As a function that shrinks an allocation does. */
static gsize
cut_and_release (BufPool *pool, BufPoolAllocation *allocation, gsize n_buffers, gboolean pinned)
{
  BufMemory *memory = pool->memory;
  gsize n_lost = buf_block_cut (memory, allocation, n_buffers);

  if (n_lost > 0)
    buf_semaphore_release_part (&memory->semaphore, n_lost * memory->buffer_size, pinned);
  return n_lost;
}

static void
test_cut_block (gconstpointer pinned)
{
  g_autoptr (BufPool) pool = new_pool (4096, 0, FALSE, -1);
  gboolean is_pinned = GPOINTER_TO_INT (pinned);

  g_test_summary ("A block that is cut loses the buffers at its end, and is not cached");

  if (skip_if_never_large ())
    return;
  for (gsize n_left = 1; n_left <= 64; n_left++)
    {
      BufPoolAllocation *allocation = request (pool, 64, is_pinned);
      guint8 *data = buf_pool_allocation_get_first (allocation);

      memset (data, 0xa5, 64 * 4096);
      g_assert_cmpuint (cut_and_release (pool, allocation, n_left, is_pinned), ==, 64 - n_left);
      g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, n_left);
      g_assert_true (buf_pool_allocation_get_first (allocation) == data);
      g_assert_cmpint (data[n_left * 4096 - 1], ==, 0xa5);
      test_assert_figures (pool, n_left, 1);
      g_assert_cmpuint (cut_and_release (pool, allocation, n_left, is_pinned), ==, 0);
      buf_pool_allocation_unref (allocation);
      test_assert_figures (pool, 0, 0);
      g_assert_true (n_left >= 32 || buf_pool_get_cached_memory (pool) == 0);
      buf_pool_trim (pool, 0);
      g_assert_cmpint (n_mapped, ==, 0);
    }
}

static void
test_cut_small_buffers (void)
{
  g_autoptr (BufPool) pool = new_pool (1000, 0, FALSE, -1);
  g_autoptr (BufPoolAllocation) allocation = request (pool, 1000, FALSE);
  g_autoptr (BufPoolAllocation) small = request (pool, 10, FALSE);

  g_test_summary ("Buffers entirely in the remaining pages stay; a small block is not cut");

  g_assert_cmpuint (buf_block_cut (pool->memory, small, 1), ==, 0);
  if (skip_if_never_large ())
    return;
  g_assert_cmpuint (cut_and_release (pool, allocation, 1000, FALSE), ==, 0);
  g_assert_cmpuint (cut_and_release (pool, allocation, 1, FALSE),
                    ==,
                    1000 - get_page_size () / 1000);
  test_assert_figures (pool, 10 + get_page_size () / 1000, 2);
}

static void
test_shrink (void)
{
  const guint alignments[] = { 0, 512, 65536 };

  g_test_summary (
      "Large allocations of all kinds shrink in place, step by step, down to less than a "
      "page");

  if (skip_if_never_large ())
    return;
  for (guint kind = 0; kind < 2 * G_N_ELEMENTS (alignments); kind++)
    {
      gsize size = MAX (alignments[kind / 2], 512);
      BufPool *pool = new_pool (size, alignments[kind / 2], FALSE, -1);
      gsize n_buffers = MEBIBYTE / size;
      BufPoolAllocation *allocation = request (pool, n_buffers, kind % 2 == 1);

      memset (buf_pool_allocation_get_first (allocation), 0xa5, MEBIBYTE);
      for (; n_buffers > 0; n_buffers /= 2)
        {
          g_autoptr (GError) error = NULL;
          gboolean shrunk = buf_pool_allocation_shrink (allocation, n_buffers, &error);
          gsize n_left = buf_pool_allocation_get_length (allocation);
          const guint8 *data = buf_pool_allocation_get_first (allocation);

          g_assert_true (shrunk || g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED));
          g_assert_cmpuint (n_left, >=, n_buffers);
          g_assert_cmpuint (n_left * size, <, n_buffers * size + get_page_size ());
          g_assert_true (data[0] == 0xa5 && memcmp (data, data + 1, n_left * size - 1) == 0);
          test_assert_figures (pool, n_left, 1);
        }
      buf_pool_allocation_unref (allocation);
      test_assert_figures (pool, 0, 0);
      g_object_unref (pool);
      g_assert_cmpint (n_mapped, ==, 0);
    }
}

static void
test_zeroed_again (void)
{
  const gsize zeroed[] = { 256 * KIBIBYTE, 3 * MEBIBYTE };

  g_test_summary ("A reused large block is zero, whether it is mapped or not");

  for (guint i = 0; i < 2 * G_N_ELEMENTS (zeroed); i++)
    {
      gsize size = zeroed[i / 2];
      g_autoptr (BufPool) pool = g_object_new (BUF_TYPE_POOL,
                                               "buffer-size",
                                               (guint64) size,
                                               "max-memory",
                                               (guint64) (4 * size),
                                               "max-cached-memory",
                                               (gint64) (4 * size),
                                               "zero-fill",
                                               TRUE,
                                               NULL);

      map_fails = i % 2 == 1;
      for (guint round = 0; round < 3; round++)
        {
          BufPoolAllocation *allocation = test_allocate (pool, 1);
          guint8 *data = buf_pool_allocation_get_first (allocation);

          for (gsize j = 0; j < size; j++)
            g_assert_cmpint (data[j], ==, 0);
          memset (data, 0x5a, size);
          buf_pool_allocation_unref (allocation);
          g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, size);
        }
      map_fails = FALSE;
    }
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/large/zeroed-again", test_zeroed_again);
  g_test_add_func ("/large/usable", test_usable);
  g_test_add_func ("/large/no-excess", test_no_excess);
  g_test_add_func ("/large/without-mappings", test_without_mappings);
  g_test_add_func ("/large/wrapping", test_wrapping);
  g_test_add_func ("/large/not-unmapped", test_not_unmapped);
  g_test_add_func ("/large/cut", test_cut);
  g_test_add_func ("/large/threshold", test_threshold);
  g_test_add_func ("/large/kinds", test_kinds);
  g_test_add_func ("/large/many-references", test_many_references);
  g_test_add_func ("/large/limit-of-mappings", test_limit_of_mappings);
  g_test_add_data_func ("/large/cut-block", GINT_TO_POINTER (FALSE), test_cut_block);
  g_test_add_data_func ("/large/cut-pinned-block", GINT_TO_POINTER (TRUE), test_cut_block);
  g_test_add_func ("/large/cut-small-buffers", test_cut_small_buffers);
  g_test_add_func ("/large/shrink", test_shrink);
  return g_test_run ();
}
