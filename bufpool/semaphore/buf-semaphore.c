/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <string.h>

#include "semaphore/buf-semaphore-private.h"

/*
 * A strict budget of bytes that many threads share without a common hot line.
 *
 * Words: the *maximum* is what may be in use. A *stripe* is a cache line with *credit*: bytes that
 * the threads mapped to it may take with one compare-and-swap. *Free* are the bytes in no stripe
 * and not in use. To *revoke* is to take the credit of all stripes and to mark them, so that every
 * request and every release comes to the mutex.
 *
 * Invariant:  free + sum of credit + in use = maximum.
 *
 * "In use" is stored nowhere: it follows. Credit moves between free and a stripe only under the
 * mutex, and only while the stripes are live. So under the mutex, with the stripes revoked, the
 * figures stand still, and in use = maximum - free, exactly.
 *
 * The stripes are revoked whenever somebody waits, drains, or has closed the budget, and while free
 * is negative. They are given back when BUF_SEMAPHORE_CALM sections in a row needed none of this.
 *
 * No wake-up is lost. A request revokes, looks and enqueues in one critical section. A releaser
 * decides in one compare-and-swap: when it comes before the revocation, the revocation collects
 * what it gave; when it comes after, it fails, and the releaser goes through the mutex and serves
 * the queue. There is no third case, since both act on the same word.
 *
 * Nothing is touched too late. A fast release touches the budget for the last time in its
 * compare-and-swap; a slow one publishes under the mutex, and after that only unlocks it. Who frees
 * the budget has closed and drained it under the mutex before.
 *
 * Memory orders. The word of a stripe is the only thing that is exchanged without the mutex, and
 * all that depends on it is in that word. A release stores with release order and a request takes
 * with acquire order, and a revocation does both: so the block that a releaser freed was free
 * before its bytes can be taken again, and what a last releaser did with the pool happened before
 * the pool goes. The loads before a compare-and-swap need no order: it fails if they were stale.
 * The mask may be stale: the stripe it leads to is then still valid memory, and is either live or
 * marked. The mark may be stale: a stripe then holds more than it should for a while.
 */

/* As many stripes as there are processors, but no more than this. */
#define BUF_SEMAPHORE_MAX_STRIPES 64

/* A stripe is worth having only if this many of the smallest requests fit in its share. */
#define BUF_SEMAPHORE_MIN_UNITS 16

/* Sections under the mutex, without revocation or waiter, after which the stripes are given back.
 */
#define BUF_SEMAPHORE_CALM 64

_Thread_local guint buf_semaphore_thread_number BUF_TLS_MODEL;

/* A thread starts out on the first stripe. It gets a number of its own when it first comes here,
 * and moves on when it meets another on its stripe. */
static void
number_thread (void)
{
  static _Atomic guint last;

  if (G_UNLIKELY (buf_semaphore_thread_number == 0))
    buf_semaphore_thread_number = atomic_fetch_add_explicit (&last, 1, memory_order_relaxed) + 1;
}

static gint64
get_count (gint64 word)
{
  return word >> BUF_STRIPE_CREDIT_BITS;
}

static guint
choose_n_stripes (guint n_processors)
{
  guint n_stripes = 1;

  while (n_stripes < n_processors && n_stripes < BUF_SEMAPHORE_MAX_STRIPES)
    n_stripes *= 2;
  return n_stripes;
}

/* How many stripes are used, and how much they hold, follows the maximum. At most half of it lies
 * in stripes, unless there is only one. */
static void
set_geometry_locked (BufSemaphore *self)
{
  guint n_live = self->n_stripes;
  gint64 share;

  g_assert (self->revoked);

  while (n_live > 1 && self->maximum / n_live / BUF_SEMAPHORE_MIN_UNITS < self->unit)
    n_live /= 2;
  share = n_live > 1 ? self->maximum / n_live / 2 : self->maximum;

  atomic_store_explicit (&self->mask, n_live - 1, memory_order_relaxed);
  atomic_store_explicit (&self->mark, MIN (share, BUF_STRIPE_MAX_CREDIT), memory_order_relaxed);
}

static void
restore_locked (BufSemaphore *self)
{
  for (guint i = 0; i <= atomic_load_explicit (&self->mask, memory_order_relaxed); i++)
    atomic_store_explicit (&self->stripes[i].word, 0, memory_order_release);
  self->revoked = FALSE;
}

/* Moves what the stripe holds to free, and leaves @mark there. */
static void
collect_locked (BufSemaphore *self, BufStripe *stripe, gint64 mark)
{
  gint64 word = atomic_exchange_explicit (&stripe->word, mark, memory_order_acq_rel);

  g_assert (buf_stripe_get_credit (word) >= 0);
  self->queue.free += buf_stripe_get_credit (word);
  self->queue.n_allocations += get_count (word);
}

static void
revoke_locked (BufSemaphore *self)
{
  self->calm = 0;
  if (self->revoked)
    return;

  for (guint i = 0; i <= atomic_load_explicit (&self->mask, memory_order_relaxed); i++)
    collect_locked (self, &self->stripes[i], BUF_STRIPE_REVOKED);
  self->revoked = TRUE;
  self->queue.history.n_revocations++;
  BUF_PROBE2 (revoke, self, self->queue.free);
}

/* Brings the stripe to its working level, half its mark: by refilling it, with no more than its
 * share of what is free, or by taking away what is above. Folds its count. */
static void
settle_locked (BufSemaphore *self, BufStripe *stripe)
{
  gint64 level = atomic_load_explicit (&self->mark, memory_order_relaxed) / 2;
  gint64 share = self->queue.free / (atomic_load_explicit (&self->mask, memory_order_relaxed) + 1);
  gint64 word = atomic_load_explicit (&stripe->word, memory_order_relaxed);
  gint64 credit, target;

  g_assert (!self->revoked);

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

  self->queue.free += credit - target;
  self->queue.n_allocations += get_count (word);
  self->queue.history.n_refills += target > credit;
}

/* Whether nothing is outstanding but what is @pinned. */
static gboolean
is_drained_locked (BufSemaphore *self, gint64 pinned)
{
  return self->revoked && self->queue.free + pinned == self->maximum;
}

static gboolean
is_wanted_locked (BufSemaphore *self)
{
  return self->closed || self->queue.free < 0 || !g_queue_is_empty (&self->queue.waiters) ||
         !g_queue_is_empty (&self->queue.drainers);
}

/* Ends every section that may have changed free, the maximum or the queue, or in which a woken
 * waiter could not take. Drainers come first, so that the zero they wait for is not lost. */
static void
serve_and_unlock (BufSemaphore *self)
{
  BufReady ready;

  if (is_drained_locked (self, self->queue.pinned))
    buf_waiter_queue_free_drainers_locked (&self->queue, &self->ready);
  buf_waiter_queue_serve_locked (&self->queue, &self->ready);

  if (is_wanted_locked (self))
    self->calm = 0;
  else if (self->revoked && ++self->calm >= BUF_SEMAPHORE_CALM)
    restore_locked (self);

  ready = self->ready;
  buf_ready_init (&self->ready);
  g_mutex_unlock (&self->mutex);
  buf_ready_complete (&ready);
}

static void
get_figures_locked (BufSemaphore *self, BufSemaphoreFigures *figures)
{
  gint64 available = self->queue.free;
  gint64 n_allocations = self->queue.n_allocations;

  for (guint i = 0; i < self->n_stripes; i++)
    {
      gint64 word = atomic_load_explicit (&self->stripes[i].word, memory_order_relaxed);

      if (word == BUF_STRIPE_REVOKED)
        continue;
      available += buf_stripe_get_credit (word);
      n_allocations += get_count (word);
    }

  figures->maximum = self->maximum;
  figures->available = CLAMP (available, 0, self->maximum);
  figures->allocated = MAX (self->maximum - available, 0);
  figures->n_allocations = MAX (n_allocations, 0);
  figures->n_waiting = self->queue.waiters.length;
}

void
buf_semaphore_init (BufSemaphore *self, gint64 maximum, gint64 unit, guint n_processors)
{
  guint n_stripes = choose_n_stripes (n_processors);

  g_assert (maximum >= 0 && unit > 0);

  memset (self, 0, sizeof *self);
  self->stripes = g_aligned_alloc0 (n_stripes, sizeof (BufStripe), BUF_CACHE_LINE);
  self->n_stripes = n_stripes;
  self->unit = unit;
  self->maximum = maximum;
  g_mutex_init (&self->mutex);
  g_cond_init (&self->nobody_inside);
  buf_ready_init (&self->ready);
  buf_waiter_queue_init (&self->queue, maximum);
  for (guint i = 0; i < n_stripes; i++)
    atomic_init (&self->stripes[i].word, BUF_STRIPE_REVOKED);

  self->revoked = TRUE;
  set_geometry_locked (self);
  restore_locked (self);
}

/* The caller has closed and drained the budget, and has waited for those inside. */
void
buf_semaphore_clear (BufSemaphore *self)
{
  g_assert (self->closed && self->n_inside == 0);
  g_assert (g_queue_is_empty (&self->queue.waiters) && g_queue_is_empty (&self->queue.drainers));

  g_cond_clear (&self->nobody_inside);
  g_mutex_clear (&self->mutex);
  g_aligned_free (self->stripes);
}

/* Takes from free or, if need be, from all stripes. */
static BufOutcome
take_locked (BufSemaphore *self, BufWaiter *waiter, gint64 bytes)
{
  BufStripe *stripe = buf_semaphore_get_stripe (self);

  if (bytes > self->maximum)
    return BUF_OUTCOME_TOO_LARGE;
  if (self->closed)
    return BUF_OUTCOME_CLOSED;

  if (!self->revoked)
    {
      collect_locked (self, stripe, 0);
      if (bytes > self->queue.free)
        revoke_locked (self);
    }

  if (!buf_waiter_queue_take_locked (&self->queue, waiter, bytes))
    {
      self->calm = 0;
      return BUF_OUTCOME_PENDING;
    }
  if (!self->revoked)
    settle_locked (self, stripe);
  return BUF_OUTCOME_GRANTED;
}

static BufOutcome
drain_locked (BufSemaphore *self, BufWaiter *waiter)
{
  gint64 pinned = waiter->spares_pinned ? self->queue.pinned : 0;

  revoke_locked (self);
  BUF_PROBE2 (drain, self, self->maximum - self->queue.free);
  return is_drained_locked (self, pinned) ? BUF_OUTCOME_GRANTED : BUF_OUTCOME_PENDING;
}

/* Takes @bytes if they are there, and else says why not. PENDING: it can be waited for; a thread
 * that goes on to wait, @enters, has entered then. */
BufOutcome
buf_semaphore_acquire (BufSemaphore *self,
                       gint64 bytes,
                       gboolean enters,
                       BufSemaphoreFigures *figures)
{
  BufOutcome outcome;

  number_thread ();
  if (buf_semaphore_take_credit (self, bytes))
    return BUF_OUTCOME_GRANTED;

  g_mutex_lock (&self->mutex);
  outcome = take_locked (self, NULL, bytes);
  if (outcome == BUF_OUTCOME_PENDING && enters)
    self->n_inside++;
  else if (outcome != BUF_OUTCOME_GRANTED)
    get_figures_locked (self, figures);
  serve_and_unlock (self);
  return outcome;
}

/* Settles the waiter at once, or puts it into its queue. */
static void
enqueue_locked (BufSemaphore *self, BufWaiter *waiter)
{
  BufOutcome outcome;

  if (waiter->outcome != BUF_OUTCOME_PENDING)
    return; /* withdrawn before it began */

  if (waiter->bytes > 0)
    outcome = take_locked (self, waiter, waiter->bytes);
  else
    outcome = drain_locked (self, waiter);

  waiter->maximum = self->maximum;
  if (outcome != BUF_OUTCOME_PENDING)
    buf_waiter_finish_locked (waiter, outcome, &self->ready);
  else
    buf_waiter_queue_push_locked (&self->queue, waiter);
}

/* Sleeps until the outcome is settled. Who was woken tries once more, even if it is late. */
static void
sleep_locked (BufSemaphore *self, BufWaiter *waiter, gint64 deadline)
{
  gboolean late = FALSE;

  while (waiter->outcome == BUF_OUTCOME_PENDING)
    {
      gboolean woken = buf_waiter_was_woken_locked (waiter);

      if (woken && buf_waiter_queue_take_locked (&self->queue, waiter, waiter->bytes))
        buf_waiter_finish_locked (waiter, BUF_OUTCOME_GRANTED, &self->ready);
      else if (late)
        buf_waiter_finish_locked (waiter, BUF_OUTCOME_TIMED_OUT, &self->ready);
      else if (woken)
        {
          serve_and_unlock (self);
          g_mutex_lock (&self->mutex);
        }
      else
        late = !buf_wakeup_sleep_locked (waiter->wakeup, &self->mutex, deadline);
    }
}

/* Blocks the calling thread until @waiter has what it wants, or the deadline, or it is withdrawn,
 * or the request has become impossible. */
BufOutcome
buf_semaphore_wait (BufSemaphore *self,
                    BufWaiter *waiter,
                    gint64 deadline,
                    BufSemaphoreFigures *figures)
{
  BufOutcome outcome;

  g_assert (waiter->complete == NULL);

  g_mutex_lock (&self->mutex);
  enqueue_locked (self, waiter);
  sleep_locked (self, waiter, deadline);
  outcome = waiter->outcome;
  if (outcome != BUF_OUTCOME_GRANTED)
    get_figures_locked (self, figures);
  if (outcome == BUF_OUTCOME_TOO_LARGE)
    figures->maximum = waiter->maximum;
  serve_and_unlock (self);
  return outcome;
}

/* The same for a task: it is completed when its outcome is settled, perhaps before this returns. */
void
buf_semaphore_enqueue (BufSemaphore *self, BufWaiter *waiter)
{
  g_assert (waiter->complete != NULL);

  g_mutex_lock (&self->mutex);
  enqueue_locked (self, waiter);
  serve_and_unlock (self);
}

static void
release_and_unlock (BufSemaphore *self, gint64 bytes)
{
  self->queue.free += bytes;
  self->queue.n_allocations--;
  if (!self->revoked)
    settle_locked (self, buf_semaphore_get_stripe (self));
  serve_and_unlock (self);
}

/* The slow half of a release. */
void
buf_semaphore_release (BufSemaphore *self, gint64 bytes)
{
  number_thread ();
  if (buf_semaphore_give_credit (self, buf_semaphore_get_stripe (self), bytes))
    return;

  g_mutex_lock (&self->mutex);
  release_and_unlock (self, bytes);
}

/* Marks bytes that were taken as pinned, until they are released as such. */
void
buf_semaphore_pin (BufSemaphore *self, gint64 bytes)
{
  g_mutex_lock (&self->mutex);
  self->queue.pinned += bytes;
  serve_and_unlock (self);
}

void
buf_semaphore_release_pinned (BufSemaphore *self, gint64 bytes)
{
  g_mutex_lock (&self->mutex);
  self->queue.pinned -= bytes;
  release_and_unlock (self, bytes);
}

/* Ends a wait from outside, unless its outcome is settled already. It need not have begun. */
void
buf_semaphore_withdraw (BufSemaphore *self, BufWaiter *waiter, BufOutcome outcome)
{
  g_mutex_lock (&self->mutex);
  if (waiter->outcome == BUF_OUTCOME_PENDING)
    buf_waiter_finish_locked (waiter, outcome, &self->ready);
  serve_and_unlock (self);
}

/* Returns whether the maximum is another than before. */
gboolean
buf_semaphore_set_maximum (BufSemaphore *self, gint64 maximum)
{
  gboolean changed;

  g_assert (maximum >= 0);

  g_mutex_lock (&self->mutex);
  changed = maximum != self->maximum;
  if (changed)
    {
      revoke_locked (self);
      self->queue.free += maximum - self->maximum;
      self->maximum = maximum;
      set_geometry_locked (self);
      buf_waiter_queue_fail_locked (&self->queue, maximum, BUF_OUTCOME_TOO_LARGE, &self->ready);
    }
  serve_and_unlock (self);
  return changed;
}

/* For good. Those who drain go on waiting: what is outstanding still comes back. */
void
buf_semaphore_close (BufSemaphore *self)
{
  g_mutex_lock (&self->mutex);
  self->closed = TRUE;
  BUF_PROBE1 (close, self);
  revoke_locked (self);
  buf_waiter_queue_fail_locked (&self->queue, -1, BUF_OUTCOME_CLOSED, &self->ready);
  serve_and_unlock (self);
}

gboolean
buf_semaphore_is_closed (BufSemaphore *self)
{
  gboolean closed;

  g_mutex_lock (&self->mutex);
  closed = self->closed;
  g_mutex_unlock (&self->mutex);
  return closed;
}

/* @history may be NULL. */
void
buf_semaphore_get_figures (BufSemaphore *self, BufSemaphoreFigures *figures, BufHistory *history)
{
  g_mutex_lock (&self->mutex);
  get_figures_locked (self, figures);
  if (history != NULL)
    *history = self->queue.history;
  g_mutex_unlock (&self->mutex);
}
