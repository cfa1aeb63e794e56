/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "peer-block.h"
#include "peer.h"

/* A lock and a condition, in the simplest form: each release wakes all threads. */

typedef struct
{
  gsize buffer_size;
  gsize budget;
  GMutex mutex;
  GCond cond;
  gsize used; /* LOCK: mutex */
} Pool;

static gpointer
create (gsize buffer_size, gsize n_buffers, gsize budget)
{
  Pool *self = g_new0 (Pool, 1);

  self->buffer_size = buffer_size;
  self->budget = budget;
  g_mutex_init (&self->mutex);
  g_cond_init (&self->cond);
  return self;
}

static void
destroy (gpointer pool)
{
  Pool *self = pool;

  g_cond_clear (&self->cond);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

static gpointer
allocate (gpointer pool, gsize n_buffers)
{
  Pool *self = pool;
  gsize bytes = n_buffers * self->buffer_size;

  g_mutex_lock (&self->mutex);
  while (self->used + bytes > self->budget)
    g_cond_wait (&self->cond, &self->mutex);
  self->used += bytes;
  g_mutex_unlock (&self->mutex);
  return peer_block_new (bytes);
}

static void
drop (gpointer pool, gpointer block)
{
  Pool *self = pool;
  gsize bytes = ((PeerBlock *) block)->bytes;

  free (block);
  g_mutex_lock (&self->mutex);
  self->used -= bytes;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->mutex);
}

PEER_DEFINE_SPIN (allocate, drop, peer_block_touch)

const Peer peer_naive = {
  .name = "naive",
  .features = PEER_HAS_BUDGET | PEER_WAITS | PEER_ANY_SIZE,
  .remark = "GMutex and GCond, each release wakes all threads",
  .create = create,
  .destroy = destroy,
  .allocate = allocate,
  .drop = drop,
  .spin = spin,
};
