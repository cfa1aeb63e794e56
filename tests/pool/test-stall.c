/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The messages of a pool while requests wait: stalls and long waits. */

#include "pool/stall-testing.h"

static gint n_stalls; /* atomic; since begin_to_count() */

static void
count_stall (BufSemaphore *semaphore, const BufWatchNews *news)
{
  if (news->stalled)
    g_atomic_int_inc (&n_stalls);
  buf_semaphore_leave (semaphore);
}

/* From now on, stalls are counted immediately instead of being logged by another thread. */
static void
begin_to_count (BufPool *pool)
{
  BufSemaphore *semaphore = &pool->memory->semaphore;

  g_mutex_lock (&semaphore->tree->mutex);
  semaphore->report = count_stall;
  g_mutex_unlock (&semaphore->tree->mutex);
}

static gpointer
hold_and_wait (gpointer pool)
{
  BufPoolAllocation *first = buf_pool_allocate (pool, 2, NULL, NULL);
  BufPoolAllocation *second;

  test_wait_until (buf_pool_get_available_memory (pool) == 0);
  second = buf_pool_allocate (pool, 2, NULL, NULL);
  g_clear_pointer (&second, buf_pool_allocation_unref);
  buf_pool_allocation_unref (first);
  return NULL;
}

static void
test_threads (void)
{
  g_autoptr (BufPool) pool = NULL;
  GThread *threads[2];
  gint64 now;

  g_test_summary (
      "If threads hold what others wait for, there is one warning, with figures and a remedy");

  if (test_skip_without_stacks ())
    return;

  if (!test_run_with ("leaks", "BUFPOOL_STALL_WARNING", "3600000"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  begin_to_collect ();
  pool = test_pool_new_timed (16, 4);
  for (guint i = 0; i < 2; i++)
    threads[i] = g_thread_new ("holder", hold_and_wait, pool);
  test_wait_until (buf_pool_get_waiting (pool) == 2);
  now = g_get_monotonic_time ();
  look_at (pool, now);
  look_at (pool, now + G_TIME_SPAN_HOUR);
  wait_until_logged ("The oldest waits for 32 bytes, but only 0 of 64 are available; 2 allocations "
                     "are "
                     "outstanding",
                     1);
  g_assert_cmpuint (count ("has not granted a request for 3600.0 s, and 2 requests are waiting"),
                    ==,
                    1);
  g_assert_cmpuint (count ("hold_and_wait"), >, 0);
  g_assert_cmpuint (count ("BUFPOOL_STALL_WARNING"), ==, 1);

  /* The same stall is not reported again. */
  begin_to_count (pool);
  for (guint i = 1; i <= 3; i++)
    look_at (pool, g_get_monotonic_time () + i * G_TIME_SPAN_HOUR);
  g_assert_cmpint (g_atomic_int_get (&n_stalls), ==, 0);
  buf_pool_close (pool);
  for (guint i = 0; i < 2; i++)
    g_thread_join (threads[i]);
  g_print ("as it should be\n");
}

static void
on_allocated (GObject *source, GAsyncResult *result, gpointer data)
{
  BufPoolAllocation **allocation = data;

  *allocation = buf_pool_allocate_finish (BUF_POOL (source), result, NULL);
}

static void
test_tasks (void)
{
  g_autoptr (BufPool) pool = NULL;
  BufPoolAllocation *held, *allocation = NULL;

  g_test_summary ("Tasks are reported, too, in a main loop that does not run");

  if (!test_run_with ("leaks", "BUFPOOL_STALL_WARNING", "50"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  begin_to_collect ();
  pool = test_pool_new_timed (16, 4);
  held = test_allocate (pool, 1);
  buf_pool_allocate_async (pool, 4, 0, NULL, on_allocated, &allocation);
  wait_until_logged ("and 1 request is waiting. The oldest waits for 64 bytes, but only 48 of 64 "
                     "are available; 1 allocation is outstanding",
                     1);

  /* The next stall is a new one. */
  buf_pool_allocation_unref (held);
  test_wait_until (g_main_context_iteration (NULL, FALSE) || allocation != NULL);
  while (allocation == NULL)
    g_main_context_iteration (NULL, TRUE);
  held = NULL;
  buf_pool_allocate_async (pool, 1, 0, NULL, on_allocated, &held);
  wait_until_logged ("has not granted a request", 2);
  buf_pool_allocation_unref (allocation);
  while (held == NULL)
    g_main_context_iteration (NULL, TRUE);
  buf_pool_allocation_unref (held);
  g_print ("as it should be\n");
}

static gpointer
wait_for_all (gpointer pool)
{
  buf_pool_allocation_unref (buf_pool_allocate (pool, 4, NULL, NULL));
  return NULL;
}

static void
test_no_stall (void)
{
  const gint64 begin = g_get_monotonic_time ();
  const gint64 step = 40 * G_TIME_SPAN_MINUTE;
  const gint64 n_grants = 40;
  g_autoptr (BufPool) pool = NULL;
  BufPoolAllocation *held;
  GThread *thread;

  g_test_summary ("While requests are granted, there is no stall, no matter how long another one "
                  "waits");

  if (!test_run_with ("leaks", "BUFPOOL_STALL_WARNING", "3600000"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  begin_to_collect ();
  pool = test_pool_new_timed (16, 4);
  test_pool_stop_clock (pool);
  held = test_allocate (pool, 1);
  thread = g_thread_new ("waiter", wait_for_all, pool);
  test_wait_for_waiting (pool, 1);
  begin_to_count (pool);
  for (gint64 i = 1; i <= n_grants; i++)
    {
      buf_pool_allocation_unref (test_allocate (pool, 1));
      look_at (pool, begin + i * step);
    }
  g_assert_cmpint (g_atomic_int_get (&n_stalls), ==, 0);

  /* Two steps without a grant are a stall. */
  look_at (pool, begin + (n_grants + 1) * step);
  g_assert_cmpint (g_atomic_int_get (&n_stalls), ==, 0);
  look_at (pool, begin + (n_grants + 2) * step);
  g_assert_cmpint (g_atomic_int_get (&n_stalls), ==, 1);

  buf_pool_allocation_unref (held);
  g_thread_join (thread);
  g_assert_cmpuint (messages->len, ==, 0);
  g_print ("as it should be\n");
}

static void
test_disabled (void)
{
  g_autoptr (BufPool) pool = NULL;
  BufPoolAllocation *held, *allocation = NULL;

  g_test_summary ("BUFPOOL_STALL_WARNING=0 is never");

  if (!test_run_with ("", "BUFPOOL_STALL_WARNING", "0"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  begin_to_collect ();
  pool = test_pool_new_timed (16, 4);
  held = test_allocate (pool, 1);
  buf_pool_allocate_async (pool, 4, 0, NULL, on_allocated, &allocation);
  begin_to_count (pool);
  for (guint i = 0; i < 3; i++)
    look_at (pool, g_get_monotonic_time () + i * G_TIME_SPAN_DAY);
  g_assert_cmpint (g_atomic_int_get (&n_stalls), ==, 0);
  buf_pool_allocation_unref (held);
  while (allocation == NULL)
    g_main_context_iteration (NULL, TRUE);
  buf_pool_allocation_unref (allocation);
  g_assert_cmpuint (messages->len, ==, 0);
  g_print ("as it should be\n");
}

static void
test_long_wait (void)
{
  const gint64 threshold = 20 * G_TIME_SPAN_MILLISECOND;
  g_autoptr (BufPool) pool = NULL;
  BufPoolAllocation *held;
  GThread *thread;
  gint64 begin;
  guint n_reports;

  g_test_summary (
      "A long wait is reported while it lasts, each time it has doubled, and at its end");

  if (!test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "20"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  begin_to_collect ();
  pool = test_pool_new_timed (16, 4);
  held = test_allocate (pool, 1);
  begin = g_get_monotonic_time ();
  thread = g_thread_new ("waiter", wait_for_all, pool);
  wait_until_logged ("and is still waiting, overtaken 0 times", 3);
  n_reports = count ("a request for 64 bytes by thread");
  g_assert_cmpint (threshold << (n_reports - 1), <=, g_get_monotonic_time () - begin);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
  buf_pool_allocation_unref (held);
  g_thread_join (thread);
  g_assert_cmpuint (count ("was granted"), ==, 1);
  g_print ("as it should be\n");
}

static void
test_writer_drops_pool (void)
{
  BufPool *pool;
  BufPoolAllocation *held, *allocation = NULL;
  GWeakRef gone;

  g_test_summary ("The log writer may drop the pool: no part of the library waits for itself");

  if (!test_run_with ("waits", "BUFPOOL_STALL_WARNING", "20"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  begin_to_collect ();
  pool = test_pool_new_timed (16, 4);
  held = test_allocate (pool, 1);
  buf_pool_allocate_async (pool, 4, 0, NULL, on_allocated, &allocation);
  g_weak_ref_init (&gone, pool);
  g_mutex_lock (&mutex);
  to_drop = pool;
  g_mutex_unlock (&mutex);
  wait_until_logged ("has not granted a request", 1);

  buf_pool_allocation_unref (held);
  while (allocation == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_clear_pointer (&allocation, buf_pool_allocation_unref);
  for (gboolean is_gone = FALSE; !is_gone;)
    {
      BufPool *rest = g_weak_ref_get (&gone);

      is_gone = rest == NULL;
      g_clear_object (&rest);
      g_main_context_iteration (NULL, FALSE);
    }
  g_weak_ref_clear (&gone);
  g_print ("as it should be\n");
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/stall/threads", test_threads);
  g_test_add_func ("/stall/tasks", test_tasks);
  g_test_add_func ("/stall/no-stall", test_no_stall);
  g_test_add_func ("/stall/disabled", test_disabled);
  g_test_add_func ("/stall/long-wait", test_long_wait);
  g_test_add_func ("/stall/writer-drops-pool", test_writer_drops_pool);

  return g_test_run ();
}
