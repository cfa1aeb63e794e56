/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "stream/buf-reader-private.h"

/*
 * The getters and setters of a reader.
 */

/**
 * buf_reader_get_stream:
 * @self: a reader
 *
 * Gets the stream to read from. Do not use it while the reader does.
 *
 * Returns: (transfer none): the stream
 *
 * Since: 1.0
 */
GInputStream *
buf_reader_get_stream (BufReader *self)
{
  g_return_val_if_fail (BUF_IS_READER (self), NULL);

  return self->stream;
}

/**
 * buf_reader_get_pool:
 * @self: a reader
 *
 * Gets the pool that the blocks come from.
 *
 * Returns: (transfer none): the pool
 *
 * Since: 1.0
 */
BufPool *
buf_reader_get_pool (BufReader *self)
{
  g_return_val_if_fail (BUF_IS_READER (self), NULL);

  return self->pool;
}

/**
 * buf_reader_get_n_buffers:
 * @self: a reader
 *
 * Gets the number of buffers in a block.
 *
 * Returns: the number of buffers
 *
 * Since: 1.0
 */
gsize
buf_reader_get_n_buffers (BufReader *self)
{
  g_return_val_if_fail (BUF_IS_READER (self), 0);

  return MIN (self->n_buffers, G_MAXSIZE);
}

/**
 * buf_reader_get_read_ahead:
 * @self: a reader
 *
 * Gets the maximum number of blocks to read ahead.
 *
 * Returns: the number of blocks
 *
 * Since: 1.0
 */
guint
buf_reader_get_read_ahead (BufReader *self)
{
  g_return_val_if_fail (BUF_IS_READER (self), 0);

  return atomic_load (&self->read_ahead);
}

/**
 * buf_reader_set_read_ahead:
 * @self: a reader
 * @read_ahead: the maximum number of blocks to read ahead, or 0 to disable reading ahead
 *
 * Sets the maximum number of blocks to read ahead, from the next request on.
 *
 * Since: 1.0
 */
void
buf_reader_set_read_ahead (BufReader *self, guint read_ahead)
{
  g_return_if_fail (BUF_IS_READER (self));

  if (self->core != NULL)
    atomic_store (&self->core->read_ahead, read_ahead);
  if (atomic_exchange (&self->read_ahead, read_ahead) != read_ahead)
    g_object_notify (G_OBJECT (self), "read-ahead");
}

/**
 * buf_reader_get_position:
 * @self: a reader
 *
 * Gets the number of bytes that were returned or written so far, see [property@Reader:position].
 *
 * Returns: the number of bytes
 *
 * Since: 1.0
 */
guint64
buf_reader_get_position (BufReader *self)
{
  g_return_val_if_fail (BUF_IS_READER (self), 0);

  return atomic_load (&self->position);
}
