/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-level-private.h"

/*
 * One level of a tree of semaphores: its bytes, and the requests that wait there.
 *
 * A request needs its bytes at its own level and at all levels above it, its *path*. It takes them
 * at all of them in one section, or at none. So a waiter holds nothing while it waits.
 *
 * The *limit* of a request at a level is how much it could take there now. A request of default or
 * lower priority leaves the reserve alone. If a waiter is owed its bytes, they are *earmarked* at
 * each level of its path. An urgent request may still use the reserve, which the owed waiter could
 * not use either unless it is urgent itself.
 */

void
buf_level_init (BufLevel *self, BufWaitQueue *queue, BufLevel *parent, gint64 maximum)
{
  *self = (BufLevel){
    .queue = queue,
    .parent = parent,
    .free = maximum,
    .maximum = maximum,
    .revoked = TRUE,
    .max_waiting = -1,
  };
  self->link.data = self;
  for (guint i = 0; i < BUF_WAITERS_N_KINDS; i++)
    buf_waiter_tree_init (&self->asleep[i]);
}

BufWaiterTree *
buf_level_get_tree (BufLevel *self, const BufWaiter *waiter)
{
  gboolean task = waiter->complete != NULL;

  if (buf_want_is_urgent (&waiter->want))
    return &self->asleep[task ? BUF_WAITERS_URGENT_TASKS : BUF_WAITERS_URGENT_THREADS];
  return &self->asleep[task ? BUF_WAITERS_TASKS : BUF_WAITERS_THREADS];
}

/* It is not in a tree yet. */
void
buf_level_add_waiter_locked (BufLevel *self, BufWaiter *waiter)
{
  g_queue_push_tail_link (&self->waiters, &waiter->level_link);
  self->sum_since = (gint64) ((guint64) self->sum_since + (guint64) waiter->since);
  self->history.n_waits++;
  for (BufLevel *level = self; level != NULL; level = level->parent)
    if (level->n_waiting++ == 0 && level->parent != NULL)
      g_queue_push_tail_link (&level->parent->active, &level->link);
}

void
buf_level_remove_waiter_locked (BufLevel *self, BufWaiter *waiter)
{
  g_queue_unlink (&self->waiters, &waiter->level_link);
  self->sum_since = (gint64) ((guint64) self->sum_since - (guint64) waiter->since);
  for (BufLevel *level = self; level != NULL; level = level->parent)
    if (--level->n_waiting == 0 && level->parent != NULL)
      g_queue_unlink (&level->parent->active, &level->link);
}

static gboolean
is_on_path (const BufLevel *self, const BufWaiter *waiter)
{
  const BufLevel *level = waiter->level;

  while (level != NULL && level != self)
    level = level->parent;
  return level != NULL;
}

/* How much a request could take now, if it leaves @owed, which may be NULL, its bytes. */
gint64
buf_level_get_limit_locked (BufLevel *self, gboolean urgent, const BufWaiter *owed)
{
  gint64 limit = self->free - (urgent ? 0 : self->reserved);
  gint64 earmark;

  if (G_LIKELY (owed == NULL) || !is_on_path (self, owed))
    return limit;

  earmark = owed->want.bytes;
  if (urgent && !buf_want_is_urgent (&owed->want))
    earmark = MIN (earmark, MAX (self->free - self->reserved, 0));
  return limit - earmark;
}

/* How much a request could ever take. */
gint64
buf_level_get_ceiling_locked (const BufLevel *self, gboolean urgent)
{
  return self->maximum - (urgent ? 0 : MIN (self->reserved, self->maximum));
}

/* The most bytes that any waiter of that urgency wants, at this level or below. */
static gint64
find_largest_locked (BufLevel *self, gboolean urgent)
{
  guint kind = urgent ? BUF_WAITERS_URGENT_THREADS : BUF_WAITERS_THREADS;
  gint64 largest = 0;

  for (guint i = kind; i < kind + 2; i++)
    if (self->asleep[i].root != NULL)
      largest = MAX (largest, self->asleep[i].root->node.largest);
  for (GList *link = self->active.head; link != NULL; link = link->next)
    largest = MAX (largest, find_largest_locked (link->data, urgent));
  return largest;
}

static gboolean
is_short_for_locked (BufLevel *self, gboolean urgent, const BufWaiter *owed)
{
  return find_largest_locked (self, urgent) > buf_level_get_limit_locked (self, urgent, owed);
}

/* Whether somebody below this level waits for its bytes, rather than for those of a lower level.
 * That may be only because @owed, which may be NULL, has to be left its bytes here, although it
 * waits for those of another level. */
gboolean
buf_level_is_short_locked (BufLevel *self, const BufWaiter *owed)
{
  if (self->n_waiting == 1)
    owed = NULL; /* if it is below this level, then nobody else is */
  return self->promised > 0 || is_short_for_locked (self, FALSE, owed) ||
         is_short_for_locked (self, TRUE, owed);
}

/* Of all that wait at this level or below; or NULL. */
BufWaiter *
buf_level_find_oldest_locked (BufLevel *self)
{
  BufWaiter *oldest = g_queue_peek_head (&self->waiters);

  for (GList *link = self->active.head; link != NULL; link = link->next)
    {
      BufWaiter *other = buf_level_find_oldest_locked (link->data);

      if (oldest == NULL || (other != NULL && other->number < oldest->number))
        oldest = other;
    }
  return oldest;
}

/* What has happened so far, including the waits in progress. */
void
buf_level_get_history_locked (BufLevel *self, BufHistory *history)
{
  BufWaiter *first = g_queue_peek_head (&self->waiters);
  gint64 now;

  *history = self->history;
  if (first == NULL)
    return;

  now = g_get_monotonic_time ();
  history->total_wait_time += self->waiters.length * (guint64) now - (guint64) self->sum_since;
  history->longest_wait = MAX (history->longest_wait, (guint64) (now - first->since));
}
