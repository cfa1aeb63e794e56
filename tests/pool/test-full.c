/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Requests with all options: a range of sizes, a timeout, a priority, a reserve. */

#include "testing.h"

static BufPoolAllocation *
allocate_full (BufPool *pool, gsize min_buffers, gsize max_buffers)
{
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation =
      buf_pool_allocate_full (pool, min_buffers, max_buffers, 0, 0, NULL, &error);

  g_assert_no_error (error);
  return allocation;
}

static void
assert_length (BufPoolAllocation *allocation, gsize length)
{
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, length);
  buf_pool_allocation_unref (allocation);
}

static void
test_takes_what_there_is (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 1000);
  BufPoolAllocation *most = test_allocate (pool, 900);

  g_test_summary ("A request gets as many buffers as are available, within its bounds");

  assert_length (allocate_full (pool, 1, 50), 50);
  assert_length (allocate_full (pool, 1, 100), 100);
  assert_length (allocate_full (pool, 1, 1000), 100);
  assert_length (allocate_full (pool, 100, G_MAXSIZE), 100);
  assert_length (allocate_full (pool, 7, 7), 7);
  test_assert_figures (pool, 900, 1);
  buf_pool_allocation_unref (most);
}

static void
test_gets_cached (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4096, 64);
  BufPoolAllocation *blocks[32];

  g_test_summary ("Such a request can use cached blocks");

  buf_pool_set_max_cached_memory (pool, 64 * 4096);
  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
    blocks[i] = test_allocate (pool, 2);
  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
    buf_pool_allocation_unref (blocks[i]);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), >, 0);
  assert_length (allocate_full (pool, 1, 64), 64);
}

static void
test_invalid (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  const struct
  {
    gsize min_buffers;
    gsize max_buffers;
    gint code;
    const gchar *message;
  } cases[] = {
    { 0,
      5,
      BUF_POOL_ERROR_INVALID_COUNT,
      "Cannot allocate 0 buffers: an allocation has from 1 to 65535 buffers" },
    { 65536,
      65536,
      BUF_POOL_ERROR_INVALID_COUNT,
      "Cannot allocate 65536 buffers: an allocation has from 1 to 65535 buffers" },
    { 5,
      4,
      BUF_POOL_ERROR_INVALID_COUNT,
      "Cannot allocate from 5 to 4 buffers: the minimum is greater than the maximum" },
    { 11,
      20,
      BUF_POOL_ERROR_TOO_LARGE,
      "Cannot allocate 11 buffers of 16 bytes (176 bytes): the pool never has more than 160 "
      "bytes" },
  };

  g_test_summary ("An error for invalid bounds contains their values");

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (buf_pool_allocate_full (pool,
                                             cases[i].min_buffers,
                                             cases[i].max_buffers,
                                             -1,
                                             0,
                                             NULL,
                                             &error));
      g_assert_error (error, BUF_POOL_ERROR, cases[i].code);
      g_assert_cmpstr (error->message, ==, cases[i].message);
    }
  test_assert_figures (pool, 0, 0);
}

typedef struct
{
  BufPoolAllocation *allocation;
  GError *error;
  gboolean done;
} Result;

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Result *self = user_data;

  self->allocation = buf_pool_allocate_full_finish (BUF_POOL (pool), result, &self->error);
  self->done = TRUE;
}

static void
iterate_until_done (Result *self)
{
  while (!self->done)
    g_main_context_iteration (NULL, TRUE);
}

static void
test_min_while_others_wait (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *all = test_allocate (pool, 10);
  Result first = { 0 }, second = { 0 };

  g_test_summary ("If another request waits, it gets exactly its minimum");

  buf_pool_allocate_full_async (pool, 2, 10, -1, 0, NULL, on_allocated, &first);
  buf_pool_allocate_full_async (pool, 2, 10, -1, 0, NULL, on_allocated, &second);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 2);
  buf_pool_allocation_unref (all);
  iterate_until_done (&first);
  iterate_until_done (&second);
  assert_length (first.allocation, 2);
  assert_length (second.allocation, 8);
}

static void
test_async_times_out (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *all = test_allocate (pool, 10);
  Result result = { 0 };

  g_test_summary ("After a task has timed out, nothing of it remains");

  buf_pool_allocate_full_async (pool, 2, 10, 2000, 0, NULL, on_allocated, &result);
  iterate_until_done (&result);
  g_assert_error (result.error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&result.error);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 0);

  /* One is granted before its timeout, and one has a timeout beyond the end of time. */
  result = (Result){ 0 };
  buf_pool_allocate_full_async (pool, 2, 2, G_MAXINT64, 0, NULL, on_allocated, &result);
  buf_pool_allocation_unref (all);
  iterate_until_done (&result);
  assert_length (result.allocation, 2);
}

static void
test_priority (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *all = test_allocate (pool, 10);
  Result low = { 0 }, high = { 0 };

  g_test_summary ("Of two waiting requests, the more urgent one is granted first");

  buf_pool_allocate_full_async (pool, 10, 10, -1, G_PRIORITY_LOW, NULL, on_allocated, &low);
  buf_pool_allocate_async (pool, 10, G_PRIORITY_HIGH, NULL, on_allocated, &high);
  buf_pool_allocation_unref (all);
  iterate_until_done (&high);
  test_iterate_all ();
  g_assert_false (low.done);
  assert_length (high.allocation, 10);
  iterate_until_done (&low);
  assert_length (low.allocation, 10);
}

static void
test_reserve (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *normal, *urgent;

  g_test_summary ("Only urgent requests can use the reserve of a pool");

  buf_pool_set_reserved_memory (pool, 48);
  g_assert_cmpuint (buf_pool_get_reserved_memory (pool), ==, 48);
  normal = allocate_full (pool, 1, 10);
  g_assert_cmpuint (buf_pool_allocation_get_length (normal), ==, 7);
  g_assert_null (buf_pool_try_allocate (pool, 1, NULL));
  urgent = buf_pool_allocate_full (pool, 1, 10, 0, G_PRIORITY_HIGH, NULL, NULL);
  g_assert_cmpuint (buf_pool_allocation_get_length (urgent), ==, 3);
  buf_pool_allocation_unref (normal);
  buf_pool_allocation_unref (urgent);
  buf_pool_allocation_unref (test_allocate (pool, 7));
  test_assert_figures (pool, 0, 0);
}

/* Three stages: each holds one buffer while it needs one of the next stage. */
static void
test_pipeline_with_reserve (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 4);
  BufPoolAllocation *held[8];
  guint n = 0;

  g_test_summary ("Producers cannot take the buffer that the last stage needs");

  buf_pool_set_reserved_memory (pool, 16);
  while ((held[n] = buf_pool_try_allocate (pool, 1, NULL)) != NULL)
    n++;
  g_assert_cmpuint (n, ==, 3);
  while (n > 0)
    {
      BufPoolAllocation *last = buf_pool_allocate_full (pool, 1, 1, 0, G_PRIORITY_HIGH, NULL, NULL);

      g_assert_nonnull (last);
      buf_pool_allocation_unref (held[--n]);
      buf_pool_allocation_unref (last);
    }
}

static void
test_overload (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 4);
  BufPoolAllocation *all = test_allocate (pool, 4);
  g_autoptr (GError) error = NULL;
  Result waits = { 0 }, refused = { 0 };

  g_test_summary ("A pool that sheds load refuses a request that exceeds max-waiting");

  buf_pool_set_max_waiting (pool, 1);
  g_assert_cmpint (buf_pool_get_max_waiting (pool), ==, 1);
  buf_pool_allocate_async (pool, 1, 0, NULL, on_allocated, &waits);
  g_assert_null (buf_pool_allocate (pool, 1, NULL, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OVERLOADED);
  g_assert_cmpstr (error->message,
                   ==,
                   "Cannot allocate 1 buffer of 16 bytes: 1 request is already waiting for the "
                   "pool, and no more may wait");
  buf_pool_allocate_async (pool, 1, 0, NULL, on_allocated, &refused);
  iterate_until_done (&refused);
  g_assert_error (refused.error, BUF_POOL_ERROR, BUF_POOL_ERROR_OVERLOADED);
  g_clear_error (&refused.error);
  buf_pool_allocation_unref (all);
  iterate_until_done (&waits);
  assert_length (waits.allocation, 1);
}

static void
test_pinned (void)
{
  BufPool *pool = test_pool_new (16, 10);
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation = buf_pool_allocate_full_pinned (pool, 1, 20, -1, 0, NULL, &error);
  Result result = { 0 };

  g_test_summary ("The pinned forms outlive the pool");

  g_assert_no_error (error);
  buf_pool_allocate_full_pinned_async (pool, 3, 5, -1, 0, NULL, on_allocated, &result);
  buf_pool_allocation_unref (allocation);
  iterate_until_done (&result);
  g_object_unref (pool);
  assert_length (result.allocation, 5);
  test_wait_for_the_end ();
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/full/takes-what-there-is", test_takes_what_there_is);
  g_test_add_func ("/full/gets-cached", test_gets_cached);
  g_test_add_func ("/full/invalid", test_invalid);
  g_test_add_func ("/full/min-while-others-wait", test_min_while_others_wait);
  g_test_add_func ("/full/async-times-out", test_async_times_out);
  g_test_add_func ("/full/priority", test_priority);
  g_test_add_func ("/full/reserve", test_reserve);
  g_test_add_func ("/full/pipeline-with-reserve", test_pipeline_with_reserve);
  g_test_add_func ("/full/overload", test_overload);
  g_test_add_func ("/full/pinned", test_pinned);
  return g_test_run ();
}
