/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * How every section of a semaphore ends: waiters are served, the stripes come back when nobody
 * needs them revoked, and the watcher is told when to look. That it is the same for all sections is
 * what keeps the argument short: whatever a section has changed, no waiter is left that it could
 * serve.
 */

/* For how long one call serves others, in microseconds, beyond the first section. */
#define BUF_SEMAPHORE_SERVE_TIME 500

/* Sections under the mutex, without revocation or waiter, after which the stripes are given back.
 */
#define BUF_SEMAPHORE_CALM 64

/* Whether nothing is outstanding but what is @pinned. */
gboolean
buf_semaphore_is_drained_locked (BufSemaphore *self, gint64 pinned)
{
  return self->revoked && self->queue.free + pinned == self->queue.maximum;
}

static gboolean
is_wanted_locked (BufSemaphore *self)
{
  return self->queue.closed || self->queue.free < 0 || self->queue.waiters.length > 0 ||
         self->queue.drainers.length > 0 || self->queue.drained.length > 0 || self->n_reclaims > 0;
}

/* At once, and not only when it has been calm. */
void
buf_semaphore_restore_if_unwanted_locked (BufSemaphore *self)
{
  if (self->revoked && !is_wanted_locked (self))
    buf_semaphore_restore_locked (self);
}

/* Nothing has been granted since @now. */
static void
begin_quiet_time_locked (BufSemaphore *self, gint64 now)
{
  self->stall.n_taken = self->queue.n_taken;
  self->stall.quiet_since = now;
  self->stall.reported = FALSE;
}

/* When the watcher looks next at those who wait now; G_MAXINT64 if it need not. */
static gint64
begin_to_watch_locked (BufSemaphore *self)
{
  gint64 time = self->stall.time > 0 ? self->stall.time : G_MAXINT64;
  gint64 now;

  if (self->stall.wait_threshold > 0)
    time = MIN (time, self->stall.wait_threshold);
  if (time == G_MAXINT64)
    return G_MAXINT64;

  now = g_get_monotonic_time ();
  begin_quiet_time_locked (self, now);
  return now + time;
}

/* Tells the watcher when to look. */
void
buf_semaphore_set_watch_locked (BufSemaphore *self)
{
  gint64 due = MIN (self->watch.due, buf_wait_queue_get_next_time_locked (&self->queue));

  if (due == G_MAXINT64 && self->queue.waiters.length > 0)
    due = begin_to_watch_locked (self);
  if (due != self->watch.due)
    buf_watch_set_due_locked (&self->watch, due);
}

/* Serves a batch of those who wait. Drainers come first, so that the zero they wait for is not
 * lost. Returns whether nothing is left to do. */
static gboolean
serve_locked (BufSemaphore *self)
{
  gboolean all_served;

  if (buf_semaphore_is_drained_locked (self, self->queue.pinned))
    buf_wait_queue_note_drained_locked (&self->queue);
  all_served = buf_wait_queue_serve_locked (&self->queue, &self->ready);

  if (is_wanted_locked (self))
    self->calm = 0;
  else if (self->revoked && ++self->calm >= BUF_SEMAPHORE_CALM)
    buf_semaphore_restore_locked (self);
  buf_semaphore_set_watch_locked (self);
  return all_served;
}

static void
unlock_and_complete (BufSemaphore *self)
{
  BufReady ready = self->ready;
  gboolean ends = buf_semaphore_ends_locked (self);

  buf_ready_init (&self->ready);
  g_mutex_unlock (&self->mutex);
  buf_ready_complete (&ready);
  if (G_UNLIKELY (ends))
    self->end (self);
}

/* When one section was not enough: serves the others in sections of their own, but not for long,
 * since the caller has other things to do. What is left then is the watcher's, which first looks at
 * what has been due for longer. */
static void
serve_more_and_unlock (BufSemaphore *self)
{
  gint64 now = g_get_monotonic_time ();
  gint64 deadline = now + BUF_SEMAPHORE_SERVE_TIME;
  gboolean all_served;

  self->n_inside++;
  do
    {
      unlock_and_complete (self);
      g_mutex_lock (&self->mutex);
      all_served = serve_locked (self);
      now = g_get_monotonic_time ();
    }
  while (!all_served && (!self->queue.promises || now < deadline));

  if (!all_served)
    buf_watch_set_due_locked (&self->watch, MIN (self->watch.due, now));
  self->n_inside--;
  unlock_and_complete (self);
}

/* Ends every section that may have changed free, the maximum or the queue, or in which a woken
 * waiter could not take. After this the semaphore may be gone. */
void
buf_semaphore_serve_and_unlock (BufSemaphore *self)
{
  if (G_LIKELY (serve_locked (self)))
    unlock_and_complete (self);
  else
    serve_more_and_unlock (self);
}

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
    begin_quiet_time_locked (self, now);
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
