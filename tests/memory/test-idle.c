/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Idle blocks: what a closed cache does with released blocks. */

#include <string.h>

#include "pool/buf-pool-private.h"
#include "testing.h"

#define BUFFER_SIZE 4096
#define N_BUFFERS   256

static gint64
get_idle (BufPool *pool)
{
  return pool->memory->semaphore.level.idle / BUFFER_SIZE;
}

static gsize
get_cached (BufPool *pool)
{
  return buf_pool_get_cached_memory (pool) / BUFFER_SIZE;
}

/* Lets one request wait, so that the cache is closed for some time afterwards. */
static void
close_cache (BufPool *pool)
{
  gsize max_buffers = buf_pool_get_max_memory (pool) / buf_pool_get_buffer_size (pool);
  BufPoolAllocation *all = test_allocate (pool, max_buffers);
  TestRequester *requester = test_requester_start (pool, 1);

  test_wait_for_waiting (pool, 1);
  buf_pool_allocation_unref (all);
  test_requester_end_served (requester);
  buf_pool_trim (pool, 0);
  g_assert_cmpint (get_idle (pool), ==, 0);
  g_assert_true (pool->memory->semaphore.level.revoked);
}

static BufPool *
new_pool (void)
{
  BufPool *pool = test_pool_new (BUFFER_SIZE, N_BUFFERS);

  buf_pool_set_max_cached_memory (pool, N_BUFFERS * BUFFER_SIZE);
  close_cache (pool);
  return pool;
}

static void
make_idle (BufPool *pool, gsize n_buffers)
{
  gint64 idle = get_idle (pool);

  buf_pool_allocation_unref (test_allocate (pool, n_buffers));
  g_assert_cmpint (get_idle (pool), ==, idle + n_buffers);
}

typedef struct
{
  guint alignment;
  gboolean zero_fill;
  gboolean pinned;
} Kind;

static BufPoolAllocation *
allocate (BufPool *pool, const Kind *kind, gsize n_buffers)
{
  if (kind->pinned)
    return buf_pool_try_allocate_pinned (pool, n_buffers, NULL);
  return buf_pool_try_allocate (pool, n_buffers, NULL);
}

static void
check_reuse (const Kind *kind)
{
  g_autoptr (BufPool) pool = g_object_new (BUF_TYPE_POOL,
                                           "buffer-size",
                                           (guint64) BUFFER_SIZE,
                                           "max-memory",
                                           (guint64) N_BUFFERS * BUFFER_SIZE,
                                           "max-cached-memory",
                                           (gint64) N_BUFFERS * BUFFER_SIZE,
                                           "alignment",
                                           kind->alignment,
                                           "zero-fill",
                                           kind->zero_fill,
                                           NULL);

  test_pool_stop_clock (pool);
  close_cache (pool);
  for (gsize n = 1; n <= 64; n *= 4)
    {
      BufPoolAllocation *allocation = allocate (pool, kind, n);
      guint8 *data = buf_pool_allocation_get_first (allocation);

      memset (data, 1, n * BUFFER_SIZE);
      buf_pool_allocation_unref (allocation);
      g_assert_cmpint (get_idle (pool), ==, n);
      g_assert_cmpuint (get_cached (pool), ==, n);
      test_assert_figures (pool, 0, 0);

      allocation = allocate (pool, kind, n);
      g_assert_true (buf_pool_allocation_get_first (allocation) == data);
      g_assert_cmpint (get_idle (pool), ==, 0);
      for (gsize i = 0; kind->zero_fill && i < n * BUFFER_SIZE; i++)
        g_assert_cmpuint (data[i], ==, 0);
      test_assert_figures (pool, n, 1);
      buf_pool_allocation_unref (allocation);
      buf_pool_trim (pool, 0);
    }
}

static void
test_reuse (void)
{
  const Kind kinds[] = {
    { 0, FALSE, FALSE }, { 0, TRUE, FALSE },    { 0, FALSE, TRUE },
    { 0, TRUE, TRUE },   { 4096, TRUE, FALSE }, { 4096, FALSE, TRUE },
  };

  g_test_summary ("A block that is released while the cache is closed is used again");

  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    check_reuse (&kinds[i]);
}

static void
test_thread_gets_block (void)
{
  g_autoptr (BufPool) pool = new_pool ();
  BufPoolAllocation *others = test_allocate (pool, N_BUFFERS - 2);
  BufPoolAllocation *block = test_allocate (pool, 2);
  gpointer data = buf_pool_allocation_get_first (block);
  TestRequester *requester = test_requester_start (pool, 2);

  g_test_summary ("A waiting thread gets the block that is released");

  test_wait_for_waiting (pool, 1);
  buf_pool_allocation_unref (block);
  block = test_requester_end (requester, NULL);
  g_assert_nonnull (block);
  g_assert_true (buf_pool_allocation_get_first (block) == data);
  g_assert_cmpint (get_idle (pool), ==, 0);
  buf_pool_allocation_unref (block);
  buf_pool_allocation_unref (others);
}

static void
test_task_gets_block (void)
{
  g_autoptr (BufPool) pool = new_pool ();
  BufPoolAllocation *others = test_allocate (pool, N_BUFFERS - 2);
  BufPoolAllocation *block = test_allocate (pool, 2);
  gpointer data = buf_pool_allocation_get_first (block);
  g_autoptr (GAsyncResult) result = NULL;

  g_test_summary ("A waiting task gets the block that is released");

  buf_pool_allocate_async (pool, 2, G_PRIORITY_DEFAULT, NULL, test_keep_result, &result);
  buf_pool_allocation_unref (block);
  g_assert_cmpint (get_idle (pool), ==, 0);
  test_iterate_until (&result);
  block = buf_pool_allocate_finish (pool, result, NULL);
  g_assert_true (buf_pool_allocation_get_first (block) == data);
  buf_pool_allocation_unref (block);
  buf_pool_allocation_unref (others);
}

static void
test_other_sizes (void)
{
  g_autoptr (BufPool) pool = new_pool ();
  BufPoolAllocation *blocks[3], *others, *three;

  g_test_summary ("A request of another size takes the bytes of idle blocks, which are freed");

  for (guint i = 0; i < 3; i++)
    blocks[i] = test_allocate (pool, i < 2 ? 1 : 4);
  for (guint i = 0; i < 3; i++)
    buf_pool_allocation_unref (blocks[i]);
  g_assert_cmpint (get_idle (pool), ==, 6);

  others = test_allocate (pool, N_BUFFERS - 6);
  g_assert_cmpint (get_idle (pool), ==, 6);
  three = test_allocate (pool, 3);
  g_assert_cmpint (get_idle (pool), ==, 0);
  test_assert_figures (pool, N_BUFFERS - 3, 2);
  buf_pool_allocation_unref (test_allocate (pool, 3));
  buf_pool_allocation_unref (three);
  buf_pool_allocation_unref (others);
}

static void
start (BufPool *pool, gsize n_buffers, GCancellable *cancellable, GAsyncResult **result)
{
  *result = NULL;
  buf_pool_allocate_async (pool,
                           n_buffers,
                           G_PRIORITY_DEFAULT,
                           cancellable,
                           test_keep_result,
                           result);
}

/* Returns which of the requests for 3, 5 and 2 buffers are granted when 9 are free, in idle blocks
 * of 1, 6 and 2 if something may be cached. */
static guint
serve_three (gsize max_cached)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 10);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  BufPoolAllocation *six, *two, *two_more, *one;
  GAsyncResult *results[3], *whole;
  guint granted = 0;

  buf_pool_set_max_cached_memory (pool, max_cached);
  six = test_allocate (pool, 6);
  two = test_allocate (pool, 2);
  two_more = test_allocate (pool, 1);
  start (pool, 10, cancellable, &whole);
  while ((one = buf_pool_try_allocate (pool, 1, NULL)) != NULL)
    buf_pool_allocation_unref (one); /* until the request for the whole is owed */
  for (guint i = 0; i < 3; i++)
    start (pool, (const gsize[]){ 3, 5, 2 }[i], NULL, &results[i]);
  buf_pool_allocation_unref (six);
  buf_pool_allocation_unref (two);
  g_assert_cmpint (get_idle (pool), ==, max_cached > 0 ? 9 : 0);

  g_cancellable_cancel (cancellable);
  test_iterate_all ();
  for (guint i = 0; i < 3; i++)
    granted |= results[i] != NULL ? 1u << i : 0;
  g_object_unref (whole);
  buf_pool_allocation_unref (two_more);
  for (guint i = 0; i < 3; i++)
    {
      test_iterate_until (&results[i]);
      buf_pool_allocation_unref (buf_pool_allocate_finish (pool, results[i], NULL));
      g_object_unref (results[i]);
    }
  return granted;
}

static void
test_order (void)
{
  g_test_summary ("Idle blocks that are larger than a request do not change which waiters are "
                  "served");

  g_assert_cmpuint (serve_three (0), ==, 3);
  g_assert_cmpuint (serve_three (10 * BUFFER_SIZE), ==, 3);
}

static void
trim (BufPool *pool)
{
  g_assert_cmpuint (buf_pool_trim (pool, BUFFER_SIZE), ==, 4 * BUFFER_SIZE);
}

static void
trim_all (BufPool *pool)
{
  g_assert_cmpuint (buf_pool_trim_all (), >=, 4 * BUFFER_SIZE);
}

static void
cache_nothing (BufPool *pool)
{
  buf_pool_set_max_cached_memory (pool, 0);
}

static void
lower_maximum (BufPool *pool)
{
  buf_pool_set_max_memory (pool, (N_BUFFERS - 1) * BUFFER_SIZE);
}

static void
reserve (BufPool *pool)
{
  buf_pool_set_reserved_memory (pool, BUFFER_SIZE);
}

static void
test_freed (void)
{
  void (*const functions[]) (BufPool * pool) = { trim,          trim_all, cache_nothing,
                                                 lower_maximum, reserve,  buf_pool_close };

  g_test_summary ("Idle blocks are freed when the program trims, closes or changes the pool");

  for (guint i = 0; i < G_N_ELEMENTS (functions); i++)
    {
      g_autoptr (BufPool) pool = new_pool ();

      make_idle (pool, 4);
      functions[i](pool);
      g_assert_cmpint (get_idle (pool), ==, 0);
      g_assert_cmpuint (get_cached (pool), ==, 0);
      test_assert_figures (pool, 0, 0);
    }
}

static void
test_nothing_new (void)
{
  g_test_summary ("Blocks do not become idle once nothing may be cached, or with a reserve");

  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (BufPool) pool = new_pool ();
      BufPoolAllocation *all = test_allocate (pool, N_BUFFERS - 4);
      BufPoolAllocation *block = test_allocate (pool, 4);
      GAsyncResult *waiting;

      start (pool, 10, NULL, &waiting);
      if (i == 0)
        cache_nothing (pool);
      else
        reserve (pool);
      buf_pool_allocation_unref (block);
      g_assert_cmpint (get_idle (pool), ==, 0);
      buf_pool_allocation_unref (all);
      test_iterate_until (&waiting);
      buf_pool_allocation_unref (buf_pool_allocate_finish (pool, waiting, NULL));
      g_object_unref (waiting);
    }
}

static void
test_reopen (void)
{
  g_autoptr (BufPool) pool = new_pool ();
  g_autoptr (BufPoolStats) before = buf_pool_get_stats (pool);
  g_autoptr (BufPoolStats) after = NULL;
  BufPoolAllocation *block = test_allocate (pool, 4);
  gpointer data = buf_pool_allocation_get_first (block);

  g_test_summary ("When the cache opens again, it has the idle blocks");

  buf_pool_allocation_unref (block);
  for (guint i = 0; pool->memory->semaphore.level.revoked; i++)
    {
      g_assert_cmpuint (i, <, 1000);
      buf_pool_allocation_unref (test_allocate (pool, 1));
    }
  g_assert_cmpint (get_idle (pool), ==, 0);
  g_assert_cmpuint (get_cached (pool), ==, 5);
  test_assert_figures (pool, 0, 0);

  block = test_allocate (pool, 4);
  g_assert_true (buf_pool_allocation_get_first (block) == data);
  buf_pool_allocation_unref (block);
  after = buf_pool_get_stats (pool);
  g_assert_cmpuint (after->n_hits, >, before->n_hits);
}

static void
test_beyond_lower_maximum (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, N_BUFFERS);
  BufPoolAllocation *blocks[16];

  g_test_summary ("While more is in use than a lowered maximum, blocks do not become idle");

  buf_pool_set_max_cached_memory (pool, N_BUFFERS * BUFFER_SIZE);
  close_cache (pool);
  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
    blocks[i] = test_allocate (pool, N_BUFFERS / 16);
  buf_pool_set_max_memory (pool, N_BUFFERS * 3 / 8 * BUFFER_SIZE);
  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
    {
      buf_pool_allocation_unref (blocks[i]);
      g_assert_cmpint (MAX (pool->memory->semaphore.level.free, 0) / BUFFER_SIZE,
                       >=,
                       get_idle (pool));
    }
}

static void
test_not_idle (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (N_BUFFERS * BUFFER_SIZE);
  g_autoptr (BufPool) child = buf_pool_new_with_budget (BUFFER_SIZE, budget, NULL);
  g_autoptr (BufPool) small = test_pool_new (64, 63);

  g_test_summary ("In a pool with a budget, and below 4096 bytes, no block becomes idle");

  buf_pool_set_max_memory (child, N_BUFFERS * BUFFER_SIZE);
  buf_pool_set_max_cached_memory (child, N_BUFFERS * BUFFER_SIZE);
  close_cache (child);
  buf_pool_allocation_unref (test_allocate (child, 4));
  g_assert_cmpint (get_idle (child), ==, 0);

  buf_pool_set_max_cached_memory (small, 63 * 64);
  close_cache (small);
  buf_pool_allocation_unref (test_allocate (small, 63));
  g_assert_cmpint (small->memory->semaphore.level.idle, ==, 0);
}

/* A checker of leaks finds a block that is lost. */
static void
test_cancelled (void)
{
  g_autoptr (BufPool) pool = new_pool ();
  guint n_cancelled = 0;

  g_test_summary ("A request that is cancelled when it has got an idle block loses nothing");

  for (guint round = 0; round < test_scale (500) || n_cancelled == 0; round++)
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (BufPoolAllocation) got = NULL;
      BufPoolAllocation *others = test_allocate (pool, N_BUFFERS - 4);
      BufPoolAllocation *block = test_allocate (pool, 4);
      TestRequester *requester = test_requester_start_full (pool, 4, -1, cancellable);

      test_wait_for_waiting (pool, 1);
      buf_pool_allocation_unref (block);
      g_cancellable_cancel (cancellable);
      got = test_requester_end (requester, NULL);
      n_cancelled += got == NULL;
      buf_pool_allocation_unref (others);
    }
  test_assert_figures (pool, 0, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/idle/reuse", test_reuse);
  g_test_add_func ("/idle/thread-gets-block", test_thread_gets_block);
  g_test_add_func ("/idle/task-gets-block", test_task_gets_block);
  g_test_add_func ("/idle/other-sizes", test_other_sizes);
  g_test_add_func ("/idle/order", test_order);
  g_test_add_func ("/idle/freed", test_freed);
  g_test_add_func ("/idle/nothing-new", test_nothing_new);
  g_test_add_func ("/idle/reopen", test_reopen);
  g_test_add_func ("/idle/beyond-lower-maximum", test_beyond_lower_maximum);
  g_test_add_func ("/idle/not-idle", test_not_idle);
  g_test_add_func ("/idle/cancelled", test_cancelled);
  return g_test_run ();
}
