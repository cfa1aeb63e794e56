/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Waiting: which request is served when, and how requests end. */

#include <string.h>

#include "semaphore/buf-wait-queue-private.h"
#include "testing.h"

static void
test_whole_budget (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *holders[10];
  TestRequester *whole;

  g_test_summary ("A request for the whole budget waits for the last of ten holders");

  for (guint i = 0; i < 10; i++)
    holders[i] = test_allocate (pool, 1);
  whole = test_requester_start (pool, 10);
  test_wait_for_waiting (pool, 1);
  for (guint i = 0; i < 10; i++)
    {
      g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
      g_assert_false (test_requester_is_done (whole));
      buf_pool_allocation_unref (holders[i]);
    }
  test_requester_end_served (whole);
  test_assert_figures (pool, 0, 0);
}

static void
test_one_release_serves_ten (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  TestRequester *requesters[10];
  BufPoolAllocation *allocations[10];

  g_test_summary ("One large release serves ten waiters, which all hold their buffers");

  for (guint round = 0; round < test_scale (50); round++)
    {
      BufPoolAllocation *all = test_allocate (pool, 10);

      for (guint i = 0; i < 10; i++)
        requesters[i] = test_requester_start (pool, 1);
      test_wait_for_waiting (pool, 10);
      buf_pool_allocation_unref (all);
      for (guint i = 0; i < 10; i++)
        allocations[i] = test_requester_end (requesters[i], NULL);
      test_assert_figures (pool, 10, 10);
      for (guint i = 0; i < 10; i++)
        buf_pool_allocation_unref (allocations[i]);
    }
}

static void
test_small_behind_large (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *six = test_allocate (pool, 6);
  BufPoolAllocation *four = test_allocate (pool, 4);
  TestRequester *large, *small;

  g_test_summary ("A small waiter behind a large one that does not fit yet is served");

  large = test_requester_start (pool, 8);
  test_wait_for_waiting (pool, 1);
  small = test_requester_start (pool, 3);
  test_wait_for_waiting (pool, 2);

  buf_pool_allocation_unref (four);
  test_requester_end_served (small);
  g_assert_false (test_requester_is_done (large));
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
  buf_pool_allocation_unref (six);
  test_requester_end_served (large);
}

static void
test_overtaking_bound (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *one = test_allocate (pool, 1);
  BufPoolAllocation *other;
  TestRequester *whole;
  guint overtaken = 0;

  g_test_summary ("The oldest is overtaken exactly as often as the limit allows");

  test_pool_stop_clock (pool);
  whole = test_requester_start (pool, 10);
  test_wait_for_waiting (pool, 1);
  while ((other = buf_pool_try_allocate (pool, 1, &error)) != NULL)
    {
      buf_pool_allocation_unref (other);
      overtaken++;
    }
  g_assert_cmpuint (overtaken, ==, BUF_WAIT_QUEUE_MAX_OVERTAKEN);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);

  buf_pool_allocation_unref (one);
  test_requester_end_served (whole);
  buf_pool_allocation_unref (test_allocate (pool, 10));
}

/* Makes a waiter for the whole budget the oldest, and overtakes it up to the limit. */
static TestRequester *
start_owed_head (BufPool *pool, GCancellable *cancellable)
{
  TestRequester *head = test_requester_start_full (pool, 10, -1, cancellable);
  BufPoolAllocation *other;

  test_wait_for_waiting (pool, 1);
  while ((other = buf_pool_try_allocate (pool, 1, NULL)) != NULL)
    buf_pool_allocation_unref (other);
  return head;
}

static void
test_head_leaves (void)
{
  g_autoptr (GError) error = NULL;

  g_test_summary ("When an owed waiter is cancelled or has become too large, the waiters behind it "
                  "are served");

  for (guint how = 0; how < 2; how++)
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 10);
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      BufPoolAllocation *one = test_allocate (pool, 1);
      TestRequester *head = start_owed_head (pool, cancellable);
      TestRequester *next = test_requester_start (pool, 4);
      TestRequester *last = test_requester_start (pool, 4);

      test_wait_for_waiting (pool, 3);
      if (how == 0)
        g_cancellable_cancel (cancellable);
      else
        buf_pool_set_max_memory (pool, 16 * 9 + 15);
      g_assert_null (test_requester_end (head, &error));
      if (how == 0)
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      else
        g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE);
      g_clear_error (&error);
      test_requester_end_served (next);
      test_requester_end_served (last);
      buf_pool_allocation_unref (one);
    }
}

static void
test_head_times_out (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *one = test_allocate (pool, 1);
  BufPoolAllocation *other;
  TestRequester *head, *next;

  g_test_summary ("When an owed waiter times out, the waiters behind it are served");

  head = test_requester_start_full (pool, 10, G_USEC_PER_SEC / 2, NULL);
  test_wait_for_waiting (pool, 1);
  while ((other = buf_pool_try_allocate (pool, 1, NULL)) != NULL)
    buf_pool_allocation_unref (other);
  next = test_requester_start (pool, 5);
  test_wait_until (buf_pool_get_waiting (pool) == 2 || test_requester_is_done (next));
  g_assert_null (test_requester_end (head, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  test_requester_end_served (next);
  buf_pool_allocation_unref (one);
}

static void
test_woken_but_not_granted (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  guint trapped = 0;

  g_test_summary (
      "A large waiter is woken, and a new request takes a part of its bytes: a smaller waiter "
      "behind it that fits into the rest is served");

  /* Otherwise, the large waiter would become owed after being overtaken for so long. */
  test_pool_stop_clock (pool);
  for (guint round = 0; round < test_scale (300) || trapped == 0; round++)
    {
      BufPoolAllocation *all = test_allocate (pool, 10);
      BufPoolAllocation *kept;
      TestRequester *large = test_requester_start (pool, 10);
      TestRequester *small;

      test_wait_for_waiting (pool, 1);
      small = test_requester_start (pool, 5);
      test_wait_for_waiting (pool, 2);

      buf_pool_allocation_unref (all);
      kept = buf_pool_try_allocate (pool, 4, NULL);
      if (kept != NULL)
        {
          trapped++;
          test_requester_end_served (small);
          g_assert_false (test_requester_is_done (large));
          buf_pool_allocation_unref (kept);
          test_requester_end_served (large);
        }
      else
        {
          test_requester_end_served (large);
          test_requester_end_served (small);
        }
    }
  g_test_message ("the newcomer came first %u times", trapped);
  test_assert_figures (pool, 0, 0);
}

typedef struct
{
  BufPool *pool;
  gint stop; /* atomic */
} Stream;

static gpointer
stream_small_requests (gpointer data)
{
  Stream *stream = data;

  while (!g_atomic_int_get (&stream->stop))
    {
      BufPoolAllocation *first = buf_pool_allocate (stream->pool, 2, NULL, NULL);
      BufPoolAllocation *second = buf_pool_try_allocate (stream->pool, 1, NULL);

      g_clear_pointer (&second, buf_pool_allocation_unref);
      buf_pool_allocation_unref (first);
    }
  return NULL;
}

static void
test_stream_does_not_starve (void)
{
  Stream stream = { .pool = test_pool_new (16, 10) };
  GThread *threads[4];

  g_test_summary ("A stream of small requests from four threads does not starve requests for the "
                  "whole budget");

  for (guint i = 0; i < 4; i++)
    threads[i] = g_thread_new ("stream", stream_small_requests, &stream);
  for (guint i = 0; i < test_scale (500); i++)
    {
      g_autoptr (GError) error = NULL;
      BufPoolAllocation *whole =
          buf_pool_allocate_timeout (stream.pool, 10, 60 * G_USEC_PER_SEC, NULL, &error);

      g_assert_no_error (error);
      buf_pool_allocation_unref (whole);
    }
  g_atomic_int_set (&stream.stop, TRUE);
  for (guint i = 0; i < 4; i++)
    g_thread_join (threads[i]);
  test_assert_figures (stream.pool, 0, 0);
  g_object_unref (stream.pool);
}

static gpointer
pester (gpointer data)
{
  Stream *stream = data;

  while (!g_atomic_int_get (&stream->stop))
    {
      BufPoolAllocation *one = buf_pool_try_allocate (stream->pool, 1, NULL);

      g_clear_pointer (&one, buf_pool_allocation_unref);
    }
  return NULL;
}

static void
test_timeout_is_total (void)
{
  Stream stream = { .pool = test_pool_new (16, 10) };
  BufPoolAllocation *nine = test_allocate (stream.pool, 9);
  GThread *thread = g_thread_new ("pester", pester, &stream);
  g_autoptr (GError) error = NULL;
  gint64 begin = g_get_monotonic_time ();
  gint64 end;

  g_test_summary (
      "A timeout counts from the call, no matter how often the waiter is woken, and does not end "
      "early");

  g_assert_null (buf_pool_allocate_timeout (stream.pool, 2, 300000, NULL, &error));
  end = g_get_monotonic_time ();
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_assert_cmpint (end - begin, >=, 300000);
  g_assert_cmpint (end - begin, <, 30 * G_USEC_PER_SEC);

  g_atomic_int_set (&stream.stop, TRUE);
  g_thread_join (thread);
  g_clear_error (&error);
  g_assert_null (buf_pool_allocate_timeout (stream.pool, 2, 1, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  buf_pool_allocation_unref (nine);
  g_object_unref (stream.pool);
}

static void
test_timeout_races_grant (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  guint n_served = 0, n_late = 0;

  g_test_summary ("Memory is freed at the moment of the timeout: a request that times out was "
                  "short of memory");

  for (guint round = 0; round < test_scale (3000); round++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (BufPoolAllocation) got = NULL;
      BufPoolAllocation *all = test_allocate (pool, 10);
      TestRequester *requester = test_requester_start_full (pool, 10, 300, NULL);
      gint64 moment = g_get_monotonic_time () + 300 + round % 200;

      while (g_get_monotonic_time () < moment)
        continue;
      buf_pool_allocation_unref (all);
      got = test_requester_end (requester, &error);
      if (got != NULL)
        {
          n_served++;
          continue;
        }
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      g_assert_null (strstr (error->message, "only 160 of 160"));
      n_late++;
    }
  g_test_message ("%u served, %u too late", n_served, n_late);
}

static void
test_cancelled_and_closed (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *all = test_allocate (pool, 10);
  TestRequester *requester = test_requester_start_full (pool, 10, -1, cancellable);

  g_test_summary ("A request that is cancelled on a closed pool reports the cancellation");

  test_wait_for_waiting (pool, 1);
  g_cancellable_cancel (cancellable);
  buf_pool_close (pool);
  g_assert_null (test_requester_end (requester, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  buf_pool_allocation_unref (all);
}

static void
test_long_timeouts (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  const gint64 timeouts[] = { G_MAXINT64 - 1, G_MAXINT64, -1, G_MININT64 };

  g_test_summary ("A timeout beyond the end of time is no limit");

  for (guint i = 0; i < G_N_ELEMENTS (timeouts); i++)
    {
      BufPoolAllocation *all = test_allocate (pool, 10);
      TestRequester *requester = test_requester_start_full (pool, 1, timeouts[i], NULL);

      test_wait_for_waiting (pool, 1);
      buf_pool_allocation_unref (all);
      test_requester_end_served (requester);
    }
}

static void
test_cancel_while_waiting (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *all = test_allocate (pool, 10);
  TestRequester *cancelled[3], *other;

  g_test_summary ("A cancellable that several threads share ends their waits, and no others");

  other = test_requester_start (pool, 1);
  for (guint i = 0; i < 3; i++)
    cancelled[i] = test_requester_start_full (pool, 1, -1, cancellable);
  test_wait_for_waiting (pool, 4);
  g_cancellable_cancel (cancellable);
  for (guint i = 0; i < 3; i++)
    {
      g_assert_null (test_requester_end (cancelled[i], &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      g_clear_error (&error);
    }
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
  buf_pool_allocation_unref (all);
  test_requester_end_served (other);
}

static void
test_cancel_races_grant (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  guint n_served = 0, n_cancelled = 0;

  g_test_summary ("Cancelled at the moment of the grant, a request is served or cancelled, and "
                  "nothing is lost");

  for (guint round = 0; round < test_scale (2000) || n_cancelled == 0; round++)
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (GError) error = NULL;
      g_autoptr (BufPoolAllocation) got = NULL;
      BufPoolAllocation *all = test_allocate (pool, 10);
      TestRequester *requester = test_requester_start_full (pool, 10, -1, cancellable);

      test_wait_for_waiting (pool, 1);
      if (round % 2 == 0)
        buf_pool_allocation_unref (g_steal_pointer (&all));
      /* From zero to a few microseconds: about the time that the waiter needs to wake up. */
      for (guint spin = 0; spin < round % 97 * 20; spin++)
        g_atomic_int_get (&n_served);
      g_cancellable_cancel (cancellable);
      g_clear_pointer (&all, buf_pool_allocation_unref);

      got = test_requester_end (requester, &error);
      if (got == NULL)
        {
          g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
          n_cancelled++;
        }
      else
        n_served++;
    }
  g_test_message ("served %u, cancelled %u", n_served, n_cancelled);
  test_assert_figures (pool, 0, 0);
}

static void
test_raised_maximum (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *all = test_allocate (pool, 10);
  TestRequester *first, *second;

  g_test_summary ("Raising the maximum serves the requests that now fit");

  first = test_requester_start (pool, 5);
  second = test_requester_start (pool, 5);
  test_wait_for_waiting (pool, 2);
  buf_pool_set_max_memory (pool, 16 * 20);
  test_requester_end_served (first);
  test_requester_end_served (second);
  buf_pool_allocation_unref (all);
}

static void
test_lowered_maximum (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *all = test_allocate (pool, 10);
  TestRequester *large, *small;

  g_test_summary ("Lowering the maximum fails requests that can never be served; the others wait "
                  "until usage has decreased");

  large = test_requester_start (pool, 6);
  small = test_requester_start (pool, 5);
  test_wait_for_waiting (pool, 2);
  buf_pool_set_max_memory (pool, 16 * 5);
  g_assert_null (test_requester_end (large, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
  g_assert_false (test_requester_is_done (small));
  buf_pool_allocation_unref (all);
  test_requester_end_served (small);
  test_assert_figures (pool, 0, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/waiting/whole-budget", test_whole_budget);
  g_test_add_func ("/waiting/one-release-serves-ten", test_one_release_serves_ten);
  g_test_add_func ("/waiting/small-behind-large", test_small_behind_large);
  g_test_add_func ("/waiting/overtaking-bound", test_overtaking_bound);
  g_test_add_func ("/waiting/head-leaves", test_head_leaves);
  g_test_add_func ("/waiting/head-times-out", test_head_times_out);
  g_test_add_func ("/waiting/woken-but-not-granted", test_woken_but_not_granted);
  g_test_add_func ("/waiting/stream-does-not-starve", test_stream_does_not_starve);
  g_test_add_func ("/waiting/timeout-is-total", test_timeout_is_total);
  g_test_add_func ("/waiting/timeout-races-grant", test_timeout_races_grant);
  g_test_add_func ("/waiting/cancelled-and-closed", test_cancelled_and_closed);
  g_test_add_func ("/waiting/long-timeouts", test_long_timeouts);
  g_test_add_func ("/waiting/cancel-while-waiting", test_cancel_while_waiting);
  g_test_add_func ("/waiting/cancel-races-grant", test_cancel_races_grant);
  g_test_add_func ("/waiting/raised-maximum", test_raised_maximum);
  g_test_add_func ("/waiting/lowered-maximum", test_lowered_maximum);
  return g_test_run ();
}
