/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "stream/buf-cancel-watch-private.h"

/*
 * Notifies a waiting operation when its cancellable is cancelled.
 *
 * It uses no function of GCancellable that can block, for the reasons in buf-cancel-link.c. The
 * handler may still be running in another thread when the watch ends. Under the mutex, it then
 * finds no function to call.
 */

struct _BufCancelWatch
{
  gint ref_count; /* atomic; one for the handler while it is connected */
  GCancellable *cancellable;
  gulong handler;
  GMutex mutex;
  BufCancelWatchFunc function; /* LOCK: mutex; NULL after the watch has ended */
  gpointer data;               /* LOCK: mutex */
};

static void
watch_unref (BufCancelWatch *self)
{
  if (!g_atomic_int_dec_and_test (&self->ref_count))
    return;

  g_mutex_clear (&self->mutex);
  g_free (self);
}

static void
drop_watch_closure (gpointer data, GClosure *closure)
{
  watch_unref (data);
}

static void
on_watch_cancelled (GCancellable *cancellable, gpointer user_data)
{
  BufCancelWatch *self = user_data;

  g_mutex_lock (&self->mutex);
  if (self->function != NULL)
    self->function (self->data);
  g_mutex_unlock (&self->mutex);
}

/* Returns NULL if there is no cancellable. The caller checks afterwards whether it is cancelled. */
BufCancelWatch *
buf_cancel_watch_new (GCancellable *cancellable, BufCancelWatchFunc function, gpointer data)
{
  BufCancelWatch *self;

  if (cancellable == NULL)
    return NULL;

  self = g_new0 (BufCancelWatch, 1);
  self->ref_count = 2;
  self->cancellable = g_object_ref (cancellable);
  self->function = function;
  self->data = data;
  g_mutex_init (&self->mutex);
  self->handler = g_signal_connect_data (cancellable,
                                         "cancelled",
                                         G_CALLBACK (on_watch_cancelled),
                                         self,
                                         drop_watch_closure,
                                         0);
  return self;
}

/* Afterwards, the function is not running and is not called anymore. */
void
buf_cancel_watch_end (BufCancelWatch *self)
{
  if (self == NULL)
    return;

  g_mutex_lock (&self->mutex);
  self->function = NULL;
  g_mutex_unlock (&self->mutex);

  g_signal_handler_disconnect (self->cancellable, self->handler);
  g_clear_object (&self->cancellable);
  watch_unref (self);
}

/* The function is not called until the watch is unlocked. Another thread may end it meanwhile. The
 * watch may be NULL. */
void
buf_cancel_watch_lock (BufCancelWatch *self)
{
  if (self == NULL)
    return;

  g_atomic_int_inc (&self->ref_count);
  g_mutex_lock (&self->mutex);
}

void
buf_cancel_watch_unlock (BufCancelWatch *self)
{
  if (self == NULL)
    return;

  g_mutex_unlock (&self->mutex);
  watch_unref (self);
}
