/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Scenarios with more memory than the machine has. The linker replaces the allocator of the C
 * library by one that provides only the beginning of a large block, for a header: the tests write
 * no further. */

#include <stdlib.h>
#include <string.h>
#include "memory/wrapped-mmap.h"
#include "testing.h"

#define LARGE     (1024 * 1024)
#define BEGINNING 64
#define GIB       (G_GUINT64_CONSTANT (1) << 30)

static guint64 largest; /* the requested size */

void *__real_malloc (size_t size);
void *__wrap_malloc (size_t size);

void *
__wrap_malloc (size_t size)
{
  largest = MAX (largest, size);
  return __real_malloc (size > LARGE ? BEGINNING : size);
}

#ifndef G_OS_WIN32
/* So large blocks come from malloc(), too. */
void *
__wrap_mmap (void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
  return MAP_FAILED;
}
#endif

/* Without a cache: memory checkers would check the whole of a cached block, most of which does not
 * exist. */
static BufPool *
new_pool (gsize buffer_size, gsize max_memory, GError **error)
{
  BufPool *pool = buf_pool_new (buffer_size, max_memory, error);

  if (pool != NULL)
    buf_pool_set_max_cached_memory (pool, 0);
  return pool;
}

/* Sizes that these systems cannot represent. */
static gboolean
has_32_bits (void)
{
  if (sizeof (gsize) > 4)
    return FALSE;
  g_test_skip ("the address space is too small");
  return TRUE;
}

static void
test_totals_beyond_2_to_the_31 (void)
{
  const gsize n = 65535;
  const gsize bytes = n * 16384;
  g_autoptr (GError) error = NULL;
  g_autoptr (BufPool) pool = new_pool (16384, 3 * bytes, &error);
  BufPoolAllocation *allocations[3];
  TestRequester *requester;

  g_test_summary ("Three allocations of nearly 1 GiB are outstanding together: the figures are "
                  "unsigned, and a request that waits for as much is served");

  g_assert_no_error (error);
  for (guint i = 0; i < 3; i++)
    {
      allocations[i] = test_allocate (pool, n);
      g_assert_cmpuint (buf_pool_allocation_get_allocated_bytes (allocations[i]), ==, bytes);
      g_assert_cmpuint (buf_pool_get_allocated_memory (pool), ==, (i + 1) * bytes);
      g_assert_cmpuint (buf_pool_get_available_memory (pool), ==, (2 - i) * bytes);
    }
  g_assert_cmpuint (largest, >=, bytes);
  g_assert_cmpuint (buf_pool_get_allocated_memory (pool), >, (gsize) G_MAXINT32);

  requester = test_requester_start (pool, n);
  test_wait_for_waiting (pool, 1);
  buf_pool_allocation_unref (allocations[1]);
  test_requester_end_served (requester);
  test_assert_figures (pool, 2 * n, 2);
  buf_pool_allocation_unref (allocations[0]);
  buf_pool_allocation_unref (allocations[2]);
  test_assert_figures (pool, 0, 0);
}

static void
test_totals_beyond_2_to_the_40 (void)
{
  g_autoptr (BufPool) pool = NULL;
  g_autoptr (GPtrArray) allocations = NULL;
  g_autoptr (GError) error = NULL;

  g_test_summary ("The whole maximum budget, 8 PiB less one byte, is outstanding, in parts of 64 "
                  "TiB and 1 GiB: more than a stripe can count");

  if (has_32_bits ())
    return;

  pool = new_pool (GIB, BUF_POOL_UNLIMITED, &error);
  g_assert_no_error (error);
  allocations = g_ptr_array_new_with_free_func ((GDestroyNotify) buf_pool_allocation_unref);
  for (guint i = 0; i < 127; i++)
    {
      g_ptr_array_add (allocations, test_allocate (pool, 65535));
      g_ptr_array_add (allocations, test_allocate (pool, 1));
    }
  g_ptr_array_add (allocations, test_allocate (pool, 65535));
  g_assert_cmpuint (buf_pool_get_allocated_memory (pool), ==, (128 * 65536 - 1) * GIB);
  g_assert_cmpuint (buf_pool_get_available_memory (pool), ==, GIB - 1);
  g_assert_cmpuint (buf_pool_get_active_allocations (pool), ==, 255);
  g_assert_null (buf_pool_try_allocate (pool, 1, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);

  g_clear_pointer (&allocations, g_ptr_array_unref);
  test_assert_figures (pool, 0, 0);
}

static void
assert_refused (BufPool *pool, gsize n_buffers, BufPoolError code)
{
  for (guint i = 0; i < 3; i++)
    {
      g_autoptr (GError) error = NULL;

      if (i == 0)
        g_assert_null (buf_pool_allocate (pool, n_buffers, NULL, &error));
      else if (i == 1)
        g_assert_null (buf_pool_try_allocate (pool, n_buffers, &error));
      else
        g_assert_null (buf_pool_try_allocate_pinned (pool, n_buffers, &error));
      g_assert_error (error, BUF_POOL_ERROR, (gint) code);
      test_assert_figures (pool, 0, 0);
    }
}

static void
test_absurd_counts (void)
{
  g_autoptr (BufPool) pool = test_pool_new (8, 100);

  g_test_summary ("Requests for no buffers, for too many, and for numbers that look negative are "
                  "refused immediately");

  assert_refused (pool, 0, BUF_POOL_ERROR_INVALID_COUNT);
  assert_refused (pool, BUF_POOL_MAX_BUFFERS + 1, BUF_POOL_ERROR_INVALID_COUNT);
  assert_refused (pool, G_MAXSIZE, BUF_POOL_ERROR_INVALID_COUNT);
  assert_refused (pool, G_MAXSIZE / 2 + 1, BUF_POOL_ERROR_INVALID_COUNT);
  assert_refused (pool, G_MAXSIZE / 8 + 2, BUF_POOL_ERROR_INVALID_COUNT);
  assert_refused (pool, BUF_POOL_MAX_BUFFERS, BUF_POOL_ERROR_TOO_LARGE);
  assert_refused (pool, 101, BUF_POOL_ERROR_TOO_LARGE);
}

static void
test_absurd_sizes (void)
{
  const gsize greatest = MIN (BUF_POOL_UNLIMITED, G_MAXSSIZE);
  g_autoptr (BufPool) pool = NULL;
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *one;

  g_test_summary ("A request whose size overflows is too large, and does not become small");

  g_assert_null (new_pool (0, 100, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_CONFIG);
  g_clear_error (&error);
  g_assert_null (new_pool (G_MAXSIZE, G_MAXSIZE, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_CONFIG);
  g_clear_error (&error);

  pool = new_pool (greatest, greatest, &error);
  g_assert_no_error (error);
  for (gsize n = 2; n <= BUF_POOL_MAX_BUFFERS; n += n / 2)
    assert_refused (pool, n, BUF_POOL_ERROR_TOO_LARGE);

  /* One fits into the budget; whether the address space is large enough is up to the allocator. */
  one = buf_pool_try_allocate (pool, 1, &error);
  if (one != NULL)
    test_assert_figures (pool, 1, 1);
  else
    g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_NO_MEMORY);
  g_clear_pointer (&one, buf_pool_allocation_unref);
  test_assert_figures (pool, 0, 0);
}

static void
test_absurd_ranges (void)
{
  g_autoptr (BufPool) pool = test_pool_new (8, 4);
  g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 4);
  static const gsize ranges[][2] = {
    { 0, 33 },        { 32, 1 },
    { 33, 0 },        { G_MAXSIZE, 1 },
    { 1, G_MAXSIZE }, { G_MAXSIZE, G_MAXSIZE },
    { 16, 17 },       { G_MAXSIZE - 7, 8 },
  };

  g_test_summary ("Ranges outside the allocation are detected, even if their end overflows");

  for (guint i = 0; i < G_N_ELEMENTS (ranges); i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (buf_pool_allocation_extract (allocation, ranges[i][0], ranges[i][1], &error));
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OUT_OF_RANGE);
    }
  test_assert_figures (pool, 4, 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/scenarios/totals-beyond-2-to-the-31", test_totals_beyond_2_to_the_31);
  g_test_add_func ("/scenarios/totals-beyond-2-to-the-40", test_totals_beyond_2_to_the_40);
  g_test_add_func ("/scenarios/absurd-counts", test_absurd_counts);
  g_test_add_func ("/scenarios/absurd-sizes", test_absurd_sizes);
  g_test_add_func ("/scenarios/absurd-ranges", test_absurd_ranges);
  return g_test_run ();
}
