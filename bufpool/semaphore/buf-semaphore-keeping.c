/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * Which semaphores of a tree have a keeper that may keep bytes, and when it may: only while no
 * level of its path is *wanted*. See buf-semaphore-keeper.c.
 *
 * A keeper that was closed *rests*. There may be thousands in the tree, so when a level is no
 * longer wanted, it does not reopen those below it. The next request of their own semaphore does,
 * if it finds that all levels of its path are live. So a keeper is closed at most once for each
 * time it was used.
 */

void
buf_semaphore_set_keeper (BufSemaphore *self, const BufSemaphoreKeeper *keeper)
{
  g_mutex_lock (&self->tree->mutex);
  self->keeper = keeper;
  self->keeper_link.data = self;
  atomic_store_explicit (&self->rests, TRUE, memory_order_relaxed);
  g_queue_push_tail_link (&self->tree->resting, &self->keeper_link);
  for (BufSemaphore *each = self; each != NULL; each = each->parent)
    each->n_keepers++;
  g_mutex_unlock (&self->tree->mutex);
}

/* The semaphore is over, and its keeper keeps nothing. */
void
buf_semaphore_remove_keeper (BufSemaphore *self)
{
  g_assert (!self->keeps);

  g_mutex_lock (&self->tree->mutex);
  g_queue_unlink (&self->tree->resting, &self->keeper_link);
  for (BufSemaphore *each = self; each != NULL; each = each->parent)
    each->n_keepers--;
  self->keeper = NULL;
  g_mutex_unlock (&self->tree->mutex);
}

/* Called by the keeper, which may have more bytes that it is about to release, or fewer. */
void
buf_semaphore_note_returning_locked (BufSemaphore *self, gint64 bytes, gint64 n_allocations)
{
  for (; self != NULL; self = self->parent)
    {
      self->returning += bytes;
      self->n_returning += n_allocations;
    }
}

/* Called by the keeper when it was closed or reopened. If it could not be closed completely, it
 * still keeps something. */
void
buf_semaphore_note_keeping_locked (BufSemaphore *self, gboolean keeps)
{
  BufTree *tree = self->tree;

  atomic_store_explicit (&self->rests, TRUE, memory_order_relaxed);
  if (self->keeps == keeps)
    return;

  self->keeps = keeps;
  g_queue_unlink (keeps ? &tree->resting : &tree->keeping, &self->keeper_link);
  g_queue_push_tail_link (keeps ? &tree->keeping : &tree->resting, &self->keeper_link);
  for (BufSemaphore *each = self; each != NULL; each = each->parent)
    each->n_keeping += keeps ? 1 : -1;
}

/* Returns whether a request needs all bytes of this level. The stripes then stay revoked, and
 * nothing is kept at this level or below. */
gboolean
buf_semaphore_is_wanted_locked (BufSemaphore *self)
{
  BufLevel *level = &self->level;

  if (level->closed || self->n_reclaims > 0 || level->drainers.length > 0 ||
      level->waiters.length > 0 || level->free < MAX (level->reserved, 0))
    return TRUE;
  if (G_LIKELY (level->n_waiting == 0))
    return FALSE;
  return !self->tree->queue.promises ||
         buf_level_is_short_locked (level, buf_wait_queue_get_owed_locked (&self->tree->queue));
}

gboolean
buf_semaphore_may_keep_locked (BufSemaphore *self)
{
  for (; self != NULL; self = self->parent)
    if (self->level.revoked && buf_semaphore_is_wanted_locked (self))
      return FALSE;
  return TRUE;
}

/* Most semaphores with a keeper are leaves: then there is no need to look for others, of which
 * there may be thousands in the tree. */
static gboolean
has_own_keeper_only (const BufSemaphore *self)
{
  return self->keeper != NULL && self->n_keepers == 1;
}

static void
reopen_if_allowed_locked (BufSemaphore *self)
{
  gboolean allowed = buf_semaphore_may_keep_locked (self);

  if (allowed)
    self->keeper->reopen_locked (self);
  atomic_store_explicit (&self->rests, !allowed, memory_order_relaxed);
}

static gboolean
is_path_live_locked (const BufSemaphore *self)
{
  while (self != NULL && !self->level.revoked)
    self = self->parent;
  return self == NULL;
}

/* A request was granted here. */
void
buf_semaphore_reopen_if_live_locked (BufSemaphore *self)
{
  if (self->keeper != NULL && is_path_live_locked (self))
    reopen_if_allowed_locked (self);
}

/* The stripes of this level are live again. A keeper that has not released everything need not do
 * so anymore. */
void
buf_semaphore_reopen_below_locked (BufSemaphore *self)
{
  if (G_LIKELY (has_own_keeper_only (self)))
    {
      reopen_if_allowed_locked (self);
      return;
    }
  for (GList *link = self->tree->keeping.head; link != NULL; link = link->next)
    if (buf_semaphore_is_below (link->data, self))
      reopen_if_allowed_locked (link->data);
}

/* Whether the keeper of @self, which keeps something, has to be asked in this @round, and not again
 * then. */
static gboolean
begin_to_ask_locked (BufSemaphore *self, gboolean wanted, guint64 round)
{
  self->round = round;
  return !(wanted && buf_semaphore_may_keep_locked (self));
}

/* Returns the next semaphore at @top or below that keeps bytes and whose keeper has not been asked
 * in this @round, or NULL. If @wanted is set, only keepers of wanted levels are asked. */
BufSemaphore *
buf_semaphore_ask_next_locked (BufSemaphore *top, gboolean wanted, guint64 round)
{
  GQueue *keeping = &top->tree->keeping;

  if (top->n_keeping == 0)
    return NULL;
  if (has_own_keeper_only (top))
    return top->round != round && begin_to_ask_locked (top, wanted, round) ? top : NULL;

  while (keeping->head != NULL)
    {
      BufSemaphore *semaphore = keeping->head->data;

      if (semaphore->round == round)
        return NULL;

      g_queue_unlink (keeping, &semaphore->keeper_link);
      g_queue_push_tail_link (keeping, &semaphore->keeper_link);
      if (begin_to_ask_locked (semaphore, wanted, round) && buf_semaphore_is_below (semaphore, top))
        return semaphore;
    }
  return NULL;
}
