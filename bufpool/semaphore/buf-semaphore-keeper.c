/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * A keeper is a user of a semaphore that keeps bytes which nobody needs at the moment: the cache of
 * blocks. For the semaphore these bytes are in use, at each level, so neither its invariant nor its
 * queue know of the keeper. When somebody needs them, the keepers are asked to give them back.
 *
 * A request or a drainer that has to wait asks after it was put into the queue, and never before:
 * what is given back is then released into a level whose stripes are revoked, and serves the queue.
 * From the moment at which all was given back, the keeper keeps nothing, and @keeps is FALSE, until
 * no level of its path is wanted any more. So no waiter sleeps while kept bytes would serve it.
 *
 * A level may become wanted later, when a waiter that was short at another level turns out to be
 * short there, too. And part of what is kept may be out of reach for a while, when a thread was
 * interrupted while it changed it. Then the watcher asks, after BUF_SEMAPHORE_RECLAIM_TIME, until
 * nothing is kept. Without the watcher every level is wanted while anybody waits in the tree, and
 * the one that begins to wait does not go on until nothing is kept; it is the same when the
 * semaphore is closed or its maximum is changed.
 *
 * A request that need not wait takes only what it needs: first from its own keeper, and then, if
 * that has too little, from those of the others below the level that is short, see
 * buf_semaphore_acquire_after_others().
 */

guint64
buf_semaphore_begin_round (BufSemaphore *self)
{
  guint64 round;

  g_mutex_lock (&self->tree->mutex);
  round = ++self->tree->n_rounds;
  g_mutex_unlock (&self->tree->mutex);
  return round;
}

/* Enters it. */
BufSemaphore *
buf_semaphore_ask_next (BufSemaphore *top, gboolean wanted, guint64 round)
{
  BufSemaphore *semaphore;

  g_mutex_lock (&top->tree->mutex);
  semaphore = buf_semaphore_ask_next_locked (top, wanted, round);
  if (semaphore != NULL)
    semaphore->n_inside++;
  g_mutex_unlock (&top->tree->mutex);
  return semaphore;
}

/* Asks one, which the caller has entered, and leaves it. */
void
buf_semaphore_ask_and_leave (BufSemaphore *self, gboolean complete)
{
  if (!self->keeper->reclaim (self, complete))
    {
      g_mutex_lock (&self->tree->mutex);
      buf_semaphore_reclaim_later_locked (self->tree);
      g_mutex_unlock (&self->tree->mutex);
    }
  buf_semaphore_leave (self);
}

/* Asks all keepers of the tree that keep what is wanted. The caller holds no lock, and is inside or
 * has a reference on the owner. */
void
buf_semaphore_reclaim (BufSemaphore *self, gboolean complete)
{
  BufSemaphore *root = buf_semaphore_get_root (self);
  guint64 round = buf_semaphore_begin_round (self);
  BufSemaphore *semaphore;

  while ((semaphore = buf_semaphore_ask_next (root, TRUE, round)) != NULL)
    buf_semaphore_ask_and_leave (semaphore, complete);
}

/* Returns with the lock, which it may have dropped. Nothing is kept then, nor will be before the
 * lock is dropped. */
void
buf_semaphore_reclaim_locked (BufSemaphore *self)
{
  while (self->n_keeping > 0)
    {
      self->n_reclaims++;
      buf_semaphore_revoke_locked (self);
      buf_semaphore_serve_and_unlock (self);
      buf_semaphore_reclaim (self, TRUE);
      g_mutex_lock (&self->tree->mutex);
      self->n_reclaims--;
    }
}

void
buf_semaphore_reclaim_and_lock (BufSemaphore *self)
{
  g_mutex_lock (&self->tree->mutex);
  buf_semaphore_reclaim_locked (self);
}

/* Ends a section that has begun with buf_semaphore_reclaim_and_lock(). */
void
buf_semaphore_reopen_and_unlock (BufSemaphore *self)
{
  if (self->level.revoked)
    buf_semaphore_restore_if_unwanted_locked (self);
  else
    buf_semaphore_reopen_below_locked (self);
  buf_semaphore_serve_and_unlock (self);
}
