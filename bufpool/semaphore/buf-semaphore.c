/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <string.h>

#include "semaphore/buf-semaphore-sections-private.h"

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
 * Nothing is touched too late. A fast release touches the semaphore for the last time in its
 * compare-and-swap; a slow one publishes under the mutex, and after that only unlocks it. How the
 * semaphore ends is told in buf-semaphore-inside.c.
 *
 * Memory orders. The word of a stripe is the only thing that is exchanged without the mutex, and
 * all that depends on it is in that word. A release stores with release order and a request takes
 * with acquire order, and a revocation does both: so the block that a releaser freed was free
 * before its bytes can be taken again, and what a last releaser did with the pool happened before
 * the pool goes. The loads before a compare-and-swap need no order: it fails if they were stale.
 * The mask may be stale: the stripe it leads to is then still valid memory, and is either live or
 * marked. The mark may be stale: a stripe then holds more than it should for a while.
 */

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

static void
get_figures_locked (BufSemaphore *self, BufSemaphoreFigures *figures)
{
  gint64 available = self->queue.free + self->returning;
  gint64 n_allocations = self->queue.n_allocations;
  gint64 n_kept = self->n_returning;

  if (self->keeper != NULL)
    self->keeper->count_locked (self, &available, &n_kept);
  for (guint i = 0; i < self->n_stripes; i++)
    {
      gint64 word = atomic_load_explicit (&self->stripes[i].word, memory_order_relaxed);

      if (word == BUF_STRIPE_REVOKED)
        continue;
      available += buf_stripe_get_credit (word);
      n_allocations += buf_stripe_get_count (word);
    }

  figures->maximum = self->queue.maximum;
  figures->available = CLAMP (available, 0, self->queue.maximum);
  figures->allocated = MAX (self->queue.maximum - available, 0);
  figures->n_allocations = MAX (n_allocations - n_kept, 0);
  figures->n_waiting = self->queue.waiters.length;
  figures->oldest_bytes = buf_wait_queue_get_oldest_bytes_locked (&self->queue);
}

void
buf_semaphore_init (BufSemaphore *self, gint64 maximum, gint64 unit, guint n_processors)
{
  guint n_stripes = buf_semaphore_choose_n_stripes (n_processors);

  g_assert (maximum >= 0 && unit > 0);

  memset (self, 0, sizeof *self);
  self->stripes = g_aligned_alloc0 (n_stripes, sizeof (BufStripe), BUF_CACHE_LINE);
  self->n_stripes = n_stripes;
  self->unit = unit;
  g_mutex_init (&self->mutex);
  buf_ready_init (&self->ready);
  buf_wait_queue_init (&self->queue, maximum);
  buf_watch_init (&self->watch, buf_semaphore_look);
  for (guint i = 0; i < n_stripes; i++)
    atomic_init (&self->stripes[i].word, BUF_STRIPE_REVOKED);

  self->revoked = TRUE;
  buf_semaphore_set_geometry_locked (self);
  buf_semaphore_restore_locked (self);
}

/* The semaphore is over, or nobody else has ever used it. */
void
buf_semaphore_clear (BufSemaphore *self)
{
  buf_watch_end (&self->watch);
  g_assert (self->queue.closed && self->n_inside == 0 && self->queue.free == self->queue.maximum);
  g_assert (g_queue_is_empty (&self->queue.waiters) && g_queue_is_empty (&self->queue.drainers));
  g_assert (g_queue_is_empty (&self->queue.drained));

  g_mutex_clear (&self->mutex);
  g_aligned_free (self->stripes);
}

/* Takes from free or, if need be, from all stripes. */
static BufOutcome
take_locked (BufSemaphore *self, BufWaiter *waiter, gint64 bytes)
{
  BufStripe *stripe = buf_semaphore_get_stripe (self);

  if (bytes > self->queue.maximum)
    return BUF_OUTCOME_TOO_LARGE;
  if (self->queue.closed)
    return BUF_OUTCOME_CLOSED;

  if (!self->revoked)
    {
      buf_semaphore_collect_locked (self, stripe, 0);
      if (bytes > self->queue.free)
        buf_semaphore_revoke_locked (self);
    }

  if (!buf_wait_queue_take_locked (&self->queue, waiter, bytes))
    {
      self->calm = 0;
      return BUF_OUTCOME_PENDING;
    }
  if (!self->revoked)
    buf_semaphore_settle_locked (self, stripe);
  return BUF_OUTCOME_GRANTED;
}

static BufOutcome
drain_locked (BufSemaphore *self, BufWaiter *waiter)
{
  gint64 pinned = waiter->spares_pinned ? self->queue.pinned : 0;

  buf_semaphore_revoke_locked (self);
  BUF_PROBE2 (drain, self, self->queue.maximum - self->queue.free);
  return buf_semaphore_is_drained_locked (self, pinned) ? BUF_OUTCOME_GRANTED : BUF_OUTCOME_PENDING;
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
  buf_semaphore_serve_and_unlock (self);
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

  waiter->maximum = self->queue.maximum;
  if (outcome != BUF_OUTCOME_PENDING)
    buf_wait_queue_finish_locked (waiter, outcome, &self->ready);
  else
    buf_wait_queue_push_locked (&self->queue, waiter);
}

/* What @waiter gets when its time is over. The bytes may be there, promised to another thread; or
 * it was drained, and is still to be told. */
static BufOutcome
try_at_deadline_locked (BufSemaphore *self, BufWaiter *waiter)
{
  gboolean served;

  if (waiter->bytes > 0)
    served = buf_wait_queue_take_locked (&self->queue, waiter, waiter->bytes);
  else
    served = waiter->list == &self->queue.drained;
  return served ? BUF_OUTCOME_GRANTED : BUF_OUTCOME_TIMED_OUT;
}

/* A thread that was woken tries to take. If it cannot, it joins the others again. Returns with the
 * lock, which it may have dropped. */
static void
try_when_woken_locked (BufSemaphore *self, BufWaiter *waiter)
{
  if (buf_wait_queue_take_locked (&self->queue, waiter, waiter->bytes))
    {
      buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_GRANTED, &self->ready);
      return;
    }

  buf_wait_queue_rejoin_locked (&self->queue, waiter);
  buf_semaphore_serve_and_unlock (self);
  g_mutex_lock (&self->mutex);
}

/* Sleeps until the outcome is settled. */
static void
sleep_locked (BufSemaphore *self, BufWaiter *waiter, gint64 deadline)
{
  gboolean late = FALSE;

  while (waiter->outcome == BUF_OUTCOME_PENDING)
    if (late)
      buf_wait_queue_finish_locked (waiter, try_at_deadline_locked (self, waiter), &self->ready);
    else if (waiter->state != BUF_WAITER_ASLEEP)
      try_when_woken_locked (self, waiter);
    else
      late = !buf_wakeup_sleep_locked (waiter->wakeup, &self->mutex, deadline);
}

/* There is a waiter in the queue now: it gets what is given back. Returns with the lock, which was
 * dropped. */
static void
reclaim_and_relock (BufSemaphore *self, gboolean complete)
{
  buf_semaphore_serve_and_unlock (self);
  buf_semaphore_reclaim (self, complete);
  g_mutex_lock (&self->mutex);
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

  gboolean promises = buf_watcher_start ();

  g_assert (waiter->complete == NULL);

  g_mutex_lock (&self->mutex);
  self->queue.promises = promises;
  enqueue_locked (self, waiter);
  if (waiter->outcome == BUF_OUTCOME_PENDING && self->keeps)
    reclaim_and_relock (self, !promises);
  buf_semaphore_set_watch_locked (self);
  sleep_locked (self, waiter, deadline);
  outcome = waiter->outcome;
  if (outcome != BUF_OUTCOME_GRANTED)
    get_figures_locked (self, figures);
  if (outcome == BUF_OUTCOME_TOO_LARGE)
    figures->maximum = waiter->maximum;
  buf_semaphore_serve_and_unlock (self);
  return outcome;
}

/* The same for a task: it is completed when its outcome is settled, perhaps before this returns. */
void
buf_semaphore_enqueue (BufSemaphore *self, BufWaiter *waiter)
{
  gboolean promises = buf_watcher_start ();
  gboolean reclaims;

  g_assert (waiter->complete != NULL);

  g_mutex_lock (&self->mutex);
  self->queue.promises = promises;
  enqueue_locked (self, waiter);
  reclaims = waiter->outcome == BUF_OUTCOME_PENDING && self->keeps;
  self->n_inside += reclaims ? 1 : 0;
  buf_semaphore_serve_and_unlock (self);

  if (reclaims)
    {
      buf_semaphore_reclaim (self, !promises);
      buf_semaphore_leave (self);
    }
}

static void
release_and_unlock (BufSemaphore *self, gint64 bytes)
{
  self->queue.free += bytes;
  self->queue.n_allocations--;
  if (!self->revoked)
    buf_semaphore_settle_locked (self, buf_semaphore_get_stripe (self));
  buf_semaphore_serve_and_unlock (self);
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

/* What the keeper takes leave of is no longer kept. */
static void
return_locked (BufSemaphore *self, gint64 bytes, gint64 n_allocations)
{
  self->returning -= bytes;
  self->n_returning -= n_allocations;
}

/* Of the keeper: @n_allocations at once, which it has counted in @returning. */
void
buf_semaphore_release_several (BufSemaphore *self, gint64 bytes, gint64 n_allocations)
{
  g_mutex_lock (&self->mutex);
  return_locked (self, bytes, n_allocations);
  self->queue.n_allocations -= n_allocations - 1;
  release_and_unlock (self, bytes);
}

/* Likewise, and takes @bytes for one allocation in the same section, so that no
 * other request gets the bytes in between. If it @leaves, the caller was inside, and still is only
 * if the outcome is PENDING. */
BufOutcome
buf_semaphore_exchange (BufSemaphore *self,
                        gint64 own_bytes,
                        gint64 n_own,
                        gint64 bytes,
                        gboolean leaves,
                        BufSemaphoreFigures *figures)
{
  BufOutcome outcome;

  g_mutex_lock (&self->mutex);
  return_locked (self, own_bytes, n_own);
  self->queue.free += own_bytes;
  self->queue.n_allocations -= n_own;
  outcome = take_locked (self, NULL, bytes);
  if (leaves && outcome != BUF_OUTCOME_PENDING)
    self->n_inside--;
  if (outcome != BUF_OUTCOME_GRANTED)
    get_figures_locked (self, figures);
  buf_semaphore_serve_and_unlock (self);
  return outcome;
}

/* Marks bytes that were taken as pinned, until they are released as such. */
void
buf_semaphore_pin (BufSemaphore *self, gint64 bytes)
{
  g_mutex_lock (&self->mutex);
  self->queue.pinned += bytes;
  buf_semaphore_serve_and_unlock (self);
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
    buf_wait_queue_finish_locked (waiter, outcome, &self->ready);
  buf_semaphore_serve_and_unlock (self);
}

/* Returns whether the maximum is another than before. */
gboolean
buf_semaphore_set_maximum (BufSemaphore *self, gint64 maximum)
{
  gboolean changed;

  g_assert (maximum >= 0);

  g_mutex_lock (&self->mutex);
  changed = maximum != self->queue.maximum;
  if (changed)
    {
      /* What is kept may be more than is left of a lower maximum. */
      buf_semaphore_reclaim_locked (self);
      buf_semaphore_revoke_locked (self);
      buf_wait_queue_set_maximum_locked (&self->queue, maximum);
      buf_semaphore_set_geometry_locked (self);
    }
  buf_semaphore_serve_and_unlock (self);
  return changed;
}

/* For good. Those who drain go on waiting: what is outstanding still comes back. */
void
buf_semaphore_close (BufSemaphore *self)
{
  gboolean keeps;

  g_mutex_lock (&self->mutex);
  buf_wait_queue_close_locked (&self->queue);
  BUF_PROBE1 (close, self);
  buf_semaphore_revoke_locked (self);
  keeps = self->keeps;
  buf_semaphore_serve_and_unlock (self);

  if (keeps)
    buf_semaphore_reclaim (self, TRUE);
}

/* Whether more is in use than what is pinned. The caller has closed the semaphore. */
gboolean
buf_semaphore_has_plain (BufSemaphore *self)
{
  gboolean drained;

  g_mutex_lock (&self->mutex);
  drained = buf_semaphore_is_drained_locked (self, self->queue.pinned);
  g_mutex_unlock (&self->mutex);
  return !drained;
}

gboolean
buf_semaphore_is_closed (BufSemaphore *self)
{
  gboolean closed;

  g_mutex_lock (&self->mutex);
  closed = self->queue.closed;
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
    buf_wait_queue_get_history_locked (&self->queue, history);
  g_mutex_unlock (&self->mutex);
}
