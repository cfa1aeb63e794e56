/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "testing.h"

/* The statistics of a pool that no other test uses. */
#define assert_stat(pool, field, comparison, value)                                                \
  G_STMT_START                                                                                     \
  {                                                                                                \
    g_autoptr (BufPoolStats) stat_stats = buf_pool_get_stats (pool);                               \
    g_assert_cmpuint (stat_stats->field, comparison, (value));                                     \
  }                                                                                                \
  G_STMT_END

static void
test_fresh (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 8);
  g_autoptr (BufPoolStats) stats = buf_pool_get_stats (pool);

  g_test_summary ("A new pool has its limit, and zeros");

  g_assert_cmpuint (stats->max_memory, ==, 128);
  stats->max_memory = 0;
  for (gsize i = 0; i < sizeof *stats; i++)
    g_assert_cmpuint (((guint8 *) stats)[i], ==, 0);
}

static void
test_snapshot (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 8);
  g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 3);
  g_autoptr (BufPoolStats) before = buf_pool_get_stats (pool);
  g_autoptr (BufPoolStats) copy = buf_pool_stats_copy (before);

  g_test_summary ("Statistics do not change after they were requested, nor do copies");

  g_clear_pointer (&allocation, buf_pool_allocation_unref);
  g_assert_cmpmem (before, sizeof *before, copy, sizeof *copy);
  g_assert_true (before != copy);
  g_assert_cmpuint (copy->allocated_memory, ==, 48);
  g_assert_cmpuint (copy->active_allocations, ==, 1);
  assert_stat (pool, allocated_memory, ==, 0);
  assert_stat (pool, active_allocations, ==, 0);
}

static void
refuse (BufPool *pool, gsize n_buffers, gint64 timeout, GCancellable *cancellable)
{
  BufPoolAllocation *allocation =
      buf_pool_allocate_timeout (pool, n_buffers, timeout, cancellable, NULL);

  g_assert_null (allocation);
}

static void
test_refusals (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 8);
  g_autoptr (BufPool) bad = g_object_new (BUF_TYPE_POOL, "buffer-size", (guint64) 0, NULL);
  g_autoptr (BufPoolAllocation) all G_GNUC_UNUSED = test_allocate (pool, 8);
  g_autoptr (GCancellable) cancelled = g_cancellable_new ();

  g_test_summary ("Each refusal is counted once, by its reason");

  g_cancellable_cancel (cancelled);
  g_assert_null (buf_pool_try_allocate (pool, 1, NULL));
  refuse (pool, 0, 0, NULL);
  refuse (pool, 70000, 0, NULL);
  for (guint i = 0; i < 3; i++)
    refuse (pool, 9, 0, NULL);
  for (guint i = 0; i < 4; i++)
    refuse (pool, 1, 1, NULL);
  for (guint i = 0; i < 5; i++)
    refuse (pool, 1, 0, cancelled);
  buf_pool_close (pool);
  for (guint i = 0; i < 6; i++)
    refuse (pool, 1, 0, NULL);

  assert_stat (pool, n_would_block, ==, 1);
  assert_stat (pool, n_invalid, ==, 2);
  assert_stat (pool, n_too_large, ==, 3);
  assert_stat (pool, n_timed_out, ==, 4);
  assert_stat (pool, n_cancelled, ==, 5);
  assert_stat (pool, n_closed, ==, 6);
  assert_stat (pool, n_no_memory, ==, 0);
  assert_stat (pool, n_waits, ==, 4);

  refuse (bad, 1, 0, NULL);
  assert_stat (bad, n_invalid, ==, 1);
}

static void
test_waits (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 8);
  g_autoptr (BufPoolAllocation) first = test_allocate (pool, 1);
  g_autoptr (BufPoolStats) stats = NULL;
  TestRequester *requester = test_requester_start (pool, 8);

  g_test_summary ("Waits are counted when they begin, and measured while they last");

  test_wait_for_waiting (pool, 1);
  assert_stat (pool, n_waits, ==, 1);
  assert_stat (pool, waiting, ==, 1);
  g_usleep (3000);
  assert_stat (pool, longest_wait, >=, 3000);
  assert_stat (pool, total_wait_time, >=, 3000);
  for (guint i = 0; i < 3; i++)
    buf_pool_allocation_unref (test_allocate (pool, 7));
  g_clear_pointer (&first, buf_pool_allocation_unref);
  test_requester_end_served (requester);

  stats = buf_pool_get_stats (pool);
  g_assert_cmpuint (stats->n_waits, ==, 1);
  g_assert_cmpuint (stats->waiting, ==, 0);
  g_assert_cmpuint (stats->total_wait_time, >=, 3000);
  g_assert_cmpuint (stats->longest_wait, ==, stats->total_wait_time);
  g_assert_cmpuint (stats->n_overtakings, ==, 3);
  g_assert_cmpuint (stats->most_overtaken, ==, 3);
  g_assert_cmpuint (stats->n_revocations, >=, 1);
}

static void
test_drainers_do_not_count (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 8);
  g_autoptr (BufPoolAllocation) allocation G_GNUC_UNUSED = test_allocate (pool, 1);

  g_test_summary ("Waiting until nothing is outstanding is not a request");

  g_assert_false (buf_pool_drain_timeout (pool, 1000, NULL, NULL));
  assert_stat (pool, n_waits, ==, 0);
  assert_stat (pool, n_timed_out, ==, 0);
  assert_stat (pool, total_wait_time, ==, 0);
}

/* What one thread has observed of its requests. */
typedef struct
{
  BufPool *pool;
  guint64 n_granted;
  guint64 n_would_block;
  guint64 n_timed_out;
  guint64 n_too_large;
} Tally;

static gpointer
request_at_random (gpointer data)
{
  Tally *self = data;

  for (guint i = 0; i < test_scale (20000); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (BufPoolAllocation) allocation = NULL;

      if (i % 2 == 0)
        allocation = buf_pool_try_allocate (self->pool, 1 + i % 9, &error);
      else
        allocation = buf_pool_allocate_timeout (self->pool, 1 + i % 8, i % 50, NULL, &error);

      self->n_granted += allocation != NULL;
      self->n_would_block += g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
      self->n_timed_out += g_error_matches (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      self->n_too_large += g_error_matches (error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE);
    }
  return NULL;
}

static void
test_sums_agree (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 8);
  g_autoptr (BufPoolStats) stats = NULL;
  Tally tallies[3];
  GThread *threads[3];
  Tally sum = { 0 };

  g_test_summary ("Under load, the counts match what the threads have observed");

  for (guint i = 0; i < 3; i++)
    {
      tallies[i] = (Tally){ .pool = pool };
      threads[i] = g_thread_new ("requests", request_at_random, &tallies[i]);
    }
  for (guint i = 0; i < 3; i++)
    {
      g_thread_join (threads[i]);
      sum.n_granted += tallies[i].n_granted;
      sum.n_would_block += tallies[i].n_would_block;
      sum.n_timed_out += tallies[i].n_timed_out;
      sum.n_too_large += tallies[i].n_too_large;
    }

  stats = buf_pool_get_stats (pool);
  g_assert_cmpuint (stats->n_would_block, ==, sum.n_would_block);
  g_assert_cmpuint (stats->n_timed_out, ==, sum.n_timed_out);
  g_assert_cmpuint (stats->n_too_large, ==, sum.n_too_large);
  g_assert_cmpuint (sum.n_granted + sum.n_would_block + sum.n_timed_out + sum.n_too_large,
                    ==,
                    3 * test_scale (20000));
  g_assert_cmpuint (stats->n_waits, >=, stats->n_timed_out);
  g_assert_cmpuint (stats->longest_wait, <=, stats->total_wait_time);
  g_assert_cmpuint (stats->most_overtaken, <=, stats->n_overtakings);
  g_assert_cmpuint (stats->waiting + stats->allocated_memory + stats->active_allocations, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/stats/fresh", test_fresh);
  g_test_add_func ("/stats/snapshot", test_snapshot);
  g_test_add_func ("/stats/refusals", test_refusals);
  g_test_add_func ("/stats/waits", test_waits);
  g_test_add_func ("/stats/drainers-do-not-count", test_drainers_do_not_count);
  g_test_add_func ("/stats/sums-agree", test_sums_agree);
  return g_test_run ();
}
