/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-holders-private.h"
#include "budget/buf-request-private.h"
#include "budget/buf-wait-report-private.h"
#include "budget/buf-watch-report-private.h"
#include "debug/buf-words-private.h"

/*
 * Messages about requests that are still waiting: no request has been granted for a long time, or,
 * with BUFPOOL_DEBUG=waits, one request has waited for a long time.
 *
 * The watcher detects both, see buf-semaphore-watch.c. A log writer is user code, which may block
 * for any length of time, or even wait for the pool. So the messages are built while the semaphore
 * is entered, and a separate thread logs them after it has left.
 */

/* The time without a grant after which a stall is reported, in milliseconds. */
#define DEFAULT_STALL_WARNING 10000

/* The shortest wait that BUFPOOL_DEBUG=waits reports, in milliseconds. */
#define DEFAULT_WAIT_THRESHOLD 100

typedef struct
{
  BufSemaphore *semaphore;
  gboolean stalled;
  BufWaitReport *waits[BUF_LONG_WAITS_MAX];
  guint n_waits;
} News;

/* A pool has no permits. */
static const gchar *
get_advice (const BufSemaphore *semaphore)
{
  if (semaphore->append_outstanding != NULL)
    return "Does a thread hold an allocation while it waits for another one? If several threads "
           "do, they deadlock. Allocate everything at once, free the allocation before you wait, "
           "or raise max-memory.";
  return "Does a thread hold an allocation or a permit while it waits for another one? If several "
         "threads do, they deadlock. Request everything at once, free what the thread holds before "
         "it waits, or raise max-memory.";
}

static gchar *
describe_stall (BufSemaphore *semaphore)
{
  g_autofree gchar *title = buf_request_get_title (semaphore, "The");
  g_autoptr (GString) outstanding = g_string_new (NULL);
  g_autoptr (BufHolders) holders = buf_holders_new (semaphore);
  g_autofree gchar *summary = buf_holders_get_summary (holders);
  BufSemaphoreFigures figures;

  buf_semaphore_get_figures (semaphore, &figures, NULL);
  buf_holders_append_to (holders, outstanding);
  return g_strdup_printf ("%s has not granted a request for %.1f s, and %u %s. The oldest waits "
                          "for "
                          "%" G_GINT64_FORMAT " %s, but only %" G_GINT64_FORMAT
                          " of %" G_GINT64_FORMAT
                          " %s available; %s:\n%s  %s (BUFPOOL_STALL_WARNING sets after how many "
                          "milliseconds this warning is logged; 0 disables it.)",
                          title,
                          (gdouble) semaphore->tree->stall.time / G_USEC_PER_SEC,
                          figures.n_waiting,
                          buf_words_choose (figures.n_waiting,
                                            "request is waiting",
                                            "requests are waiting"),
                          figures.oldest_bytes,
                          buf_words_choose (figures.oldest_bytes, "byte", "bytes"),
                          figures.available,
                          figures.maximum,
                          buf_words_choose (figures.available, "is", "are"),
                          summary,
                          outstanding->str,
                          get_advice (semaphore));
}

/* The semaphore is entered on entry, and left before anything is logged. */
static gpointer
tell (gpointer data)
{
  News *self = data;
  g_autofree gchar *stall = self->stalled ? describe_stall (self->semaphore) : NULL;

  buf_semaphore_leave (self->semaphore);

  for (guint i = 0; i < self->n_waits; i++)
    buf_wait_report_log (self->waits[i]);
  if (stall != NULL)
    g_warning ("%s", stall);
  g_free (self);
  return NULL;
}

static void
on_news (BufSemaphore *semaphore, const BufWatchNews *news)
{
  News *self = g_new0 (News, 1);
  GThread *thread;

  self->semaphore = semaphore;
  self->stalled = news->stalled;
  for (guint i = 0; i < news->n_waits; i++)
    self->waits[self->n_waits++] = buf_wait_report_new (semaphore, &news->waits[i]);

  thread = g_thread_try_new ("bufpool-report", tell, self, NULL);
  if (thread != NULL)
    g_thread_unref (thread);
  else
    tell (self);
}

/* Returns the shortest wait to log, in microseconds, or a negative value for none. */
static gint64
get_wait_threshold (void)
{
  if ((buf_debug_get_flags () & BUF_DEBUG_WAITS) == 0)
    return -1;
  return (gint64) buf_debug_get_milliseconds ("BUFPOOL_WAIT_THRESHOLD", DEFAULT_WAIT_THRESHOLD) *
         1000;
}

/* The semaphore is not shared yet. A wait in progress is noticed after a millisecond at the
 * earliest. */
void
buf_watch_report_begin (BufSemaphore *semaphore)
{
  guint64 stall = buf_debug_get_milliseconds ("BUFPOOL_STALL_WARNING", DEFAULT_STALL_WARNING);
  gint64 threshold = get_wait_threshold ();

  semaphore->wait_threshold = threshold;
  semaphore->report = on_news;
  buf_semaphore_watch_waits (semaphore,
                             (gint64) stall * 1000,
                             threshold >= 0 ? MAX (threshold, 1000) : 0,
                             threshold >= 0);
  buf_semaphore_join_reports (semaphore);
}
