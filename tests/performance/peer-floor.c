/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdatomic.h>

#include "peer-block.h"
#include "peer.h"

/* The lowest possible cost of a strict shared budget: malloc() and free() of a block with a header,
 * and two compare-and-swaps. Each thread has a separate word here, so there is no contention, and
 * no thread can wait. No real pool can work like this. */

typedef struct
{
  gsize buffer_size;
  gint64 budget;
} Pool;

static _Thread_local struct
{
  _Alignas(64) _Atomic gint64 used;
} word;

static gpointer
create (gsize buffer_size, gsize n_buffers, gsize budget)
{
  Pool *self = g_new0 (Pool, 1);

  self->buffer_size = buffer_size;
  self->budget = budget;
  return self;
}

static inline void
change (gint64 bytes)
{
  gint64 used = atomic_load_explicit (&word.used, memory_order_relaxed);

  while (!atomic_compare_exchange_weak (&word.used, &used, used + bytes))
    continue;
}

static gpointer
allocate (gpointer pool, gsize n_buffers)
{
  gsize bytes = n_buffers * ((Pool *) pool)->buffer_size;

  change (bytes);
  return peer_block_new (bytes);
}

static void
drop (gpointer pool, gpointer block)
{
  gsize bytes = ((PeerBlock *) block)->bytes;

  free (block);
  change (-(gint64) bytes);
}

PEER_DEFINE_SPIN (allocate, drop, peer_block_touch)

const Peer peer_floor = {
  .name = "floor",
  .features = PEER_ANY_SIZE,
  .remark = "malloc() and free(), and two compare-and-swaps on a word of the thread",
  .create = create,
  .destroy = g_free,
  .allocate = allocate,
  .drop = drop,
  .spin = spin,
};
