/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * The stripes of a semaphore: their number, and how credit moves between them and the free bytes.
 * For what a stripe is, and why this is safe, see buf-semaphore.c.
 */

/* A stripe is worthwhile only if its share holds at least this many of the smallest requests. */
#define BUF_SEMAPHORE_MIN_UNITS 16

_Thread_local guint buf_semaphore_thread_number BUF_TLS_MODEL;

/* A thread starts on the first stripe. It gets a number of its own when it first comes here, and
 * moves on when it meets another thread on its stripe. */
void
buf_semaphore_number_thread (void)
{
  static _Atomic guint last;

  if (G_UNLIKELY (buf_semaphore_thread_number == 0))
    buf_semaphore_thread_number = atomic_fetch_add_explicit (&last, 1, memory_order_relaxed) + 1;
}

guint
buf_semaphore_choose_n_stripes (guint n_processors)
{
  guint n_stripes = 1;

  while (n_stripes < n_processors && n_stripes < BUF_SEMAPHORE_MAX_STRIPES)
    n_stripes *= 2;
  return n_stripes;
}

/* The number of stripes in use, and how much they hold, depends on the maximum. At most half of the
 * maximum is in stripes, unless there is only one stripe. */
void
buf_semaphore_set_geometry_locked (BufSemaphore *self)
{
  guint n_live = self->n_stripes;
  gint64 share;

  g_assert (self->level.revoked);

  while (n_live > 1 && self->level.maximum / n_live / BUF_SEMAPHORE_MIN_UNITS < self->unit)
    n_live /= 2;
  share = n_live > 1 ? self->level.maximum / n_live / 2 : self->level.maximum;

  atomic_store_explicit (&self->mask, n_live - 1, memory_order_relaxed);
  atomic_store_explicit (&self->mark, MIN (share, BUF_STRIPE_MAX_CREDIT), memory_order_relaxed);
}

void
buf_semaphore_restore_locked (BufSemaphore *self)
{
  for (guint i = 0; i <= atomic_load_explicit (&self->mask, memory_order_relaxed); i++)
    atomic_store_explicit (&self->stripes[i].word, 0, memory_order_release);
  self->level.revoked = FALSE;
  if (self->n_keepers > 0)
    buf_semaphore_reopen_below_locked (self);
  g_assert (self->level.idle == 0);
}

/* Moves the credit of the stripe to the free bytes, and leaves @mark in it. */
void
buf_semaphore_collect_locked (BufSemaphore *self, BufStripe *stripe, gint64 mark)
{
  gint64 word = atomic_exchange_explicit (&stripe->word, mark, memory_order_acq_rel);

  g_assert (buf_stripe_get_credit (word) >= 0);
  buf_level_add_free_locked (&self->level, buf_stripe_get_credit (word));
  self->level.n_allocations += buf_stripe_get_count (word);
}

void
buf_semaphore_revoke_locked (BufSemaphore *self)
{
  self->calm = 0;
  if (self->level.revoked)
    return;

  for (guint i = 0; i <= atomic_load_explicit (&self->mask, memory_order_relaxed); i++)
    buf_semaphore_collect_locked (self, &self->stripes[i], BUF_STRIPE_REVOKED);
  self->level.revoked = TRUE;
  self->level.history.n_revocations++;
  BUF_PROBE2 (revoke, self, self->level.free);
}

/* Brings the stripe to its working level, half its mark. If it has less, refills it with at most
 * its share of the free bytes beyond the reserve. If it has more, takes the excess. Folds its
 * count. */
void
buf_semaphore_settle_locked (BufSemaphore *self, BufStripe *stripe)
{
  gint64 level = atomic_load_explicit (&self->mark, memory_order_relaxed) / 2;
  gint64 spare = MAX (self->level.free - self->level.reserved, 0);
  gint64 share = spare / (atomic_load_explicit (&self->mask, memory_order_relaxed) + 1);
  gint64 word = atomic_load_explicit (&stripe->word, memory_order_relaxed);
  gint64 credit, target;

  g_assert (!self->level.revoked);

  do
    {
      credit = buf_stripe_get_credit (word);
      target = MIN (level, credit + share);
    }
  while (!atomic_compare_exchange_weak_explicit (&stripe->word,
                                                 &word,
                                                 target,
                                                 memory_order_acq_rel,
                                                 memory_order_relaxed));

  self->level.free += credit - target;
  self->level.n_allocations += buf_stripe_get_count (word);
  self->level.history.n_refills += target > credit;
}

/* Each level of the path whose stripes are live. */
void
buf_semaphore_settle_path_locked (BufSemaphore *self)
{
  for (; self != NULL; self = self->parent)
    if (!self->level.revoked)
      buf_semaphore_settle_locked (self, buf_semaphore_get_stripe (self));
}
