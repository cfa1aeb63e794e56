/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Timed events: promises to threads that never run, waiters that a call has left, and stalls. */

#include <sys/wait.h>
#include <unistd.h>

#include "semaphore/buf-semaphore-sections-private.h"
#include "testing.h"

#define MAXIMUM 100

static gint n_completed; /* atomic */
static gint n_reports;   /* atomic */
static gint n_ended;     /* atomic */

static void
on_completed (BufWaiter *waiter)
{
  g_atomic_int_inc (&n_completed);
}

/* In the thread that used it last, which may be the watcher. */
static void
on_end (BufSemaphore *semaphore)
{
  buf_semaphore_clear (semaphore);
  g_atomic_int_inc (&n_ended);
}

static void
set_up (BufSemaphore *self)
{
  BufSemaphoreFigures figures;

  g_atomic_int_set (&n_completed, 0);
  g_atomic_int_set (&n_reports, 0);
  g_atomic_int_set (&n_ended, 0);
  buf_semaphore_init (self, NULL, MAXIMUM, 1, 1);
  self->end = on_end;
  g_assert_cmpint (buf_semaphore_acquire (self, &BUF_WANT (MAXIMUM), FALSE, &figures),
                   ==,
                   BUF_OUTCOME_GRANTED);
}

/* The @bytes that are still in use. */
static void
tear_down (BufSemaphore *self, gint64 bytes)
{
  if (bytes > 0)
    buf_semaphore_release (self, bytes);
  buf_semaphore_close (self);
  buf_semaphore_abandon (self);
  test_wait_until (g_atomic_int_get (&n_ended) == 1);
}

/* A thread that was put into the queue and never runs. */
static void
push_starved (BufSemaphore *self, BufWaiter *waiter, gint64 bytes)
{
  buf_waiter_init (waiter, bytes, NULL);
  g_mutex_lock (&self->tree->mutex);
  buf_wait_queue_push_locked (&self->level, waiter);
  g_mutex_unlock (&self->tree->mutex);
}

static gint64
get_due (BufSemaphore *self)
{
  gint64 due;

  g_mutex_lock (&self->tree->mutex);
  due = self->tree->watch.due;
  g_mutex_unlock (&self->tree->mutex);
  return due;
}

static void
test_starved (void)
{
  BufSemaphore semaphore;
  BufWaiter starved, task;

  g_test_summary ("A thread that never runs does not keep its bytes from others");

  set_up (&semaphore);
  push_starved (&semaphore, &starved, MAXIMUM);
  buf_waiter_init (&task, MAXIMUM, on_completed);
  buf_semaphore_enqueue (&semaphore, &task);
  buf_semaphore_release (&semaphore, MAXIMUM);
  g_assert_cmpint (starved.outcome, ==, BUF_OUTCOME_PENDING);
  test_wait_until (g_atomic_int_get (&n_completed) == 1);
  g_assert_cmpint (task.outcome, ==, BUF_OUTCOME_GRANTED);

  buf_semaphore_withdraw (&semaphore, &starved, BUF_OUTCOME_CANCELLED);
  buf_waiter_clear (&starved);
  buf_waiter_clear (&task);
  tear_down (&semaphore, MAXIMUM);
}

static void
test_many_tasks (void)
{
  const guint n_tasks = 50000;
  g_autofree BufWaiter *tasks = g_new (BufWaiter, n_tasks);
  BufSemaphore semaphore;
  BufSemaphoreFigures figures;

  g_test_summary ("All tasks are granted, including those that the release left to the watcher");

  set_up (&semaphore);
  buf_semaphore_set_maximum (&semaphore, n_tasks);
  buf_semaphore_acquire (&semaphore, &BUF_WANT (n_tasks - MAXIMUM), FALSE, &figures);
  for (guint i = 0; i < n_tasks; i++)
    {
      buf_waiter_init (&tasks[i], 1, on_completed);
      buf_semaphore_enqueue (&semaphore, &tasks[i]);
    }
  buf_semaphore_release (&semaphore, n_tasks);
  while (g_atomic_int_get (&n_completed) < (gint) n_tasks)
    g_assert_cmpint (get_due (&semaphore), >, 0); /* other watches that are due come first */

  for (guint i = 0; i < n_tasks; i++)
    {
      g_assert_cmpint (tasks[i].outcome, ==, BUF_OUTCOME_GRANTED);
      buf_waiter_clear (&tasks[i]);
      buf_semaphore_release (&semaphore, 1);
    }
  tear_down (&semaphore, 0);
}

static void
on_stalled (BufSemaphore *semaphore, const BufWatchNews *news)
{
  g_atomic_int_inc (&n_reports);
  buf_semaphore_leave (semaphore);
}

static void
test_stall (void)
{
  BufSemaphore semaphore;
  BufWaiter task, second;

  g_test_summary ("If nothing is granted for a long time while a request waits, that is reported "
                  "once");

  set_up (&semaphore);
  semaphore.tree->stall.time = 2000;
  semaphore.report = on_stalled;
  buf_waiter_init (&task, MAXIMUM, on_completed);
  buf_semaphore_enqueue (&semaphore, &task);
  test_wait_until (g_atomic_int_get (&n_reports) == 1);
  for (gint i = 1; i <= 3; i++)
    buf_semaphore_look (&semaphore.tree->watch,
                        g_get_monotonic_time () + i * semaphore.tree->stall.time);
  g_assert_cmpint (g_atomic_int_get (&n_reports), ==, 1);

  /* A grant ends the stall, and the next one is separate. */
  buf_semaphore_release (&semaphore, MAXIMUM);
  test_wait_until (g_atomic_int_get (&n_completed) == 1);
  buf_waiter_init (&second, MAXIMUM, on_completed);
  buf_semaphore_enqueue (&semaphore, &second);
  test_wait_until (g_atomic_int_get (&n_reports) == 2);

  buf_semaphore_withdraw (&semaphore, &second, BUF_OUTCOME_CANCELLED);
  buf_waiter_clear (&task);
  buf_waiter_clear (&second);
  tear_down (&semaphore, MAXIMUM);
}

static guint
get_n_waiting (BufSemaphore *self)
{
  BufSemaphoreFigures figures;

  buf_semaphore_get_figures (self, &figures, NULL);
  return figures.n_waiting;
}

static gpointer
wait_in_thread (gpointer data)
{
  BufSemaphore *self = data;
  BufSemaphoreFigures figures;
  BufWaiter waiter;

  buf_semaphore_enter (self);
  buf_waiter_init (&waiter, MAXIMUM, NULL);
  g_assert_cmpint (buf_semaphore_wait (self, &waiter, -1, &figures), ==, BUF_OUTCOME_GRANTED);
  buf_waiter_clear (&waiter);
  buf_semaphore_leave (self);
  return NULL;
}

static void
test_stall_of_one_thread (void)
{
  BufSemaphore semaphore;
  GThread *thread;

  g_test_summary ("The stall of a thread is reported, even if no other thread uses the semaphore");

  set_up (&semaphore);
  semaphore.tree->stall.time = 1000;
  semaphore.report = on_stalled;
  thread = g_thread_new ("waits", wait_in_thread, &semaphore);
  test_wait_until (g_atomic_int_get (&n_reports) == 1);
  buf_semaphore_release (&semaphore, MAXIMUM);
  g_thread_join (thread);
  tear_down (&semaphore, MAXIMUM);
}

static void
test_interrupted_releaser (void)
{
  BufSemaphore semaphore;
  BufReady ready;
  GThread *thread;

  g_test_summary ("A woken thread is signaled again if the thread that had to signal it was "
                  "preempted");

  set_up (&semaphore);
  buf_ready_init (&ready);
  thread = g_thread_new ("waits", wait_in_thread, &semaphore);
  test_wait_until (get_n_waiting (&semaphore) == 1);
  g_mutex_lock (&semaphore.tree->mutex);
  semaphore.level.free += MAXIMUM;
  semaphore.level.n_allocations--;
  buf_wait_queue_serve_locked (&semaphore.tree->queue, &ready);
  g_assert_cmpuint (ready.wakeups.n, ==, 1);
  buf_semaphore_serve_and_unlock (&semaphore);
  g_thread_join (thread);

  buf_ready_complete (&ready);
  tear_down (&semaphore, MAXIMUM);
}

static void
test_late_waiter (void)
{
  BufSemaphore semaphore;
  BufWaiter first, second;
  gint64 now;

  g_test_summary (
      "A waiter that comes late in a quiet time has not stalled, and is not looked at repeatedly "
      "until it has");

  set_up (&semaphore);
  semaphore.tree->stall.time = G_TIME_SPAN_HOUR;
  semaphore.report = on_stalled;
  buf_waiter_init (&first, MAXIMUM, on_completed);
  buf_waiter_init (&second, MAXIMUM, on_completed);
  buf_semaphore_enqueue (&semaphore, &first);
  buf_semaphore_look (&semaphore.tree->watch, g_get_monotonic_time ());
  buf_semaphore_withdraw (&semaphore, &first, BUF_OUTCOME_CANCELLED);
  semaphore.tree->stall.quiet_since -= semaphore.tree->stall.time;
  buf_semaphore_enqueue (&semaphore, &second);

  now = g_get_monotonic_time ();
  buf_semaphore_look (&semaphore.tree->watch, now);
  g_assert_cmpint (g_atomic_int_get (&n_reports), ==, 0);
  g_assert_cmpint (get_due (&semaphore), >, now);
  buf_semaphore_look (&semaphore.tree->watch,
                      now + semaphore.tree->stall.time + G_TIME_SPAN_SECOND);
  g_assert_cmpint (g_atomic_int_get (&n_reports), ==, 1);

  buf_semaphore_withdraw (&semaphore, &second, BUF_OUTCOME_CANCELLED);
  buf_waiter_clear (&first);
  buf_waiter_clear (&second);
  tear_down (&semaphore, MAXIMUM);
}

static gint is_looking; /* atomic */

static void
look_for_a_while (BufWatch *watch, gint64 now)
{
  static GMutex owner;

  g_atomic_int_set (&is_looking, TRUE);
  g_usleep (g_atomic_int_get (&n_reports) % 70);
  g_mutex_lock (&owner);
  buf_watch_set_due_locked (watch, G_MAXINT64);
  g_mutex_unlock (&owner);
  g_atomic_int_set (&is_looking, FALSE);
}

static void
test_end_waits (void)
{
  g_test_summary ("After a watch has ended, it is not looked at anymore");

  g_assert_true (buf_watcher_start ());
  for (guint i = 0; i < test_scale (3000); i++)
    {
      BufWatch watch;

      g_atomic_int_set (&n_reports, i);
      buf_watch_init (&watch, look_for_a_while);
      buf_watch_set_due_locked (&watch, 0);
      if (i % 4 != 0)
        g_usleep (i % 100);
      buf_watch_end (&watch);
      g_assert_false (g_atomic_int_get (&is_looking));
    }
}

/* Whether the watcher is told to look again if there is nothing to see. */
static void
test_rests (void)
{
  BufSemaphore semaphore;
  BufWaiter task;

  g_test_summary ("If no request waits, there is nothing to watch");

  set_up (&semaphore);
  semaphore.tree->stall.time = 1000;
  buf_waiter_init (&task, MAXIMUM, on_completed);
  buf_semaphore_enqueue (&semaphore, &task);
  g_assert_cmpint (get_due (&semaphore), <, G_MAXINT64);
  buf_semaphore_release (&semaphore, MAXIMUM);
  test_wait_until (get_due (&semaphore) == G_MAXINT64);
  buf_waiter_clear (&task);
  tear_down (&semaphore, MAXIMUM);
}

static void
test_ends (void)
{
  g_test_summary ("A semaphore can end at any moment, no matter what the watcher is doing");

  for (guint i = 0; i < test_scale (3000); i++)
    {
      BufSemaphore semaphore;
      BufWaiter starved, task;

      set_up (&semaphore);
      semaphore.tree->stall.time = 1 + i % 50;
      push_starved (&semaphore, &starved, 1);
      buf_wait_queue_set_promises_locked (&semaphore.tree->queue, TRUE);
      starved.patience = i % 100;
      buf_waiter_init (&task, MAXIMUM, on_completed);
      buf_semaphore_enqueue (&semaphore, &task);
      buf_semaphore_release (&semaphore, MAXIMUM);
      if (i % 4 != 0)
        g_usleep (i % 100);
      buf_semaphore_withdraw (&semaphore, &starved, BUF_OUTCOME_CANCELLED);
      test_wait_until (g_atomic_int_get (&n_completed) == 1);
      buf_waiter_clear (&starved);
      buf_waiter_clear (&task);
      tear_down (&semaphore, MAXIMUM);
    }
}

static gint may_leave; /* atomic */

static void
on_stalled_leave_late (BufSemaphore *semaphore, const BufWatchNews *news)
{
  g_atomic_int_inc (&n_reports);
  test_wait_until (g_atomic_int_get (&may_leave));
  buf_semaphore_leave (semaphore);
}

static void
test_leaves_last (void)
{
  BufSemaphore semaphore;
  BufWaiter task;

  g_test_summary ("The watcher is the last to leave, and ends the semaphore that it looks at");

  set_up (&semaphore);
  semaphore.tree->stall.time = 1000;
  semaphore.report = on_stalled_leave_late;
  buf_waiter_init (&task, MAXIMUM, on_completed);
  buf_semaphore_enqueue (&semaphore, &task);
  test_wait_until (g_atomic_int_get (&n_reports) == 1);
  buf_semaphore_withdraw (&semaphore, &task, BUF_OUTCOME_CANCELLED);
  buf_waiter_clear (&task);
  buf_semaphore_release (&semaphore, MAXIMUM);
  buf_semaphore_close (&semaphore);
  buf_semaphore_abandon (&semaphore);
  g_assert_cmpint (g_atomic_int_get (&n_ended), ==, 0);
  g_atomic_int_set (&may_leave, TRUE);
  test_wait_until (g_atomic_int_get (&n_ended) == 1);
}

/* Does what the watcher does just before it looks. */
static void
on_end_look (BufSemaphore *semaphore)
{
  g_assert_cmpint (g_atomic_int_add (&n_ended, 1), ==, 0);
  buf_semaphore_look (&semaphore->tree->watch, g_get_monotonic_time ());
  buf_semaphore_clear (semaphore);
}

static void
test_late_look (void)
{
  BufSemaphore semaphore;

  g_test_summary ("A semaphore that is over ends once, even if the watcher still looks at it");

  set_up (&semaphore);
  semaphore.end = on_end_look;
  buf_semaphore_close (&semaphore);
  buf_semaphore_abandon (&semaphore);
  g_assert_cmpint (g_atomic_int_get (&n_ended), ==, 0);
  buf_semaphore_release (&semaphore, MAXIMUM);
  g_assert_cmpint (g_atomic_int_get (&n_ended), ==, 1);
}

static void
test_fork (void)
{
  BufSemaphore semaphore;
  BufWaiter starved, task;
  pid_t child;
  int status;

  g_test_summary ("The child of a fork gets its own watcher, for semaphores that it creates");

  g_assert_true (buf_watcher_start ());
  child = fork ();
  if (child == 0)
    {
      alarm (20);
      set_up (&semaphore);
      push_starved (&semaphore, &starved, MAXIMUM);
      buf_waiter_init (&task, MAXIMUM, on_completed);
      buf_semaphore_enqueue (&semaphore, &task);
      buf_semaphore_release (&semaphore, MAXIMUM);
      while (g_atomic_int_get (&n_completed) == 0)
        g_usleep (1000);
      _exit (7);
    }

  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, 7);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/watcher/starved", test_starved);
  g_test_add_func ("/watcher/many-tasks", test_many_tasks);
  g_test_add_func ("/watcher/stall", test_stall);
  g_test_add_func ("/watcher/stall-of-one-thread", test_stall_of_one_thread);
  g_test_add_func ("/watcher/interrupted-releaser", test_interrupted_releaser);
  g_test_add_func ("/watcher/late-waiter", test_late_waiter);
  g_test_add_func ("/watcher/end-waits", test_end_waits);
  g_test_add_func ("/watcher/rests", test_rests);
  g_test_add_func ("/watcher/ends", test_ends);
  g_test_add_func ("/watcher/leaves-last", test_leaves_last);
  g_test_add_func ("/watcher/late-look", test_late_look);
  g_test_add_func ("/watcher/fork", test_fork);

  return g_test_run ();
}
