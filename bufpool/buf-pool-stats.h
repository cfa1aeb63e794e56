/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#if !defined(BUF_INSIDE) && !defined(BUF_COMPILATION)
#error "Only <bufpool/bufpool.h> can be included directly."
#endif

#include <glib-object.h>

#include <bufpool/buf-version-macros.h>

G_BEGIN_DECLS

#define BUF_TYPE_POOL_STATS (buf_pool_stats_get_type ())

typedef struct _BufPoolStats BufPoolStats;

/**
 * BufPoolStats:
 * @max_memory: the limit of the pool, in bytes
 * @allocated_memory: the size of all outstanding allocations, in bytes
 * @active_allocations: the number of outstanding allocations
 * @waiting: the number of waiting requests
 * @n_waits: the number of requests that had to wait, including those that are still waiting
 * @total_wait_time: the total time that requests have waited, in microseconds, including waits in
 *   progress
 * @longest_wait: the longest time that one request has waited, in microseconds, including waits in
 *   progress
 * @n_overtakings: how many times a request was served before an older waiting request
 * @most_overtaken: the largest number of times that one request was overtaken while it was the
 *   oldest
 * @n_cancelled: the number of requests that failed with %G_IO_ERROR_CANCELLED
 * @n_timed_out: the number of requests that failed with %G_IO_ERROR_TIMED_OUT
 * @n_would_block: the number of requests that failed with %G_IO_ERROR_WOULD_BLOCK
 * @n_invalid: the number of requests that failed with %BUF_POOL_ERROR_INVALID_COUNT or
 *   %BUF_POOL_ERROR_INVALID_CONFIG
 * @n_too_large: the number of requests that failed with %BUF_POOL_ERROR_TOO_LARGE
 * @n_closed: the number of requests that failed with %BUF_POOL_ERROR_CLOSED
 * @n_no_memory: the number of requests that failed with %BUF_POOL_ERROR_NO_MEMORY
 * @n_revocations: how many times the credit of all processors was revoked because the limit was
 *   nearly reached
 * @n_refills: how many times the credit of a processor was refilled
 * @n_overloaded: the number of requests that failed with %BUF_POOL_ERROR_OVERLOADED
 * @n_hits: the number of requests that were served from a cached block. Counting one takes three
 *   instructions
 * @n_misses: the number of requests that found no cached block of their size while the pool was
 *   caching blocks. Counting them takes no instruction of a hit
 *
 * The current state of a pool, and statistics about its requests since it was created. See
 * [method@Pool.get_stats].
 *
 * Of the requests that are granted immediately, only hits and misses of the cache are counted. A
 * hit is counted with a load, an addition and a store, on a cache line that it changes anyway; no
 * instruction is locked. There is no count of all requests: while the pool does not cache blocks,
 * those that are granted immediately are not counted.
 *
 * The statistics describe the pool alone. If it has a budget, its requests may wait for bytes of
 * that budget, or of one above it, although the pool has bytes available. To see the tree, follow
 * [property@Pool:budget] and [property@Budget:parent] to the root, and read
 * [property@Budget:max-memory], [property@Budget:allocated-memory] and [property@Budget:waiting] of
 * each budget.
 *
 * Since: 1.0
 */
struct _BufPoolStats
{
  guint64 max_memory;
  guint64 allocated_memory;
  guint64 active_allocations;
  guint64 waiting;

  guint64 n_waits;
  guint64 total_wait_time;
  guint64 longest_wait;
  guint64 n_overtakings;
  guint64 most_overtaken;

  guint64 n_cancelled;
  guint64 n_timed_out;
  guint64 n_would_block;
  guint64 n_invalid;
  guint64 n_too_large;
  guint64 n_closed;
  guint64 n_no_memory;

  guint64 n_revocations;
  guint64 n_refills;

  guint64 n_hits;
  guint64 n_misses;

  guint64 n_overloaded;

  /*< private >*/
  guint64 padding[11];
};

BUF_AVAILABLE_IN_1_0
GType buf_pool_stats_get_type (void) G_GNUC_CONST;

BUF_AVAILABLE_IN_1_0
BufPoolStats *buf_pool_stats_copy (const BufPoolStats *self) G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
void buf_pool_stats_free (BufPoolStats *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BufPoolStats, buf_pool_stats_free)

G_END_DECLS
