/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * A request that need not wait and finds too few bytes takes what the keepers release, at the level
 * that is short and below it, see buf-semaphore-keeper.c.
 */

/* How many times a request asks all keepers if other requests do the same. */
#define BUF_SEMAPHORE_MAX_ROUNDS 16

/* Returns the level at which @want is short, and how much is missing there, or NULL. */
static BufSemaphore *
find_short (BufSemaphore *self, const BufWant *want, gint64 *missing)
{
  BufLevel *level;

  g_mutex_lock (&self->tree->mutex);
  level = buf_wait_queue_find_missing_locked (&self->level, want, missing);
  g_mutex_unlock (&self->tree->mutex);
  return level != NULL ? buf_semaphore_get_for_level (level) : NULL;
}

/* Asks each keeper at @top or below for @bytes once. Sets @disturbed if another thread has asked
 * them in the meantime, so that some may have been left out. */
static gint64
evict_once (BufSemaphore *top, gint64 bytes, gboolean *disturbed)
{
  guint64 round = buf_semaphore_begin_round (top);
  gint64 evicted = 0;
  BufSemaphore *semaphore;

  while (evicted < bytes && (semaphore = buf_semaphore_ask_next (top, FALSE, round)) != NULL)
    {
      evicted += semaphore->keeper->evict (semaphore, bytes - evicted);
      buf_semaphore_leave (semaphore);
    }
  *disturbed = buf_semaphore_begin_round (top) != round + 1;
  return evicted;
}

/* Asks the keepers for the missing bytes, and returns how many they released. */
static gint64
evict_elsewhere (BufSemaphore *self, const BufWant *want)
{
  gint64 missing = 0, evicted = 0;
  BufSemaphore *top = find_short (self, want, &missing);
  gboolean disturbed = TRUE;

  if (top == NULL)
    return 0;

  for (guint i = 0; i < BUF_SEMAPHORE_MAX_ROUNDS && disturbed && evicted == 0; i++)
    evicted = evict_once (top, missing, &disturbed);
  return evicted;
}

/* Retries a request that was PENDING with the bytes that keepers release. The caller holds no lock,
 * and is inside or has a reference on the owner. @leaves works as in buf_semaphore_exchange(). */
BufOutcome
buf_semaphore_acquire_after_others (BufSemaphore *self,
                                    BufWant *want,
                                    gboolean leaves,
                                    BufSemaphoreFigures *figures)
{
  BufOutcome outcome = BUF_OUTCOME_PENDING;

  while (outcome == BUF_OUTCOME_PENDING && evict_elsewhere (self, want) > 0)
    outcome = buf_semaphore_exchange (self, 0, 0, want, leaves, figures);
  return outcome;
}
