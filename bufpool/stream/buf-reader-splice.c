/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "stream/buf-descriptor-private.h"
#include "stream/buf-poll-private.h"
#include "stream/buf-reader-private.h"

/*
 * Splice: each block is written completely before the next one is fetched, while a thread reads
 * ahead. Data that was read and could not be written goes back to the reader.
 *
 * If the target can be polled, the operation waits for it before it fetches a block, so that a peer
 * that accepts nothing holds no memory. No other code writes to the target in the meantime, because
 * its "pending" flag is set. The write that follows reports any error of the target.
 *
 * In a main loop, if neither stream can be polled, GIO would read and write in its threads, and
 * would pass each block through the main loop twice. Instead, a thread of GIO writes a batch of
 * blocks. It never waits for memory, because the operations that have the memory may need the
 * threads of GIO. When there is none, the main loop waits for the next block.
 *
 * Short blocks are not shrunk, because they are freed as soon as they are written.
 *
 * The streams are closed even after an error, as in g_output_stream_splice(). A thread that reads
 * ahead is stopped before the source is closed, because a stream cannot be closed while it is in
 * use.
 */

/* The most blocks that a thread of GIO writes before it turns to other tasks. */
#define BATCH_SIZE 64

/* Why a batch has ended. */
typedef enum
{
  BATCH_END_SIZE,
  BATCH_END_MEMORY, /* the next block needs memory that is not available now */
  BATCH_END_STREAM  /* the end of the stream, or an error */
} BatchEnd;

static gboolean
wait_until_writable (GOutputStream *target,
                     gint descriptor,
                     GCancellable *cancellable,
                     GError **error)
{
  GPollableOutputStream *pollable = buf_reader_get_unready_target (target);

  if (pollable == NULL)
    return TRUE;
  if (!g_output_stream_set_pending (target, error))
    return FALSE;

  buf_poll_output (pollable, descriptor, cancellable);
  g_output_stream_clear_pending (target);
  return TRUE;
}

static gboolean
write_blocks (BufReader *self, GOutputStream *target, GCancellable *cancellable, GError **error)
{
  gint descriptor = buf_descriptor_get (target);
  GError *problem = NULL;
  GBytes *bytes;

  while (wait_until_writable (target, descriptor, cancellable, &problem) &&
         (bytes = buf_reader_core_fetch (self->core, cancellable, &problem)) != NULL &&
         buf_reader_write_block (self, bytes, target, descriptor, cancellable, &problem))
    continue;

  if (problem == NULL)
    return TRUE;
  g_propagate_error (error, problem);
  return FALSE;
}

static void
close_source (BufReader *self, GCancellable *cancellable)
{
  buf_reader_core_stop (self->core);
  buf_reader_core_wait_until_stopped (self->core);
  g_input_stream_close (self->stream, cancellable, NULL);
}

/**
 * buf_reader_splice:
 * @self: a reader
 * @target: a stream to write to
 * @flags: the streams to close at the end
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Writes all blocks of the reader to @target until the stream ends. It reads and writes at the same
 * time, see [property@Reader:read-ahead]. It holds the block that is being written and the blocks
 * that were read ahead. While it waits for a target that can be polled, such as a socket, it holds
 * only the blocks that were read ahead. With sockets at both ends, it then holds nothing. This
 * function blocks the calling thread.
 *
 * [property@Reader:position] counts the bytes that were written, even if the operation fails. Data
 * that was read but not written stays in the reader, so that another splice continues where this
 * one failed.
 *
 * The streams are closed like in [method@Gio.OutputStream.splice], even after an error. An error
 * from closing the source is ignored. An error from closing the target is reported if there is no
 * other error.
 *
 * Fails with the errors of [method@Reader.next_block] and of [method@Gio.OutputStream.write_all]. A
 * read error is reported after the preceding data has been written.
 *
 * Returns: %TRUE if everything was written, %FALSE with an error otherwise
 *
 * Since: 1.0
 */
gboolean
buf_reader_splice (BufReader *self,
                   GOutputStream *target,
                   GOutputStreamSpliceFlags flags,
                   GCancellable *cancellable,
                   GError **error)
{
  gboolean done;

  g_return_val_if_fail (BUF_IS_READER (self), FALSE);
  g_return_val_if_fail (G_IS_OUTPUT_STREAM (target), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (!buf_reader_begin (self, error))
    return FALSE;

  atomic_store (&self->core->fits, FALSE);
  done = write_blocks (self, target, cancellable, error);
  if (flags & G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE)
    close_source (self, cancellable);
  if (flags & G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET)
    done = g_output_stream_close (target, cancellable, done ? error : NULL) && done;
  buf_reader_end (self);
  return done;
}

/* The task data of a splice in a main loop. */
typedef struct
{
  GOutputStream *target;
  gint descriptor;      /* of the target, or -1 */
  gboolean uses_thread; /* whether the blocks are written in a thread */
  GOutputStreamSpliceFlags flags;
  GBytes *writing; /* the block that is being written */
  BufPoll poll;    /* of the target */
  GError *error;
} Splice;

static void
splice_free (gpointer data)
{
  Splice *self = data;

  g_assert (self->writing == NULL && self->poll.source == NULL);

  g_clear_error (&self->error);
  g_object_unref (self->target);
  g_free (self);
}

static void
return_splice (GTask *task)
{
  Splice *splice = g_task_get_task_data (task);

  if (splice->error != NULL)
    g_task_return_error (task, g_steal_pointer (&splice->error));
  else
    g_task_return_boolean (task, TRUE);
}

static void
on_target_closed (GObject *target, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  Splice *splice = g_task_get_task_data (task);

  g_output_stream_close_finish (G_OUTPUT_STREAM (target),
                                result,
                                splice->error == NULL ? &splice->error : NULL);
  return_splice (task);
}

static void
close_target_for (GTask *task)
{
  Splice *splice = g_task_get_task_data (task);

  if (splice->flags & G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET)
    g_output_stream_close_async (splice->target,
                                 g_task_get_priority (task),
                                 g_task_get_cancellable (task),
                                 on_target_closed,
                                 g_object_ref (task));
  else
    return_splice (task);
}

static void
on_source_closed (GObject *stream, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;

  g_input_stream_close_finish (G_INPUT_STREAM (stream), result, NULL);
  close_target_for (task);
}

static gboolean
close_source_for (gpointer user_data)
{
  GTask *task = user_data;
  BufReader *self = g_task_get_source_object (task);

  if (buf_reader_core_is_stopped_or_attach (self->core, task, close_source_for))
    g_input_stream_close_async (self->stream,
                                g_task_get_priority (task),
                                g_task_get_cancellable (task),
                                on_source_closed,
                                g_object_ref (task));
  return G_SOURCE_REMOVE;
}

/* Takes ownership of the error, or NULL. */
static void
end_splice (GTask *task, GError *error)
{
  BufReader *self = g_task_get_source_object (task);
  Splice *splice = g_task_get_task_data (task);

  splice->error = error;
  if (splice->flags & G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE)
    {
      buf_reader_core_stop (self->core);
      close_source_for (task);
    }
  else
    close_target_for (task);
}

static void next_for (GTask *task);
static void fetch_for (GTask *task);

static BatchEnd
write_batch (BufReader *self, Splice *splice, GCancellable *cancellable, GError **error)
{
  for (guint i = 0; i < BATCH_SIZE; i++)
    {
      BufReaderItem item;

      if (!buf_reader_core_try_fetch (self->core, cancellable, &item))
        return BATCH_END_MEMORY;
      if (item.error != NULL)
        g_propagate_error (error, item.error);
      if (item.bytes == NULL || !buf_reader_write_block (self,
                                                         item.bytes,
                                                         splice->target,
                                                         splice->descriptor,
                                                         cancellable,
                                                         error))
        return BATCH_END_STREAM;
    }
  return BATCH_END_SIZE;
}

/* The task that is spliced outlives the batch. */
static void
run_batch (GTask *batch, gpointer source, gpointer task, GCancellable *cancellable)
{
  GError *error = NULL;
  BatchEnd end = write_batch (g_task_get_source_object (task),
                              g_task_get_task_data (task),
                              cancellable,
                              &error);

  if (error != NULL)
    g_task_return_error (batch, error);
  else
    g_task_return_int (batch, end);
}

static void
on_batch_written (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  GError *error = NULL;
  gssize end = g_task_propagate_int (G_TASK (result), &error);

  if (error != NULL || end == BATCH_END_STREAM)
    end_splice (task, error);
  else if (end == BATCH_END_MEMORY)
    fetch_for (task);
  else
    next_for (task);
}

static void
begin_batch (GTask *task)
{
  g_autoptr (GTask) batch =
      g_task_new (NULL, g_task_get_cancellable (task), on_batch_written, g_object_ref (task));

  (g_task_set_source_tag) (batch, begin_batch);
  g_task_set_priority (batch, g_task_get_priority (task));
  g_task_set_check_cancellable (batch, FALSE);
  g_task_set_task_data (batch, task, NULL);
  g_task_run_in_thread (batch, run_batch);
}

static void
on_block_written (GObject *target, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  BufReader *self = g_task_get_source_object (task);
  Splice *splice = g_task_get_task_data (task);
  GError *error = NULL;
  gsize n_written = 0;
  gboolean done =
      g_output_stream_write_all_finish (G_OUTPUT_STREAM (target), result, &n_written, &error);

  buf_reader_end_block (self, g_steal_pointer (&splice->writing), n_written);
  if (done)
    next_for (task);
  else
    end_splice (task, error);
}

static void
on_fetched (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  Splice *splice = g_task_get_task_data (task);
  GError *error = NULL;
  GBytes *bytes = buf_reader_core_fetch_finish (result, &error);
  gconstpointer data;
  gsize size;

  if (bytes == NULL)
    {
      end_splice (task, error);
      return;
    }

  splice->writing = bytes;
  data = g_bytes_get_data (bytes, &size);
  g_output_stream_write_all_async (splice->target,
                                   data,
                                   size,
                                   g_task_get_priority (task),
                                   g_task_get_cancellable (task),
                                   on_block_written,
                                   g_object_ref (task));
}

static void
fetch_for (GTask *task)
{
  BufReader *self = g_task_get_source_object (task);

  buf_reader_core_fetch_async (self->core,
                               g_task_get_priority (task),
                               g_task_get_cancellable (task),
                               on_fetched,
                               g_object_ref (task));
}

static gboolean
on_target_writable (GObject *target, gpointer user_data)
{
  Splice *splice = g_task_get_task_data (user_data);

  buf_poll_end (&splice->poll);
  g_output_stream_clear_pending (G_OUTPUT_STREAM (target));
  fetch_for (user_data);
  return G_SOURCE_REMOVE;
}

/* Returns whether GIO itself would read from the source and write to the target in a thread. */
static gboolean
can_use_thread (BufReader *self, GOutputStream *target)
{
  GInputStreamClass *input = g_type_class_peek (G_TYPE_INPUT_STREAM);
  GOutputStreamClass *output = g_type_class_peek (G_TYPE_OUTPUT_STREAM);

  return self->core->pollable == NULL && !buf_reader_can_poll_target (target) &&
         G_INPUT_STREAM_GET_CLASS (self->stream)->read_async == input->read_async &&
         G_OUTPUT_STREAM_GET_CLASS (target)->write_async == output->write_async;
}

/* Fetches the next block once the target can accept it. A fetch checks the cancellable itself. */
static void
next_for (GTask *task)
{
  Splice *splice = g_task_get_task_data (task);
  GPollableOutputStream *pollable = buf_reader_get_unready_target (splice->target);
  GError *error = NULL;

  if (splice->uses_thread)
    begin_batch (task);
  else if (pollable == NULL)
    fetch_for (task);
  else if (!g_output_stream_set_pending (splice->target, &error))
    end_splice (task, error);
  else
    buf_poll_begin (&splice->poll,
                    g_pollable_output_stream_create_source (pollable, NULL),
                    task,
                    on_target_writable,
                    g_task_get_cancellable (task));
}

/**
 * buf_reader_splice_async:
 * @self: a reader
 * @target: a stream to write to
 * @flags: the streams to close at the end
 * @io_priority: the priority of the operation, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): the function to call when the operation ends
 * @user_data: data for @callback
 *
 * The asynchronous version of [method@Reader.splice]. The callback runs in the thread-default main
 * context of the caller. Call [method@Reader.splice_finish] in it.
 *
 * If neither stream can be polled, such as two files, worker threads of GIO read and write several
 * blocks at a time.
 *
 * Since: 1.0
 */
void
buf_reader_splice_async (BufReader *self,
                         GOutputStream *target,
                         GOutputStreamSpliceFlags flags,
                         int io_priority,
                         GCancellable *cancellable,
                         GAsyncReadyCallback callback,
                         gpointer user_data)
{
  g_autoptr (GTask) task = NULL;
  Splice *splice;

  g_return_if_fail (BUF_IS_READER (self));
  g_return_if_fail (G_IS_OUTPUT_STREAM (target));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = buf_reader_begin_async (self,
                                 io_priority,
                                 cancellable,
                                 callback,
                                 user_data,
                                 buf_reader_splice_async);
  if (task == NULL)
    return;

  splice = g_new0 (Splice, 1);
  splice->target = g_object_ref (target);
  splice->descriptor = buf_descriptor_get (target);
  splice->uses_thread = can_use_thread (self, target);
  splice->flags = flags;
  g_task_set_task_data (task, splice, splice_free);
  atomic_store (&self->core->fits, FALSE);
  next_for (task);
}

/**
 * buf_reader_splice_finish:
 * @self: a reader
 * @result: the result passed to the callback
 * @error: return location for an error, or %NULL
 *
 * Finishes an operation that [method@Reader.splice_async] started.
 *
 * Returns: %TRUE if everything was written, %FALSE with an error otherwise
 *
 * Since: 1.0
 */
gboolean
buf_reader_splice_finish (BufReader *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (BUF_IS_READER (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (g_async_result_is_tagged (result, buf_reader_splice_async), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return g_task_propagate_boolean (G_TASK (result), error);
}
