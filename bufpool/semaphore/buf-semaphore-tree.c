/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * A tree of semaphores: a limit for the whole, and limits for its parts.
 *
 * A request of a child takes its bytes at each level of its path, from the child up to the root.
 * The fast path is one compare-and-swap for each level, from the child up. If a level has too
 * little credit, the request is decided again under the mutex, for all levels: in the same section,
 * what it took below first returns to the free bytes. A release goes from the root down, and
 * reaches the child last. While it still has bytes of the child, the child exists; and the child is
 * inside its parent, which therefore exists as well.
 *
 * All semaphores of a tree share one mutex and one order of waiters. A level is revoked when a
 * waiter turns out to be short there. Levels at which all waiters have enough stay live, so a pool
 * at its own limit does not slow down its siblings. Invariant: each waiter that is not served is
 * short at a level that is revoked. A release to that level takes the mutex and serves the queue.
 */

static BufTree *
tree_new (BufLevel *root, void (*look) (BufWatch *watch, gint64 now))
{
  BufTree *self = g_new0 (BufTree, 1);

  g_mutex_init (&self->mutex);
  buf_ready_init (&self->ready);
  buf_wait_queue_init (&self->queue, root, buf_semaphore_revoke_level_locked);
  self->queue.claim_locked = buf_semaphore_claim_level_locked;
  buf_watch_init (&self->watch, look);
  return self;
}

static void
tree_free (BufTree *self)
{
  buf_watch_end (&self->watch);
  g_assert (g_queue_is_empty (&self->queue.waiters) && g_queue_is_empty (&self->queue.drained));
  g_assert (g_queue_is_empty (&self->members));
  g_assert (g_queue_is_empty (&self->keeping) && g_queue_is_empty (&self->resting));

  g_mutex_clear (&self->mutex);
  g_free (self);
}

/* If there is a @parent, the new semaphore is inside it until the child ends. Otherwise, @look is
 * the function that the watcher of the new tree calls. */
void
buf_semaphore_join_tree (BufSemaphore *self,
                         BufSemaphore *parent,
                         void (*look) (BufWatch *watch, gint64 now))
{
  self->parent = parent;
  self->is_child = parent != NULL;
  self->tree = parent != NULL ? parent->tree : tree_new (&self->level, look);
  if (parent != NULL)
    buf_semaphore_enter (parent);
}

/* On return, the parents may be gone. */
void
buf_semaphore_leave_tree (BufSemaphore *self)
{
  if (self->parent != NULL)
    buf_semaphore_leave (self->parent);
  else
    tree_free (self->tree);
}

/* Takes credit at all levels. Returns NULL on success, or the lowest level with too little credit;
 * the credit below that level has then been taken. */
BufSemaphore *
buf_semaphore_take_path_credit (BufSemaphore *self, gint64 bytes)
{
  while (self != NULL && buf_semaphore_take_own_credit (self, bytes))
    self = self->parent;
  return self;
}

/* Releases credit at all levels. Returns the highest level that does not accept it; the levels
 * above that have then accepted it. If it returns NULL, the semaphore may be gone. */
BufSemaphore *
buf_semaphore_give_path_credit (BufSemaphore *self, gint64 bytes)
{
  BufSemaphore *refuser =
      self->parent != NULL ? buf_semaphore_give_path_credit (self->parent, bytes) : NULL;

  if (refuser == NULL &&
      !buf_semaphore_give_own_credit (self, buf_semaphore_get_stripe (self), bytes))
    refuser = self;
  return refuser;
}
