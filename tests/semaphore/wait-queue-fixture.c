/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "semaphore/wait-queue-fixture.h"

/* The linker replaces GLib's clock, because a test could be interrupted for longer than a promise
 * lasts. */
static gint64 time_of_fixture;

gint64 __wrap_g_get_monotonic_time (void);

gint64
__wrap_g_get_monotonic_time (void)
{
  return time_of_fixture;
}

/* Lets time pass, and returns the new one. */
gint64
fixture_pass (gint64 microseconds)
{
  time_of_fixture += microseconds;
  return time_of_fixture;
}

/* What the queue remembers is what a search would find. */
void
fixture_assert_oldest (const BufWaitQueue *queue)
{
  GList *link = queue->waiters.head;

  while (link != NULL && queue->promises && ((BufWaiter *) link->data)->state == BUF_WAITER_LATE)
    link = link->next;
  g_assert_true (queue->oldest == (link != NULL ? link->data : NULL));
}

/* The watcher looks before something expires. */
static void
check_remembered (Fixture *self)
{
  gint64 next = buf_wait_queue_get_next_time_locked (&self->queue);

  fixture_assert_oldest (&self->queue);
  if (self->queue.sooner)
    self->due = MIN (self->due, next);
  self->queue.sooner = FALSE;
  g_assert_cmpint (self->due, <=, next);
}

void
fixture_set_up (Fixture *self, gconstpointer data)
{
  time_of_fixture = G_TIME_SPAN_DAY;
  buf_wait_queue_init (&self->queue, &self->level, NULL);
  buf_level_init (&self->level, &self->queue, NULL, MAXIMUM);
  buf_wait_queue_set_promises_locked (&self->queue, TRUE);
  buf_ready_init (&self->ready);
  self->due = G_MAXINT64;
  self->waiters = g_ptr_array_new ();
}

void
fixture_tear_down (Fixture *self, gconstpointer data)
{
  for (guint i = 0; i < self->waiters->len; i++)
    {
      BufWaiter *waiter = self->waiters->pdata[i];

      if (waiter->outcome == BUF_OUTCOME_PENDING)
        buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_CANCELLED, &self->ready);
    }
  buf_ready_complete (&self->ready);
  g_assert_cmpint (self->level.promised, ==, 0);
  g_assert_cmpint (self->level.sum_since, ==, 0);
  for (guint kind = 0; kind < BUF_WAITERS_N_KINDS; kind++)
    g_assert_null (self->level.asleep[kind].root);
  g_assert_cmpuint (self->level.n_waiting, ==, 0);
  for (guint i = 0; i < self->waiters->len; i++)
    {
      buf_waiter_clear (self->waiters->pdata[i]);
      g_free (self->waiters->pdata[i]);
    }
  g_ptr_array_unref (self->waiters);
}

static void
ignore (BufWaiter *waiter)
{
}

static BufWaiter *
push (Fixture *self, BufLevel *level, gint64 bytes, gint priority, BufWaiterFunc complete)
{
  BufWaiter *waiter = g_new (BufWaiter, 1);

  buf_waiter_init (waiter, bytes, complete);
  waiter->want.priority = priority;
  g_ptr_array_add (self->waiters, waiter);
  buf_wait_queue_push_locked (level, waiter);
  check_remembered (self);
  return waiter;
}

BufWaiter *
fixture_push_thread (Fixture *self, gint64 bytes)
{
  return push (self, &self->level, bytes, G_PRIORITY_DEFAULT, NULL);
}

/* @level is a child of the level of the fixture. */
BufWaiter *
fixture_push_thread_at (Fixture *self, BufLevel *level, gint64 bytes)
{
  return push (self, level, bytes, G_PRIORITY_DEFAULT, NULL);
}

BufWaiter *
fixture_push_urgent_thread (Fixture *self, gint64 bytes)
{
  return push (self, &self->level, bytes, G_PRIORITY_HIGH, NULL);
}

BufWaiter *
fixture_push_task (Fixture *self, gint64 bytes)
{
  return push (self, &self->level, bytes, G_PRIORITY_DEFAULT, ignore);
}

gboolean
fixture_try (Fixture *self, gint64 bytes)
{
  BufWant want = BUF_WANT (bytes);
  gboolean taken = buf_wait_queue_take_locked (&self->level, NULL, &want);

  check_remembered (self);
  return taken;
}

void
fixture_take (Fixture *self, gint64 bytes)
{
  g_assert_true (fixture_try (self, bytes));
}

void
fixture_release (Fixture *self, gint64 bytes)
{
  self->level.free += bytes;
  g_assert_true (buf_wait_queue_serve_locked (&self->queue, &self->ready));
  check_remembered (self);
}

/* Runs a woken thread. Returns whether it could take its bytes. */
gboolean
fixture_run (Fixture *self, BufWaiter *waiter)
{
  gboolean taken = buf_wait_queue_take_locked (&self->level, waiter, &waiter->want);

  g_assert_cmpint (waiter->state, !=, BUF_WAITER_ASLEEP);
  if (taken)
    buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_GRANTED, &self->ready);
  else
    buf_wait_queue_rejoin_locked (waiter);
  g_assert_true (buf_wait_queue_serve_locked (&self->queue, &self->ready));
  check_remembered (self);
  return taken;
}

void
fixture_let_time_pass (Fixture *self, gint64 microseconds)
{
  buf_wait_queue_expire_locked (&self->queue, fixture_pass (microseconds), &self->ready);
  g_assert_true (buf_wait_queue_serve_locked (&self->queue, &self->ready));
  self->due = G_MAXINT64;
  self->queue.sooner = TRUE;
  check_remembered (self);
}

/* The waiter, which has a deadline or was cancelled, leaves. */
void
fixture_leave (Fixture *self, BufWaiter *waiter)
{
  buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_CANCELLED, &self->ready);
  g_assert_true (buf_wait_queue_serve_locked (&self->queue, &self->ready));
  check_remembered (self);
}

/* Other requests take and release bytes until the oldest is owed. */
void
fixture_overtake (Fixture *self, guint n)
{
  for (guint i = 0; i < n; i++)
    {
      fixture_take (self, 1);
      fixture_release (self, 1);
    }
}
