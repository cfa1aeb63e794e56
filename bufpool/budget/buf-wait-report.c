/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-request-private.h"
#include "budget/buf-wait-report-private.h"
#include "debug/buf-words-private.h"

/*
 * The messages of BUFPOOL_DEBUG=waits about requests that are waiting or have waited.
 */

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
      return "became too large because the limit was lowered";
    case BUF_OUTCOME_CLOSED:
      return "failed because the pool was closed";
    case BUF_OUTCOME_OVERLOADED:
      return "was refused because too many requests were waiting";
    case BUF_OUTCOME_PENDING:
      return "is still waiting";
    default:
      g_assert_not_reached ();
    }
}

/* Describes the requests that were served last, as far as they were recorded. */
static gchar *
describe_served (const BufWaiter *waiter)
{
  g_autoptr (GString) description = g_string_new (NULL);
  guint64 n_served = waiter->end_served - waiter->first_served;
  guint64 i = n_served < BUF_WAITER_N_SERVED ? waiter->first_served
                                             : waiter->end_served - (BUF_WAITER_N_SERVED - 1);

  g_string_append_printf (description,
                          "In the meantime, %" G_GUINT64_FORMAT " %s served",
                          n_served,
                          buf_words_choose (n_served, "other request was", "other requests were"));
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

struct _BufWaitReport
{
  gchar *name; /* of the pool or the budget */
  gint64 bytes;
  gint64 waited; /* microseconds */
  gchar *message;
};

static BufWaitReport *
describe_wait (const BufSemaphore *semaphore, const BufWaiter *waiter)
{
  g_autofree gchar *title = buf_request_get_title (semaphore, "The");
  g_autofree gchar *served = describe_served (waiter);
  BufWaitReport *report = g_new0 (BufWaitReport, 1);

  report->name = g_strdup (semaphore->name != NULL ? semaphore->name : "");
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

/* Returns a report of a wait, or NULL if it must not be logged. The caller may be inside. It logs
 * the report after it has left, because a log writer is user code and may drop the pool. */
BufWaitReport *
buf_wait_report_new (const BufSemaphore *semaphore, const BufWaiter *waiter)
{
  if (waiter->waited == 0)
    return NULL;

  if (G_UNLIKELY (semaphore->is_traced) && waiter->outcome != BUF_OUTCOME_PENDING)
    buf_trace_wait (semaphore->name, waiter->since, waiter->waited, waiter->want.bytes);
  if (G_LIKELY (semaphore->wait_threshold < 0) || waiter->want.bytes == 0 ||
      waiter->waited < semaphore->wait_threshold)
    return NULL;
  return describe_wait (semaphore, waiter);
}

/* Logs and frees the report. The memory may be gone. */
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
                    self->name,
                    "BUFPOOL_BYTES",
                    bytes,
                    "BUFPOOL_WAITED",
                    waited,
                    "MESSAGE",
                    "%s",
                    self->message);
  g_free (self->name);
  g_free (self->message);
  g_free (self);
}
