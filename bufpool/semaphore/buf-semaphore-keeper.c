/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * A keeper is a user of a semaphore that keeps bytes no request needs at the moment: the cache of
 * blocks. The semaphore counts these bytes as in use, at each level, so neither its invariant nor
 * its queue involves the keeper. When a request needs the bytes, the keepers are asked to release
 * them.
 *
 * A request or a drainer that has to wait asks the keepers after it has been put into the queue,
 * never before. The bytes are then released into a level whose stripes are revoked, and the release
 * serves the queue. Once a keeper has released everything, it keeps nothing, and @keeps is FALSE,
 * until it is reopened, which needs a moment when no level of its path is wanted. So no waiter
 * sleeps while kept bytes would serve it.
 *
 * A level may become wanted later, when a waiter that was short at another level turns out to be
 * short there as well. The section in which this happens need not be one of that level or of a
 * level below it, see buf_semaphore_revoke_level_locked(). Some kept bytes may also be out of reach
 * for a while, if a thread was preempted while it changed them. The watcher then asks, after
 * BUF_SEMAPHORE_RECLAIM_TIME, until nothing is kept. Without the watcher, every level is wanted
 * while any request waits in the tree, and a request that begins to wait does not continue until
 * nothing is kept. The same applies when the semaphore is closed or its maximum changes.
 *
 * A request that need not wait takes only what it needs: first from its own keeper, and if that has
 * too little, from the other keepers below the level that is short, see
 * buf_semaphore_acquire_after_others(). A keeper that then has nothing left is closed, too.
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

/* Enters the semaphore. */
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

/* Asks one keeper, whose semaphore the caller has entered, and leaves it. */
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

/* The highest level of the path that is wanted: what is kept elsewhere cannot be of use here. */
static BufSemaphore *
find_wanted (BufSemaphore *self)
{
  BufSemaphore *wanted = self;

  g_mutex_lock (&self->tree->mutex);
  for (BufSemaphore *each = self; each != NULL; each = each->parent)
    if (each->level.revoked && buf_semaphore_is_wanted_locked (each))
      wanted = each;
  g_mutex_unlock (&self->tree->mutex);
  return wanted;
}

/* Asks all keepers that keep what is wanted for @self, or, if it has to be @complete, anywhere in
 * the tree. The caller holds no lock, and is inside or has a reference
 * on the owner. */
void
buf_semaphore_reclaim (BufSemaphore *self, gboolean complete)
{
  BufSemaphore *top = complete ? buf_semaphore_get_root (self) : find_wanted (self);
  guint64 round = buf_semaphore_begin_round (self);
  BufSemaphore *semaphore;

  while ((semaphore = buf_semaphore_ask_next (top, TRUE, round)) != NULL)
    buf_semaphore_ask_and_leave (semaphore, complete);
}

/* Returns with the lock held, but may unlock it in between. On return nothing is kept or idle, and
 * nothing can be kept or become idle until the lock is unlocked. */
void
buf_semaphore_reclaim_locked (BufSemaphore *self)
{
  while (self->n_keeping > 0 || self->level.idle > 0)
    {
      self->n_reclaims++;
      buf_semaphore_revoke_locked (self);
      buf_semaphore_serve_and_unlock (self);
      buf_semaphore_free_idle (self);
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

/* Ends a section that buf_semaphore_reclaim_and_lock() began. */
void
buf_semaphore_reopen_and_unlock (BufSemaphore *self)
{
  if (self->level.revoked)
    buf_semaphore_restore_if_unwanted_locked (self);
  else
    buf_semaphore_reopen_below_locked (self);
  buf_semaphore_serve_and_unlock (self);
}
