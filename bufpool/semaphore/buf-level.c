/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-level-private.h"

/*
 * One level of a tree of semaphores: its bytes, and the requests that wait for them.
 *
 * A request needs its bytes at its own level and at all levels above it, its *path*. It takes them
 * at all levels in one section, or at none. So a waiter holds nothing while it waits.
 *
 * The *limit* of a request at a level is how much it could take there now. A request of default or
 * lower priority leaves the reserve alone. If a waiter is owed its bytes, they are *earmarked* at
 * each level of its path. An urgent request may still use the reserve, which the owed waiter cannot
 * use either unless it is urgent itself.
 *
 * A level is *stuck* when none of its sleeping waiters fits into its free bytes, and all children
 * with waiters are stuck as well. Whatever happens elsewhere in the tree, no request there can be
 * served. So stuck levels are not searched: there may be thousands of pools at their own limits.
 * Three events can change this, and *stir* the level: more free bytes, a smaller reserve, and
 * another sleeping waiter. The stripes of a level are not restored while a request waits there.
 *
 * A level is *listed* in its parent while waiters sleep at it or below it and it is not stuck. For
 * each kind of waiters, its node has the place of the first one in the order of service, and the
 * smallest and largest sizes. So a search leaves out all children whose waiters do not fit into the
 * free bytes of the parent, or come after the one that was found: there may be thousands of pools
 * that wait for bytes of the same budget.
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
    {
      buf_waiter_tree_init (&self->asleep[i]);
      buf_waiter_tree_init (&self->below[i]);
    }
}

static BufWaiterKind
get_kind (const BufWaiter *waiter)
{
  gboolean task = waiter->complete != NULL;

  if (buf_want_is_urgent (&waiter->want))
    return task ? BUF_WAITERS_URGENT_TASKS : BUF_WAITERS_URGENT_THREADS;
  return task ? BUF_WAITERS_TASKS : BUF_WAITERS_THREADS;
}

/* Adds the waiters of @tree to @node, which stands for none if its @most is 0. */
static void
summarize (const BufWaiterTree *tree, BufWaiterNode *node)
{
  const BufWaiterNode *first = buf_waiter_tree_get_first (tree);

  if (first == NULL)
    return;

  if (node->most == 0 || buf_waiter_node_comes_before (first, node))
    {
      node->priority = first->priority;
      node->number = first->number;
    }
  node->least = node->most == 0 ? tree->root->smallest : MIN (node->least, tree->root->smallest);
  node->most = MAX (node->most, tree->root->largest);
}

/* Lists the level in its parent again. Returns whether this changed anything. */
static gboolean
list_once_locked (BufLevel *self, BufWaiterKind kind)
{
  BufWaiterTree *tree = &self->parent->below[kind];
  BufWaiterNode *node = &self->nodes[kind];
  gboolean was_listed = node->weight != 0;
  BufWaiterNode next = { 0 };

  if (!self->is_stuck)
    {
      summarize (&self->asleep[kind], &next);
      summarize (&self->below[kind], &next);
    }
  if (was_listed && next.most > 0 && next.priority == node->priority && next.number == node->number)
    {
      if (next.least == node->least && next.most == node->most)
        return FALSE;
      buf_waiter_tree_resize (node, next.least, next.most);
      return TRUE;
    }

  if (was_listed)
    buf_waiter_tree_remove (tree, node);
  *node = next;
  if (next.most > 0)
    buf_waiter_tree_insert (tree, node);
  return was_listed || next.most > 0;
}

/* The waiters that sleep at this level have changed, or whether it is stuck. */
static void
list_locked (BufLevel *self, BufWaiterKind kind)
{
  while (self->parent != NULL && list_once_locked (self, kind))
    self = self->parent;
}

static GQueue *
get_list_of_parent (BufLevel *self)
{
  return self->is_stuck ? &self->parent->stuck : &self->parent->active;
}

static void
set_stuck_locked (BufLevel *self, gboolean stuck)
{
  g_queue_unlink (get_list_of_parent (self), &self->link);
  self->is_stuck = stuck;
  g_queue_push_tail_link (get_list_of_parent (self), &self->link);
  for (guint kind = 0; kind < BUF_WAITERS_N_KINDS; kind++)
    list_locked (self, kind);
}

/* A waiter at this level or below may fit now. No level above a level that is not stuck is
 * stuck. */
void
buf_level_stir_locked (BufLevel *self)
{
  for (; self != NULL && self->is_stuck; self = self->parent)
    set_stuck_locked (self, FALSE);
}

static gboolean
fits_any_locked (BufLevel *self)
{
  for (guint kind = 0; kind < BUF_WAITERS_N_KINDS; kind++)
    {
      const BufWaiterNode *root = self->asleep[kind].root;
      gboolean urgent = kind <= BUF_WAITERS_URGENT_TASKS;

      if (root != NULL &&
          (!self->revoked || root->smallest <= buf_level_get_limit_locked (self, urgent, NULL)))
        return TRUE;
    }
  return FALSE;
}

/* Determines whether the level, which has waiters at it or below it, is stuck. It is not marked as
 * stuck yet. */
void
buf_level_check_stuck_locked (BufLevel *self)
{
  if (self->parent != NULL && self->active.head == NULL && !fits_any_locked (self))
    set_stuck_locked (self, TRUE);
}

void
buf_level_add_free_locked (BufLevel *self, gint64 bytes)
{
  self->free += bytes;
  buf_level_stir_locked (self);
}

void
buf_level_add_asleep_locked (BufLevel *self, BufWaiter *waiter)
{
  BufWaiterKind kind = get_kind (waiter);

  buf_waiter_tree_add (&self->asleep[kind], waiter);
  list_locked (self, kind);
  buf_level_stir_locked (self);
}

void
buf_level_remove_asleep_locked (BufLevel *self, BufWaiter *waiter)
{
  BufWaiterKind kind = get_kind (waiter);

  buf_waiter_tree_remove (&self->asleep[kind], &waiter->node);
  list_locked (self, kind);
}

/* The level is not in a tree yet. */
void
buf_level_add_waiter_locked (BufLevel *self, BufWaiter *waiter)
{
  g_queue_push_tail_link (&self->waiters, &waiter->level_link);
  self->sum_since = (gint64) ((guint64) self->sum_since + (guint64) waiter->since);
  self->history.n_waits++;
  for (BufLevel *level = self; level != NULL; level = level->parent)
    if (level->n_waiting++ > 0)
      buf_level_stir_locked (level);
    else if (level->parent != NULL)
      g_queue_push_tail_link (&level->parent->active, &level->link);
}

void
buf_level_remove_waiter_locked (BufLevel *self, BufWaiter *waiter)
{
  g_queue_unlink (&self->waiters, &waiter->level_link);
  self->sum_since = (gint64) ((guint64) self->sum_since - (guint64) waiter->since);
  for (BufLevel *level = self; level != NULL; level = level->parent)
    if (--level->n_waiting == 0 && level->parent != NULL)
      {
        g_queue_unlink (get_list_of_parent (level), &level->link);
        level->is_stuck = FALSE;
      }
}

static gboolean
is_on_path (const BufLevel *self, const BufWaiter *waiter)
{
  const BufLevel *level = waiter->level;

  while (level != NULL && level != self)
    level = level->parent;
  return level != NULL;
}

/* Returns how much a request could take now if it leaves the bytes of @owed, which may be NULL. */
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

/* Returns how much a request could ever take. */
gint64
buf_level_get_ceiling_locked (const BufLevel *self, gboolean urgent)
{
  return self->maximum - (urgent ? 0 : MIN (self->reserved, self->maximum));
}

static gint64
get_largest (const BufWaiterTree *tree)
{
  return tree->root != NULL ? tree->root->largest : 0;
}

/* Returns the largest number of bytes that a waiter of this urgency wants, at this level or below,
 * except at stuck levels further below. */
static gint64
find_largest_locked (BufLevel *self, gboolean urgent)
{
  guint kind = urgent ? BUF_WAITERS_URGENT_THREADS : BUF_WAITERS_THREADS;
  gint64 largest = 0;

  for (guint i = kind; i < kind + 2; i++)
    largest = MAX (largest, MAX (get_largest (&self->asleep[i]), get_largest (&self->below[i])));
  return largest;
}

static gboolean
is_short_for_locked (BufLevel *self, gboolean urgent, const BufWaiter *owed)
{
  return find_largest_locked (self, urgent) > buf_level_get_limit_locked (self, urgent, owed);
}

/* Returns whether a waiter below this level waits for bytes of this level, rather than of a lower
 * one. It may wait only because it has to leave the bytes of @owed, which may be NULL, although
 * @owed waits for those of another level. */
gboolean
buf_level_is_short_locked (BufLevel *self, const BufWaiter *owed)
{
  if (self->n_waiting == 1)
    owed = NULL; /* if it is below this level, no other waiter is */
  return self->promised > 0 || is_short_for_locked (self, FALSE, owed) ||
         is_short_for_locked (self, TRUE, owed);
}

/* Returns a waiter at this level or below, or NULL. */
BufWaiter *
buf_level_find_oldest_locked (BufLevel *self)
{
  const GQueue *lists[] = { &self->active, &self->stuck };
  BufWaiter *oldest = g_queue_peek_head (&self->waiters);

  for (guint i = 0; i < G_N_ELEMENTS (lists); i++)
    for (GList *link = lists[i]->head; link != NULL; link = link->next)
      {
        BufWaiter *other = buf_level_find_oldest_locked (link->data);

        if (oldest == NULL || (other != NULL && other->number < oldest->number))
          oldest = other;
      }
  return oldest;
}

/* Gets the statistics, including the waits in progress. */
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
