/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "debug/buf-words-private.h"
#include "pool/buf-pool-private.h"

/*
 * What a pool says: who holds what, who waited for how long, and that it cannot go yet.
 */

/* How long a wait is before BUFPOOL_DEBUG=waits tells of it, in milliseconds. */
#define DEFAULT_WAIT_THRESHOLD 100

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

  g_return_val_if_fail (BUF_IS_POOL (self), NULL);

  buf_memory_append_description (self->memory, description);
  return g_string_free (g_steal_pointer (&description), FALSE);
}

/* Dispose has waited for long. */
void
buf_pool_warn_of_drain (BufMemory *memory, guint64 milliseconds, const BufSemaphoreFigures *figures)
{
  g_autofree gchar *title = buf_memory_get_title (memory);
  g_autoptr (GString) description = g_string_new (NULL);

  buf_memory_append_outstanding (memory, description);
  g_warning ("%s was dropped %" G_GUINT64_FORMAT " ms ago, and still waits for %" G_GINT64_FORMAT
             " %s (%" G_GINT64_FORMAT
             " %s) to be dropped. Does this thread hold one, or has one leaked?\n%s",
             title,
             milliseconds,
             figures->n_allocations,
             buf_words_choose (figures->n_allocations, "allocation", "allocations"),
             figures->allocated,
             buf_words_choose (figures->allocated, "byte", "bytes"),
             description->str);
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
    case BUF_OUTCOME_OVERLOADED:
      return "was refused, since too many waited";
    case BUF_OUTCOME_PENDING:
      return "still waits";
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
                          "Meanwhile %" G_GUINT64_FORMAT " %s served",
                          n_served,
                          buf_words_choose (n_served, "other was", "others were"));
  for (const gchar *separator = ", the last: "; i < waiter->end_served; i++, separator = ", ")
    {
      const BufServed *served = &waiter->last[i % BUF_WAITER_N_SERVED];

      g_string_append_printf (description,
                              "%s%" G_GINT64_FORMAT " %s to thread %u",
                              separator,
                              served->bytes,
                              buf_words_choose (served->bytes, "byte", "bytes"),
                              served->thread_id);
    }
  return g_string_free (g_steal_pointer (&description), FALSE);
}

/* From which length on waits are logged, in microseconds; negative: none are. */
gint64
buf_pool_get_wait_threshold (void)
{
  if ((buf_debug_get_flags () & BUF_DEBUG_WAITS) == 0)
    return -1;
  return (gint64) buf_debug_get_milliseconds ("BUFPOOL_WAIT_THRESHOLD", DEFAULT_WAIT_THRESHOLD) *
         1000;
}

struct _BufWaitReport
{
  gchar *pool; /* its name */
  gint64 bytes;
  gint64 waited; /* microseconds */
  gchar *message;
};

static BufWaitReport *
describe_wait (BufMemory *memory, const BufWaiter *waiter)
{
  g_autofree gchar *title = buf_memory_get_title (memory);
  g_autofree gchar *served = describe_served (waiter);
  BufWaitReport *report = g_new0 (BufWaitReport, 1);

  report->pool = g_strdup (memory->name != NULL ? memory->name : "");
  report->bytes = waiter->want.bytes;
  report->waited = waiter->waited;
  report->message =
      g_strdup_printf ("%s: a request for %" G_GINT64_FORMAT
                       " %s by thread %u %s %.3f ms and %s, overtaken %u %s. %s",
                       title,
                       waiter->want.bytes,
                       buf_words_choose (waiter->want.bytes, "byte", "bytes"),
                       waiter->thread_id,
                       waiter->outcome == BUF_OUTCOME_PENDING ? "has waited" : "waited",
                       (gdouble) waiter->waited / 1000,
                       get_outcome_name (waiter->outcome),
                       waiter->overtaken,
                       buf_words_choose (waiter->overtaken, "time", "times"),
                       served);
  return report;
}

/* A wait is over, and its outcome is settled. Returns what is to be logged, or NULL. The caller may
 * be inside; it logs when it has left: a log writer is code of the program, and may drop the pool.
 */
BufWaitReport *
buf_pool_report_wait (BufMemory *memory, const BufWaiter *waiter)
{
  if (waiter->waited == 0)
    return NULL;

  if (G_UNLIKELY (memory->trace_counter != 0) && waiter->outcome != BUF_OUTCOME_PENDING)
    buf_trace_wait (memory->name, waiter->since, waiter->waited, waiter->want.bytes);
  if (G_LIKELY (memory->wait_threshold < 0) || waiter->want.bytes == 0 ||
      waiter->waited < memory->wait_threshold)
    return NULL;
  return describe_wait (memory, waiter);
}

/* Logs and frees it. The memory may be gone. */
void
buf_wait_report_log (BufWaitReport *self)
{
  g_autofree gchar *bytes = NULL;
  g_autofree gchar *waited = NULL;

  if (G_LIKELY (self == NULL))
    return;

  bytes = g_strdup_printf ("%" G_GINT64_FORMAT, self->bytes);
  waited = g_strdup_printf ("%" G_GINT64_FORMAT, self->waited);
  g_log_structured (G_LOG_DOMAIN,
                    G_LOG_LEVEL_MESSAGE,
                    "BUFPOOL_POOL",
                    self->pool,
                    "BUFPOOL_BYTES",
                    bytes,
                    "BUFPOOL_WAITED",
                    waited,
                    "MESSAGE",
                    "%s",
                    self->message);
  g_free (self->pool);
  g_free (self->message);
  g_free (self);
}
