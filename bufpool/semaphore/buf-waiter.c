/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <string.h>

#include "semaphore/buf-waiter-private.h"

/*
 * The queue of those who wait for budget, and the rule by which they are served.
 *
 * Words: the *free* bytes are what may be taken here. A waiter *takes* when it removes bytes from
 * free itself; it is *granted* when another does that for it. To *overtake* is to take, or to be
 * granted, while an older waiter stands at the head. A waiter is *woken* when its thread was, or
 * is about to be, told to come and take, but nothing was set aside for it.
 *
 * A thread is normally woken and not granted: until it has been scheduled, others may come and
 * take, so that free bytes are never idle for the time of a context switch. The head counts each
 * time that happens. Once it was overtaken BUF_WAITER_MAX_OVERTAKEN times it is *owed*: only the
 * head may take, and it is granted as soon as its bytes are there. A task is always granted.
 *
 * Invariant, whenever the lock is dropped after serving: each waiter that would fit in the free
 * bytes, less those of the waiters before it that have been woken, has been woken itself; unless
 * the head is owed and does not fit, or BUF_WAITER_MAX_WOKEN threads are awake already. So no
 * waiter sleeps that the rule would let take: a woken waiter that takes, cannot take any more, or
 * leaves, serves the queue again, and those behind it get their turn.
 *
 * The limit on those awake keeps a release short that serves thousands of threads: it wakes a few,
 * and each of them wakes the next.
 */

void
buf_ready_init (BufReady *self)
{
  self->wakeups.n = 0;
  g_queue_init (&self->tasks);
}

/* Called without the lock. */
void
buf_ready_complete (BufReady *self)
{
  GList *link;

  buf_wakeups_signal_all (&self->wakeups);
  while ((link = g_queue_pop_head_link (&self->tasks)) != NULL)
    {
      BufWaiter *waiter = link->data;

      waiter->complete (waiter);
    }
}

void
buf_waiter_init (BufWaiter *self, gint64 bytes, BufWaiterFunc complete)
{
  *self = (BufWaiter){
    .bytes = bytes,
    .complete = complete,
    .outcome = BUF_OUTCOME_PENDING,
    .thread_id = buf_debug_get_thread_id (),
  };
  self->link.data = self;
  if (complete == NULL)
    self->wakeup = buf_wakeup_new ();
}

void
buf_waiter_clear (BufWaiter *self)
{
  g_assert (self->queue == NULL);

  g_clear_pointer (&self->wakeup, buf_wakeup_unref);
}

static GQueue *
get_list (BufWaiter *self)
{
  return self->bytes > 0 ? &self->queue->waiters : &self->queue->drainers;
}

/* Returns whether the waiter is to try now, once. */
gboolean
buf_waiter_was_woken_locked (BufWaiter *self)
{
  if (!self->woken)
    return FALSE;

  self->woken = FALSE;
  self->queue->n_woken--;
  return TRUE;
}

static void
count_wait_locked (BufWaiter *self)
{
  BufHistory *history;

  if (self->queue == NULL)
    return;

  self->waited = MAX (g_get_monotonic_time () - self->since, 1);
  BUF_PROBE4 (wait__end, self, self->bytes, self->outcome, self->waited);
  if (self->bytes == 0)
    return;

  self->end_served = self->queue->n_served;
  if (self->queue->watched && self->outcome == BUF_OUTCOME_GRANTED)
    self->end_served--; /* that was itself */
  memcpy (self->last, self->queue->last, sizeof self->last);

  history = &self->queue->history;
  history->total_wait_time += self->waited;
  history->longest_wait = MAX (history->longest_wait, (guint64) self->waited);
}

/* Settles the outcome and takes the waiter out of its queue. */
void
buf_waiter_finish_locked (BufWaiter *self, BufOutcome outcome, BufReady *ready)
{
  g_assert (self->outcome == BUF_OUTCOME_PENDING);
  g_assert (outcome != BUF_OUTCOME_PENDING);

  self->outcome = outcome;
  buf_waiter_was_woken_locked (self);
  count_wait_locked (self);
  if (self->queue != NULL)
    g_queue_unlink (get_list (self), &self->link);
  self->queue = NULL;

  if (self->complete == NULL)
    buf_wakeups_add_locked (&ready->wakeups, self->wakeup);
  else
    g_queue_push_tail_link (&ready->tasks, &self->link);
}

static BufWaiter *
get_head_locked (BufWaiterQueue *self)
{
  return g_queue_peek_head (&self->waiters);
}

static gboolean
is_owed_locked (BufWaiter *head)
{
  return head->overtaken >= BUF_WAITER_MAX_OVERTAKEN;
}

void
buf_waiter_queue_init (BufWaiterQueue *self, gint64 free)
{
  *self = (BufWaiterQueue){ .free = free, .smallest = G_MAXINT64 };
}

void
buf_waiter_queue_push_locked (BufWaiterQueue *self, BufWaiter *waiter)
{
  g_assert (waiter->queue == NULL);

  waiter->queue = self;
  waiter->since = g_get_monotonic_time ();
  waiter->first_served = self->n_served;
  g_queue_push_tail_link (get_list (waiter), &waiter->link);
  BUF_PROBE2 (wait__begin, waiter, waiter->bytes);
  if (waiter->bytes == 0)
    return;

  self->smallest = MIN (self->smallest, waiter->bytes);
  self->history.n_waits++;
}

static void
note_served_locked (BufWaiterQueue *self, BufWaiter *waiter, gint64 bytes)
{
  self->last[self->n_served++ % BUF_WAITER_N_SERVED] = (BufServed){
    .bytes = bytes,
    .thread_id = waiter != NULL ? waiter->thread_id : buf_debug_get_thread_id (),
  };
}

/* The one place where free bytes become somebody's. @waiter may be NULL for a newcomer. */
gboolean
buf_waiter_queue_take_locked (BufWaiterQueue *self, BufWaiter *waiter, gint64 bytes)
{
  BufWaiter *head = get_head_locked (self);

  if (bytes > self->free)
    return FALSE;

  if (head != NULL && head != waiter)
    {
      if (is_owed_locked (head))
        return FALSE;
      head->overtaken++;
      self->history.n_overtakings++;
      self->history.most_overtaken = MAX (self->history.most_overtaken, head->overtaken);
    }

  self->free -= bytes;
  self->n_allocations++;
  if (waiter != NULL && waiter->pins)
    self->pinned += bytes;
  if (G_UNLIKELY (self->watched))
    note_served_locked (self, waiter, bytes);
  return TRUE;
}

static void
wake_locked (BufWaiter *waiter, BufReady *ready)
{
  if (waiter->woken)
    return;

  waiter->woken = TRUE;
  waiter->queue->n_woken++;
  buf_wakeups_add_locked (&ready->wakeups, waiter->wakeup);
}

/* Whether the rule lets the waiter take, if it fits. */
static gboolean
has_turn_locked (BufWaiterQueue *self, BufWaiter *waiter)
{
  BufWaiter *head = get_head_locked (self);

  return waiter == head || (!is_owed_locked (head) && self->n_woken < BUF_WAITER_MAX_WOKEN);
}

/* Grants or wakes all that the rule allows, in their order. */
void
buf_waiter_queue_serve_locked (BufWaiterQueue *self, BufReady *ready)
{
  gint64 unpromised = self->free;
  gint64 smallest = G_MAXINT64;
  GList *link = self->waiters.head;

  while (link != NULL && unpromised >= self->smallest)
    {
      BufWaiter *waiter = link->data;

      link = link->next;
      if (!has_turn_locked (self, waiter))
        return;

      if (waiter->bytes > unpromised)
        smallest = MIN (smallest, waiter->bytes);
      else
        {
          unpromised -= waiter->bytes;
          if (waiter->complete != NULL || is_owed_locked (waiter))
            {
              gboolean taken = buf_waiter_queue_take_locked (self, waiter, waiter->bytes);

              g_assert (taken);
              BUF_PROBE3 (grant, waiter, waiter->bytes, self->free);
              buf_waiter_finish_locked (waiter, BUF_OUTCOME_GRANTED, ready);
            }
          else
            {
              smallest = MIN (smallest, waiter->bytes);
              wake_locked (waiter, ready);
            }
        }
    }

  if (link == NULL)
    self->smallest = smallest;
}

/* Nothing is outstanding but what is pinned. */
void
buf_waiter_queue_free_drainers_locked (BufWaiterQueue *self, BufReady *ready)
{
  GList *link = self->drainers.head;

  while (link != NULL)
    {
      BufWaiter *waiter = link->data;

      link = link->next;
      if (self->pinned == 0 || waiter->spares_pinned)
        buf_waiter_finish_locked (waiter, BUF_OUTCOME_GRANTED, ready);
    }
}

/* Fails each waiter that asks for more than @maximum bytes. */
void
buf_waiter_queue_fail_locked (BufWaiterQueue *self,
                              gint64 maximum,
                              BufOutcome outcome,
                              BufReady *ready)
{
  GList *link = self->waiters.head;

  while (link != NULL)
    {
      BufWaiter *waiter = link->data;

      link = link->next;
      if (waiter->bytes <= maximum)
        continue;

      waiter->maximum = maximum;
      buf_waiter_finish_locked (waiter, outcome, ready);
    }
}
