/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <string.h>

#include "semaphore/buf-wait-queue-private.h"

/*
 * The queue of the requests that wait for bytes, and the rule by which they are served.
 *
 * Words: the *free* bytes are those that can be taken here. A waiter *takes* when it removes bytes
 * from free itself; a task is *granted* them by the thread that serves the queue. A thread is
 * *woken* when it was, or is about to be, told to come and take. Its bytes are *promised* to it: no
 * other waiter is woken or granted for them. They are not set aside: until the thread has been
 * scheduled, a new request may take them, so that free bytes are not idle for the time of a context
 * switch.
 *
 * A thread that does not run within its patience after it was woken is *late*. Its promise ends,
 * and nothing is kept for it: it waits for a processor, and not for bytes. When it runs and the
 * bytes are gone, it sleeps again, and counts that as one time that it was overtaken; if it is
 * owed, it is more patient the next time. So a thread that gets no processor time delays no other
 * request for long, and one that gets it late is served.
 *
 * The *oldest* waiter is the one that waits longest, not counting those that are late: otherwise
 * one that never runs would stay the oldest, and the others would have no bound. To *overtake* is
 * to take, or to be granted, while an older waiter waits that is not late. The oldest counts how
 * often it is overtaken. After BUF_WAIT_QUEUE_MAX_OVERTAKEN times, or when
 * BUF_WAIT_QUEUE_OVERTAKEN_TIME has passed since the first time, it is *owed*: others can then take
 * only what is free beyond its bytes. Each waiter becomes the oldest at some time, so no request
 * starves.
 *
 * Invariant, whenever the lock is dropped after everything was served: no task, and no thread that
 * is asleep, wants at most free - promised - (the bytes of the oldest, if it is owed and asleep),
 * unless it is a thread and BUF_WAIT_QUEUE_MAX_WOKEN others are woken. The oldest is not asleep if
 * it wants at most free. A woken thread that takes, fails to take, is late, or leaves
 * serves the queue again, so the others get their turn. The watcher (see buf-watcher.c) makes
 * threads late, and the oldest owed by time.
 *
 * One section serves a bounded number of waiters. Each step is O(log n): the first waiter that fits
 * is found in a tree.
 */

void
buf_wait_queue_init (BufWaitQueue *self, gint64 maximum)
{
  *self = (BufWaitQueue){
    .free = maximum,
    .maximum = maximum,
    .overtaken_time = BUF_WAIT_QUEUE_OVERTAKEN_TIME,
    .patience = BUF_WAIT_QUEUE_PATIENCE,
  };
  buf_waiter_tree_init (&self->threads);
  buf_waiter_tree_init (&self->tasks);
}

/* Like g_queue_peek_head(), which is not inline: each section does this several times. */
static BufWaiter *
peek_head (const GQueue *waiters)
{
  return waiters->head != NULL ? waiters->head->data : NULL;
}

/* Either may be NULL. */
static BufWaiter *
get_older (BufWaiter *waiter, BufWaiter *other)
{
  if (waiter == NULL || other == NULL)
    return waiter != NULL ? waiter : other;
  return waiter->number < other->number ? waiter : other;
}

static BufWaiter *
find_oldest_in_time_locked (BufWaitQueue *self)
{
  BufWaiter *oldest = get_older (buf_waiter_tree_find_first (&self->threads, G_MAXINT64),
                                 buf_waiter_tree_find_first (&self->tasks, G_MAXINT64));

  for (GList *link = self->woken.head; link != NULL; link = link->next)
    oldest = get_older (oldest, link->data);
  return oldest;
}

/* The waiter that is not to be overtaken too often, or NULL. */
static BufWaiter *
get_oldest_locked (BufWaitQueue *self)
{
  BufWaiter *oldest = peek_head (&self->waiters);

  if (G_LIKELY (oldest == NULL || oldest->state != BUF_WAITER_LATE || !self->promises))
    return oldest;
  return find_oldest_in_time_locked (self);
}

static BufWaiterTree *
get_tree (BufWaitQueue *self, BufWaiter *waiter)
{
  return waiter->complete != NULL ? &self->tasks : &self->threads;
}

void
buf_wait_queue_push_locked (BufWaitQueue *self, BufWaiter *waiter)
{
  g_assert (waiter->queue == NULL);

  waiter->queue = self;
  waiter->since = g_get_monotonic_time ();
  waiter->number = self->n_pushed++;
  waiter->patience = self->patience;
  waiter->first_served = self->n_served;
  waiter->list = waiter->bytes > 0 ? &self->waiters : &self->drainers;
  g_queue_push_tail_link (waiter->list, &waiter->link);
  BUF_PROBE2 (wait__begin, waiter, waiter->bytes);
  if (waiter->bytes == 0)
    return;

  buf_waiter_tree_insert (get_tree (self, waiter), waiter);
  self->sum_since = (gint64) ((guint64) self->sum_since + (guint64) waiter->since);
  self->history.n_waits++;
}

static void
make_owed (BufWaiter *waiter)
{
  waiter->owed = TRUE;
  waiter->patience = MAX (waiter->patience, BUF_WAIT_QUEUE_OWED_PATIENCE);
}

/* Whether @oldest, which may be NULL, becomes owed when time passes. */
static gboolean
is_being_overtaken (const BufWaiter *oldest)
{
  return oldest != NULL && oldest->overtaken > 0 && !oldest->owed;
}

/* The clock is read the first times only, and now and then. The watcher sees to it that the time is
 * not forgotten meanwhile. */
static void
look_at_clock_locked (BufWaitQueue *self, BufWaiter *oldest)
{
  gint64 now;

  if (oldest->overtaken > BUF_WAIT_QUEUE_CLOCK && oldest->overtaken % BUF_WAIT_QUEUE_CLOCK != 0)
    return;

  now = g_get_monotonic_time ();
  if (oldest->overtaken == 0)
    oldest->overtaken_since = now;
  else if (now - oldest->overtaken_since >= self->overtaken_time)
    make_owed (oldest);
}

/* @waiter was overtaken, and was not owed. */
static void
count_overtaken_locked (BufWaitQueue *self, BufWaiter *waiter)
{
  if (++waiter->overtaken >= BUF_WAIT_QUEUE_MAX_OVERTAKEN)
    make_owed (waiter);
  self->history.most_overtaken = MAX (self->history.most_overtaken, waiter->overtaken);
}

/* The thread runs, or is late. */
static void
end_promise_locked (BufWaitQueue *self, BufWaiter *waiter, BufWaiterState state)
{
  if (waiter->state == BUF_WAITER_WOKEN)
    {
      g_queue_unlink (&self->woken, &waiter->woken_link);
      self->promised -= waiter->bytes;
    }
  waiter->state = state;
}

/* A thread that was woken could not take, and sleeps again. If it was late, it was overtaken
 * meanwhile, without being the oldest. */
void
buf_wait_queue_rejoin_locked (BufWaitQueue *self, BufWaiter *waiter)
{
  g_assert (waiter->state != BUF_WAITER_ASLEEP);

  if (self->promises && waiter->state == BUF_WAITER_LATE && !waiter->owed)
    {
      look_at_clock_locked (self, waiter);
      count_overtaken_locked (self, waiter);
    }

  end_promise_locked (self, waiter, BUF_WAITER_ASLEEP);
  buf_waiter_tree_insert (&self->threads, waiter);
  self->has_impossible |= waiter->bytes > self->maximum;
}

static void
count_wait_locked (BufWaitQueue *self, BufWaiter *waiter)
{
  BufHistory *history = &self->history;

  waiter->waited = MAX (g_get_monotonic_time () - waiter->since, 1);
  BUF_PROBE4 (wait__end, waiter, waiter->bytes, waiter->outcome, waiter->waited);
  if (waiter->bytes == 0)
    return;

  waiter->end_served = self->n_served;
  if (self->watched && waiter->outcome == BUF_OUTCOME_GRANTED)
    waiter->end_served--; /* that was itself */
  memcpy (waiter->last, self->last, sizeof waiter->last);

  self->sum_since = (gint64) ((guint64) self->sum_since - (guint64) waiter->since);
  history->total_wait_time += waiter->waited;
  history->longest_wait = MAX (history->longest_wait, (guint64) waiter->waited);
}

static void
remove_locked (BufWaitQueue *self, BufWaiter *waiter)
{
  count_wait_locked (self, waiter);
  if (waiter->state != BUF_WAITER_ASLEEP)
    end_promise_locked (self, waiter, BUF_WAITER_ASLEEP);
  else if (waiter->bytes > 0)
    buf_waiter_tree_remove (get_tree (self, waiter), waiter);
  g_queue_unlink (waiter->list, &waiter->link);
  waiter->list = NULL;
  waiter->queue = NULL;
}

/* Settles the outcome, and takes the waiter out of its queue, if it is in one. */
void
buf_wait_queue_finish_locked (BufWaiter *waiter, BufOutcome outcome, BufReady *ready)
{
  g_assert (waiter->outcome == BUF_OUTCOME_PENDING);
  g_assert (outcome != BUF_OUTCOME_PENDING);

  waiter->outcome = outcome;
  if (waiter->queue != NULL)
    remove_locked (waiter->queue, waiter);

  if (waiter->complete == NULL)
    buf_wakeups_add_locked (&ready->wakeups, waiter->wakeup);
  else
    g_queue_push_tail_link (&ready->tasks, &waiter->link);
}

/* Whether another request may take @bytes, which are free, before the oldest waiter; and counts it
 * if so. */
static gboolean
overtake_locked (BufWaitQueue *self, BufWaiter *oldest, gint64 bytes)
{
  if (!oldest->owed)
    look_at_clock_locked (self, oldest);
  if (oldest->owed && bytes > self->free - oldest->bytes)
    return FALSE;

  self->history.n_overtakings++;
  if (oldest->owed)
    return TRUE; /* there is enough for both */

  count_overtaken_locked (self, oldest);
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

/* Whether @waiter, which may be NULL for a new request, would overtake @oldest. One that is late,
 * but runs now, may be older. */
static gboolean
overtakes (BufWaiter *waiter, BufWaiter *oldest)
{
  if (oldest == NULL || waiter == oldest)
    return FALSE;
  return waiter == NULL || waiter->queue == NULL || waiter->number > oldest->number;
}

/* The one place where free bytes are taken. @waiter may be NULL for a new request. */
gboolean
buf_wait_queue_take_locked (BufWaitQueue *self, BufWaiter *waiter, gint64 bytes)
{
  BufWaiter *oldest = get_oldest_locked (self);

  if (self->closed || bytes > self->free)
    return FALSE;
  if (overtakes (waiter, oldest) && !overtake_locked (self, oldest, bytes))
    return FALSE;

  self->free -= bytes;
  self->n_allocations++;
  self->n_taken++;
  if (waiter != NULL && waiter->pins)
    self->pinned += bytes;
  if (G_UNLIKELY (self->watched))
    note_served_locked (self, waiter, bytes);
  return TRUE;
}

static void
wake_locked (BufWaitQueue *self, BufWaiter *waiter, BufReady *ready)
{
  buf_waiter_tree_remove (&self->threads, waiter);
  buf_wakeups_add_locked (&ready->wakeups, waiter->wakeup);
  if (!self->promises)
    {
      waiter->state = BUF_WAITER_LATE;
      return;
    }

  waiter->state = BUF_WAITER_WOKEN;
  waiter->woken_since = g_get_monotonic_time ();
  g_queue_push_tail_link (&self->woken, &waiter->woken_link);
  self->promised += waiter->bytes;
  self->n_woken++;
}

/* Does nothing if the oldest waiter turns out to be owed its bytes by now. */
static void
grant_locked (BufWaitQueue *self, BufWaiter *waiter, BufReady *ready)
{
  if (!buf_wait_queue_take_locked (self, waiter, waiter->bytes))
    return;

  BUF_PROBE3 (grant, waiter, waiter->bytes, self->free);
  buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_GRANTED, ready);
}

/* A waiter that can never be served, or NULL. One that is woken finds out when it has run. */
static BufWaiter *
find_impossible_locked (BufWaitQueue *self)
{
  BufWaiter *waiter;

  if (self->closed)
    return peek_head (&self->waiters);

  waiter = buf_waiter_tree_find_above (&self->threads, self->maximum);
  if (waiter == NULL)
    waiter = buf_waiter_tree_find_above (&self->tasks, self->maximum);
  self->has_impossible = waiter != NULL;
  return waiter;
}

/* The waiter that the rule serves next, or NULL. */
static BufWaiter *
find_next_locked (BufWaitQueue *self)
{
  BufWaiter *oldest = get_oldest_locked (self);
  BufWaiter *thread = NULL, *task;
  gint64 unpromised = self->free - self->promised;

  if (oldest == NULL || (oldest->state == BUF_WAITER_ASLEEP && oldest->bytes <= self->free))
    return oldest;

  if (oldest->owed && oldest->state != BUF_WAITER_WOKEN)
    unpromised -= oldest->bytes;
  if (self->woken.length < BUF_WAIT_QUEUE_MAX_WOKEN)
    thread = buf_waiter_tree_find_first (&self->threads, unpromised);
  task = buf_waiter_tree_find_first (&self->tasks, unpromised);
  return get_older (thread, task);
}

static gboolean
serve_one_locked (BufWaitQueue *self, BufReady *ready)
{
  BufWaiter *waiter;

  if (G_UNLIKELY ((waiter = peek_head (&self->drained)) != NULL))
    buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_GRANTED, ready);
  else if (G_UNLIKELY (self->has_impossible) && (waiter = find_impossible_locked (self)) != NULL)
    {
      waiter->maximum = self->maximum;
      buf_wait_queue_finish_locked (waiter,
                                    self->closed ? BUF_OUTCOME_CLOSED : BUF_OUTCOME_TOO_LARGE,
                                    ready);
    }
  else if ((waiter = find_next_locked (self)) == NULL)
    return FALSE;
  else if (waiter->complete != NULL)
    grant_locked (self, waiter, ready);
  else
    wake_locked (self, waiter, ready);
  return TRUE;
}

/* Serves the waiters in their order, but no more than a batch of them. Returns whether all that the
 * rule allows was done. */
gboolean
buf_wait_queue_serve_locked (BufWaitQueue *self, BufReady *ready)
{
  for (guint i = 0; i < BUF_WAIT_QUEUE_BATCH; i++)
    if (!serve_one_locked (self, ready))
      return TRUE;
  return FALSE;
}

/* For good: all that wait fail. */
void
buf_wait_queue_close_locked (BufWaitQueue *self)
{
  self->closed = TRUE;
  self->has_impossible = TRUE;
}

/* Those that wait for more fail. */
void
buf_wait_queue_set_maximum_locked (BufWaitQueue *self, gint64 maximum)
{
  self->free += maximum - self->maximum;
  self->maximum = maximum;
  self->has_impossible = TRUE;
}

/* Nothing is outstanding but what is pinned. Those who wait for this are told, whatever happens
 * before it is their turn. */
void
buf_wait_queue_note_drained_locked (BufWaitQueue *self)
{
  GList *link = self->drainers.head;

  while (link != NULL)
    {
      BufWaiter *waiter = link->data;

      link = link->next;
      if (self->pinned > 0 && !waiter->spares_pinned)
        continue;

      g_queue_unlink (&self->drainers, &waiter->link);
      g_queue_push_tail_link (&self->drained, &waiter->link);
      waiter->list = &self->drained;
    }
}

static void
make_late_locked (BufWaitQueue *self, BufWaiter *waiter, BufReady *ready)
{
  end_promise_locked (self, waiter, BUF_WAITER_LATE);
  if (waiter->owed)
    waiter->patience = MIN (2 * waiter->patience, BUF_WAIT_QUEUE_MAX_OWED_PATIENCE);
  buf_wakeups_add_again_locked (&ready->wakeups, waiter->wakeup);
}

/* Makes those late that were woken too long ago, and the oldest owed if it was overtaken for too
 * long. */
void
buf_wait_queue_expire_locked (BufWaitQueue *self, gint64 now, BufReady *ready)
{
  GList *link = self->woken.head;
  BufWaiter *oldest;

  while (link != NULL)
    {
      BufWaiter *waiter = link->data;

      link = link->next;
      if (now - waiter->woken_since >= waiter->patience)
        make_late_locked (self, waiter, ready);
    }

  oldest = get_oldest_locked (self);
  if (is_being_overtaken (oldest) && now - oldest->overtaken_since >= self->overtaken_time)
    make_owed (oldest);
}

static gint64
get_end_of_promise (const GList *link)
{
  const BufWaiter *waiter = link->data;

  return waiter->woken_since + waiter->patience;
}

/* When there will be something to expire; G_MAXINT64: never. The last thread that was woken may be
 * less patient than the first. */
gint64
buf_wait_queue_get_next_time_locked (BufWaitQueue *self)
{
  BufWaiter *oldest = get_oldest_locked (self);
  gint64 next = G_MAXINT64;

  if (is_being_overtaken (oldest))
    next = oldest->overtaken_since + self->overtaken_time;
  if (self->woken.length > 0)
    {
      next = MIN (next, get_end_of_promise (self->woken.head));
      next = MIN (next, get_end_of_promise (self->woken.tail));
    }
  return next;
}

/* What has happened so far, including the waits in progress. */
void
buf_wait_queue_get_history_locked (BufWaitQueue *self, BufHistory *history)
{
  BufWaiter *first = peek_head (&self->waiters);
  gint64 now;

  *history = self->history;
  if (first == NULL)
    return;

  now = g_get_monotonic_time ();
  history->total_wait_time += self->waiters.length * (guint64) now - (guint64) self->sum_since;
  history->longest_wait = MAX (history->longest_wait, (guint64) (now - first->since));
}

gint64
buf_wait_queue_get_oldest_bytes_locked (BufWaitQueue *self)
{
  BufWaiter *oldest = peek_head (&self->waiters);

  return oldest != NULL ? oldest->bytes : 0;
}

/* Whether a waiter has waited for @threshold, or for twice as long as when this was found before.
 * Copies it. */
gboolean
buf_wait_queue_find_long_wait_locked (BufWaitQueue *self,
                                      gint64 threshold,
                                      gint64 now,
                                      BufWaiter *copy)
{
  for (GList *link = self->waiters.head; link != NULL; link = link->next)
    {
      BufWaiter *waiter = link->data;
      gint64 waited = now - waiter->since;

      if (waited < threshold)
        break; /* the younger ones have waited less */
      if (waited < 2 * waiter->noticed)
        continue;

      waiter->noticed = waited;
      *copy = *waiter;
      copy->waited = waited;
      copy->end_served = self->n_served;
      memcpy (copy->last, self->last, sizeof copy->last);
      return TRUE;
    }
  return FALSE;
}
