/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <string.h>

#include "debug/buf-words-private.h"
#include "memory/buf-pool-allocation-private.h"
#include "buf-pool-error.h"

/**
 * BufPoolAllocation:
 *
 * One contiguous block of buffers from a [class@Pool].
 *
 * An allocation is atomically reference counted. You can pass it to other threads, which can
 * reference and free it. When the last reference is dropped, the memory is freed, its bytes are
 * released to the pool, and waiting requests are served. Functions that read an allocation can be
 * called from any thread. As with any memory, the program must synchronize its own writes to the
 * buffers.
 *
 * The pool outlives its allocations: when you drop the last reference to the pool, it waits for
 * them.
 *
 * Since: 1.0
 */

G_DEFINE_BOXED_TYPE (BufPoolAllocation,
                     buf_pool_allocation,
                     buf_pool_allocation_ref,
                     buf_pool_allocation_unref)

/**
 * buf_pool_allocation_get_length:
 * @self: an allocation
 *
 * Gets the number of buffers.
 *
 * Returns: the number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS, or 0 if the allocation has been
 * released
 *
 * Since: 1.0
 */
gsize
buf_pool_allocation_get_length (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return buf_pool_allocation_is_released (self) ? 0 : buf_pool_allocation_get_n_buffers (self);
}

/**
 * buf_pool_allocation_get_buffer_size:
 * @self: an allocation
 *
 * Gets the size of each buffer: the [property@Pool:buffer-size] of the pool.
 *
 * Returns: the size of one buffer, in bytes
 *
 * Since: 1.0
 */
gsize
buf_pool_allocation_get_buffer_size (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return buf_pool_allocation_is_released (self) ? 0 : buf_pool_allocation_peek_buffer_size (self);
}

/**
 * buf_pool_allocation_get_allocated_bytes:
 * @self: an allocation
 *
 * Gets the size of all buffers together, which is what counts against the limit of the pool.
 *
 * Returns: the size of the allocation, in bytes
 *
 * Since: 1.0
 */
gsize
buf_pool_allocation_get_allocated_bytes (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return buf_pool_allocation_is_released (self) ? 0 : buf_pool_allocation_get_size (self);
}

/**
 * buf_pool_allocation_get_first:
 * @self: an allocation
 *
 * Gets the address of the first buffer. The other buffers follow without a gap, each
 * [method@PoolAllocation.get_buffer_size] bytes after the previous one.
 *
 * Returns: (transfer none) (nullable): the first buffer, valid as long as the allocation, or %NULL
 * if the allocation has been released
 *
 * Since: 1.0
 */
gpointer
buf_pool_allocation_get_first (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  if (buf_pool_allocation_is_simple (self))
    return buf_pool_allocation_get_inline_data (self);
  return buf_pool_allocation_get_data (self, NULL);
}

/* Returns whether @index is valid. If not, the program has a bug. */
static gboolean
check_index (BufPoolAllocation *self, gsize index, const gchar *function)
{
  gsize n_buffers = buf_pool_allocation_get_n_buffers (self);

  if (G_LIKELY (index < n_buffers))
    return TRUE;

  g_critical ("%s: buffer index %" G_GSIZE_FORMAT " is out of range 0 to %" G_GSIZE_FORMAT,
              function,
              index,
              n_buffers - 1);
  return FALSE;
}

/**
 * buf_pool_allocation_get_buffer:
 * @self: an allocation
 * @index: the index of the buffer, from 0 to one less than [method@PoolAllocation.get_length]
 *
 * Gets the address of one buffer. An index that is out of range is a programming error, and logs a
 * critical warning that names the valid range.
 *
 * Returns: (transfer none) (nullable): the buffer, valid as long as the allocation
 *
 * Since: 1.0
 */
gpointer
buf_pool_allocation_get_buffer (BufPoolAllocation *self, gsize index)
{
  g_return_val_if_fail (self != NULL, NULL);
  if (!check_index (self, index, G_STRFUNC))
    return NULL;
  if (buf_pool_allocation_is_simple (self))
    return buf_pool_allocation_get_inline_data (self) + index * self->memory->buffer_size;
  if (buf_pool_allocation_is_released (self))
    return NULL;
  return buf_pool_allocation_peek_data (self) + index * buf_pool_allocation_peek_buffer_size (self);
}

/**
 * buf_pool_allocation_get_data:
 * @self: an allocation
 * @size: (out) (optional): return location for the size of all buffers together, in bytes
 *
 * Gets the memory of all buffers. You may write to it.
 *
 * Returns: (transfer none) (nullable) (array length=size) (element-type guint8): the first byte,
 * valid as long as the allocation, or %NULL if the allocation has been released
 *
 * Since: 1.0
 */
guint8 *
buf_pool_allocation_get_data (BufPoolAllocation *self, gsize *size)
{
  gboolean released;

  g_return_val_if_fail (self != NULL, NULL);

  /* Read once, because another thread may be releasing the allocation. */
  released = buf_pool_allocation_is_released (self);
  if (size != NULL)
    *size = released ? 0 : buf_pool_allocation_get_size (self);
  return released ? NULL : buf_pool_allocation_peek_data (self);
}

static GBytes *
new_view (BufPoolAllocation *self, gsize offset, gsize size)
{
  if (!buf_pool_allocation_take_view (self))
    return NULL;

  return g_bytes_new_with_free_func (buf_pool_allocation_peek_data (self) + offset,
                                     size,
                                     (GDestroyNotify) buf_pool_allocation_drop_view,
                                     self);
}

/**
 * buf_pool_allocation_get_bytes:
 * @self: an allocation
 *
 * Gets all buffers as a [struct@GLib.Bytes], without a copy. It keeps the allocation alive, which
 * continues to count against the limit. The content of a [struct@GLib.Bytes] must not change, so
 * write the data before you call this function.
 *
 * Returns: (transfer full) (nullable): a view of the whole allocation, or %NULL if the allocation
 * has been released
 *
 * Since: 1.0
 */
GBytes *
buf_pool_allocation_get_bytes (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return new_view (self, 0, buf_pool_allocation_get_size (self));
}

/**
 * buf_pool_allocation_get_buffer_bytes:
 * @self: an allocation
 * @index: the index of the buffer, from 0 to one less than [method@PoolAllocation.get_length]
 *
 * Gets one buffer as a [struct@GLib.Bytes], without a copy, see [method@PoolAllocation.get_bytes].
 * An index that is out of range is a programming error.
 *
 * Returns: (transfer full) (nullable): a view of the buffer
 *
 * Since: 1.0
 */
GBytes *
buf_pool_allocation_get_buffer_bytes (BufPoolAllocation *self, gsize index)
{
  gsize buffer_size;

  g_return_val_if_fail (self != NULL, NULL);
  if (!check_index (self, index, G_STRFUNC))
    return NULL;

  buffer_size = buf_pool_allocation_peek_buffer_size (self);
  return new_view (self, index * buffer_size, buffer_size);
}

void
buf_pool_allocation_set_released_error (BufPoolAllocation *self, GError **error)
{
  gint64 size = buf_pool_allocation_get_size (self);

  g_set_error (error,
               BUF_POOL_ERROR,
               BUF_POOL_ERROR_RELEASED,
               "The allocation of %" G_GINT64_FORMAT " %s has been released",
               size,
               buf_words_choose (size, "byte", "bytes"));
}

/* Returns whether the range lies within the allocation. */
gboolean
buf_pool_allocation_check_range (BufPoolAllocation *self, gsize offset, gsize size, GError **error)
{
  gsize whole = buf_pool_allocation_get_size (self);

  if (offset <= whole && size <= whole - offset)
    return TRUE;

  g_set_error (error,
               BUF_POOL_ERROR,
               BUF_POOL_ERROR_OUT_OF_RANGE,
               "Cannot access %" G_GSIZE_FORMAT " %s at offset %" G_GSIZE_FORMAT
               ": the allocation has %" G_GSIZE_FORMAT " %s",
               size,
               buf_words_choose (size, "byte", "bytes"),
               offset,
               whole,
               buf_words_choose (whole, "byte", "bytes"));
  return FALSE;
}

/* Takes a view if the range lies within the allocation. */
gboolean
buf_pool_allocation_view_range (BufPoolAllocation *self, gsize offset, gsize size, GError **error)
{
  if (!buf_pool_allocation_take_view (self))
    {
      buf_pool_allocation_set_released_error (self, error);
      return FALSE;
    }
  if (buf_pool_allocation_check_range (self, offset, size, error))
    return TRUE;

  buf_pool_allocation_drop_view (self);
  return FALSE;
}

/**
 * buf_pool_allocation_fill:
 * @self: an allocation
 * @offset: the offset from the first buffer, in bytes
 * @data: (array length=size) (element-type guint8): the data to copy
 * @size: the size of @data, in bytes
 * @error: return location for an error, or %NULL
 *
 * Copies @data into the allocation, across buffers if necessary. If @data does not fit completely,
 * nothing is copied, and the call fails with %BUF_POOL_ERROR_OUT_OF_RANGE. If the allocation has
 * been released, it fails with %BUF_POOL_ERROR_RELEASED.
 *
 * Returns: %TRUE if the data was copied, %FALSE with an error otherwise
 *
 * Since: 1.0
 */
gboolean
buf_pool_allocation_fill (BufPoolAllocation *self,
                          gsize offset,
                          const guint8 *data,
                          gsize size,
                          GError **error)
{
  g_return_val_if_fail (self != NULL, FALSE);
  g_return_val_if_fail (data != NULL || size == 0, FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (!buf_pool_allocation_view_range (self, offset, size, error))
    return FALSE;

  if (size > 0)
    memmove (buf_pool_allocation_peek_data (self) + offset, data, size);
  buf_pool_allocation_drop_view (self);
  return TRUE;
}

/**
 * buf_pool_allocation_extract:
 * @self: an allocation
 * @offset: the offset from the first buffer, in bytes
 * @size: the number of bytes to copy
 * @error: return location for an error, or %NULL
 *
 * Copies a part of the allocation. The copy does not count against the limit. If the range lies
 * outside the allocation, the call fails with %BUF_POOL_ERROR_OUT_OF_RANGE. If the allocation has
 * been released, it fails with %BUF_POOL_ERROR_RELEASED.
 *
 * Returns: (transfer full): the copy, or %NULL with an error
 *
 * Since: 1.0
 */
GBytes *
buf_pool_allocation_extract (BufPoolAllocation *self, gsize offset, gsize size, GError **error)
{
  GBytes *copy;

  g_return_val_if_fail (self != NULL, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (!buf_pool_allocation_view_range (self, offset, size, error))
    return NULL;

  copy = g_bytes_new (buf_pool_allocation_peek_data (self) + offset, size);
  buf_pool_allocation_drop_view (self);
  return copy;
}

/**
 * buf_pool_allocation_iter_init: (skip)
 * @iter: an uninitialized iterator, usually on the stack
 * @self: an allocation
 *
 * Initializes the iterator before the first buffer. The iterator owns nothing: the allocation must
 * outlive it.
 *
 * Since: 1.0
 */
void
buf_pool_allocation_iter_init (BufPoolAllocationIter *iter, BufPoolAllocation *self)
{
  g_return_if_fail (iter != NULL);
  g_return_if_fail (self != NULL);

  *iter = (BufPoolAllocationIter){ .next = buf_pool_allocation_get_first (self) };
  if (iter->next == NULL)
    return;

  iter->left = buf_pool_allocation_get_n_buffers (self);
  iter->step = buf_pool_allocation_peek_buffer_size (self);
}

/**
 * buf_pool_allocation_iter_next: (skip)
 * @iter: an iterator that [method@PoolAllocationIter.init] initialized
 * @buffer: (out) (optional) (transfer none): return location for the address of the buffer
 *
 * Advances the iterator to the next buffer.
 *
 * Returns: %FALSE if there are no more buffers; @buffer is then not set
 *
 * Since: 1.0
 */
gboolean
buf_pool_allocation_iter_next (BufPoolAllocationIter *iter, gpointer *buffer)
{
  g_return_val_if_fail (iter != NULL, FALSE);

  if (iter->left == 0)
    return FALSE;

  if (buffer != NULL)
    *buffer = iter->next;
  iter->left--;
  if (iter->left > 0)
    iter->next = (guint8 *) iter->next + iter->step;
  return TRUE;
}
