/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What dispose says when it waits for long. Each test runs in a process of its own, since the
 * environment has to be set before there are threads. */

#include "testing.h"

static gpointer
drop_later (gpointer data)
{
  g_usleep (100000);
  buf_pool_allocation_unref (data);
  return NULL;
}

static void
drop_pool_before_allocation (const gchar *name)
{
  BufPool *pool = g_object_new (BUF_TYPE_POOL, "name", name, NULL);
  GThread *thread = g_thread_new ("drop", drop_later, test_allocate (pool, 2));

  g_object_unref (pool);
  g_thread_join (thread);
}

/* The warning is not to be fatal: the program goes on when the allocation was dropped. */
static void
run_with (const gchar *warning, const gchar *name)
{
  if (g_test_subprocess ())
    {
      g_log_set_always_fatal (G_LOG_LEVEL_ERROR | G_LOG_FLAG_FATAL);
      drop_pool_before_allocation (name);
      return;
    }

  if (warning != NULL)
    g_setenv ("BUFPOOL_DRAIN_WARNING", warning, TRUE);
  else
    g_unsetenv ("BUFPOOL_DRAIN_WARNING");
  g_unsetenv ("G_DEBUG");
  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_passed ();
}

static void
test_says_so_once (void)
{
  g_test_summary ("It names the pool, and how many allocations and bytes it waits for; once");

  run_with ("10", "pictures");
  if (g_test_subprocess ())
    return;
  g_test_trap_assert_stderr ("*\"pictures\"*10 ms*1 allocation (8192 bytes)*");
  g_test_trap_assert_stderr_unmatched ("*pictures*pictures*");
}

static void
test_without_a_name (void)
{
  g_test_summary ("A pool without a name is called the pool");

  run_with ("10", NULL);
  if (g_test_subprocess ())
    return;
  g_test_trap_assert_stderr ("*The last reference to the pool was dropped*");
}

static void
test_off (void)
{
  g_test_summary ("0 switches it off, and so does patience");

  run_with ("0", "pictures");
  if (g_test_subprocess ())
    return;
  g_test_trap_assert_stderr_unmatched ("*pictures*");
  run_with (NULL, "pictures");
  g_test_trap_assert_stderr_unmatched ("*pictures*");
}

static void
test_no_number (void)
{
  g_test_summary ("What is no number is complained about, and the default holds");

  run_with ("soon", "pictures");
  if (g_test_subprocess ())
    return;
  g_test_trap_assert_stderr ("*BUFPOOL_DRAIN_WARNING*soon*");
  g_test_trap_assert_stderr_unmatched ("*pictures*");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/drain-warning/says-so-once", test_says_so_once);
  g_test_add_func ("/drain-warning/without-a-name", test_without_a_name);
  g_test_add_func ("/drain-warning/off", test_off);
  g_test_add_func ("/drain-warning/no-number", test_no_number);
  return g_test_run ();
}
