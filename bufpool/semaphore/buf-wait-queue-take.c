/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-wait-queue-private.h"

/*
 * Whether a request may take its bytes: whether there are enough at all its levels, whether it may
 * overtake the oldest waiter, and the only place where bytes are taken. buf-wait-queue.c explains
 * the terms and the rule.
 */

/* The clock is read only the first times, and then occasionally. The watcher makes sure that the
 * time limit still applies. */
static void
look_at_clock_locked (BufWaitQueue *self, BufWaiter *oldest)
{
  gint64 now;

  if (oldest->overtaken > BUF_WAIT_QUEUE_CLOCK && oldest->overtaken % BUF_WAIT_QUEUE_CLOCK != 0)
    return;

  now = g_get_monotonic_time ();
  if (oldest->overtaken == 0)
    {
      oldest->overtaken_since = now;
      self->sooner = TRUE;
    }
  else if (now - oldest->overtaken_since >= self->overtaken_time)
    buf_wait_queue_make_owed (oldest);
}

/* @waiter was overtaken, and was not owed. */
static void
count_overtaken_locked (BufWaiter *waiter)
{
  BufHistory *history = &waiter->level->history;

  if (++waiter->overtaken >= BUF_WAIT_QUEUE_MAX_OVERTAKEN)
    buf_wait_queue_make_owed (waiter);
  history->most_overtaken = MAX (history->most_overtaken, waiter->overtaken);
}

/* @waiter was overtaken while it was late, without being the oldest. */
void
buf_wait_queue_note_overtaken_locked (BufWaiter *waiter)
{
  look_at_clock_locked (waiter->level->queue, waiter);
  count_overtaken_locked (waiter);
}

/* Returns what is promised to waiters that are more urgent than @want, at this level or below.
 * Bytes that are left for @owed, which may be NULL, do not count twice. */
static gint64
get_promised_to_more_urgent_locked (BufLevel *level, const BufWant *want, const BufWaiter *owed)
{
  gint64 bytes = 0;

  if (G_LIKELY (level->promised == 0))
    return 0;

  for (GList *link = level->queue->woken.head; link != NULL; link = link->next)
    {
      const BufWaiter *waiter = link->data;
      const BufLevel *other = waiter->level;

      if (waiter == owed || waiter->want.priority >= want->priority)
        continue;
      while (other != NULL && other != level)
        other = other->parent;
      if (other == level)
        bytes += waiter->want.bytes;
    }
  return bytes;
}

/* Returns how much of @want can be taken at this level if the bytes of @owed, which may be NULL,
 * are left. If this seems to be less than @enough, the stripes are revoked to find out. */
static gint64
find_limit_locked (BufLevel *level, const BufWant *want, const BufWaiter *owed, gint64 enough)
{
  gboolean urgent = buf_want_is_urgent (want);
  gint64 promised = get_promised_to_more_urgent_locked (level, want, owed);
  gint64 limit = buf_level_get_limit_locked (level, urgent, owed) - promised;

  if (limit >= enough || level->revoked)
    return limit;

  level->queue->revoke_locked (level);
  return buf_level_get_limit_locked (level, urgent, owed) - promised;
}

/* Returns the lowest level that has too little for @want if the bytes of @owed, which may be NULL,
 * are left. Returns NULL if the request can be granted. */
static BufLevel *
find_short_locked (BufLevel *level, const BufWant *want, const BufWaiter *owed)
{
  for (; level != NULL; level = level->parent)
    if (level->closed || find_limit_locked (level, want, owed, want->bytes) < want->bytes)
      return level;
  return NULL;
}

/* Returns the lowest level that has too little for @want, even if no other waiter is owed its
 * bytes. */
BufLevel *
buf_wait_queue_find_short_locked (BufLevel *level, const BufWant *want)
{
  return find_short_locked (level, want, NULL);
}

/* Like buf_wait_queue_find_short_locked(), for a new request, which leaves the bytes of the owed
 * waiter. Also returns how much is missing there. */
BufLevel *
buf_wait_queue_find_missing_locked (BufLevel *level, const BufWant *want, gint64 *missing)
{
  const BufWaiter *owed = buf_wait_queue_get_owed_locked (level->queue);

  level = find_short_locked (level, want, owed);
  if (level != NULL)
    *missing = want->bytes - find_limit_locked (level, want, owed, want->bytes);
  return level;
}

/* Returns the lowest level at which @want can never be granted, or NULL. */
BufLevel *
buf_wait_queue_find_too_small_locked (BufLevel *level, const BufWant *want)
{
  for (; level != NULL; level = level->parent)
    if (want->bytes > buf_level_get_ceiling_locked (level, buf_want_is_urgent (want)))
      return level;
  return NULL;
}

/* Returns the lowest level at which no further request may wait, or NULL. */
BufLevel *
buf_wait_queue_find_full_locked (BufLevel *level)
{
  for (; level != NULL; level = level->parent)
    if (level->max_waiting >= 0 && level->n_waiting >= (guint) level->max_waiting)
      return level;
  return NULL;
}

/* Returns whether another request may take the free bytes in @want before the oldest waiter. If so,
 * counts the overtaking. */
static gboolean
overtake_locked (BufLevel *level, BufWaiter *oldest, const BufWant *want)
{
  if (!oldest->owed)
    look_at_clock_locked (level->queue, oldest);
  if (oldest->owed && find_short_locked (level, want, oldest) != NULL)
    return FALSE;

  oldest->level->history.n_overtakings++;
  if (oldest->owed)
    return TRUE; /* there is enough for both */

  count_overtaken_locked (oldest);
  return TRUE;
}

static void
note_served_locked (BufWaitQueue *self, BufWaiter *waiter, gint64 bytes)
{
  self->last[self->n_served++ % BUF_WAITER_N_SERVED] = (BufServed){
    .bytes = bytes,
    .thread_id = waiter != NULL ? waiter->thread_id : buf_debug_get_thread_id (),
  };
}

/* Returns whether @waiter, which may be NULL for a new request, would overtake @oldest. A late
 * waiter that is now running may be older. */
static gboolean
overtakes (BufWaiter *waiter, BufWaiter *oldest)
{
  if (oldest == NULL || waiter == oldest)
    return FALSE;
  return waiter == NULL || waiter->level == NULL || waiter->number > oldest->number;
}

/* A request for a range of sizes takes only its minimum if another request waits. */
static gint64
choose_bytes_locked (BufLevel *level, const BufWaiter *waiter, const BufWant *want)
{
  guint n_own = waiter != NULL && waiter->level != NULL ? 1 : 0;
  gint64 most = want->most;

  if (G_LIKELY (want->most == want->bytes) || level->queue->waiters.length > n_own)
    return want->bytes;

  for (; level != NULL; level = level->parent)
    most = MIN (most, find_limit_locked (level, want, NULL, most));
  return want->bytes + (most - want->bytes) / want->step * want->step;
}

/* If the reserve was used, the stripes are revoked until it is full again. */
static void
deduct_locked (BufLevel *level, gint64 bytes)
{
  level->free -= bytes;
  level->n_allocations++;
  level->n_taken++;
  if (G_UNLIKELY (level->free < level->reserved) && !level->revoked)
    level->queue->revoke_locked (level);
}

/* The only place where free bytes are taken: at all levels from @level up, or at none. @waiter is
 * NULL for a new request. */
gboolean
buf_wait_queue_take_locked (BufLevel *level, BufWaiter *waiter, BufWant *want)
{
  BufWaiter *oldest = level->queue->oldest;

  if (find_short_locked (level, want, NULL) != NULL)
    return FALSE;
  if (overtakes (waiter, oldest) && !overtake_locked (level, oldest, want))
    return FALSE;

  want->taken = choose_bytes_locked (level, waiter, want);
  for (BufLevel *each = level; each != NULL; each = each->parent)
    deduct_locked (each, want->taken);
  if (G_UNLIKELY (level->idle > 0))
    level->queue->claim_locked (level, want);
  if (want->pins)
    level->pinned += want->taken;
  if (G_UNLIKELY (level->queue->watched))
    note_served_locked (level->queue, waiter, want->taken);
  return TRUE;
}
