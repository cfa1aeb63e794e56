/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <bufpool/bufpool.h>

#include "peer.h"

/* With this variable of the environment, buffers whose size is a multiple of it are aligned. */
#define ALIGNMENT "PERFORMANCE_ALIGNMENT"

static gpointer
create (gsize buffer_size, gsize n_buffers, gsize budget)
{
  const gchar *text = g_getenv (ALIGNMENT);
  guint alignment = text != NULL ? (guint) g_ascii_strtoull (text, NULL, 10) : 0;

  return g_object_new (BUF_TYPE_POOL,
                       "buffer-size",
                       (guint64) buffer_size,
                       "max-memory",
                       (guint64) budget,
                       "alignment",
                       alignment > 0 && buffer_size % alignment == 0 ? alignment : 0,
                       NULL);
}

static void
destroy (gpointer pool)
{
  g_object_unref (pool);
}

static gpointer
allocate (gpointer pool, gsize n_buffers)
{
  return buf_pool_allocate (pool, n_buffers, NULL, NULL);
}

static void
drop (gpointer pool, gpointer block)
{
  buf_pool_allocation_unref (block);
}

static void
touch (gpointer block, gsize size)
{
  peer_touch (buf_pool_allocation_get_first (block), size);
}

PEER_DEFINE_SPIN (allocate, drop, touch)

static const gchar *
get_version (void)
{
  return EXPECTED_VERSION;
}

const Peer peer_libbufpool = {
  .name = "libbufpool",
  .features = PEER_HAS_BUDGET | PEER_WAITS | PEER_IS_FAIR | PEER_ANY_SIZE,
  .remark = "",
  .create = create,
  .destroy = destroy,
  .allocate = allocate,
  .drop = drop,
  .spin = spin,
  .get_version = get_version,
};
