/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Scenarios from the tests of allocators that share one limit: the nested memory pools of Arrow,
 * the memory arbitration of Velox, the write buffers of RocksDB, and the resource quota of gRPC.
 * Each case is one scenario. */

#include "budget/budget-testing.h"

#define BLOCK 4096

/* With a cache of @n_cached blocks. */
static BufPool *
new_pool (BufBudget *budget, gsize n_blocks, gsize n_cached)
{
  g_autoptr (GError) error = NULL;
  BufPool *pool = g_initable_new (BUF_TYPE_POOL,
                                  NULL,
                                  &error,
                                  "buffer-size",
                                  (guint64) BLOCK,
                                  "max-memory",
                                  (guint64) n_blocks * BLOCK,
                                  "max-cached-memory",
                                  (gint64) n_cached * BLOCK,
                                  "budget",
                                  budget,
                                  NULL);

  g_assert_no_error (error);
  return pool;
}

/* Leaves @n blocks in the cache of the pool. */
static void
fill_cache (BufPool *pool, gsize n)
{
  g_autoptr (GPtrArray) blocks =
      g_ptr_array_new_with_free_func ((GDestroyNotify) buf_pool_allocation_unref);

  for (gsize i = 0; i < n; i++)
    g_ptr_array_add (blocks, test_allocate (pool, 1));
  g_ptr_array_set_size (blocks, 0);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, n * BLOCK);
}

static void
assert_would_block (BufPool *pool, gsize n)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (buf_pool_try_allocate (pool, n, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
}

static GAsyncResult **
start (BufPool *pool, gsize n, GAsyncResult **result)
{
  gsize n_waiting = buf_pool_get_waiting (pool);

  *result = NULL;
  buf_pool_allocate_async (pool, n, G_PRIORITY_DEFAULT, NULL, test_keep_result, result);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, n_waiting + 1);
  return result;
}

static void
end_granted (BufPool *pool, GAsyncResult **result)
{
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation;

  test_iterate_until (result);
  allocation = buf_pool_allocate_finish (pool, *result, &error);
  g_assert_no_error (error);
  g_clear_object (result);
  buf_pool_allocation_unref (allocation);
}

static void
end_closed (BufPool *pool, GAsyncResult **result)
{
  g_autoptr (GError) error = NULL;

  test_iterate_until (result);
  g_assert_null (buf_pool_allocate_finish (pool, *result, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
  g_clear_object (result);
}

static void
test_capped_pool (void)
{
  g_autoptr (BufBudget) parent = buf_budget_new (100 * BLOCK);
  g_autoptr (BufPool) capped = new_pool (parent, 3, 0);
  BufPoolAllocation *held = test_allocate (capped, 2);

  g_test_summary ("The cap of a pool refuses what its parent has room for, and the parent does not "
                  "count what was refused");

  for (guint i = 0; i < 10; i++)
    {
      assert_would_block (capped, 2);
      assert_in_use (parent, 2 * BLOCK);
    }
  buf_pool_allocation_unref (test_allocate (capped, 1));
  buf_pool_allocation_unref (held);
  assert_in_use (parent, 0);
}

static void
test_nested_pools (void)
{
  g_autoptr (BufBudget) parent = buf_budget_new (10 * BLOCK);
  g_autoptr (BufPool) first = new_pool (parent, 10, 0);
  g_autoptr (BufPool) second = new_pool (parent, 10, 0);
  BufPermit *own = acquire (parent, 3 * BLOCK);
  BufPoolAllocation *of_first = test_allocate (first, 4);
  BufPoolAllocation *of_second = test_allocate (second, 2);

  g_test_summary ("Each pool counts its own memory, and the parent counts all");

  assert_in_use (parent, 9 * BLOCK);
  test_assert_figures (first, 4, 1);
  test_assert_figures (second, 2, 1);
  assert_would_block (first, 2);

  buf_pool_allocation_unref (of_second);
  test_assert_figures (first, 4, 1);
  assert_in_use (parent, 7 * BLOCK);
  buf_pool_allocation_unref (of_first);
  buf_permit_unref (own);
  assert_in_use (parent, 0);
}

static void
test_child_is_dropped_first (void)
{
  g_autoptr (BufBudget) parent = buf_budget_new (10 * BLOCK);
  BufBudget *child = buf_budget_new_child (parent, 5 * BLOCK);
  BufPermit *permit = acquire (child, 4 * BLOCK);

  g_test_summary ("A child that is dropped still counts in its parent, until what it lent out "
                  "returns");

  g_object_unref (child);
  assert_in_use (parent, 4 * BLOCK);
  g_assert_true (buf_permit_shrink (permit, BLOCK, NULL));
  assert_in_use (parent, BLOCK);
  buf_permit_unref (permit);
  assert_in_use (parent, 0);
}

static void
test_leaf_at_its_capacity (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (20 * BLOCK);
  g_autoptr (BufPool) leaf = new_pool (root, 2, 0);
  g_autoptr (BufPool) sibling = new_pool (root, 8, 8);
  BufPoolAllocation *held = test_allocate (leaf, 2);
  GAsyncResult *result;

  g_test_summary ("A leaf that has reached its own capacity reclaims nothing from its siblings");

  fill_cache (sibling, 8);
  start (leaf, 1, &result);
  g_assert_cmpuint (buf_pool_get_cached_memory (sibling), ==, 8 * BLOCK);
  assert_would_block (leaf, 1);
  g_assert_cmpuint (buf_pool_get_cached_memory (sibling), ==, 8 * BLOCK);

  buf_pool_allocation_unref (held);
  end_granted (leaf, &result);
}

static void
test_reclaim_from_siblings (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (10 * BLOCK);
  g_autoptr (BufPool) leaf = new_pool (root, 10, 0);
  g_autoptr (BufPool) first = new_pool (root, 8, 8);
  g_autoptr (BufPool) second = new_pool (root, 8, 8);
  BufPoolAllocation *some, *all;

  g_test_summary ("If an ancestor is short, as much is reclaimed from the siblings as is missing, "
                  "and nobody waits");

  fill_cache (first, 4);
  fill_cache (second, 4);
  some = test_allocate (leaf, 5);
  g_assert_cmpuint (buf_pool_get_cached_memory (first) + buf_pool_get_cached_memory (second),
                    ==,
                    5 * BLOCK);
  all = test_allocate (leaf, 5);
  g_assert_cmpuint (buf_pool_get_cached_memory (first) + buf_pool_get_cached_memory (second),
                    ==,
                    0);
  assert_in_use (root, 10 * BLOCK);
  assert_would_block (first, 1);
  buf_pool_allocation_unref (some);
  buf_pool_allocation_unref (all);
  assert_in_use (root, 0);
}

static void
test_capacity_grows_with_a_waiter (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (10 * BLOCK);
  g_autoptr (BufBudget) query = buf_budget_new_child (root, 2 * BLOCK);
  g_autoptr (BufPool) leaf = new_pool (query, 10, 0);
  BufPoolAllocation *held = test_allocate (leaf, 2);
  GAsyncResult *result;
  BufPermit *rest;

  g_test_summary ("A query gets more capacity while its leaf waits; less capacity takes nothing "
                  "away from it");

  start (leaf, 2, &result);
  buf_budget_set_max_memory (query, 3 * BLOCK);
  g_assert_null (result);
  buf_budget_set_max_memory (query, 4 * BLOCK);
  test_iterate_until (&result);
  assert_in_use (query, 4 * BLOCK);

  buf_budget_set_max_memory (query, BLOCK);
  g_assert_cmpuint (buf_budget_get_allocated_memory (query), ==, 4 * BLOCK);
  g_assert_cmpuint (buf_budget_get_available_memory (query), ==, 0);
  rest = acquire (root, 6 * BLOCK);
  end_granted (leaf, &result);
  buf_pool_allocation_unref (held);
  buf_permit_unref (rest);
  assert_in_use (root, 0);
}

static void
test_more_than_the_root (void)
{
  g_autoptr (BufBudget) root =
      g_object_new (BUF_TYPE_BUDGET, "max-memory", (guint64) 4 * BLOCK, "name", "query", NULL);
  g_autoptr (BufPool) leaf = new_pool (root, 100, 0);
  g_autoptr (GError) error = NULL;

  g_test_summary ("A request that no arbitration could grant fails at once, and names the root");

  g_assert_null (buf_pool_allocate (leaf, 5, NULL, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE);
  g_assert_cmpstr (error->message,
                   ==,
                   "Cannot allocate 5 buffers of 4096 bytes (20480 bytes): the budget \"query\" "
                   "never has more than 16384 bytes");
  buf_pool_allocation_unref (test_allocate (leaf, 4));
}

static void
test_one_limit_for_many_families (void)
{
  g_autoptr (BufBudget) buffers = buf_budget_new (12 * BLOCK);
  BufPool *families[4];
  BufPoolAllocation *tables[4];
  GAsyncResult *writers[4];

  g_test_summary ("Writers of four column families stall at the total; one table that is flushed "
                  "lets them continue");

  for (guint i = 0; i < 4; i++)
    {
      families[i] = new_pool (buffers, 100, 0);
      tables[i] = test_allocate (families[i], i == 2 ? 6 : 2);
    }
  assert_in_use (buffers, 12 * BLOCK);
  for (guint i = 0; i < 4; i++)
    start (families[i], 1, &writers[i]);
  g_assert_cmpuint (buf_budget_get_waiting (buffers), ==, 4);

  buf_pool_allocation_unref (tables[2]);
  for (guint i = 0; i < 4; i++)
    test_iterate_until (&writers[i]);
  assert_in_use (buffers, 10 * BLOCK);
  for (guint i = 0; i < 4; i++)
    {
      end_granted (families[i], &writers[i]);
      if (i != 2)
        buf_pool_allocation_unref (tables[i]);
      g_object_unref (families[i]);
    }
  assert_in_use (buffers, 0);
}

static void
test_tables_cost_cache (void)
{
  g_autoptr (BufBudget) total = buf_budget_new (10 * BLOCK);
  g_autoptr (BufPool) cache = new_pool (total, 10, 10);
  BufPermit *tables[10];

  g_test_summary ("Memory of another allocator is charged to the same limit, and the cache gives "
                  "way to it block by block");

  fill_cache (cache, 10);
  for (guint i = 0; i < 10; i++)
    {
      tables[i] = acquire (total, BLOCK);
      g_assert_cmpuint (buf_pool_get_cached_memory (cache), ==, (9 - i) * BLOCK);
    }
  assert_would_block (cache, 1);
  for (guint i = 0; i < 10; i++)
    buf_permit_unref (tables[i]);
  assert_in_use (total, 0);
}

static void
test_quota_is_resized (void)
{
  g_autoptr (BufBudget) quota = buf_budget_new (8 * BLOCK);
  g_autoptr (BufPool) user = new_pool (quota, 100, 0);
  BufPoolAllocation *first = test_allocate (user, 4), *second = test_allocate (user, 3);
  GAsyncResult *result;

  g_test_summary ("A quota becomes smaller than what is in use: requests wait until enough has "
                  "returned, and a larger quota lets them continue");

  buf_budget_set_max_memory (quota, 4 * BLOCK);
  assert_would_block (user, 1);
  buf_pool_allocation_unref (second);
  assert_would_block (user, 1);
  start (user, 2, &result);
  buf_budget_set_max_memory (quota, 6 * BLOCK);
  end_granted (user, &result);
  buf_pool_allocation_unref (first);
  assert_in_use (quota, 0);
}

static void
test_another_user_frees (void)
{
  g_autoptr (BufBudget) quota = buf_budget_new (4 * BLOCK);
  g_autoptr (BufPool) user = new_pool (quota, 4, 0);
  BufPool *other = new_pool (quota, 4, 4);
  BufPoolAllocation *held;
  GAsyncResult *result;

  g_test_summary ("One user waits for what another one holds, and gets it when that user ends with "
                  "a full cache");

  fill_cache (other, 3);
  held = test_allocate (other, 1);
  start (user, 4, &result);
  g_assert_cmpuint (buf_pool_get_cached_memory (other), ==, 0);
  buf_pool_allocation_unref (held);
  g_object_unref (other);
  end_granted (user, &result);
  assert_in_use (quota, 0);
}

static void
test_shutdown_with_waiters (void)
{
  g_autoptr (BufBudget) quota = buf_budget_new (4 * BLOCK);
  g_autoptr (BufPool) user = new_pool (quota, 4, 0);
  g_autoptr (BufPool) other = new_pool (quota, 4, 0);
  BufPermit *all = acquire (quota, 4 * BLOCK);
  GAsyncResult *of_user[20], *of_other;

  g_test_summary ("A user shuts down while its requests wait for the quota: each of them fails "
                  "once, and those of other users continue to wait");

  for (guint i = 0; i < G_N_ELEMENTS (of_user); i++)
    start (user, 1 + i % 4, &of_user[i]);
  start (other, 4, &of_other);
  buf_pool_close (user);
  g_assert_cmpuint (buf_budget_get_waiting (quota), ==, 1);
  for (guint i = 0; i < G_N_ELEMENTS (of_user); i++)
    end_closed (user, &of_user[i]);

  g_assert_null (of_other);
  buf_permit_unref (all);
  end_granted (other, &of_other);
  assert_in_use (quota, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

#define ADD(name, function) g_test_add_func ("/scenarios/allocators/" name, function)
  ADD ("capped-pool", test_capped_pool);
  ADD ("nested-pools", test_nested_pools);
  ADD ("child-is-dropped-first", test_child_is_dropped_first);
  ADD ("leaf-at-its-capacity", test_leaf_at_its_capacity);
  ADD ("reclaim-from-siblings", test_reclaim_from_siblings);
  ADD ("capacity-grows-with-a-waiter", test_capacity_grows_with_a_waiter);
  ADD ("more-than-the-root", test_more_than_the_root);
  ADD ("one-limit-for-many-families", test_one_limit_for_many_families);
  ADD ("tables-cost-cache", test_tables_cost_cache);
  ADD ("quota-is-resized", test_quota_is_resized);
  ADD ("another-user-frees", test_another_user_frees);
  ADD ("shutdown-with-waiters", test_shutdown_with_waiters);
  return g_test_run ();
}
