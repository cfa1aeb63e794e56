/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-memory-private.h"

/*
 * How blocks leave the cache: when a request needs the bytes, when another block needs the room,
 * and when the program trims the pool.
 *
 * The order is always the same: blocks move into a haul under the mutex, are freed without the
 * mutex, and then their bytes are released. Until then, the bytes are in use, and belong to the
 * thread that evicts. So memory is freed before its bytes are granted again, and the bytes keep the
 * BufMemory alive.
 */

/* After this many blocks that found no room in a stripe, the next one insists. */
#define BUF_CACHE_PRESSURE 32

/* How long a thread retries to get a held stripe before it leaves it to others, in microseconds,
 * and how long it sleeps if it cannot leave it to them. Sleeping lets a holder of lower priority
 * run. */
#define BUF_CACHE_CLOSE_TIME  50
#define BUF_CACHE_CLOSE_SLEEP 100

/* On return, the memory may be gone. */
static void
free_and_release_haul (BufMemory *memory, const BufHaul *haul)
{
  if (haul->n_blocks == 0)
    return;

  buf_cache_free_haul (memory, haul);
  buf_semaphore_release_several (&memory->semaphore, haul->bytes, haul->n_blocks);
}

static gboolean
put_slowly (BufMemory *memory,
            BufPoolAllocation *block,
            guint n_buffers,
            gint64 bytes,
            gboolean insist,
            gboolean pinned)
{
  BufHaul haul;
  gboolean kept;

  buf_haul_init (&haul);
  g_mutex_lock (&memory->semaphore.tree->mutex);
  kept = buf_cache_put_locked (memory, block, n_buffers, bytes, insist, &haul);
  if (kept && pinned)
    memory->semaphore.level.pinned -= bytes;
  g_mutex_unlock (&memory->semaphore.tree->mutex);

  free_and_release_haul (memory, &haul);
  return kept;
}

/* Returns how many bytes of room the depot needs to take @magazine, which may be NULL. */
static gint64
get_bytes_to_move_held (BufCacheStripe *stripe, BufMagazine *magazine, gint64 bytes)
{
  if (bytes > stripe->max_bytes)
    return bytes;
  if (magazine != NULL && buf_cache_stripe_is_filled_by_held (stripe, magazine, bytes))
    return bytes * atomic_load_explicit (&magazine->count, memory_order_relaxed);
  return G_MAXINT64;
}

/* Puts a block that does not match the first magazine, or finds no room there. The caller holds the
 * stripe, and this function drops it. */
gboolean
buf_cache_put_held (BufMemory *memory,
                    BufCacheStripe *stripe,
                    BufPoolAllocation *block,
                    guint n_buffers,
                    gint64 bytes,
                    gboolean pinned)
{
  BufMagazine *magazine = buf_cache_stripe_use_held (stripe, n_buffers);
  gboolean insist = FALSE;
  gint64 moves;

  if (magazine != NULL && buf_cache_stripe_push_held (stripe, magazine, block, bytes))
    {
      stripe->pinned -= pinned ? bytes : 0;
      buf_cache_stripe_drop (stripe);
      return TRUE;
    }

  moves = get_bytes_to_move_held (stripe, magazine, bytes);
  if (++stripe->pressure > BUF_CACHE_PRESSURE)
    {
      stripe->pressure = 0;
      insist = TRUE;
    }
  buf_cache_stripe_drop (stripe);

  /* The block is still in use, which keeps the memory alive. */
  return (insist || buf_depot_may_have_room (&memory->control.depot, moves)) &&
         put_slowly (memory, block, n_buffers, bytes, insist, pinned);
}

/* See buf_cache_take_elsewhere(). */
gboolean
buf_cache_put_elsewhere (BufMemory *memory,
                         BufPoolAllocation *block,
                         guint n_buffers,
                         gint64 bytes,
                         gboolean pinned)
{
  BufCacheStripe *stripe = buf_cache_try_elsewhere (memory);

  return stripe != NULL && buf_cache_put_held (memory, stripe, block, n_buffers, bytes, pinned);
}

/* Returns how much of @bytes @want lacks, at the level with the least available. */
static gint64
get_missing_locked (BufMemory *memory, const BufWant *want, gint64 bytes)
{
  const BufWaiter *owed = buf_wait_queue_get_owed_locked (&memory->semaphore.tree->queue);
  gint64 least = G_MAXINT64;

  for (BufLevel *level = &memory->semaphore.level; level != NULL; level = level->parent)
    least = MIN (least, buf_level_get_limit_locked (level, buf_want_is_urgent (want), owed));
  return bytes - MAX (least, 0);
}

/* Takes out blocks of this memory if they and the free bytes together are enough. */
static gboolean
evict_for (BufMemory *memory, const BufWant *want, gint64 bytes, BufHaul *haul)
{
  gint64 missing, cached = 0, n_cached = 0;

  buf_haul_init (haul);
  g_mutex_lock (&memory->semaphore.tree->mutex);
  missing = get_missing_locked (memory, want, bytes);
  buf_cache_count_locked (memory, &cached, &n_cached);
  if (missing > 0 && missing <= cached)
    buf_cache_evict_locked (memory, missing, haul);
  g_mutex_unlock (&memory->semaphore.tree->mutex);
  return haul->n_blocks > 0;
}

/* Takes out blocks for a request for a range of sizes, as many as its maximum needs. */
static gboolean
evict_for_most (BufMemory *memory, const BufWant *want, BufHaul *haul)
{
  gint64 missing;

  buf_haul_init (haul);
  if (want->most == want->bytes)
    return FALSE;

  g_mutex_lock (&memory->semaphore.tree->mutex);
  missing = get_missing_locked (memory, want, MIN (want->most, memory->semaphore.level.maximum));
  if (missing > 0)
    buf_cache_evict_locked (memory, missing, haul);
  g_mutex_unlock (&memory->semaphore.tree->mutex);
  return haul->n_blocks > 0;
}

static BufOutcome
exchange_haul (BufMemory *memory,
               const BufHaul *haul,
               BufWant *want,
               gboolean leaves,
               BufSemaphoreFigures *figures)
{
  buf_cache_free_haul (memory, haul);
  return buf_semaphore_exchange (&memory->semaphore,
                                 haul->bytes,
                                 haul->n_blocks,
                                 want,
                                 leaves,
                                 figures);
}

/* The first attempt. On PENDING, the caller is inside if @enters is set. */
static BufOutcome
acquire_once (BufMemory *self, BufWant *want, gboolean enters, BufSemaphoreFigures *figures)
{
  BufOutcome outcome;
  BufHaul haul;

  if (G_LIKELY (!evict_for_most (self, want, &haul)))
    return buf_semaphore_acquire (&self->semaphore, want, enters, figures);

  buf_semaphore_enter (&self->semaphore);
  outcome = exchange_haul (self, &haul, want, TRUE, figures);
  if (outcome == BUF_OUTCOME_PENDING && !enters)
    buf_semaphore_leave (&self->semaphore);
  return outcome;
}

/* Like buf_semaphore_acquire(), but cached blocks count as available. */
BufOutcome
buf_memory_acquire (BufMemory *self, BufWant *want, gboolean enters, BufSemaphoreFigures *figures)
{
  BufOutcome outcome = acquire_once (self, want, enters, figures);
  BufHaul haul;

  while (outcome == BUF_OUTCOME_PENDING && evict_for (self, want, want->bytes, &haul))
    outcome = exchange_haul (self, &haul, want, enters, figures);
  if (outcome == BUF_OUTCOME_PENDING && self->semaphore.is_child)
    outcome = buf_semaphore_acquire_after_others (&self->semaphore, want, enters, figures);
  return outcome;
}

/* Returns whether all open stripes have been closed, or need not be closed anymore. */
static gboolean
close_some (BufMemory *memory, BufHaul *haul)
{
  gboolean done = TRUE;

  buf_haul_init (haul);
  g_mutex_lock (&memory->semaphore.tree->mutex);
  if (!buf_semaphore_may_keep_locked (&memory->semaphore))
    done = buf_cache_close_locked (memory, haul);
  g_mutex_unlock (&memory->semaphore.tree->mutex);
  return done;
}

static gboolean
reclaim (BufSemaphore *semaphore, gboolean complete)
{
  BufMemory *memory = buf_memory_get_for_semaphore (semaphore);
  gint64 deadline = g_get_monotonic_time () + BUF_CACHE_CLOSE_TIME;
  BufHaul haul;

  for (;;)
    {
      gboolean done = close_some (memory, &haul);

      free_and_release_haul (memory, &haul);
      if (done)
        return TRUE;
      if (haul.n_blocks > 0)
        continue;
      if (g_get_monotonic_time () < deadline)
        g_thread_yield ();
      else if (complete)
        g_usleep (BUF_CACHE_CLOSE_SLEEP);
      else
        return FALSE;
    }
}

static gint64
evict (BufSemaphore *semaphore, gint64 bytes)
{
  BufMemory *memory = buf_memory_get_for_semaphore (semaphore);
  BufHaul haul;

  buf_haul_init (&haul);
  g_mutex_lock (&semaphore->tree->mutex);
  buf_cache_evict_locked (memory, bytes, &haul);
  if (haul.bytes < bytes)
    buf_cache_close_locked (memory, &haul); /* so that it is not asked again until it is used */
  g_mutex_unlock (&semaphore->tree->mutex);

  free_and_release_haul (memory, &haul);
  return haul.bytes;
}

static void
reopen_locked (BufSemaphore *semaphore)
{
  buf_cache_open_locked (buf_memory_get_for_semaphore (semaphore));
}

static void
count_kept_locked (BufSemaphore *semaphore, gint64 *bytes, gint64 *n_allocations)
{
  buf_cache_count_locked (buf_memory_get_for_semaphore (semaphore), bytes, n_allocations);
}

static void
free_idle (BufSemaphore *semaphore)
{
  BufMemory *memory = buf_memory_get_for_semaphore (semaphore);
  BufHaul haul;

  do
    {
      buf_haul_init (&haul);
      g_mutex_lock (&semaphore->tree->mutex);
      if (semaphore->level.idle > 0)
        buf_cache_evict_idle_locked (memory, semaphore->level.idle, &haul);
      g_mutex_unlock (&semaphore->tree->mutex);
      free_and_release_haul (memory, &haul);
    }
  while (haul.n_blocks > 0);
}

const BufSemaphoreKeeper buf_cache_keeper = {
  .reclaim = reclaim,
  .evict = evict,
  .reopen_locked = reopen_locked,
  .count_locked = count_kept_locked,
  .claim_locked = buf_cache_claim_locked,
  .unlock_and_free = buf_cache_unlock_and_free,
  .free_idle = free_idle,
};

/* Returns whether the limit has changed. */
gboolean
buf_memory_set_max_cached (BufMemory *self, gint64 max_cached)
{
  gboolean changed;

  buf_semaphore_reclaim_and_lock (&self->semaphore);
  changed = buf_cache_set_limit_locked (self, max_cached);
  buf_semaphore_reopen_and_unlock (&self->semaphore);
  return changed;
}

gint64
buf_memory_get_max_cached (BufMemory *self)
{
  gint64 max_cached;

  g_mutex_lock (&self->semaphore.tree->mutex);
  max_cached = self->control.limit;
  g_mutex_unlock (&self->semaphore.tree->mutex);
  return max_cached;
}

gint64
buf_memory_get_cached (BufMemory *self)
{
  gint64 cached = 0, n_blocks = 0;

  g_mutex_lock (&self->semaphore.tree->mutex);
  buf_cache_count_locked (self, &cached, &n_blocks);
  cached += self->semaphore.level.idle;
  g_mutex_unlock (&self->semaphore.tree->mutex);
  return cached;
}

/* Takes out blocks until at most @target bytes are cached, the idle ones first. */
static void
evict_down_to (BufMemory *memory, gint64 target, BufHaul *haul)
{
  gint64 cached, n_blocks = 0;

  buf_haul_init (haul);
  g_mutex_lock (&memory->semaphore.tree->mutex);
  cached = memory->semaphore.level.idle;
  buf_cache_count_locked (memory, &cached, &n_blocks);
  if (cached > target && memory->semaphore.level.idle > 0)
    buf_cache_evict_idle_locked (memory, cached - target, haul);
  if (cached - haul->bytes > target)
    buf_cache_evict_locked (memory, cached - haul->bytes - target, haul);
  g_mutex_unlock (&memory->semaphore.tree->mutex);
}

/* Frees blocks until at most @target bytes are cached. Returns how many bytes were freed. Other
 * threads may cache blocks in the meantime, so this frees at most what was cached at first. */
gint64
buf_memory_trim (BufMemory *self, gint64 target)
{
  gint64 most = buf_memory_get_cached (self) - target;
  gint64 freed = 0;
  BufHaul haul;

  while (freed < most)
    {
      evict_down_to (self, target, &haul);
      if (haul.n_blocks == 0)
        break;
      freed += haul.bytes;
      free_and_release_haul (self, &haul);
    }
  BUF_PROBE3 (trim, &self->semaphore, target, freed);
  return freed;
}
