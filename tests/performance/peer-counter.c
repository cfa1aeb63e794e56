/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sched.h>
#include <stdatomic.h>

#include "peer-block.h"
#include "peer.h"

/* The budget as one shared atomic number. A request that does not fit yields, and checks again. */

typedef struct
{
  gsize buffer_size;
  gint64 budget;
  _Alignas(64) _Atomic gint64 used;
} Pool;

static gpointer
create (gsize buffer_size, gsize n_buffers, gsize budget)
{
  Pool *self = g_aligned_alloc0 (1, sizeof (Pool), 64);

  self->buffer_size = buffer_size;
  self->budget = budget;
  return self;
}

static gpointer
allocate (gpointer pool, gsize n_buffers)
{
  Pool *self = pool;
  gint64 bytes = n_buffers * self->buffer_size;
  gint64 used = atomic_load_explicit (&self->used, memory_order_relaxed);

  for (;;)
    {
      if (used + bytes > self->budget)
        {
          sched_yield ();
          used = atomic_load_explicit (&self->used, memory_order_relaxed);
        }
      else if (atomic_compare_exchange_weak (&self->used, &used, used + bytes))
        return peer_block_new (bytes);
    }
}

static void
drop (gpointer pool, gpointer block)
{
  gint64 bytes = ((PeerBlock *) block)->bytes;

  free (block);
  atomic_fetch_sub (&((Pool *) pool)->used, bytes);
}

PEER_DEFINE_SPIN (allocate, drop, peer_block_touch)

const Peer peer_counter = {
  .name = "counter",
  .features = PEER_HAS_BUDGET | PEER_ANY_SIZE,
  .remark = "one shared atomic number; a request that does not fit yields and checks again",
  .create = create,
  .destroy = g_aligned_free,
  .allocate = allocate,
  .drop = drop,
  .spin = spin,
};
