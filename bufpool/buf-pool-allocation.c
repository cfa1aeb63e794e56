/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "buf-pool-allocation-private.h"
#include "buf-pool-error.h"

/**
 * BufPoolAllocation:
 *
 * One contiguous block of buffers, out of the budget of a [class@Pool].
 *
 * An allocation is counted by references, atomically: it may be passed to other threads, and
 * referenced and dropped there. When the last reference is dropped, the memory is freed, its bytes
 * go back to the budget of the pool, and whoever waits for them is served. The functions that look
 * at an allocation may be called from any thread; what the program writes into the memory it has to
 * order itself, as with any memory.
 *
 * The pool outlives its allocations: when it is disposed of, it waits for them.
 *
 * Since: 1.0
 */

/*
 * Two layouts share one header. Inline: the buffers follow the header in one block of malloc().
 * Detached, when the alignment is more than malloc() gives: the header is a block of its own, and
 * holds a pointer to the buffers.
 *
 * Order of the end: first the memory is freed, then its bytes go back to the budget, since with the
 * last byte the pool may go. After that nothing of the pool is touched.
 */
typedef struct
{
  BufPoolAllocation header;
  guint8 *data; /* const */
} BufDetachedAllocation;

G_STATIC_ASSERT (sizeof (BufPoolAllocation) <= BUF_ALLOCATION_INLINE_OFFSET);
G_STATIC_ASSERT (BUF_ALLOCATION_INLINE_OFFSET % BUF_NATURAL_ALIGNMENT == 0);
G_STATIC_ASSERT (BUF_POOL_MAX_BUFFERS <= G_MAXUINT16);

G_DEFINE_BOXED_TYPE (BufPoolAllocation,
                     buf_pool_allocation,
                     buf_pool_allocation_ref,
                     buf_pool_allocation_unref)

static gsize
get_size (BufPoolAllocation *self)
{
  return self->n_buffers * (gsize) self->pool->buffer_size;
}

static guint8 *
get_data (BufPoolAllocation *self)
{
  if (G_UNLIKELY (self->detached))
    return ((BufDetachedAllocation *) self)->data;
  return (guint8 *) self + BUF_ALLOCATION_INLINE_OFFSET;
}

static BufPoolAllocation *
new_detached (gsize size, gsize alignment, gboolean zero_fill)
{
  BufDetachedAllocation *self = malloc (sizeof *self);
  gpointer data;

  if (self == NULL || posix_memalign (&data, alignment, size) != 0)
    {
      free (self);
      return NULL;
    }

  if (zero_fill)
    memset (data, 0, size);
  self->data = data;
  return &self->header;
}

static BufPoolAllocation *
new_block (BufPool *pool, gint64 bytes)
{
  /* With 32 bits a budget can allow more than there are addresses. */
  if ((guint64) bytes > BUF_ALLOCATION_MAX_SIZE)
    return NULL;
  if (pool->alignment > BUF_NATURAL_ALIGNMENT)
    return new_detached (bytes, pool->alignment, pool->zero_fill);
  if (pool->zero_fill)
    return calloc (1, BUF_ALLOCATION_INLINE_OFFSET + bytes);
  return malloc (BUF_ALLOCATION_INLINE_OFFSET + bytes);
}

/* For memory that plain malloc() does not give: aligned, zeroed, or perhaps too large. */
BufPoolAllocation *
buf_pool_allocation_new_unusual (BufPool *pool, gsize n_buffers, gint64 bytes, GError **error)
{
  BufPoolAllocation *self = new_block (pool, bytes);

  if (self == NULL)
    return buf_pool_allocation_refuse (pool, n_buffers, bytes, error);

  self->pool = pool;
  atomic_init (&self->ref_count, 1);
  self->n_buffers = n_buffers;
  self->detached = pool->alignment > BUF_NATURAL_ALIGNMENT;
  return self;
}

/* The allocator has no memory: gives @bytes back to the budget. */
BufPoolAllocation *
buf_pool_allocation_refuse (BufPool *pool, gsize n_buffers, gint64 bytes, GError **error)
{
  /* As long as the bytes are out, the pool cannot go: so, say it first. */
  g_set_error (error,
               BUF_POOL_ERROR,
               BUF_POOL_ERROR_NO_MEMORY,
               "The system has no memory for %" G_GSIZE_FORMAT " buffers of %" G_GUINT64_FORMAT
               " bytes (%" G_GINT64_FORMAT " bytes together), though the budget allows them",
               n_buffers,
               pool->buffer_size,
               bytes);
  buf_budget_release (&pool->budget, bytes);
  return NULL;
}

/**
 * buf_pool_allocation_ref: (skip)
 * @self: an allocation
 *
 * Adds a reference. Any thread may do this that holds one.
 *
 * Returns: (transfer full): @self
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocation_ref (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  atomic_fetch_add_explicit (&self->ref_count, 1, memory_order_relaxed);
  return self;
}

static inline void
allocation_free (BufPoolAllocation *self)
{
  BufPool *pool = self->pool;
  gint64 bytes = get_size (self);
  BufStripe *stripe = buf_budget_get_stripe (&pool->budget);

  if (G_UNLIKELY (self->detached))
    free (((BufDetachedAllocation *) self)->data);
  free (self);

  if (!buf_budget_give_credit (&pool->budget, stripe, bytes))
    buf_budget_release (&pool->budget, bytes);
}

/**
 * buf_pool_allocation_unref: (skip)
 * @self: (transfer full): an allocation
 *
 * Drops a reference. With the last one the memory is freed, its bytes go back to the budget of the
 * pool, and those who wait for them are served; a callback of an asynchronous request never runs
 * inside of this call. Any thread may do this.
 *
 * Since: 1.0
 */
void
buf_pool_allocation_unref (BufPoolAllocation *self)
{
  g_return_if_fail (self != NULL);

  /* The only owner cannot be joined by another: no need to ask the other processors. */
  if (atomic_load_explicit (&self->ref_count, memory_order_acquire) == 1 ||
      atomic_fetch_sub_explicit (&self->ref_count, 1, memory_order_acq_rel) == 1)
    allocation_free (self);
}

/**
 * buf_pool_allocation_get_length:
 * @self: an allocation
 *
 * How many buffers the allocation has.
 *
 * Returns: the number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 *
 * Since: 1.0
 */
gsize
buf_pool_allocation_get_length (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return self->n_buffers;
}

/**
 * buf_pool_allocation_get_buffer_size:
 * @self: an allocation
 *
 * The size of each buffer: the [property@Pool:buffer-size] of the pool.
 *
 * Returns: the size of one buffer, in bytes
 *
 * Since: 1.0
 */
gsize
buf_pool_allocation_get_buffer_size (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return self->pool->buffer_size;
}

/**
 * buf_pool_allocation_get_allocated_bytes:
 * @self: an allocation
 *
 * The size of all buffers together: what the allocation takes of the budget.
 *
 * Returns: the size of the allocation, in bytes
 *
 * Since: 1.0
 */
gsize
buf_pool_allocation_get_allocated_bytes (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return get_size (self);
}

/**
 * buf_pool_allocation_get_first:
 * @self: an allocation
 *
 * The address of the first buffer. The others follow it without a gap, each
 * [method@PoolAllocation.get_buffer_size] bytes after the one before.
 *
 * Returns: (transfer none): the first buffer, valid as long as the allocation
 *
 * Since: 1.0
 */
gpointer
buf_pool_allocation_get_first (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return get_data (self);
}

/**
 * buf_pool_allocation_get_buffer:
 * @self: an allocation
 * @index: which buffer, from 0 to one less than [method@PoolAllocation.get_length]
 *
 * The address of one buffer. An index out of range is a programming error.
 *
 * Returns: (transfer none) (nullable): the buffer, valid as long as the allocation
 *
 * Since: 1.0
 */
gpointer
buf_pool_allocation_get_buffer (BufPoolAllocation *self, gsize index)
{
  g_return_val_if_fail (self != NULL, NULL);
  g_return_val_if_fail (index < self->n_buffers, NULL);

  return get_data (self) + index * self->pool->buffer_size;
}

/**
 * buf_pool_allocation_get_data:
 * @self: an allocation
 * @size: (out) (optional): return location for the size of all buffers together, in bytes
 *
 * The memory of all buffers, which may be written to.
 *
 * Returns: (transfer none) (array length=size) (element-type guint8): the first byte, valid as long
 *   as the allocation
 *
 * Since: 1.0
 */
guint8 *
buf_pool_allocation_get_data (BufPoolAllocation *self, gsize *size)
{
  g_return_val_if_fail (self != NULL, NULL);

  if (size != NULL)
    *size = get_size (self);
  return get_data (self);
}

static GBytes *
new_view (BufPoolAllocation *self, gsize offset, gsize size)
{
  return g_bytes_new_with_free_func (get_data (self) + offset,
                                     size,
                                     (GDestroyNotify) buf_pool_allocation_unref,
                                     buf_pool_allocation_ref (self));
}

/**
 * buf_pool_allocation_get_bytes:
 * @self: an allocation
 *
 * All buffers as a [struct@GLib.Bytes], without a copy. It keeps the allocation, and so its share
 * of the budget. What a [struct@GLib.Bytes] shows should not change: write first, then make it.
 *
 * Returns: (transfer full): a view of the whole allocation
 *
 * Since: 1.0
 */
GBytes *
buf_pool_allocation_get_bytes (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return new_view (self, 0, get_size (self));
}

/**
 * buf_pool_allocation_get_buffer_bytes:
 * @self: an allocation
 * @index: which buffer, from 0 to one less than [method@PoolAllocation.get_length]
 *
 * One buffer as a [struct@GLib.Bytes], without a copy, see [method@PoolAllocation.get_bytes]. An
 * index out of range is a programming error.
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
  g_return_val_if_fail (index < self->n_buffers, NULL);

  buffer_size = self->pool->buffer_size;
  return new_view (self, index * buffer_size, buffer_size);
}

/* Whether a part lies within the allocation. */
gboolean
buf_pool_allocation_check_range (BufPoolAllocation *self, gsize offset, gsize size, GError **error)
{
  gsize whole = get_size (self);

  if (offset <= whole && size <= whole - offset)
    return TRUE;

  g_set_error (error,
               BUF_POOL_ERROR,
               BUF_POOL_ERROR_OUT_OF_RANGE,
               "%" G_GSIZE_FORMAT " bytes from offset %" G_GSIZE_FORMAT
               " on do not lie within the %" G_GSIZE_FORMAT " bytes of the allocation",
               size,
               offset,
               whole);
  return FALSE;
}

/**
 * buf_pool_allocation_fill:
 * @self: an allocation
 * @offset: where to begin, in bytes from the first buffer
 * @data: (array length=size) (element-type guint8): what to copy
 * @size: how much to copy, in bytes
 * @error: return location for an error
 *
 * Copies @data into the allocation, over as many buffers as it takes. If not all of it fits,
 * nothing is copied, and the error is %BUF_POOL_ERROR_OUT_OF_RANGE.
 *
 * Returns: whether it was copied
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

  if (!buf_pool_allocation_check_range (self, offset, size, error))
    return FALSE;

  if (size > 0)
    memmove (get_data (self) + offset, data, size);
  return TRUE;
}

/**
 * buf_pool_allocation_extract:
 * @self: an allocation
 * @offset: where to begin, in bytes from the first buffer
 * @size: how much to copy, in bytes
 * @error: return location for an error
 *
 * Copies a part of the allocation. The copy has nothing to do with the budget. If the part does not
 * lie within the allocation, the error is %BUF_POOL_ERROR_OUT_OF_RANGE.
 *
 * Returns: (transfer full): the copy, or %NULL with an error
 *
 * Since: 1.0
 */
GBytes *
buf_pool_allocation_extract (BufPoolAllocation *self, gsize offset, gsize size, GError **error)
{
  g_return_val_if_fail (self != NULL, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (!buf_pool_allocation_check_range (self, offset, size, error))
    return NULL;

  return g_bytes_new (get_data (self) + offset, size);
}

/**
 * buf_pool_allocation_iter_init: (skip)
 * @iter: an iterator, usually on the stack
 * @self: an allocation
 *
 * Places the iterator before the first buffer. It owns nothing: the allocation has to outlive it.
 *
 * Since: 1.0
 */
void
buf_pool_allocation_iter_init (BufPoolAllocationIter *iter, BufPoolAllocation *self)
{
  g_return_if_fail (iter != NULL);
  g_return_if_fail (self != NULL);

  *iter = (BufPoolAllocationIter){
    .next = get_data (self),
    .left = self->n_buffers,
    .step = self->pool->buffer_size,
  };
}

/**
 * buf_pool_allocation_iter_next: (skip)
 * @iter: an iterator that was placed with buf_pool_allocation_iter_init()
 * @buffer: (out) (optional) (transfer none): return location for the address of the buffer
 *
 * Goes to the next buffer.
 *
 * Returns: %FALSE when there are no more, and @buffer is not set
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
