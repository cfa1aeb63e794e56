/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <string.h>

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * A strict limit on bytes that many threads share without a contended cache line.
 *
 * Terms: the *maximum* is how many bytes may be in use. A *stripe* is a cache line with *credit*:
 * bytes that the threads mapped to it can take with one compare-and-swap. *Free* bytes are in no
 * stripe and not in use. To *revoke* is to take the credit of all stripes and to mark the stripes,
 * so that every request and every release takes the mutex.
 *
 * Invariant:  free + sum of credit + in use = maximum.
 *
 * "In use" is not stored; it follows from the invariant. Credit moves between the free bytes and a
 * stripe only under the mutex, and only while the stripes are live. So under the mutex, with the
 * stripes revoked, the figures do not change, and in use = maximum - free, exactly.
 *
 * The stripes are revoked while a request waits or drains, after the semaphore is closed, and while
 * free is negative. They are restored after BUF_SEMAPHORE_CALM consecutive sections that needed
 * none of this.
 *
 * No wake-up is lost. A request revokes, checks and enqueues itself in one critical section. A
 * releaser decides in one compare-and-swap. If it comes before the revocation, the revocation
 * collects the bytes. If it comes after the revocation, it fails, and the releaser takes the mutex
 * and serves the queue. There is no third case, because both act on the same word.
 *
 * Nothing is accessed too late. A fast release accesses the semaphore for the last time in its
 * compare-and-swap. A slow release publishes under the mutex, and then only unlocks it. For the end
 * of a semaphore, see buf-semaphore-inside.c.
 *
 * Memory orders. The word of a stripe is the only data exchanged without the mutex, and it contains
 * everything that depends on it. A release stores with release order, a request takes with acquire
 * order, and a revocation does both. So a block is free before its bytes can be taken again, and
 * what the last releaser did with the pool happened before the pool ends. The loads before a
 * compare-and-swap need no order, because it fails if they are stale. The mask may be stale: the
 * stripe it selects is still valid memory, and is either live or marked. The mark may be stale: a
 * stripe then holds more than it should for a while.
 */

/* The semaphore joins the tree of its @parent, or creates a tree if that is NULL. */
void
buf_semaphore_init (BufSemaphore *self,
                    BufSemaphore *parent,
                    gint64 maximum,
                    gint64 unit,
                    guint n_processors)
{
  guint n_stripes = buf_semaphore_choose_n_stripes (n_processors);

  g_assert (maximum >= 0 && unit > 0);

  memset (self, 0, sizeof *self);
  self->stripes = g_aligned_alloc0 (n_stripes, sizeof (BufStripe), BUF_CACHE_LINE);
  self->n_stripes = n_stripes;
  self->unit = unit;
  buf_semaphore_join_tree (self, parent, buf_semaphore_look);
  buf_level_init (&self->level,
                  &self->tree->queue,
                  parent != NULL ? &parent->level : NULL,
                  maximum);
  for (guint i = 0; i < n_stripes; i++)
    atomic_init (&self->stripes[i].word, BUF_STRIPE_REVOKED);

  g_mutex_lock (&self->tree->mutex);
  buf_semaphore_set_geometry_locked (self);
  if (!buf_semaphore_is_wanted_locked (self))
    buf_semaphore_restore_locked (self);
  g_mutex_unlock (&self->tree->mutex);
}

/* The semaphore is over, or has never been shared. On return, its parents may be gone. */
void
buf_semaphore_clear (BufSemaphore *self)
{
  g_assert (self->level.closed && self->n_inside == 0);
  g_assert (self->level.free == self->level.maximum && self->level.promised == 0);
  g_assert (self->level.n_waiting == 0 && g_queue_is_empty (&self->level.drainers));
  g_assert (self->keeper == NULL && self->level.idle == 0);

  g_mutex_lock (&self->tree->mutex);
  if (self->member_link.data != NULL)
    g_queue_unlink (&self->tree->members, &self->member_link);
  buf_wait_queue_forget_locked (&self->level);
  g_mutex_unlock (&self->tree->mutex);
  buf_semaphore_leave_tree (self);
  g_aligned_free (self->stripes);
}

static gboolean
is_closed_locked (const BufLevel *level)
{
  while (level != NULL && !level->closed)
    level = level->parent;
  return level != NULL;
}

/* Takes bytes at each level, from the free bytes or, if necessary, from all stripes. */
static BufOutcome
take_locked (BufSemaphore *self, BufWaiter *waiter, BufWant *want)
{
  if (buf_wait_queue_find_too_small_locked (&self->level, want) != NULL)
    return BUF_OUTCOME_TOO_LARGE;
  if (is_closed_locked (&self->level))
    return BUF_OUTCOME_CLOSED;

  for (BufSemaphore *each = self; each != NULL; each = each->parent)
    if (!each->level.revoked)
      buf_semaphore_collect_locked (each, buf_semaphore_get_stripe (each), 0);

  if (!buf_wait_queue_take_locked (&self->level, waiter, want))
    {
      for (BufSemaphore *each = self; each != NULL; each = each->parent)
        each->calm = 0;
      return BUF_OUTCOME_PENDING;
    }
  buf_semaphore_settle_path_locked (self);
  return BUF_OUTCOME_GRANTED;
}

static BufOutcome
drain_locked (BufSemaphore *self, BufWaiter *waiter)
{
  gint64 pinned = waiter->spares_pinned ? self->level.pinned : 0;

  buf_semaphore_revoke_locked (self);
  BUF_PROBE2 (drain, self, buf_semaphore_get_outstanding_locked (self));
  return buf_semaphore_is_drained_locked (self, pinned) ? BUF_OUTCOME_GRANTED : BUF_OUTCOME_PENDING;
}

/* The fast path of a child has taken credit at the levels below @refuser. Undoes that, and decides
 * the request again. */
static void
put_aside_locked (BufSemaphore *self, const BufSemaphore *refuser, gint64 bytes)
{
  for (; self != refuser; self = self->parent)
    {
      buf_level_add_free_locked (&self->level, bytes);
      self->level.n_allocations--;
    }
}

/* Its bytes keep the semaphore alive. */
static G_GNUC_NO_INLINE void
reopen (BufSemaphore *self)
{
  g_mutex_lock (&self->tree->mutex);
  buf_semaphore_reopen_if_live_locked (self);
  g_mutex_unlock (&self->tree->mutex);
}

/* Takes the bytes in @want if they are available, or returns why not. PENDING means that the
 * request can wait. If @enters is set, the thread has then entered in order to wait. */
BufOutcome
buf_semaphore_acquire (BufSemaphore *self,
                       BufWant *want,
                       gboolean enters,
                       BufSemaphoreFigures *figures)
{
  BufSemaphore *refuser;
  BufOutcome outcome;

  buf_semaphore_number_thread ();
  refuser = buf_semaphore_take_path_credit (self, want->most);
  if (refuser == NULL)
    {
      want->taken = want->most;
      if (G_UNLIKELY (atomic_load_explicit (&self->rests, memory_order_relaxed)))
        reopen (self);
      return BUF_OUTCOME_GRANTED;
    }

  g_mutex_lock (&self->tree->mutex);
  put_aside_locked (self, refuser, want->most);
  outcome = take_locked (self, NULL, want);
  if (outcome == BUF_OUTCOME_GRANTED && self->rests)
    buf_semaphore_reopen_if_live_locked (self);
  if (outcome == BUF_OUTCOME_PENDING && enters)
    self->n_inside++;
  else if (outcome != BUF_OUTCOME_GRANTED)
    buf_semaphore_get_refusal_locked (self, want, NULL, outcome, figures);
  buf_semaphore_serve_and_unlock (self);
  return outcome;
}

/* Settles the waiter immediately, or puts it into its queue. */
static void
enqueue_locked (BufSemaphore *self, BufWaiter *waiter)
{
  BufOutcome outcome;

  if (waiter->outcome != BUF_OUTCOME_PENDING)
    return; /* withdrawn before it began */

  if (waiter->want.bytes > 0)
    outcome = take_locked (self, waiter, &waiter->want);
  else
    outcome = drain_locked (self, waiter);

  if (outcome == BUF_OUTCOME_TOO_LARGE)
    {
      waiter->refuser = buf_wait_queue_find_too_small_locked (&self->level, &waiter->want);
      waiter->maximum =
          buf_level_get_ceiling_locked (waiter->refuser, buf_want_is_urgent (&waiter->want));
    }
  else if (outcome == BUF_OUTCOME_PENDING && waiter->want.bytes > 0 &&
           (waiter->refuser = buf_wait_queue_find_full_locked (&self->level)) != NULL)
    {
      waiter->n_waiting = waiter->refuser->n_waiting;
      outcome = BUF_OUTCOME_OVERLOADED;
    }

  if (outcome != BUF_OUTCOME_PENDING)
    buf_wait_queue_finish_locked (waiter, outcome, &self->tree->ready);
  else
    buf_wait_queue_push_locked (&self->level, waiter);
}

/* Returns the outcome of @waiter at its deadline. The bytes may be available but promised to
 * another thread, or it has drained and has not been told yet. */
static BufOutcome
try_at_deadline_locked (BufSemaphore *self, BufWaiter *waiter)
{
  gboolean served;

  if (waiter->want.bytes > 0)
    served = buf_wait_queue_take_locked (&self->level, waiter, &waiter->want);
  else
    served = waiter->list == &self->tree->queue.drained;
  return served ? BUF_OUTCOME_GRANTED : BUF_OUTCOME_TIMED_OUT;
}

/* A woken thread tries to take its bytes. If it cannot, it goes back to sleep in the queue. Returns
 * with the lock held, but may unlock it in between. */
static void
try_when_woken_locked (BufSemaphore *self, BufWaiter *waiter)
{
  if (buf_wait_queue_take_locked (&self->level, waiter, &waiter->want))
    {
      buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_GRANTED, &self->tree->ready);
      return;
    }

  buf_wait_queue_rejoin_locked (waiter);
  buf_semaphore_serve_and_unlock (self);
  g_mutex_lock (&self->tree->mutex);
}

/* Sleeps until the outcome is settled. */
static void
sleep_locked (BufSemaphore *self, BufWaiter *waiter, gint64 deadline)
{
  gboolean late = FALSE;

  while (waiter->outcome == BUF_OUTCOME_PENDING)
    if (late)
      buf_wait_queue_finish_locked (waiter,
                                    try_at_deadline_locked (self, waiter),
                                    &self->tree->ready);
    else if (waiter->state != BUF_WAITER_ASLEEP)
      try_when_woken_locked (self, waiter);
    else
      late = !buf_wakeup_sleep_locked (waiter->wakeup, &self->tree->mutex, deadline);
}

/* Returns whether a keeper of the tree may keep bytes that the waiter needs. */
static gboolean
has_to_reclaim_locked (BufSemaphore *self, const BufWaiter *waiter)
{
  return waiter->outcome == BUF_OUTCOME_PENDING && !g_queue_is_empty (&self->tree->keeping);
}

/* The waiter is in the queue, so it gets what the keepers release. Returns with the lock held, but
 * unlocks it in between. */
static void
reclaim_and_relock (BufSemaphore *self, gboolean complete)
{
  buf_semaphore_serve_and_unlock (self);
  buf_semaphore_reclaim (self, complete);
  g_mutex_lock (&self->tree->mutex);
}

/* Blocks the calling thread until @waiter has its bytes, the deadline passes, it is withdrawn, or
 * the request becomes impossible. */
BufOutcome
buf_semaphore_wait (BufSemaphore *self,
                    BufWaiter *waiter,
                    gint64 deadline,
                    BufSemaphoreFigures *figures)
{
  BufOutcome outcome;
  gboolean promises = buf_watcher_start ();

  g_assert (waiter->complete == NULL);

  g_mutex_lock (&self->tree->mutex);
  buf_wait_queue_set_promises_locked (&self->tree->queue, promises);
  enqueue_locked (self, waiter);
  if (has_to_reclaim_locked (self, waiter))
    reclaim_and_relock (self, !promises);
  buf_semaphore_set_watch_locked (self->tree);
  sleep_locked (self, waiter, deadline);
  outcome = waiter->outcome;
  if (outcome != BUF_OUTCOME_GRANTED)
    buf_semaphore_get_refusal_locked (self, &waiter->want, waiter, outcome, figures);
  buf_semaphore_serve_and_unlock (self);
  return outcome;
}

/* Like buf_semaphore_wait(), for a task. The task is completed when its outcome is settled,
 * possibly before this function returns. */
void
buf_semaphore_enqueue (BufSemaphore *self, BufWaiter *waiter)
{
  gboolean promises = buf_watcher_start ();
  gboolean reclaims;

  g_assert (waiter->complete != NULL);

  g_mutex_lock (&self->tree->mutex);
  buf_wait_queue_set_promises_locked (&self->tree->queue, promises);
  enqueue_locked (self, waiter);
  reclaims = has_to_reclaim_locked (self, waiter);
  self->n_inside += reclaims ? 1 : 0;
  buf_semaphore_serve_and_unlock (self);

  if (reclaims)
    {
      buf_semaphore_reclaim (self, !promises);
      buf_semaphore_leave (self);
    }
}

/* From @self up to @top. */
static void
add_free_locked (BufSemaphore *self, const BufSemaphore *top, gint64 bytes, gint64 n_allocations)
{
  for (;; self = self->parent)
    {
      buf_level_add_free_locked (&self->level, bytes);
      self->level.n_allocations -= n_allocations;
      if (self == top)
        break;
    }
}

static void
release_and_unlock (BufSemaphore *self, const BufSemaphore *top, gint64 bytes, gint64 n_allocations)
{
  add_free_locked (self, top, bytes, n_allocations);
  buf_semaphore_settle_path_locked (self);
  buf_semaphore_serve_and_unlock (self);
}

/* The slow path of a release. The memory of the bytes is idle from now on. The mutex is locked. */
void
buf_semaphore_release_idle_and_unlock (BufSemaphore *self, gint64 bytes)
{
  self->level.idle += bytes;
  release_and_unlock (self, self, bytes, 1);
}

/* The slow path of a release. */
void
buf_semaphore_release (BufSemaphore *self, gint64 bytes)
{
  BufSemaphore *refuser;

  buf_semaphore_number_thread ();
  refuser = buf_semaphore_give_path_credit (self, bytes);
  if (refuser == NULL)
    return;

  g_mutex_lock (&self->tree->mutex);
  release_and_unlock (self, refuser, bytes, 1);
}

/* Releases some of the bytes of an allocation, which continues to exist. */
void
buf_semaphore_release_part (BufSemaphore *self, gint64 bytes, gboolean pinned)
{
  g_mutex_lock (&self->tree->mutex);
  if (pinned)
    self->level.pinned -= bytes;
  release_and_unlock (self, buf_semaphore_get_root (self), bytes, 0);
}

/* Called by the keeper. Releases @n_allocations at once, which it has counted in @returning. */
void
buf_semaphore_release_several (BufSemaphore *self, gint64 bytes, gint64 n_allocations)
{
  g_mutex_lock (&self->tree->mutex);
  buf_semaphore_note_returning_locked (self, -bytes, -n_allocations);
  release_and_unlock (self, buf_semaphore_get_root (self), bytes, n_allocations);
}

/* Like buf_semaphore_release_several(), but takes the bytes in @want in the same section, so that
 * no other request gets them in between. If @leaves is set, the caller was inside, and is still
 * inside only if the outcome is PENDING. */
BufOutcome
buf_semaphore_exchange (BufSemaphore *self,
                        gint64 own_bytes,
                        gint64 n_own,
                        BufWant *want,
                        gboolean leaves,
                        BufSemaphoreFigures *figures)
{
  BufOutcome outcome;

  g_mutex_lock (&self->tree->mutex);
  buf_semaphore_note_returning_locked (self, -own_bytes, -n_own);
  add_free_locked (self, buf_semaphore_get_root (self), own_bytes, n_own);
  outcome = take_locked (self, NULL, want);
  if (leaves && outcome != BUF_OUTCOME_PENDING)
    self->n_inside--;
  if (outcome != BUF_OUTCOME_GRANTED)
    buf_semaphore_get_refusal_locked (self, want, NULL, outcome, figures);
  buf_semaphore_serve_and_unlock (self);
  return outcome;
}

/* Marks bytes that were taken as pinned until they are released as pinned. */
void
buf_semaphore_pin (BufSemaphore *self, gint64 bytes)
{
  g_mutex_lock (&self->tree->mutex);
  self->level.pinned += bytes;
  buf_semaphore_serve_and_unlock (self);
}

void
buf_semaphore_release_pinned (BufSemaphore *self, gint64 bytes)
{
  g_mutex_lock (&self->tree->mutex);
  self->level.pinned -= bytes;
  release_and_unlock (self, buf_semaphore_get_root (self), bytes, 1);
}

/* Ends a wait from outside, unless its outcome is already settled. The wait need not have begun. */
void
buf_semaphore_withdraw (BufSemaphore *self, BufWaiter *waiter, BufOutcome outcome)
{
  g_mutex_lock (&self->tree->mutex);
  if (waiter->outcome == BUF_OUTCOME_PENDING)
    buf_wait_queue_finish_locked (waiter, outcome, &self->tree->ready);
  buf_semaphore_serve_and_unlock (self);
}

/* Closes the semaphore permanently. Drainers continue to wait, because outstanding bytes are still
 * released. */
void
buf_semaphore_close (BufSemaphore *self)
{
  gboolean keeps;

  g_mutex_lock (&self->tree->mutex);
  buf_wait_queue_close_locked (&self->level);
  BUF_PROBE1 (close, self);
  buf_semaphore_revoke_locked (self);
  keeps = self->n_keeping > 0 || self->level.idle > 0;
  buf_semaphore_serve_and_unlock (self);

  if (keeps)
    {
      buf_semaphore_free_idle (self);
      buf_semaphore_reclaim (self, TRUE);
    }
}

/* Returns whether more than the pinned bytes are in use. The caller has closed the semaphore. */
gboolean
buf_semaphore_has_plain (BufSemaphore *self)
{
  gboolean drained;

  g_mutex_lock (&self->tree->mutex);
  drained = buf_semaphore_is_drained_locked (self, self->level.pinned);
  g_mutex_unlock (&self->tree->mutex);
  return !drained;
}

gboolean
buf_semaphore_is_closed (BufSemaphore *self)
{
  gboolean closed;

  g_mutex_lock (&self->tree->mutex);
  closed = self->level.closed;
  g_mutex_unlock (&self->tree->mutex);
  return closed;
}

/* Sets what the watcher reports, see BufStallWatch and BufWaitQueue. */
void
buf_semaphore_watch_waits (BufSemaphore *self,
                           gint64 stall_time,
                           gint64 wait_threshold,
                           gboolean watched)
{
  BufTree *tree = self->tree;

  g_mutex_lock (&tree->mutex);
  tree->stall.time = stall_time;
  tree->stall.wait_threshold = wait_threshold;
  tree->queue.watched = watched;
  g_mutex_unlock (&tree->mutex);
}
