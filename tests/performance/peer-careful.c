/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "peer-block.h"
#include "peer.h"

/* A lock and a condition, as a careful programmer would use them: signals only if a thread waits,
 * and wakes only one thread as long as all request the same size. Without an order: the first
 * thread that comes takes the bytes. */

typedef struct
{
  gsize buffer_size;
  gsize budget;
  GMutex mutex;
  GCond cond;
  gsize used;         /* LOCK: mutex */
  guint n_waiting;    /* LOCK: mutex */
  gsize last_waiting; /* LOCK: mutex; the size that the last waiter requested */
  gboolean differ;    /* LOCK: mutex; they request different sizes */
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

static void
wait_locked (Pool *self, gsize bytes)
{
  if (self->last_waiting != 0 && self->last_waiting != bytes)
    self->differ = TRUE;
  self->last_waiting = bytes;
  self->n_waiting++;
  g_cond_wait (&self->cond, &self->mutex);
  self->n_waiting--;
}

static gpointer
allocate (gpointer pool, gsize n_buffers)
{
  Pool *self = pool;
  gsize bytes = n_buffers * self->buffer_size;

  g_mutex_lock (&self->mutex);
  while (self->used + bytes > self->budget)
    wait_locked (self, bytes);
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
  if (self->n_waiting > 0 && self->differ)
    g_cond_broadcast (&self->cond);
  else if (self->n_waiting > 0)
    g_cond_signal (&self->cond);
  g_mutex_unlock (&self->mutex);
}

PEER_DEFINE_SPIN (allocate, drop, peer_block_touch)

const Peer peer_careful = {
  .name = "careful",
  .features = PEER_HAS_BUDGET | PEER_WAITS | PEER_ANY_SIZE,
  .remark = "GMutex and GCond, signals only if a thread waits",
  .create = create,
  .destroy = destroy,
  .allocate = allocate,
  .drop = drop,
  .spin = spin,
};
