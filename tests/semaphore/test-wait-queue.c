/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The order in which waiters are served, without threads: each step is explicit. */

#include "semaphore/wait-queue-fixture.h"

static void
test_task_needs_no_turn (Fixture *self, gconstpointer data)
{
  BufWaiter *threads[BUF_WAIT_QUEUE_MAX_WOKEN + 2];
  BufWaiter *task;

  g_test_summary ("Threads are woken up to a limit, and tasks behind them are granted");

  fixture_take (self, MAXIMUM);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = fixture_push_thread (self, 1);
  task = fixture_push_task (self, 1);
  fixture_release (self, MAXIMUM);

  for (guint i = 0; i < G_N_ELEMENTS (threads) - 1; i++)
    assert_pending (threads[i],
                    i < BUF_WAIT_QUEUE_MAX_WOKEN ? BUF_WAITER_WOKEN : BUF_WAITER_ASLEEP);
  assert_granted (task);

  g_assert_true (fixture_run (self, threads[0]));
  assert_pending (threads[BUF_WAIT_QUEUE_MAX_WOKEN], BUF_WAITER_WOKEN);
}

static void
test_waiters_overtake_too (Fixture *self, gconstpointer data)
{
  BufWaiter *oldest, *thread, *task;

  g_test_summary ("Waiters overtake the oldest like new requests do");

  fixture_take (self, MAXIMUM);
  oldest = fixture_push_task (self, 50);
  thread = fixture_push_thread (self, 1);
  task = fixture_push_task (self, 1);
  fixture_release (self, 2);
  assert_granted (task);
  g_assert_cmpuint (oldest->overtaken, ==, 1);
  g_assert_true (fixture_run (self, thread));
  g_assert_cmpuint (oldest->overtaken, ==, 2);
}

static void
test_keeps_its_place (Fixture *self, gconstpointer data)
{
  BufWaiter *first, *second;

  g_test_summary ("A woken thread that could not take its bytes keeps its age");

  fixture_take (self, MAXIMUM);
  fixture_push_task (self, 50);
  first = fixture_push_thread (self, 10);
  second = fixture_push_thread (self, 10);
  fixture_release (self, 10);
  assert_pending (first, BUF_WAITER_WOKEN);
  fixture_take (self, 10);
  g_assert_false (fixture_run (self, first));
  fixture_release (self, 10);
  assert_pending (first, BUF_WAITER_WOKEN);
  assert_pending (second, BUF_WAITER_ASLEEP);
}

static void
test_owed_by_number (Fixture *self, gconstpointer data)
{
  BufWaiter *oldest, *small;

  g_test_summary ("The oldest is overtaken a number of times; then its bytes are kept for it");

  self->queue.overtaken_time = G_MAXINT64 / 2;
  fixture_take (self, 60);
  oldest = fixture_push_task (self, 50);
  fixture_overtake (self, BUF_WAIT_QUEUE_MAX_OVERTAKEN);
  g_assert_true (oldest->owed);
  g_assert_cmpuint (self->level.history.most_overtaken, ==, BUF_WAIT_QUEUE_MAX_OVERTAKEN);

  g_assert_false (fixture_try (self, 1));
  small = fixture_push_task (self, 1);
  fixture_release (self, 5);
  assert_pending (small, BUF_WAITER_ASLEEP);
  fixture_release (self, 6);
  assert_granted (oldest);
  assert_granted (small);
}

static void
test_oldest_passes_promises (Fixture *self, gconstpointer data)
{
  BufWaiter *oldest, *small;

  g_test_summary ("The oldest is served when it fits, no matter what is promised to others");

  fixture_take (self, MAXIMUM);
  oldest = fixture_push_thread (self, 10);
  small = fixture_push_thread (self, 5);
  fixture_release (self, 5);
  assert_pending (small, BUF_WAITER_WOKEN);
  fixture_release (self, 5);
  assert_pending (oldest, BUF_WAITER_WOKEN);
  g_assert_true (fixture_run (self, oldest));
  g_assert_false (fixture_run (self, small));
}

static void
test_oldest_passes_all_promises (Fixture *self, gconstpointer data)
{
  BufLevel child;
  BufWaiter *oldest, *other;

  g_test_summary (
      "The oldest, which fits because its own level has room now, is served even if all "
      "bytes are promised to others");

  buf_level_init (&child, &self->queue, &self->level, 10);
  child.free = 5;
  fixture_take (self, MAXIMUM);
  oldest = fixture_push_thread_at (self, &child, 10);
  other = fixture_push_thread (self, 10);
  fixture_release (self, 10);
  assert_pending (oldest, BUF_WAITER_ASLEEP);
  assert_pending (other, BUF_WAITER_WOKEN);

  buf_level_add_free_locked (&child, 5);
  fixture_release (self, 0);
  assert_pending (oldest, BUF_WAITER_WOKEN);
  fixture_leave (self, oldest);
}

static void
test_owed_counts_once (Fixture *self, gconstpointer data)
{
  BufWaiter *oldest, *task;

  g_test_summary ("The bytes of an urgent thread that is owed and woken are kept only once");

  fixture_take (self, MAXIMUM);
  oldest = fixture_push_urgent_thread (self, 10);
  task = fixture_push_task (self, 5);
  buf_wait_queue_make_owed (oldest);
  fixture_release (self, 17);
  assert_pending (oldest, BUF_WAITER_WOKEN);
  assert_granted (task);
  g_assert_true (fixture_try (self, 2));
  g_assert_false (fixture_try (self, 1));
  g_assert_true (fixture_run (self, oldest));
}

static void
test_batches (Fixture *self, gconstpointer data)
{
  guint n_sections = 1;

  g_test_summary ("One section serves a bounded number of waiters, and reports if there are more");

  fixture_take (self, MAXIMUM);
  for (guint i = 0; i < 3 * BUF_WAIT_QUEUE_BATCH; i++)
    fixture_push_task (self, 1);
  self->level.free += 3 * BUF_WAIT_QUEUE_BATCH;
  while (!buf_wait_queue_serve_locked (&self->queue, &self->ready))
    {
      g_assert_cmpuint (self->ready.tasks.length, ==, n_sections * BUF_WAIT_QUEUE_BATCH);
      n_sections++;
    }
  g_assert_cmpuint (n_sections, ==, 4);
  g_assert_cmpuint (self->queue.waiters.length, ==, 0);
  g_assert_cmpint (self->level.free, ==, 0);
}

static void
test_impossible (Fixture *self, gconstpointer data)
{
  BufWaiter *woken, *large, *small;

  g_test_summary ("A request for more than the maximum fails, and all requests fail on close");

  fixture_take (self, MAXIMUM);
  woken = fixture_push_thread (self, 60);
  large = fixture_push_task (self, 50);
  small = fixture_push_thread (self, 40);
  fixture_release (self, 60);
  assert_pending (woken, BUF_WAITER_WOKEN);
  buf_wait_queue_set_maximum_locked (&self->level, MAXIMUM - 55);
  fixture_release (self, 0);
  g_assert_cmpint (large->outcome, ==, BUF_OUTCOME_TOO_LARGE);
  g_assert_cmpint (large->maximum, ==, MAXIMUM - 55);
  g_assert_false (fixture_run (self, woken));
  g_assert_cmpint (woken->outcome, ==, BUF_OUTCOME_TOO_LARGE);
  assert_pending (small, BUF_WAITER_ASLEEP);

  buf_wait_queue_close_locked (&self->level);
  fixture_release (self, 45);
  g_assert_cmpint (small->outcome, ==, BUF_OUTCOME_CLOSED);
  g_assert_false (fixture_try (self, 1));
}

static void
test_drainers_are_told (Fixture *self, gconstpointer data)
{
  BufWaiter *drainer, *owner;

  g_test_summary ("Drainers are told of the moment at which nothing was outstanding, even later");

  drainer = fixture_push_task (self, 0);
  owner = fixture_push_task (self, 0);
  owner->spares_pinned = TRUE;
  self->level.pinned = 1;
  buf_wait_queue_note_drained_locked (&self->level);
  self->level.pinned = 0;
  g_assert_true (buf_wait_queue_serve_locked (&self->queue, &self->ready));
  assert_granted (owner);
  assert_pending (drainer, BUF_WAITER_ASLEEP);

  buf_wait_queue_note_drained_locked (&self->level);
  fixture_take (self, 1);
  g_assert_true (buf_wait_queue_serve_locked (&self->queue, &self->ready));
  assert_granted (drainer);
}

#define ADD(name, function)                                                                        \
  g_test_add ("/wait-queue/" name, Fixture, NULL, fixture_set_up, function, fixture_tear_down)

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  ADD ("task-needs-no-turn", test_task_needs_no_turn);
  ADD ("waiters-overtake-too", test_waiters_overtake_too);
  ADD ("keeps-its-place", test_keeps_its_place);
  ADD ("owed-by-number", test_owed_by_number);
  ADD ("oldest-passes-promises", test_oldest_passes_promises);
  ADD ("oldest-passes-all-promises", test_oldest_passes_all_promises);
  ADD ("owed-counts-once", test_owed_counts_once);
  ADD ("batches", test_batches);
  ADD ("impossible", test_impossible);
  ADD ("drainers-are-told", test_drainers_are_told);

  return g_test_run ();
}
