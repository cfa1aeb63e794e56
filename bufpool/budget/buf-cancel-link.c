/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-cancel-link-private.h"

/*
 * What a waiting request shares with the handler of its cancellable, which may run in any thread.
 *
 * The handler withdraws the waiter, under the mutex of the link, between the begin and the end of
 * the link. So whoever has ended it may clear the waiter, and let the semaphore go. The mutex of
 * the link comes before that of the semaphore.
 *
 * No function of GCancellable that can block is used: not g_cancellable_connect() and not
 * g_cancellable_disconnect(). They wait for handlers that are running, and one of these may be
 * dropping the last reference on the pool, and so be waiting for this very request. Since GLib 2.82
 * they wait for a lock that is held while handlers run.
 *
 * No cancellation is missed: a cancellable is first marked as cancelled, and then emits its signal.
 * The link is connected before it looks at the mark, so either it sees the mark, or the handler
 * runs.
 *
 * The link holds no GObject, so the last reference on it, which may be dropped by the cancellable,
 * runs no code of others.
 */

struct _BufCancelLink
{
  gint ref_count; /* atomic; one for the handler, while it is connected */
  gulong handler; /* const */
  GMutex mutex;
  gboolean ended;          /* LOCK: mutex */
  BufSemaphore *semaphore; /* LOCK: mutex; NULL when there is nothing to withdraw */
  BufWaiter *waiter;       /* LOCK: mutex */
};

BufCancelLink *
buf_cancel_link_ref (BufCancelLink *self)
{
  g_atomic_int_inc (&self->ref_count);
  return self;
}

void
buf_cancel_link_unref (BufCancelLink *self)
{
  if (!g_atomic_int_dec_and_test (&self->ref_count))
    return;

  g_mutex_clear (&self->mutex);
  g_free (self);
}

static void
on_cancelled (GCancellable *cancellable, gpointer user_data)
{
  BufCancelLink *self = user_data;

  g_mutex_lock (&self->mutex);
  if (self->semaphore != NULL)
    buf_semaphore_withdraw (self->semaphore, self->waiter, BUF_OUTCOME_CANCELLED);
  g_mutex_unlock (&self->mutex);
}

static void
drop_closure (gpointer data, GClosure *closure)
{
  buf_cancel_link_unref (data);
}

/* Connected, but with nothing to withdraw yet. */
BufCancelLink *
buf_cancel_link_new (GCancellable *cancellable)
{
  BufCancelLink *self = g_new0 (BufCancelLink, 1);

  self->ref_count = 1;
  g_mutex_init (&self->mutex);
  self->handler = g_signal_connect_data (cancellable,
                                         "cancelled",
                                         G_CALLBACK (on_cancelled),
                                         buf_cancel_link_ref (self),
                                         drop_closure,
                                         0);
  return self;
}

/* From here on the waiter is withdrawn when it is cancelled. The waiter and the semaphore may be
 * gone already, but not before the link has ended. */
void
buf_cancel_link_begin (BufCancelLink *self,
                       GCancellable *cancellable,
                       BufSemaphore *semaphore,
                       BufWaiter *waiter)
{
  g_mutex_lock (&self->mutex);
  if (!self->ended)
    {
      self->semaphore = semaphore;
      self->waiter = waiter;
    }
  g_mutex_unlock (&self->mutex);

  if (g_cancellable_is_cancelled (cancellable))
    on_cancelled (cancellable, self);
}

/* Once. Afterwards the handler does not touch the waiter any more. */
void
buf_cancel_link_end (BufCancelLink *self, GCancellable *cancellable)
{
  g_mutex_lock (&self->mutex);
  self->ended = TRUE;
  self->semaphore = NULL;
  g_mutex_unlock (&self->mutex);

  g_signal_handler_disconnect (cancellable, self->handler);
}
