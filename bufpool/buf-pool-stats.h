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
 * @max_memory: the budget, in bytes
 * @allocated_memory: the bytes of all allocations that are outstanding
 * @active_allocations: how many allocations are outstanding
 * @waiting: how many requests wait
 * @n_waits: how many requests have had to wait, with those that still do
 * @total_wait_time: how long requests have waited together, in microseconds, without those that
 *   still wait
 * @longest_wait: the longest time that one request has waited, in microseconds, likewise
 * @n_overtakings: how often a request was served before an older one that waited
 * @most_overtaken: how often one request was overtaken while it was the oldest, at the most
 * @n_cancelled: how many requests failed with %G_IO_ERROR_CANCELLED
 * @n_timed_out: how many requests failed with %G_IO_ERROR_TIMED_OUT
 * @n_would_block: how many requests failed with %G_IO_ERROR_WOULD_BLOCK
 * @n_invalid: how many requests failed with %BUF_POOL_ERROR_INVALID_COUNT or
 *   %BUF_POOL_ERROR_INVALID_CONFIG
 * @n_too_large: how many requests failed with %BUF_POOL_ERROR_TOO_LARGE
 * @n_closed: how many requests failed with %BUF_POOL_ERROR_CLOSED
 * @n_no_memory: how many requests failed with %BUF_POOL_ERROR_NO_MEMORY
 * @n_revocations: how often the budget was called back from all processors, because it was nearly
 *   used up
 * @n_refills: how often a processor's share of the budget was filled up
 * @n_overloaded: how many requests failed with %BUF_POOL_ERROR_OVERLOADED
 * @n_hits: how many requests got a block that the pool had kept
 * @n_misses: how many requests found that the pool had kept no block of their size, while it kept
 *   blocks
 *
 * What has happened to the requests of a pool since it was made, and how it stands: see
 * [method@Pool.get_stats].
 *
 * Requests that are granted at once are not counted: that would make them slower.
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
