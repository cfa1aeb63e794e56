/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The warning of dispose after a long wait. Each test runs in a separate process, because the
 * environment has to be set before there are threads. */

#include "testing.h"

/* The time that passes without a warning, in microseconds. */
#define SHORT_WAIT 100000

static void
drop_pool_before_allocation (const gchar *name, gboolean warns)
{
  BufPool *pool = g_object_new (BUF_TYPE_POOL, "name", name, NULL);
  BufPoolAllocation *allocation = test_allocate (pool, 2);
  TestOwner owner;

  test_begin_to_count_warnings ();
  if (warns)
    {
      test_owner_start (&owner, pool);
      test_wait_until (test_get_n_warnings () > 0);
    }
  else
    {
      test_owner_start_waiting (&owner, pool);
      g_usleep (SHORT_WAIT);
    }
  buf_pool_allocation_unref (allocation);
  test_owner_end (&owner);
}

/* The warning must not be fatal: the program continues when the allocation is dropped. */
static void
run_with (const gchar *warning, const gchar *name, gboolean warns)
{
  if (g_test_subprocess ())
    {
      g_log_set_always_fatal (G_LOG_LEVEL_ERROR | G_LOG_FLAG_FATAL);
      drop_pool_before_allocation (name, warns);
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
  g_test_summary ("The warning names the pool, and the number of allocations and bytes, once");

  run_with ("10", "pictures", TRUE);
  if (g_test_subprocess ())
    return;
  g_test_trap_assert_stderr ("*\"pictures\"*10 ms*1 allocation (8192 bytes)*");
  g_test_trap_assert_stderr_unmatched ("*pictures*pictures*");
}

static void
test_without_a_name (void)
{
  g_test_summary ("A pool without a name is called “the pool”");

  run_with ("10", NULL, TRUE);
  if (g_test_subprocess ())
    return;
  g_test_trap_assert_stderr ("*The last reference to the pool was dropped*");
}

static void
test_off (void)
{
  g_test_summary ("0 disables the warning, and a short wait causes none");

  run_with ("0", "pictures", FALSE);
  if (g_test_subprocess ())
    return;
  g_test_trap_assert_stderr_unmatched ("*pictures*");
  run_with (NULL, "pictures", FALSE);
  g_test_trap_assert_stderr_unmatched ("*pictures*");
}

static void
test_no_number (void)
{
  g_test_summary ("An invalid number is reported, and the default applies");

  run_with ("soon", "pictures", FALSE);
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
