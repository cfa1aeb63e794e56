/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Allocations that shrink. */

#include <string.h>

#include "testing.h"

/* Whether a part of a plain block can be returned to the system. */
#ifdef G_OS_WIN32
#define RETURNS_PAGES FALSE
#else
#define RETURNS_PAGES TRUE
#endif

typedef BufPoolAllocation *(*AllocateFunc) (BufPool *pool, gsize n_buffers, GError **error);

static void
assert_fails (BufPoolAllocation *allocation,
              gsize n_buffers,
              GQuark domain,
              gint code,
              const gchar *message)
{
  gsize length = buf_pool_allocation_get_length (allocation);
  g_autoptr (GError) error = NULL;

  g_assert_false (buf_pool_allocation_shrink (allocation, n_buffers, &error));
  g_assert_error (error, domain, code);
  g_assert_cmpstr (error->message, ==, message);
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, length);
}

static void
test_pinned (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4096, 16);
  BufPoolAllocation *allocation = buf_pool_try_allocate_pinned (pool, 8, NULL);
  g_autoptr (GError) error = NULL;

  g_test_summary ("A pinned allocation keeps exactly the requested buffers, and their contents");

  memset (buf_pool_allocation_get_first (allocation), 0x5a, 8 * 4096);
  g_assert_true (buf_pool_allocation_shrink (allocation, 8, &error));
  g_assert_true (buf_pool_allocation_shrink (allocation, 3, &error));
  g_assert_no_error (error);
  test_assert_figures (pool, 3, 1);
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, 3);
  for (guint i = 0; i < 3 * 4096; i++)
    g_assert_cmpint (((guint8 *) buf_pool_allocation_get_first (allocation))[i], ==, 0x5a);

  assert_fails (allocation,
                4,
                BUF_POOL_ERROR,
                BUF_POOL_ERROR_OUT_OF_RANGE,
                "An allocation of 3 buffers cannot shrink to 4: the valid range is from 1 to 3");
  assert_fails (allocation,
                0,
                BUF_POOL_ERROR,
                BUF_POOL_ERROR_OUT_OF_RANGE,
                "An allocation of 3 buffers cannot shrink to 0: the valid range is from 1 to 3");
  buf_pool_allocation_unref (allocation);
  test_assert_figures (pool, 0, 0);
}

static void
test_exchange_needs_bytes (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4096, 8);
  BufPoolAllocation *allocation = buf_pool_try_allocate_pinned (pool, 6, NULL);
  BufPoolAllocation *other = test_allocate (pool, 1);

  g_test_summary ("The exchange fails if there are not enough bytes for both blocks");

  assert_fails (allocation,
                2,
                G_IO_ERROR,
                G_IO_ERROR_WOULD_BLOCK,
                "An allocation of 6 buffers cannot shrink to 2 (8192 bytes), because only 4096 "
                "bytes are available for the exchange");
  test_assert_figures (pool, 7, 2);
  g_assert_true (buf_pool_allocation_shrink (allocation, 1, NULL));
  test_assert_figures (pool, 2, 2);
  buf_pool_allocation_unref (allocation);
  buf_pool_allocation_unref (other);
}

static void
test_in_use (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4096, 64);
  BufPoolAllocation *allocations[] = { test_allocate (pool, 8),
                                       buf_pool_try_allocate_pinned (pool, 8, NULL) };

  g_test_summary ("Only the sole owner can shrink an allocation");

  for (guint i = 0; i < G_N_ELEMENTS (allocations); i++)
    {
      const gchar *message = "An allocation of 8 buffers cannot shrink while it has another "
                             "reference, a view or a transfer";
      g_autoptr (GBytes) view = buf_pool_allocation_get_bytes (allocations[i]);

      assert_fails (allocations[i], 2, BUF_POOL_ERROR, BUF_POOL_ERROR_IN_USE, message);
      g_clear_pointer (&view, g_bytes_unref);
      buf_pool_allocation_ref (allocations[i]);
      assert_fails (allocations[i], 2, BUF_POOL_ERROR, BUF_POOL_ERROR_IN_USE, message);
      buf_pool_allocation_unref (allocations[i]);
      g_assert_cmpint (buf_pool_allocation_shrink (allocations[i], 2, NULL),
                       ==,
                       i > 0 || RETURNS_PAGES);

      buf_pool_allocation_release (allocations[i]);
      {
        g_autoptr (GError) error = NULL;

        g_assert_false (buf_pool_allocation_shrink (allocations[i], 1, &error));
        g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_RELEASED);
      }
      buf_pool_allocation_unref (allocations[i]);
    }
  test_assert_figures (pool, 0, 0);
}

static void
test_plain (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4096, 64);
  BufPoolAllocation *allocation = test_allocate (pool, 16);
  guint8 *first = buf_pool_allocation_get_first (allocation);
  gsize length;

  g_test_summary ("A plain allocation does not move, and returns whole pages");

  if (!RETURNS_PAGES)
    {
      buf_pool_allocation_unref (allocation);
      g_test_skip ("This system cannot free a part of a block");
      return;
    }
  memset (first, 0x5a, 16 * 4096);
  g_assert_true (buf_pool_allocation_shrink (allocation, 4, NULL));
  length = buf_pool_allocation_get_length (allocation);
  g_assert_cmpuint (length, >=, 4);
  g_assert_cmpuint (length, <=, 6);
  test_assert_figures (pool, length, 1);
  g_assert_true (buf_pool_allocation_get_first (allocation) == first);
  for (guint i = 0; i < 4 * 4096; i++)
    g_assert_cmpint (first[i], ==, 0x5a);
  buf_pool_allocation_unref (allocation);
  test_assert_figures (pool, 0, 0);
}

static void
test_no_page (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 64);
  BufPoolAllocation *allocation = test_allocate (pool, 4);

  g_test_summary ("A small plain allocation cannot shrink, and the error says so");

  assert_fails (allocation,
                1,
                G_IO_ERROR,
                G_IO_ERROR_NOT_SUPPORTED,
                "An allocation of 4 buffers cannot shrink to 1, because the rest does not cover a "
                "whole page of memory");
  buf_pool_allocation_unref (allocation);
}

static void
test_aligned (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BufPool) pool = g_initable_new (BUF_TYPE_POOL,
                                             NULL,
                                             &error,
                                             "buffer-size",
                                             (guint64) 4096,
                                             "max-memory",
                                             (guint64) 64 * 4096,
                                             "alignment",
                                             4096,
                                             NULL);
  BufPoolAllocation *allocation = test_allocate (pool, 16);

  g_test_summary ("An aligned allocation keeps exactly the requested buffers, and its alignment");

  memset (buf_pool_allocation_get_first (allocation), 0x5a, 16 * 4096);
  g_assert_true (buf_pool_allocation_shrink (allocation, 4, &error));
  g_assert_no_error (error);
  test_assert_figures (pool, 4, 1);
  g_assert_cmpuint ((guintptr) buf_pool_allocation_get_first (allocation) % 4096, ==, 0);
  buf_pool_allocation_unref (allocation);
  buf_pool_allocation_unref (test_allocate (pool, 64));
}

static void
test_wakes (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4096, 16);
  BufPoolAllocation *allocation = buf_pool_try_allocate_pinned (pool, 12, NULL);
  TestRequester *requester = test_requester_start (pool, 8);

  g_test_summary ("The bytes that an allocation returns go to a waiting request");

  while (buf_pool_get_waiting (pool) == 0)
    g_thread_yield ();
  g_assert_true (buf_pool_allocation_shrink (allocation, 2, NULL));
  test_requester_end_served (requester);
  buf_pool_allocation_unref (allocation);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/shrink/pinned", test_pinned);
  g_test_add_func ("/shrink/exchange-needs-bytes", test_exchange_needs_bytes);
  g_test_add_func ("/shrink/in-use", test_in_use);
  g_test_add_func ("/shrink/plain", test_plain);
  g_test_add_func ("/shrink/no-page", test_no_page);
  g_test_add_func ("/shrink/aligned", test_aligned);
  g_test_add_func ("/shrink/wakes", test_wakes);
  return g_test_run ();
}
