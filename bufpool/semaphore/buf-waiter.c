/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-waiter-private.h"

/*
 * A waiting request, and what remains to be done for it after the lock is unlocked.
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
    .want = BUF_WANT (bytes),
    .complete = complete,
    .outcome = BUF_OUTCOME_PENDING,
    .thread_id = buf_debug_get_thread_id (),
  };
  self->link.data = self;
  self->level_link.data = self;
  self->woken_link.data = self;
  if (complete == NULL)
    self->wakeup = buf_wakeup_new ();
}

void
buf_waiter_clear (BufWaiter *self)
{
  g_assert (self->level == NULL && self->list == NULL);

  g_clear_pointer (&self->wakeup, buf_wakeup_unref);
}
