/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "stream/buf-poll-private.h"
#include "stream/buf-reader-core-private.h"

/*
 * Fetches the next block of a reader, for a thread and for a main loop.
 *
 * Blocks that were read ahead come first. If there are none, the operation reads itself. If the
 * stream can be polled, the operation waits for it without holding memory. The "pending" flag of
 * the stream is set during this wait, so that other code gets an error if it closes the stream or
 * reads from it. The operation allocates only when there is something to read. Any other stream
 * needs a block before it is known whether it has data. In a main loop, the operation then uses the
 * asynchronous read of the stream.
 * After the wait, the operation reads even if the stream does not report that it is readable: the
 * timeout of a socket ends the wait, and only a read reports it. A stream may report that it is
 * readable and then have no data. The operation polls it again after a pause, which grows.
 */

#define MAX_PAUSE 16 /* milliseconds */

/* Returns the next pause, in milliseconds. */
static guint
lengthen_pause (guint pause)
{
  return MIN (MAX (pause * 2, 1), MAX_PAUSE);
}

static gboolean
wait_until_readable (BufReaderCore *self, GCancellable *cancellable, GError **error)
{
  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  if (g_pollable_input_stream_is_readable (self->pollable))
    return TRUE;

  buf_poll_input (self->pollable, self->descriptor, cancellable);
  return !g_cancellable_set_error_if_cancelled (cancellable, error);
}

/* Returns whether @item is complete. Otherwise, the stream has no data after all. */
static gboolean
allocate_and_read (BufReaderCore *self, GCancellable *cancellable, BufReaderItem *item)
{
  BufPoolAllocation *allocation = buf_pool_try_allocate_pinned (self->pool, self->n_buffers, NULL);
  gboolean is_readable = allocation != NULL;

  /* If the refusal is permanent, the request reports the reason. */
  if (allocation == NULL)
    allocation = buf_pool_allocate_pinned (self->pool, self->n_buffers, cancellable, &item->error);
  return allocation == NULL ||
         buf_reader_core_read_once (self, allocation, is_readable, cancellable, item);
}

static void
read_polled (BufReaderCore *self, GCancellable *cancellable, BufReaderItem *item)
{
  guint pause = 0;

  if (!g_input_stream_set_pending (self->stream, &item->error))
    return;

  while (wait_until_readable (self, cancellable, &item->error) &&
         !allocate_and_read (self, cancellable, item))
    {
      pause = lengthen_pause (pause);
      g_usleep (pause * G_TIME_SPAN_MILLISECOND);
    }
  g_input_stream_clear_pending (self->stream);
}

static void
read_blocking (BufReaderCore *self, GCancellable *cancellable, BufReaderItem *item)
{
  if (self->pollable != NULL)
    read_polled (self, cancellable, item);
  else
    allocate_and_read (self, cancellable, item);
  buf_reader_core_end_read (self, item);
}

/* Returns NULL without an error at the end of the stream. */
GBytes *
buf_reader_core_fetch (BufReaderCore *self, GCancellable *cancellable, GError **error)
{
  BufReaderItem item = { NULL, NULL };
  BufTake take;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return NULL;

  take = buf_reader_core_take_waiting (self, cancellable, &item);
  if (take == BUF_TAKE_READ)
    read_blocking (self, cancellable, &item);
  else if (take == BUF_TAKE_WAIT)
    g_cancellable_set_error_if_cancelled (cancellable, &item.error);

  if (item.error != NULL)
    g_propagate_error (error, item.error);
  return item.bytes;
}

static gboolean
try_to_read (BufReaderCore *self, GCancellable *cancellable, BufReaderItem *item)
{
  BufPoolAllocation *allocation = buf_pool_try_allocate_pinned (self->pool, self->n_buffers, NULL);

  if (allocation != NULL)
    buf_reader_core_read_once (self, allocation, FALSE, cancellable, item);
  buf_reader_core_end_read (self, item);
  return allocation != NULL;
}

/* Like the above, but returns FALSE instead of waiting for memory. The stream cannot be polled. */
gboolean
buf_reader_core_try_fetch (BufReaderCore *self, GCancellable *cancellable, BufReaderItem *item)
{
  BufTake take;

  *item = (BufReaderItem){ NULL, NULL };
  if (g_cancellable_set_error_if_cancelled (cancellable, &item->error))
    return TRUE;

  take = buf_reader_core_take_waiting (self, cancellable, item);
  if (take == BUF_TAKE_READ)
    return try_to_read (self, cancellable, item);
  if (take == BUF_TAKE_WAIT)
    g_cancellable_set_error_if_cancelled (cancellable, &item->error);
  return TRUE;
}

/* The task data of a fetch in a main loop. */
typedef struct
{
  BufReaderCore *core;
  BufCancelWatch *watch;
  BufPoll poll;
  gboolean reads;                /* whether the operation itself reads from the stream */
  gboolean pending;              /* whether the operation has set the flag of the stream */
  guint pause;                   /* milliseconds */
  BufPoolAllocation *allocation; /* the allocation to read into */
} Fetch;

static void
fetch_free (gpointer data)
{
  Fetch *self = data;

  g_assert (self->watch == NULL && self->poll.source == NULL && self->allocation == NULL);

  buf_reader_core_unref (self->core);
  g_free (self);
}

/* The result. If it is not fetched, the block comes next. */
typedef struct
{
  BufReaderCore *core;
  GBytes *bytes;
} Fetched;

static void
fetched_free (gpointer data)
{
  Fetched *self = data;

  if (self->bytes != NULL)
    buf_reader_core_put_back (self->core, self->bytes);
  buf_reader_core_unref (self->core);
  g_free (self);
}

static void
return_bytes (GTask *task, BufReaderCore *core, GBytes *bytes)
{
  Fetched *fetched = g_new (Fetched, 1);

  fetched->core = buf_reader_core_ref (core);
  fetched->bytes = bytes;
  g_task_return_pointer (task, fetched, fetched_free);
}

/* Takes ownership of the item. */
static void
settle (GTask *task, const BufReaderItem *item)
{
  Fetch *self = g_task_get_task_data (task);

  if (self->pending)
    g_input_stream_clear_pending (self->core->stream);
  if (self->reads)
    buf_reader_core_end_read (self->core, item);
  buf_cancel_watch_end (g_steal_pointer (&self->watch));

  if (item->error != NULL)
    g_task_return_error (task, item->error);
  else if (item->bytes != NULL)
    return_bytes (task, self->core, item->bytes);
  else
    g_task_return_pointer (task, NULL, NULL);
}

static gboolean
settle_if_cancelled (GTask *task)
{
  BufReaderItem item = { NULL, NULL };

  if (!g_cancellable_set_error_if_cancelled (g_task_get_cancellable (task), &item.error))
    return FALSE;

  settle (task, &item);
  return TRUE;
}

static void poll_for (GTask *task);

static gboolean
on_pause_over (gpointer user_data)
{
  poll_for (user_data);
  return G_SOURCE_REMOVE;
}

static void
pause_for (GTask *task)
{
  Fetch *self = g_task_get_task_data (task);
  g_autoptr (GSource) source = NULL;

  self->pause = lengthen_pause (self->pause);
  source = g_timeout_source_new (self->pause);
  g_source_set_priority (source, g_task_get_priority (task));
  g_source_set_callback (source, on_pause_over, g_object_ref (task), g_object_unref);
  g_source_attach (source, g_task_get_context (task));
}

static void
on_block_read (GObject *stream, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  Fetch *self = g_task_get_task_data (task);
  GError *error = NULL;
  gssize n_read = g_input_stream_read_finish (G_INPUT_STREAM (stream), result, &error);
  BufReaderItem item;

  item = buf_reader_core_make_item (self->core, g_steal_pointer (&self->allocation), n_read, error);
  settle (task, &item);
}

/* Takes ownership of the allocation. */
static void
read_for (GTask *task, BufPoolAllocation *allocation, gboolean is_readable)
{
  Fetch *self = g_task_get_task_data (task);
  GCancellable *cancellable = g_task_get_cancellable (task);
  BufReaderItem item;

  if (self->core->pollable == NULL)
    {
      self->allocation = allocation;
      g_input_stream_read_async (self->core->stream,
                                 buf_pool_allocation_get_first (allocation),
                                 buf_pool_allocation_get_allocated_bytes (allocation),
                                 g_task_get_priority (task),
                                 cancellable,
                                 on_block_read,
                                 g_object_ref (task));
    }
  else if (buf_reader_core_read_once (self->core, allocation, is_readable, cancellable, &item))
    settle (task, &item);
  else
    pause_for (task);
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  BufReaderItem item = { NULL, NULL };
  BufPoolAllocation *allocation =
      buf_pool_allocate_pinned_finish (BUF_POOL (pool), result, &item.error);

  if (allocation == NULL)
    settle (task, &item);
  else
    read_for (task, allocation, FALSE);
}

static void
allocate_for (GTask *task, gboolean is_readable)
{
  BufReaderCore *core = ((Fetch *) g_task_get_task_data (task))->core;
  BufPoolAllocation *allocation = buf_pool_try_allocate_pinned (core->pool, core->n_buffers, NULL);

  /* If the refusal is permanent, the request reports the reason. */
  if (allocation != NULL)
    read_for (task, allocation, is_readable);
  else
    buf_pool_allocate_pinned_async (core->pool,
                                    core->n_buffers,
                                    g_task_get_priority (task),
                                    g_task_get_cancellable (task),
                                    on_allocated,
                                    g_object_ref (task));
}

/* The callbacks of other sources may have run since the stream was polled, so the read polls it
 * again. */
static gboolean
on_polled (GObject *stream, gpointer user_data)
{
  Fetch *self = g_task_get_task_data (user_data);

  buf_poll_end (&self->poll);
  if (!settle_if_cancelled (user_data))
    allocate_for (user_data, FALSE);
  return G_SOURCE_REMOVE;
}

static void
poll_for (GTask *task)
{
  Fetch *self = g_task_get_task_data (task);

  if (settle_if_cancelled (task))
    return;
  if (g_pollable_input_stream_is_readable (self->core->pollable))
    allocate_for (task, TRUE);
  else
    buf_poll_begin (&self->poll,
                    g_pollable_input_stream_create_source (self->core->pollable, NULL),
                    task,
                    on_polled,
                    g_task_get_cancellable (task));
}

static void
begin_to_read (GTask *task)
{
  Fetch *self = g_task_get_task_data (task);
  BufReaderItem item = { NULL, NULL };

  self->reads = TRUE;
  if (self->core->pollable == NULL)
    {
      allocate_for (task, FALSE);
      return;
    }

  self->pending = g_input_stream_set_pending (self->core->stream, &item.error);
  if (self->pending)
    poll_for (task);
  else
    settle (task, &item);
}

static gboolean
look (gpointer user_data)
{
  GTask *task = user_data;
  Fetch *self = g_task_get_task_data (task);
  BufReaderItem item = { NULL, NULL };
  BufTake take;

  if (settle_if_cancelled (task))
    return G_SOURCE_REMOVE;

  take = buf_reader_core_take (self->core, &item);
  if (take == BUF_TAKE_WAIT)
    {
      if (self->watch == NULL)
        self->watch =
            buf_cancel_watch_new (g_task_get_cancellable (task), buf_reader_core_wake, self->core);
      take = buf_reader_core_take_or_attach (self->core, task, look, &item);
    }

  if (take == BUF_TAKE_ITEM)
    settle (task, &item);
  else if (take == BUF_TAKE_READ)
    begin_to_read (task);
  return G_SOURCE_REMOVE;
}

/* Returns the next block as the result of a task, and sets the task data.
 * buf_reader_core_fetch_finish() fetches the result. */
void
buf_reader_core_fetch_for (BufReaderCore *self, GTask *task)
{
  Fetch *fetch = g_new0 (Fetch, 1);

  fetch->core = buf_reader_core_ref (self);
  g_task_set_task_data (task, fetch, fetch_free);
  g_task_set_check_cancellable (task, FALSE);
  look (task);
}

void
buf_reader_core_fetch_async (BufReaderCore *self,
                             int io_priority,
                             GCancellable *cancellable,
                             GAsyncReadyCallback callback,
                             gpointer user_data)
{
  g_autoptr (GTask) task = g_task_new (NULL, cancellable, callback, user_data);

  (g_task_set_source_tag) (task, buf_reader_core_fetch_async);
  g_task_set_priority (task, io_priority);
  buf_reader_core_fetch_for (self, task);
}

/* A block that arrives after the request was cancelled is kept for the next request. */
GBytes *
buf_reader_core_fetch_finish (GAsyncResult *result, GError **error)
{
  GCancellable *cancellable = g_task_get_cancellable (G_TASK (result));
  Fetched *fetched = g_task_propagate_pointer (G_TASK (result), error);
  GBytes *bytes = NULL;

  if (fetched == NULL)
    return NULL;

  if (!g_cancellable_set_error_if_cancelled (cancellable, error))
    bytes = g_steal_pointer (&fetched->bytes);
  fetched_free (fetched);
  return bytes;
}
