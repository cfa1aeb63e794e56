/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Budgets and pools in a tree: a request gets its bytes at all levels, or at none. */

#include <string.h>

#include "budget/budget-testing.h"

static BufPool *
new_pool (BufBudget *budget, gsize buffer_size, gsize n_buffers)
{
  g_autoptr (GError) error = NULL;
  BufPool *pool = g_initable_new (BUF_TYPE_POOL,
                                  NULL,
                                  &error,
                                  "buffer-size",
                                  (guint64) buffer_size,
                                  "max-memory",
                                  (guint64) (buffer_size * n_buffers),
                                  "budget",
                                  budget,
                                  NULL);

  g_assert_no_error (error);
  return pool;
}

static void
assert_pool_refuses (BufPool *pool, gsize n, GQuark domain, gint code, const gchar *message)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (buf_pool_try_allocate (pool, n, &error));
  g_assert_error (error, domain, code);
  g_assert_cmpstr (error->message, ==, message);
}

static void
test_levels (void)
{
  g_autoptr (BufBudget) root =
      g_object_new (BUF_TYPE_BUDGET, "max-memory", (guint64) 1000, "name", "total", NULL);
  g_autoptr (BufBudget) middle = buf_budget_new_child (root, 600);
  g_autoptr (BufPool) pool = new_pool (middle, 100, 50);
  BufPermit *permit = acquire (root, 500);
  BufPoolAllocation *allocation = test_allocate (pool, 5);

  g_test_summary ("A request counts at each level, and an error names the level that is short");

  assert_in_use (root, 1000);
  assert_in_use (middle, 500);
  test_assert_figures (pool, 5, 1);
  assert_pool_refuses (pool,
                       1,
                       G_IO_ERROR,
                       G_IO_ERROR_WOULD_BLOCK,
                       "Cannot allocate 1 buffer of 100 bytes: only 0 of 1000 bytes of the budget "
                       "\"total\" are available, and 0 other requests are waiting");
  assert_pool_refuses (pool,
                       7,
                       BUF_POOL_ERROR,
                       BUF_POOL_ERROR_TOO_LARGE,
                       "Cannot allocate 7 buffers of 100 bytes (700 bytes): the budget never has "
                       "more than 600 bytes");
  assert_pool_refuses (pool,
                       51,
                       BUF_POOL_ERROR,
                       BUF_POOL_ERROR_TOO_LARGE,
                       "Cannot allocate 51 buffers of 100 bytes (5100 bytes): the pool never has "
                       "more than 5000 bytes");
  assert_in_use (root, 1000);

  buf_pool_allocation_unref (allocation);
  assert_in_use (root, 500);
  assert_in_use (middle, 0);
  buf_permit_unref (permit);
  assert_in_use (root, 0);
}

static void
test_holds_nothing (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (100);
  g_autoptr (BufBudget) child = buf_budget_new_child (root, 60);
  BufPermit *most = acquire (root, 70);
  Acquirer waiter = { 0 };

  g_test_summary ("A request that waits for one level holds nothing at the others");

  budget_stop_clock (root);
  acquirer_start (&waiter, child, 50, G_PRIORITY_DEFAULT);
  assert_in_use (child, 0);
  assert_in_use (root, 70);
  buf_permit_unref (acquire (child, 30));
  buf_permit_unref (most);
  acquirer_end_granted (&waiter);
  assert_in_use (root, 0);
}

static void
test_siblings (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (1000);
  g_autoptr (BufBudget) full = buf_budget_new_child (root, 100);
  g_autoptr (BufBudget) other = buf_budget_new_child (root, 100);
  BufPermit *all = acquire (full, 100);
  Acquirer waiter = { 0 };

  g_test_summary ("A request that waits at its own limit does not block requests of siblings");

  budget_stop_clock (root);
  acquirer_start (&waiter, full, 100, G_PRIORITY_DEFAULT);
  g_assert_cmpuint (buf_budget_get_waiting (root), ==, 1);
  g_assert_cmpuint (buf_budget_get_waiting (other), ==, 0);
  for (guint i = 0; i < 1000; i++)
    buf_permit_unref (acquire (other, 100));
  buf_permit_unref (all);
  acquirer_end_granted (&waiter);
}

static void
test_small_passes_large (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (100);
  g_autoptr (BufBudget) child = buf_budget_new_child (root, 100);
  BufPermit *half = acquire (root, 60);
  Acquirer large = { 0 };

  g_test_summary ("A small request that fits overtakes a large one that waits for the root");

  budget_stop_clock (root);
  acquirer_start (&large, child, 90, G_PRIORITY_DEFAULT);
  buf_permit_unref (acquire (child, 40));
  buf_permit_unref (acquire (root, 40));
  buf_permit_unref (half);
  acquirer_end_granted (&large);
}

static void
test_second_level_is_short (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (100);
  g_autoptr (BufBudget) child = buf_budget_new_child (root, 50);
  BufPermit *in_child = acquire (child, 50);
  BufPermit *in_root;
  Acquirer waiter = { 0 };

  g_test_summary ("A request that waits for one level is woken at another level when that becomes "
                  "short");

  budget_stop_clock (root);
  acquirer_start (&waiter, child, 50, G_PRIORITY_DEFAULT);
  in_root = acquire (root, 50);
  g_assert_true (buf_permit_shrink (in_child, 1, NULL)); /* now the child has all but one byte */
  buf_permit_unref (in_child);
  acquirer_end (&waiter);
  g_assert_no_error (waiter.error);

  /* The same, with the root becoming short at the moment when the child no longer is. */
  buf_permit_unref (in_root);
  in_root = acquire (root, 50);
  {
    Acquirer second = { 0 };
    BufPermit *more;

    acquirer_start (&second, child, 50, G_PRIORITY_DEFAULT);
    buf_budget_set_max_memory (root, 80); /* 100 of 80 in use */
    more = waiter.permit;
    buf_permit_unref (more); /* the child has 50, the root has 30 */
    g_assert_cmpuint (count_asleep (root), ==, 1);
    buf_permit_unref (in_root);
    acquirer_end_granted (&second);
  }
  assert_in_use (root, 0);
}

static void
test_cached_blocks_go_first (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (1 << 20);
  g_autoptr (BufPool) cacher = new_pool (root, 4096, 256);
  g_autoptr (BufPool) other = new_pool (root, 4096, 256);
  BufPoolAllocation *blocks[32];
  BufPoolAllocation *all;

  g_test_summary ("Cached blocks of a pool are available to its siblings, even without waiting");

  buf_pool_set_max_cached_memory (cacher, 1 << 20);
  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
    blocks[i] = test_allocate (cacher, 1);
  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
    buf_pool_allocation_unref (blocks[i]);
  g_assert_cmpuint (buf_pool_get_cached_memory (cacher), >, 0);
  assert_in_use (root, 0);

  all = test_allocate (other, 256);
  g_assert_cmpuint (buf_pool_get_cached_memory (cacher), ==, 0);
  assert_in_use (root, 1 << 20);
  buf_pool_allocation_unref (all);

  /* A permit gets them, too. */
  buf_pool_allocation_unref (test_allocate (cacher, 1));
  buf_permit_unref (acquire (root, 1 << 20));
  g_assert_cmpuint (buf_pool_get_cached_memory (cacher), ==, 0);
}

static void
test_nothing_is_cached_while_waiting (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (100 * 4096);
  g_autoptr (BufPool) cacher = new_pool (root, 4096, 100);
  BufPoolAllocation *all = test_allocate (cacher, 100);
  Acquirer waiter = { 0 };

  g_test_summary ("While a request waits at the root, memory freed by the pools below it returns "
                  "there");

  buf_pool_set_max_cached_memory (cacher, 100 * 4096);
  acquirer_start (&waiter, root, 4096, G_PRIORITY_DEFAULT);
  buf_pool_allocation_unref (all);
  acquirer_end_granted (&waiter);
  assert_in_use (root, 0);
}

static void
test_close (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (100);
  g_autoptr (BufPool) pool = new_pool (root, 10, 10);
  g_autoptr (GError) error = NULL;
  BufPermit *all = acquire (root, 100);
  TestRequester *requester = test_requester_start (pool, 1);

  g_test_summary ("A pool can be closed while its requests wait for the root");

  while (buf_budget_get_waiting (root) == 0)
    g_thread_yield ();
  buf_pool_close (pool);
  g_assert_null (test_requester_end (requester, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
  g_assert_cmpuint (buf_budget_get_waiting (root), ==, 0);
  buf_permit_unref (all);
}

static void
test_drain (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (100);
  g_autoptr (BufPool) pool = new_pool (root, 10, 10);
  g_autoptr (BufPermit) permit = acquire (root, 10);
  BufPoolAllocation *allocation = test_allocate (pool, 1);
  g_autoptr (GError) error = NULL;

  g_test_summary ("A pool drains, no matter what other users hold of its budget");

  g_assert_false (buf_pool_drain_timeout (pool, 1000, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  buf_pool_allocation_unref (allocation);
  g_assert_true (buf_pool_drain (pool, NULL, &error));
  g_assert_no_error (error);
}

static void
test_maximum (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (100);
  g_autoptr (BufBudget) child = buf_budget_new_child (root, 200);
  BufPermit *all = acquire (child, 100);
  Acquirer waiter = { 0 };

  g_test_summary ("A change of the maximum at any level grants or fails waiting requests");

  acquirer_start (&waiter, child, 90, G_PRIORITY_DEFAULT);
  buf_budget_set_max_memory (root, 190);
  acquirer_end_granted (&waiter);

  waiter = (Acquirer){ 0 };
  buf_budget_set_max_memory (root, 100);
  acquirer_start (&waiter, child, 90, G_PRIORITY_DEFAULT);
  buf_budget_set_max_memory (root, 80);
  acquirer_end (&waiter);
  g_assert_error (waiter.error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE);
  g_assert_cmpstr (waiter.error->message,
                   ==,
                   "Cannot acquire 90 bytes: the budget never has more than 80 bytes");
  g_clear_error (&waiter.error);
  buf_permit_unref (all);
}

static void
test_overload (void)
{
  g_autoptr (BufBudget) root = buf_budget_new (100);
  g_autoptr (BufPool) pool = new_pool (root, 10, 10);
  g_autoptr (BufPermit) all = acquire (root, 100);
  g_autoptr (BufPoolStats) stats = NULL;
  g_autoptr (GError) error = NULL;

  g_test_summary ("A limit on waiting requests includes the pools below, and is checked at the "
                  "budget");

  buf_budget_set_max_waiting (root, 0);
  g_assert_null (buf_pool_allocate (pool, 1, NULL, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OVERLOADED);
  stats = buf_pool_get_stats (pool);
  g_assert_cmpuint (stats->n_overloaded, ==, 1);
}

static void
test_order_of_ends (void)
{
  g_test_summary ("Budgets, pools, permits and pinned allocations can be dropped in any order");

  for (guint order = 0; order < 24; order++)
    {
      BufBudget *root = buf_budget_new (1000);
      BufBudget *child = buf_budget_new_child (root, 1000);
      BufPool *pool = new_pool (child, 10, 10);
      BufPoolAllocation *pinned = buf_pool_allocate_pinned (pool, 3, NULL, NULL);
      guint left = order;
      guint done = 0;

      g_assert_nonnull (pinned);
      for (guint n = 4; n > 0; n--)
        {
          guint which = left % n;

          left /= n;
          for (guint i = 0;; i++)
            if (!(done >> i & 1) && which-- == 0)
              {
                done |= 1u << i;
                if (i == 0)
                  g_object_unref (root);
                else if (i == 1)
                  g_object_unref (child);
                else if (i == 2)
                  g_object_unref (pool);
                else
                  buf_pool_allocation_unref (pinned);
                break;
              }
        }
    }
  test_wait_for_the_end ();
}

static void
test_describes (void)
{
  g_autoptr (BufBudget) root =
      g_object_new (BUF_TYPE_BUDGET, "max-memory", (guint64) 1000, "name", "total", NULL);
  g_autoptr (BufPool) pool = new_pool (root, 100, 5);
  BufPoolAllocation *allocation = test_allocate (pool, 2);
  g_autofree gchar *description = buf_pool_describe_outstanding (pool);

  g_test_summary ("The description of outstanding allocations includes the levels above");

  g_assert_nonnull (strstr (description,
                            "It counts against the budget \"total\" (200 of 1000 bytes), where 0 "
                            "requests are waiting."));
  buf_pool_allocation_unref (allocation);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/tree/levels", test_levels);
  g_test_add_func ("/tree/holds-nothing", test_holds_nothing);
  g_test_add_func ("/tree/siblings", test_siblings);
  g_test_add_func ("/tree/small-passes-large", test_small_passes_large);
  g_test_add_func ("/tree/second-level-is-short", test_second_level_is_short);
  g_test_add_func ("/tree/cached-blocks-go-first", test_cached_blocks_go_first);
  g_test_add_func ("/tree/nothing-is-cached-while-waiting", test_nothing_is_cached_while_waiting);
  g_test_add_func ("/tree/close", test_close);
  g_test_add_func ("/tree/drain", test_drain);
  g_test_add_func ("/tree/maximum", test_maximum);
  g_test_add_func ("/tree/overload", test_overload);
  g_test_add_func ("/tree/order-of-ends", test_order_of_ends);
  g_test_add_func ("/tree/describes", test_describes);
  return g_test_run ();
}
