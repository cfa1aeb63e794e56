/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * What the watcher does when it looks at a semaphore: it ends promises that were not kept, serves
 * the waiters that a section has left, asks the keeper again, and finds out whether there is
 * something to report. When it looks next is told here, and by each section, see
 * buf-semaphore-serve.c.
 */

/* When nothing was granted for so long that it is a stall; G_MAXINT64 if nobody waits. */
static gint64
get_time_of_stall_locked (BufSemaphore *self)
{
  BufWaiter *oldest = g_queue_peek_head (&self->queue.waiters);

  if (oldest == NULL || self->stall.time == 0)
    return G_MAXINT64;
  return MAX (self->stall.quiet_since, oldest->since) + self->stall.time;
}

/* Whether the watcher has to report a stall. */
static gboolean
check_stall_locked (BufSemaphore *self, gint64 now)
{
  if (self->stall.n_taken != self->queue.n_taken)
    buf_semaphore_begin_quiet_time_locked (self, now);
  if (self->stall.reported || now < get_time_of_stall_locked (self))
    return FALSE;

  self->stall.reported = TRUE;
  return TRUE;
}

/* When the watcher looks again if nothing happens: soon, if threads were woken since the last time,
 * so that it need not be told of each; and before a stall. */
static gint64
get_next_look_locked (BufSemaphore *self, gint64 now)
{
  gint64 next = get_time_of_stall_locked (self);

  if (self->stall.n_woken != self->queue.n_woken)
    {
      self->stall.n_woken = self->queue.n_woken;
      return now + self->queue.patience;
    }
  if (self->queue.waiters.length == 0)
    return G_MAXINT64;

  if (self->stall.reported)
    next = now + self->stall.time;
  if (self->stall.wait_threshold > 0)
    next = MIN (next, now + self->stall.wait_threshold);
  return next;
}

/* Finds out what to tell of, if anybody is interested. The semaphore is entered then. */
static gboolean
gather_news_locked (BufSemaphore *self, gint64 now, BufWatchNews *news)
{
  news->stalled = check_stall_locked (self, now);
  news->n_waits = 0;
  if (self->stall.report == NULL)
    return FALSE;

  while (self->stall.wait_threshold > 0 && news->n_waits < BUF_LONG_WAITS_MAX &&
         buf_wait_queue_find_long_wait_locked (&self->queue,
                                               self->stall.wait_threshold,
                                               now,
                                               &news->waits[news->n_waits]))
    news->n_waits++;
  if (!news->stalled && news->n_waits == 0)
    return FALSE;

  self->n_inside++;
  return TRUE;
}

/* The watcher looks. */
void
buf_semaphore_look (BufWatch *watch, gint64 now)
{
  BufSemaphore *self = (gpointer) ((guint8 *) watch - G_STRUCT_OFFSET (BufSemaphore, watch));
  BufWatchNews news;
  gboolean has_news, reclaims;

  g_mutex_lock (&self->mutex);
  buf_wait_queue_expire_locked (&self->queue, now, &self->ready);
  has_news = gather_news_locked (self, now, &news);
  reclaims = self->unfinished;
  self->unfinished = FALSE;
  self->n_inside += reclaims ? 1 : 0;
  buf_watch_set_due_locked (&self->watch, get_next_look_locked (self, now));
  buf_semaphore_serve_and_unlock (self);

  if (has_news)
    self->stall.report (self, &news);
  if (reclaims)
    {
      buf_semaphore_reclaim (self, FALSE);
      buf_semaphore_leave (self);
    }
}
