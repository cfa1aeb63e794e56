/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A tree in which a request is owed bytes: it waits at its own limit, and its bytes are earmarked
 * at the root. Other requests are then short at the root only because of the earmark. Everything
 * happens in one thread. */

#include "budget/budget-testing.h"

#define BUFFER 4096
#define OWED   (16 * BUFFER)
#define TOTAL  (256 * BUFFER)

typedef struct
{
  BufBudget *root;
  BufBudget *other;
  BufBudget *full;      /* fully in use */
  BufPermit *all;       /* of @full */
  GAsyncResult *result; /* of the owed request */
} Fixture;

static void
set_up (Fixture *self, gconstpointer data)
{
  self->root = buf_budget_new (TOTAL);
  self->other = buf_budget_new_child (self->root, TOTAL);
  self->full = buf_budget_new_child (self->root, OWED);
  self->all = acquire (self->full, OWED);
  buf_budget_acquire_async (self->full,
                            OWED,
                            G_PRIORITY_DEFAULT,
                            NULL,
                            test_keep_result,
                            &self->result);

  /* More than a stripe can hold, so that each request is counted as overtaking. */
  for (guint i = 0; i <= 512; i++)
    buf_permit_unref (acquire (self->root, TOTAL * 3 / 4));
  g_assert_cmpuint (buf_budget_get_waiting (self->root), ==, 1);
}

static void
tear_down (Fixture *self, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  BufPermit *owed;

  buf_permit_unref (self->all);
  test_iterate_until (&self->result);
  owed = buf_budget_acquire_finish (self->full, self->result, &error);
  g_assert_no_error (error);
  buf_permit_unref (owed);
  assert_in_use (self->root, 0);

  g_object_unref (self->result);
  g_object_unref (self->full);
  g_object_unref (self->other);
  g_object_unref (self->root);
}

static BufPool *
new_caching_pool (BufBudget *root)
{
  g_autoptr (GError) error = NULL;
  BufPool *pool = buf_pool_new_with_budget (BUFFER, root, &error);

  g_assert_no_error (error);
  buf_pool_set_max_cached_memory (pool, TOTAL);
  return pool;
}

/* Returns how many bytes are cached. */
static gsize
fill_cache (BufPool *pool)
{
  BufPoolAllocation *blocks[64];

  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
    blocks[i] = test_allocate (pool, 1);
  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
    buf_pool_allocation_unref (blocks[i]);
  buf_pool_trim (pool, 8 * BUFFER);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 8 * BUFFER);
  return buf_pool_get_cached_memory (pool);
}

static void
test_release_serves (Fixture *self, gconstpointer data)
{
  g_autoptr (GAsyncResult) result = NULL;
  BufPermit *most = acquire (self->root, TOTAL - 4 * OWED);
  BufPermit *rest = acquire (self->root, OWED);
  BufPermit *small[100];
  BufPermit *permit;

  g_test_summary ("A release serves a request that is short only beside owed bytes, no matter how "
                  "long it has been calm");

  for (guint i = 0; i < G_N_ELEMENTS (small); i++)
    small[i] = acquire (self->root, 1);
  buf_budget_acquire_async (self->other,
                            OWED + OWED / 2,
                            G_PRIORITY_DEFAULT,
                            NULL,
                            test_keep_result,
                            &result);
  for (guint i = 0; i < G_N_ELEMENTS (small); i++)
    buf_permit_unref (small[i]);
  g_assert_cmpuint (buf_budget_get_waiting (self->root), ==, 2);

  buf_permit_unref (rest);
  g_assert_cmpuint (buf_budget_get_waiting (self->root), ==, 1);
  test_iterate_until (&result);
  permit = buf_budget_acquire_finish (self->other, result, NULL);
  g_assert_cmpuint (buf_permit_get_size (permit), ==, OWED + OWED / 2);
  buf_permit_unref (permit);
  buf_permit_unref (most);
}

static void
test_refusal (Fixture *self, gconstpointer data)
{
  BufPermit *rest = acquire (self->root, TOTAL - 2 * OWED - 1);

  g_test_summary ("A refusal because of owed bytes says so");

  assert_refused (self->other,
                  2,
                  G_IO_ERROR,
                  G_IO_ERROR_WOULD_BLOCK,
                  "Cannot acquire 2 bytes: only 65537 of 1048576 bytes of the budget are available "
                  "(65536 of them owed to an older request), and 1 other request is waiting");
  buf_permit_unref (rest);
}

static void
test_cached_blocks_serve_try (Fixture *self, gconstpointer data)
{
  g_autoptr (BufPool) cacher = new_caching_pool (self->root);
  g_autoptr (BufPool) other = new_caching_pool (self->root);
  gsize cached = fill_cache (cacher);
  BufPermit *rest = acquire (self->root, TOTAL - 2 * OWED - cached);
  BufPoolAllocation *block;

  g_test_summary ("A try gets cached bytes if they are enough beside the owed bytes");

  g_assert_cmpuint (buf_budget_get_available_memory (self->root), ==, OWED + cached);
  buf_permit_unref (acquire (self->root, 1));
  block = test_allocate (other, 2);
  buf_pool_allocation_unref (block);
  block = test_allocate (cacher, 3);
  buf_pool_allocation_unref (block);
  buf_permit_unref (rest);
}

static void
test_cached_blocks_serve_waiter (Fixture *self, gconstpointer data)
{
  g_autoptr (BufPool) cacher = new_caching_pool (self->root);
  g_autoptr (GAsyncResult) result = NULL;
  gsize cached = fill_cache (cacher);
  BufPermit *rest = acquire (self->root, TOTAL - 3 * OWED - cached);
  BufPermit *permit;

  g_test_summary ("While a request is short beside owed bytes, nothing is cached");

  buf_budget_acquire_async (self->other,
                            OWED + cached + 1,
                            G_PRIORITY_DEFAULT,
                            NULL,
                            test_keep_result,
                            &result);
  g_assert_cmpuint (buf_budget_get_waiting (self->root), ==, 2);
  g_assert_cmpuint (buf_pool_get_cached_memory (cacher), ==, 0);

  buf_permit_unref (rest);
  test_iterate_until (&result);
  permit = buf_budget_acquire_finish (self->other, result, NULL);
  g_assert_nonnull (permit);
  buf_permit_unref (permit);
}

#define ADD(name, function)                                                                        \
  g_test_add ("/tree-owed/" name, Fixture, NULL, set_up, function, tear_down)

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  ADD ("release-serves", test_release_serves);
  ADD ("refusal", test_refusal);
  ADD ("cached-blocks-serve-try", test_cached_blocks_serve_try);
  ADD ("cached-blocks-serve-waiter", test_cached_blocks_serve_waiter);

  return g_test_run ();
}
