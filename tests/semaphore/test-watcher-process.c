/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The watcher as a thread of its process: its scheduling, what remains of it after a fork, and what
 * happens if it cannot be created. */

#define _GNU_SOURCE
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "semaphore/buf-semaphore-private.h"
#include "testing.h"

static GMutex owner;
static gint stop;    /* atomic */
static gint n_looks; /* atomic */

/* Looks again and again, with pauses that are shorter than the looks. */
static void
look_for_long (BufWatch *watch, gint64 now)
{
  g_mutex_lock (&owner);
  for (guint i = 0; i < 1000; i++)
    g_atomic_int_inc (&n_looks);
  buf_watch_set_due_locked (watch, g_atomic_int_get (&stop) ? G_MAXINT64 : now);
  g_mutex_unlock (&owner);
}

static void
test_fork_while_looking (void)
{
  BufWatch watch;
  guint n_bad = 0;

  g_test_summary ("A fork waits until the watcher holds no lock, which would stay locked in the "
                  "child");

  g_assert_true (buf_watcher_start ());
  g_atomic_int_set (&stop, FALSE);
  buf_watch_init (&watch, look_for_long);
  g_mutex_lock (&owner);
  buf_watch_set_due_locked (&watch, 0);
  g_mutex_unlock (&owner);
  for (guint i = 0; i < test_scale (200); i++)
    {
      pid_t child = fork ();
      int status;

      if (child == 0)
        _exit (g_mutex_trylock (&owner) ? 0 : 1);
      g_assert_cmpint (waitpid (child, &status, 0), ==, child);
      n_bad += !WIFEXITED (status) || WEXITSTATUS (status) != 0;
    }
  g_assert_cmpuint (n_bad, ==, 0);

  g_atomic_int_set (&stop, TRUE);
  buf_watch_end (&watch);
}

#ifdef __linux__

static gint n_scheduling_calls; /* atomic */

#ifdef __GLIBC__
typedef __priority_which_t PriorityWhich;
#else
typedef int PriorityWhich;
#endif

int __wrap_setpriority (PriorityWhich which, id_t who, int priority);
int __wrap_sched_setaffinity (pid_t pid, size_t size, const cpu_set_t *processors);
int __wrap_sched_setscheduler (pid_t pid, int policy, const struct sched_param *parameters);
int __real_setpriority (PriorityWhich which, id_t who, int priority);
int __real_sched_setaffinity (pid_t pid, size_t size, const cpu_set_t *processors);
int __real_sched_setscheduler (pid_t pid, int policy, const struct sched_param *parameters);

int
__wrap_setpriority (PriorityWhich which, id_t who, int priority)
{
  g_atomic_int_inc (&n_scheduling_calls);
  return __real_setpriority (which, who, priority);
}

int
__wrap_sched_setaffinity (pid_t pid, size_t size, const cpu_set_t *processors)
{
  g_atomic_int_inc (&n_scheduling_calls);
  return __real_sched_setaffinity (pid, size, processors);
}

int
__wrap_sched_setscheduler (pid_t pid, int policy, const struct sched_param *parameters)
{
  g_atomic_int_inc (&n_scheduling_calls);
  return __real_sched_setscheduler (pid, policy, parameters);
}

static cpu_set_t watched_from;

static void
look_where (BufWatch *watch, gint64 now)
{
  g_mutex_lock (&owner);
  sched_getaffinity (0, sizeof watched_from, &watched_from);
  g_atomic_int_inc (&n_looks);
  buf_watch_set_due_locked (watch, G_MAXINT64);
  g_mutex_unlock (&owner);
}

/* Starts the watcher of this process, from a thread on @processor if it is not negative, and waits
 * until it looks. */
static gpointer
start_watcher (gpointer data)
{
  const gint processor = GPOINTER_TO_INT (data);
  BufWatch watch;
  cpu_set_t one;

  CPU_ZERO (&one);
  if (processor >= 0)
    {
      CPU_SET (processor, &one);
      __real_sched_setaffinity (0, sizeof one, &one);
    }
  g_assert_true (buf_watcher_start ());
  buf_watch_init (&watch, look_where);
  g_mutex_lock (&owner);
  buf_watch_set_due_locked (&watch, 0);
  g_mutex_unlock (&owner);
  while (g_atomic_int_get (&n_looks) == 0)
    g_usleep (100);
  buf_watch_end (&watch);
  return NULL;
}

static gint
get_last_processor (void)
{
  cpu_set_t all;

  sched_getaffinity (0, sizeof all, &all);
  for (gint i = CPU_SETSIZE - 1; i > 0; i--)
    if (CPU_ISSET (i, &all))
      return i;
  return 0;
}

/* Runs @func in a child, which has no watcher yet, and returns its result, a status. */
static int
run_in_child (int (*func) (gint argument), gint argument)
{
  pid_t child = fork ();
  int status;

  if (child == 0)
    {
      alarm (20);
      _exit (func (argument));
    }

  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_true (WIFEXITED (status));
  return WEXITSTATUS (status);
}

static int
count_scheduling_calls (gint processor)
{
  cpu_set_t all;

  g_atomic_int_set (&n_looks, 0);
  g_atomic_int_set (&n_scheduling_calls, 0);
  sched_getaffinity (0, sizeof all, &all);
  if (processor < 0)
    start_watcher (GINT_TO_POINTER (processor));
  else
    g_thread_join (g_thread_new ("starts", start_watcher, GINT_TO_POINTER (processor)));
  return CPU_EQUAL (&all, &watched_from) ? g_atomic_int_get (&n_scheduling_calls) : 100;
}

static void
test_scheduling (void)
{
  g_test_summary ("The watcher is scheduled like the main thread, no matter which thread starts "
                  "it; and it sets nothing that is already correct, because a sandbox may kill a "
                  "process that does");

  g_assert_cmpint (run_in_child (count_scheduling_calls, -1), ==, 0);
  if (get_last_processor () == 0)
    g_test_skip ("There is only one processor");
  else
    g_assert_cmpint (run_in_child (count_scheduling_calls, get_last_processor ()), ==, 1);
}

static gboolean no_threads; /* of the child only */

GThread *__wrap_g_thread_try_new (const gchar *name, GThreadFunc func, gpointer data, GError **e);
GThread *__real_g_thread_try_new (const gchar *name, GThreadFunc func, gpointer data, GError **e);

GThread *
__wrap_g_thread_try_new (const gchar *name, GThreadFunc func, gpointer data, GError **error)
{
  return no_threads ? NULL : __real_g_thread_try_new (name, func, data, error);
}

static gint n_completed;

static void
on_completed (BufWaiter *waiter)
{
  n_completed++;
}

/* Returns how many of many tasks one release has served when it returns, in batches. */
static int
serve_without_watcher (gint n_batches)
{
  gint n_tasks = n_batches * BUF_WAIT_QUEUE_BATCH;
  g_autofree BufWaiter *tasks = g_new (BufWaiter, n_tasks);
  BufSemaphore semaphore;
  BufSemaphoreFigures figures;
  gint n_served;

  no_threads = TRUE;
  buf_semaphore_init (&semaphore, NULL, n_tasks, 1, 1);
  buf_semaphore_acquire (&semaphore, &BUF_WANT (n_tasks), FALSE, &figures);
  for (gint i = 0; i < n_tasks; i++)
    {
      buf_waiter_init (&tasks[i], 1, on_completed);
      buf_semaphore_enqueue (&semaphore, &tasks[i]);
    }
  no_threads = FALSE;
  buf_semaphore_release (&semaphore, n_tasks);
  n_served = semaphore.tree->queue.promises ? 1 : n_completed / BUF_WAIT_QUEUE_BATCH;

  buf_semaphore_release (&semaphore, n_tasks);
  buf_semaphore_close (&semaphore);
  buf_semaphore_clear (&semaphore);
  return n_served;
}

static void
test_no_thread (void)
{
  const gint n_batches = 200;

  g_test_summary ("If the watcher cannot be created, no work is left to it");

  g_assert_cmpint (run_in_child (serve_without_watcher, n_batches), ==, n_batches);
}
#endif

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

#ifdef __linux__
  g_test_add_func ("/watcher-process/scheduling", test_scheduling);
  g_test_add_func ("/watcher-process/no-thread", test_no_thread);
#endif
  g_test_add_func ("/watcher-process/fork-while-looking", test_fork_while_looking);

  return g_test_run ();
}
