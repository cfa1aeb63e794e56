/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "memory/buf-depot-private.h"
#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

/* How many sizes of blocks a stripe caches, and how many blocks of each size. */
#define BUF_CACHE_N_MAGAZINES 4
#define BUF_CACHE_ROUNDS      32

/* Free blocks of one size, linked by their words. BIT: guarded by the bit of the stripe. */
typedef struct
{
  guint n_buffers;         /* BIT; the size; 0 for none yet */
  _Atomic guint count;     /* BIT to write */
  BufPoolAllocation *head; /* BIT */
} BufMagazine;

/* Two cache lines. Nearly all operations use only the first one. */
typedef struct
{
  _Alignas(BUF_CACHE_LINE) _Atomic gint bit;    /* atomic; 0: open; 1: held or closed */
  guint pressure;                               /* BIT; the number of blocks that found no room */
  _Atomic gint64 bytes;                         /* BIT to write; the size of all its blocks */
  gint64 max_bytes;                             /* BIT */
  _Atomic guint64 n_hits;                       /* BIT to write */
  BufMagazine magazines[BUF_CACHE_N_MAGAZINES]; /* BIT; most used first */
  gint64 pinned;                                /* BIT; bytes pinned by hits, minus those of puts */
  _Atomic guint64 n_misses;                     /* BIT to write */
  gboolean closed;                              /* LOCK: mutex; the closing thread has the bit */
} BufCacheStripe;

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
} BufCacheControl;

/* Adds to a field that only the holder of the bit writes, and any thread reads. */
#define BUF_CACHE_ADD(field, n)                                                                    \
  atomic_store_explicit (&(field),                                                                 \
                         atomic_load_explicit (&(field), memory_order_relaxed) + (n),              \
                         memory_order_relaxed)

static inline gboolean
buf_cache_stripe_try (BufCacheStripe *self)
{
  return atomic_exchange_explicit (&self->bit, 1, memory_order_acquire) == 0;
}

/* On return, the memory may be gone. */
static inline void
buf_cache_stripe_drop (BufCacheStripe *self)
{
  atomic_store_explicit (&self->bit, 0, memory_order_release);
}

/* Below, _held means that the caller holds the bit. */

static inline BufPoolAllocation *
buf_cache_stripe_pop_held (BufCacheStripe *self, BufMagazine *magazine, gint64 bytes)
{
  BufPoolAllocation *block = magazine->head;

  magazine->head = buf_block_get_next (block);
  BUF_CACHE_ADD (magazine->count, -1);
  BUF_CACHE_ADD (self->bytes, -bytes);
  return block;
}

static inline void
buf_cache_stripe_push_held (BufCacheStripe *self,
                            BufMagazine *magazine,
                            BufPoolAllocation *block,
                            gint64 bytes)
{
  buf_block_set_next (block, magazine->head);
  magazine->head = block;
  BUF_CACHE_ADD (magazine->count, 1);
  BUF_CACHE_ADD (self->bytes, bytes);
}

static inline gboolean
buf_cache_stripe_has_room_held (BufCacheStripe *self, BufMagazine *magazine, gint64 bytes)
{
  return atomic_load_explicit (&magazine->count, memory_order_relaxed) < BUF_CACHE_ROUNDS &&
         bytes <= self->max_bytes - atomic_load_explicit (&self->bytes, memory_order_relaxed);
}

gboolean buf_cache_stripe_try_locked (BufCacheStripe *self);
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

extern const BufSemaphoreKeeper buf_cache_keeper;

G_END_DECLS
