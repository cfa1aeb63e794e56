/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-pool-allocation-private.h"

/*
 * Who holds an allocation, and how it ends: references, views, and holds.
 *
 * A *plain* allocation is held by its references, and so is its data: a view is a reference. The
 * pool waits for it.
 *
 * A *hold* is what the library itself has of a plain allocation: a transfer that is going on. Bytes
 * that only the library holds count as pinned, so the owner of the pool does not wait for them. It
 * could not: the transfer may need the main loop of the thread that waits. So a hold is no
 * reference: the last user drops the last reference, and pins the bytes first if there are holds.
 *
 *   references > 0, holds = 0  ------------------------------------>  freed; the bytes were plain
 *          |        ^                  the last reference                  ^
 *    hold  |        | the last hold                                        |
 *          v        |                                                      |
 *   references > 0, holds > 0  --------->  references = 0, holds > 0  --> freed; they were pinned
 *                              pin, then                         the last hold
 *                              the last reference
 *
 * References, holds, flags and the number of buffers are one word, so each step is decided once.
 * The last reference is dropped by compare-and-swap: who finds that it has the only reference, and
 * that there are holds, pins. The holds may go meanwhile, then the last reference frees what is
 * pinned. Nothing else can happen meanwhile: a reference or a hold is only taken by those who have
 * a reference.
 *
 * A *pinned* allocation is a *handle*, held by references, and its *data*, held by views and, until
 * it is released, by the references together. The pool does not wait for it. This is for languages
 * that decide themselves when to drop a reference: buf_pool_allocation_release() gives the data up
 * early, and what is still referenced is only the handle.
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
 *                 references                        | given back           |
 *                                                   +----------------------+
 *
 * Both, the number of holders and whether it is released, are one atomic word: a view is taken by
 * "increment unless released". So no view is ever taken of data that is gone, or about to go.
 *
 * Order of the end: first the memory of the buffers is freed, then their bytes go back, since with
 * the last byte the BufMemory may go. After that nothing of it is touched.
 */

#define RELEASED (1u << 31)

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

  atomic_fetch_add_explicit (&self->word, BUF_WORD_REFERENCE, memory_order_relaxed);
  return self;
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
      if (buf_cache_put (memory, block, n_buffers, bytes, TRUE))
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

/* The last reference and the last hold are gone. */
static void
end_allocation (BufPoolAllocation *self, gboolean pinned_for_holds)
{
  BufMemory *memory = self->memory;
  BufDebugRecord *record;
  guint64 flags;
  gint64 bytes;

  if (buf_pool_allocation_has_flag (self, BUF_WORD_PINNED))
    {
      release_pinned (buf_pool_allocation_get_detached (self));
      buf_detached_allocation_free_part (buf_pool_allocation_get_detached (self));
      return;
    }

  bytes = buf_pool_allocation_get_size (self);
  flags = buf_pool_allocation_get_word (self) & BUF_WORD_FLAGS;
  if (!pinned_for_holds && !(flags & BUF_WORD_CUT) &&
      buf_cache_put (memory, self, buf_pool_allocation_get_n_buffers (self), bytes, FALSE))
    return;

  /* The word may have been a link since then. */
  record = buf_block_free (memory, self, bytes, flags);
  buf_memory_trace (memory, -bytes);
  if (pinned_for_holds)
    buf_semaphore_release_pinned (&memory->semaphore, bytes);
  else
    buf_semaphore_release (&memory->semaphore, bytes);
  buf_debug_record_complain (record);
}

/* Whether the only reference is all that there is of a pinned allocation: no views, not released,
 * and nothing unusual. */
static gboolean
is_sole_pinned (BufPoolAllocation *self, guint64 word)
{
  const guint64 usual = BUF_WORD_DETACHED | BUF_WORD_PINNED | BUF_WORD_REFERENCE;
  BufDetachedAllocation *detached = (BufDetachedAllocation *) self;

  return (word & ~BUF_WORD_BUFFERS) == usual &&
         atomic_load_explicit (&detached->holders, memory_order_acquire) == 1 &&
         detached->block != NULL;
}

/* Nobody else can join the only owner: no need to ask the other processors. */
static void
end_sole_pinned (BufDetachedAllocation *self, gsize n_buffers)
{
  BufMemory *memory = self->header.memory;
  BufPoolAllocation *block = self->block;
  gint64 bytes = buf_memory_get_block_bytes (memory, n_buffers);

  free (self);
  if (buf_cache_put (memory, block, n_buffers, bytes, TRUE))
    return;

  buf_block_free (memory, block, bytes, buf_block_get_flags_for (memory, bytes));
  buf_memory_trace (memory, -bytes);
  buf_semaphore_release_pinned (&memory->semaphore, bytes);
}

static G_GNUC_NO_INLINE void
drop_reference (BufPoolAllocation *self)
{
  guint64 word = atomic_load_explicit (&self->word, memory_order_acquire);
  gboolean pinned = FALSE;

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

/* Of a simple allocation: nearly always one compare-and-swap gives its bytes back. */
static G_GNUC_NO_INLINE void
free_simple (BufPoolAllocation *self, gsize n_buffers)
{
  BufMemory *memory = self->memory;
  gint64 bytes = (gint64) n_buffers * (gint64) memory->buffer_size;
  BufStripe *stripe = buf_semaphore_get_stripe (&memory->semaphore);

  if (G_UNLIKELY (n_buffers >= memory->n_large))
    buf_block_free (memory, self, bytes, 0);
  else
    free (self);
  if (G_LIKELY (buf_semaphore_give_credit (&memory->semaphore, stripe, bytes)))
    return;

  buf_memory_trace (memory, -bytes);
  buf_semaphore_release (&memory->semaphore, bytes);
}

static inline void
end_simple (BufPoolAllocation *self, gsize n_buffers)
{
  BufMemory *memory = self->memory;
  gint64 bytes = (gint64) n_buffers * (gint64) memory->buffer_size;

  if (!buf_cache_put (memory, self, n_buffers, bytes, FALSE))
    free_simple (self, n_buffers);
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
  guint64 word;

  g_return_if_fail (self != NULL);

  /* The only owner cannot be joined by another: no need to ask the other processors. */
  word = atomic_load_explicit (&self->word, memory_order_acquire);
  if (G_LIKELY ((word & ~BUF_WORD_BUFFERS) == BUF_WORD_REFERENCE))
    end_simple (self, word >> BUF_WORD_BUFFERS_SHIFT);
  else
    drop_reference (self);
}

/* Returns FALSE if the allocation was released. */
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

/* What is pinned needs no hold, and a plain allocation has room for so many: then it is a view.
 * Returns FALSE if the allocation was released. */
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

/* A hold that holds nothing is dropped for nothing. */
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

  if (buf_pool_allocation_has_flag (self, BUF_WORD_PINNED))
    release_pinned (buf_pool_allocation_get_detached (self));
  else
    atomic_fetch_or_explicit (&self->word, BUF_WORD_RELEASED, memory_order_relaxed);
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
  guint32 holders;

  g_return_val_if_fail (self != NULL, FALSE);

  if (!buf_pool_allocation_has_flag (self, BUF_WORD_PINNED))
    return buf_pool_allocation_has_flag (self, BUF_WORD_RELEASED);

  holders = atomic_load_explicit (&buf_pool_allocation_get_detached (self)->holders,
                                  memory_order_acquire);
  return (holders & RELEASED) != 0;
}
