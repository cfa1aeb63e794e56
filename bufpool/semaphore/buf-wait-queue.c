/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <string.h>

#include "semaphore/buf-wait-queue-private.h"

/*
 * The queue of the requests that wait for bytes at any level of a tree of semaphores, and the rule
 * by which they are served.
 *
 * Terms: the *free* bytes of a level are those that can be taken there. A request takes its bytes
 * at all levels of its path, or at none. A waiter *takes* bytes when it removes them from the free
 * bytes itself. A task is *granted* its bytes by the thread that serves the queue. A thread is
 * *woken* when it has been told, or is about to be told, to take its bytes. Its bytes are
 * *promised* to it: no other waiter is woken or granted for them. They are not set aside: until the
 * thread runs, a new request may take them, so that free bytes are not idle during a context
 * switch.
 *
 * A woken thread that does not run within its patience is *late*. Its promise ends, and nothing is
 * kept for it, because it waits for a processor and not for bytes. If the bytes are gone when it
 * runs, it goes back to sleep, and counts this as one overtaking. If it is owed, it has more
 * patience the next time. So a thread that gets no processor time does not delay other requests for
 * long, and a thread that gets it late is still served.
 *
 * The *oldest* waiter is the one that has waited longest, except for late threads: otherwise, a
 * thread that never runs would stay the oldest, and the others would have no bound. To *overtake*
 * is to take bytes, or to be granted them, while an older waiter that is not late waits. The oldest
 * counts how many times it is overtaken. After BUF_WAIT_QUEUE_MAX_OVERTAKEN times, or
 * BUF_WAIT_QUEUE_OVERTAKEN_TIME after the first time, it is *owed*: other requests can then take
 * only what is free beyond its bytes. Each waiter eventually becomes the oldest, so no request
 * starves.
 *
 * Invariant, whenever the lock is unlocked after everything was served: no task and no sleeping
 * thread wants at most free - promised - (the bytes of the oldest, if it is owed and asleep),
 * except a thread while BUF_WAIT_QUEUE_MAX_WOKEN others are woken. The oldest is not asleep if it
 * wants at most free. A woken thread that takes its bytes, fails to take them, is late, or leaves
 * serves the queue again, so the others get their turn. The watcher (see buf-watcher.c) makes
 * threads late, and makes the oldest owed after its time limit.
 *
 * One section serves a bounded number of waiters. Each step is O(log n): the first waiter that fits
 * is found in a tree.
 */

void
buf_wait_queue_init (BufWaitQueue *self, BufLevel *root, void (*revoke_locked) (BufLevel *level))
{
  *self = (BufWaitQueue){
    .root = root,
    .revoke_locked = revoke_locked,
    .overtaken_time = BUF_WAIT_QUEUE_OVERTAKEN_TIME,
    .patience = BUF_WAIT_QUEUE_PATIENCE,
  };
}

/* Returns the first of two waiters in the order of service. Either may be NULL. */
static BufWaiter *
get_first (BufWaiter *waiter, BufWaiter *other)
{
  if (waiter == NULL || other == NULL)
    return waiter != NULL ? waiter : other;
  return buf_waiter_node_comes_before (&waiter->node, &other->node) ? waiter : other;
}

/* A waiter has come or gone, is late, or is not late anymore. */
static void
note_change_locked (BufWaitQueue *self)
{
  GList *link = self->waiters.head;

  while (link != NULL && self->promises && ((BufWaiter *) link->data)->state == BUF_WAITER_LATE)
    link = link->next;
  self->oldest = link != NULL ? link->data : NULL;
  self->sooner = TRUE;
}

/* Sets whether the watcher ends promises. If it does not, nothing is promised. */
void
buf_wait_queue_set_promises_locked (BufWaitQueue *self, gboolean promises)
{
  if (self->promises == promises)
    return;

  self->promises = promises;
  note_change_locked (self);
}

void
buf_wait_queue_push_locked (BufLevel *level, BufWaiter *waiter)
{
  BufWaitQueue *self = level->queue;

  g_assert (waiter->level == NULL);

  waiter->level = level;
  waiter->since = g_get_monotonic_time ();
  waiter->number = self->n_pushed++;
  waiter->patience = self->patience;
  waiter->first_served = self->n_served;
  waiter->list = waiter->want.bytes > 0 ? &self->waiters : &level->drainers;
  g_queue_push_tail_link (waiter->list, &waiter->link);
  note_change_locked (self);
  BUF_PROBE2 (wait__begin, waiter, waiter->want.bytes);
  if (waiter->want.bytes == 0)
    return;

  buf_level_add_waiter_locked (level, waiter);
  buf_level_add_asleep_locked (level, waiter);
}

static void
promise_locked (BufWaiter *waiter, gint64 bytes)
{
  for (BufLevel *level = waiter->level; level != NULL; level = level->parent)
    level->promised += bytes;
}

void
buf_wait_queue_end_promise_locked (BufWaitQueue *self, BufWaiter *waiter, BufWaiterState state)
{
  if (waiter->state == BUF_WAITER_WOKEN)
    {
      g_queue_unlink (&self->woken, &waiter->woken_link);
      promise_locked (waiter, -waiter->want.bytes);
    }
  waiter->state = state;
  note_change_locked (self);
}

/* A waiter at @level or below may have become impossible. */
static void
suspect_locked (BufLevel *level)
{
  BufWaitQueue *self = level->queue;

  self->suspect = self->suspect == NULL || self->suspect == level ? level : self->root;
}

/* The level is over. */
void
buf_wait_queue_forget_locked (BufLevel *level)
{
  if (level->queue->suspect == level)
    level->queue->suspect = NULL;
}

/* A woken thread could not take its bytes, and sleeps again. If it was late, it was overtaken in
 * the meantime without being the oldest. */
void
buf_wait_queue_rejoin_locked (BufWaiter *waiter)
{
  BufLevel *level = waiter->level;
  BufWaitQueue *self = level->queue;

  g_assert (waiter->state != BUF_WAITER_ASLEEP);

  if (self->promises && waiter->state == BUF_WAITER_LATE && !waiter->owed)
    buf_wait_queue_note_overtaken_locked (waiter);

  buf_wait_queue_end_promise_locked (self, waiter, BUF_WAITER_ASLEEP);
  buf_level_add_asleep_locked (level, waiter);
  if (buf_wait_queue_find_too_small_locked (level, &waiter->want) != NULL)
    suspect_locked (level);
}

static void
count_wait_locked (BufWaitQueue *self, BufWaiter *waiter)
{
  BufHistory *history = &waiter->level->history;

  waiter->waited = MAX (g_get_monotonic_time () - waiter->since, 1);
  BUF_PROBE4 (wait__end, waiter, waiter->want.bytes, waiter->outcome, waiter->waited);
  if (waiter->want.bytes == 0)
    return;

  waiter->end_served = self->n_served;
  if (self->watched && waiter->outcome == BUF_OUTCOME_GRANTED)
    waiter->end_served--; /* this was the waiter itself */
  memcpy (waiter->last, self->last, sizeof waiter->last);

  history->total_wait_time += waiter->waited;
  history->longest_wait = MAX (history->longest_wait, (guint64) waiter->waited);
}

static void
remove_locked (BufWaitQueue *self, BufWaiter *waiter)
{
  BufLevel *level = waiter->level;

  count_wait_locked (self, waiter);
  if (waiter->state != BUF_WAITER_ASLEEP)
    buf_wait_queue_end_promise_locked (self, waiter, BUF_WAITER_ASLEEP);
  else if (waiter->want.bytes > 0)
    buf_level_remove_asleep_locked (level, waiter);
  if (waiter->want.bytes > 0)
    buf_level_remove_waiter_locked (level, waiter);
  g_queue_unlink (waiter->list, &waiter->link);
  waiter->list = NULL;
  waiter->level = NULL;
  note_change_locked (self);
}

/* Settles the outcome, and removes the waiter from its queue, if it is in one. */
void
buf_wait_queue_finish_locked (BufWaiter *waiter, BufOutcome outcome, BufReady *ready)
{
  g_assert (waiter->outcome == BUF_OUTCOME_PENDING);
  g_assert (outcome != BUF_OUTCOME_PENDING);

  waiter->outcome = outcome;
  if (waiter->level != NULL)
    remove_locked (waiter->level->queue, waiter);

  if (waiter->complete == NULL)
    buf_wakeups_add_locked (&ready->wakeups, waiter->wakeup);
  else
    g_queue_push_tail_link (&ready->tasks, &waiter->link);
}

static void
wake_locked (BufWaitQueue *self, BufWaiter *waiter, BufReady *ready)
{
  buf_level_remove_asleep_locked (waiter->level, waiter);
  buf_wakeups_add_locked (&ready->wakeups, waiter->wakeup);
  if (!self->promises)
    {
      waiter->state = BUF_WAITER_LATE;
      return;
    }

  waiter->state = BUF_WAITER_WOKEN;
  waiter->woken_since = g_get_monotonic_time ();
  g_queue_push_tail_link (&self->woken, &waiter->woken_link);
  promise_locked (waiter, waiter->want.bytes);
  self->n_woken++;
  self->sooner = TRUE;
}

/* Does nothing if the oldest waiter has become owed its bytes in the meantime. */
static void
grant_locked (BufWaiter *waiter, BufReady *ready)
{
  if (!buf_wait_queue_take_locked (waiter->level, waiter, &waiter->want))
    return;

  BUF_PROBE3 (grant, waiter, waiter->want.taken, waiter->level->free);
  buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_GRANTED, ready);
}

/* Returns a waiter at @level or below that can never be served, or NULL. A woken waiter finds out
 * itself when it runs. */
static BufWaiter *
find_impossible_locked (BufLevel *level)
{
  const GQueue *lists[] = { &level->active, &level->stuck };
  BufWaiter *waiter = NULL;

  if (level->closed)
    return buf_level_find_oldest_locked (level);

  for (guint kind = 0; waiter == NULL && kind < BUF_WAITERS_N_KINDS; kind++)
    {
      gboolean urgent = kind <= BUF_WAITERS_URGENT_TASKS;
      gint64 ceiling = G_MAXINT64;

      for (const BufLevel *each = level; each != NULL; each = each->parent)
        ceiling = MIN (ceiling, buf_level_get_ceiling_locked (each, urgent));
      waiter = buf_waiter_get_for_node (buf_waiter_tree_find_above (&level->asleep[kind], ceiling));
    }
  for (guint i = 0; i < G_N_ELEMENTS (lists); i++)
    for (GList *link = lists[i]->head; waiter == NULL && link != NULL; link = link->next)
      waiter = find_impossible_locked (link->data);
  return waiter;
}

static void
fail_impossible_locked (BufWaiter *waiter, BufReady *ready)
{
  BufLevel *refuser = buf_wait_queue_find_too_small_locked (waiter->level, &waiter->want);

  waiter->refuser = refuser;
  if (refuser != NULL)
    waiter->maximum = buf_level_get_ceiling_locked (refuser, buf_want_is_urgent (&waiter->want));
  for (BufLevel *level = waiter->level; level != NULL; level = level->parent)
    if (level->closed)
      refuser = NULL;
  buf_wait_queue_finish_locked (waiter,
                                refuser != NULL ? BUF_OUTCOME_TOO_LARGE : BUF_OUTCOME_CLOSED,
                                ready);
}

/* How much each kind of waiter could get at a level without breaking a promise. */
typedef struct
{
  gint64 urgent;
  gint64 other;
} Limits;

/* The credit in the stripes of a level is unknown here, so the level is assumed to have enough. */
static void
lower_limits_locked (BufLevel *level, const BufWaiter *owed, Limits *limits)
{
  if (!level->revoked)
    return;

  limits->urgent =
      MIN (limits->urgent, buf_level_get_limit_locked (level, TRUE, owed) - level->promised);
  limits->other =
      MIN (limits->other, buf_level_get_limit_locked (level, FALSE, owed) - level->promised);
}

static gint64
get_limit (const Limits *limits, BufWaiterKind kind)
{
  return kind <= BUF_WAITERS_URGENT_TASKS ? limits->urgent : limits->other;
}

static BufWaiter *find_first_locked (BufLevel *level, Limits limits, const BufWaiter *owed);

/* Below @level, among the children that have waiters of this @kind, except where all of them come
 * after @first, which may be NULL. Returns @first if there is no other. */
static BufWaiter *
find_first_below_locked (BufLevel *level,
                         BufWaiterKind kind,
                         Limits limits,
                         const BufWaiter *owed,
                         BufWaiter *first)
{
  BufWaiterTree *tree = &level->below[kind];
  gint64 limit = get_limit (&limits, kind);
  BufWaiterNode *node = buf_waiter_tree_find_first (tree, limit, NULL);

  while (node != NULL && (first == NULL || buf_waiter_node_comes_before (node, &first->node)))
    {
      BufWaiterNode previous = *node; /* it leaves the tree if the child is stuck */
      BufLevel *child = buf_level_get_for_node (node, kind);

      first = get_first (first, find_first_locked (child, limits, owed));
      buf_level_check_stuck_locked (child);
      node = buf_waiter_tree_find_first (tree, limit, &previous);
    }
  return first;
}

/* Returns the first waiter at @level or below that fits. */
static BufWaiter *
find_first_locked (BufLevel *level, Limits limits, const BufWaiter *owed)
{
  gboolean may_wake = level->queue->woken.length < BUF_WAIT_QUEUE_MAX_WOKEN;
  BufWaiter *first = NULL;

  lower_limits_locked (level, owed, &limits);
  if (limits.urgent <= 0 && limits.other <= 0)
    return NULL;

  for (guint kind = 0; kind < BUF_WAITERS_N_KINDS; kind++)
    {
      gboolean thread = kind == BUF_WAITERS_URGENT_THREADS || kind == BUF_WAITERS_THREADS;
      BufWaiterNode *node;

      if (!may_wake && thread)
        continue;
      node = buf_waiter_tree_find_first (&level->asleep[kind], get_limit (&limits, kind), NULL);
      first = get_first (first, buf_waiter_get_for_node (node));
      first = find_first_below_locked (level, kind, limits, owed, first);
    }
  return first;
}

/* Revokes the stripes of the levels that seem to have too little for @waiter, unless they are
 * already revoked. Returns whether there was such a level. */
static gboolean
revoke_where_short_locked (BufWaiter *waiter, const BufWaiter *owed)
{
  gboolean urgent = buf_want_is_urgent (&waiter->want);
  gboolean any = FALSE;

  for (BufLevel *level = waiter->level; level != NULL; level = level->parent)
    if (!level->revoked &&
        buf_level_get_limit_locked (level, urgent, owed) - level->promised < waiter->want.bytes)
      {
        level->queue->revoke_locked (level);
        any = TRUE;
      }
  return any;
}

static BufWaiter *
find_first_that_fits_locked (BufWaitQueue *self, const BufWaiter *owed)
{
  const Limits all = { G_MAXINT64, G_MAXINT64 };
  BufWaiter *first;

  do
    first = find_first_locked (self->root, all, owed);
  while (first != NULL && revoke_where_short_locked (first, owed));
  return first;
}

/* Returns whether the root has nothing for any waiter. This is the usual end of a section, and
 * saves the search. */
static gboolean
is_exhausted_locked (BufWaitQueue *self, const BufWaiter *oldest)
{
  gint64 promised = oldest->state == BUF_WAITER_ASLEEP ? 0 : self->root->promised;

  return self->root->revoked && self->root->free <= promised;
}

/* Returns the waiter that the rule serves next, or NULL. */
static BufWaiter *
find_next_locked (BufWaitQueue *self)
{
  BufWaiter *oldest = self->oldest;
  BufWaiter *first;
  gboolean fits;

  if (oldest == NULL || is_exhausted_locked (self, oldest))
    return NULL;

  fits = oldest->state == BUF_WAITER_ASLEEP &&
         buf_wait_queue_find_short_locked (oldest->level, &oldest->want) == NULL;
  if (fits && oldest->owed)
    return oldest;

  first = find_first_that_fits_locked (self,
                                       oldest->owed && oldest->state != BUF_WAITER_WOKEN ? oldest
                                                                                         : NULL);
  return fits ? get_first (first, oldest) : first;
}

static gboolean
serve_one_locked (BufWaitQueue *self, BufReady *ready)
{
  BufWaiter *waiter;

  if (G_UNLIKELY ((waiter = buf_wait_queue_peek_head (&self->drained)) != NULL))
    buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_GRANTED, ready);
  else if (G_UNLIKELY (self->suspect != NULL) &&
           (waiter = find_impossible_locked (self->suspect)) != NULL)
    fail_impossible_locked (waiter, ready);
  else if ((waiter = find_next_locked (self)) == NULL)
    return FALSE;
  else if (waiter->complete != NULL)
    grant_locked (waiter, ready);
  else
    wake_locked (self, waiter, ready);
  return TRUE;
}

/* Serves waiters in their order, at most one batch. Returns whether everything that the rule allows
 * was done. */
gboolean
buf_wait_queue_serve_locked (BufWaitQueue *self, BufReady *ready)
{
  for (guint i = 0; i < BUF_WAIT_QUEUE_BATCH; i++)
    if (!serve_one_locked (self, ready))
      {
        self->suspect = NULL;
        return TRUE;
      }
  return FALSE;
}

/* Closes the level permanently. All requests that wait there fail. */
void
buf_wait_queue_close_locked (BufLevel *level)
{
  level->closed = TRUE;
  suspect_locked (level);
}

/* Fails all requests that wait for more. */
void
buf_wait_queue_set_maximum_locked (BufLevel *level, gint64 maximum)
{
  buf_level_add_free_locked (level, maximum - level->maximum);
  level->maximum = maximum;
  suspect_locked (level);
}

/* Fails all requests that wait for more than is left outside the reserve. */
void
buf_wait_queue_set_reserved_locked (BufLevel *level, gint64 reserved)
{
  level->reserved = reserved;
  buf_level_stir_locked (level);
  suspect_locked (level);
}

/* Only pinned bytes are outstanding. Drainers are told this, whatever happens before their turn. */
void
buf_wait_queue_note_drained_locked (BufLevel *level)
{
  GList *link = level->drainers.head;

  while (link != NULL)
    {
      BufWaiter *waiter = link->data;

      link = link->next;
      if (level->pinned > 0 && !waiter->spares_pinned)
        continue;

      g_queue_unlink (&level->drainers, &waiter->link);
      waiter->list = &level->queue->drained;
      g_queue_push_tail_link (waiter->list, &waiter->link);
    }
}
