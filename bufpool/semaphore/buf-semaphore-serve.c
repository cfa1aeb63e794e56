/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * How every section of a semaphore ends: it serves the waiters, restores the stripes when no
 * request needs them revoked, and tells the watcher when to look. Because all sections end the same
 * way, the argument is short: no matter what a section has changed, it leaves no waiter that it
 * could serve.
 */

/* How long one call serves other requests beyond the first section, in microseconds. */
#define BUF_SEMAPHORE_SERVE_TIME 500

/* When the watcher asks the keepers for wanted bytes, in microseconds. */
#define BUF_SEMAPHORE_RECLAIM_TIME 1000

/* The number of sections under the mutex, without a revocation or a waiter, after which the stripes
 * are restored. */
#define BUF_SEMAPHORE_CALM 64

/* Returns whether only @pinned bytes are outstanding. While bytes may be kept, the keeper has a
 * part of that figure. */
gboolean
buf_semaphore_is_drained_locked (BufSemaphore *self, gint64 pinned)
{
  return self->level.revoked && self->level.free + pinned == self->level.maximum &&
         (pinned == 0 || self->n_keeping == 0);
}

/* Restores the stripes immediately, without waiting for calm. */
void
buf_semaphore_restore_if_unwanted_locked (BufSemaphore *self)
{
  if (self->level.revoked && !buf_semaphore_is_wanted_locked (self))
    buf_semaphore_restore_locked (self);
}

/* Nothing has been granted since @now. */
void
buf_semaphore_begin_quiet_time_locked (BufTree *tree, gint64 now)
{
  tree->stall.quiet_since = now;
  tree->stall.reported = FALSE;
}

/* Returns when the watcher has to look at the current waiters, or G_MAXINT64 for never. */
static gint64
begin_to_watch_locked (BufTree *tree)
{
  gint64 time = tree->stall.time > 0 ? tree->stall.time : G_MAXINT64;
  gint64 now;

  if (tree->stall.wait_threshold > 0)
    time = MIN (time, tree->stall.wait_threshold);
  if (time == G_MAXINT64)
    return G_MAXINT64;

  now = g_get_monotonic_time ();
  tree->stall.level = NULL;
  buf_semaphore_begin_quiet_time_locked (tree, now);
  return now + time;
}

/* Tells the watcher when to look. */
void
buf_semaphore_set_watch_locked (BufTree *tree)
{
  gint64 due = tree->watch.due;

  if (tree->queue.sooner)
    due = MIN (due, buf_wait_queue_get_next_time_locked (&tree->queue));
  tree->queue.sooner = FALSE;
  if (due == G_MAXINT64 && tree->queue.waiters.length > 0)
    due = begin_to_watch_locked (tree);
  if (due != tree->watch.due)
    buf_watch_set_due_locked (&tree->watch, due);
}

/* A keeper keeps bytes that a request needs. */
void
buf_semaphore_reclaim_later_locked (BufTree *tree)
{
  if (tree->unfinished)
    return;

  tree->unfinished = TRUE;
  buf_watch_set_due_locked (&tree->watch,
                            MIN (tree->watch.due,
                                 g_get_monotonic_time () + BUF_SEMAPHORE_RECLAIM_TIME));
}

/* For the queue. If the level becomes wanted now, the section may be one of another level, which
 * does not look at the keepers below this one. */
void
buf_semaphore_revoke_level_locked (BufLevel *level)
{
  BufSemaphore *self = buf_semaphore_get_for_level (level);

  buf_semaphore_revoke_locked (self);
  if (G_UNLIKELY (self->n_keeping > 0) && buf_semaphore_is_wanted_locked (self))
    buf_semaphore_reclaim_later_locked (self->tree);
}

/* Restores the stripes if no request has needed them revoked for some time. */
static void
end_section_locked (BufSemaphore *self)
{
  if (!self->level.revoked)
    return;

  if (buf_semaphore_is_wanted_locked (self))
    {
      self->calm = 0;
      if (G_UNLIKELY (self->n_keeping > 0))
        buf_semaphore_reclaim_later_locked (self->tree);
    }
  else if (++self->calm >= BUF_SEMAPHORE_CALM)
    buf_semaphore_restore_locked (self);
}

/* Serves a batch of waiters. Drainers come first, so that they do not miss the zero they wait for.
 * Returns whether nothing is left to do. */
static gboolean
serve_locked (BufSemaphore *self)
{
  BufTree *tree = self->tree;
  gboolean all_served;

  for (BufSemaphore *each = self; each != NULL; each = each->parent)
    if (each->level.drainers.head != NULL &&
        buf_semaphore_is_drained_locked (each, each->level.pinned))
      buf_wait_queue_note_drained_locked (&each->level);
  all_served = buf_wait_queue_serve_locked (&tree->queue, &tree->ready);

  for (BufSemaphore *each = self; each != NULL; each = each->parent)
    end_section_locked (each);
  buf_semaphore_set_watch_locked (tree);
  return all_served;
}

static void
unlock_and_complete (BufSemaphore *self)
{
  BufTree *tree = self->tree;
  gboolean ends = buf_semaphore_ends_locked (self);

  if (buf_ready_is_empty (&tree->ready))
    buf_semaphore_unlock (self);
  else
    {
      BufReady ready = tree->ready;

      buf_ready_init (&tree->ready);
      buf_semaphore_unlock (self);
      buf_ready_complete (&ready);
    }
  if (G_UNLIKELY (ends))
    self->end (self);
}

/* If one section was not enough, serves the other waiters in further sections, but only for a short
 * time, because the caller has other work. The rest is left to the watcher, which starts with what
 * has been due the longest. */
static void
serve_more_and_unlock (BufSemaphore *self)
{
  BufTree *tree = self->tree;
  gint64 now = g_get_monotonic_time ();
  gint64 deadline = now + BUF_SEMAPHORE_SERVE_TIME;
  gboolean all_served;

  self->n_inside++;
  do
    {
      unlock_and_complete (self);
      g_mutex_lock (&tree->mutex);
      all_served = serve_locked (self);
      now = g_get_monotonic_time ();
    }
  while (!all_served && (!tree->queue.promises || now < deadline));

  if (!all_served)
    buf_watch_set_due_locked (&tree->watch, MIN (tree->watch.due, now));
  self->n_inside--;
  unlock_and_complete (self);
}

/* Ends every section that may have changed the free bytes, the maximum or the queue, or in which a
 * woken waiter could not take its bytes. On return, the semaphore may be gone. */
void
buf_semaphore_serve_and_unlock (BufSemaphore *self)
{
  if (G_LIKELY (serve_locked (self)))
    unlock_and_complete (self);
  else
    serve_more_and_unlock (self);
}
