/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-memory-private.h"

/*
 * The cache: free blocks of a pool, so that a request need not call malloc().
 *
 * Terms: a free block that the pool keeps is *cached*. A *magazine* is a stack of up to
 * BUF_CACHE_ROUNDS cached blocks of one size. A *stripe* has several magazines; threads are
 * distributed over the stripes as over those of the semaphore. The *depot* holds *bundles*, which
 * are the contents of whole magazines. A *hit* takes a cached block, and a *put* caches one. To
 * *evict* is to take cached blocks, free them and release their bytes.
 *
 * Accounting: the semaphore counts the bytes of cached blocks as in use. So a hit or a put does not
 * change any count of bytes, and an eviction is free() followed by an ordinary release. This cache
 * is what the semaphore calls a keeper, see buf-semaphore-keeper.c.
 *
 * The lock: each stripe has a lock, see buf-biased-lock.c. A thread tries it, then *holds* the
 * stripe, changes the magazines, and *drops* the stripe. No thread waits for a stripe. On the fast
 * path, a thread that does not get its stripe tries one other stripe, and then does without the
 * cache. If the stripe is biased toward another thread, it revokes the bias and tries again. A
 * stripe is *closed* by a thread that gets the lock and does not unlock it: for other threads,
 * "held" and "closed" look the same. A stripe is marked as closed under the mutex, and it is opened
 * under the mutex. A closed stripe is not biased.
 *
 * Locks: no thread locks the mutex while it holds a stripe. Under the mutex, a stripe is tried a
 * few times, but never waited for: its holder may have been preempted, and all other threads would
 * wait for the mutex. While a stripe is held, nothing is allocated, freed, counted elsewhere, or
 * traced.
 *
 *   hit:     try the stripe; pop; drop the stripe; write the word
 *   put:     try the stripe; push; drop the stripe
 *   swap:    drop the stripe; lock the mutex; try the stripe; move a bundle; drop it; unlock
 *   close:   lock the mutex; revoke the bias of all stripes; for each open stripe: try it, take its
 *            blocks, note "closed"; take what the depot has; unlock; free the blocks; release their
 *            bytes; again, until all stripes are closed
 *   open:    (under the mutex, no request waits) for each closed stripe: note "open", open the lock
 *   evict:   lock the mutex; pop from the depot, then from stripes that can be had, after their
 *            bias was revoked; unlock; free; exchange their bytes for those that are wanted, in one
 *            section
 *
 * Nothing is accessed too late. Dropping the stripe is the last access of a put to the memory.
 * While a block is cached, its bytes are in use, so the semaphore is not over. A thread that gets
 * the same stripe later releases them. Before a pool ends, it is closed, and closing waits until it
 * has all stripes. After that, no thread gets one.
 *
 * Memory orders: the lock guards its data like any lock, so what a thread did with a block happened
 * before the next thread gets it. @n_live may be stale: it leads to a stripe that is valid memory,
 * and that is open or closed. The counts and bytes are written by the holder. Others read them only
 * for figures and hints.
 *
 * Pinned bytes: each stripe counts the bytes that hits have pinned minus those that puts have
 * unpinned, which may be negative. The count moves to the level of the semaphore when the stripe is
 * closed. The owner of a closed pool waits for bytes that are not pinned. It looks when all stripes
 * are closed, so the figure is complete.
 *
 * Limits: each stripe has a share of the limit, and the depot has half of it. A small limit is
 * shared by fewer stripes; with a single stripe, there is no depot. A bundle moves only if its
 * destination has room, so the limit is never exceeded, with one exception: if the limit is
 * automatic, a block that is larger than the depot may have the depot to itself, up to its part of
 * the maximum. So a program that uses one large block after another, such as video frames, finds
 * the block again. When a stripe has had no room for BUF_CACHE_PRESSURE blocks, the next block
 * insists: the least used size makes room for it.
 */

/* The minimum share, in the smallest blocks. */
#define BUF_CACHE_MIN_SHARE 4

/* The automatic limit is this part of the maximum, up to an upper bound. */
#define BUF_CACHE_DEFAULT_PART 8
#define BUF_CACHE_DEFAULT_MAX  (16 << 20)

void
buf_cache_init (BufMemory *memory, guint n_processors, gboolean disabled)
{
  BufCacheControl *control = &memory->control;
  guint n_stripes = 1;

  buf_biased_lock_choose ();
  while (n_stripes < n_processors && n_stripes < memory->semaphore.n_stripes)
    n_stripes *= 2;

  control->n_stripes = n_stripes;
  control->disabled = disabled;
  control->closing = TRUE;
  memory->cache.stripes = g_aligned_alloc0 (n_stripes, sizeof (BufCacheStripe), BUF_CACHE_LINE);
  for (guint i = 0; i < n_stripes; i++)
    {
      buf_biased_lock_init_held (&memory->cache.stripes[i].lock);
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

/* Returns whether the limit has changed. The cache is closed, or has not begun. */
gboolean
buf_cache_set_limit_locked (BufMemory *memory, gint64 limit)
{
  gboolean changed = limit != memory->control.limit;

  memory->control.limit = limit;
  if (memory->control.depot_is_idle)
    buf_cache_limit_idle_locked (memory);
  return changed;
}

/* Returns the maximum that may be cached, and how much of it remains for one large block that does
 * not fit into @limit. */
static gint64
get_limit_locked (BufMemory *memory, gint64 *for_large)
{
  gint64 maximum = memory->semaphore.level.maximum;
  gint64 part = maximum / BUF_CACHE_DEFAULT_PART;
  gint64 limit = MIN (memory->control.limit, maximum);

  if (memory->control.disabled)
    limit = 0;
  else if (memory->control.limit < 0)
    limit = MIN (part, BUF_CACHE_DEFAULT_MAX);
  *for_large = !memory->control.disabled && memory->control.limit < 0 ? part : 0;
  return limit;
}

/* How the limit is shared, in bytes. */
typedef struct
{
  guint n_live;  /* the number of stripes; 0 if nothing is cached */
  gint64 stripe; /* for each stripe */
  gint64 depot;
  gint64 alone; /* for a block that is the only one in the depot */
} BufShares;

/* Without a depot, the only stripe gets everything. */
static BufShares
choose_shares_locked (BufMemory *memory)
{
  BufShares shares = { .n_live = memory->control.n_stripes };
  gint64 buffer_size = buf_memory_get_block_bytes (memory, 1);
  gint64 for_large;
  gint64 limit = get_limit_locked (memory, &for_large);

  while (shares.n_live > 1 && limit / 2 / shares.n_live / BUF_CACHE_MIN_SHARE < buffer_size)
    shares.n_live /= 2;
  shares.stripe = shares.n_live > 1 ? limit / 2 / shares.n_live : limit;
  shares.depot = limit - shares.n_live * shares.stripe;
  shares.alone = for_large - shares.n_live * shares.stripe;

  if (MAX (shares.stripe, shares.alone) < buffer_size)
    shares.n_live = 0;
  return shares;
}

static void
open_stripe_locked (BufCacheStripe *stripe, gint64 share)
{
  if (!stripe->closed)
    return;

  stripe->max_bytes = share;
  stripe->closed = FALSE;
  buf_biased_lock_open (&stripe->lock);
}

static void
move_size_held (BufDepot *depot, BufCacheStripe *stripe, guint n_buffers, gint64 bytes)
{
  BufMagazine *magazine = buf_cache_stripe_use_held (stripe, n_buffers);
  BufPoolAllocation *block;

  while (magazine != NULL && buf_cache_stripe_has_room_held (stripe, magazine, bytes) &&
         (block = buf_depot_take_one_locked (depot, n_buffers, bytes)) != NULL)
    buf_cache_stripe_push_held (stripe, magazine, block, bytes);
}

/* Moves the idle blocks to the only stripe, which is closed. Those that its magazines have no room
 * for stay in the depot, with their share of the limit, and so does a block that may only be
 * alone. */
static void
move_to_stripe_held (BufMemory *memory, BufCacheStripe *stripe, BufShares *shares)
{
  BufDepot *depot = &memory->control.depot;

  stripe->max_bytes = shares->stripe;
  for (guint i = 0; i < BUF_DEPOT_N_SIZES; i++)
    if (depot->sizes[i].head != NULL)
      move_size_held (depot,
                      stripe,
                      depot->sizes[i].n_buffers,
                      buf_memory_get_block_bytes (memory, depot->sizes[i].n_buffers));

  if (depot->bytes <= shares->stripe)
    {
      shares->depot = depot->bytes;
      shares->stripe -= depot->bytes;
    }
}

/* The bytes of idle blocks are in use from now on. */
void
buf_cache_take_idle_bytes_locked (BufMemory *memory, gint64 bytes, gint64 n_blocks)
{
  memory->semaphore.level.free -= bytes;
  memory->semaphore.level.n_allocations += n_blocks;
  memory->semaphore.level.idle = memory->control.depot_is_idle ? memory->control.depot.bytes : 0;
}

/* The depot is not idle anymore, and keeps its blocks. */
static void
keep_idle_locked (BufMemory *memory)
{
  memory->control.depot_is_idle = FALSE;
  buf_cache_take_idle_bytes_locked (memory,
                                    memory->control.depot.bytes,
                                    memory->control.depot.n_blocks);
}

/* No request waits, drains or reclaims. */
void
buf_cache_open_locked (BufMemory *memory)
{
  BufCacheControl *control = &memory->control;
  BufShares shares = choose_shares_locked (memory);

  if (shares.n_live == 0 || !control->closing)
    return;

  if (control->depot_is_idle)
    keep_idle_locked (memory);
  if (shares.n_live == 1 && control->depot.n_blocks > 0)
    move_to_stripe_held (memory, &memory->cache.stripes[0], &shares);
  for (guint i = 0; i < shares.n_live; i++)
    open_stripe_locked (&memory->cache.stripes[i], shares.stripe);
  buf_depot_set_max_locked (&control->depot, shares.depot, shares.alone, shares.stripe);
  control->closing = FALSE;
  buf_semaphore_note_keeping_locked (&memory->semaphore, TRUE);
  atomic_store_explicit (&memory->cache.n_live, shares.n_live, memory_order_relaxed);
}

static void
free_bundle (BufMemory *memory, BufPoolAllocation *bundle, gint64 bytes, guint64 flags)
{
  while (bundle != NULL)
    {
      BufPoolAllocation *next = buf_block_get_next (bundle);

      buf_block_free (memory, bundle, bytes, flags);
      bundle = next;
    }
}

/* Their bytes have not been released yet. */
void
buf_cache_free_haul (BufMemory *memory, const BufHaul *haul)
{
  guint64 flags = buf_block_get_flags (memory);

  if (haul->n_blocks > 0)
    BUF_PROBE3 (evict, &memory->semaphore, haul->bytes, haul->n_blocks);
  for (guint i = 0; i < haul->n_sizes; i++)
    {
      const BufBundles *bundles = &haul->sizes[i];
      BufPoolAllocation *bundle = bundles->head;

      while (bundle != NULL)
        {
          BufPoolAllocation *next = (gpointer) bundle->memory;

          free_bundle (memory, bundle, bundles->n_buffers * (gint64) memory->buffer_size, flags);
          bundle = next;
        }
    }
}

/* Evicted blocks count as nearly available in figures, but they are in use until they are freed. */
void
buf_cache_note_returning_locked (BufMemory *memory,
                                 const BufHaul *haul,
                                 gint64 bytes,
                                 gint64 n_blocks)
{
  buf_semaphore_note_returning_locked (&memory->semaphore,
                                       haul->bytes - bytes,
                                       haul->n_blocks - n_blocks);
}

/* One barrier is enough for all of them. Returns whether a stripe was biased. */
static gboolean
revoke_all_locked (BufMemory *memory)
{
  BufLockOwner *owners[BUF_SEMAPHORE_MAX_STRIPES];
  BufLockOwner *other = NULL;
  guint n_biased = 0;

  for (guint i = 0; i < memory->control.n_stripes; i++)
    {
      owners[i] = buf_biased_lock_begin_revoke (&memory->cache.stripes[i].lock);
      n_biased += owners[i] != NULL;
      if (owners[i] != NULL && owners[i] != buf_lock_owner_self)
        other = owners[i];
    }

  buf_biased_lock_barrier (other);
  for (guint i = 0; i < memory->control.n_stripes; i++)
    if (owners[i] != NULL)
      buf_biased_lock_end_revoke (&memory->cache.stripes[i].lock, owners[i]);
  return n_biased > 0;
}

/* A closed stripe is not biased, so the owner does not close it while it is inside by bias. The
 * stripe may have more sizes than @haul has room for. */
static void
close_stripe_locked (BufMemory *memory, BufCacheStripe *stripe, BufHaul *haul)
{
  if (stripe->closed || !buf_biased_lock_take (&stripe->lock))
    return;

  buf_cache_stripe_evict_held (stripe,
                               G_MAXINT64 / 2,
                               buf_memory_get_block_bytes (memory, 1),
                               haul);
  if (atomic_load_explicit (&stripe->bytes, memory_order_relaxed) == 0)
    {
      memory->semaphore.level.pinned += stripe->pinned;
      stripe->pinned = 0;
      stripe->closed = TRUE;
    }
  else
    buf_biased_lock_open (&stripe->lock);
}

/* The depot is idle and empty. The limits may have changed. If there is only one stripe, it will
 * have the blocks when the cache opens. */
void
buf_cache_limit_idle_locked (BufMemory *memory)
{
  BufShares shares = choose_shares_locked (memory);
  gint64 max_bytes = shares.n_live == 1 ? shares.stripe : shares.depot;

  if (shares.n_live == 0 || memory->semaphore.is_child)
    max_bytes = shares.alone = 0;
  buf_depot_set_max_locked (&memory->control.depot, max_bytes, shares.alone, max_bytes);
}

/* Takes all blocks out of the depot, which is idle from then on. */
static void
close_depot_locked (BufMemory *memory, BufHaul *haul)
{
  BufCacheControl *control = &memory->control;

  if (control->depot_is_idle)
    return;

  buf_depot_set_max_locked (&control->depot, 0, 0, 0);
  buf_depot_evict_locked (&control->depot,
                          G_MAXINT64 / 2,
                          buf_memory_get_block_bytes (memory, 1),
                          haul);
  control->depot_is_idle = control->depot.n_blocks == 0;
  if (control->depot_is_idle)
    buf_cache_limit_idle_locked (memory);
}

/* Closes what can be closed immediately, and moves the blocks into @haul. Returns whether nothing
 * is cached anymore. */
gboolean
buf_cache_close_locked (BufMemory *memory, BufHaul *haul)
{
  BufCacheControl *control = &memory->control;
  gint64 bytes = haul->bytes, n_blocks = haul->n_blocks;
  gboolean all = TRUE;

  control->closing = TRUE;
  atomic_store_explicit (&memory->cache.n_live, 0, memory_order_relaxed);
  close_depot_locked (memory, haul);
  revoke_all_locked (memory);
  for (guint i = 0; i < control->n_stripes; i++)
    {
      close_stripe_locked (memory, &memory->cache.stripes[i], haul);
      all &= memory->cache.stripes[i].closed;
    }

  buf_cache_note_returning_locked (memory, haul, bytes, n_blocks);
  all &= control->depot_is_idle || control->depot.n_blocks == 0;
  buf_semaphore_note_keeping_locked (&memory->semaphore, !all);
  return all;
}

static void
evict_from_stripes_locked (BufMemory *memory, gint64 enough, BufHaul *haul)
{
  BufCacheControl *control = &memory->control;
  guint own = buf_semaphore_thread_number;

  for (guint i = 0; i < control->n_stripes && haul->bytes < enough; i++)
    {
      BufCacheStripe *stripe = &memory->cache.stripes[(own + i) & (control->n_stripes - 1)];

      if (atomic_load_explicit (&stripe->bytes, memory_order_relaxed) > 0 &&
          buf_cache_stripe_try_locked (stripe))
        {
          buf_cache_stripe_evict_held (stripe,
                                       enough - haul->bytes,
                                       buf_memory_get_block_bytes (memory, 1),
                                       haul);
          buf_cache_stripe_drop (stripe);
        }
    }
}

/* Moves blocks into @haul until it has @bytes, or everything that is available immediately. */
void
buf_cache_evict_locked (BufMemory *memory, gint64 bytes, BufHaul *haul)
{
  gint64 enough = haul->bytes + bytes, before = haul->bytes, n_before = haul->n_blocks;

  if (!memory->control.depot_is_idle)
    buf_depot_evict_locked (&memory->control.depot,
                            bytes,
                            buf_memory_get_block_bytes (memory, 1),
                            haul);
  evict_from_stripes_locked (memory, enough, haul);
  if (haul->bytes < enough && revoke_all_locked (memory))
    evict_from_stripes_locked (memory, enough, haul);
  buf_cache_note_returning_locked (memory, haul, before, n_before);
}

static guint
count_blocks (BufCacheStripe *stripe)
{
  guint n = 0;

  for (guint i = 0; i < BUF_CACHE_N_MAGAZINES; i++)
    n += atomic_load_explicit (&stripe->magazines[i].count, memory_order_relaxed);
  return n;
}

/* Adds the cached bytes and blocks. */
void
buf_cache_count_locked (BufMemory *memory, gint64 *bytes, gint64 *n_blocks)
{
  if (!memory->control.depot_is_idle)
    {
      *bytes += memory->control.depot.bytes;
      *n_blocks += memory->control.depot.n_blocks;
    }
  for (guint i = 0; i < memory->control.n_stripes; i++)
    {
      *bytes += atomic_load_explicit (&memory->cache.stripes[i].bytes, memory_order_relaxed);
      *n_blocks += count_blocks (&memory->cache.stripes[i]);
    }
}

void
buf_cache_get_hits (BufMemory *memory, guint64 *n_hits, guint64 *n_misses)
{
  g_mutex_lock (&memory->semaphore.tree->mutex);
  *n_hits = memory->control.n_reused;
  g_mutex_unlock (&memory->semaphore.tree->mutex);

  *n_misses = 0;
  for (guint i = 0; i < memory->control.n_stripes; i++)
    {
      BufCacheStripe *stripe = &memory->cache.stripes[i];

      *n_hits += atomic_load_explicit (&stripe->n_hits, memory_order_relaxed);
      *n_misses += atomic_load_explicit (&stripe->n_misses, memory_order_relaxed);
    }
}
