/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <string.h>

#include "semaphore/buf-wait-queue-private.h"

/*
 * What happens to the requests in a queue as time passes: promises end, the oldest becomes owed its
 * bytes, and long waits are found.
 */

static void
make_late_locked (BufWaitQueue *self, BufWaiter *waiter, BufReady *ready)
{
  buf_wait_queue_end_promise_locked (self, waiter, BUF_WAITER_LATE);
  if (waiter->owed)
    waiter->patience = MIN (2 * waiter->patience, BUF_WAIT_QUEUE_MAX_OWED_PATIENCE);
  buf_wakeups_add_again_locked (&ready->wakeups, waiter->wakeup);
}

/* Marks threads as late that were woken too long ago, and makes the oldest owed if it has been
 * overtaken for too long. */
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

  oldest = self->oldest;
  if (buf_wait_queue_is_being_overtaken (oldest) &&
      now - oldest->overtaken_since >= self->overtaken_time)
    buf_wait_queue_make_owed (oldest);
}

static gint64
get_end_of_promise (const GList *link)
{
  const BufWaiter *waiter = link->data;

  return waiter->woken_since + waiter->patience;
}

/* Returns when something will expire, or G_MAXINT64 for never. The last thread that was woken may
 * have less patience than the first. */
gint64
buf_wait_queue_get_next_time_locked (BufWaitQueue *self)
{
  BufWaiter *oldest = self->oldest;
  gint64 next = G_MAXINT64;

  if (buf_wait_queue_is_being_overtaken (oldest))
    next = oldest->overtaken_since + self->overtaken_time;
  if (self->woken.length > 0)
    {
      next = MIN (next, get_end_of_promise (self->woken.head));
      next = MIN (next, get_end_of_promise (self->woken.tail));
    }
  return next;
}

/* Returns whether a waiter at @level, or at any level if that is NULL, has waited for @threshold,
 * or for twice as long as when it was last found. Copies the waiter. */
gboolean
buf_wait_queue_find_long_wait_locked (BufWaitQueue *self,
                                      const BufLevel *level,
                                      gint64 threshold,
                                      gint64 now,
                                      BufWaiter *copy)
{
  for (GList *link = self->waiters.head; link != NULL; link = link->next)
    {
      BufWaiter *waiter = link->data;
      gint64 waited = now - waiter->since;

      if (waited < threshold)
        break; /* younger waiters have waited less */
      if (waited < 2 * waiter->noticed || (level != NULL && waiter->level != level))
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
