/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-pool-allocation-private.h"

/*
 * The lifetime of an allocation: references, views and holds.
 *
 * The references of a *plain* allocation hold its data as well: a view is a reference. The pool
 * waits for a plain allocation.
 *
 * A *hold* is the library's own reference to a plain allocation, for a transfer in progress. Bytes
 * that only the library holds count as pinned, so the owner of the pool does not wait for them. It
 * must not, because the transfer may need the main loop of the waiting thread. Therefore a hold is
 * not a reference: when the last user drops the last reference while there are holds, it pins the
 * bytes first.
 *
 *   references > 0, holds = 0  ------------------------------------>  freed; the bytes were plain
 *          |        ^                  the last reference                  ^
 *    hold  |        | the last hold                                        |
 *          v        |                                                      |
 *   references > 0, holds > 0  --------->  references = 0, holds > 0  --> freed; they were pinned
 *                              pin, then                         the last hold
 *                              the last reference
 *
 * References, holds, flags and the number of buffers share one word, so each transition is decided
 * once. The last reference is dropped by compare-and-swap. A thread that finds the only reference
 * and some holds pins the bytes. The holds may go away in the meantime; then the last reference
 * frees the pinned bytes. Nothing else can happen in the meantime: only the owner of a reference
 * can take another reference or a hold.
 *
 * A *pinned* allocation consists of a *handle*, which references hold, and its *data*, which views
 * hold, and which the references hold together until the release. The pool does not wait for it.
 * Pinned allocations are for languages that drop references at a time of their own choice:
 * buf_pool_allocation_release() frees the data early, and only the handle stays referenced.
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
 *                 data is gone and so are the  <--- | data freed, bytes    |
 *                 references                        | released             |
 *                                                   +----------------------+
 *
 * The number of holders and the released flag share one atomic word: a view is taken by "increment
 * unless released". So no view is ever taken of data that is freed or about to be freed.
 *
 * Order at the end: first the memory of the buffers is freed, and then their bytes are released,
 * because the BufMemory may end with the last byte. After that, nothing accesses it.
 */

#define RELEASED (1u << 31)

/**
 * buf_pool_allocation_ref: (skip)
 * @self: an allocation
 *
 * Adds a reference. Any thread that holds a reference may call this function.
 *
 * Returns: (transfer full): @self
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocation_ref (BufPoolAllocation *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  atomic_fetch_add_explicit (&self->word, BUF_WORD_REFERENCE, memory_order_relaxed);
  return self;
}

/* Releases the bytes of a block, and lets the block be idle, if that is possible. If the cache is
 * open, and for small blocks, it is not worthwhile to lock the mutex for that. After TRUE, the
 * memory may be gone. */
static inline gboolean
put_idle (BufMemory *memory,
          BufPoolAllocation *block,
          gsize n_buffers,
          gint64 bytes,
          gboolean pinned)
{
  if (G_LIKELY (!atomic_load_explicit (&memory->semaphore.rests, memory_order_relaxed)) ||
      bytes < BUF_CACHE_MIN_IDLE || !buf_depot_may_have_room (&memory->control.depot, bytes))
    return FALSE;

  buf_memory_trace (memory, -bytes);
  return buf_cache_put_idle (memory, block, n_buffers, bytes, pinned);
}

/* Caches the buffers, or frees them and releases their bytes. */
static void
end_data (BufDetachedAllocation *self)
{
  BufMemory *memory = self->header.memory;
  guint64 flags = buf_pool_allocation_get_word (&self->header) & BUF_WORD_FLAGS;
  gsize n_buffers = buf_pool_allocation_get_n_buffers (&self->header);
  gint64 bytes = buf_memory_get_block_bytes (memory, n_buffers);
  BufPoolAllocation *block = self->block;
  BufDebugRecord *record = NULL;

  if (block != NULL && !(flags & BUF_WORD_CUT))
    {
      buf_detached_allocation_free_part (self);
      if (buf_cache_put (memory, block, n_buffers, bytes, TRUE) ||
          put_idle (memory, block, n_buffers, bytes, TRUE))
        return;
      buf_block_free (memory, block, bytes, buf_block_get_flags_for (memory, bytes));
    }
  else
    {
      record = buf_block_free_data (memory, self, bytes, flags);
      buf_detached_allocation_free_part (self);
    }

  buf_memory_trace (memory, -bytes);
  buf_semaphore_release_pinned (&memory->semaphore, bytes);
  buf_debug_record_complain (record);
}

static void
drop_holder (BufDetachedAllocation *self, guint32 holders)
{
  if ((holders & ~RELEASED) == 0)
    end_data (self);
}

/* Drops the references' common hold on the data. */
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

/* The last reference and the last hold are gone. */
static void
end_allocation (BufPoolAllocation *self, gboolean pinned_for_holds)
{
  BufMemory *memory = self->memory;
  BufDebugRecord *record;
  gsize n_buffers;
  guint64 flags;
  gint64 bytes;

  if (buf_pool_allocation_has_flag (self, BUF_WORD_PINNED))
    {
      release_pinned (buf_pool_allocation_get_detached (self));
      buf_detached_allocation_free_part (buf_pool_allocation_get_detached (self));
      return;
    }

  n_buffers = buf_pool_allocation_get_n_buffers (self);
  bytes = buf_pool_allocation_get_size (self);
  flags = buf_pool_allocation_get_word (self) & BUF_WORD_FLAGS;
  if (!pinned_for_holds && !(flags & BUF_WORD_CUT) &&
      (buf_cache_put (memory, self, n_buffers, bytes, FALSE) ||
       put_idle (memory, self, n_buffers, bytes, FALSE)))
    return;

  /* The word may have been used as a link in the meantime. */
  record = buf_block_free (memory, self, bytes, flags);
  buf_memory_trace (memory, -bytes);
  if (pinned_for_holds)
    buf_semaphore_release_pinned (&memory->semaphore, bytes);
  else
    buf_semaphore_release (&memory->semaphore, bytes);
  buf_debug_record_complain (record);
}

/* Returns whether a pinned allocation has only one reference and nothing else: no views, no
 * release, and nothing unusual. */
static gboolean
is_sole_pinned (BufPoolAllocation *self, guint64 word)
{
  const guint64 usual = BUF_WORD_DETACHED | BUF_WORD_PINNED | BUF_WORD_REFERENCE;
  BufDetachedAllocation *detached = (BufDetachedAllocation *) self;

  return (word & ~BUF_WORD_BUFFERS) == usual &&
         atomic_load_explicit (&detached->holders, memory_order_acquire) == 1 &&
         detached->block != NULL;
}

/* No other thread can add a reference to the only one, so this needs no atomic
 * read-modify-write. */
static void
end_sole_pinned (BufDetachedAllocation *self, gsize n_buffers)
{
  BufMemory *memory = self->header.memory;
  BufPoolAllocation *block = self->block;
  gint64 bytes = buf_memory_get_block_bytes (memory, n_buffers);

  free (self);
  if (buf_cache_put (memory, block, n_buffers, bytes, TRUE) ||
      put_idle (memory, block, n_buffers, bytes, TRUE))
    return;

  buf_block_free (memory, block, bytes, buf_block_get_flags_for (memory, bytes));
  buf_memory_trace (memory, -bytes);
  buf_semaphore_release_pinned (&memory->semaphore, bytes);
}

/* For a simple allocation, whose bytes are nearly always released by one compare-and-swap. */
static G_GNUC_NO_INLINE void
free_simple (BufPoolAllocation *self, gsize n_buffers)
{
  BufMemory *memory = self->memory;
  gint64 bytes = (gint64) n_buffers * (gint64) memory->buffer_size;

  if (put_idle (memory, self, n_buffers, bytes, FALSE))
    return;
  if (G_UNLIKELY (n_buffers >= memory->n_large))
    buf_block_free (memory, self, bytes, 0);
  else
    free (self);
  if (G_LIKELY (buf_semaphore_give_credit (&memory->semaphore,
                                           buf_semaphore_get_stripe (&memory->semaphore),
                                           bytes)))
    return;

  buf_memory_trace (memory, -bytes);
  buf_semaphore_release (&memory->semaphore, bytes);
}

static inline gsize
get_n_buffers (guint64 word)
{
  return (word & BUF_WORD_BUFFERS) >> BUF_WORD_BUFFERS_SHIFT;
}

static inline void
end_simple (BufPoolAllocation *self, gsize n_buffers)
{
  BufMemory *memory = self->memory;
  gint64 bytes = (gint64) n_buffers * (gint64) memory->buffer_size;

  if (!buf_cache_put (memory, self, n_buffers, bytes, FALSE))
    free_simple (self, n_buffers);
}

/* The slow path. No other thread can add a reference to the only one, so this mostly needs no
 * atomic read-modify-write. */
static G_GNUC_NO_INLINE void
drop_reference (BufPoolAllocation *self)
{
  guint64 word = atomic_load_explicit (&self->word, memory_order_acquire);
  gboolean pinned = FALSE;

  if ((word & ~BUF_WORD_BUFFERS) == BUF_WORD_REFERENCE)
    {
      end_simple (self, word >> BUF_WORD_BUFFERS_SHIFT);
      return;
    }
  if ((word & (BUF_WORD_REFERENCES | BUF_WORD_HOLDS | BUF_WORD_PINNED)) == BUF_WORD_REFERENCE)
    {
      end_allocation (self, FALSE);
      return;
    }

  if (is_sole_pinned (self, word))
    {
      end_sole_pinned ((BufDetachedAllocation *) self,
                       (word & BUF_WORD_BUFFERS) >> BUF_WORD_BUFFERS_SHIFT);
      return;
    }

  do
    if ((word & BUF_WORD_REFERENCES) == BUF_WORD_REFERENCE && (word & BUF_WORD_HOLDS) != 0 &&
        !pinned)
      {
        buf_semaphore_pin (&self->memory->semaphore, buf_pool_allocation_get_size (self));
        pinned = TRUE;
      }
  while (!atomic_compare_exchange_weak_explicit (&self->word,
                                                 &word,
                                                 word - BUF_WORD_REFERENCE,
                                                 memory_order_acq_rel,
                                                 memory_order_relaxed));

  if (((word - BUF_WORD_REFERENCE) & (BUF_WORD_REFERENCES | BUF_WORD_HOLDS)) == 0)
    end_allocation (self, pinned);
}

/* The fast path of a pinned allocation. For others, the slow path. */
static G_GNUC_NO_INLINE void
drop_pinned_or_other (BufPoolAllocation *self, guint64 word)
{
  BufDetachedAllocation *detached = (BufDetachedAllocation *) self;

  if (G_LIKELY ((word & BUF_WORD_PINNED) && is_sole_pinned (self, word) &&
                buf_cache_put_quickly (self->memory, detached->block, get_n_buffers (word), TRUE)))
    buf_block_free_handle (detached);
  else
    drop_reference (self);
}

/**
 * buf_pool_allocation_unref: (skip)
 * @self: (transfer full): an allocation
 *
 * Drops a reference. When the last reference is dropped, the memory is freed, its bytes are
 * released to the pool, and waiting requests are served. Callbacks of asynchronous requests never
 * run inside this call. Any thread may call this function.
 *
 * Since: 1.0
 */
void
buf_pool_allocation_unref (BufPoolAllocation *self)
{
  guint64 word;

  g_return_if_fail (self != NULL);

  word = atomic_load_explicit (&self->word, memory_order_acquire);
  if (G_UNLIKELY ((word & ~(BUF_WORD_BUFFERS | BUF_WORD_DETACHED)) != BUF_WORD_REFERENCE))
    drop_pinned_or_other (self, word);
  else if (G_LIKELY (buf_cache_put_quickly (self->memory, self, get_n_buffers (word), FALSE)))
    return;
  else if (!(word & BUF_WORD_DETACHED) && buf_cache_is_off (self->memory))
    free_simple (self, get_n_buffers (word));
  else
    drop_reference (self);
}

/* Returns FALSE if the allocation has been released. */
gboolean
buf_pool_allocation_take_view (BufPoolAllocation *self)
{
  BufDetachedAllocation *detached;
  guint32 holders;

  if (!buf_pool_allocation_has_flag (self, BUF_WORD_PINNED))
    {
      if (buf_pool_allocation_has_flag (self, BUF_WORD_RELEASED))
        return FALSE;
      buf_pool_allocation_ref (self);
      return TRUE;
    }

  detached = buf_pool_allocation_get_detached (self);
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

  if (!buf_pool_allocation_has_flag (self, BUF_WORD_PINNED))
    {
      buf_pool_allocation_unref (self);
      return;
    }

  detached = buf_pool_allocation_get_detached (self);
  drop_holder (detached,
               atomic_fetch_sub_explicit (&detached->holders, 1, memory_order_acq_rel) - 1);
}

static gboolean
hold_by_view (BufPoolAllocation *self, BufHold *hold)
{
  if (!buf_pool_allocation_take_view (self))
    return FALSE;

  *hold = (BufHold){ .allocation = self, .is_view = TRUE };
  return TRUE;
}

/* Pinned data needs no hold, and a plain allocation can store a limited number of holds; beyond
 * that, this takes a view. Returns FALSE if the allocation has been released. */
gboolean
buf_pool_allocation_take_hold (BufPoolAllocation *self, BufHold *hold)
{
  guint64 word = buf_pool_allocation_get_word (self);

  do
    if (word & BUF_WORD_PINNED || (word & BUF_WORD_HOLDS) == BUF_WORD_HOLDS)
      return hold_by_view (self, hold);
    else if (word & BUF_WORD_RELEASED)
      return FALSE;
  while (!atomic_compare_exchange_weak_explicit (&self->word,
                                                 &word,
                                                 word + BUF_WORD_HOLD,
                                                 memory_order_relaxed,
                                                 memory_order_relaxed));

  *hold = (BufHold){ .allocation = self };
  return TRUE;
}

/* A hold that holds nothing needs no work. */
void
buf_hold_drop (BufHold *self)
{
  BufPoolAllocation *allocation = g_steal_pointer (&self->allocation);
  guint64 word;

  if (allocation == NULL)
    return;
  if (self->is_view)
    {
      buf_pool_allocation_drop_view (allocation);
      return;
    }

  word = atomic_fetch_sub_explicit (&allocation->word, BUF_WORD_HOLD, memory_order_acq_rel);
  if (((word - BUF_WORD_HOLD) & (BUF_WORD_REFERENCES | BUF_WORD_HOLDS)) == 0)
    end_allocation (allocation, TRUE);
}

/**
 * buf_pool_allocation_release:
 * @self: an allocation
 *
 * Frees the memory although references remain. Afterwards, the allocation is empty: it has no
 * buffers, no data and no views, and functions that copy data fail with %BUF_POOL_ERROR_RELEASED.
 * This function does not drop a reference. If the allocation is already released, this function
 * does nothing.
 *
 * The memory of a pinned allocation, see [method@Pool.allocate_pinned], is freed as soon as it has
 * no views. A plain allocation is only marked as released: its memory is still freed with its last
 * reference.
 *
 * Pointers into the memory are invalid after this call. Views, such as from
 * [method@PoolAllocation.get_bytes], stay valid until they are freed. Any thread that holds a
 * reference may call this function.
 *
 * Since: 1.0
 */
void
buf_pool_allocation_release (BufPoolAllocation *self)
{
  g_return_if_fail (self != NULL);

  if (buf_pool_allocation_has_flag (self, BUF_WORD_PINNED))
    release_pinned (buf_pool_allocation_get_detached (self));
  else
    atomic_fetch_or_explicit (&self->word, BUF_WORD_RELEASED, memory_order_relaxed);
}

/**
 * buf_pool_allocation_is_released:
 * @self: an allocation
 *
 * Gets whether the allocation has been released.
 *
 * Returns: %TRUE after [method@PoolAllocation.release]
 *
 * Since: 1.0
 */
gboolean
buf_pool_allocation_is_released (BufPoolAllocation *self)
{
  guint32 holders;

  g_return_val_if_fail (self != NULL, FALSE);

  if (!buf_pool_allocation_has_flag (self, BUF_WORD_PINNED))
    return buf_pool_allocation_has_flag (self, BUF_WORD_RELEASED);

  holders = atomic_load_explicit (&buf_pool_allocation_get_detached (self)->holders,
                                  memory_order_acquire);
  return (holders & RELEASED) != 0;
}
