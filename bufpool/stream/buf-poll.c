/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "stream/buf-descriptor-private.h"
#include "stream/buf-poll-private.h"

/*
 * Waits for a stream that can be polled, in a thread or in a main loop.
 *
 * The source of the stream is created without the cancellable. GIO's source for a cancellable can
 * block when it is freed, and leaks if it is cancelled at that moment in a context that is no
 * longer iterated. Instead, a watch makes the source of the stream ready, so that it is dispatched.
 */

static void
make_ready (gpointer data)
{
  g_source_set_ready_time (data, 0);
}

/* The watch is locked meanwhile: until it is attached, nothing else guards the source against the
 * handler. After this the poll may have ended, in the thread that iterates the context. */
static void
begin (BufPoll *self, GSource *source, GMainContext *context, GCancellable *cancellable)
{
  BufCancelWatch *watch = buf_cancel_watch_new (cancellable, make_ready, source);

  self->source = source;
  self->watch = watch;
  buf_cancel_watch_lock (watch);
  if (g_cancellable_is_cancelled (cancellable))
    make_ready (source);
  g_source_attach (source, context);
  buf_cancel_watch_unlock (watch);
}

/* Takes ownership of the source. In the context of the task, it calls @function with the task once,
 * when the stream is ready or the cancellable is cancelled. That ends the poll. */
void
buf_poll_begin (BufPoll *self,
                GSource *source,
                GTask *task,
                GPollableSourceFunc function,
                GCancellable *cancellable)
{
  g_source_set_priority (source, g_task_get_priority (task));
  g_source_set_callback (source, G_SOURCE_FUNC (function), g_object_ref (task), g_object_unref);
  begin (self, source, g_task_get_context (task), cancellable);
}

void
buf_poll_end (BufPoll *self)
{
  buf_cancel_watch_end (g_steal_pointer (&self->watch));
  g_source_destroy (self->source);
  g_clear_pointer (&self->source, g_source_unref);
}

static gboolean
on_ready (GObject *stream, gpointer user_data)
{
  gboolean *fired = user_data;

  *fired = TRUE;
  return G_SOURCE_REMOVE;
}

/* Takes ownership of the source. Uses a private context, because the thread may have no context, or
 * its context must not be iterated here. */
static void
iterate_until_ready (GSource *source, GCancellable *cancellable)
{
  GMainContext *context = g_main_context_new ();
  gboolean fired = FALSE;
  BufPoll poll;

  g_source_set_callback (source, G_SOURCE_FUNC (on_ready), &fired, NULL);
  begin (&poll, source, context, cancellable);
  while (!fired)
    g_main_context_iteration (context, TRUE);
  buf_poll_end (&poll);
  g_main_context_unref (context);
}

/* Blocks until the stream is readable or the cancellable is cancelled. */
void
buf_poll_input (GPollableInputStream *stream, gint descriptor, GCancellable *cancellable)
{
  if (!buf_descriptor_wait (descriptor, stream, G_IO_IN, cancellable))
    iterate_until_ready (g_pollable_input_stream_create_source (stream, NULL), cancellable);
}

/* Blocks until the stream is writable or the cancellable is cancelled. */
void
buf_poll_output (GPollableOutputStream *stream, gint descriptor, GCancellable *cancellable)
{
  if (!buf_descriptor_wait (descriptor, stream, G_IO_OUT, cancellable))
    iterate_until_ready (g_pollable_output_stream_create_source (stream, NULL), cancellable);
}
