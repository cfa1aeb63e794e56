/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pinned allocations and release(): references dropped in any order, and memory freed early. */

#include <string.h>

#include "testing.h"

static BufPoolAllocation *
allocate_pinned (BufPool *pool, gsize n_buffers)
{
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation = buf_pool_try_allocate_pinned (pool, n_buffers, &error);

  g_assert_no_error (error);
  g_assert_nonnull (allocation);
  return allocation;
}

static void
assert_empty (BufPoolAllocation *allocation)
{
  g_autoptr (GError) error = NULL;
  BufPoolAllocationIter iter;
  gsize size = 99;

  g_assert_true (buf_pool_allocation_is_released (allocation));
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, 0);
  g_assert_cmpuint (buf_pool_allocation_get_buffer_size (allocation), ==, 0);
  g_assert_cmpuint (buf_pool_allocation_get_allocated_bytes (allocation), ==, 0);
  g_assert_null (buf_pool_allocation_get_first (allocation));
  g_assert_null (buf_pool_allocation_get_buffer (allocation, 0));
  g_assert_null (buf_pool_allocation_get_data (allocation, &size));
  g_assert_cmpuint (size, ==, 0);
  g_assert_null (buf_pool_allocation_get_bytes (allocation));
  g_assert_null (buf_pool_allocation_get_buffer_bytes (allocation, 0));
  buf_pool_allocation_iter_init (&iter, allocation);
  g_assert_false (buf_pool_allocation_iter_next (&iter, NULL));
  g_assert_false (buf_pool_allocation_fill (allocation, 0, (const guint8 *) "1234", 4, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_RELEASED);
  g_clear_error (&error);
  g_assert_null (buf_pool_allocation_extract (allocation, 0, 4, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_RELEASED);
}

static void
test_any_order (void)
{
  g_test_summary (
      "The pool may be dropped before its allocations, views and copies, in one thread");

  for (guint order = 0; order < 4; order++)
    {
      BufPool *pool = test_pool_new (16, 10);
      BufPool *weak = pool;
      BufPoolAllocation *allocation = allocate_pinned (pool, 10);
      GBytes *view = order % 2 == 1 ? buf_pool_allocation_get_bytes (allocation) : NULL;

      g_object_add_weak_pointer (G_OBJECT (pool), (gpointer *) &weak);
      g_object_unref (pool);
      g_assert_null (weak);
      g_assert_cmpuint (test_count_memories (), ==, 1);
      memset (buf_pool_allocation_get_first (allocation), order, 160);
      if (order >= 2)
        buf_pool_allocation_release (allocation);
      else
        buf_pool_allocation_unref (allocation);
      if (view != NULL)
        {
          g_assert_cmpuint (test_count_memories (), ==, 1);
          g_assert_cmpuint (((const guint8 *) g_bytes_get_data (view, NULL))[159], ==, order);
          g_bytes_unref (view);
        }
      test_wait_for_the_end ();
      if (order >= 2)
        {
          assert_empty (allocation);
          buf_pool_allocation_unref (allocation);
        }
    }
}

static void
test_release (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *allocation = allocate_pinned (pool, 10);
  BufPoolAllocation *other = buf_pool_allocation_ref (allocation);

  g_test_summary ("release() returns the bytes immediately, no matter how many references remain");

  g_assert_false (buf_pool_allocation_is_released (allocation));
  test_assert_figures (pool, 10, 1);
  buf_pool_allocation_release (allocation);
  test_assert_figures (pool, 0, 0);
  assert_empty (other);
  buf_pool_allocation_release (other);
  buf_pool_allocation_release (allocation);
  test_assert_figures (pool, 0, 0);

  buf_pool_allocation_unref (allocation);
  assert_empty (other);
  buf_pool_allocation_unref (other);
  buf_pool_allocation_unref (allocate_pinned (pool, 10));
  test_assert_figures (pool, 0, 0);
}

static void
test_views (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *allocation = allocate_pinned (pool, 4);
  GBytes *all = buf_pool_allocation_get_bytes (allocation);
  GBytes *one = buf_pool_allocation_get_buffer_bytes (allocation, 3);

  g_test_summary ("Views that were taken before release() stay readable, and count against the "
                  "limit");

  memset (buf_pool_allocation_get_first (allocation), 7, 64);
  buf_pool_allocation_release (allocation);
  assert_empty (allocation);
  test_assert_figures (pool, 4, 1);
  g_bytes_unref (all);
  test_assert_figures (pool, 4, 1);
  buf_pool_allocation_unref (allocation);
  g_assert_cmpuint (((const guint8 *) g_bytes_get_data (one, NULL))[15], ==, 7);
  test_assert_figures (pool, 4, 1);
  g_bytes_unref (one);
  test_assert_figures (pool, 0, 0);
}

static void
test_plain (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *allocation = test_allocate (pool, 10);

  g_test_summary ("On a plain allocation, release() only marks");

  buf_pool_allocation_release (allocation);
  assert_empty (allocation);
  buf_pool_allocation_release (allocation);
  test_assert_figures (pool, 10, 1);
  buf_pool_allocation_unref (allocation);
  test_assert_figures (pool, 0, 0);
}

static void
test_copies (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *allocation = allocate_pinned (pool, 10);
  GValue value = G_VALUE_INIT, copy = G_VALUE_INIT;

  g_test_summary (
      "If one holder of a GValue releases the allocation, the others find it empty; nothing is "
      "freed twice");

  g_value_init (&value, BUF_TYPE_POOL_ALLOCATION);
  g_value_init (&copy, BUF_TYPE_POOL_ALLOCATION);
  g_value_take_boxed (&value, allocation);
  g_value_copy (&value, &copy);
  buf_pool_allocation_release (g_value_get_boxed (&copy));
  test_assert_figures (pool, 0, 0);
  g_value_unset (&copy);
  assert_empty (g_value_get_boxed (&value));
  g_value_unset (&value);
  test_assert_figures (pool, 0, 0);
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  *(BufPoolAllocation **) user_data = buf_pool_allocate_finish (BUF_POOL (pool), result, NULL);
}

static void
on_allocated_pinned (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  *(BufPoolAllocation **) user_data =
      buf_pool_allocate_pinned_finish (BUF_POOL (pool), result, NULL);
}

static gpointer
allocate_and_keep (gpointer pool)
{
  return buf_pool_allocate_pinned (pool, 3, NULL, NULL);
}

static void
test_requests (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *all = allocate_pinned (pool, 10);
  BufPoolAllocation *later = NULL;
  BufPoolAllocation *in_thread;
  GThread *thread;

  g_test_summary (
      "Each kind of request has a pinned form, which waits and fails like the plain one");

  g_assert_null (buf_pool_try_allocate_pinned (pool, 1, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
  g_clear_error (&error);
  g_assert_null (buf_pool_allocate_timeout_pinned (pool, 1, 1000, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  g_assert_null (buf_pool_allocate_pinned (pool, 11, NULL, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE);
  g_clear_error (&error);
  g_cancellable_cancel (cancellable);
  g_assert_null (buf_pool_allocate_pinned (pool, 1, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);

  buf_pool_allocate_pinned_async (pool, 3, G_PRIORITY_DEFAULT, NULL, on_allocated, &later);
  thread = g_thread_new ("pinned", allocate_and_keep, pool);
  test_wait_for_waiting (pool, 2);
  buf_pool_allocation_release (all);
  in_thread = g_thread_join (thread);
  while (later == NULL)
    g_main_context_iteration (NULL, TRUE);
  test_assert_figures (pool, 6, 2);

  /* They are pinned, not plain: release() frees the memory. */
  buf_pool_allocation_release (later);
  buf_pool_allocation_release (in_thread);
  test_assert_figures (pool, 0, 0);
  buf_pool_allocation_unref (all);
  buf_pool_allocation_unref (later);
  buf_pool_allocation_unref (in_thread);

  buf_pool_allocate_pinned_async (pool, 3, G_PRIORITY_DEFAULT, NULL, NULL, NULL);
  while (g_main_context_iteration (NULL, FALSE))
    continue;
  test_assert_figures (pool, 0, 0);
}

static void
test_run_dispose (void)
{
  BufPool *pool = test_pool_new (16, 10);
  BufPoolAllocation *allocation = allocate_pinned (pool, 3);

  g_test_summary ("Dispose does not wait for pinned allocations");

  g_object_run_dispose (G_OBJECT (pool));
  test_assert_figures (pool, 3, 1);
  memset (buf_pool_allocation_get_first (allocation), 1, 48);
  g_object_unref (pool);
  buf_pool_allocation_unref (allocation);
}

typedef struct
{
  BufPool *pool;
  BufPoolAllocation *allocation;
} Consumer;

static gpointer
drop_when_awaited (gpointer data)
{
  Consumer *self = data;

  test_wait_until (test_get_n_drainers (self->pool) == 1);
  buf_pool_allocation_unref (self->allocation);
  return NULL;
}

/* Introspection renames the pinned function to the plain name, and finds its finish function by
 * name. */
static void
test_finish_functions (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 4);
  BufPoolAllocation *allocations[4] = { NULL };

  g_test_summary ("Both finish functions fetch the results of plain and of pinned requests");

  buf_pool_allocate_async (pool, 1, 0, NULL, on_allocated, &allocations[0]);
  buf_pool_allocate_async (pool, 1, 0, NULL, on_allocated_pinned, &allocations[1]);
  buf_pool_allocate_pinned_async (pool, 1, 0, NULL, on_allocated, &allocations[2]);
  buf_pool_allocate_pinned_async (pool, 1, 0, NULL, on_allocated_pinned, &allocations[3]);
  while (!allocations[0] || !allocations[1] || !allocations[2] || !allocations[3])
    g_main_context_iteration (NULL, TRUE);

  for (guint i = 0; i < G_N_ELEMENTS (allocations); i++)
    {
      const guint n_others = G_N_ELEMENTS (allocations) - 1 - i;
      const gboolean is_pinned = i >= 2;

      /* Only a pinned allocation frees its memory before its last reference is dropped. */
      buf_pool_allocation_release (allocations[i]);
      g_assert_cmpuint (buf_pool_get_active_allocations (pool), ==, n_others + !is_pinned);
      buf_pool_allocation_unref (allocations[i]);
    }
  test_assert_figures (pool, 0, 0);
}

static void
test_run_dispose_before_delivery (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 1);
  BufPoolAllocation *first = buf_pool_allocate_pinned (pool, 1, NULL, NULL);
  BufPoolAllocation *second = NULL;

  g_test_summary ("Dispose does not wait for a pinned request that only its main loop can deliver");

  buf_pool_allocate_pinned_async (pool, 1, G_PRIORITY_DEFAULT, NULL, on_allocated, &second);
  buf_pool_allocation_unref (first);
  g_object_run_dispose (G_OBJECT (pool));
  while (second == NULL)
    g_main_context_iteration (NULL, TRUE);
  test_assert_figures (pool, 1, 1);
  buf_pool_allocation_unref (second);
  test_assert_figures (pool, 0, 0);
}

static void
test_run_dispose_waits_for_plain (void)
{
  BufPool *pool = test_pool_new (16, 10);
  BufPoolAllocation *pinned = allocate_pinned (pool, 3);
  Consumer consumer = { .pool = pool, .allocation = test_allocate (pool, 3) };
  GThread *thread = g_thread_new ("consumer", drop_when_awaited, &consumer);

  g_test_summary ("But it waits for plain allocations at the same time; and a drain waits for "
                  "both");

  g_object_run_dispose (G_OBJECT (pool));
  test_assert_figures (pool, 3, 1);
  g_thread_join (thread);
  g_assert_false (buf_pool_drain_timeout (pool, 1000, NULL, NULL));
  buf_pool_allocation_release (pinned);
  g_assert_true (buf_pool_drain_timeout (pool, 1000, NULL, NULL));
  buf_pool_allocation_unref (pinned);
  g_object_unref (pool);
}

static void
test_memory (void)
{
  g_test_summary ("Pinned memory is aligned and zeroed as the pool requires");

  for (guint alignment = 16; alignment <= 4096; alignment *= 4)
    {
      g_autoptr (BufPool) pool = g_object_new (BUF_TYPE_POOL,
                                               "buffer-size",
                                               (guint64) 4096,
                                               "max-memory",
                                               (guint64) 16384,
                                               "alignment",
                                               alignment,
                                               "zero-fill",
                                               TRUE,
                                               NULL);

      for (guint round = 0; round < 3; round++)
        {
          g_autoptr (BufPoolAllocation) allocation = allocate_pinned (pool, 4);
          guint8 *data = buf_pool_allocation_get_data (allocation, NULL);

          g_assert_cmpuint ((gsize) data % alignment, ==, 0);
          for (guint i = 0; i < 16384; i++)
            g_assert_cmpuint (data[i], ==, 0);
          memset (data, 0xff, 16384);
        }
    }
}

static void
test_streams (void)
{
  g_autoptr (BufPool) pool = test_pool_new (8, 4);
  g_autoptr (BufPoolAllocation) allocation = allocate_pinned (pool, 1);
  g_autoptr (GInputStream) in = g_memory_input_stream_new_from_data ("12345678", 8, NULL);
  g_autoptr (GOutputStream) out = g_memory_output_stream_new_resizable ();
  g_autoptr (GError) error = NULL;
  gsize n;

  g_test_summary ("Streams work with pinned allocations, and refuse released ones");

  g_assert_true (buf_pool_allocation_fill_from_stream (allocation, in, 0, 8, &n, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpmem (buf_pool_allocation_get_first (allocation), 8, "12345678", 8);
  buf_pool_allocation_release (allocation);
  test_assert_figures (pool, 0, 0);
  g_assert_false (buf_pool_allocation_write_to_stream (allocation, out, 0, 8, &n, NULL, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_RELEASED);
}

/* Each thread owns one reference, and does random things with the allocation. */
static gpointer
use_and_drop (gpointer data)
{
  BufPoolAllocation *allocation = data;
  g_autoptr (GRand) rand = g_rand_new ();
  guint fate = g_rand_int_range (rand, 0, 3);

  for (guint i = 0; i < 5; i++)
    {
      g_autoptr (GBytes) view = buf_pool_allocation_get_bytes (allocation);

      if (view != NULL)
        g_assert_cmpuint (((const guint8 *) g_bytes_get_data (view, NULL))[15], ==, 5);
      if (i == fate)
        buf_pool_allocation_release (allocation);
      g_assert_cmpuint (buf_pool_allocation_get_length (allocation), <=, 1);
    }
  buf_pool_allocation_unref (allocation);
  return NULL;
}

static void
test_race (void)
{
  g_test_summary (
      "Releases, views and references race in four threads, and the pool is dropped first");

  for (guint round = 0; round < test_scale (3000); round++)
    {
      BufPool *pool = test_pool_new (16, 1);
      BufPoolAllocation *allocation = allocate_pinned (pool, 1);
      GThread *threads[4];

      memset (buf_pool_allocation_get_first (allocation), 5, 16);
      for (guint i = 0; i < 4; i++)
        threads[i] = g_thread_new ("use", use_and_drop, buf_pool_allocation_ref (allocation));
      g_object_unref (pool);
      buf_pool_allocation_unref (allocation);
      for (guint i = 0; i < 4; i++)
        g_thread_join (threads[i]);
      test_wait_for_the_end ();
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/pinned/any-order", test_any_order);
  g_test_add_func ("/pinned/release", test_release);
  g_test_add_func ("/pinned/views", test_views);
  g_test_add_func ("/pinned/plain", test_plain);
  g_test_add_func ("/pinned/copies", test_copies);
  g_test_add_func ("/pinned/requests", test_requests);
  g_test_add_func ("/pinned/run-dispose", test_run_dispose);
  g_test_add_func ("/pinned/finish-functions", test_finish_functions);
  g_test_add_func ("/pinned/run-dispose-before-delivery", test_run_dispose_before_delivery);
  g_test_add_func ("/pinned/run-dispose-waits-for-plain", test_run_dispose_waits_for_plain);
  g_test_add_func ("/pinned/memory", test_memory);
  g_test_add_func ("/pinned/streams", test_streams);
  g_test_add_func ("/pinned/race", test_race);
  return g_test_run ();
}
