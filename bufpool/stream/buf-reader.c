/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "buf-pool-error.h"
#include "pool/buf-pool-private.h"
#include "stream/buf-reader-private.h"

/**
 * BufReader:
 *
 * Reads a stream in blocks that come from a [class@Pool].
 *
 * Each block is a [struct@GLib.Bytes] that shows the memory of an allocation, without a copy. The
 * block counts against the limit of the pool until the last reference on its bytes is dropped. When
 * the limit is reached, the reader waits. So the stream is read only as fast as the program frees
 * blocks.
 *
 * ```c
 * #include <bufpool/bufpool.h>
 *
 * int
 * main (void)
 * {
 *   g_autoptr (GError) error = NULL;
 *   g_autoptr (BufPool) pool = buf_pool_new (4096, 64 * 1024, &error);
 *   g_autoptr (GFile) file = g_file_new_for_path ("/etc/os-release");
 *   g_autoptr (GFileInputStream) stream = g_file_read (file, NULL, &error);
 *   g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 2);
 *   GBytes *block;
 *
 *   while ((block = buf_reader_next_block (reader, NULL, &error)) != NULL)
 *     {
 *       g_print ("%zu bytes\n", g_bytes_get_size (block));
 *       g_bytes_unref (block);
 *     }
 *   if (error != NULL)
 *     g_error ("%s", error->message);
 *   return 0;
 * }
 * ```
 *
 * [method@Reader.splice] writes all blocks to another stream.
 *
 * If the stream can be polled, like a socket or a pipe, the reader waits until there is something
 * to read, and only then allocates memory: readers of ten thousand idle connections hold nothing.
 * Any other stream, such as a file, needs a block before it is known whether there is something to
 * read. A block contains the data of one read. It can be shorter than the reader's block size, at
 * the end of the stream or if a peer has not sent more yet. Then it holds only the buffers that it
 * needs, if the limit has room for the exchange, see [method@PoolAllocation.shrink].
 *
 * All blocks are pinned, see [method@Pool.allocate_pinned]. You can drop the pool before its
 * blocks. The reader holds a reference on its pool.
 *
 * While the program processes a block, another thread reads up to [property@Reader:read-ahead]
 * blocks of a stream that cannot be polled. For a stream that can be polled, the system reads
 * ahead. A block is read ahead only if the limit has room for it and for another block of its size.
 * So reading ahead never waits for memory, and it leaves a block for the other readers of the pool.
 *
 * An error is reported after the data that precedes it. Blocks are never lost: if a request is
 * cancelled, or if [method@Reader.splice] fails to write a block, the next request gets it.
 *
 * A reader can be used from any thread, but only for one operation at a time: a request fails with
 * %G_IO_ERROR_PENDING while another operation is in progress. The getters and setters can be called
 * from any thread at any time. The reader owns the use of the stream, because a thread may be
 * reading ahead. Do not use the stream otherwise before the reader is finalized.
 *
 * Since: 1.0
 */

enum
{
  READER_PROP_0,
  READER_PROP_STREAM,
  READER_PROP_POOL,
  READER_PROP_N_BUFFERS,
  READER_PROP_READ_AHEAD,
  READER_PROP_POSITION,
  READER_N_PROPS
};

#define DEFAULT_READ_AHEAD 1

static GParamSpec *reader_properties[READER_N_PROPS];

G_DEFINE_FINAL_TYPE (BufReader, buf_reader, G_TYPE_OBJECT)

static void
buf_reader_get_property (GObject *object, guint prop_id, GValue *value, GParamSpec *pspec)
{
  BufReader *self = BUF_READER (object);

  switch (prop_id)
    {
    case READER_PROP_STREAM:
      g_value_set_object (value, self->stream);
      break;
    case READER_PROP_POOL:
      g_value_set_object (value, self->pool);
      break;
    case READER_PROP_N_BUFFERS:
      g_value_set_uint64 (value, self->n_buffers);
      break;
    case READER_PROP_READ_AHEAD:
      g_value_set_uint (value, buf_reader_get_read_ahead (self));
      break;
    case READER_PROP_POSITION:
      g_value_set_uint64 (value, buf_reader_get_position (self));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
    }
}

static void
buf_reader_set_property (GObject *object, guint prop_id, const GValue *value, GParamSpec *pspec)
{
  BufReader *self = BUF_READER (object);

  switch (prop_id)
    {
    case READER_PROP_STREAM:
      self->stream = g_value_dup_object (value);
      break;
    case READER_PROP_POOL:
      self->pool = g_value_dup_object (value);
      break;
    case READER_PROP_N_BUFFERS:
      self->n_buffers = g_value_get_uint64 (value);
      break;
    case READER_PROP_READ_AHEAD:
      buf_reader_set_read_ahead (self, g_value_get_uint (value));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
    }
}

static void
buf_reader_constructed (GObject *object)
{
  BufReader *self = BUF_READER (object);

  G_OBJECT_CLASS (buf_reader_parent_class)->constructed (object);

  if (self->stream == NULL || self->pool == NULL)
    return;

  self->core = buf_reader_core_new (self->stream,
                                    self->pool,
                                    MIN (self->n_buffers, BUF_POOL_MAX_BUFFERS + 1));
  atomic_store (&self->core->read_ahead, atomic_load (&self->read_ahead));
}

static void
buf_reader_finalize (GObject *object)
{
  BufReader *self = BUF_READER (object);

  if (self->core != NULL)
    {
      buf_reader_core_stop (self->core);
      buf_reader_core_drop_items (self->core);
      g_clear_pointer (&self->core, buf_reader_core_unref);
    }
  g_clear_object (&self->stream);
  g_clear_pointer (&self->pool, buf_pool_drop_library_reference);
  G_OBJECT_CLASS (buf_reader_parent_class)->finalize (object);
}

static void
buf_reader_class_init (BufReaderClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags construct_only =
      G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;

  object_class->get_property = buf_reader_get_property;
  object_class->set_property = buf_reader_set_property;
  object_class->constructed = buf_reader_constructed;
  object_class->finalize = buf_reader_finalize;

  /**
   * BufReader:stream: (getter get_stream)
   *
   * The stream to read from.
   *
   * Since: 1.0
   */
  reader_properties[READER_PROP_STREAM] =
      g_param_spec_object ("stream", NULL, NULL, G_TYPE_INPUT_STREAM, construct_only);

  /**
   * BufReader:pool: (getter get_pool)
   *
   * The pool that the blocks come from.
   *
   * Since: 1.0
   */
  reader_properties[READER_PROP_POOL] =
      g_param_spec_object ("pool", NULL, NULL, BUF_TYPE_POOL, construct_only);

  /**
   * BufReader:n-buffers: (getter get_n_buffers)
   *
   * The number of buffers in a block, from 1 to %BUF_POOL_MAX_BUFFERS. If the number is invalid,
   * each request fails with %BUF_POOL_ERROR_INVALID_COUNT.
   *
   * Since: 1.0
   */
  reader_properties[READER_PROP_N_BUFFERS] =
      g_param_spec_uint64 ("n-buffers", NULL, NULL, 0, G_MAXUINT64, 1, construct_only);

  /**
   * BufReader:read-ahead: (getter get_read_ahead) (setter set_read_ahead)
   *
   * The maximum number of blocks to read ahead while the program works. If the value is 0, the
   * stream is read only inside requests. You can change this property at any time; blocks that were
   * already read ahead stay.
   *
   * Since: 1.0
   */
  reader_properties[READER_PROP_READ_AHEAD] =
      g_param_spec_uint ("read-ahead",
                         NULL,
                         NULL,
                         0,
                         G_MAXUINT,
                         DEFAULT_READ_AHEAD,
                         G_PARAM_READWRITE | G_PARAM_CONSTRUCT | G_PARAM_EXPLICIT_NOTIFY |
                             G_PARAM_STATIC_STRINGS);

  /**
   * BufReader:position: (getter get_position)
   *
   * The number of bytes that [method@Reader.next_block] has returned or [method@Reader.splice] has
   * written so far. It does not include blocks that were read ahead. It is correct even after an
   * error, and while an operation is in progress. This property does not notify: read it with a
   * timer to show progress.
   *
   * Since: 1.0
   */
  reader_properties[READER_PROP_POSITION] =
      g_param_spec_uint64 ("position",
                           NULL,
                           NULL,
                           0,
                           G_MAXUINT64,
                           0,
                           G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);

  g_object_class_install_properties (object_class, READER_N_PROPS, reader_properties);
}

static void
buf_reader_init (BufReader *self)
{
  atomic_init (&self->read_ahead, DEFAULT_READ_AHEAD);
}

/**
 * buf_reader_new:
 * @stream: the stream to read
 * @pool: the pool that the blocks come from
 * @n_buffers: the number of buffers in a block, from 1 to %BUF_POOL_MAX_BUFFERS
 *
 * Creates a reader. The reader reads nothing before the first request. If @n_buffers is invalid,
 * each request fails.
 *
 * Returns: (transfer full): a new reader
 *
 * Since: 1.0
 */
BufReader *
buf_reader_new (GInputStream *stream, BufPool *pool, gsize n_buffers)
{
  g_return_val_if_fail (G_IS_INPUT_STREAM (stream), NULL);
  g_return_val_if_fail (BUF_IS_POOL (pool), NULL);

  return g_object_new (BUF_TYPE_READER,
                       "stream",
                       stream,
                       "pool",
                       pool,
                       "n-buffers",
                       (guint64) n_buffers,
                       NULL);
}

/**
 * buf_reader_next_block:
 * @self: a reader
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Reads the next block of the stream. This function blocks the calling thread until there is
 * something to read and the pool has granted a block.
 *
 * At the end of the stream, this function returns %NULL without an error. After an error or the
 * end, the next request reads again.
 *
 * Fails with the errors of [method@Gio.InputStream.read] and of [method@Pool.allocate], with
 * %G_IO_ERROR_PENDING if another operation is in progress, and with %G_IO_ERROR_CANCELLED. If a
 * block is being read ahead when the request is cancelled, the next request gets that block.
 *
 * Returns: (transfer full) (nullable): the block, or %NULL at the end of the stream or with an
 * error
 *
 * Since: 1.0
 */
GBytes *
buf_reader_next_block (BufReader *self, GCancellable *cancellable, GError **error)
{
  GBytes *bytes;

  g_return_val_if_fail (BUF_IS_READER (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (!buf_reader_begin (self, error))
    return NULL;

  atomic_store (&self->core->fits, TRUE);
  bytes = buf_reader_core_fetch (self->core, cancellable, error);
  if (bytes != NULL)
    buf_reader_add_position (self, g_bytes_get_size (bytes));
  buf_reader_end (self);
  return bytes;
}

/**
 * buf_reader_next_block_async:
 * @self: a reader
 * @io_priority: the priority of the callback, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): the function to call when the request ends
 * @user_data: data for @callback
 *
 * The asynchronous version of [method@Reader.next_block]. The callback runs in the thread-default
 * main context of the caller, and never inside this call. Call [method@Reader.next_block_finish] in
 * it. The callback can start the next operation.
 *
 * A stream that cannot be polled is read in a worker thread of GIO.
 *
 * Since: 1.0
 */
void
buf_reader_next_block_async (BufReader *self,
                             int io_priority,
                             GCancellable *cancellable,
                             GAsyncReadyCallback callback,
                             gpointer user_data)
{
  g_autoptr (GTask) task = NULL;

  g_return_if_fail (BUF_IS_READER (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = buf_reader_begin_async (self,
                                 io_priority,
                                 cancellable,
                                 callback,
                                 user_data,
                                 buf_reader_next_block_async);
  if (task == NULL)
    return;

  atomic_store (&self->core->fits, TRUE);
  buf_reader_core_fetch_for (self->core, task);
}

/**
 * buf_reader_next_block_finish:
 * @self: a reader
 * @result: the result passed to the callback
 * @error: return location for an error, or %NULL
 *
 * Finishes a request that [method@Reader.next_block_async] started. Call this function once for
 * each request. If the request was cancelled in the meantime, it fails with %G_IO_ERROR_CANCELLED,
 * and the next request gets the block. The next request also gets the block of a result that is
 * never fetched.
 *
 * Returns: (transfer full) (nullable): the block, or %NULL at the end of the stream or with an
 * error
 *
 * Since: 1.0
 */
GBytes *
buf_reader_next_block_finish (BufReader *self, GAsyncResult *result, GError **error)
{
  GBytes *bytes;

  g_return_val_if_fail (BUF_IS_READER (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, buf_reader_next_block_async), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  bytes = buf_reader_core_fetch_finish (result, error);
  if (bytes != NULL)
    buf_reader_add_position (self, g_bytes_get_size (bytes));
  return bytes;
}
