/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "pool/buf-pool-private.h"

/*
 * Statistics of a pool: a snapshot of the counters that the slow paths and the cache update.
 *
 * The counters of the semaphore are consistent with each other, because they are read under its
 * lock. Refusals are counted where their message is created, outside of any critical section.
 */

/**
 * SECTION:buf-pool-stats
 * @Title: BufPoolStats
 * @Short_description: statistics about the requests of a pool
 *
 * A pool counts slow events, such as waits, refusals and overtakings, and the hits and misses of
 * its cache. A snapshot shows whether the limit is too low: whether requests wait often or for a
 * long time.
 */

G_DEFINE_BOXED_TYPE (BufPoolStats, buf_pool_stats, buf_pool_stats_copy, buf_pool_stats_free)

/**
 * buf_pool_stats_copy:
 * @self: statistics
 *
 * Copies the statistics.
 *
 * Returns: (transfer full): a copy
 *
 * Since: 1.0
 */
BufPoolStats *
buf_pool_stats_copy (const BufPoolStats *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return g_memdup2 (self, sizeof *self);
}

/**
 * buf_pool_stats_free: (skip)
 * @self: (transfer full) (nullable): statistics
 *
 * Frees the statistics.
 *
 * Since: 1.0
 */
void
buf_pool_stats_free (BufPoolStats *self)
{
  g_free (self);
}

static guint64
get_n_refused (BufPool *self, BufRefusal refusal)
{
  return atomic_load_explicit (&self->memory->n_refused[refusal], memory_order_relaxed);
}

/**
 * buf_pool_get_stats:
 * @self: a pool
 *
 * Gets a snapshot of the current state of the pool, and statistics about its requests since it was
 * created. The snapshot does not change afterwards. A pool always keeps statistics, because
 * counting is cheap: see [struct@PoolStats], which also says where the figures of its budgets are.
 *
 * Each failed request is counted once, by its error. A request of a language binding may count more
 * than once: in Python and JavaScript, a request that has to wait first tries without waiting, and
 * is refused.
 *
 * This function can be called from any thread.
 *
 * Returns: (transfer full): the statistics
 *
 * Since: 1.0
 */
BufPoolStats *
buf_pool_get_stats (BufPool *self)
{
  BufPoolStats *stats;
  BufSemaphoreFigures figures;
  BufHistory history;
  guint64 n_hits, n_misses;

  g_return_val_if_fail (BUF_IS_POOL (self), NULL);

  buf_semaphore_get_figures (&self->memory->semaphore, &figures, &history);
  buf_cache_get_hits (self->memory, &n_hits, &n_misses);
  stats = g_new0 (BufPoolStats, 1);
  *stats = (BufPoolStats){
    .max_memory = figures.maximum,
    .allocated_memory = figures.allocated,
    .active_allocations = figures.n_allocations,
    .waiting = figures.n_waiting,
    .n_waits = history.n_waits,
    .total_wait_time = history.total_wait_time,
    .longest_wait = history.longest_wait,
    .n_overtakings = history.n_overtakings,
    .most_overtaken = history.most_overtaken,
    .n_cancelled = get_n_refused (self, BUF_REFUSAL_CANCELLED),
    .n_timed_out = get_n_refused (self, BUF_REFUSAL_TIMED_OUT),
    .n_would_block = get_n_refused (self, BUF_REFUSAL_WOULD_BLOCK),
    .n_invalid = get_n_refused (self, BUF_REFUSAL_INVALID),
    .n_too_large = get_n_refused (self, BUF_REFUSAL_TOO_LARGE),
    .n_closed = get_n_refused (self, BUF_REFUSAL_CLOSED),
    .n_no_memory = get_n_refused (self, BUF_REFUSAL_NO_MEMORY),
    .n_revocations = history.n_revocations,
    .n_refills = history.n_refills,
    .n_overloaded = get_n_refused (self, BUF_REFUSAL_OVERLOADED),
    .n_hits = n_hits,
    .n_misses = n_misses,
  };
  return stats;
}
