/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The properties of a pool, and what a request returns if it has to wait after all. */

#include "pool/buf-pool-private.h"
#include "testing.h"

#define N_POOLS 20
#define BYTES   4096

static void
test_properties (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BufBudget) budget = buf_budget_new (4096);
  g_autoptr (BufPool) pool = buf_pool_new_with_budget (16, budget, &error);
  g_autoptr (BufBudget) told = NULL;
  guint64 reserved_memory;
  int max_waiting;

  g_test_summary ("The properties of a pool are what its functions return");

  g_assert_no_error (error);
  buf_pool_set_reserved_memory (pool, 160);
  buf_pool_set_max_waiting (pool, 7);
  g_object_get (pool,
                "budget",
                &told,
                "reserved-memory",
                &reserved_memory,
                "max-waiting",
                &max_waiting,
                NULL);

  g_assert_true (told == budget);
  g_assert_true (buf_pool_get_budget (pool) == budget);
  g_assert_cmpuint (reserved_memory, ==, 160);
  g_assert_cmpuint (buf_pool_get_reserved_memory (pool), ==, 160);
  g_assert_cmpint (max_waiting, ==, 7);
  g_assert_cmpint (buf_pool_get_max_waiting (pool), ==, 7);
}

static void
test_pinned (void)
{
  g_autoptr (GError) error = NULL;
  BufPool *pool = test_pool_new (16, 8);
  GAsyncResult *result = NULL;
  BufPoolAllocation *allocation;

  g_test_summary ("A pinned request with all options is finished by its own function");

  buf_pool_allocate_full_pinned_async (pool, 2, 5, -1, 0, NULL, test_keep_result, &result);
  test_iterate_until (&result);
  allocation = buf_pool_allocate_full_pinned_finish (pool, result, &error);
  g_assert_no_error (error);
  g_object_unref (result);
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, 5);

  /* The pool does not wait for it. */
  g_object_unref (pool);
  buf_pool_allocation_unref (allocation);
}

/* Fills the cache with blocks of two buffers, while using at most @n_buffers buffers. */
static void
fill_cache (BufPool *pool, guint n_buffers)
{
  BufPoolAllocation *blocks[16];
  guint n_blocks = n_buffers / 2;

  g_assert_cmpuint (n_blocks, <=, G_N_ELEMENTS (blocks));
  for (guint i = 0; i < n_blocks; i++)
    blocks[i] = test_allocate (pool, 2);
  for (guint i = 0; i < n_blocks; i++)
    buf_pool_allocation_unref (blocks[i]);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), >, 0);
}

static void
test_waits_after_evicting (void)
{
  g_autoptr (GError) error = NULL;
  BufPool *pool = test_pool_new (4096, 64);
  BufPoolAllocation *held, *allocation;
  GAsyncResult *result = NULL;

  g_test_summary (
      "A task that takes cached bytes, and finds that they are not enough, returns them and waits");

  buf_pool_set_max_cached_memory (pool, 64 * 4096);
  held = test_allocate (pool, 32);
  fill_cache (pool, 32);

  buf_pool_allocate_full_async (pool, 48, 64, -1, 0, NULL, test_keep_result, &result);
  test_wait_for_waiting (pool, 1);
  g_assert_cmpuint (buf_pool_get_allocated_memory (pool), ==, 32 * 4096);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 0);

  buf_pool_allocation_unref (held);
  test_iterate_until (&result);
  allocation = buf_pool_allocate_full_finish (pool, result, &error);
  g_assert_no_error (error);
  g_object_unref (result);
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, 64);
  buf_pool_allocation_unref (allocation);

  /* No thread is inside anymore. */
  g_object_unref (pool);
  test_wait_for_the_end ();
}

/* Pools of one budget, each of which has cached a block. */
static void
fill (BufBudget **budget, BufPool **pools)
{
  *budget = buf_budget_new (N_POOLS * BYTES);
  for (guint i = 0; i < N_POOLS; i++)
    {
      pools[i] = buf_pool_new_with_budget (BYTES, *budget, NULL);
      buf_pool_set_max_cached_memory (pools[i], BYTES);
      buf_pool_allocation_unref (test_allocate (pools[i], 1));
      g_assert_cmpuint (buf_pool_get_cached_memory (pools[i]), ==, BYTES);
    }
}

static void
end (BufBudget *budget, BufPool **pools)
{
  for (guint i = 0; i < N_POOLS; i++)
    g_object_unref (pools[i]);
  g_assert_cmpuint (buf_budget_get_allocated_memory (budget), ==, 0);
  g_object_unref (budget);
}

/* The pools that a request which is short of bytes would ask. */
static guint
count_keeping (BufPool **pools)
{
  guint n = 0;

  for (guint i = 0; i < N_POOLS; i++)
    n += pools[i]->memory->semaphore.keeps;
  return n;
}

/* Calms the budget down, until the pool caches again. */
static void
assert_caches_again (BufPool *pool)
{
  for (guint i = 0; i < 100 && buf_pool_get_cached_memory (pool) == 0; i++)
    buf_pool_allocation_unref (test_allocate (pool, 1));
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, BYTES);
}

static void
test_refused_tries (void)
{
  BufPool *pools[N_POOLS];
  BufBudget *budget;
  BufPermit *all;

  g_test_summary ("A request empties all pools of the budget; the next one need not ask them, and "
                  "each caches again when it is used");

  fill (&budget, pools);
  g_assert_cmpuint (buf_budget_get_available_memory (budget), ==, N_POOLS * BYTES);
  all = buf_budget_try_acquire (budget, N_POOLS * BYTES, NULL);
  g_assert_nonnull (all);
  g_assert_cmpuint (buf_budget_get_available_memory (budget), ==, 0);
  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (buf_pool_try_allocate (pools[i], 1, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
    }
  g_assert_cmpuint (count_keeping (pools), ==, 0);

  buf_permit_unref (all);
  assert_caches_again (pools[3]);
  assert_caches_again (pools[7]);
  g_assert_cmpuint (count_keeping (pools), ==, 2);
  end (budget, pools);
}

static void
test_caches_again_after_wait (void)
{
  BufPool *pools[N_POOLS];
  BufBudget *budget;
  BufPermit *all;
  GAsyncResult *result = NULL;

  g_test_summary ("A request that waits closes the caches of all pools, and only those that are "
                  "used are opened again");

  fill (&budget, pools);
  all = buf_budget_try_acquire (budget, N_POOLS * BYTES, NULL);
  buf_pool_allocate_async (pools[0], 1, G_PRIORITY_DEFAULT, NULL, test_keep_result, &result);
  g_assert_cmpuint (buf_budget_get_waiting (budget), ==, 1);
  g_assert_cmpuint (count_keeping (pools), ==, 0);

  buf_permit_unref (all);
  test_iterate_until (&result);
  buf_pool_allocation_unref (buf_pool_allocate_finish (pools[0], result, NULL));
  g_object_unref (result);
  assert_caches_again (pools[5]);
  g_assert_cmpuint (count_keeping (pools), ==, 1);
  end (budget, pools);
}

/* A pool whose cache is off must not be told to open it with each request. */
static void
test_cache_is_off (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (N_POOLS * BYTES);
  g_autoptr (BufPool) pool = buf_pool_new_with_budget (BYTES, budget, NULL);

  g_test_summary ("Without a cache there is none to open, until the limit of the cache is raised");

  buf_pool_set_max_cached_memory (pool, 0);
  buf_pool_allocation_unref (test_allocate (pool, 1));
  g_assert_false (pool->memory->semaphore.rests);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 0);

  buf_pool_set_max_cached_memory (pool, BYTES);
  buf_pool_allocation_unref (test_allocate (pool, 1));
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, BYTES);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/budget-of-pool/properties", test_properties);
  g_test_add_func ("/budget-of-pool/pinned", test_pinned);
  g_test_add_func ("/budget-of-pool/waits-after-evicting", test_waits_after_evicting);
  g_test_add_func ("/budget-of-pool/refused-tries", test_refused_tries);
  g_test_add_func ("/budget-of-pool/caches-again-after-wait", test_caches_again_after_wait);
  g_test_add_func ("/budget-of-pool/cache-is-off", test_cache_is_off);

  return g_test_run ();
}
