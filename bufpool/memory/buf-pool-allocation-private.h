/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdlib.h>

#include "memory/buf-aligned-private.h"
#include "buf-pool-allocation.h"
#include "pool/buf-pool-private.h"

G_BEGIN_DECLS

/* Where the buffers begin in an inline allocation. */
#define BUF_ALLOCATION_INLINE_OFFSET 16

/* The most bytes that an allocation can have, whatever the budget allows. */
#define BUF_ALLOCATION_MAX_SIZE ((guint64) (G_MAXSSIZE - BUF_ALLOCATION_INLINE_OFFSET))

typedef enum
{
  BUF_ALLOCATION_DETACHED = 1 << 0, /* the buffers are a block of their own */
  BUF_ALLOCATION_PINNED = 1 << 1,   /* detached, and holds its pool */
  BUF_ALLOCATION_RELEASED = 1 << 2, /* of a plain one; a pinned one has it elsewhere */
} BufAllocationFlags;

struct _BufPoolAllocation
{
  BufPool *pool;             /* const; outlives the allocation, or the data of a pinned one */
  _Atomic guint32 ref_count; /* atomic */
  guint16 n_buffers;         /* const */
  _Atomic guint16 flags;     /* atomic; all but RELEASED is constant */
};

BufPoolAllocation *
buf_pool_allocation_new_unusual (BufPool *pool, gsize n_buffers, gint64 bytes, GError **error);
BufPoolAllocation *
buf_pool_allocation_new_pinned (BufPool *pool, gsize n_buffers, gint64 bytes, GError **error);
BufPoolAllocation *buf_pool_allocation_refuse (BufPool *pool,
                                               gsize n_buffers,
                                               gint64 bytes,
                                               gboolean pinned,
                                               GError **error);
void buf_pool_allocation_free_detached (BufPoolAllocation *self);
void buf_pool_allocation_set_origin (BufPoolAllocation *self, const BufDebugStack *origin);

gboolean buf_pool_allocation_take_view (BufPoolAllocation *self);
void buf_pool_allocation_drop_view (BufPoolAllocation *self);
guint8 *buf_pool_allocation_peek_data (BufPoolAllocation *self);
gsize buf_pool_allocation_peek_buffer_size (BufPoolAllocation *self);

gboolean
buf_pool_allocation_hold_range (BufPoolAllocation *self, gsize offset, gsize size, GError **error);

/* Whether it is what nearly all are: plain, inline, and not released. Looked at once, since another
 * thread may be releasing it. */
static inline gboolean
buf_pool_allocation_is_simple (BufPoolAllocation *self)
{
  return G_LIKELY (atomic_load_explicit (&self->flags, memory_order_relaxed) == 0);
}

static inline guint8 *
buf_pool_allocation_get_inline_data (BufPoolAllocation *self)
{
  return (guint8 *) self + BUF_ALLOCATION_INLINE_OFFSET;
}

/* Turns @bytes of the budget, which the caller has taken, into an allocation, or gives them back.
 */
static inline BufPoolAllocation *
buf_pool_allocation_new (BufPool *pool, gsize n_buffers, gint64 bytes, GError **error)
{
  BufPoolAllocation *self;

  if (G_UNLIKELY (pool->unusual_memory))
    return buf_pool_allocation_new_unusual (pool, n_buffers, bytes, error);

  self = malloc (BUF_ALLOCATION_INLINE_OFFSET + bytes);
  if (G_UNLIKELY (self == NULL))
    return buf_pool_allocation_refuse (pool, n_buffers, bytes, FALSE, error);

  self->pool = pool;
  atomic_init (&self->ref_count, 1);
  self->n_buffers = n_buffers;
  atomic_init (&self->flags, 0);
  return self;
}

G_END_DECLS
