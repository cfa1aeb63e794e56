/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a pool logs while requests wait: stalls, and long waits. */

#include <string.h>

#include "testing.h"

static GMutex mutex;
static GCond logged;
static GString *messages; /* LOCK: mutex */
static BufPool *to_drop;  /* LOCK: mutex; the log writer drops it */

/* On some systems GIO has something to say as well. */
static gboolean
is_of_the_library (const GLogField *fields, gsize n_fields)
{
  for (gsize i = 0; i < n_fields; i++)
    if (g_str_equal (fields[i].key, "GLIB_DOMAIN"))
      return g_str_equal (fields[i].value, "BufPool");
  return FALSE;
}

static GLogWriterOutput
collect (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  BufPool *dropped = NULL;

  if (!is_of_the_library (fields, n_fields))
    return G_LOG_WRITER_HANDLED;

  g_mutex_lock (&mutex);
  g_string_append_printf (messages, "%s\n", test_get_log_message (fields, n_fields));
  g_cond_broadcast (&logged);
  dropped = g_steal_pointer (&to_drop);
  g_mutex_unlock (&mutex);
  if (dropped != NULL)
    g_object_unref (dropped);
  return G_LOG_WRITER_HANDLED;
}

static void
begin_to_collect (void)
{
  messages = g_string_new (NULL);
  g_log_set_writer_func (collect, NULL, NULL);
}

static guint
count_locked (const gchar *text)
{
  guint n = 0;

  for (const gchar *at = messages->str; (at = strstr (at, text)) != NULL; at++)
    n++;
  return n;
}

/* Fails by the time limit of the test. */
static void
wait_until_logged (const gchar *text, guint n)
{
  g_mutex_lock (&mutex);
  while (count_locked (text) < n)
    g_cond_wait (&logged, &mutex);
  g_mutex_unlock (&mutex);
}

static guint
count (const gchar *text)
{
  guint n;

  g_mutex_lock (&mutex);
  n = count_locked (text);
  g_mutex_unlock (&mutex);
  return n;
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

  g_test_summary (
      "Threads that hold what the others wait for: one warning, with figures and a remedy");

  if (test_skip_without_stacks ())
    return;

  if (!test_run_with ("leaks", "BUFPOOL_STALL_WARNING", "50"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  begin_to_collect ();
  pool = test_pool_new_timed (16, 4);
  for (guint i = 0; i < 2; i++)
    threads[i] = g_thread_new ("holder", hold_and_wait, pool);
  wait_until_logged ("The oldest waits for 32 bytes, but only 0 of 64 are available; 2 allocations are "
                     "outstanding",
                     1);
  g_assert_cmpuint (count ("has not granted a request for 0.1 s, and 2 requests are waiting"),
                    ==,
                    1);
  g_assert_cmpuint (count ("hold_and_wait"), >, 0);
  g_assert_cmpuint (count ("BUFPOOL_STALL_WARNING"), ==, 1);

  /* The same stall again is not told. */
  g_usleep (200000);
  g_assert_cmpuint (count ("has not granted a request"), ==, 1);
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

  g_test_summary ("A task is told of as well, in a main loop that does not run");

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

  /* The next stall is another one. */
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
  g_autoptr (BufPool) pool = NULL;
  BufPoolAllocation *held;
  GThread *thread;

  g_test_summary ("While requests are granted there is no stall, however long another one waits");

  if (!test_run_with ("leaks", "BUFPOOL_STALL_WARNING", "100"))
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
  for (guint i = 0; i < 40; i++)
    {
      buf_pool_allocation_unref (test_allocate (pool, 1));
      g_usleep (10000);
    }
  buf_pool_allocation_unref (held);
  g_thread_join (thread);
  g_assert_cmpuint (count ("has not granted a request"), ==, 0);
  g_print ("as it should be\n");
}

static void
test_disabled (void)
{
  g_autoptr (BufPool) pool = NULL;
  BufPoolAllocation *held;

  g_test_summary ("BUFPOOL_STALL_WARNING=0 is never");

  if (!test_run_with ("", "BUFPOOL_STALL_WARNING", "0"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  begin_to_collect ();
  pool = test_pool_new_timed (16, 4);
  held = test_allocate (pool, 1);
  g_assert_null (buf_pool_allocate_timeout (pool, 4, 200000, NULL, NULL));
  g_assert_cmpuint (messages->len, ==, 0);
  buf_pool_allocation_unref (held);
  g_print ("as it should be\n");
}

static void
test_long_wait (void)
{
  g_autoptr (BufPool) pool = NULL;
  BufPoolAllocation *held;
  GThread *thread;

  g_test_summary (
      "A long wait is told of while it lasts, each time that it has doubled, and at last");

  if (!test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "20"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  begin_to_collect ();
  pool = test_pool_new_timed (16, 4);
  held = test_allocate (pool, 1);
  thread = g_thread_new ("waiter", wait_for_all, pool);
  wait_until_logged ("and is still waiting, overtaken 0 times", 3);
  g_assert_cmpuint (count ("a request for 64 bytes by thread"), ==, 3);
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

  g_test_summary ("The log writer may drop the pool: nothing of the library waits for itself");

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
