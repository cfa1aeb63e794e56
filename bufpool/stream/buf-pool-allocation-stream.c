/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-pool-allocation-private.h"

/*
 * Streams: transfers between a stream and an allocation, so that the bytes do not pass through the
 * program's language. GIO does the work. This file checks the range, keeps the allocation alive
 * while the stream uses its memory, and records how far the last transfer came, because languages
 * that throw errors lose out arguments.
 */

/* Only pinned allocations record the number. A plain one has no room for it, and only C has plain
 * ones. */
static void
set_transferred (BufPoolAllocation *self, gsize n_bytes)
{
  if (buf_pool_allocation_has_flag (self, BUF_WORD_PINNED))
    atomic_store (&buf_pool_allocation_get_detached (self)->transferred, n_bytes);
}

/**
 * buf_pool_allocation_get_transferred_bytes:
 * @self: an allocation
 *
 * Gets the number of bytes that the last [method@PoolAllocation.fill_from_stream] or
 * [method@PoolAllocation.write_to_stream] has transferred, synchronous or asynchronous, even if it
 * failed. In Python, JavaScript and Lua, an error discards the out arguments of a function. Use
 * this function there to find out how far the transfer came.
 *
 * The number is 0 before the first transfer, and always 0 for a plain allocation. In C, use the out
 * argument, which works for every allocation.
 *
 * This function can be called from any thread, even after [method@PoolAllocation.release].
 *
 * Returns: the number of bytes
 *
 * Since: 1.0
 */
gsize
buf_pool_allocation_get_transferred_bytes (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, 0);

  if (!buf_pool_allocation_has_flag (self, BUF_WORD_PINNED))
    return 0;
  return atomic_load (&buf_pool_allocation_get_detached (self)->transferred);
}

/* Drops the view that the transfer used. */
static void
end_transfer (BufPoolAllocation *self, gsize n_bytes, gsize *n_bytes_out)
{
  set_transferred (self, n_bytes);
  if (n_bytes_out != NULL)
    *n_bytes_out = n_bytes;
  buf_pool_allocation_drop_view (self);
}

/**
 * buf_pool_allocation_fill_from_stream:
 * @self: an allocation
 * @stream: a stream to read from
 * @offset: the offset from the first buffer, in bytes
 * @size: the number of bytes to read
 * @bytes_read: (out) (optional): return location for the number of bytes that were read
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Reads from a stream into the allocation until @size bytes are read or the stream ends. At the end
 * of the stream, @bytes_read is less than @size. It is also set if an error occurs after some bytes
 * were read. In languages that throw errors, use [method@PoolAllocation.get_transferred_bytes].
 *
 * The allocation counts against the limit while the stream is read, so a peer that sends nothing
 * blocks all other users of the pool. Wait until there is something to read, allocate then, and
 * limit the time with @cancellable.
 *
 * Fails with %BUF_POOL_ERROR_OUT_OF_RANGE before anything is read, and with the errors of
 * [method@Gio.InputStream.read_all]. This function blocks the calling thread.
 *
 * Returns: %TRUE on success, %FALSE with an error otherwise
 *
 * Since: 1.0
 */
gboolean
buf_pool_allocation_fill_from_stream (BufPoolAllocation *self,
                                      GInputStream *stream,
                                      gsize offset,
                                      gsize size,
                                      gsize *bytes_read,
                                      GCancellable *cancellable,
                                      GError **error)
{
  gsize n_bytes = 0;
  gboolean done;

  g_return_val_if_fail (self != NULL, FALSE);
  g_return_val_if_fail (G_IS_INPUT_STREAM (stream), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  set_transferred (self, 0);
  if (bytes_read != NULL)
    *bytes_read = 0;
  if (!buf_pool_allocation_view_range (self, offset, size, error))
    return FALSE;

  done = g_input_stream_read_all (stream,
                                  buf_pool_allocation_peek_data (self) + offset,
                                  size,
                                  &n_bytes,
                                  cancellable,
                                  error);
  end_transfer (self, n_bytes, bytes_read);
  return done;
}

/**
 * buf_pool_allocation_write_to_stream:
 * @self: an allocation
 * @stream: a stream to write to
 * @offset: the offset from the first buffer, in bytes
 * @size: the number of bytes to write
 * @bytes_written: (out) (optional): return location for the number of bytes that were written
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Writes a part of the allocation to a stream, completely unless an error occurs. In that case,
 * @bytes_written is the number of bytes that were written before the error. In languages that throw
 * errors, use [method@PoolAllocation.get_transferred_bytes].
 *
 * The allocation counts against the limit while the stream is written, so a peer that reads nothing
 * blocks all other users of the pool. Limit the time with @cancellable.
 *
 * Fails with %BUF_POOL_ERROR_OUT_OF_RANGE before anything is written, and with the errors of
 * [method@Gio.OutputStream.write_all]. This function blocks the calling thread.
 *
 * Returns: %TRUE on success, %FALSE with an error otherwise
 *
 * Since: 1.0
 */
gboolean
buf_pool_allocation_write_to_stream (BufPoolAllocation *self,
                                     GOutputStream *stream,
                                     gsize offset,
                                     gsize size,
                                     gsize *bytes_written,
                                     GCancellable *cancellable,
                                     GError **error)
{
  gsize n_bytes = 0;
  gboolean done;

  g_return_val_if_fail (self != NULL, FALSE);
  g_return_val_if_fail (G_IS_OUTPUT_STREAM (stream), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  set_transferred (self, 0);
  if (bytes_written != NULL)
    *bytes_written = 0;
  if (!buf_pool_allocation_view_range (self, offset, size, error))
    return FALSE;

  done = g_output_stream_write_all (stream,
                                    buf_pool_allocation_peek_data (self) + offset,
                                    size,
                                    &n_bytes,
                                    cancellable,
                                    error);
  end_transfer (self, n_bytes, bytes_written);
  return done;
}

/* The state of an asynchronous transfer: a hold on the allocation until the transfer ends, so that
 * the callback can free the memory, and the count, which is set even if there is an error. It holds
 * no reference on the pool. A thread that drops the last reference on the pool does not wait for
 * bytes that only a transfer holds, because the transfer may need the main loop of that thread. */
typedef struct
{
  BufHold hold;
  gpointer origin; /* the allocation, only for comparison */
  gsize n_bytes;
} Transfer;

static void
transfer_free (gpointer data)
{
  Transfer *self = data;

  buf_hold_drop (&self->hold);
  g_free (self);
}

static GTask *
new_transfer (BufPoolAllocation *allocation,
              int io_priority,
              GCancellable *cancellable,
              GAsyncReadyCallback callback,
              gpointer user_data,
              gpointer source_tag)
{
  GTask *task = g_task_new (NULL, cancellable, callback, user_data);
  Transfer *transfer = g_new0 (Transfer, 1);

  transfer->origin = allocation;
  (g_task_set_source_tag) (task, source_tag);
  g_task_set_priority (task, io_priority);
  g_task_set_check_cancellable (task, FALSE);
  g_task_set_task_data (task, transfer, transfer_free);
  return task;
}

static gboolean
hold_range (GTask *task, BufPoolAllocation *allocation, gsize offset, gsize size, GError **error)
{
  Transfer *transfer = g_task_get_task_data (task);

  set_transferred (allocation, 0);
  if (buf_pool_allocation_take_hold (allocation, &transfer->hold))
    return buf_pool_allocation_check_range (allocation, offset, size, error);

  buf_pool_allocation_set_released_error (allocation, error);
  return FALSE;
}

static gboolean
is_result_of (BufPoolAllocation *allocation, GAsyncResult *result, gpointer source_tag)
{
  Transfer *transfer;

  if (!g_task_is_valid (result, NULL) || !g_async_result_is_tagged (result, source_tag))
    return FALSE;

  transfer = g_task_get_task_data (G_TASK (result));
  return transfer->origin == allocation;
}

static gboolean
finish_transfer (GAsyncResult *result, gsize *n_bytes, GError **error)
{
  Transfer *transfer = g_task_get_task_data (G_TASK (result));

  if (n_bytes != NULL)
    *n_bytes = transfer->n_bytes;
  return g_task_propagate_boolean (G_TASK (result), error);
}

static void
return_transfer (GTask *task, gboolean done, GError *error)
{
  Transfer *transfer = g_task_get_task_data (task);

  if (transfer->hold.allocation != NULL)
    set_transferred (transfer->hold.allocation, transfer->n_bytes);
  buf_hold_drop (&transfer->hold);
  if (done)
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
}

static void
on_read (GObject *stream, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  Transfer *transfer = g_task_get_task_data (task);
  GError *error = NULL;
  gboolean done =
      g_input_stream_read_all_finish (G_INPUT_STREAM (stream), result, &transfer->n_bytes, &error);

  return_transfer (task, done, error);
}

/**
 * buf_pool_allocation_fill_from_stream_async:
 * @self: an allocation
 * @stream: a stream to read from
 * @offset: the offset from the first buffer, in bytes
 * @size: the number of bytes to read
 * @io_priority: the priority of the transfer, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): the function to call when the transfer ends
 * @user_data: data for @callback
 *
 * The asynchronous version of [method@PoolAllocation.fill_from_stream]. The transfer keeps the
 * allocation alive, so you may drop your reference earlier. The callback runs in the thread-default
 * main context of the caller. Call [method@PoolAllocation.fill_from_stream_finish] in it.
 *
 * Since: 1.0
 */
void
buf_pool_allocation_fill_from_stream_async (BufPoolAllocation *self,
                                            GInputStream *stream,
                                            gsize offset,
                                            gsize size,
                                            int io_priority,
                                            GCancellable *cancellable,
                                            GAsyncReadyCallback callback,
                                            gpointer user_data)
{
  g_autoptr (GTask) task = NULL;
  GError *error = NULL;

  g_return_if_fail (self != NULL);
  g_return_if_fail (G_IS_INPUT_STREAM (stream));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = new_transfer (self,
                       io_priority,
                       cancellable,
                       callback,
                       user_data,
                       buf_pool_allocation_fill_from_stream_async);
  if (!hold_range (task, self, offset, size, &error))
    return_transfer (task, FALSE, error);
  else
    g_input_stream_read_all_async (stream,
                                   buf_pool_allocation_peek_data (self) + offset,
                                   size,
                                   io_priority,
                                   cancellable,
                                   on_read,
                                   g_object_ref (task));
}

/**
 * buf_pool_allocation_fill_from_stream_finish:
 * @self: an allocation
 * @result: the result passed to the callback
 * @bytes_read: (out) (optional): return location for the number of bytes that were read
 * @error: return location for an error, or %NULL
 *
 * Finishes a transfer that [method@PoolAllocation.fill_from_stream_async] started.
 *
 * Returns: %TRUE on success, %FALSE with an error otherwise
 *
 * Since: 1.0
 */
gboolean
buf_pool_allocation_fill_from_stream_finish (BufPoolAllocation *self,
                                             GAsyncResult *result,
                                             gsize *bytes_read,
                                             GError **error)
{
  g_return_val_if_fail (is_result_of (self, result, buf_pool_allocation_fill_from_stream_async),
                        FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return finish_transfer (result, bytes_read, error);
}

static void
on_written (GObject *stream, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GTask) task = user_data;
  Transfer *transfer = g_task_get_task_data (task);
  GError *error = NULL;
  gboolean done = g_output_stream_write_all_finish (G_OUTPUT_STREAM (stream),
                                                    result,
                                                    &transfer->n_bytes,
                                                    &error);

  return_transfer (task, done, error);
}

/**
 * buf_pool_allocation_write_to_stream_async:
 * @self: an allocation
 * @stream: a stream to write to
 * @offset: the offset from the first buffer, in bytes
 * @size: the number of bytes to write
 * @io_priority: the priority of the transfer, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): the function to call when the transfer ends
 * @user_data: data for @callback
 *
 * The asynchronous version of [method@PoolAllocation.write_to_stream]. The transfer keeps the
 * allocation alive, so you may drop your reference earlier. The callback runs in the thread-default
 * main context of the caller. Call [method@PoolAllocation.write_to_stream_finish] in it.
 *
 * Since: 1.0
 */
void
buf_pool_allocation_write_to_stream_async (BufPoolAllocation *self,
                                           GOutputStream *stream,
                                           gsize offset,
                                           gsize size,
                                           int io_priority,
                                           GCancellable *cancellable,
                                           GAsyncReadyCallback callback,
                                           gpointer user_data)
{
  g_autoptr (GTask) task = NULL;
  GError *error = NULL;

  g_return_if_fail (self != NULL);
  g_return_if_fail (G_IS_OUTPUT_STREAM (stream));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = new_transfer (self,
                       io_priority,
                       cancellable,
                       callback,
                       user_data,
                       buf_pool_allocation_write_to_stream_async);
  if (!hold_range (task, self, offset, size, &error))
    return_transfer (task, FALSE, error);
  else
    g_output_stream_write_all_async (stream,
                                     buf_pool_allocation_peek_data (self) + offset,
                                     size,
                                     io_priority,
                                     cancellable,
                                     on_written,
                                     g_object_ref (task));
}

/**
 * buf_pool_allocation_write_to_stream_finish:
 * @self: an allocation
 * @result: the result passed to the callback
 * @bytes_written: (out) (optional): return location for the number of bytes that were written
 * @error: return location for an error, or %NULL
 *
 * Finishes a transfer that [method@PoolAllocation.write_to_stream_async] started.
 *
 * Returns: %TRUE on success, %FALSE with an error otherwise
 *
 * Since: 1.0
 */
gboolean
buf_pool_allocation_write_to_stream_finish (BufPoolAllocation *self,
                                            GAsyncResult *result,
                                            gsize *bytes_written,
                                            GError **error)
{
  g_return_val_if_fail (is_result_of (self, result, buf_pool_allocation_write_to_stream_async),
                        FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return finish_transfer (result, bytes_written, error);
}
