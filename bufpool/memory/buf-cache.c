/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-memory-private.h"

/*
 * Blocks that the pool keeps, so that a request need not ask malloc().
 *
 * Words: a free block that the pool keeps is *cached*. A *magazine* is a stack of up to
 * BUF_CACHE_ROUNDS cached blocks of one size. A *stripe* has some magazines; the threads are spread
 * over the stripes as over those of the semaphore. The *depot* holds *bundles*, which are the
 * contents of whole magazines. A *hit* takes a cached block, and a *put* caches one. To *evict* is
 * to take cached blocks in order to free them, and to release their bytes.
 *
 * The account: for the semaphore, the bytes of cached blocks are in use. So nothing about bytes
 * changes with a hit or a put; and eviction is free() followed by an ordinary release. What the
 * semaphore calls a keeper is this cache, see buf-semaphore-keeper.c.
 *
 * The bit: each stripe has a *bit*, 0 or 1. A thread gets it if it exchanges it for 1 and finds 0;
 * it then *holds* the bit, changes the magazines, and *drops* it by storing 0. Nobody waits for a
 * bit. On the fast path, a thread that does not get it tries one other stripe, and then does
 * without the cache. A stripe is *closed* by a thread that gets its bit and does not drop it: for
 * other threads "held" and "closed" are the same, and whoever has got the bit is the only one to
 * store 0. That a stripe is closed is noted under the mutex, and it is opened under the mutex.
 *
 * Locks: nobody locks the mutex while holding a bit. Under the mutex a bit is tried a few times,
 * and never waited for: its holder may have been interrupted, and all others would wait at the
 * mutex. While a bit is held, nothing is allocated, freed, counted elsewhere, or traced.
 *
 *   hit:     exchange the bit; pop; store the bit; write the word
 *   put:     exchange the bit; push; store the bit
 *   swap:    drop the bit; lock the mutex; try the bit; move a bundle; drop the bit; unlock
 *   close:   lock the mutex; for each open stripe: try the bit, take its blocks, note "closed";
 *            take what the depot has; unlock; free the blocks; release their bytes; again, until
 *            all stripes are closed
 *   open:    (under the mutex, nobody waits) for each closed stripe: note "open", store the bit
 *   evict:   lock the mutex; pop from the depot, then from stripes whose bit can be had; unlock;
 *            free; exchange their bytes for those that are wanted, in one section
 *
 * Nothing is touched too late: the store of the bit is the last that a put does with the memory. As
 * long as a block is cached, its bytes are in use, so the semaphore is not over; they are released
 * by a thread that has got the same bit later. Before a pool ends, it is closed, and closing waits
 * until it has got all bits. After that nobody finds a bit that is 0.
 *
 * Memory orders: the exchange is an acquire and the store is a release, so what is under the bit is
 * guarded as by a lock, and what a thread did with a block happened before the next one gets it.
 * @n_live may be stale: it leads to a stripe that is valid memory, and that is open or closed. The
 * counts and bytes are written under the bit; others read them for figures and hints only.
 *
 * Limits: each stripe has a share of the limit, and the depot has half of it. A small limit is
 * shared by fewer stripes; with a single one there is no depot. A bundle moves only if there is
 * room where it comes to, so the limit is never exceeded. When a stripe has had no room for
 * BUF_CACHE_PRESSURE blocks, the next one insists: the size that was used least makes room for it.
 */

/* How often a bit is tried under the mutex. */
#define BUF_CACHE_N_TRIES 3

/* How many of the smallest blocks a share is for, at least. */
#define BUF_CACHE_MIN_SHARE 4

/* The automatic limit is this part of the maximum, but not more than so much. */
#define BUF_CACHE_DEFAULT_PART 8
#define BUF_CACHE_DEFAULT_MAX  (16 << 20)

static gboolean
try_some_times_locked (BufCacheStripe *stripe)
{
  if (stripe->closed)
    return FALSE;
  for (guint i = 0; i < BUF_CACHE_N_TRIES; i++)
    if (buf_cache_stripe_try (stripe))
      return TRUE;
  return FALSE;
}

static gint64
get_block_bytes (BufMemory *memory, guint n_buffers)
{
  return n_buffers * (gint64) memory->buffer_size;
}

/* Of one buffer. */
static gint64
get_buffer_bytes (BufMemory *memory)
{
  return get_block_bytes (memory, 1);
}

void
buf_cache_init (BufMemory *memory, guint n_processors, gboolean disabled)
{
  BufCacheControl *control = &memory->control;
  guint n_stripes = 1;

  while (n_stripes < n_processors && n_stripes < memory->semaphore.n_stripes)
    n_stripes *= 2;

  control->n_stripes = n_stripes;
  control->disabled = disabled;
  control->closing = TRUE;
  memory->cache.stripes = g_aligned_alloc0 (n_stripes, sizeof (BufCacheStripe), BUF_CACHE_LINE);
  for (guint i = 0; i < n_stripes; i++)
    {
      atomic_init (&memory->cache.stripes[i].bit, 1);
      memory->cache.stripes[i].closed = TRUE;
    }
}

/* The semaphore is over. */
void
buf_cache_clear (BufMemory *memory)
{
  for (guint i = 0; i < memory->control.n_stripes; i++)
    {
      g_assert (memory->cache.stripes[i].closed);
      g_assert (atomic_load_explicit (&memory->cache.stripes[i].bytes, memory_order_relaxed) == 0);
    }
  g_assert (memory->control.depot.n_blocks == 0);
  g_aligned_free (memory->cache.stripes);
}

/* Returns whether the limit is another than before. The cache is closed, or has not begun. */
gboolean
buf_cache_set_limit_locked (BufMemory *memory, gint64 limit)
{
  gboolean changed = limit != memory->control.limit;

  memory->control.limit = limit;
  return changed;
}

static gint64
get_limit_locked (BufMemory *memory)
{
  gint64 maximum = memory->semaphore.queue.maximum;

  if (memory->control.disabled)
    return 0;
  if (memory->control.limit < 0)
    return MIN (maximum / BUF_CACHE_DEFAULT_PART, BUF_CACHE_DEFAULT_MAX);
  return MIN (memory->control.limit, maximum);
}

/* How many stripes share the limit, and how much each of them has. Without a depot the only one has
 * it all. */
static guint
choose_shares (BufMemory *memory, gint64 limit, gint64 *share)
{
  guint n_live = memory->control.n_stripes;

  while (n_live > 1 && limit / 2 / n_live / BUF_CACHE_MIN_SHARE < (gint64) memory->buffer_size)
    n_live /= 2;
  *share = n_live > 1 ? limit / 2 / n_live : limit;
  return *share < (gint64) memory->buffer_size ? 0 : n_live;
}

static void
open_stripe_locked (BufCacheStripe *stripe, gint64 share)
{
  if (!stripe->closed)
    return;

  stripe->max_bytes = share;
  stripe->closed = FALSE;
  buf_cache_stripe_drop (stripe);
}

/* Nobody waits, drains or reclaims. */
void
buf_cache_open_locked (BufMemory *memory)
{
  BufCacheControl *control = &memory->control;
  gint64 limit = get_limit_locked (memory);
  gint64 share;
  guint n_live = choose_shares (memory, limit, &share);

  if (n_live == 0 || !control->closing)
    return;

  for (guint i = 0; i < n_live; i++)
    open_stripe_locked (&memory->cache.stripes[i], share);
  buf_depot_set_max_locked (&control->depot, n_live > 1 ? limit - n_live * share : 0);
  control->closing = FALSE;
  memory->semaphore.keeps = TRUE;
  atomic_store_explicit (&memory->cache.n_live, n_live, memory_order_relaxed);
}

/* What is taken away is as good as available for those who look, but in use until it is freed. */
static void
note_returning_locked (BufMemory *memory, const BufHaul *haul, gint64 bytes, gint64 n_blocks)
{
  memory->semaphore.returning += haul->bytes - bytes;
  memory->semaphore.n_returning += haul->n_blocks - n_blocks;
}

/* The stripe may have more sizes than @haul has room for. */
static void
close_stripe_locked (BufMemory *memory, BufCacheStripe *stripe, BufHaul *haul)
{
  if (!try_some_times_locked (stripe))
    return;

  buf_cache_stripe_evict_held (stripe, G_MAXINT64 / 2, get_buffer_bytes (memory), haul);
  if (atomic_load_explicit (&stripe->bytes, memory_order_relaxed) == 0)
    stripe->closed = TRUE;
  else
    buf_cache_stripe_drop (stripe);
}

/* Closes what can be closed at once, and moves the blocks into @haul. Returns whether nothing is
 * cached any more. */
gboolean
buf_cache_close_locked (BufMemory *memory, BufHaul *haul)
{
  BufCacheControl *control = &memory->control;
  gint64 bytes = haul->bytes, n_blocks = haul->n_blocks;
  gboolean all = TRUE;

  control->closing = TRUE;
  atomic_store_explicit (&memory->cache.n_live, 0, memory_order_relaxed);
  buf_depot_set_max_locked (&control->depot, 0);
  buf_depot_evict_locked (&control->depot, G_MAXINT64 / 2, get_buffer_bytes (memory), haul);
  for (guint i = 0; i < control->n_stripes; i++)
    {
      close_stripe_locked (memory, &memory->cache.stripes[i], haul);
      all &= memory->cache.stripes[i].closed;
    }

  note_returning_locked (memory, haul, bytes, n_blocks);
  all &= control->depot.n_blocks == 0;
  memory->semaphore.keeps = !all;
  return all;
}

/* Moves blocks into @haul, until those are @bytes, or all that can be had at once. */
void
buf_cache_evict_locked (BufMemory *memory, gint64 bytes, BufHaul *haul)
{
  BufCacheControl *control = &memory->control;
  gint64 enough = haul->bytes + bytes, before = haul->bytes, n_before = haul->n_blocks;
  guint own = buf_semaphore_thread_number;

  buf_depot_evict_locked (&control->depot, bytes, get_buffer_bytes (memory), haul);
  for (guint i = 0; i < control->n_stripes && haul->bytes < enough; i++)
    {
      BufCacheStripe *stripe = &memory->cache.stripes[(own + i) & (control->n_stripes - 1)];

      if (atomic_load_explicit (&stripe->bytes, memory_order_relaxed) > 0 &&
          try_some_times_locked (stripe))
        {
          buf_cache_stripe_evict_held (stripe,
                                       enough - haul->bytes,
                                       get_buffer_bytes (memory),
                                       haul);
          buf_cache_stripe_drop (stripe);
        }
    }
  note_returning_locked (memory, haul, before, n_before);
}

static guint
count_blocks (BufCacheStripe *stripe)
{
  guint n = 0;

  for (guint i = 0; i < BUF_CACHE_N_MAGAZINES; i++)
    n += atomic_load_explicit (&stripe->magazines[i].count, memory_order_relaxed);
  return n;
}

/* Adds what is cached. */
void
buf_cache_count_locked (BufMemory *memory, gint64 *bytes, gint64 *n_blocks)
{
  *bytes += memory->control.depot.bytes;
  *n_blocks += memory->control.depot.n_blocks;
  for (guint i = 0; i < memory->control.n_stripes; i++)
    {
      *bytes += atomic_load_explicit (&memory->cache.stripes[i].bytes, memory_order_relaxed);
      *n_blocks += count_blocks (&memory->cache.stripes[i]);
    }
}

void
buf_cache_get_hits (BufMemory *memory, guint64 *n_hits, guint64 *n_misses)
{
  *n_hits = *n_misses = 0;
  for (guint i = 0; i < memory->control.n_stripes; i++)
    {
      BufCacheStripe *stripe = &memory->cache.stripes[i];

      *n_hits += atomic_load_explicit (&stripe->n_hits, memory_order_relaxed);
      *n_misses += atomic_load_explicit (&stripe->n_misses, memory_order_relaxed);
    }
}

/* The cache is not closing. */
static BufCacheStripe *
get_own_stripe_locked (BufMemory *memory)
{
  guint n_live = atomic_load_explicit (&memory->cache.n_live, memory_order_relaxed);

  return &memory->cache.stripes[buf_semaphore_thread_number & (n_live - 1)];
}

/* Fills the empty magazine of that size with a bundle from the depot, and takes a block of it.
 * Returns NULL if there is no bundle that the stripe has room for. */
static BufPoolAllocation *
refill_held (BufMemory *memory, BufCacheStripe *stripe, guint n_buffers)
{
  BufMagazine *magazine = buf_cache_stripe_use_held (stripe, n_buffers);
  gint64 bytes = get_block_bytes (memory, n_buffers);
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

  if (!try_some_times_locked (stripe))
    return NULL;

  block = refill_held (memory, stripe, n_buffers);
  buf_cache_stripe_drop (stripe);
  return block;
}

static BufPoolAllocation *
take_from_depot (BufMemory *memory, guint n_buffers)
{
  BufDepot *depot = &memory->control.depot;
  gint64 bytes = get_block_bytes (memory, n_buffers);
  BufPoolAllocation *block = NULL;

  g_mutex_lock (&memory->semaphore.mutex);
  if (!memory->control.closing)
    block = refill_own_stripe_locked (memory, n_buffers);
  if (block == NULL)
    block = buf_depot_take_one_locked (depot, n_buffers, bytes);
  g_mutex_unlock (&memory->semaphore.mutex);
  return block;
}

/* A request that is not served by the first magazine. The caller holds the bit, and this drops it.
 */
BufPoolAllocation *
buf_cache_take_held (BufMemory *memory, BufCacheStripe *stripe, guint n_buffers)
{
  BufMagazine *magazine = buf_cache_stripe_find_held (stripe, n_buffers);
  BufPoolAllocation *block = NULL;

  if (magazine != NULL && magazine->head != NULL)
    {
      block = buf_cache_stripe_pop_held (stripe, magazine, get_block_bytes (memory, n_buffers));
      BUF_CACHE_ADD (stripe->n_hits, 1);
    }
  else
    BUF_CACHE_ADD (stripe->n_misses, 1);
  buf_cache_stripe_drop (stripe);

  if (block == NULL && buf_depot_may_have (&memory->control.depot, n_buffers))
    block = take_from_depot (memory, n_buffers);
  return block;
}

/* The bit of the own stripe was not to be had: another thread uses the stripe, so this one moves
 * on, or the stripe is closed. */
BufPoolAllocation *
buf_cache_take_elsewhere (BufMemory *memory, guint n_buffers)
{
  guint n_live = atomic_load_explicit (&memory->cache.n_live, memory_order_relaxed);
  BufCacheStripe *stripe;

  if (n_live <= 1)
    return NULL;

  stripe = &memory->cache.stripes[++buf_semaphore_thread_number & (n_live - 1)];
  return buf_cache_stripe_try (stripe) ? buf_cache_take_held (memory, stripe, n_buffers) : NULL;
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
  gint64 bytes = n_blocks * get_block_bytes (memory, n_buffers);

  if (insist && bytes <= depot->max_bytes)
    buf_depot_make_room_locked (depot, n_buffers, bytes, get_buffer_bytes (memory), haul);
  return buf_depot_put_locked (depot, n_buffers, bundle, n_blocks, bytes);
}

/* Moves the blocks of a magazine to the depot; or, if it has no room, into @haul. */
static void
empty_magazine_held (BufMemory *memory,
                     BufCacheStripe *stripe,
                     BufMagazine *magazine,
                     BufHaul *haul)
{
  guint n_buffers = magazine->n_buffers, n_blocks;
  gint64 bytes = get_block_bytes (memory, n_buffers);
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
  gint64 bytes = get_block_bytes (memory, magazine->n_buffers);
  gint64 bundle_bytes = bytes * atomic_load_explicit (&magazine->count, memory_order_relaxed);
  BufMagazine *other = buf_cache_stripe_find_least_used_held (stripe, magazine);
  BufDepot *depot = &memory->control.depot;

  if (buf_cache_stripe_is_filled_by_held (stripe, magazine, bytes))
    {
      if (insist && bundle_bytes <= depot->max_bytes)
        buf_depot_make_room_locked (depot,
                                    magazine->n_buffers,
                                    bundle_bytes,
                                    get_buffer_bytes (memory),
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
  gint64 bytes = get_block_bytes (memory, n_buffers);

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

  if (!buf_cache_stripe_has_room_held (stripe, magazine, bytes))
    make_room_held (memory, stripe, magazine, insist, haul);
  if (!buf_cache_stripe_has_room_held (stripe, magazine, bytes))
    return FALSE;

  buf_cache_stripe_push_held (stripe, magazine, block, bytes);
  return TRUE;
}

/* Caches a block that the stripe has no room for, if that can be made: a full magazine moves to the
 * depot. If it has to @insist, others may make room, in @haul. A block that is too large for a
 * stripe is a bundle of its own. Returns whether the block was cached. */
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
  if (try_some_times_locked (stripe))
    {
      if (bytes <= stripe->max_bytes)
        kept = put_held (memory, stripe, block, n_buffers, insist, haul);
      else
        {
          buf_block_set_next (block, NULL);
          kept = put_into_depot_locked (memory, n_buffers, block, 1, insist, haul);
        }
      buf_cache_stripe_drop (stripe);
    }
  note_returning_locked (memory, haul, before, n_before);
  return kept;
}
