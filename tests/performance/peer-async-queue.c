/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdatomic.h>
#include <stdlib.h>

#include "peer.h"

/* The solution of many programs: a queue of free blocks of one size, and a maximum. A new block is
 * allocated while none is free and the maximum is not reached; then requests wait for the queue. */

typedef struct
{
  GAsyncQueue *free;
  gsize bytes;
  gsize most;
  _Atomic gsize n_made;
} Pool;

static gpointer
create (gsize buffer_size, gsize n_buffers, gsize budget)
{
  Pool *self = g_new0 (Pool, 1);

  self->free = g_async_queue_new_full (free);
  self->bytes = buffer_size * n_buffers;
  self->most = budget / self->bytes;
  return self;
}

static void
destroy (gpointer pool)
{
  Pool *self = pool;

  g_async_queue_unref (self->free);
  g_free (self);
}

static gpointer
make (Pool *self)
{
  if (atomic_fetch_add (&self->n_made, 1) < self->most)
    return malloc (self->bytes);
  atomic_fetch_sub (&self->n_made, 1);
  return g_async_queue_pop (self->free);
}

static gpointer
allocate (gpointer pool, gsize n_buffers)
{
  Pool *self = pool;
  gpointer block = g_async_queue_try_pop (self->free);

  return block != NULL ? block : make (self);
}

static void
drop (gpointer pool, gpointer block)
{
  g_async_queue_push (((Pool *) pool)->free, block);
}

PEER_DEFINE_SPIN (allocate, drop, peer_touch)

const Peer peer_async_queue = {
  .name = "GAsyncQueue",
  .features = PEER_HAS_BUDGET | PEER_WAITS,
  .remark = "a queue of blocks that are never freed, with a maximum, as in many programs",
  .create = create,
  .destroy = destroy,
  .allocate = allocate,
  .drop = drop,
  .spin = spin,
};
