/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a pool tells of its budget, and what a request gives up when it has to wait after all. */

#include "testing.h"

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

  g_test_summary ("A pinned request with everything is finished by its own function");

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

/* Fills the cache with blocks of two buffers, without using more than @n_buffers. */
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
      "A task that takes what is cached, and finds too little even so, returns it and waits");

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

  /* Nobody is inside any more. */
  g_object_unref (pool);
  g_assert_cmpuint (test_count_memories (), ==, 0);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/budget-of-pool/properties", test_properties);
  g_test_add_func ("/budget-of-pool/pinned", test_pinned);
  g_test_add_func ("/budget-of-pool/waits-after-evicting", test_waits_after_evicting);

  return g_test_run ();
}
