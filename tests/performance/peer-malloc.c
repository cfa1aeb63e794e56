/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdlib.h>

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
  return malloc (n_buffers * ((Pool *) pool)->buffer_size);
}

static void
drop (gpointer pool, gpointer block)
{
  free (block);
}

PEER_DEFINE_SPIN (allocate, drop, peer_touch)

const Peer peer_malloc = {
  .name = "malloc",
  .features = PEER_ANY_SIZE,
  .remark = "",
  .create = create,
  .destroy = g_free,
  .allocate = allocate,
  .drop = drop,
  .spin = spin,
};
