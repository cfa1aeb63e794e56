/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "peer.h"

typedef struct
{
  gsize buffer_size;
} Pool;

static gpointer
create (gsize buffer_size, gsize n_buffers, gsize budget)
{
  Pool *self = g_new0 (Pool, 1);

  self->buffer_size = buffer_size;
  return self;
}

static gpointer
allocate (gpointer pool, gsize n_buffers)
{
  gsize bytes = n_buffers * ((Pool *) pool)->buffer_size;

  return g_bytes_new_take (g_malloc (bytes), bytes);
}

static void
drop (gpointer pool, gpointer block)
{
  g_bytes_unref (block);
}

static void
touch (gpointer block, gsize size)
{
  peer_touch ((gpointer) g_bytes_get_data (block, NULL), size);
}

PEER_DEFINE_SPIN (allocate, drop, touch)

const Peer peer_bytes = {
  .name = "GBytes",
  .features = PEER_ANY_SIZE,
  .remark = "g_bytes_new_take() and g_bytes_unref()",
  .create = create,
  .destroy = g_free,
  .allocate = allocate,
  .drop = drop,
  .spin = spin,
};
