/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* BUFPOOL_DEBUG=exit: what a program reports at exit, and which of its processes report. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

/* Keeps LeakSanitizer from ending the program. */
static BufPoolAllocation *volatile kept[2];
static guint n_kept;

static BufPool *
make_pool (const gchar *name)
{
  return g_object_new (BUF_TYPE_POOL, "name", name, NULL);
}

static G_GNUC_NO_INLINE void
forget_to_drop (BufPool *pool)
{
  kept[n_kept++] = test_allocate (pool, 2);
}

/* Runs in a child of this process, which then exits like the parent will. */
static void
fork_and_exit (void (*work) (void))
{
  pid_t child = fork ();
  int status;

  if (child == 0)
    {
      work ();
      exit (0);
    }
  g_assert_cmpint (child, >, 0);
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (status, ==, 0);
}

static void
test_outstanding (void)
{
  g_test_summary ("exit reports the outstanding allocations at the end of the program");

  if (test_skip_without_stacks ())
    return;

  if (test_run_with ("leaks,exit", NULL, NULL))
    {
      g_test_queue_unref (make_pool ("clean"));
      forget_to_drop (make_pool ("pictures"));
      return;
    }
  g_test_trap_assert_stderr (
      "*At exit: The pool \"pictures\" has 1 outstanding allocation *forget_to_drop*");
  g_test_trap_assert_stderr_unmatched ("*At exit*At exit*");
}

static G_GNUC_NO_INLINE void
outlive_the_pool (void)
{
  g_autoptr (BufPool) pool = make_pool ("gone");

  kept[n_kept++] = buf_pool_try_allocate_pinned (pool, 2, NULL);
}

static void
test_gone (void)
{
  g_test_summary ("exit also reports outstanding allocations of pools that are gone");

  if (test_skip_without_stacks ())
    return;

  if (test_run_with ("leaks,exit", NULL, NULL))
    {
      outlive_the_pool ();
      return;
    }
  g_test_trap_assert_stderr (
      "*At exit: The pool \"gone\" has 1 outstanding allocation *outlive_the_pool*");
  g_test_trap_assert_stderr_unmatched ("*At exit*At exit*");
}

static void
do_nothing (void)
{
}

static void
test_child (void)
{
  g_test_summary ("The child of a fork does not report allocations of its parent");

  if (test_run_with ("leaks,exit", NULL, NULL))
    {
      forget_to_drop (make_pool ("pictures"));
      fork_and_exit (do_nothing);
      return;
    }
  g_test_trap_assert_stderr ("*At exit: The pool \"pictures\"*");
  g_test_trap_assert_stderr_unmatched ("*At exit*At exit*");
}

static void
forget_in_child (void)
{
  forget_to_drop (make_pool ("sounds"));
}

static void
test_pool_of_child (void)
{
  g_test_summary ("A child that creates a pool reports only that pool");

  if (test_run_with ("leaks,exit", NULL, NULL))
    {
      forget_to_drop (make_pool ("pictures"));
      fork_and_exit (forget_in_child);
      return;
    }
  g_test_trap_assert_stderr ("*At exit: The pool \"sounds\"*At exit: The pool \"pictures\"*");
  g_test_trap_assert_stderr_unmatched ("*At exit*At exit*At exit*");
}

/* A program may have its own print handler, which may even create a pool, such as for a log. */
static void
print_with_a_pool (const gchar *text)
{
  g_autoptr (BufPool) pool = make_pool ("log");
  g_autoptr (BufPoolAllocation) allocation G_GNUC_UNUSED = test_allocate (pool, 1);

  g_assert_true (fputs (text, stderr) >= 0);
}

static void
test_print_handler (void)
{
  g_test_summary ("The print handler may use pools");

  if (test_run_with ("exit", NULL, NULL))
    {
      forget_to_drop (make_pool ("pictures"));
      g_set_printerr_handler (print_with_a_pool);
      (void) alarm (10);
      return;
    }
  g_test_trap_assert_stderr ("*At exit: The pool \"pictures\"*");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/exit/outstanding", test_outstanding);
  g_test_add_func ("/exit/gone", test_gone);
  g_test_add_func ("/exit/child", test_child);
  g_test_add_func ("/exit/pool-of-child", test_pool_of_child);
  g_test_add_func ("/exit/print-handler", test_print_handler);
  return g_test_run ();
}
