/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdlib.h>

#include "memory/buf-pool-allocation-private.h"
#include "buf-pool-error.h"

/*
 * The memory of an allocation: how it lies, who holds it, and how it goes.
 *
 * Inline: the buffers follow the header in one block of malloc(). Detached: the header is a block
 * of its own, with a pointer to the buffers; when the alignment is more than malloc() gives, when
 * the allocation is pinned, and when BUFPOOL_DEBUG wants a record of it.
 *
 * A *plain* allocation is held by its references, and so is its data: a view is a reference. The
 * pool waits for it.
 *
 * A *pinned* allocation is a *handle*, held by references, and its *data*, held by views and, until
 * it is released, by the references together. It holds its pool, so the pool need not wait for it.
 * This is for languages that decide themselves when to drop a reference:
 * buf_pool_allocation_release() gives the data up early, and what is still referenced is only the
 * handle.
 *
 *                 take_view, drop_view                      drop_view
 *                      +----+                                +----+
 *                      v    |                                v    |
 *    new         +--------------+  release, or the last   +-----------+
 *   -----------> |  accessible  | ----------------------> | released  |
 *                | holders >= 1 |  reference is dropped   | holders>=0|
 *                +--------------+                         +-----------+
 *                                                               | holders = 0
 *                                                               v
 *                 the handle is freed when the      +----------------------+
 *                 data is gone and so are the  <--- | data freed, budget   |
 *                 references                        | given back, pool let |
 *                                                   | go, in this order    |
 *                                                   +----------------------+
 *
 * Both, the number of holders and whether it is released, are one atomic word: a view is taken by
 * "increment unless released". So no view is ever taken of data that is gone, or about to go.
 *
 * Order of the end: first the memory is freed, then its bytes go back to the budget, since with the
 * last byte the pool may go. After that nothing of the pool is touched; but a pinned allocation
 * then drops its pool.
 */

#define RELEASED (1u << 31)

typedef struct
{
  BufPoolAllocation header;
  guint8 *data;            /* const, until nobody holds it */
  gsize buffer_size;       /* const */
  _Atomic guint32 holders; /* atomic; pinned: RELEASED, and how many hold the data */
  _Atomic guint32 parts;   /* atomic; pinned: one each for the references and the data */
  BufDebugRecord *record;  /* const; NULL unless BUFPOOL_DEBUG asks for it */
} BufDetachedAllocation;

G_STATIC_ASSERT (sizeof (BufPoolAllocation) <= BUF_ALLOCATION_INLINE_OFFSET);
G_STATIC_ASSERT (BUF_ALLOCATION_INLINE_OFFSET % BUF_NATURAL_ALIGNMENT == 0);
G_STATIC_ASSERT (BUF_POOL_MAX_BUFFERS <= G_MAXUINT16);

static gboolean
has_flag (BufPoolAllocation *self, BufAllocationFlags flag)
{
  return (atomic_load_explicit (&self->flags, memory_order_relaxed) & flag) != 0;
}

static BufDetachedAllocation *
get_detached (BufPoolAllocation *self)
{
  g_assert (has_flag (self, BUF_ALLOCATION_DETACHED));

  return (BufDetachedAllocation *) self;
}

/* Memory with a record in the pool's ledger. */
static gpointer
new_recorded_data (BufPool *pool, gsize size, BufDebugRecord **record)
{
  gsize whole = size + buf_debug_ledger_get_tail (pool->ledger);
  guint8 *data = buf_aligned_alloc (whole, pool->alignment, pool->zero_fill);

  if (data == NULL)
    return NULL;

  *record = buf_debug_record_new (pool->ledger, size);
  if (*record == NULL)
    {
      buf_aligned_free (data, whole, pool->alignment, pool->zero_fill);
      return NULL;
    }

  buf_debug_record_begin (*record, pool->ledger, data, !pool->zero_fill);
  return data;
}

static void
free_data (BufDetachedAllocation *self)
{
  BufPool *pool = self->header.pool;
  gsize size = self->header.n_buffers * self->buffer_size;

  if (self->record != NULL)
    {
      size += buf_debug_ledger_get_tail (pool->ledger);
      buf_debug_record_end (self->record, pool->ledger);
    }
  buf_aligned_free (self->data, size, pool->alignment, pool->zero_fill);
}

static BufPoolAllocation *
new_detached (BufPool *pool, gint64 bytes)
{
  BufDetachedAllocation *self = malloc (sizeof *self);

  if (self == NULL)
    return NULL;

  self->record = NULL;
  if (pool->ledger != NULL)
    self->data = new_recorded_data (pool, bytes, &self->record);
  else
    self->data = buf_aligned_alloc (bytes, pool->alignment, pool->zero_fill);
  if (self->data == NULL)
    {
      free (self);
      return NULL;
    }

  self->buffer_size = pool->buffer_size;
  atomic_init (&self->holders, 1);
  atomic_init (&self->parts, 2);
  return &self->header;
}

static BufPoolAllocation *
new_block (BufPool *pool, gint64 bytes, BufAllocationFlags flags)
{
  /* With 32 bits a budget can allow more than there are addresses. */
  if ((guint64) bytes > BUF_ALLOCATION_MAX_SIZE)
    return NULL;
  if (flags & BUF_ALLOCATION_DETACHED)
    return new_detached (pool, bytes);
  return buf_aligned_alloc (BUF_ALLOCATION_INLINE_OFFSET + bytes, 0, pool->zero_fill);
}

static BufPoolAllocation *
new_with_flags (BufPool *pool,
                gsize n_buffers,
                gint64 bytes,
                BufAllocationFlags flags,
                GError **error)
{
  BufPoolAllocation *self = new_block (pool, bytes, flags);

  if (self == NULL)
    return buf_pool_allocation_refuse (pool,
                                       n_buffers,
                                       bytes,
                                       (flags & BUF_ALLOCATION_PINNED) != 0,
                                       error);

  self->pool = pool;
  atomic_init (&self->ref_count, 1);
  self->n_buffers = n_buffers;
  atomic_init (&self->flags, flags);
  return self;
}

/* For memory that plain malloc() does not give: aligned, zeroed, recorded, or perhaps too large. */
BufPoolAllocation *
buf_pool_allocation_new_unusual (BufPool *pool, gsize n_buffers, gint64 bytes, GError **error)
{
  gboolean detached = pool->alignment > BUF_NATURAL_ALIGNMENT || pool->ledger != NULL;

  return new_with_flags (pool, n_buffers, bytes, detached ? BUF_ALLOCATION_DETACHED : 0, error);
}

/* The caller has also pinned the bytes, and gives a reference on @pool. */
BufPoolAllocation *
buf_pool_allocation_new_pinned (BufPool *pool, gsize n_buffers, gint64 bytes, GError **error)
{
  const BufAllocationFlags flags = BUF_ALLOCATION_DETACHED | BUF_ALLOCATION_PINNED;
  BufPoolAllocation *self = new_with_flags (pool, n_buffers, bytes, flags, error);

  if (self == NULL)
    g_object_unref (pool);
  return self;
}

/* What BUFPOOL_DEBUG=leaks tells about the allocation: where it was asked for. */
void
buf_pool_allocation_set_origin (BufPoolAllocation *self, const BufDebugStack *origin)
{
  buf_debug_record_set_origin (get_detached (self)->record, self->pool->ledger, origin);
}

/* The allocator has no memory: gives @bytes back to the budget. */
BufPoolAllocation *
buf_pool_allocation_refuse (BufPool *pool,
                            gsize n_buffers,
                            gint64 bytes,
                            gboolean pinned,
                            GError **error)
{
  /* As long as the bytes are out, the pool cannot go: so, say it first. */
  buf_pool_count_refusal (pool, BUF_REFUSAL_NO_MEMORY);
  g_set_error (error,
               BUF_POOL_ERROR,
               BUF_POOL_ERROR_NO_MEMORY,
               "The system has no memory for %" G_GSIZE_FORMAT " buffers of %" G_GUINT64_FORMAT
               " bytes (%" G_GINT64_FORMAT " bytes together), though the budget allows them",
               n_buffers,
               pool->buffer_size,
               bytes);
  if (pinned)
    buf_semaphore_release_pinned (&pool->semaphore, bytes);
  else
    buf_semaphore_release (&pool->semaphore, bytes);
  return NULL;
}

/* The caller may look at it only while it holds a reference on a plain allocation, or a view. */
guint8 *
buf_pool_allocation_peek_data (BufPoolAllocation *self)
{
  if (G_UNLIKELY (has_flag (self, BUF_ALLOCATION_DETACHED)))
    return get_detached (self)->data;
  return buf_pool_allocation_get_inline_data (self);
}

/* A pinned allocation that was released may have outlived its pool. */
gsize
buf_pool_allocation_peek_buffer_size (BufPoolAllocation *self)
{
  if (G_UNLIKELY (has_flag (self, BUF_ALLOCATION_DETACHED)))
    return get_detached (self)->buffer_size;
  return self->pool->buffer_size;
}

static void
end_part (BufDetachedAllocation *self)
{
  if (atomic_fetch_sub_explicit (&self->parts, 1, memory_order_acq_rel) == 1)
    free (self);
}

static void
end_data (BufDetachedAllocation *self)
{
  BufPool *pool = self->header.pool;
  gint64 bytes = (gint64) self->header.n_buffers * (gint64) self->buffer_size;

  free_data (self);
  end_part (self);
  buf_pool_trace_memory (pool, -bytes);
  buf_semaphore_release_pinned (&pool->semaphore, bytes);
  g_object_unref (pool);
}

static void
drop_holder (BufDetachedAllocation *self, guint32 holders)
{
  if ((holders & ~RELEASED) == 0)
    end_data (self);
}

/* Lets go what the references hold of the data. */
static void
release_pinned (BufDetachedAllocation *self)
{
  guint32 holders = atomic_load_explicit (&self->holders, memory_order_relaxed);

  do
    if (holders & RELEASED)
      return;
  while (!atomic_compare_exchange_weak_explicit (&self->holders,
                                                 &holders,
                                                 (holders - 1) | RELEASED,
                                                 memory_order_acq_rel,
                                                 memory_order_relaxed));

  drop_holder (self, holders - 1);
}

/* The last reference was dropped. */
void
buf_pool_allocation_free_detached (BufPoolAllocation *self)
{
  BufDetachedAllocation *detached = get_detached (self);
  BufPool *pool = self->pool;
  gint64 bytes = (gint64) self->n_buffers * (gint64) detached->buffer_size;

  if (has_flag (self, BUF_ALLOCATION_PINNED))
    {
      release_pinned (detached);
      end_part (detached);
      return;
    }

  free_data (detached);
  free (detached);
  buf_pool_trace_memory (pool, -bytes);
  buf_semaphore_release (&pool->semaphore, bytes);
}

/* Returns FALSE if the allocation was released. */
gboolean
buf_pool_allocation_take_view (BufPoolAllocation *self)
{
  BufDetachedAllocation *detached;
  guint32 holders;

  if (!has_flag (self, BUF_ALLOCATION_PINNED))
    {
      if (has_flag (self, BUF_ALLOCATION_RELEASED))
        return FALSE;
      buf_pool_allocation_ref (self);
      return TRUE;
    }

  detached = get_detached (self);
  holders = atomic_load_explicit (&detached->holders, memory_order_relaxed);
  do
    if (holders & RELEASED)
      return FALSE;
  while (!atomic_compare_exchange_weak_explicit (&detached->holders,
                                                 &holders,
                                                 holders + 1,
                                                 memory_order_acquire,
                                                 memory_order_relaxed));
  return TRUE;
}

void
buf_pool_allocation_drop_view (BufPoolAllocation *self)
{
  BufDetachedAllocation *detached;

  if (!has_flag (self, BUF_ALLOCATION_PINNED))
    {
      buf_pool_allocation_unref (self);
      return;
    }

  detached = get_detached (self);
  drop_holder (detached,
               atomic_fetch_sub_explicit (&detached->holders, 1, memory_order_acq_rel) - 1);
}

/**
 * buf_pool_allocation_release:
 * @self: an allocation
 *
 * Gives the memory up, though there are still references. From then on the allocation is empty: it
 * has no buffers, no data and no views, and what would copy fails with %BUF_POOL_ERROR_RELEASED.
 * Releasing it again does nothing. It does not drop a reference.
 *
 * The memory of a pinned allocation, see [method@Pool.allocate_pinned], is freed as soon as no view
 * of it is left, and its bytes go back to the budget. A plain allocation is only marked: its memory
 * is freed with its last reference, as ever.
 *
 * Returned pointers are invalid after this; views, such as [method@PoolAllocation.get_bytes], stay
 * valid until they are dropped. Any thread may do this that holds a reference.
 *
 * Since: 1.0
 */
void
buf_pool_allocation_release (BufPoolAllocation *self)
{
  g_return_if_fail (self != NULL);

  if (has_flag (self, BUF_ALLOCATION_PINNED))
    release_pinned (get_detached (self));
  else
    atomic_fetch_or_explicit (&self->flags, BUF_ALLOCATION_RELEASED, memory_order_relaxed);
}

/**
 * buf_pool_allocation_is_released:
 * @self: an allocation
 *
 * Whether the allocation was released.
 *
 * Returns: %TRUE after [method@PoolAllocation.release]
 *
 * Since: 1.0
 */
gboolean
buf_pool_allocation_is_released (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, FALSE);

  if (has_flag (self, BUF_ALLOCATION_PINNED))
    return (atomic_load_explicit (&get_detached (self)->holders, memory_order_acquire) &
            RELEASED) != 0;
  return has_flag (self, BUF_ALLOCATION_RELEASED);
}
