/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdlib.h>

#include "memory/buf-memory-private.h"

G_BEGIN_DECLS

/* A reference that the library itself holds on an allocation. */
typedef struct
{
  BufPoolAllocation *allocation; /* NULL for none */
  gboolean is_view;
} BufHold;

static inline guint64
buf_pool_allocation_get_word (BufPoolAllocation *self)
{
  return atomic_load_explicit (&self->word, memory_order_relaxed);
}

static inline gboolean
buf_pool_allocation_has_flag (BufPoolAllocation *self, guint64 flag)
{
  return (buf_pool_allocation_get_word (self) & flag) != 0;
}

/* Returns whether the allocation is plain, inline and not released, like nearly all are. Read once,
 * because another thread may be releasing it. */
static inline gboolean
buf_pool_allocation_is_simple (BufPoolAllocation *self)
{
  return G_LIKELY (!buf_pool_allocation_has_flag (self, BUF_WORD_FLAGS));
}

static inline gsize
buf_pool_allocation_get_n_buffers (BufPoolAllocation *self)
{
  return (buf_pool_allocation_get_word (self) & BUF_WORD_BUFFERS) >> BUF_WORD_BUFFERS_SHIFT;
}

static inline BufDetachedAllocation *
buf_pool_allocation_get_detached (BufPoolAllocation *self)
{
  g_assert (buf_pool_allocation_has_flag (self, BUF_WORD_DETACHED));

  return (BufDetachedAllocation *) self;
}

static inline guint8 *
buf_pool_allocation_get_inline_data (BufPoolAllocation *self)
{
  return (guint8 *) self + BUF_ALLOCATION_INLINE_OFFSET;
}

/* The caller must have a reference on a plain allocation, a view or a hold. */
static inline guint8 *
buf_pool_allocation_peek_data (BufPoolAllocation *self)
{
  if (G_UNLIKELY (buf_pool_allocation_has_flag (self, BUF_WORD_DETACHED)))
    return buf_pool_allocation_get_detached (self)->data;
  return buf_pool_allocation_get_inline_data (self);
}

/* A pinned allocation that has been released may have outlived the memory. */
static inline gsize
buf_pool_allocation_peek_buffer_size (BufPoolAllocation *self)
{
  if (G_UNLIKELY (buf_pool_allocation_has_flag (self, BUF_WORD_DETACHED)))
    return buf_pool_allocation_get_detached (self)->buffer_size;
  return self->memory->buffer_size;
}

static inline gint64
buf_pool_allocation_get_size (BufPoolAllocation *self)
{
  return (gint64) buf_pool_allocation_get_n_buffers (self) *
         (gint64) buf_pool_allocation_peek_buffer_size (self);
}

static inline void
buf_pool_allocation_init (BufPoolAllocation *self,
                          BufMemory *memory,
                          gsize n_buffers,
                          guint64 flags)
{
  self->memory = memory;
  atomic_init (&self->word,
               (guint64) n_buffers << BUF_WORD_BUFFERS_SHIFT | flags | BUF_WORD_REFERENCE);
}

/* Blocks. */

BufPoolAllocation *
buf_pool_allocation_new_unusual (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error);
BufPoolAllocation *
buf_pool_allocation_new_pinned (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error);
BufPoolAllocation *buf_pool_allocation_new_pinned_for (BufMemory *memory,
                                                       gsize n_buffers,
                                                       const BufWant *want,
                                                       GError **error);
void buf_pool_allocation_give_up (BufMemory *memory, const BufWant *want);
BufPoolAllocation *buf_pool_allocation_new_cached_pinned (BufMemory *memory, gsize n_buffers);
BufPoolAllocation *
buf_pool_allocation_new_again (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error);
void buf_pool_allocation_set_origin (BufPoolAllocation *self, const BufDebugStack *origin);
void buf_detached_allocation_free_part (BufDetachedAllocation *self);

BufPoolAllocation *
buf_pool_allocation_reuse_unusual (BufPoolAllocation *self, BufMemory *memory, gsize n_buffers)
    __attribute__ ((returns_nonnull));

/*
 * The fast paths: a hit in the first magazine of this thread's stripe, and a put into it. These
 * functions call nothing, except as their last step, so their callers need not save registers. If
 * one fails, the general function below may still succeed.
 */

static inline BufCacheStripe *
buf_cache_get_stripe (BufMemory *memory, guint n_live)
{
  return &memory->cache.stripes[buf_semaphore_thread_number & (n_live - 1)];
}

/* Takes a block from the first magazine, or returns NULL. If @pins is set, its bytes are pinned as
 * well. */
static inline BufPoolAllocation *
buf_cache_take_first_held (BufMemory *memory,
                           BufCacheStripe *stripe,
                           gsize n_buffers,
                           gboolean pins)
{
  BufMagazine *magazine = &stripe->magazines[0];
  BufPoolAllocation *block;
  gint64 bytes;

  if (G_UNLIKELY (magazine->n_buffers != n_buffers || magazine->head == NULL))
    return NULL;

  /* A block of that size exists, so this does not overflow. */
  bytes = buf_memory_get_block_bytes (memory, n_buffers);
  block = buf_cache_stripe_pop_held (stripe, magazine, bytes);
  if (pins)
    stripe->pinned += bytes;
  BUF_CACHE_ADD (stripe->n_hits, 1);
  return block;
}

/* Puts the block into the first magazine, if that is of its size and has room. If the bytes were
 * @pinned, they no longer are. */
static inline gboolean
buf_cache_put_first_held (BufCacheStripe *stripe,
                          BufPoolAllocation *block,
                          gsize n_buffers,
                          gint64 bytes,
                          gboolean pinned)
{
  BufMagazine *magazine = &stripe->magazines[0];

  if (G_UNLIKELY (magazine->n_buffers != n_buffers ||
                  !buf_cache_stripe_push_held (stripe, magazine, block, bytes)))
    return FALSE;

  if (pinned)
    stripe->pinned -= bytes;
  return TRUE;
}

/* If @pins is set, the bytes of the block are pinned as well. */
static inline BufPoolAllocation *
buf_cache_take_quickly (BufMemory *memory, gsize n_buffers, gboolean pins)
{
  guint n_live = atomic_load_explicit (&memory->cache.n_live, memory_order_relaxed);
  BufCacheStripe *stripe = buf_cache_get_stripe (memory, n_live);
  BufLockOwner *me = buf_lock_owner_self;
  BufPoolAllocation *block;

  if (n_live == 0 || !buf_biased_lock_try_quickly (&stripe->lock, me))
    return NULL;

  block = buf_cache_take_first_held (memory, stripe, n_buffers, pins);
  buf_biased_lock_unlock_quickly (&stripe->lock, me);
  return block;
}

/* If the bytes were @pinned, they no longer are. After TRUE, the memory may be gone. */
static inline gboolean
buf_cache_put_quickly (BufMemory *memory,
                       BufPoolAllocation *block,
                       gsize n_buffers,
                       gboolean pinned)
{
  guint n_live = atomic_load_explicit (&memory->cache.n_live, memory_order_relaxed);
  BufCacheStripe *stripe = buf_cache_get_stripe (memory, n_live);
  gint64 bytes = buf_memory_get_block_bytes (memory, n_buffers);
  BufLockOwner *me = buf_lock_owner_self;
  gboolean kept;

  if (n_live == 0 || memory->hides || !buf_biased_lock_try_quickly (&stripe->lock, me))
    return FALSE;

  kept = buf_cache_put_first_held (stripe, block, n_buffers, bytes, pinned);
  buf_biased_lock_unlock_quickly (&stripe->lock, me);
  return kept;
}

/* Makes an allocation of a block from the cache. @self may be NULL. */
static inline BufPoolAllocation *
buf_pool_allocation_reuse (BufPoolAllocation *self, BufMemory *memory, gsize n_buffers)
{
  if (G_UNLIKELY (self == NULL))
    return NULL;
  if (G_UNLIKELY (memory->unusual))
    return buf_pool_allocation_reuse_unusual (self, memory, n_buffers);

  buf_pool_allocation_init (self, memory, n_buffers, 0);
  return self;
}

static inline BufPoolAllocation *
buf_pool_allocation_new_quickly (BufMemory *memory, gsize n_buffers)
{
  BufPoolAllocation *block = buf_cache_take_quickly (memory, n_buffers, FALSE);

  return buf_pool_allocation_reuse (block, memory, n_buffers);
}

/* Returns whether no stripe takes blocks: the cache is closed or has no room. */
static inline gboolean
buf_cache_is_off (BufMemory *memory)
{
  return atomic_load_explicit (&memory->cache.n_live, memory_order_relaxed) == 0;
}

/* Returns a cached block, or NULL. If @pins is set, the bytes of the block are pinned as well. */
static inline BufPoolAllocation *
buf_cache_take (BufMemory *memory, gsize n_buffers, gboolean pins)
{
  guint n_live = atomic_load_explicit (&memory->cache.n_live, memory_order_relaxed);
  BufCacheStripe *stripe;
  BufPoolAllocation *block;

  if (n_live == 0)
    return NULL;

  stripe = buf_cache_get_stripe (memory, n_live);
  if (G_UNLIKELY (!buf_cache_stripe_try (stripe)))
    return buf_cache_take_elsewhere (memory, n_buffers, pins);

  block = buf_cache_take_first_held (memory, stripe, n_buffers, pins);
  if (G_UNLIKELY (block == NULL))
    return buf_cache_take_held (memory, stripe, n_buffers, pins);
  buf_cache_stripe_drop (stripe);
  return block;
}

/* Caches a block that nothing holds anymore, if there is room. If its bytes were @pinned, they no
 * longer are. After TRUE, the memory may be gone. */
static inline gboolean
buf_cache_put (BufMemory *memory,
               BufPoolAllocation *block,
               gsize n_buffers,
               gint64 bytes,
               gboolean pinned)
{
  guint n_live = atomic_load_explicit (&memory->cache.n_live, memory_order_relaxed);
  BufCacheStripe *stripe;

  if (n_live == 0)
    return FALSE;

  if (G_UNLIKELY (memory->hides))
    buf_block_hide (memory, block, bytes);
  stripe = buf_cache_get_stripe (memory, n_live);
  if (G_UNLIKELY (!buf_cache_stripe_try (stripe)))
    return buf_cache_put_elsewhere (memory, block, n_buffers, bytes, pinned);
  if (G_UNLIKELY (!buf_cache_put_first_held (stripe, block, n_buffers, bytes, pinned)))
    return buf_cache_put_held (memory, stripe, block, n_buffers, bytes, pinned);

  buf_cache_stripe_drop (stripe);
  return TRUE;
}

/* Makes an allocation of a cached block. Returns NULL if there is none. */
static inline BufPoolAllocation *
buf_pool_allocation_new_cached (BufMemory *memory, gsize n_buffers)
{
  BufPoolAllocation *block = buf_cache_take (memory, n_buffers, FALSE);

  return buf_pool_allocation_reuse (block, memory, n_buffers);
}

/* Turns @bytes, which the caller has taken, into an allocation, or releases them on failure. */
static inline BufPoolAllocation *
buf_pool_allocation_new (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error)
{
  BufPoolAllocation *self;

  if (G_UNLIKELY (memory->unusual || n_buffers >= memory->n_large))
    return buf_pool_allocation_new_unusual (memory, n_buffers, bytes, error);

  self = malloc (BUF_ALLOCATION_INLINE_OFFSET + bytes);
  if (G_UNLIKELY (self == NULL))
    return buf_pool_allocation_new_again (memory, n_buffers, bytes, error);

  buf_pool_allocation_init (self, memory, n_buffers, 0);
  return self;
}

/* Like buf_pool_allocation_new(), for the bytes in @want. */
static inline BufPoolAllocation *
buf_pool_allocation_new_for (BufMemory *memory,
                             gsize n_buffers,
                             const BufWant *want,
                             GError **error)
{
  if (want->idle != NULL)
    return buf_pool_allocation_reuse (want->idle, memory, n_buffers);
  return buf_pool_allocation_new (memory, n_buffers, want->taken, error);
}

/* References, views and holds. */

gboolean buf_pool_allocation_take_view (BufPoolAllocation *self);
void buf_pool_allocation_drop_view (BufPoolAllocation *self);
gboolean buf_pool_allocation_take_hold (BufPoolAllocation *self, BufHold *hold);
void buf_hold_drop (BufHold *self);

/* The checks of the public functions. */

void buf_pool_allocation_set_released_error (BufPoolAllocation *self, GError **error);
gboolean
buf_pool_allocation_check_range (BufPoolAllocation *self, gsize offset, gsize size, GError **error);
gboolean
buf_pool_allocation_view_range (BufPoolAllocation *self, gsize offset, gsize size, GError **error);

G_END_DECLS
