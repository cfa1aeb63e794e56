/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>
#include <stdlib.h>

G_BEGIN_DECLS

/* What every pool with a budget needs: a block that knows its size. It is as large as the header of
 * libbufpool. */
typedef struct
{
  gsize bytes;
  gpointer unused;
} PeerBlock;

static inline PeerBlock *
peer_block_new (gsize bytes)
{
  PeerBlock *self = malloc (sizeof (PeerBlock) + bytes);

  self->bytes = bytes;
  return self;
}

static inline void
peer_block_touch (PeerBlock *self, gsize size)
{
  for (gsize i = 0; i < size; i += 4096)
    ((volatile guint8 *) (self + 1))[i] = 1;
}

G_END_DECLS
