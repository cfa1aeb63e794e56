/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-cancel-link-private.h"

/*
 * What a waiting request shares with what may end its wait from outside: the handler of its
 * cancellable, which may run in any thread, and, for a task, the source of its timeout.
 *
 * Both withdraw the waiter, under the mutex of the link, between the begin and the end of the link.
 * So after the end, the waiter may be cleared and the semaphore may go. The mutex of the link comes
 * before that of the semaphore.
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
 * The caller of begin and end holds a reference on the cancellable. The link holds none, so that
 * the last reference on it, which the cancellable may drop, runs no code of others.
 */

struct _BufCancelLink
{
  gint ref_count;            /* atomic; one for the handler and for the source, while they exist */
  GCancellable *cancellable; /* const; may be NULL; no reference */
  gulong handler;            /* const */
  GMutex mutex;
  gboolean ended;          /* LOCK: mutex */
  GSource *timeout;        /* LOCK: mutex; NULL when there is none */
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
withdraw (BufCancelLink *self, BufOutcome outcome)
{
  g_mutex_lock (&self->mutex);
  if (self->semaphore != NULL)
    buf_semaphore_withdraw (self->semaphore, self->waiter, outcome);
  g_mutex_unlock (&self->mutex);
}

static void
on_cancelled (GCancellable *cancellable, gpointer user_data)
{
  withdraw (user_data, BUF_OUTCOME_CANCELLED);
}

static gboolean
on_timeout (gpointer user_data)
{
  withdraw (user_data, BUF_OUTCOME_TIMED_OUT);
  return G_SOURCE_REMOVE;
}

static void
drop_closure (gpointer data, GClosure *closure)
{
  buf_cancel_link_unref (data);
}

/* Connected to the cancellable, which may be NULL, but with nothing to withdraw yet. */
BufCancelLink *
buf_cancel_link_new (GCancellable *cancellable)
{
  BufCancelLink *self = g_new0 (BufCancelLink, 1);

  self->ref_count = 1;
  self->cancellable = cancellable;
  g_mutex_init (&self->mutex);
  if (cancellable != NULL)
    self->handler = g_signal_connect_data (cancellable,
                                           "cancelled",
                                           G_CALLBACK (on_cancelled),
                                           buf_cancel_link_ref (self),
                                           drop_closure,
                                           0);
  return self;
}

/* From here on the waiter can be withdrawn. The waiter and the semaphore may be gone already, but
 * not before the link has ended. */
void
buf_cancel_link_begin (BufCancelLink *self, BufSemaphore *semaphore, BufWaiter *waiter)
{
  GCancellable *cancellable;

  g_mutex_lock (&self->mutex);
  if (!self->ended)
    {
      self->semaphore = semaphore;
      self->waiter = waiter;
    }
  cancellable = self->ended ? NULL : self->cancellable;
  g_mutex_unlock (&self->mutex);

  if (g_cancellable_is_cancelled (cancellable))
    withdraw (self, BUF_OUTCOME_CANCELLED);
}

/* The waiter is withdrawn after this time, by a source in @context. A negative timeout is no limit.
 */
void
buf_cancel_link_set_timeout (BufCancelLink *self, gint64 timeout_us, GMainContext *context)
{
  GSource *source;

  if (timeout_us < 0)
    return;

  source = g_timeout_source_new (0);
  g_source_set_ready_time (source,
                           g_get_monotonic_time () +
                               MIN (timeout_us, G_MAXINT64 - g_get_monotonic_time () - 1));
  g_source_set_callback (source,
                         on_timeout,
                         buf_cancel_link_ref (self),
                         (GDestroyNotify) buf_cancel_link_unref);
  g_source_set_static_name (source, "[libbufpool] timeout");

  g_mutex_lock (&self->mutex);
  if (!self->ended)
    {
      self->timeout = g_source_ref (source);
      g_source_attach (source, context);
    }
  g_mutex_unlock (&self->mutex);
  g_source_unref (source);
}

/* Once. Afterwards nothing touches the waiter any more. */
void
buf_cancel_link_end (BufCancelLink *self)
{
  GSource *timeout;

  g_mutex_lock (&self->mutex);
  self->ended = TRUE;
  self->semaphore = NULL;
  timeout = g_steal_pointer (&self->timeout);
  g_mutex_unlock (&self->mutex);

  if (timeout != NULL)
    {
      g_source_destroy (timeout);
      g_source_unref (timeout);
    }
  if (self->cancellable != NULL)
    g_signal_handler_disconnect (self->cancellable, self->handler);
}
