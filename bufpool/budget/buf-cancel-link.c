/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-cancel-link-private.h"

/*
 * The state that a waiting request shares with whatever may end its wait from outside: the handler
 * of its cancellable, which may run in any thread, and, for a task, the source of its timeout.
 *
 * Both withdraw the waiter under the mutex of the link, between the begin and the end of the link.
 * After the end, the waiter may be cleared and the semaphore may be freed. The mutex of the link is
 * locked before that of the semaphore.
 *
 * The link uses no function of GCancellable that can block: neither g_cancellable_connect() nor
 * g_cancellable_disconnect(). They wait for running handlers, and such a handler may be dropping
 * the last reference on the pool, and so wait for this very request. Since GLib 2.82, they wait for
 * a lock that is held while handlers run.
 *
 * No cancellation is missed. A cancellable is marked as cancelled before it emits its signal, and
 * the link connects before it reads the mark. So either the link sees the mark, or the handler
 * runs.
 *
 * The caller of begin and end holds a reference on the cancellable. The link holds none, so that
 * its last unref, which the cancellable may perform, runs no foreign code.
 */

struct _BufCancelLink
{
  gint ref_count;            /* atomic; one each for the handler and the source while they exist */
  GCancellable *cancellable; /* const; may be NULL; not a reference */
  gulong handler;            /* const */
  GMutex mutex;
  gboolean ended;          /* LOCK: mutex */
  GSource *timeout;        /* LOCK: mutex; NULL if there is no timeout */
  BufSemaphore *semaphore; /* LOCK: mutex; NULL if there is nothing to withdraw */
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

/* Creates a link that is connected to @cancellable, which may be NULL. There is nothing to withdraw
 * yet. */
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

/* From here on, the waiter can be withdrawn. The waiter and the semaphore may already be gone, but
 * not before the link ends. */
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

/* Makes a source in @context withdraw the waiter after the timeout. A negative timeout means no
 * limit. */
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

/* Called once. Afterwards, nothing accesses the waiter through the link. */
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
