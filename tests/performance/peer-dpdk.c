/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mempool.h>
#include <rte_version.h>
#include <sched.h>

#include "peer.h"

/* The mempool of DPDK: a ring of elements of one size, which are all allocated at the beginning,
 * and in front of it a cache for each thread that DPDK knows. A thread that is preempted while it
 * works on the ring stops all others until it runs again, because DPDK expects a processor for each
 * thread. With more threads than processors, this takes so long that there is a time limit, and
 * runs that do not finish are reported. */

/* The limits for what is measured: more memory, or more elements, are skipped. */
#define MEMORY       "192"
#define MAX_BYTES    (64 << 20)
#define MAX_ELEMENTS 4096
#define CACHE_SIZE   64

static void
set_up (void)
{
  static gsize done;
  static char *arguments[] = {
    (char *) "performance", (char *) "--no-huge", (char *) "--no-pci",
    (char *) "--no-shconf", (char *) "-m",        (char *) MEMORY,
    (char *) "--lcores",    (char *) "0@0",       (char *) "--no-telemetry"
  };
  cpu_set_t before;

  if (!g_once_init_enter (&done))
    return;

  sched_getaffinity (0, sizeof before, &before);
  rte_log_set_global_level (RTE_LOG_ERR);
  if (rte_eal_init (G_N_ELEMENTS (arguments), arguments) < 0)
    g_error ("DPDK does not start: %s", rte_strerror (rte_errno));
  sched_setaffinity (0, sizeof before, &before);
  g_once_init_leave (&done, 1);
}

static gpointer
create_with_cache (gsize block, gsize budget, guint cache_size)
{
  static gint last;
  guint n = CLAMP (MIN (budget, MAX_BYTES) / block, 1, MAX_ELEMENTS);
  gchar name[RTE_MEMPOOL_NAMESIZE];
  struct rte_mempool *self;

  set_up ();
  g_snprintf (name, sizeof name, "pool%d", g_atomic_int_add (&last, 1));
  self = rte_mempool_create (name,
                             n,
                             block,
                             MIN (cache_size, n * 2 / 3),
                             0,
                             NULL,
                             NULL,
                             NULL,
                             NULL,
                             SOCKET_ID_ANY,
                             0);
  if (self == NULL)
    g_error ("Cannot create a mempool of %u times %" G_GSIZE_FORMAT ": %s",
             n,
             block,
             rte_strerror (rte_errno));
  return self;
}

static gpointer
create (gsize buffer_size, gsize n_buffers, gsize budget)
{
  return create_with_cache (buffer_size * n_buffers, budget, CACHE_SIZE);
}

static gpointer
create_uncached (gsize buffer_size, gsize n_buffers, gsize budget)
{
  return create_with_cache (buffer_size * n_buffers, budget, 0);
}

static void
destroy (gpointer pool)
{
  rte_mempool_free (pool);
}

static gpointer
allocate (gpointer pool, gsize n_buffers)
{
  gpointer block;

  while (rte_mempool_get (pool, &block) != 0)
    sched_yield ();
  return block;
}

static void
drop (gpointer pool, gpointer block)
{
  rte_mempool_put (pool, block);
}

PEER_DEFINE_SPIN (allocate, drop, peer_touch)

static _Thread_local gboolean is_registered;

/* Only threads that DPDK knows have a cache. */
static void
enter_thread (void)
{
  set_up ();
  is_registered = rte_lcore_id () == LCORE_ID_ANY && rte_thread_register () == 0;
}

static void
leave_thread (void)
{
  if (is_registered)
    rte_thread_unregister ();
}

static const gchar *
get_version (void)
{
  return rte_version ();
}

const Peer peer_dpdk = {
  .name = "rte_mempool",
  .features = PEER_HAS_BUDGET,
  .remark = "all memory from the beginning; a cache for each thread; an empty pool makes threads "
            "yield",
  .create = create,
  .destroy = destroy,
  .allocate = allocate,
  .drop = drop,
  .spin = spin,
  .enter_thread = enter_thread,
  .leave_thread = leave_thread,
  .get_version = get_version,
};

const Peer peer_dpdk_uncached = {
  .name = "rte_mempool, no cache",
  .features = PEER_HAS_BUDGET,
  .remark = "all memory from the beginning; an empty pool makes threads yield",
  .create = create_uncached,
  .destroy = destroy,
  .allocate = allocate,
  .drop = drop,
  .spin = spin,
  .enter_thread = enter_thread,
  .leave_thread = leave_thread,
  .get_version = get_version,
};
