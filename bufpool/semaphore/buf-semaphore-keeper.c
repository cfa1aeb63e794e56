/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * A keeper is a user of the semaphore that keeps bytes which nobody needs at the moment: the cache
 * of blocks. For the semaphore these bytes are in use, so neither its invariant nor its queue know
 * of the keeper. When somebody needs them, the semaphore asks the keeper to give them back.
 *
 * It asks after a request or a drainer was put into the queue, and never before: what is given back
 * is then released into a semaphore whose stripes are revoked, and serves the queue. From the
 * moment at which all was given back, the keeper keeps nothing, and @keeps is FALSE, until the
 * stripes are restored. They are not restored while anybody waits, drains or reclaims. So no waiter
 * sleeps while kept bytes would serve it.
 *
 * Part of what is kept may be out of reach for a while, when a thread was interrupted while it
 * changed it. A waiter does not wait for that thread: the watcher asks again after
 * BUF_SEMAPHORE_RECLAIM_TIME, until nothing is kept. Without the watcher, and when the semaphore is
 * closed or its maximum is changed, the keeper waits until it has given back all.
 */

/* After this time the watcher asks again, in microseconds. */
#define BUF_SEMAPHORE_RECLAIM_TIME 1000

/* The caller holds no lock, and is inside or has a reference on the owner. */
void
buf_semaphore_reclaim (BufSemaphore *self, gboolean complete)
{
  gint64 due;

  if (self->keeper->reclaim (self, complete))
    return;

  due = g_get_monotonic_time () + BUF_SEMAPHORE_RECLAIM_TIME;
  g_mutex_lock (&self->mutex);
  self->unfinished = TRUE;
  buf_watch_set_due_locked (&self->watch, MIN (self->watch.due, due));
  g_mutex_unlock (&self->mutex);
}

/* Returns with the lock, which it may have dropped. Nothing is kept then, nor will be before the
 * lock is dropped. */
void
buf_semaphore_reclaim_locked (BufSemaphore *self)
{
  while (self->keeps)
    {
      self->n_reclaims++;
      buf_semaphore_revoke_locked (self);
      buf_semaphore_serve_and_unlock (self);
      buf_semaphore_reclaim (self, TRUE);
      g_mutex_lock (&self->mutex);
      self->n_reclaims--;
    }
}

void
buf_semaphore_reclaim_and_lock (BufSemaphore *self)
{
  g_mutex_lock (&self->mutex);
  buf_semaphore_reclaim_locked (self);
}

/* Ends a section that has begun with buf_semaphore_reclaim_and_lock(). */
void
buf_semaphore_reopen_and_unlock (BufSemaphore *self)
{
  if (self->revoked)
    buf_semaphore_restore_if_unwanted_locked (self);
  else
    self->keeper->reopen_locked (self);
  buf_semaphore_serve_and_unlock (self);
}
