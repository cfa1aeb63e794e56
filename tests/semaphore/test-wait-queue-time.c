/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Effects of time on a wait queue: promises end, and the oldest is owed its bytes. */

#include "semaphore/wait-queue-fixture.h"

static void
test_promise_ends (Fixture *self, gconstpointer data)
{
  BufWaiter *starved, *thread, *task;

  g_test_summary ("Bytes are promised only for a short time to a thread that does not run");

  fixture_take (self, MAXIMUM);
  starved = fixture_push_thread (self, 10);
  thread = fixture_push_thread (self, 6);
  task = fixture_push_task (self, 4);
  fixture_release (self, 10);
  assert_pending (starved, BUF_WAITER_WOKEN);
  assert_pending (thread, BUF_WAITER_ASLEEP);
  assert_pending (task, BUF_WAITER_ASLEEP);

  fixture_let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE / 2);
  assert_pending (task, BUF_WAITER_ASLEEP);
  fixture_let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  assert_pending (starved, BUF_WAITER_LATE);
  assert_pending (thread, BUF_WAITER_WOKEN);
  assert_granted (task);

  g_assert_false (fixture_run (self, starved));
  assert_pending (starved, BUF_WAITER_ASLEEP);
  g_assert_true (fixture_run (self, thread));
  fixture_release (self, 4);
  assert_pending (starved, BUF_WAITER_ASLEEP);
  fixture_release (self, 6);
  assert_pending (starved, BUF_WAITER_WOKEN);
  g_assert_true (fixture_run (self, starved));
}

static void
test_late_frees_a_turn (Fixture *self, gconstpointer data)
{
  BufWaiter *threads[2 * BUF_WAIT_QUEUE_MAX_WOKEN];

  g_test_summary ("Threads that do not run do not keep others from being woken");

  fixture_take (self, MAXIMUM);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = fixture_push_thread (self, 1);
  fixture_release (self, MAXIMUM);
  assert_pending (threads[BUF_WAIT_QUEUE_MAX_WOKEN], BUF_WAITER_ASLEEP);

  fixture_let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  assert_pending (threads[0], BUF_WAITER_LATE);
  for (guint i = BUF_WAIT_QUEUE_MAX_WOKEN; i < G_N_ELEMENTS (threads); i++)
    assert_pending (threads[i], BUF_WAITER_WOKEN);
}

static void
test_no_promises (Fixture *self, gconstpointer data)
{
  BufWaiter *threads[2 * BUF_WAIT_QUEUE_MAX_WOKEN];

  g_test_summary ("If nothing can end a promise, none is made, and all threads that fit are woken");

  buf_wait_queue_set_promises_locked (&self->queue, FALSE);
  fixture_take (self, MAXIMUM);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = fixture_push_thread (self, MAXIMUM);
  fixture_release (self, MAXIMUM);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    assert_pending (threads[i], BUF_WAITER_LATE);
  g_assert_true (fixture_run (self, threads[1]));
  g_assert_false (fixture_run (self, threads[0]));
  assert_pending (threads[0], BUF_WAITER_ASLEEP);
}

static void
test_owed_by_time (Fixture *self, gconstpointer data)
{
  BufWaiter *oldest, *second;

  g_test_summary ("The time counts from when the oldest was first overtaken, and only for it");

  fixture_take (self, 60);
  oldest = fixture_push_task (self, 50);
  second = fixture_push_task (self, 50);
  fixture_overtake (self, 2);
  oldest->overtaken_since -= BUF_WAIT_QUEUE_OVERTAKEN_TIME;
  g_assert_false (fixture_try (self, 1));
  g_assert_true (oldest->owed);
  g_assert_cmpuint (oldest->overtaken, ==, 2);

  second->since -= 100 * BUF_WAIT_QUEUE_OVERTAKEN_TIME;
  self->level.sum_since -= 100 * BUF_WAIT_QUEUE_OVERTAKEN_TIME;
  fixture_release (self, 50);
  assert_granted (oldest);
  g_assert_cmpuint (second->overtaken, ==, 0);
  fixture_take (self, 1);
  fixture_take (self, 1);
  g_assert_cmpuint (second->overtaken, ==, 2);
  g_assert_false (second->owed);
}

static void
test_owed_by_time_after_many (Fixture *self, gconstpointer data)
{
  BufWaiter *oldest;

  g_test_summary ("The time ends at the same moment, no matter how often the oldest was overtaken");

  for (guint n = 1; n < 4 * BUF_WAIT_QUEUE_CLOCK; n += 5)
    {
      fixture_take (self, 60);
      oldest = fixture_push_task (self, 50);
      g_assert_cmpint (buf_wait_queue_get_next_time_locked (&self->queue), ==, G_MAXINT64);
      self->queue.overtaken_time = G_MAXINT64 / 2;
      fixture_overtake (self, n);
      self->queue.overtaken_time = BUF_WAIT_QUEUE_OVERTAKEN_TIME;
      g_assert_cmpint (buf_wait_queue_get_next_time_locked (&self->queue),
                       ==,
                       oldest->overtaken_since + BUF_WAIT_QUEUE_OVERTAKEN_TIME);
      oldest->overtaken_since = g_get_monotonic_time () + G_TIME_SPAN_HOUR;
      fixture_let_time_pass (self, G_TIME_SPAN_HOUR);
      g_assert_false (oldest->owed);
      fixture_let_time_pass (self, BUF_WAIT_QUEUE_OVERTAKEN_TIME);
      g_assert_true (oldest->owed);
      g_assert_false (fixture_try (self, 1));
      fixture_release (self, 60);
      assert_granted (oldest);
      fixture_release (self, 50);
    }
}

static void
test_times (Fixture *self, gconstpointer data)
{
  BufWaiter *first, *second;

  g_test_summary ("The next look is at the end of the first promise, if patience differs");

  fixture_take (self, MAXIMUM);
  first = fixture_push_thread (self, 10);
  first->patience = 10 * BUF_WAIT_QUEUE_PATIENCE;
  second = fixture_push_thread (self, 10);
  fixture_release (self, 10);
  assert_pending (first, BUF_WAITER_WOKEN);
  g_assert_cmpint (buf_wait_queue_get_next_time_locked (&self->queue),
                   ==,
                   first->woken_since + first->patience);
  fixture_release (self, 10);
  assert_pending (second, BUF_WAITER_WOKEN);
  g_assert_cmpint (buf_wait_queue_get_next_time_locked (&self->queue),
                   ==,
                   second->woken_since + second->patience);
}

static void
test_owed_thread (Fixture *self, gconstpointer data)
{
  BufWaiter *oldest;
  gint64 patience;

  g_test_summary (
      "The bytes of an owed thread are kept until it runs or is late, and others get the rest");

  self->queue.overtaken_time = G_MAXINT64 / 2;
  fixture_take (self, 60);
  oldest = fixture_push_thread (self, 50);
  fixture_overtake (self, BUF_WAIT_QUEUE_MAX_OVERTAKEN);
  fixture_release (self, 11);
  assert_pending (oldest, BUF_WAITER_WOKEN);
  fixture_take (self, 1);
  g_assert_false (fixture_try (self, 1));
  fixture_let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  assert_pending (oldest, BUF_WAITER_WOKEN);

  /* Late: it waits for a processor, and others continue. That is not counted. */
  patience = oldest->patience;
  fixture_let_time_pass (self, patience);
  assert_pending (oldest, BUF_WAITER_LATE);
  fixture_take (self, 1);
  g_assert_cmpuint (oldest->overtaken, ==, BUF_WAIT_QUEUE_MAX_OVERTAKEN);
  g_assert_false (fixture_run (self, oldest));
  g_assert_false (fixture_try (self, 1));
  fixture_release (self, 1);
  assert_pending (oldest, BUF_WAITER_WOKEN);
  g_assert_cmpint (oldest->patience, ==, 2 * patience);
  g_assert_true (fixture_run (self, oldest));
}

static void
test_late_shields_nobody (Fixture *self, gconstpointer data)
{
  BufWaiter *starved, *large;

  g_test_summary ("While the oldest is late, the one behind it counts as the oldest");

  self->queue.overtaken_time = G_MAXINT64 / 2;
  fixture_take (self, MAXIMUM);
  starved = fixture_push_thread (self, 10);
  large = fixture_push_task (self, 50);
  fixture_release (self, 10);
  fixture_let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  assert_pending (starved, BUF_WAITER_LATE);
  fixture_overtake (self, BUF_WAIT_QUEUE_MAX_OVERTAKEN);
  g_assert_true (large->owed);
  g_assert_cmpuint (starved->overtaken, ==, 0);
  g_assert_false (fixture_try (self, 1));

  /* When it runs, it is older, and does not overtake. */
  g_assert_true (fixture_run (self, starved));
  fixture_release (self, 10);
  assert_pending (large, BUF_WAITER_ASLEEP);
  fixture_release (self, 40);
  assert_granted (large);
}

static void
test_late_among_others (Fixture *self, gconstpointer data)
{
  BufWaiter *first, *second, *third;

  g_test_summary ("The next in age counts as the oldest: woken or asleep, thread or task");

  self->queue.overtaken_time = G_MAXINT64 / 2;
  fixture_take (self, MAXIMUM);
  first = fixture_push_thread (self, 10);
  second = fixture_push_thread (self, 60);
  third = fixture_push_task (self, 70);
  fixture_release (self, 10);
  fixture_let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  fixture_overtake (self, 3);
  g_assert_cmpuint (second->overtaken, ==, 3);

  fixture_release (self, 50);
  assert_pending (second, BUF_WAITER_WOKEN);
  fixture_overtake (self, 3);
  g_assert_cmpuint (second->overtaken, ==, 6);

  /* When it is late, the bytes it was promised are kept for no other request. */
  fixture_let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  assert_pending (second, BUF_WAITER_LATE);
  fixture_overtake (self, 3);
  g_assert_cmpuint (third->overtaken, ==, 3);
  g_assert_cmpuint (first->overtaken + second->overtaken, ==, 6);

  fixture_take (self, 60);
  g_assert_false (fixture_run (self, first));
  fixture_release (self, 1);
  fixture_take (self, 1);
  g_assert_cmpuint (first->overtaken, ==, 2);
  g_assert_cmpuint (third->overtaken, ==, 4);
}

static void
test_late_again_and_again (Fixture *self, gconstpointer data)
{
  BufWaiter *slow;

  g_test_summary ("A thread that always comes too late becomes owed, and gets more time");

  fixture_take (self, MAXIMUM);
  slow = fixture_push_thread (self, 10);
  for (guint i = 0; i < 3; i++)
    {
      fixture_release (self, 10);
      fixture_let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
      assert_pending (slow, BUF_WAITER_LATE);
      g_assert_false (slow->owed);
      fixture_take (self, 10);
      if (i == 2)
        slow->overtaken_since -= BUF_WAIT_QUEUE_OVERTAKEN_TIME;
      g_assert_false (fixture_run (self, slow));
      g_assert_cmpuint (slow->overtaken, ==, i + 1);
    }
  g_assert_true (slow->owed);
  g_assert_cmpint (slow->patience, ==, BUF_WAIT_QUEUE_OWED_PATIENCE);
  fixture_release (self, 10);
  assert_pending (slow, BUF_WAITER_WOKEN);
  g_assert_false (fixture_try (self, 1));
  g_assert_true (fixture_run (self, slow));
}

#define N_WAITING 20

/* Takes the finished waiters out of the fixture, and adds what they were granted to @held. */
static void
collect_finished (Fixture *self, gint64 *held)
{
  buf_ready_complete (&self->ready);
  buf_ready_init (&self->ready);
  for (guint i = self->waiters->len; i-- > 0;)
    {
      BufWaiter *waiter = self->waiters->pdata[i];

      if (waiter->outcome == BUF_OUTCOME_PENDING)
        continue;
      if (waiter->outcome == BUF_OUTCOME_GRANTED)
        *held += waiter->want.taken;
      g_ptr_array_remove_index_fast (self->waiters, i);
      buf_waiter_clear (waiter);
      g_free (waiter);
    }
}

static void
push_any (Fixture *self)
{
  gint64 bytes = g_test_rand_int_range (1, MAXIMUM / 4);
  gint kind = g_test_rand_int_range (0, 3);

  if (kind == 0)
    fixture_push_task (self, bytes);
  else if (kind == 1)
    fixture_push_urgent_thread (self, bytes);
  else
    fixture_push_thread (self, bytes);
}

/* Runs a waiter if it was woken. Otherwise, it leaves, but only if @leaves is set. */
static void
disturb_any (Fixture *self, gboolean leaves)
{
  BufWaiter *waiter =
      self->waiters->pdata[(guint) g_test_rand_int_range (0, (gint) self->waiters->len)];

  if (waiter->state != BUF_WAITER_ASLEEP)
    fixture_run (self, waiter);
  else if (leaves)
    fixture_leave (self, waiter);
}

static void
step (Fixture *self, gint64 *held)
{
  gint64 bytes = g_test_rand_int_range (1, MAXIMUM / 4);
  gint what = g_test_rand_int_range (0, 100);

  if (what < 20 && self->waiters->len < N_WAITING)
    push_any (self);
  else if (what < 50)
    *held += fixture_try (self, bytes) ? bytes : 0;
  else if (what < 75)
    {
      bytes = MIN (bytes, *held);
      *held -= bytes;
      fixture_release (self, bytes);
    }
  else if (what < 95 && self->waiters->len > 0)
    disturb_any (self, what == 94);
  else
    fixture_let_time_pass (self, g_test_rand_int_range (0, BUF_WAIT_QUEUE_PATIENCE));
  collect_finished (self, held);
}

static void
test_random (Fixture *self, gconstpointer data)
{
  gint64 held = 0;

  g_test_summary ("In random sequences, the queue remembers which waiter is the oldest, and when "
                  "something expires");

  for (guint i = 0; i < test_scale (100000); i++)
    {
      step (self, &held);
      g_assert_cmpint (self->level.free + held, ==, MAXIMUM);
    }
}

#define ADD(name, function)                                                                        \
  g_test_add ("/wait-queue-time/" name, Fixture, NULL, fixture_set_up, function, fixture_tear_down)

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  ADD ("promise-ends", test_promise_ends);
  ADD ("late-frees-a-turn", test_late_frees_a_turn);
  ADD ("no-promises", test_no_promises);
  ADD ("owed-by-time", test_owed_by_time);
  ADD ("owed-by-time-after-many", test_owed_by_time_after_many);
  ADD ("times", test_times);
  ADD ("owed-thread", test_owed_thread);
  ADD ("late-shields-nobody", test_late_shields_nobody);
  ADD ("late-among-others", test_late_among_others);
  ADD ("late-again-and-again", test_late_again_and_again);
  ADD ("random", test_random);

  return g_test_run ();
}
