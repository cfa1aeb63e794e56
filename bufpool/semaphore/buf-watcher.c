/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-wakeup-private.h"
#include "semaphore/buf-watcher-private.h"

#ifdef G_OS_UNIX
#include <pthread.h>
#include <signal.h>
#endif
#ifdef __linux__
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

/*
 * One thread for the whole process that looks at semaphores with waiters when something happens as
 * time passes: a promise to a thread that gets no processor time ends, a section has left waiters
 * because it has served its maximum, or there is a stall. All threads involved may be asleep or
 * starved, so none of them can do this.
 *
 * The thread starts with the first request that waits. It sleeps while there is nothing to watch.
 * It runs no user code. It may be the last user of a semaphore, and then ends it.
 *
 * Locks: a watch belongs to an owner with its own lock, which is locked before that of the watcher.
 * The watcher unlocks its lock before it looks at a watch, and the look locks the owner's lock.
 * @due is written with both locks held, so a look that began earlier cannot set it back. Before the
 * owner is freed, it ends its watch, which waits until the watcher is not looking at it.
 */

static GMutex mutex;
static GCond changed;       /* tells the watcher of an earlier time */
static GCond looked;        /* tells a watch that is about to end */
static GQueue watches;      /* LOCK: mutex */
static BufWatch *looked_at; /* LOCK: mutex; the one that the watcher is looking at */
static gint64 sleeps_until; /* LOCK: mutex; monotonic microseconds; 0 while it does not sleep */
static guint n_forking;     /* LOCK: mutex; threads that are in fork() or about to call it */

typedef enum
{
  NOT_STARTED,
  RUNNING,
  FAILED
} WatcherState;

static gint state; /* atomic; a WatcherState */

static _Thread_local gboolean is_watcher;

static BufWatch *
get_first_due_locked (void)
{
  BufWatch *first = NULL;

  for (GList *link = watches.head; link != NULL; link = link->next)
    {
      BufWatch *watch = link->data;

      if (first == NULL || watch->due < first->due)
        first = watch;
    }
  return first;
}

static void
sleep_until_locked (gint64 due)
{
  sleeps_until = due;
  if (due == G_MAXINT64)
    g_cond_wait (&changed, &mutex);
  else
    buf_wakeup_wait_until (&changed, &mutex, due);
  sleeps_until = 0;
}

static void
look_locked (BufWatch *watch, gint64 now)
{
  looked_at = watch;
  g_mutex_unlock (&mutex);
  watch->look (watch, now);
  g_mutex_lock (&mutex);
  looked_at = NULL;
  g_cond_broadcast (&looked);
}

#ifdef __linux__
static void
take_processors_of_thread (pid_t thread)
{
  cpu_set_t processors, own;

  if (sched_getaffinity (thread, sizeof processors, &processors) == 0 &&
      sched_getaffinity (0, sizeof own, &own) == 0 && !CPU_EQUAL (&processors, &own))
    sched_setaffinity (0, sizeof processors, &processors);
}

static void
take_priority_of_thread (pid_t thread)
{
  struct sched_param parameters = { 0 }, own = { 0 };
  const int policy = sched_getscheduler (thread);
  const int nice = getpriority (PRIO_PROCESS, thread);

  if (policy >= 0 && sched_getparam (thread, &parameters) == 0 && sched_getparam (0, &own) == 0 &&
      (policy != sched_getscheduler (0) || parameters.sched_priority != own.sched_priority))
    sched_setscheduler (0, policy, &parameters);
  if (nice != getpriority (PRIO_PROCESS, 0))
    setpriority (PRIO_PROCESS, 0, nice);
}
#endif

/* A new thread inherits its scheduling from the thread that happened to wait first, which may
 * hardly ever run. The main thread represents the intended scheduling of the process. Nothing is
 * set that is already correct, because a sandbox may kill a process that tries. */
static void
take_scheduling_of_main_thread (void)
{
#ifdef __linux__
  take_processors_of_thread (getpid ());
  take_priority_of_thread (getpid ());
#endif
}

static gpointer
watch_all (gpointer data)
{
  is_watcher = TRUE;
  take_scheduling_of_main_thread ();

  g_mutex_lock (&mutex);
  for (;;)
    {
      BufWatch *watch = get_first_due_locked ();
      gint64 now = g_get_monotonic_time ();

      if (n_forking > 0)
        g_cond_wait (&changed, &mutex);
      else if (watch != NULL && watch->due <= now)
        look_locked (watch, now);
      else
        sleep_until_locked (watch != NULL ? watch->due : G_MAXINT64);
    }
  return NULL;
}

#ifdef G_OS_UNIX
/* A look takes locks, including those of main contexts. They would stay locked in the child of a
 * program that has no other thread and whose author does not know of this one. */
static void
stop_before_fork (void)
{
  g_mutex_lock (&mutex);
  n_forking++;
  while (looked_at != NULL && !is_watcher)
    g_cond_wait (&looked, &mutex);
}

static void
go_on_after_fork (void)
{
  n_forking--;
  g_cond_signal (&changed);
  g_mutex_unlock (&mutex);
}

/* The child of a fork has no watcher, and must not look at what the parent watches. */
static void
forget_after_fork (void)
{
  g_mutex_init (&mutex);
  g_cond_init (&changed);
  g_cond_init (&looked);
  g_queue_init (&watches);
  looked_at = NULL;
  sleeps_until = 0;
  n_forking = 0;
  g_atomic_int_set (&state, NOT_STARTED);
}
#endif

/* The threads of the program handle signals. */
static GThread *
create_thread (void)
{
  GThread *thread;
#ifdef G_OS_UNIX
  static gsize registered;
  sigset_t all, before;

  if (g_once_init_enter (&registered))
    {
      pthread_atfork (stop_before_fork, go_on_after_fork, forget_after_fork);
      g_once_init_leave (&registered, 1);
    }
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
#endif
  thread = g_thread_try_new ("bufpool-watcher", watch_all, NULL, NULL);
#ifdef G_OS_UNIX
  pthread_sigmask (SIG_SETMASK, &before, NULL);
#endif
  return thread;
}

static gboolean
start_slowly (void)
{
  static GMutex starting;

  g_mutex_lock (&starting);
  if (g_atomic_int_get (&state) == NOT_STARTED)
    {
      GThread *thread = create_thread ();

      g_atomic_int_set (&state, thread != NULL ? RUNNING : FAILED);
      if (thread != NULL)
        g_thread_unref (thread);
    }
  g_mutex_unlock (&starting);
  return g_atomic_int_get (&state) == RUNNING;
}

/* Returns whether the watcher exists. Called without any lock. */
gboolean
buf_watcher_start (void)
{
  gint now = g_atomic_int_get (&state);

  return G_LIKELY (now == RUNNING) || (now == NOT_STARTED && start_slowly ());
}

void
buf_watch_init (BufWatch *self, BufWatchFunc look)
{
  *self = (BufWatch){ .look = look, .due = G_MAXINT64 };
  self->link.data = self;
}

/* The caller holds the owner's lock. */
void
buf_watch_set_due_locked (BufWatch *self, gint64 due)
{
  if (due == self->due)
    return;

  g_mutex_lock (&mutex);
  if (self->due == G_MAXINT64)
    g_queue_push_tail_link (&watches, &self->link);
  else if (due == G_MAXINT64)
    g_queue_unlink (&watches, &self->link);
  self->due = due;
  if (due < sleeps_until)
    g_cond_signal (&changed);
  g_mutex_unlock (&mutex);
}

/* The caller does not hold the owner's lock. On return, the watch is not looked at anymore. If a
 * look itself calls this function, it does not wait for the look, which must not access the watch
 * afterwards. */
void
buf_watch_end (BufWatch *self)
{
  g_mutex_lock (&mutex);
  while (looked_at == self && !is_watcher)
    g_cond_wait (&looked, &mutex);
  if (self->due != G_MAXINT64)
    g_queue_unlink (&watches, &self->link);
  self->due = G_MAXINT64;
  g_mutex_unlock (&mutex);
}
