/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "pool/buf-pool-private.h"

/*
 * What a pool says: who holds what, who waited for how long, and that it cannot go yet.
 */

/* How long a wait is before BUFPOOL_DEBUG=waits tells of it, in milliseconds. */
#define DEFAULT_WAIT_THRESHOLD 100

static GMutex all_pools_mutex;
static GQueue all_pools; /* LOCK: all_pools_mutex */

/* Whose pools the report at exit is about. After a fork it is not the child, until that makes a
 * pool of its own. */
static _Atomic pid_t reporter; /* atomic */

static gchar *
get_title (BufPool *self)
{
  return self->name != NULL ? g_strdup_printf ("The pool \"%s\"", self->name)
                            : g_strdup ("The pool");
}

static void
append_outstanding (BufPool *self, GString *description)
{
  if (self->ledger != NULL && self->ledger->flags & BUF_DEBUG_LEAKS)
    buf_debug_ledger_describe (self->ledger, description);
  else
    g_string_append (description,
                     "  Run the program with BUFPOOL_DEBUG=leaks to see where they come from.\n");
}

/**
 * buf_pool_describe_outstanding:
 * @self: a pool
 *
 * Tells in words what is outstanding, and how many wait. If the environment variable
 * `BUFPOOL_DEBUG` had the key `leaks` when the program began, it also tells for each allocation who
 * made it, when and where: grouped by their call stacks, the most bytes first.
 *
 * The text is meant for people. What it looks like may change.
 *
 * This function can be called from any thread, also while others use the pool. It may take a
 * second, as it looks up names of functions and lines in the debug information.
 *
 * Returns: (transfer full): some lines of text
 *
 * Since: 1.0
 */
gchar *
buf_pool_describe_outstanding (BufPool *self)
{
  g_autoptr (GString) description = g_string_new (NULL);
  g_autofree gchar *title = NULL;
  BufSemaphoreFigures figures;

  g_return_val_if_fail (BUF_IS_POOL (self), NULL);

  title = get_title (self);
  buf_semaphore_get_figures (&self->semaphore, &figures, NULL);
  g_string_append_printf (description,
                          "%s has %" G_GINT64_FORMAT " allocations outstanding (%" G_GINT64_FORMAT
                          " of %" G_GINT64_FORMAT " bytes), and %u requests wait.\n",
                          title,
                          figures.n_allocations,
                          figures.allocated,
                          figures.maximum,
                          figures.n_waiting);
  if (figures.n_allocations > 0)
    append_outstanding (self, description);
  return g_string_free (g_steal_pointer (&description), FALSE);
}

/* Dispose has waited for long. */
void
buf_pool_warn_of_drain (BufPool *self, guint64 milliseconds, const BufSemaphoreFigures *figures)
{
  g_autofree gchar *title = get_title (self);
  g_autoptr (GString) description = g_string_new (NULL);

  append_outstanding (self, description);
  g_warning ("%s was dropped %" G_GUINT64_FORMAT " ms ago, and still waits for %" G_GINT64_FORMAT
             " allocations (%" G_GINT64_FORMAT
             " bytes) to be dropped. Does this thread hold one, or has one leaked?\n%s",
             title,
             milliseconds,
             figures->n_allocations,
             figures->allocated,
             description->str);
}

static void
append_at_exit (BufPool *self, GString *report)
{
  g_autofree gchar *description = NULL;

  if (buf_pool_get_active_allocations (self) == 0)
    return;

  description = buf_pool_describe_outstanding (self);
  g_string_append_printf (report, "At exit: %s", description);
}

/* With BUFPOOL_DEBUG=exit. The child of a fork inherits this handler, too, and perhaps a lock that
 * was held by a thread which it does not have. */
static void
describe_all_pools (void)
{
  g_autoptr (GString) report = g_string_new (NULL);
  pid_t process = getpid ();

  if (atomic_load (&reporter) != process)
    return;

  g_mutex_lock (&all_pools_mutex);
  for (GList *link = all_pools.head; link != NULL; link = link->next)
    {
      BufPool *pool = link->data;

      if (pool->process == process)
        append_at_exit (pool, report);
    }
  g_mutex_unlock (&all_pools_mutex);

  if (report->len > 0)
    g_printerr ("%s", report->str);
}

/* From now on the report at exit is about the pools of this process. */
static void
become_reporter (pid_t process)
{
  static gsize initialized;

  atomic_store (&reporter, process);
  if (g_once_init_enter (&initialized))
    {
      (void) atexit (describe_all_pools);
      g_once_init_leave (&initialized, 1);
    }
}

/* Puts a new pool where debuggers, and the report at exit, find it. */
void
buf_pool_join_all (BufPool *self)
{
  self->process = getpid ();
  if (buf_debug_get_flags () & BUF_DEBUG_EXIT)
    become_reporter (self->process);

  self->link.data = self;
  g_mutex_lock (&all_pools_mutex);
  g_queue_push_tail_link (&all_pools, &self->link);
  g_mutex_unlock (&all_pools_mutex);
}

void
buf_pool_leave_all (BufPool *self)
{
  g_mutex_lock (&all_pools_mutex);
  g_queue_unlink (&all_pools, &self->link);
  g_mutex_unlock (&all_pools_mutex);
}

static const gchar *
get_outcome_name (BufOutcome outcome)
{
  switch (outcome)
    {
    case BUF_OUTCOME_GRANTED:
      return "was granted";
    case BUF_OUTCOME_TIMED_OUT:
      return "timed out";
    case BUF_OUTCOME_CANCELLED:
      return "was cancelled";
    case BUF_OUTCOME_TOO_LARGE:
      return "became too large, since the budget was lowered";
    case BUF_OUTCOME_CLOSED:
      return "failed, since the pool was closed";
    case BUF_OUTCOME_PENDING:
    default:
      g_assert_not_reached ();
    }
}

/* Those who were served last, as far as they are remembered. */
static gchar *
describe_served (const BufWaiter *waiter)
{
  g_autoptr (GString) description = g_string_new (NULL);
  guint64 n_served = waiter->end_served - waiter->first_served;
  guint64 i = n_served < BUF_WAITER_N_SERVED ? waiter->first_served
                                             : waiter->end_served - (BUF_WAITER_N_SERVED - 1);

  g_string_append_printf (description,
                          "Meanwhile %" G_GUINT64_FORMAT " others were served",
                          n_served);
  for (const gchar *separator = ", the last: "; i < waiter->end_served; i++, separator = ", ")
    g_string_append_printf (description,
                            "%s%" G_GINT64_FORMAT " bytes to thread %u",
                            separator,
                            waiter->last[i % BUF_WAITER_N_SERVED].bytes,
                            waiter->last[i % BUF_WAITER_N_SERVED].thread_id);
  return g_string_free (g_steal_pointer (&description), FALSE);
}

static gint64
get_wait_threshold (void)
{
  static gsize threshold; /* plus one */

  if (g_once_init_enter (&threshold))
    {
      guint64 milliseconds =
          buf_debug_get_milliseconds ("BUFPOOL_WAIT_THRESHOLD", DEFAULT_WAIT_THRESHOLD);

      g_once_init_leave (&threshold, milliseconds + 1);
    }
  return ((gint64) threshold - 1) * 1000;
}

static void
log_wait (BufPool *self, const BufWaiter *waiter)
{
  g_autofree gchar *title = get_title (self);
  g_autofree gchar *served = describe_served (waiter);
  g_autofree gchar *bytes = g_strdup_printf ("%" G_GINT64_FORMAT, waiter->bytes);
  g_autofree gchar *waited = g_strdup_printf ("%" G_GINT64_FORMAT, waiter->waited);

  g_log_structured (G_LOG_DOMAIN,
                    G_LOG_LEVEL_MESSAGE,
                    "BUFPOOL_POOL",
                    self->name != NULL ? self->name : "",
                    "BUFPOOL_BYTES",
                    bytes,
                    "BUFPOOL_WAITED",
                    waited,
                    "MESSAGE",
                    "%s: a request for %s bytes by thread %u waited %.3f ms and %s, overtaken %u "
                    "times. %s",
                    title,
                    bytes,
                    waiter->thread_id,
                    (gdouble) waiter->waited / 1000,
                    get_outcome_name (waiter->outcome),
                    waiter->overtaken,
                    served);
}

/* At most once in a millisecond: it takes the lock. */
void
buf_pool_trace_change (BufPool *self, gint64 change)
{
  gint64 now = g_get_monotonic_time ();
  BufSemaphoreFigures figures;

  if (now - atomic_load_explicit (&self->traced, memory_order_relaxed) < 1000)
    return;

  atomic_store_explicit (&self->traced, now, memory_order_relaxed);
  buf_semaphore_get_figures (&self->semaphore, &figures, NULL);
  buf_trace_set_counter (self->trace_counter, figures.allocated + change);
}

/* A wait is over, and its outcome is settled. */
void
buf_pool_report_wait (BufPool *self, const BufWaiter *waiter)
{
  if (waiter->waited == 0)
    return;

  if (G_UNLIKELY (self->trace_counter != 0))
    buf_trace_wait (self->name, waiter->since, waiter->waited, waiter->bytes);
  if (G_UNLIKELY (self->semaphore.queue.watched) && waiter->bytes > 0 &&
      waiter->waited >= get_wait_threshold ())
    log_wait (self, waiter);
}
