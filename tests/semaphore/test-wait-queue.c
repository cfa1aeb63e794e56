/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The rule by which waiters are served, without threads: each step is taken by hand. */

#include "semaphore/buf-wait-queue-private.h"
#include "testing.h"

#define MAXIMUM 100

typedef struct
{
  BufWaitQueue queue;
  BufReady ready;
  GPtrArray *waiters;
} Fixture;

static void
set_up (Fixture *self, gconstpointer data)
{
  buf_wait_queue_init (&self->queue, MAXIMUM);
  self->queue.promises = TRUE;
  buf_ready_init (&self->ready);
  self->waiters = g_ptr_array_new ();
}

static void
tear_down (Fixture *self, gconstpointer data)
{
  for (guint i = 0; i < self->waiters->len; i++)
    {
      BufWaiter *waiter = self->waiters->pdata[i];

      if (waiter->outcome == BUF_OUTCOME_PENDING)
        buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_CANCELLED, &self->ready);
    }
  buf_ready_complete (&self->ready);
  g_assert_cmpint (self->queue.promised, ==, 0);
  g_assert_cmpint (self->queue.sum_since, ==, 0);
  g_assert_null (self->queue.threads.root);
  g_assert_null (self->queue.tasks.root);
  for (guint i = 0; i < self->waiters->len; i++)
    {
      buf_waiter_clear (self->waiters->pdata[i]);
      g_free (self->waiters->pdata[i]);
    }
  g_ptr_array_unref (self->waiters);
}

static void
ignore (BufWaiter *waiter)
{
}

static BufWaiter *
push (Fixture *self, gint64 bytes, BufWaiterFunc complete)
{
  BufWaiter *waiter = g_new (BufWaiter, 1);

  buf_waiter_init (waiter, bytes, complete);
  g_ptr_array_add (self->waiters, waiter);
  buf_wait_queue_push_locked (&self->queue, waiter);
  return waiter;
}

static BufWaiter *
push_thread (Fixture *self, gint64 bytes)
{
  return push (self, bytes, NULL);
}

static BufWaiter *
push_task (Fixture *self, gint64 bytes)
{
  return push (self, bytes, ignore);
}

static void
take (Fixture *self, gint64 bytes)
{
  g_assert_true (buf_wait_queue_take_locked (&self->queue, NULL, bytes));
}

static void
release (Fixture *self, gint64 bytes)
{
  self->queue.free += bytes;
  g_assert_true (buf_wait_queue_serve_locked (&self->queue, &self->ready));
}

/* A thread that was woken runs. Returns whether it could take. */
static gboolean
run (Fixture *self, BufWaiter *waiter)
{
  gboolean taken = buf_wait_queue_take_locked (&self->queue, waiter, waiter->bytes);

  g_assert_cmpint (waiter->state, !=, BUF_WAITER_ASLEEP);
  if (taken)
    buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_GRANTED, &self->ready);
  else
    buf_wait_queue_rejoin_locked (&self->queue, waiter);
  g_assert_true (buf_wait_queue_serve_locked (&self->queue, &self->ready));
  return taken;
}

static void
let_time_pass (Fixture *self, gint64 microseconds)
{
  buf_wait_queue_expire_locked (&self->queue, g_get_monotonic_time () + microseconds, &self->ready);
  g_assert_true (buf_wait_queue_serve_locked (&self->queue, &self->ready));
}

#define assert_granted(waiter) g_assert_cmpint ((waiter)->outcome, ==, BUF_OUTCOME_GRANTED)
#define assert_pending(waiter, what)                                                               \
  G_STMT_START                                                                                     \
  {                                                                                                \
    g_assert_cmpint ((waiter)->outcome, ==, BUF_OUTCOME_PENDING);                                  \
    g_assert_cmpint ((waiter)->state, ==, what);                                                   \
  }                                                                                                \
  G_STMT_END

static void
test_task_needs_no_turn (Fixture *self, gconstpointer data)
{
  BufWaiter *threads[BUF_WAIT_QUEUE_MAX_WOKEN + 2];
  BufWaiter *task;

  g_test_summary ("Threads are woken up to a limit, and tasks behind them are granted");

  take (self, MAXIMUM);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = push_thread (self, 1);
  task = push_task (self, 1);
  release (self, MAXIMUM);

  for (guint i = 0; i < G_N_ELEMENTS (threads) - 1; i++)
    assert_pending (threads[i],
                    i < BUF_WAIT_QUEUE_MAX_WOKEN ? BUF_WAITER_WOKEN : BUF_WAITER_ASLEEP);
  assert_granted (task);

  g_assert_true (run (self, threads[0]));
  assert_pending (threads[BUF_WAIT_QUEUE_MAX_WOKEN], BUF_WAITER_WOKEN);
}

static void
test_promise_ends (Fixture *self, gconstpointer data)
{
  BufWaiter *starved, *thread, *task;

  g_test_summary ("Bytes are promised to a thread that does not run for a short time only");

  take (self, MAXIMUM);
  starved = push_thread (self, 10);
  thread = push_thread (self, 6);
  task = push_task (self, 4);
  release (self, 10);
  assert_pending (starved, BUF_WAITER_WOKEN);
  assert_pending (thread, BUF_WAITER_ASLEEP);
  assert_pending (task, BUF_WAITER_ASLEEP);

  let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE / 2);
  assert_pending (task, BUF_WAITER_ASLEEP);
  let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  assert_pending (starved, BUF_WAITER_LATE);
  assert_pending (thread, BUF_WAITER_WOKEN);
  assert_granted (task);

  g_assert_false (run (self, starved));
  assert_pending (starved, BUF_WAITER_ASLEEP);
  g_assert_true (run (self, thread));
  release (self, 4);
  assert_pending (starved, BUF_WAITER_ASLEEP);
  release (self, 6);
  assert_pending (starved, BUF_WAITER_WOKEN);
  g_assert_true (run (self, starved));
}

static void
test_late_frees_a_turn (Fixture *self, gconstpointer data)
{
  BufWaiter *threads[2 * BUF_WAIT_QUEUE_MAX_WOKEN];

  g_test_summary ("Threads that do not run do not keep others from being woken");

  take (self, MAXIMUM);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = push_thread (self, 1);
  release (self, MAXIMUM);
  assert_pending (threads[BUF_WAIT_QUEUE_MAX_WOKEN], BUF_WAITER_ASLEEP);

  let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  assert_pending (threads[0], BUF_WAITER_LATE);
  for (guint i = BUF_WAIT_QUEUE_MAX_WOKEN; i < G_N_ELEMENTS (threads); i++)
    assert_pending (threads[i], BUF_WAITER_WOKEN);
}

static void
test_no_promises (Fixture *self, gconstpointer data)
{
  BufWaiter *threads[2 * BUF_WAIT_QUEUE_MAX_WOKEN];

  g_test_summary ("When nobody could end a promise, none is made, and all that fit are woken");

  self->queue.promises = FALSE;
  take (self, MAXIMUM);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = push_thread (self, MAXIMUM);
  release (self, MAXIMUM);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    assert_pending (threads[i], BUF_WAITER_LATE);
  g_assert_true (run (self, threads[1]));
  g_assert_false (run (self, threads[0]));
  assert_pending (threads[0], BUF_WAITER_ASLEEP);
}

/* Others take and release until the oldest is owed its bytes. */
static void
overtake (Fixture *self, guint n)
{
  for (guint i = 0; i < n; i++)
    {
      take (self, 1);
      release (self, 1);
    }
}

static void
test_owed_by_number (Fixture *self, gconstpointer data)
{
  BufWaiter *oldest, *small;

  g_test_summary ("The oldest is overtaken a number of times; then its bytes are kept for it");

  self->queue.overtaken_time = G_MAXINT64;
  take (self, 60);
  oldest = push_task (self, 50);
  overtake (self, BUF_WAIT_QUEUE_MAX_OVERTAKEN);
  g_assert_true (oldest->owed);
  g_assert_cmpuint (self->queue.history.most_overtaken, ==, BUF_WAIT_QUEUE_MAX_OVERTAKEN);

  g_assert_false (buf_wait_queue_take_locked (&self->queue, NULL, 1));
  small = push_task (self, 1);
  release (self, 5);
  assert_pending (small, BUF_WAITER_ASLEEP);
  release (self, 6);
  assert_granted (oldest);
  assert_granted (small);
}

static void
test_owed_by_time (Fixture *self, gconstpointer data)
{
  BufWaiter *oldest, *second;

  g_test_summary ("The time counts from when the oldest was first overtaken, and only for it");

  take (self, 60);
  oldest = push_task (self, 50);
  second = push_task (self, 50);
  overtake (self, 2);
  oldest->overtaken_since -= BUF_WAIT_QUEUE_OVERTAKEN_TIME;
  g_assert_false (buf_wait_queue_take_locked (&self->queue, NULL, 1));
  g_assert_true (oldest->owed);
  g_assert_cmpuint (oldest->overtaken, ==, 2);

  second->since -= 100 * BUF_WAIT_QUEUE_OVERTAKEN_TIME;
  self->queue.sum_since -= 100 * BUF_WAIT_QUEUE_OVERTAKEN_TIME;
  release (self, 50);
  assert_granted (oldest);
  g_assert_cmpuint (second->overtaken, ==, 0);
  take (self, 1);
  g_assert_cmpuint (second->overtaken, ==, 1);
  g_assert_false (second->owed);
}

static void
test_owed_by_time_after_many (Fixture *self, gconstpointer data)
{
  BufWaiter *oldest;

  g_test_summary ("The time is over at the same moment, however often the oldest was overtaken");

  for (guint n = 1; n < 4 * BUF_WAIT_QUEUE_CLOCK; n += 5)
    {
      take (self, 60);
      oldest = push_task (self, 50);
      g_assert_cmpint (buf_wait_queue_get_next_time_locked (&self->queue), ==, G_MAXINT64);
      self->queue.overtaken_time = G_MAXINT64 / 2;
      overtake (self, n);
      self->queue.overtaken_time = BUF_WAIT_QUEUE_OVERTAKEN_TIME;
      g_assert_cmpint (buf_wait_queue_get_next_time_locked (&self->queue),
                       ==,
                       oldest->overtaken_since + BUF_WAIT_QUEUE_OVERTAKEN_TIME);
      oldest->overtaken_since = g_get_monotonic_time () + G_TIME_SPAN_HOUR;
      let_time_pass (self, G_TIME_SPAN_HOUR);
      g_assert_false (oldest->owed);
      let_time_pass (self, G_TIME_SPAN_HOUR + BUF_WAIT_QUEUE_OVERTAKEN_TIME);
      g_assert_true (oldest->owed);
      g_assert_false (buf_wait_queue_take_locked (&self->queue, NULL, 1));
      release (self, 60);
      assert_granted (oldest);
      release (self, 50);
    }
}

static void
test_times (Fixture *self, gconstpointer data)
{
  BufWaiter *first, *second;

  g_test_summary ("The next look is when the first promise ends, of those whose patience differs");

  take (self, MAXIMUM);
  first = push_thread (self, 10);
  first->patience = 10 * BUF_WAIT_QUEUE_PATIENCE;
  second = push_thread (self, 10);
  release (self, 10);
  assert_pending (first, BUF_WAITER_WOKEN);
  g_assert_cmpint (buf_wait_queue_get_next_time_locked (&self->queue),
                   ==,
                   first->woken_since + first->patience);
  release (self, 10);
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
      "What a thread is owed is kept until it runs, or is late, and others get the rest");

  self->queue.overtaken_time = G_MAXINT64;
  take (self, 60);
  oldest = push_thread (self, 50);
  overtake (self, BUF_WAIT_QUEUE_MAX_OVERTAKEN);
  release (self, 11);
  assert_pending (oldest, BUF_WAITER_WOKEN);
  take (self, 1);
  g_assert_false (buf_wait_queue_take_locked (&self->queue, NULL, 1));
  let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  assert_pending (oldest, BUF_WAITER_WOKEN);

  /* Late: it waits for a processor, and others go on. That is not counted. */
  patience = oldest->patience;
  let_time_pass (self, patience);
  assert_pending (oldest, BUF_WAITER_LATE);
  take (self, 1);
  g_assert_cmpuint (oldest->overtaken, ==, BUF_WAIT_QUEUE_MAX_OVERTAKEN);
  g_assert_false (run (self, oldest));
  g_assert_false (buf_wait_queue_take_locked (&self->queue, NULL, 1));
  release (self, 1);
  assert_pending (oldest, BUF_WAITER_WOKEN);
  g_assert_cmpint (oldest->patience, ==, 2 * patience);
  g_assert_true (run (self, oldest));
}

static void
test_late_shields_nobody (Fixture *self, gconstpointer data)
{
  BufWaiter *starved, *large;

  g_test_summary ("While the oldest is late, the one behind it counts as the oldest");

  self->queue.overtaken_time = G_MAXINT64;
  take (self, MAXIMUM);
  starved = push_thread (self, 10);
  large = push_task (self, 50);
  release (self, 10);
  let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  assert_pending (starved, BUF_WAITER_LATE);
  overtake (self, BUF_WAIT_QUEUE_MAX_OVERTAKEN);
  g_assert_true (large->owed);
  g_assert_cmpuint (starved->overtaken, ==, 0);
  g_assert_false (buf_wait_queue_take_locked (&self->queue, NULL, 1));

  /* When it runs, it is older, and does not overtake. */
  g_assert_true (run (self, starved));
  release (self, 10);
  assert_pending (large, BUF_WAITER_ASLEEP);
  release (self, 40);
  assert_granted (large);
}

static void
test_late_among_others (Fixture *self, gconstpointer data)
{
  BufWaiter *first, *second, *third;

  g_test_summary (
      "Whoever comes next in age counts as the oldest: woken or asleep, thread or task");

  self->queue.overtaken_time = G_MAXINT64;
  take (self, MAXIMUM);
  first = push_thread (self, 10);
  second = push_thread (self, 60);
  third = push_task (self, 70);
  release (self, 10);
  let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  overtake (self, 3);
  g_assert_cmpuint (second->overtaken, ==, 3);

  release (self, 50);
  assert_pending (second, BUF_WAITER_WOKEN);
  overtake (self, 3);
  g_assert_cmpuint (second->overtaken, ==, 6);

  /* What it was promised is kept for nobody when it is late. */
  let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
  assert_pending (second, BUF_WAITER_LATE);
  overtake (self, 3);
  g_assert_cmpuint (third->overtaken, ==, 3);
  g_assert_cmpuint (first->overtaken + second->overtaken, ==, 6);

  take (self, 60);
  g_assert_false (run (self, first));
  release (self, 1);
  take (self, 1);
  g_assert_cmpuint (first->overtaken, ==, 2);
  g_assert_cmpuint (third->overtaken, ==, 4);
}

static void
test_late_again_and_again (Fixture *self, gconstpointer data)
{
  BufWaiter *slow;

  g_test_summary ("A thread that always comes too late becomes owed, and is given more time");

  take (self, MAXIMUM);
  slow = push_thread (self, 10);
  for (guint i = 0; i < 3; i++)
    {
      release (self, 10);
      let_time_pass (self, BUF_WAIT_QUEUE_PATIENCE);
      assert_pending (slow, BUF_WAITER_LATE);
      g_assert_false (slow->owed);
      take (self, 10);
      if (i == 2)
        slow->overtaken_since -= BUF_WAIT_QUEUE_OVERTAKEN_TIME;
      g_assert_false (run (self, slow));
      g_assert_cmpuint (slow->overtaken, ==, i + 1);
    }
  g_assert_true (slow->owed);
  g_assert_cmpint (slow->patience, ==, BUF_WAIT_QUEUE_OWED_PATIENCE);
  release (self, 10);
  assert_pending (slow, BUF_WAITER_WOKEN);
  g_assert_false (buf_wait_queue_take_locked (&self->queue, NULL, 1));
  g_assert_true (run (self, slow));
}

static void
test_oldest_passes_promises (Fixture *self, gconstpointer data)
{
  BufWaiter *oldest, *small;

  g_test_summary ("The oldest is served when it fits, whatever is promised to others");

  take (self, MAXIMUM);
  oldest = push_thread (self, 10);
  small = push_thread (self, 5);
  release (self, 5);
  assert_pending (small, BUF_WAITER_WOKEN);
  release (self, 5);
  assert_pending (oldest, BUF_WAITER_WOKEN);
  g_assert_true (run (self, oldest));
  g_assert_false (run (self, small));
}

static void
test_batches (Fixture *self, gconstpointer data)
{
  guint n_sections = 1;

  g_test_summary ("One section serves a bounded number of waiters, and says that there are more");

  take (self, MAXIMUM);
  for (guint i = 0; i < 3 * BUF_WAIT_QUEUE_BATCH; i++)
    push_task (self, 1);
  self->queue.free += 3 * BUF_WAIT_QUEUE_BATCH;
  while (!buf_wait_queue_serve_locked (&self->queue, &self->ready))
    {
      g_assert_cmpuint (self->ready.tasks.length, ==, n_sections * BUF_WAIT_QUEUE_BATCH);
      n_sections++;
    }
  g_assert_cmpuint (n_sections, ==, 4);
  g_assert_cmpuint (self->queue.waiters.length, ==, 0);
  g_assert_cmpint (self->queue.free, ==, 0);
}

static void
test_impossible (Fixture *self, gconstpointer data)
{
  BufWaiter *woken, *large, *small;

  g_test_summary ("Who wants more than there will ever be fails, and all do when it is closed");

  take (self, MAXIMUM);
  woken = push_thread (self, 60);
  large = push_task (self, 50);
  small = push_thread (self, 40);
  release (self, 60);
  assert_pending (woken, BUF_WAITER_WOKEN);
  buf_wait_queue_set_maximum_locked (&self->queue, MAXIMUM - 55);
  release (self, 0);
  g_assert_cmpint (large->outcome, ==, BUF_OUTCOME_TOO_LARGE);
  g_assert_cmpint (large->maximum, ==, MAXIMUM - 55);
  g_assert_false (run (self, woken));
  g_assert_cmpint (woken->outcome, ==, BUF_OUTCOME_TOO_LARGE);
  assert_pending (small, BUF_WAITER_ASLEEP);

  buf_wait_queue_close_locked (&self->queue);
  release (self, 45);
  g_assert_cmpint (small->outcome, ==, BUF_OUTCOME_CLOSED);
  g_assert_false (buf_wait_queue_take_locked (&self->queue, NULL, 1));
}

static void
test_drainers_are_told (Fixture *self, gconstpointer data)
{
  BufWaiter *drainer, *owner;

  g_test_summary ("Drainers learn of the moment at which nothing was outstanding, also later");

  drainer = push_task (self, 0);
  owner = push_task (self, 0);
  owner->spares_pinned = TRUE;
  self->queue.pinned = 1;
  buf_wait_queue_note_drained_locked (&self->queue);
  self->queue.pinned = 0;
  g_assert_true (buf_wait_queue_serve_locked (&self->queue, &self->ready));
  assert_granted (owner);
  assert_pending (drainer, BUF_WAITER_ASLEEP);

  buf_wait_queue_note_drained_locked (&self->queue);
  take (self, 1);
  g_assert_true (buf_wait_queue_serve_locked (&self->queue, &self->ready));
  assert_granted (drainer);
}

#define ADD(name, function)                                                                        \
  g_test_add ("/wait-queue/" name, Fixture, NULL, set_up, function, tear_down)

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  ADD ("task-needs-no-turn", test_task_needs_no_turn);
  ADD ("promise-ends", test_promise_ends);
  ADD ("late-frees-a-turn", test_late_frees_a_turn);
  ADD ("no-promises", test_no_promises);
  ADD ("owed-by-number", test_owed_by_number);
  ADD ("owed-by-time", test_owed_by_time);
  ADD ("owed-by-time-after-many", test_owed_by_time_after_many);
  ADD ("times", test_times);
  ADD ("owed-thread", test_owed_thread);
  ADD ("late-shields-nobody", test_late_shields_nobody);
  ADD ("late-among-others", test_late_among_others);
  ADD ("late-again-and-again", test_late_again_and_again);
  ADD ("oldest-passes-promises", test_oldest_passes_promises);
  ADD ("batches", test_batches);
  ADD ("impossible", test_impossible);
  ADD ("drainers-are-told", test_drainers_are_told);

  return g_test_run ();
}
