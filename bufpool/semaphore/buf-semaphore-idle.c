/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * Idle bytes: free bytes that the keeper still has memory for.
 *
 * While a request waits, and for some time afterwards, the level is revoked and its keeper may keep
 * nothing. If the memory of each release were freed and allocated again for the next request, a
 * saturated program would pay for it with each block. So the keeper may hold on to memory whose
 * bytes it has released. Such bytes are free in every respect: the queue does not know about them.
 *
 * Invariant, whenever the mutex is unlocked: idle <= free, and idle is 0 unless the level is
 * revoked. So the memory in use, kept and idle never exceeds the maximum. Bytes of a revoked level
 * are only taken under the mutex. Then the keeper hands over a piece of memory of exactly that
 * size, if it has one, and sets aside what exceeds the free bytes. The section that took the bytes
 * frees this after unlocking the mutex, before any thread or task uses the bytes that were taken.
 * Memory that exceeds the bytes that were taken cannot be set aside, because other requests may
 * take the rest of its bytes in the same section. It is freed immediately: at most one block.
 *
 * When the stripes are restored, the keeper counts the idle bytes as kept again.
 *
 * Only a semaphore without parents and children has idle bytes: otherwise, a request of another
 * semaphore could take the bytes at a level above. Only a level without a reserve has them, because
 * kept bytes must leave the reserve alone.
 */

/* Returns whether bytes that are about to be released may be idle. After the maximum was lowered,
 * they may not even be free. */
gboolean
buf_semaphore_may_idle_locked (BufSemaphore *self)
{
  const BufLevel *level = &self->level;

  return self->parent == NULL && level->revoked && !level->closed && self->n_reclaims == 0 &&
         level->reserved == 0 && level->idle <= level->free;
}

/* For the queue. */
void
buf_semaphore_claim_level_locked (BufLevel *level, BufWant *want)
{
  BufSemaphore *self = buf_semaphore_get_for_level (level);

  self->keeper->claim_locked (self, want);
  g_assert (level->idle <= level->free);
}

/* The caller holds no lock, and is inside or has a reference on the owner. No bytes can become idle
 * in the meantime, so this ends. */
void
buf_semaphore_free_idle (BufSemaphore *self)
{
  if (!self->is_child && self->keeper != NULL)
    self->keeper->free_idle (self);
}

/* Ends a section. Afterwards, what it has taken may be used. */
void
buf_semaphore_unlock (BufSemaphore *self)
{
  if (G_UNLIKELY (self->set_aside))
    self->keeper->unlock_and_free (self);
  else
    g_mutex_unlock (&self->tree->mutex);
}
