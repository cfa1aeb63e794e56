/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * Which semaphores of a tree have a keeper that may keep something, and when it may: only while no
 * level of its path is *wanted*. See buf-semaphore-keeper.c.
 */

void
buf_semaphore_set_keeper (BufSemaphore *self, const BufSemaphoreKeeper *keeper)
{
  g_mutex_lock (&self->tree->mutex);
  self->keeper = keeper;
  self->keeper_link.data = self;
  g_queue_push_tail_link (&self->tree->resting, &self->keeper_link);
  for (BufSemaphore *each = self; each != NULL; each = each->parent)
    each->n_keepers++;
  g_mutex_unlock (&self->tree->mutex);
}

/* The semaphore is over: its keeper keeps nothing. */
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

/* Called by the keeper. */
void
buf_semaphore_note_keeping_locked (BufSemaphore *self, gboolean keeps)
{
  BufTree *tree = self->tree;

  if (self->keeps == keeps)
    return;

  self->keeps = keeps;
  g_queue_unlink (keeps ? &tree->resting : &tree->keeping, &self->keeper_link);
  g_queue_push_tail_link (keeps ? &tree->keeping : &tree->resting, &self->keeper_link);
  for (BufSemaphore *each = self; each != NULL; each = each->parent)
    each->n_keeping += keeps ? 1 : -1;
}

/* Whether somebody needs all bytes of this level: then its stripes stay revoked, and nothing is
 * kept at it or below. */
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

static void
reopen_listed_locked (BufSemaphore *self, GQueue *list)
{
  GList *link = list->head;

  while (link != NULL)
    {
      BufSemaphore *semaphore = link->data;

      link = link->next; /* before it moves to the other list */
      if (buf_semaphore_is_below (semaphore, self) && buf_semaphore_may_keep_locked (semaphore))
        semaphore->keeper->reopen_locked (semaphore);
    }
}

/* The stripes of this level are live again. A keeper that has not given everything back yet need
 * not do so any more. */
void
buf_semaphore_reopen_below_locked (BufSemaphore *self)
{
  reopen_listed_locked (self, &self->tree->keeping);
  reopen_listed_locked (self, &self->tree->resting);
}

/* The next semaphore, at @top or below, that keeps something, and whose keeper was not asked in
 * this
 * @round yet; or NULL. If only what is @wanted is asked for, the keepers of others are left alone.
 */
BufSemaphore *
buf_semaphore_ask_next_locked (BufSemaphore *top, gboolean wanted, guint64 round)
{
  GQueue *keeping = &top->tree->keeping;

  while (keeping->head != NULL)
    {
      BufSemaphore *semaphore = keeping->head->data;

      if (semaphore->round == round)
        return NULL;

      semaphore->round = round;
      g_queue_unlink (keeping, &semaphore->keeper_link);
      g_queue_push_tail_link (keeping, &semaphore->keeper_link);
      if (buf_semaphore_is_below (semaphore, top) &&
          !(wanted && buf_semaphore_may_keep_locked (semaphore)))
        return semaphore;
    }
  return NULL;
}
