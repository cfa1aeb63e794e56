/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * The state of a semaphore, for getters and for the message of a refused request.
 */

/* Adds the bytes that the keepers at @self or below keep, or are about to release. */
static void
add_kept_locked (BufSemaphore *self, gint64 *bytes, gint64 *n_allocations)
{
  *bytes += self->returning;
  *n_allocations += self->n_returning;
  if (self->n_keeping == 0)
    return;
  if (G_LIKELY (self->n_keepers == (self->keeper != NULL ? 1 : 0)))
    {
      if (self->keeper != NULL)
        self->keeper->count_locked (self, bytes, n_allocations);
      return;
    }

  for (GList *link = self->tree->keeping.head; link != NULL; link = link->next)
    {
      BufSemaphore *semaphore = link->data;

      if (buf_semaphore_is_below (semaphore, self))
        semaphore->keeper->count_locked (semaphore, bytes, n_allocations);
    }
}

/* Returns the bytes in use without those that keepers keep. The stripes are revoked. For a probe.
 */
gint64
buf_semaphore_get_outstanding_locked (BufSemaphore *self)
{
  gint64 available = self->level.free, n_kept = 0;

  add_kept_locked (self, &available, &n_kept);
  return self->level.maximum - available;
}

/* The queue knows that of the whole tree. */
static BufWaiter *
find_oldest_locked (BufSemaphore *self)
{
  if (self->parent == NULL)
    return buf_wait_queue_peek_head (&self->tree->queue.waiters);
  return buf_level_find_oldest_locked (&self->level);
}

static void
get_figures_locked (BufSemaphore *self, BufSemaphoreFigures *figures)
{
  BufWaiter *oldest = find_oldest_locked (self);
  gint64 available = self->level.free;
  gint64 n_allocations = self->level.n_allocations;
  gint64 n_kept = 0;

  add_kept_locked (self, &available, &n_kept);
  for (guint i = 0; i < self->n_stripes; i++)
    {
      gint64 word = atomic_load_explicit (&self->stripes[i].word, memory_order_relaxed);

      if (word == BUF_STRIPE_REVOKED)
        continue;
      available += buf_stripe_get_credit (word);
      n_allocations += buf_stripe_get_count (word);
    }

  figures->semaphore = self;
  figures->maximum = self->level.maximum;
  figures->reserved = self->level.reserved;
  figures->keeps_reserve = FALSE;
  figures->available = CLAMP (available, 0, self->level.maximum);
  figures->allocated = MAX (self->level.maximum - available, 0);
  figures->n_allocations = MAX (n_allocations - n_kept, 0);
  figures->n_waiting = self->level.n_waiting;
  figures->oldest_bytes = oldest != NULL ? oldest->want.bytes : 0;
  figures->owed = 0;
}

/* The level that has too little for a new request; or NULL. */
static BufLevel *
find_refuser_locked (BufLevel *level, const BufWant *want)
{
  BufLevel *found = buf_wait_queue_find_short_locked (level, want);
  gint64 missing;

  return found != NULL ? found : buf_wait_queue_find_missing_locked (level, want, &missing);
}

/* How much of what is free at the level is left to the request that is owed it. */
static gint64
get_owed_bytes_locked (BufLevel *level, const BufWant *want)
{
  const BufWaiter *owed = buf_wait_queue_get_owed_locked (level->queue);
  gboolean urgent = buf_want_is_urgent (want);

  return buf_level_get_limit_locked (level, urgent, NULL) -
         buf_level_get_limit_locked (level, urgent, owed);
}

/* Gets the state of the level that refused a request. */
void
buf_semaphore_get_refusal_locked (BufSemaphore *self,
                                  const BufWant *want,
                                  const BufWaiter *waiter,
                                  BufOutcome outcome,
                                  BufSemaphoreFigures *figures)
{
  BufLevel *level = NULL;

  if (waiter != NULL)
    level = waiter->refuser;
  else if (outcome == BUF_OUTCOME_TOO_LARGE)
    level = buf_wait_queue_find_too_small_locked (&self->level, want);
  if (level == NULL && (outcome == BUF_OUTCOME_PENDING || outcome == BUF_OUTCOME_TIMED_OUT))
    level = find_refuser_locked (&self->level, want);

  if (level == NULL)
    level = &self->level;
  get_figures_locked (buf_semaphore_get_for_level (level), figures);
  if (outcome == BUF_OUTCOME_PENDING || outcome == BUF_OUTCOME_TIMED_OUT)
    figures->owed = get_owed_bytes_locked (level, want);
  if (outcome == BUF_OUTCOME_OVERLOADED && waiter != NULL)
    figures->n_waiting = waiter->n_waiting; /* they may be gone by now */
  if (outcome != BUF_OUTCOME_TOO_LARGE)
    return;

  figures->maximum = waiter != NULL
                         ? waiter->maximum
                         : buf_level_get_ceiling_locked (level, buf_want_is_urgent (want));
  figures->keeps_reserve = figures->reserved > 0 && figures->maximum < level->maximum;
}

/* @history may be NULL. */
void
buf_semaphore_get_figures (BufSemaphore *self, BufSemaphoreFigures *figures, BufHistory *history)
{
  g_mutex_lock (&self->tree->mutex);
  get_figures_locked (self, figures);
  if (history != NULL)
    buf_level_get_history_locked (&self->level, history);
  g_mutex_unlock (&self->tree->mutex);
}

/* Gets the current state of the level that refused @waiter, which is settled. */
void
buf_semaphore_get_refusal (BufSemaphore *self,
                           const BufWaiter *waiter,
                           BufSemaphoreFigures *figures)
{
  g_mutex_lock (&self->tree->mutex);
  buf_semaphore_get_refusal_locked (self, &waiter->want, waiter, waiter->outcome, figures);
  g_mutex_unlock (&self->tree->mutex);
}
