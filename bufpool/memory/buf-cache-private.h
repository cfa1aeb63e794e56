/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "memory/buf-biased-lock-private.h"
#include "memory/buf-depot-private.h"
#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

/* How many sizes of blocks a stripe caches, and how many blocks of each size. */
#define BUF_CACHE_N_MAGAZINES 4
#define BUF_CACHE_ROUNDS      32

/* Free blocks of one size, linked by their words. HELD: guarded by the lock of the stripe. */
typedef struct
{
  guint n_buffers;         /* HELD; the size; 0 for none yet */
  _Atomic guint count;     /* HELD to write */
  BufPoolAllocation *head; /* HELD */
} BufMagazine;

/* Two cache lines. Nearly all operations use only the first one. */
typedef struct
{
  _Alignas(BUF_CACHE_LINE) BufBiasedLock lock;  /* a closed stripe is held */
  _Atomic gint64 bytes;                         /* HELD to write; the size of all its blocks */
  gint64 max_bytes;                             /* HELD */
  _Atomic guint64 n_hits;                       /* HELD to write */
  BufMagazine magazines[BUF_CACHE_N_MAGAZINES]; /* HELD; most used first */
  gint64 pinned;            /* HELD; bytes pinned by hits, minus those of puts */
  _Atomic guint64 n_misses; /* HELD to write */
  guint pressure;           /* HELD; the number of blocks that found no room */
  gboolean closed;          /* LOCK: mutex; the closing thread has the lock */
} BufCacheStripe;

G_STATIC_ASSERT (sizeof (BufCacheStripe) == 2 * BUF_CACHE_LINE || GLIB_SIZEOF_VOID_P < 8);

/* What each request and each release reads. */
typedef struct
{
  BufCacheStripe *stripes; /* const */
  _Atomic guint n_live;    /* LOCK: mutex to write; a power of two; 0 if nothing is cached */
} BufCache;

/* The rest of a cache. */
typedef struct
{
  BufDepot depot;
  guint n_stripes;   /* const; a power of two */
  gboolean disabled; /* const; set whatever the limit is */
  gint64 limit;      /* LOCK: mutex; as it was set; negative for automatic */
  gboolean closing;  /* LOCK: mutex; the open stripes have to be closed */

  gboolean depot_is_idle; /* LOCK: mutex; the bytes of the blocks in the depot are free */
  BufHaul set_aside;      /* LOCK: mutex; to free after the unlock; their bytes have new owners */
  guint64 n_reused;       /* LOCK: mutex; how many idle blocks were handed out */
} BufCacheControl;

/* Adds to a field that only the holder of the lock writes, and any thread reads. */
#define BUF_CACHE_ADD(field, n)                                                                    \
  atomic_store_explicit (&(field),                                                                 \
                         atomic_load_explicit (&(field), memory_order_relaxed) + (n),              \
                         memory_order_relaxed)

static inline gboolean
buf_cache_stripe_try (BufCacheStripe *self)
{
  return buf_biased_lock_try (&self->lock);
}

/* On return, the memory may be gone. */
static inline void
buf_cache_stripe_drop (BufCacheStripe *self)
{
  buf_biased_lock_unlock (&self->lock);
}

/* Below, _held means that the caller holds the lock. */

static inline BufPoolAllocation *
buf_cache_stripe_pop_held (BufCacheStripe *self, BufMagazine *magazine, gint64 bytes)
{
  BufPoolAllocation *block = magazine->head;

  magazine->head = buf_block_get_next (block);
  BUF_CACHE_ADD (magazine->count, -1);
  BUF_CACHE_ADD (self->bytes, -bytes);
  return block;
}

static inline gboolean
buf_cache_stripe_has_room_held (BufCacheStripe *self, BufMagazine *magazine, gint64 bytes)
{
  return atomic_load_explicit (&magazine->count, memory_order_relaxed) < BUF_CACHE_ROUNDS &&
         bytes <= self->max_bytes - atomic_load_explicit (&self->bytes, memory_order_relaxed);
}

/* Returns FALSE if there is no room. */
static inline gboolean
buf_cache_stripe_push_held (BufCacheStripe *self,
                            BufMagazine *magazine,
                            BufPoolAllocation *block,
                            gint64 bytes)
{
  guint count = atomic_load_explicit (&magazine->count, memory_order_relaxed);
  gint64 all_bytes = atomic_load_explicit (&self->bytes, memory_order_relaxed) + bytes;

  if (G_UNLIKELY (count >= BUF_CACHE_ROUNDS || all_bytes > self->max_bytes))
    return FALSE;

  buf_block_set_next (block, magazine->head);
  magazine->head = block;
  atomic_store_explicit (&magazine->count, count + 1, memory_order_relaxed);
  atomic_store_explicit (&self->bytes, all_bytes, memory_order_relaxed);
  return TRUE;
}

gboolean buf_cache_stripe_try_locked (BufCacheStripe *self);
BufCacheStripe *buf_cache_try_elsewhere (BufMemory *memory);
BufMagazine *buf_cache_stripe_find_held (BufCacheStripe *self, guint n_buffers);
BufMagazine *buf_cache_stripe_use_held (BufCacheStripe *self, guint n_buffers);
gboolean buf_cache_stripe_is_filled_by_held (BufCacheStripe *self,
                                             BufMagazine *magazine,
                                             gint64 block_bytes);
BufMagazine *buf_cache_stripe_find_least_used_held (BufCacheStripe *self, BufMagazine *spare);
BufPoolAllocation *buf_cache_stripe_empty_held (BufCacheStripe *self,
                                                BufMagazine *magazine,
                                                gint64 block_bytes,
                                                guint *n_blocks);
void
buf_cache_stripe_evict_held (BufCacheStripe *self, gint64 bytes, gint64 buffer_size, BufHaul *haul);

void buf_cache_init (BufMemory *memory, guint n_processors, gboolean disabled);
void buf_cache_clear (BufMemory *memory);

gboolean buf_cache_set_limit_locked (BufMemory *memory, gint64 limit);
void buf_cache_open_locked (BufMemory *memory);
gboolean buf_cache_close_locked (BufMemory *memory, BufHaul *haul);
void buf_cache_evict_locked (BufMemory *memory, gint64 bytes, BufHaul *haul);
void buf_cache_note_returning_locked (BufMemory *memory,
                                      const BufHaul *haul,
                                      gint64 bytes,
                                      gint64 n_blocks);
void buf_cache_free_haul (BufMemory *memory, const BufHaul *haul);
void buf_cache_count_locked (BufMemory *memory, gint64 *bytes, gint64 *n_blocks);
void buf_cache_get_hits (BufMemory *memory, guint64 *n_hits, guint64 *n_misses);

BufPoolAllocation *
buf_cache_take_held (BufMemory *memory, BufCacheStripe *stripe, guint n_buffers, gboolean pins);
BufPoolAllocation *buf_cache_take_elsewhere (BufMemory *memory, guint n_buffers, gboolean pins);
gboolean buf_cache_put_held (BufMemory *memory,
                             BufCacheStripe *stripe,
                             BufPoolAllocation *block,
                             guint n_buffers,
                             gint64 bytes,
                             gboolean pinned);
gboolean buf_cache_put_elsewhere (BufMemory *memory,
                                  BufPoolAllocation *block,
                                  guint n_buffers,
                                  gint64 bytes,
                                  gboolean pinned);
gboolean buf_cache_put_locked (BufMemory *memory,
                               BufPoolAllocation *block,
                               guint n_buffers,
                               gint64 bytes,
                               gboolean insist,
                               BufHaul *haul);

/* Idle blocks. */

/* Smaller blocks do not become idle: malloc() is cheap for them. */
#define BUF_CACHE_MIN_IDLE 4096

void buf_cache_limit_idle_locked (BufMemory *memory);
void buf_cache_take_idle_bytes_locked (BufMemory *memory, gint64 bytes, gint64 n_blocks);
gboolean buf_cache_put_idle (BufMemory *memory,
                             BufPoolAllocation *block,
                             guint n_buffers,
                             gint64 bytes,
                             gboolean pinned);
void buf_cache_evict_idle_locked (BufMemory *memory, gint64 bytes, BufHaul *haul);
void buf_cache_claim_locked (BufSemaphore *semaphore, BufWant *want);
void buf_cache_unlock_and_free (BufSemaphore *semaphore);

extern const BufSemaphoreKeeper buf_cache_keeper;

G_END_DECLS
