/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "pool/buf-pool-private.h"

/*
 * The statistics of a pool: a snapshot of what the slow paths have counted.
 *
 * What the budget counts is consistent in itself, since it is read under its lock. Refusals are
 * counted where their message is made, and belong to nobody's critical section.
 */

/**
 * SECTION:buf-pool-stats
 * @Title: BufPoolStats
 * @Short_description: what has happened to the requests of a pool
 *
 * A pool counts what is slow anyway: waits, refusals, overtakings. A snapshot tells whether its
 * budget is too small: requests that wait often or for long, and what they waited for.
 */

G_DEFINE_BOXED_TYPE (BufPoolStats, buf_pool_stats, buf_pool_stats_copy, buf_pool_stats_free)

/**
 * buf_pool_stats_copy:
 * @self: statistics
 *
 * Copies them.
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
 * Frees them.
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
 * How the pool stands, and what has happened to its requests since it was made: a snapshot, which
 * does not change any more. A pool always counts, since it counts only what is slow anyway.
 *
 * Every request that fails is counted once, by the reason that it was told. A request of a language
 * binding may be more than one: in Python and JavaScript, one that has to wait has first tried, and
 * was refused.
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
