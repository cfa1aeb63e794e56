/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* How a pool ends: close, drain and dispose, while other threads still use it. */

#include "testing.h"

static void
test_close_with_waiters (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *all = test_allocate (pool, 10);
  TestRequester *requesters[5];

  g_test_summary ("Closing fails every waiter, and does not block");

  for (guint i = 0; i < 5; i++)
    requesters[i] = test_requester_start (pool, 1 + i);
  test_wait_for_waiting (pool, 5);
  buf_pool_close (pool);
  for (guint i = 0; i < 5; i++)
    {
      g_assert_null (test_requester_end (requesters[i], &error));
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
      g_clear_error (&error);
    }
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 0);
  buf_pool_allocation_unref (all);
  test_assert_figures (pool, 0, 0);
}

static void
test_drain_timeout (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *three = test_allocate (pool, 3);
  gint64 begin = g_get_monotonic_time ();

  g_test_summary ("A drain that times out reports how much is outstanding, and leaves the pool "
                  "open");

  g_assert_false (buf_pool_drain_timeout (pool, 50000, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_assert_cmpstr (error->message,
                   ==,
                   "Draining timed out while 1 allocation (48 bytes) is still outstanding");
  g_assert_cmpint (g_get_monotonic_time () - begin, >=, 50000);
  buf_pool_allocation_unref (three);

  g_clear_error (&error);
  g_assert_true (buf_pool_drain_timeout (pool, 0, NULL, &error));
  g_assert_no_error (error);
  buf_pool_allocation_unref (test_allocate (pool, 10));
}

typedef struct
{
  BufPool *pool;
  GCancellable *cancellable;
  gboolean drained;
  GError *error;
  gint done; /* atomic */
  GThread *thread;
} Drainer;

static gpointer
drain (gpointer data)
{
  Drainer *drainer = data;

  drainer->drained = buf_pool_drain (drainer->pool, drainer->cancellable, &drainer->error);
  g_atomic_int_set (&drainer->done, TRUE);
  return NULL;
}

static void
start_draining (Drainer *drainer, BufPool *pool, GCancellable *cancellable)
{
  guint n = test_get_n_drainers (pool);

  *drainer = (Drainer){ .pool = pool, .cancellable = cancellable };
  drainer->thread = g_thread_new ("drain", drain, drainer);
  test_wait_until (test_get_n_drainers (pool) == n + 1);
}

static void
end_draining (Drainer *drainer)
{
  g_thread_join (drainer->thread);
  g_assert_no_error (drainer->error);
  g_assert_true (drainer->drained);
}

static void
test_drain_waits (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *a = test_allocate (pool, 5);
  BufPoolAllocation *b = test_allocate (pool, 5);
  Drainer drainers[3];

  g_test_summary ("Several drainers wait for the last allocation, and it wakes all of them");

  for (guint i = 0; i < 3; i++)
    start_draining (&drainers[i], pool, NULL);
  buf_pool_allocation_unref (a);
  g_assert_cmpuint (test_get_n_drainers (pool), ==, 3);
  for (guint i = 0; i < 3; i++)
    g_assert_false (g_atomic_int_get (&drainers[i].done));
  buf_pool_allocation_unref (b);
  for (guint i = 0; i < 3; i++)
    end_draining (&drainers[i]);
}

static void
test_drain_cancelled (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  BufPoolAllocation *allocation = test_allocate (pool, 5);
  Drainer drainer;

  g_test_summary ("A drain can be cancelled");

  start_draining (&drainer, pool, cancellable);
  g_cancellable_cancel (cancellable);
  g_thread_join (drainer.thread);
  g_assert_false (drainer.drained);
  g_assert_error (drainer.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&drainer.error);
  buf_pool_allocation_unref (allocation);
}

static void
test_zero_is_not_lost (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);

  g_test_summary ("A drain notices a moment without allocations even if the pool is in use again "
                  "before the drainer wakes up");

  for (guint round = 0; round < test_scale (500); round++)
    {
      BufPoolAllocation *allocation = test_allocate (pool, 10);
      Drainer drainer;

      start_draining (&drainer, pool, NULL);
      buf_pool_allocation_unref (allocation);
      allocation = test_allocate (pool, 10);
      end_draining (&drainer);
      buf_pool_allocation_unref (allocation);
    }
}

static gpointer
drop (gpointer data)
{
  buf_pool_allocation_unref (data);
  return NULL;
}

static void
test_dispose_waits (void)
{
  BufPool *pool = test_pool_new (16, 10);
  BufPoolAllocation *allocations[3];
  GThread *threads[3];
  TestOwner owner;

  g_test_summary ("Dropping the pool waits for allocations in other threads");

  for (guint i = 0; i < 3; i++)
    allocations[i] = test_allocate (pool, 3);
  test_owner_start_waiting (&owner, pool);
  for (guint i = 0; i < 3; i++)
    {
      test_owner_assert_waits (&owner);
      threads[i] = g_thread_new ("drop", drop, allocations[i]);
      g_thread_join (threads[i]);
    }
  test_owner_end (&owner);
}

static gpointer
dispose (gpointer data)
{
  g_object_run_dispose (data);
  return NULL;
}

static void
test_dispose_with_waiters (void)
{
  BufPool *pool = test_pool_new (16, 10);
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *all = test_allocate (pool, 10);
  TestRequester *requester = test_requester_start (pool, 1);
  GThread *thread;

  g_test_summary ("Dispose fails the waiters, and can run twice");

  test_wait_for_waiting (pool, 1);
  thread = g_thread_new ("dispose", dispose, pool);
  g_assert_null (test_requester_end (requester, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
  buf_pool_allocation_unref (all);
  g_thread_join (thread);

  g_assert_true (buf_pool_is_closed (pool));
  g_object_run_dispose (G_OBJECT (pool));
  g_object_unref (pool);
}

static void
drop_on_notify (gpointer data, GObject *where_the_object_was)
{
  buf_pool_allocation_unref (data);
}

static void
test_weak_notify (void)
{
  BufPool *pool = test_pool_new (16, 10);
  BufPool *weak = pool;

  g_test_summary ("A weak notify may drop an allocation that dispose would wait for");

  g_object_weak_ref (G_OBJECT (pool), drop_on_notify, test_allocate (pool, 10));
  g_object_add_weak_pointer (G_OBJECT (pool), (gpointer *) &weak);
  g_object_unref (pool);
  g_assert_null (weak);
}

/* Two threads that start each round at the same time, within nanoseconds. */
typedef struct
{
  gint round;                    /* atomic; the round that may begin */
  gint ready;                    /* atomic; the round for which the other thread is ready */
  BufPoolAllocation *allocation; /* what the other thread drops */
  guint delay;
  guint n_rounds;
} Race;

static void
spin (guint n)
{
  static gint sink;

  while (n-- > 0)
    g_atomic_int_get (&sink);
}

static void
spin_until (gint *value, gint expected)
{
  for (guint i = 1; g_atomic_int_get (value) != expected; i++)
    if (i % 10000 == 0)
      g_thread_yield ();
}

static gpointer
drop_in_each_round (gpointer data)
{
  Race *race = data;

  for (guint round = 1; round <= race->n_rounds; round++)
    {
      g_atomic_int_set (&race->ready, round);
      spin_until (&race->round, round);
      spin (race->delay);
      buf_pool_allocation_unref (race->allocation);
    }
  return NULL;
}

static void
test_last_release_races_dispose (void)
{
  Race race = { .n_rounds = test_scale (100000) };
  GThread *thread = g_thread_new ("drop", drop_in_each_round, &race);

  g_test_summary (
      "The last release, fast, slow or cached, is over before the memory of the pool is "
      "freed");

  for (guint round = 1; round <= race.n_rounds; round++)
    {
      BufPool *pool = test_pool_new (16, 1000);

      /* With a cache, the block goes there, under a lock. */
      if (round % 4 < 2)
        buf_pool_set_max_cached_memory (pool, 0);
      spin_until (&race.ready, round);
      race.allocation = test_allocate (pool, round % 2 == 0 ? 1 : 900);
      race.delay = round / 2 % 100 * 4;
      g_atomic_int_set (&race.round, round);
      spin (round / 200 % 100 * 4);
      g_object_unref (pool);
    }
  g_thread_join (thread);
}

typedef struct
{
  BufPool *pool;
  GCancellable *cancellable;
} Guest;

static gpointer
request_without_a_reference (gpointer data)
{
  Guest *guest = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (BufPoolAllocation) allocation =
      buf_pool_allocate (guest->pool, 1, guest->cancellable, &error);

  g_assert_true (allocation != NULL ||
                 g_error_matches (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED) ||
                 g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED));
  return NULL;
}

static void
test_leavers_race_dispose (void)
{
  g_test_summary (
      "A thread that waits without its own reference has left the pool before the memory of the "
      "pool is freed, even if it is cancelled at that moment");

  for (guint round = 0; round < test_scale (3000); round++)
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      Guest guest = { .pool = test_pool_new (16, 10), .cancellable = cancellable };
      BufPoolAllocation *all = test_allocate (guest.pool, 10);
      GThread *threads[3], *dropper;

      for (guint i = 0; i < 3; i++)
        threads[i] = g_thread_new ("guest", request_without_a_reference, &guest);
      test_wait_for_waiting (guest.pool, 3);
      dropper = g_thread_new ("drop", drop, all);
      if (round % 2 == 0)
        buf_pool_close (guest.pool);
      else
        g_cancellable_cancel (cancellable);
      g_object_unref (guest.pool);
      g_thread_join (dropper);
      for (guint i = 0; i < 3; i++)
        g_thread_join (threads[i]);
    }
}

static void
drop_pool (GCancellable *cancellable, gpointer user_data)
{
  g_object_unref (user_data);
}

static void
test_dispose_in_cancelled_handler (void)
{
  g_test_summary (
      "A handler of the cancellable drops the last reference, while a thread without its own "
      "reference waits with the same cancellable: no deadlock, no matter which handler is first");

  for (guint round = 0; round < test_scale (200); round++)
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      Guest guest = { .pool = test_pool_new (16, 10), .cancellable = cancellable };
      BufPoolAllocation *all = test_allocate (guest.pool, 10);
      GThread *thread, *dropper;

      if (round % 2 == 0)
        g_signal_connect (cancellable, "cancelled", G_CALLBACK (drop_pool), guest.pool);
      thread = g_thread_new ("guest", request_without_a_reference, &guest);
      test_wait_for_waiting (guest.pool, 1);
      if (round % 2 == 1)
        g_signal_connect (cancellable, "cancelled", G_CALLBACK (drop_pool), guest.pool);
      dropper = g_thread_new ("drop", drop, all);
      g_cancellable_cancel (cancellable);
      g_thread_join (thread);
      g_thread_join (dropper);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/lifetime/close-with-waiters", test_close_with_waiters);
  g_test_add_func ("/lifetime/drain-timeout", test_drain_timeout);
  g_test_add_func ("/lifetime/drain-waits", test_drain_waits);
  g_test_add_func ("/lifetime/drain-cancelled", test_drain_cancelled);
  g_test_add_func ("/lifetime/zero-is-not-lost", test_zero_is_not_lost);
  g_test_add_func ("/lifetime/dispose-waits", test_dispose_waits);
  g_test_add_func ("/lifetime/dispose-with-waiters", test_dispose_with_waiters);
  g_test_add_func ("/lifetime/weak-notify", test_weak_notify);
  g_test_add_func ("/lifetime/last-release-races-dispose", test_last_release_races_dispose);
  g_test_add_func ("/lifetime/leavers-race-dispose", test_leavers_race_dispose);
  g_test_add_func ("/lifetime/dispose-in-cancelled-handler", test_dispose_in_cancelled_handler);
  return g_test_run ();
}
