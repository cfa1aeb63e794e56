/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* BufWakeup: threads that sleep under a lock, and are signaled after it is unlocked. */

#include "semaphore/buf-wakeup-private.h"
#include "testing.h"

#define N_SLEEPERS (3 * BUF_WAKEUPS_MAX)

static GMutex mutex;

typedef struct
{
  BufWakeup *wakeup;
  gint64 deadline;
  gboolean may_go; /* LOCK: mutex */
  gboolean sleeps; /* LOCK: mutex */
  gboolean gone;   /* LOCK: mutex */
  GThread *thread;
} Sleeper;

/* Sleeps until it is allowed to continue or its deadline has passed, and then drops its
 * reference. */
static gpointer
run_sleeper (gpointer data)
{
  Sleeper *self = data;
  gboolean in_time = TRUE;

  g_mutex_lock (&mutex);
  while (!self->may_go && in_time)
    {
      self->sleeps = TRUE;
      in_time = buf_wakeup_sleep_locked (self->wakeup, &mutex, self->deadline);
    }
  self->gone = TRUE;
  g_mutex_unlock (&mutex);
  buf_wakeup_unref (self->wakeup);
  return NULL;
}

static gboolean
is_true (const gboolean *flag)
{
  gboolean value;

  g_mutex_lock (&mutex);
  value = *flag;
  g_mutex_unlock (&mutex);
  return value;
}

static void
start_sleeper (Sleeper *self, gint64 deadline)
{
  *self = (Sleeper){ .wakeup = buf_wakeup_new (), .deadline = deadline };
  self->thread = g_thread_new ("sleeper", run_sleeper, self);
  test_wait_until (is_true (&self->sleeps));
}

static void
test_once (void)
{
  BufWakeups wakeups = { .n = 0 };
  Sleeper sleeper;

  g_test_summary ("A sleep is signaled once, and the next sleep again");

  start_sleeper (&sleeper, -1);
  for (guint i = 0; i < 2; i++)
    {
      g_mutex_lock (&mutex);
      sleeper.may_go = i == 1;
      sleeper.sleeps = FALSE;
      buf_wakeups_add_locked (&wakeups, sleeper.wakeup);
      buf_wakeups_add_locked (&wakeups, sleeper.wakeup);
      g_mutex_unlock (&mutex);

      g_assert_cmpuint (wakeups.n, ==, 1);
      buf_wakeups_signal_all (&wakeups);
      wakeups.n = 0;
      test_wait_until (is_true (i == 0 ? &sleeper.sleeps : &sleeper.gone));
    }
  g_thread_join (sleeper.thread);
}

static void
test_nobody_sleeps (void)
{
  BufWakeups wakeups = { .n = 0 };
  BufWakeup *wakeup = buf_wakeup_new ();

  g_test_summary ("A thread that does not sleep is not signaled");

  g_mutex_lock (&mutex);
  buf_wakeups_add_locked (&wakeups, wakeup);
  g_mutex_unlock (&mutex);
  g_assert_cmpuint (wakeups.n, ==, 0);
  buf_wakeup_unref (wakeup);
}

static void
test_late_signal (void)
{
  BufWakeups wakeups = { .n = 0 };
  Sleeper sleeper;

  g_test_summary (
      "A signal may come after its thread has left at its deadline, and still finds its memory");

  /* On a busy machine, the thread may have left before it was told. */
  for (gint64 time = 20000; wakeups.n == 0; time *= 2)
    {
      start_sleeper (&sleeper, g_get_monotonic_time () + time);
      g_mutex_lock (&mutex);
      if (!sleeper.gone)
        buf_wakeups_add_locked (&wakeups, sleeper.wakeup);
      g_mutex_unlock (&mutex);
      g_thread_join (sleeper.thread);
    }

  g_assert_cmpint (g_atomic_int_get (&sleeper.wakeup->ref_count), ==, 1);
  buf_wakeups_signal_all (&wakeups);
}

static void
test_many (void)
{
  BufWakeups wakeups = { .n = 0 };
  Sleeper sleepers[N_SLEEPERS];

  g_test_summary ("One section can wake up more threads than it can signal after its end");

  for (guint i = 0; i < N_SLEEPERS; i++)
    start_sleeper (&sleepers[i], -1);

  g_mutex_lock (&mutex);
  for (guint i = 0; i < N_SLEEPERS; i++)
    {
      sleepers[i].may_go = TRUE;
      buf_wakeups_add_locked (&wakeups, sleepers[i].wakeup);
    }
  g_mutex_unlock (&mutex);
  g_assert_cmpuint (wakeups.n, ==, BUF_WAKEUPS_MAX);
  buf_wakeups_signal_all (&wakeups);

  for (guint i = 0; i < N_SLEEPERS; i++)
    {
      test_wait_until (is_true (&sleepers[i].gone));
      g_thread_join (sleepers[i].thread);
    }
}

static void
test_far_deadlines (void)
{
  g_test_summary ("A thread can sleep until a deadline farther away than 32 bits of seconds");

  for (guint bit = 40; bit < 62; bit++)
    {
      BufWakeups wakeups = { .n = 0 };
      Sleeper sleeper;

      start_sleeper (&sleeper, g_get_monotonic_time () + ((gint64) 1 << bit) / 2 * 3);
      g_mutex_lock (&mutex);
      g_assert_false (sleeper.gone);
      sleeper.may_go = TRUE;
      buf_wakeups_add_locked (&wakeups, sleeper.wakeup);
      g_mutex_unlock (&mutex);
      buf_wakeups_signal_all (&wakeups);
      g_thread_join (sleeper.thread);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/wakeup/once", test_once);
  g_test_add_func ("/wakeup/nobody-sleeps", test_nobody_sleeps);
  g_test_add_func ("/wakeup/late-signal", test_late_signal);
  g_test_add_func ("/wakeup/many", test_many);
  g_test_add_func ("/wakeup/far-deadlines", test_far_deadlines);
  return g_test_run ();
}
