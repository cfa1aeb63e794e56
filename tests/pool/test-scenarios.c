/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Scenarios that other projects with limited resources test: the buffer pools of Kafka, GStreamer
 * and SPDK, the memory pools of Arrow, the semaphores of Go and tokio. Each scenario is one test
 * case. */

#include <string.h>

#include "testing.h"

#define BUFFER_SIZE 64

static void
assert_nobody_waits (BufPool *pool)
{
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 0);
}

static void
end_refused (TestRequester *requester, GQuark domain, gint code)
{
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation = test_requester_end (requester, &error);

  g_assert_null (allocation);
  g_assert_error (error, domain, code);
}

static void
test_delayed_allocation (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 5);
  BufPoolAllocation *first = test_allocate (pool, 3);
  BufPoolAllocation *second = test_allocate (pool, 2);
  TestRequester *requester = test_requester_start (pool, 5);

  g_test_summary ("A request waits until all the memory that it needs is freed, no matter in which "
                  "parts");

  test_wait_for_waiting (pool, 1);
  buf_pool_allocation_unref (first);
  g_assert_false (test_requester_is_done (requester));
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
  test_assert_figures (pool, 2, 1);
  buf_pool_allocation_unref (second);
  test_requester_end_served (requester);
  test_assert_figures (pool, 0, 0);
}

static void
test_timeout_leaves_no_waiter (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 2);
  BufPoolAllocation *one = test_allocate (pool, 1);

  g_test_summary ("A request that timed out is not a waiter anymore, and blocks nothing");

  for (guint i = 0; i < 20; i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (buf_pool_allocate_timeout (pool, 2, 100 * (i % 4), NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      assert_nobody_waits (pool);
      test_assert_figures (pool, 1, 1);
      buf_pool_allocation_unref (test_allocate (pool, 1));
    }
  buf_pool_allocation_unref (one);
  buf_pool_allocation_unref (test_allocate (pool, 2));
}

static void
test_interruption_leaves_no_waiter (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 2);
  g_autoptr (GCancellable) first_token = g_cancellable_new ();
  g_autoptr (GCancellable) second_token = g_cancellable_new ();
  BufPoolAllocation *one = test_allocate (pool, 1);
  TestRequester *first, *second;

  g_test_summary ("Two requests wait; the first is interrupted, then the second: the queue is "
                  "empty");

  first = test_requester_start_full (pool, 2, -1, first_token);
  test_wait_for_waiting (pool, 1);
  second = test_requester_start_full (pool, 2, -1, second_token);
  test_wait_for_waiting (pool, 2);
  g_cancellable_cancel (first_token);
  end_refused (first, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
  g_cancellable_cancel (second_token);
  end_refused (second, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  assert_nobody_waits (pool);
  test_assert_figures (pool, 1, 1);
  buf_pool_allocation_unref (one);
}

typedef struct
{
  guint n_done;
  gint code;
} Callback;

static void
on_refused (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Callback *callback = user_data;
  g_autoptr (GError) error = NULL;

  g_assert_null (buf_pool_allocate_finish (BUF_POOL (pool), result, &error));
  g_assert_error (error, BUF_POOL_ERROR, callback->code);
  callback->n_done++;
}

static void
test_close_with_waiters (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 4);
  BufPoolAllocation *all = test_allocate (pool, 4);
  Callback callback = { .code = BUF_POOL_ERROR_CLOSED };
  TestRequester *requesters[3];

  g_test_summary ("Closing fails all waiting requests, of threads and tasks; outstanding "
                  "allocations stay valid");

  memset (buf_pool_allocation_get_first (all), 0x77, 4 * BUFFER_SIZE);
  for (guint i = 0; i < 3; i++)
    requesters[i] = test_requester_start (pool, 1 + i);
  for (guint i = 0; i < 3; i++)
    buf_pool_allocate_async (pool, 1 + i, G_PRIORITY_DEFAULT, NULL, on_refused, &callback);
  test_wait_for_waiting (pool, 6);

  buf_pool_close (pool);
  for (guint i = 0; i < 3; i++)
    end_refused (requesters[i], BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
  test_wait_until ((g_main_context_iteration (NULL, FALSE), callback.n_done == 3));
  assert_nobody_waits (pool);
  g_assert_cmpuint (((guint8 *) buf_pool_allocation_get_buffer (all, 3))[BUFFER_SIZE - 1],
                    ==,
                    0x77);
  test_assert_figures (pool, 4, 1);
  buf_pool_allocation_unref (all);
  test_assert_figures (pool, 0, 0);
}

static void
test_discard_while_another_waits (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 4);
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *all = buf_pool_try_allocate_pinned (pool, 4, &error);
  TestRequester *requester = test_requester_start (pool, 4);

  g_test_summary ("The memory is freed while the handle is kept: a waiting request is served");

  g_assert_no_error (error);
  test_wait_for_waiting (pool, 1);
  buf_pool_allocation_release (all);
  test_requester_end_served (requester);
  g_assert_cmpuint (buf_pool_allocation_get_length (all), ==, 0);
  test_assert_figures (pool, 0, 0);
  buf_pool_allocation_unref (all);
}

static void
test_sub_view_holds_memory (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 4);
  BufPoolAllocation *all = test_allocate (pool, 4);
  GBytes *view = buf_pool_allocation_get_buffer_bytes (all, 3);
  GBytes *part = g_bytes_new_from_bytes (view, 10, 5);
  TestRequester *requester = test_requester_start (pool, 1);

  g_test_summary ("A part of a view of one buffer keeps the whole allocation in use");

  memset (buf_pool_allocation_get_first (all), 0x3c, 4 * BUFFER_SIZE);
  test_wait_for_waiting (pool, 1);
  buf_pool_allocation_unref (all);
  g_bytes_unref (view);
  test_assert_figures (pool, 4, 1);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
  g_assert_false (test_requester_is_done (requester));
  g_assert_cmpmem (g_bytes_get_data (part, NULL), g_bytes_get_size (part), "<<<<<", 5);
  g_bytes_unref (part);
  test_requester_end_served (requester);
  test_assert_figures (pool, 0, 0);
}

typedef struct
{
  BufPool *pool;
  gint stop; /* atomic */
} Stream;

/* Takes the next before it drops the last, so that there is always an outstanding allocation; and
 * holds nothing when it has to wait. */
static gpointer
request_small (gpointer data)
{
  Stream *self = data;
  BufPoolAllocation *last = NULL;

  while (!g_atomic_int_get (&self->stop))
    {
      BufPoolAllocation *next = buf_pool_try_allocate (self->pool, 1, NULL);

      g_clear_pointer (&last, buf_pool_allocation_unref);
      if (next == NULL)
        next = buf_pool_allocate (self->pool, 1, NULL, NULL);
      g_assert_nonnull (next);
      last = next;
    }
  g_clear_pointer (&last, buf_pool_allocation_unref);
  return NULL;
}

static void
test_large_request_does_not_starve (void)
{
  Stream stream = { .pool = test_pool_new (BUFFER_SIZE, 4) };
  GThread *threads[2];

  g_test_summary ("Two threads with an endless stream of small requests never leave the budget "
                  "unused: a request for all of it is still served, repeatedly");

  for (guint i = 0; i < 2; i++)
    threads[i] = g_thread_new ("small", request_small, &stream);
  for (guint i = 0; i < test_scale (200); i++)
    {
      g_autoptr (GError) error = NULL;
      BufPoolAllocation *all;

      test_wait_until (buf_pool_get_active_allocations (stream.pool) >= 2);
      all = buf_pool_allocate (stream.pool, 4, NULL, &error);
      g_assert_no_error (error);
      buf_pool_allocation_unref (all);
    }
  g_atomic_int_set (&stream.stop, TRUE);
  for (guint i = 0; i < 2; i++)
    g_thread_join (threads[i]);
  test_assert_figures (stream.pool, 0, 0);
  g_object_unref (stream.pool);
}

/* Makes the request at the head owed, so that no other request may overtake it. */
static void
overtake_until_owed (BufPool *pool)
{
  g_autoptr (GError) error = NULL;

  while (error == NULL)
    {
      BufPoolAllocation *one = buf_pool_try_allocate (pool, 1, &error);

      g_clear_pointer (&one, buf_pool_allocation_unref);
    }
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
}

static void
test_cancelled_head_does_not_starve (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 3);
  g_autoptr (GCancellable) token = g_cancellable_new ();
  BufPoolAllocation *held = test_allocate (pool, 1);
  TestRequester *large, *small[2];

  g_test_summary ("A large request at the head blocks small ones: when it is cancelled, they are "
                  "served, although nothing was freed");

  large = test_requester_start_full (pool, 3, -1, token);
  test_wait_for_waiting (pool, 1);
  overtake_until_owed (pool);
  for (guint i = 0; i < 2; i++)
    small[i] = test_requester_start (pool, 1);
  test_wait_for_waiting (pool, 3);

  g_cancellable_cancel (token);
  end_refused (large, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  for (guint i = 0; i < 2; i++)
    test_requester_end_served (small[i]);
  test_assert_figures (pool, 1, 1);
  buf_pool_allocation_unref (held);
}

static void
test_already_cancelled_always_fails (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 2);
  g_autoptr (GCancellable) token = g_cancellable_new ();

  g_test_summary ("A request whose cancellable is already cancelled fails, even if all memory is "
                  "free");

  g_cancellable_cancel (token);
  for (guint i = 0; i < 100; i++)
    {
      g_autoptr (GError) error = NULL;

      if (i % 2 == 0)
        g_assert_null (buf_pool_allocate (pool, 1, token, &error));
      else
        g_assert_null (buf_pool_allocate_timeout_pinned (pool, 1, 1000, token, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      test_assert_figures (pool, 0, 0);
    }
}

static gpointer
release_when_told (gpointer data)
{
  gint *turn = ((gpointer *) data)[0];
  BufPoolAllocation **slot = ((gpointer *) data)[1];

  for (gint i = 1; i <= (gint) test_scale (2000); i++)
    {
      while (g_atomic_int_get (turn) != i)
        ;
      buf_pool_allocation_unref (g_steal_pointer (slot));
      g_atomic_int_set (turn, -i);
    }
  return NULL;
}

static void
test_release_during_acquire (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 2);
  BufPoolAllocation *slot;
  gint turn = 0;
  gpointer data[] = { &turn, &slot };
  GThread *thread = g_thread_new ("releaser", release_when_told, data);

  g_test_summary ("One thread frees at the moment when another begins to wait, 2,000 times");

  for (gint i = 1; i <= (gint) test_scale (2000); i++)
    {
      BufPoolAllocation *allocation;

      slot = test_allocate (pool, 2);
      g_atomic_int_set (&turn, i);
      allocation = buf_pool_allocate (pool, 1 + i % 2, NULL, NULL);
      g_assert_nonnull (allocation);
      while (g_atomic_int_get (&turn) != -i)
        g_thread_yield ();
      buf_pool_allocation_unref (allocation);
      test_assert_figures (pool, 0, 0);
    }
  g_thread_join (thread);
}

typedef struct
{
  BufPool *pool;
  GCancellable *token;
  gboolean closes;
  gint go; /* atomic */
} Ender;

static gpointer
end_when_told (gpointer data)
{
  Ender *self = data;

  while (!g_atomic_int_get (&self->go))
    ;
  if (self->closes)
    buf_pool_close (self->pool);
  else
    g_cancellable_cancel (self->token);
  return NULL;
}

static void
test_concurrent_close_and_cancel (void)
{
  guint n_closed = 0, n_cancelled = 0;

  g_test_summary ("The pool is closed while the request is cancelled: it reports one of the two "
                  "errors");

  for (guint i = 0; i < test_scale (500); i++)
    {
      g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 1);
      g_autoptr (GCancellable) token = g_cancellable_new ();
      g_autoptr (GError) error = NULL;
      BufPoolAllocation *all = test_allocate (pool, 1);
      Ender ender = { pool, token, i % 2 == 0, FALSE };
      TestRequester *requester = test_requester_start_full (pool, 1, -1, token);
      GThread *thread = g_thread_new ("ender", end_when_told, &ender);

      test_wait_for_waiting (pool, 1);
      g_atomic_int_set (&ender.go, TRUE);
      if (ender.closes)
        g_cancellable_cancel (token);
      else
        buf_pool_close (pool);
      g_assert_null (test_requester_end (requester, &error));
      g_thread_join (thread);
      if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        n_cancelled++;
      else
        {
          g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
          n_closed++;
        }
      assert_nobody_waits (pool);
      buf_pool_allocation_unref (all);
      test_assert_figures (pool, 0, 0);
    }
  g_test_message ("%u cancelled, %u closed", n_cancelled, n_closed);
}

static void
test_shrink_below_use_then_grow (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 8);
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *first = test_allocate (pool, 4);
  BufPoolAllocation *second = test_allocate (pool, 3);
  TestRequester *requester;

  g_test_summary ("The budget shrinks below what is in use, and grows again while a request waits");

  buf_pool_set_max_memory (pool, 5 * BUFFER_SIZE);
  g_assert_cmpuint (buf_pool_get_allocated_memory (pool), ==, 7 * BUFFER_SIZE);
  g_assert_cmpuint (buf_pool_get_available_memory (pool), ==, 0);
  g_assert_null (buf_pool_try_allocate (pool, 1, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);

  /* 5 - 4 leaves 1, and not the 3 that were freed. */
  buf_pool_allocation_unref (second);
  requester = test_requester_start (pool, 2);
  test_wait_for_waiting (pool, 1);
  test_assert_figures (pool, 4, 1);
  buf_pool_set_max_memory (pool, 6 * BUFFER_SIZE);
  test_requester_end_served (requester);
  buf_pool_allocation_unref (first);
  test_assert_figures (pool, 0, 0);
  buf_pool_allocation_unref (test_allocate (pool, 6));
}

static void
test_waiter_in_the_middle_leaves (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 2);
  g_autoptr (GCancellable) token = g_cancellable_new ();
  BufPoolAllocation *all = test_allocate (pool, 2);
  TestRequester *requesters[3];

  g_test_summary ("Three requests wait, the second leaves the queue: the others get their turn");

  for (guint i = 0; i < 3; i++)
    {
      requesters[i] = test_requester_start_full (pool, 2, -1, i == 1 ? token : NULL);
      test_wait_for_waiting (pool, i + 1);
    }
  g_cancellable_cancel (token);
  end_refused (requesters[1], G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 2);
  buf_pool_allocation_unref (all);
  test_wait_until (test_requester_is_done (requesters[0]) && buf_pool_get_waiting (pool) == 1);
  test_requester_end_served (requesters[0]);
  test_requester_end_served (requesters[2]);
  test_assert_figures (pool, 0, 0);
}

static void
test_refused_at_the_cap_changes_nothing (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 4);
  BufPoolAllocation *held = test_allocate (pool, 3);

  g_test_summary ("A request that exceeds the limit is refused, and leaves the rest for requests "
                  "that fit");

  for (guint i = 0; i < 50; i++)
    {
      g_autoptr (GError) error = NULL;
      BufPoolAllocation *one;

      g_assert_null (buf_pool_try_allocate (pool, 2 + i % 3, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
      one = test_allocate (pool, 1);
      test_assert_figures (pool, 4, 2);
      buf_pool_allocation_unref (one);
    }
  buf_pool_allocation_unref (held);
  test_assert_figures (pool, 0, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

#define ADD(name, function) g_test_add_func ("/scenarios/" name, function)
  ADD ("delayed-allocation", test_delayed_allocation);
  ADD ("timeout-leaves-no-waiter", test_timeout_leaves_no_waiter);
  ADD ("interruption-leaves-no-waiter", test_interruption_leaves_no_waiter);
  ADD ("close-with-waiters", test_close_with_waiters);
  ADD ("discard-while-another-waits", test_discard_while_another_waits);
  ADD ("sub-view-holds-memory", test_sub_view_holds_memory);
  ADD ("large-request-does-not-starve", test_large_request_does_not_starve);
  ADD ("cancelled-head-does-not-starve", test_cancelled_head_does_not_starve);
  ADD ("already-cancelled-always-fails", test_already_cancelled_always_fails);
  ADD ("release-during-acquire", test_release_during_acquire);
  ADD ("concurrent-close-and-cancel", test_concurrent_close_and_cancel);
  ADD ("shrink-below-use-then-grow", test_shrink_below_use_then_grow);
  ADD ("waiter-in-the-middle-leaves", test_waiter_in_the_middle_leaves);
  ADD ("refused-at-the-cap-changes-nothing", test_refused_at_the_cap_changes_nothing);
  return g_test_run ();
}
