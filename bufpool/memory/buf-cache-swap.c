/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-memory-private.h"

/*
 * Operations that involve more than the first magazine of a stripe: the other magazines, and
 * bundles that move between a stripe and the depot. For the terms and the rules, see buf-cache.c.
 */

/* The cache is not closing. */
static BufCacheStripe *
get_own_stripe_locked (BufMemory *memory)
{
  guint n_live = atomic_load_explicit (&memory->cache.n_live, memory_order_relaxed);

  return &memory->cache.stripes[buf_semaphore_thread_number & (n_live - 1)];
}

/* Fills the empty magazine of that size with a bundle from the depot, and takes a block from it.
 * Returns NULL if there is no bundle that the stripe has room for. */
static BufPoolAllocation *
refill_held (BufMemory *memory, BufCacheStripe *stripe, guint n_buffers)
{
  BufMagazine *magazine = buf_cache_stripe_use_held (stripe, n_buffers);
  gint64 bytes = buf_memory_get_block_bytes (memory, n_buffers);
  gint64 room = stripe->max_bytes - atomic_load_explicit (&stripe->bytes, memory_order_relaxed);
  guint n_blocks;

  if (magazine == NULL || magazine->head != NULL)
    return NULL;
  magazine->head =
      buf_depot_take_locked (&memory->control.depot, n_buffers, bytes, room / bytes, &n_blocks);
  if (magazine->head == NULL)
    return NULL;

  atomic_store_explicit (&magazine->count, n_blocks, memory_order_relaxed);
  BUF_CACHE_ADD (stripe->bytes, n_blocks * bytes);
  BUF_CACHE_ADD (stripe->n_hits, 1);
  return buf_cache_stripe_pop_held (stripe, magazine, bytes);
}

static BufPoolAllocation *
refill_own_stripe_locked (BufMemory *memory, guint n_buffers)
{
  BufCacheStripe *stripe = get_own_stripe_locked (memory);
  BufPoolAllocation *block;

  if (!buf_cache_stripe_try_locked (stripe))
    return NULL;

  block = refill_held (memory, stripe, n_buffers);
  buf_cache_stripe_drop (stripe);
  return block;
}

static BufPoolAllocation *
take_from_depot (BufMemory *memory, guint n_buffers, gboolean pins)
{
  BufDepot *depot = &memory->control.depot;
  gint64 bytes = buf_memory_get_block_bytes (memory, n_buffers);
  BufPoolAllocation *block = NULL;

  g_mutex_lock (&memory->semaphore.tree->mutex);
  if (!memory->control.closing)
    block = refill_own_stripe_locked (memory, n_buffers);
  if (block == NULL && !memory->control.depot_is_idle)
    block = buf_depot_take_one_locked (depot, n_buffers, bytes);
  if (block != NULL && pins)
    memory->semaphore.level.pinned += bytes;
  g_mutex_unlock (&memory->semaphore.tree->mutex);
  return block;
}

/* Takes a block for a request that the first magazine cannot serve. The caller holds the stripe,
 * and this function drops it. */
BufPoolAllocation *
buf_cache_take_held (BufMemory *memory, BufCacheStripe *stripe, guint n_buffers, gboolean pins)
{
  BufMagazine *magazine = buf_cache_stripe_find_held (stripe, n_buffers);
  gint64 bytes = buf_memory_get_block_bytes (memory, n_buffers);
  BufPoolAllocation *block = NULL;

  if (magazine != NULL && magazine->head != NULL)
    {
      block = buf_cache_stripe_pop_held (stripe, magazine, bytes);
      stripe->pinned += pins ? bytes : 0;
      BUF_CACHE_ADD (stripe->n_hits, 1);
    }
  else
    BUF_CACHE_ADD (stripe->n_misses, 1);
  buf_cache_stripe_drop (stripe);

  if (block == NULL && buf_depot_may_have (&memory->control.depot, n_buffers))
    block = take_from_depot (memory, n_buffers, pins);
  return block;
}

/* Called when the thread could not get its stripe. If the stripe is biased toward another thread,
 * this takes the bias away. If another thread uses it, this thread moves to another stripe.
 * Otherwise, it is closed. Returns a stripe that the caller holds, or NULL. */
BufCacheStripe *
buf_cache_try_elsewhere (BufMemory *memory)
{
  guint n_live = atomic_load_explicit (&memory->cache.n_live, memory_order_relaxed);
  BufCacheStripe *stripe;

  if (n_live == 0)
    return NULL;

  stripe = &memory->cache.stripes[buf_semaphore_thread_number & (n_live - 1)];
  if (buf_biased_lock_revoke (&stripe->lock) && buf_cache_stripe_try (stripe))
    return stripe;
  if (n_live == 1)
    return NULL;

  stripe = &memory->cache.stripes[++buf_semaphore_thread_number & (n_live - 1)];
  return buf_cache_stripe_try (stripe) ? stripe : NULL;
}

BufPoolAllocation *
buf_cache_take_elsewhere (BufMemory *memory, guint n_buffers, gboolean pins)
{
  BufCacheStripe *stripe = buf_cache_try_elsewhere (memory);

  return stripe == NULL ? NULL : buf_cache_take_held (memory, stripe, n_buffers, pins);
}

static gboolean
put_into_depot_locked (BufMemory *memory,
                       guint n_buffers,
                       BufPoolAllocation *bundle,
                       guint n_blocks,
                       gboolean insist,
                       BufHaul *haul)
{
  BufDepot *depot = &memory->control.depot;
  gint64 bytes = n_blocks * buf_memory_get_block_bytes (memory, n_buffers);

  if (insist && bytes <= depot->max_bytes)
    buf_depot_make_room_locked (depot,
                                n_buffers,
                                bytes,
                                buf_memory_get_block_bytes (memory, 1),
                                haul);
  return buf_depot_put_locked (depot, n_buffers, bundle, n_blocks, bytes);
}

/* Moves the blocks of a magazine to the depot or, if it has no room, into @haul. */
static void
empty_magazine_held (BufMemory *memory,
                     BufCacheStripe *stripe,
                     BufMagazine *magazine,
                     BufHaul *haul)
{
  guint n_buffers = magazine->n_buffers, n_blocks;
  gint64 bytes = buf_memory_get_block_bytes (memory, n_buffers);
  BufPoolAllocation *bundle = buf_cache_stripe_empty_held (stripe, magazine, bytes, &n_blocks);

  if (!put_into_depot_locked (memory, n_buffers, bundle, n_blocks, FALSE, haul))
    buf_haul_add (haul, n_buffers, bundle, n_blocks, n_blocks * bytes);
}

static void
make_room_held (BufMemory *memory,
                BufCacheStripe *stripe,
                BufMagazine *magazine,
                gboolean insist,
                BufHaul *haul)
{
  gint64 bytes = buf_memory_get_block_bytes (memory, magazine->n_buffers);
  gint64 bundle_bytes = bytes * atomic_load_explicit (&magazine->count, memory_order_relaxed);
  BufMagazine *other = buf_cache_stripe_find_least_used_held (stripe, magazine);
  BufDepot *depot = &memory->control.depot;

  if (buf_cache_stripe_is_filled_by_held (stripe, magazine, bytes))
    {
      if (insist && bundle_bytes <= depot->max_bytes)
        buf_depot_make_room_locked (depot,
                                    magazine->n_buffers,
                                    bundle_bytes,
                                    buf_memory_get_block_bytes (memory, 1),
                                    haul);
      if (bundle_bytes <= depot->max_bytes - depot->bytes)
        empty_magazine_held (memory, stripe, magazine, haul);
    }
  else if (insist && other != NULL)
    empty_magazine_held (memory, stripe, other, haul);
}

static gboolean
put_held (BufMemory *memory,
          BufCacheStripe *stripe,
          BufPoolAllocation *block,
          guint n_buffers,
          gboolean insist,
          BufHaul *haul)
{
  BufMagazine *magazine = buf_cache_stripe_use_held (stripe, n_buffers);
  gint64 bytes = buf_memory_get_block_bytes (memory, n_buffers);

  if (magazine == NULL && insist)
    {
      empty_magazine_held (memory,
                           stripe,
                           buf_cache_stripe_find_least_used_held (stripe, NULL),
                           haul);
      magazine = buf_cache_stripe_use_held (stripe, n_buffers);
    }
  if (magazine == NULL)
    return FALSE;

  if (buf_cache_stripe_push_held (stripe, magazine, block, bytes))
    return TRUE;

  make_room_held (memory, stripe, magazine, insist, haul);
  return buf_cache_stripe_push_held (stripe, magazine, block, bytes);
}

/* A block that exceeds the share of a stripe forms a bundle of its own. */
static gboolean
put_large_locked (BufMemory *memory,
                  BufPoolAllocation *block,
                  guint n_buffers,
                  gint64 bytes,
                  gboolean insist,
                  BufHaul *haul)
{
  BufDepot *depot = &memory->control.depot;

  buf_block_set_next (block, NULL);
  if (put_into_depot_locked (memory, n_buffers, block, 1, insist, haul))
    return TRUE;
  if (insist && bytes <= depot->max_alone)
    buf_depot_evict_locked (depot, G_MAXINT64 / 2, buf_memory_get_block_bytes (memory, 1), haul);
  return buf_depot_put_alone_locked (depot, n_buffers, block, bytes);
}

/* Caches a block for which the stripe has no room, if room can be made: a full magazine moves to
 * the depot. If @insist is set, other blocks may be evicted into @haul. A block that is too large
 * for a stripe forms a bundle of its own. Returns whether the block was cached. */
gboolean
buf_cache_put_locked (BufMemory *memory,
                      BufPoolAllocation *block,
                      guint n_buffers,
                      gint64 bytes,
                      gboolean insist,
                      BufHaul *haul)
{
  gint64 before = haul->bytes, n_before = haul->n_blocks;
  BufCacheStripe *stripe;
  gboolean kept = FALSE;

  if (memory->control.closing)
    return FALSE;

  stripe = get_own_stripe_locked (memory);
  if (buf_cache_stripe_try_locked (stripe))
    {
      if (bytes <= stripe->max_bytes)
        kept = put_held (memory, stripe, block, n_buffers, insist, haul);
      else
        kept = put_large_locked (memory, block, n_buffers, bytes, insist, haul);
      buf_cache_stripe_drop (stripe);
    }
  buf_cache_note_returning_locked (memory, haul, before, n_before);
  return kept;
}
