/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "memory/buf-block-private.h"

G_BEGIN_DECLS

/* How many sizes of blocks a depot keeps. */
#define BUF_DEPOT_N_SIZES 8

/* Free blocks of one size, in bundles: the words of the blocks link a bundle, and the field @memory
 * of the first block of each bundle points to the next bundle. */
typedef struct
{
  guint n_buffers; /* the size */
  BufPoolAllocation *head;
  gint64 bytes; /* of all blocks */
  gint64 n_blocks;
} BufBundles;

/* Blocks that were taken out of a cache, until they are freed. */
#define BUF_HAUL_N_SIZES 12
typedef struct
{
  BufBundles sizes[BUF_HAUL_N_SIZES];
  guint n_sizes;
  gint64 bytes;
  gint64 n_blocks;
} BufHaul;

typedef struct
{
  BufBundles sizes[BUF_DEPOT_N_SIZES]; /* LOCK: mutex; most recently used first */
  gint64 bytes;                        /* LOCK: mutex */
  gint64 n_blocks;                     /* LOCK: mutex */
  gint64 max_bytes;                    /* LOCK: mutex */
  gint64 max_alone;                    /* LOCK: mutex; for a block that is the only one */

  /* Tells whether it is worthwhile to lock the mutex. */
  _Atomic gint64 room;        /* LOCK: mutex to write; bytes */
  _Atomic gint64 room_alone;  /* LOCK: mutex to write; bytes for a block that is the only one */
  _Atomic gint64 alone_above; /* LOCK: mutex to write; smaller blocks cannot be alone */
  _Atomic guint32 filter;     /* LOCK: mutex to write; bits of the sizes in the depot */
} BufDepot;

static inline guint32
buf_depot_get_bit (guint n_buffers)
{
  return (guint32) 1 << n_buffers % 32;
}

/* Both may return wrong results while another thread changes the depot. */
static inline gboolean
buf_depot_may_have (BufDepot *self, guint n_buffers)
{
  return (atomic_load_explicit (&self->filter, memory_order_relaxed) &
          buf_depot_get_bit (n_buffers)) != 0;
}

static inline gboolean
buf_depot_may_have_room (BufDepot *self, gint64 bytes)
{
  return bytes <= atomic_load_explicit (&self->room, memory_order_relaxed) ||
         (bytes <= atomic_load_explicit (&self->room_alone, memory_order_relaxed) &&
          bytes > atomic_load_explicit (&self->alone_above, memory_order_relaxed));
}

void
buf_depot_set_max_locked (BufDepot *self, gint64 max_bytes, gint64 max_alone, gint64 alone_above);
gboolean buf_depot_put_alone_locked (BufDepot *self,
                                     guint n_buffers,
                                     BufPoolAllocation *block,
                                     gint64 bytes);
gboolean buf_depot_put_locked (BufDepot *self,
                               guint n_buffers,
                               BufPoolAllocation *bundle,
                               guint n_blocks,
                               gint64 bytes);
BufPoolAllocation *buf_depot_take_locked (BufDepot *self,
                                          guint n_buffers,
                                          gint64 block_bytes,
                                          gint64 max_blocks,
                                          guint *n_blocks);
BufPoolAllocation *buf_depot_take_one_locked (BufDepot *self, guint n_buffers, gint64 block_bytes);
void buf_depot_make_room_locked (BufDepot *self,
                                 guint n_buffers,
                                 gint64 bytes,
                                 gint64 buffer_size,
                                 BufHaul *haul);
void
buf_depot_evict_at_most_locked (BufDepot *self, gint64 bytes, gint64 buffer_size, BufHaul *haul);
void buf_depot_evict_locked (BufDepot *self, gint64 bytes, gint64 buffer_size, BufHaul *haul);

static inline void
buf_haul_init (BufHaul *self)
{
  self->n_sizes = 0;
  self->bytes = 0;
  self->n_blocks = 0;
}

gboolean buf_haul_add (BufHaul *self,
                       guint n_buffers,
                       BufPoolAllocation *bundle,
                       gint64 n_blocks,
                       gint64 bytes);

G_END_DECLS
