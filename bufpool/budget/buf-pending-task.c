/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-pending-task-private.h"

/*
 * A task whose request waits: a node in the same queue as the waiting threads.
 *
 * The thread that settles the outcome, a releaser or a canceller, only attaches a source to the
 * context of the task. Everything else happens when that source is dispatched. So no user callback
 * runs inside a release, and a releaser never touches a cancellable and never drops a reference on
 * an object. Until then, there is no source, except for a timeout, so waiting requests do not slow
 * down the main loop.
 *
 * A pending task belongs to the wait, and then to the source that delivers the result. The source
 * is freed with the pending task, before the task, which holds the context. Freeing a source
 * accesses its context, and the thread that attached the source cannot know whether the context
 * still exists.
 *
 * A task holds its context, and a source that has not been dispatched holds its task. So if a
 * context is abandoned and never iterated again, the request keeps the bytes it was granted. This
 * is true for every GTask.
 */

static void
stop_watching (BufPendingTask *self)
{
  if (self->link == NULL)
    return;

  buf_cancel_link_end (self->link);
  g_clear_pointer (&self->link, buf_cancel_link_unref);
}

static void
buf_pending_task_free (BufPendingTask *self)
{
  stop_watching (self);
  g_clear_pointer (&self->deliver_source, g_source_unref);
  buf_waiter_clear (&self->waiter);
  if (self->clear != NULL)
    self->clear (self, self->waiter.outcome);
  g_object_unref (self->task);
  g_free (self);
}

static gboolean
on_deliver (gpointer user_data)
{
  BufPendingTask *self = user_data;

  stop_watching (self);
  self->deliver (self, self->waiter.outcome);
  return G_SOURCE_REMOVE;
}

/* After the last line, everything may be gone. */
static void
on_settled (BufWaiter *waiter)
{
  BufPendingTask *self = (BufPendingTask *) waiter;
  GSource *source = g_idle_source_new ();

  self->deliver_source = source;
  g_source_set_priority (source, g_task_get_priority (self->task));
  g_source_set_callback (source, on_deliver, self, (GDestroyNotify) buf_pending_task_free);
  g_source_set_static_name (source, "[libbufpool] deliver");
  g_source_attach (source, g_task_get_context (self->task));
}

/* @self is filled with zeros. Takes ownership of the reference on @task. */
void
buf_pending_task_init (BufPendingTask *self,
                       GTask *task,
                       const BufWant *want,
                       BufPendingTaskFunc deliver)
{
  buf_waiter_init (&self->waiter, want->bytes, on_settled);
  self->waiter.want = *want;
  self->task = task;
  self->deliver = deliver;
}

/* Makes the task wait for its bytes; for no bytes, until nothing is outstanding. Once it is in the
 * queue, the context may run in another thread and free everything. A negative timeout means no
 * limit. */
void
buf_pending_task_wait (BufPendingTask *self, BufSemaphore *semaphore, gint64 timeout_us)
{
  GCancellable *cancellable = g_task_get_cancellable (self->task);
  GMainContext *context = g_task_get_context (self->task);
  BufCancelLink *link;

  if (cancellable == NULL && timeout_us < 0)
    {
      buf_semaphore_enqueue (semaphore, &self->waiter);
      return;
    }

  g_main_context_ref (context);
  link = buf_cancel_link_new (cancellable);
  self->link = buf_cancel_link_ref (link);
  buf_semaphore_enqueue (semaphore, &self->waiter);
  buf_cancel_link_begin (link, semaphore, &self->waiter);
  buf_cancel_link_set_timeout (link, timeout_us, context);
  buf_cancel_link_unref (link);
  g_main_context_unref (context);
}
