/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The cache of a pool, in one thread. */

#include <string.h>

#include "memory/buf-pool-allocation-private.h"
#include "pool/buf-pool-private.h"
#include "testing.h"

#define BUFFER_SIZE 1024
#define N_BUFFERS   8192

static BufMemory *
get_memory (BufPool *pool)
{
  return pool->memory;
}

/* As many stripes as the machine has processors. */
static BufPool *
new_pool (gint64 max_cached)
{
  BufPool *pool = test_pool_new (BUFFER_SIZE, N_BUFFERS);

  buf_pool_set_max_cached_memory (pool, max_cached);
  return pool;
}

static void
use_one_stripe (BufPool *pool)
{
  gint64 limit = buf_pool_get_max_cached_memory (pool);

  buf_pool_set_max_cached_memory (pool, 0);
  get_memory (pool)->control.n_stripes = 1;
  buf_pool_set_max_cached_memory (pool, limit);
}

/* With a single stripe, and no depot: room for 16 buffers. */
static BufPool *
new_small_pool (void)
{
  BufPool *pool = test_pool_new (BUFFER_SIZE, 64);

  use_one_stripe (pool);
  buf_pool_set_max_cached_memory (pool, 16 * BUFFER_SIZE);
  return pool;
}

static gsize
get_cached (BufPool *pool)
{
  return buf_pool_get_cached_memory (pool) / BUFFER_SIZE;
}

/* Makes the pool cache @n_blocks blocks of that size, as far as it has room. */
static void
cache_blocks (BufPool *pool, guint n_blocks, gsize n_buffers)
{
  g_autoptr (GPtrArray) blocks =
      g_ptr_array_new_with_free_func ((GDestroyNotify) buf_pool_allocation_unref);

  for (guint i = 0; i < n_blocks; i++)
    g_ptr_array_add (blocks, test_allocate (pool, n_buffers));
}

static void
test_hit (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  BufPoolAllocation *allocation = test_allocate (pool, 4);
  BufPoolAllocation *first = allocation;
  g_autoptr (BufPoolStats) stats = NULL;

  g_test_summary ("A dropped block is reused, and its memory counts as available in the meantime");

  g_assert_cmpuint (get_cached (pool), ==, 0);
  buf_pool_allocation_unref (allocation);
  g_assert_cmpuint (get_cached (pool), ==, 4);
  test_assert_figures (pool, 0, 0);

  allocation = test_allocate (pool, 4);
  g_assert_true (allocation == first);
  g_assert_cmpuint (get_cached (pool), ==, 0);
  test_assert_figures (pool, 4, 1);
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, 4);
  memset (buf_pool_allocation_get_first (allocation), 1, 4 * BUFFER_SIZE);

  stats = buf_pool_get_stats (pool);
  g_assert_cmpuint (stats->n_hits, ==, 1);
  g_assert_cmpuint (stats->n_misses, ==, 1);
  buf_pool_allocation_unref (allocation);
}

static void
test_kinds (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *first = test_allocate (pool, 2);
  BufPoolAllocation *allocation;

  g_test_summary ("All kinds of requests find a cached block; a cancelled one does not take it");

  buf_pool_allocation_unref (first);
  allocation = buf_pool_allocate (pool, 2, NULL, NULL);
  g_assert_true (allocation == first);
  buf_pool_allocation_unref (allocation);
  allocation = buf_pool_allocate_timeout (pool, 2, 0, NULL, NULL);
  g_assert_true (allocation == first);
  buf_pool_allocation_unref (allocation);
  allocation = buf_pool_allocate (pool, 2, cancellable, NULL);
  g_assert_true (allocation == first);
  buf_pool_allocation_unref (allocation);

  g_cancellable_cancel (cancellable);
  g_assert_null (buf_pool_allocate (pool, 2, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (get_cached (pool), ==, 2);
}

static void
on_allocated (GObject *source, GAsyncResult *result, gpointer user_data)
{
  BufPoolAllocation **allocation = user_data;

  *allocation = buf_pool_allocate_finish (BUF_POOL (source), result, NULL);
}

static void
test_task (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  BufPoolAllocation *first = test_allocate (pool, 2);
  g_autoptr (BufPoolAllocation) allocation = NULL;

  g_test_summary ("An asynchronous request finds a cached block");

  buf_pool_allocation_unref (first);
  buf_pool_allocate_async (pool, 2, G_PRIORITY_DEFAULT, NULL, on_allocated, &allocation);
  while (allocation == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_assert_true (allocation == first);
}

static BufPoolAllocation *
allocate_pinned (BufPool *pool, gsize n_buffers)
{
  BufPoolAllocation *allocation = buf_pool_allocate_pinned (pool, n_buffers, NULL, NULL);

  g_assert_nonnull (allocation);
  return allocation;
}

/* The pool caches the buffers of a pinned allocation, but not its handle. */
static void
test_pinned (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  BufPoolAllocation *pinned = allocate_pinned (pool, 2);
  gpointer data = buf_pool_allocation_get_first (pinned);
  BufPoolAllocation *plain;
  GBytes *view;

  g_test_summary ("Pinned and plain requests find each other's blocks");

  buf_pool_allocation_unref (pinned);
  g_assert_cmpuint (get_cached (pool), ==, 2);
  test_assert_figures (pool, 0, 0);

  plain = test_allocate (pool, 2);
  g_assert_true (buf_pool_allocation_get_first (plain) == data);
  buf_pool_allocation_unref (plain);

  pinned = buf_pool_try_allocate_pinned (pool, 2, NULL);
  g_assert_true (buf_pool_allocation_get_first (pinned) == data);
  test_assert_figures (pool, 2, 1);
  view = buf_pool_allocation_get_bytes (pinned);
  buf_pool_allocation_release (pinned);
  g_assert_cmpuint (get_cached (pool), ==, 0);
  g_bytes_unref (view);
  g_assert_cmpuint (get_cached (pool), ==, 2);
  buf_pool_allocation_unref (pinned);
  g_assert_cmpuint (get_cached (pool), ==, 2);
  test_assert_figures (pool, 0, 0);
}

static void
on_allocated_pinned (GObject *source, GAsyncResult *result, gpointer user_data)
{
  BufPoolAllocation **allocation = user_data;

  *allocation = buf_pool_allocate_pinned_finish (BUF_POOL (source), result, NULL);
}

static void
test_pinned_task (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  BufPoolAllocation *allocation = NULL;

  g_test_summary ("An asynchronous pinned request finds a cached block");

  cache_blocks (pool, 1, 2);
  buf_pool_allocate_pinned_async (pool,
                                  2,
                                  G_PRIORITY_DEFAULT,
                                  NULL,
                                  on_allocated_pinned,
                                  &allocation);
  g_assert_cmpuint (get_cached (pool), ==, 0);
  while (allocation == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_object_unref (g_steal_pointer (&pool));
  buf_pool_allocation_unref (allocation);
  test_wait_for_the_end ();
}

static void
test_end_with_pinned (void)
{
  g_test_summary (
      "The owner waits for a plain allocation of a formerly pinned block, but not for a pinned "
      "allocation of a formerly plain block");

  for (guint i = 0; i < 4; i++)
    {
      BufPool *pool = new_pool (-1);
      gboolean ends_pinned = i % 2 == 1;
      BufPoolAllocation *allocation;

      buf_pool_allocation_unref (i < 2 ? allocate_pinned (pool, 1) : test_allocate (pool, 1));
      allocation = ends_pinned ? allocate_pinned (pool, 1) : test_allocate (pool, 1);
      buf_pool_close (pool);
      g_assert_cmpint (buf_semaphore_has_plain (&get_memory (pool)->semaphore), ==, !ends_pinned);
      buf_pool_allocation_unref (allocation);
      g_assert_cmpint (get_memory (pool)->semaphore.level.pinned, ==, 0);
      g_object_unref (pool);
    }
}

static void
test_held (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  BufPoolAllocation *first = test_allocate (pool, 1);
  g_autoptr (BufPoolAllocation) again = NULL;

  g_test_summary ("A block is cached when its last reference or view is dropped, and is then like "
                  "new");

  buf_pool_allocation_ref (first);
  buf_pool_allocation_release (first);
  buf_pool_allocation_unref (first);
  g_assert_cmpuint (get_cached (pool), ==, 0);
  buf_pool_allocation_unref (first);
  g_assert_cmpuint (get_cached (pool), ==, 1);

  again = test_allocate (pool, 1);
  g_assert_true (again == first);
  g_assert_false (buf_pool_allocation_is_released (again));
}

static void
test_sizes (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  BufPoolAllocation *blocks[BUF_CACHE_N_MAGAZINES];

  g_test_summary ("Several sizes are cached, and each request gets its own");

  for (guint round = 0; round < 3; round++)
    {
      for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
        {
          BufPoolAllocation *block = test_allocate (pool, i + 1);

          g_assert_true (round == 0 || block == blocks[i]);
          g_assert_cmpuint (buf_pool_allocation_get_length (block), ==, i + 1);
          blocks[i] = block;
        }
      test_assert_figures (pool, 1 + 2 + 3 + 4, 4);
      for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
        buf_pool_allocation_unref (blocks[i]);
      g_assert_cmpuint (get_cached (pool), ==, 1 + 2 + 3 + 4);
      test_assert_figures (pool, 0, 0);
    }
}

static void
test_size_that_goes (void)
{
  g_autoptr (BufPool) pool = new_small_pool ();

  g_test_summary ("A size that is no longer requested makes room in a stripe");

  cache_blocks (pool, 16, 1);
  g_assert_cmpuint (get_cached (pool), ==, 16);

  /* Fewer would be enough, but a size that comes only once must not evict the others. */
  cache_blocks (pool, 1, 2);
  g_assert_cmpuint (get_cached (pool), ==, 16);
  for (guint i = 0; i < 40; i++)
    cache_blocks (pool, 1, 2);
  g_assert_cmpuint (get_cached (pool), ==, 2);
  test_assert_figures (pool, 0, 0);
}

static void
test_many_sizes (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  BufPoolAllocation *block;
  BufPoolAllocation *again;

  g_test_summary ("Among many sizes that come once, a recurring size finds its place");

  for (guint i = 1; i <= 12; i++)
    cache_blocks (pool, 1, i);
  for (guint i = 0; i < 100; i++)
    cache_blocks (pool, 1, 20);

  block = test_allocate (pool, 20);
  buf_pool_allocation_unref (block);
  again = test_allocate (pool, 20);
  g_assert_true (again == block);
  buf_pool_allocation_unref (again);
}

static void
test_depot (void)
{
  g_autoptr (BufPool) pool = new_pool (4 << 20);
  BufDepot *depot = &get_memory (pool)->control.depot;
  g_autoptr (BufPoolStats) stats = NULL;

  g_test_summary ("Full magazines move to the depot, and return from it");

  if (get_memory (pool)->control.n_stripes == 1)
    {
      g_test_skip ("A single stripe has no depot");
      return;
    }

  cache_blocks (pool, 10 * BUF_CACHE_ROUNDS, 1);
  g_assert_cmpuint (get_cached (pool), ==, 10 * BUF_CACHE_ROUNDS);
  g_assert_cmpint (depot->n_blocks, ==, 9 * BUF_CACHE_ROUNDS);

  cache_blocks (pool, 10 * BUF_CACHE_ROUNDS, 1);
  stats = buf_pool_get_stats (pool);
  g_assert_cmpuint (stats->n_hits, ==, 10 * BUF_CACHE_ROUNDS);
  g_assert_cmpuint (get_cached (pool), ==, 10 * BUF_CACHE_ROUNDS);
}

static void
test_depot_sizes (void)
{
  g_autoptr (BufPool) pool = new_pool (2 << 20);
  BufDepot *depot = &get_memory (pool)->control.depot;

  g_test_summary ("Sizes that are no longer requested make room in the depot");

  if (get_memory (pool)->control.n_stripes == 1)
    {
      g_test_skip ("A single stripe has no depot");
      return;
    }

  for (guint i = 1; i <= 20; i++)
    for (guint j = 0; j < 3; j++)
      {
        cache_blocks (pool, 100, i);
        g_assert_cmpint (depot->bytes, <=, depot->max_bytes);
        g_assert_cmpuint (get_cached (pool), <=, (2 << 20) / BUFFER_SIZE);
        test_assert_figures (pool, 0, 0);
      }
  g_assert_cmpuint (depot->sizes[0].n_buffers, ==, 20);
}

/* Larger than a share, but not larger than the depot. */
static void
test_large_blocks (void)
{
  g_autoptr (BufPool) pool = new_pool (4 << 20);
  BufPoolAllocation *block;

  g_test_summary ("A block that no stripe has room for is cached in the depot");

  if (get_memory (pool)->control.n_stripes == 1)
    {
      g_test_skip ("A single stripe has no depot");
      return;
    }

  block = test_allocate (pool, 2000);
  buf_pool_allocation_unref (block);
  g_assert_cmpuint (get_cached (pool), ==, 2000);
  g_assert_true (block == test_allocate (pool, 2000));
  g_assert_cmpuint (get_cached (pool), ==, 0);
  buf_pool_allocation_unref (block);
}

#define MEBIBYTE (1024 * 1024)

/* Returns how many of @n_blocks blocks the pool caches. */
static gsize
count_kept (BufPool *pool, guint n_blocks, gsize n_buffers)
{
  cache_blocks (pool, n_blocks, n_buffers);
  return buf_pool_get_cached_memory (pool) / (n_buffers * buf_pool_get_buffer_size (pool));
}

/* The blocks are not written to. */
static void
test_one_larger_block (void)
{
  const gsize buffer_sizes[] = { MEBIBYTE, 40 * MEBIBYTE };

  g_test_summary ("One block that exceeds the default cache limit is cached, within an eighth of "
                  "the maximum");

  for (guint i = 0; i < G_N_ELEMENTS (buffer_sizes); i++)
    {
      gsize n = 40 * MEBIBYTE / buffer_sizes[i];
      g_autoptr (BufPool) pool = test_pool_new (buffer_sizes[i], 25 * n);
      BufPoolAllocation *block = test_allocate (pool, n);

      buf_pool_allocation_unref (block);
      g_assert_true (block == test_allocate (pool, n));
      buf_pool_allocation_unref (block);
      g_assert_cmpuint (count_kept (pool, 3, n), ==, 1);
      g_assert_cmpuint (buf_pool_trim (pool, 0), ==, 40 * MEBIBYTE);
      g_assert_cmpuint (count_kept (pool, 1, 4 * n), ==, 0);
      test_assert_figures (pool, 0, 0);

      buf_pool_set_max_cached_memory (pool, 16 * MEBIBYTE);
      g_assert_cmpuint (count_kept (pool, 1, n), ==, 0);
    }
}

static void
test_larger_block_that_goes (void)
{
  g_autoptr (BufPool) pool = test_pool_new (MEBIBYTE, 1000);

  g_test_summary ("A larger block makes room when other blocks are requested repeatedly");

  g_assert_cmpuint (count_kept (pool, 1, 40), ==, 1);
  for (guint i = 0; i < 40; i++)
    cache_blocks (pool, 1, 50);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 50 * MEBIBYTE);
  for (guint i = 0; i < 40; i++)
    cache_blocks (pool, 20, 1);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), <=, 16 * MEBIBYTE);
  test_assert_figures (pool, 0, 0);
}

static void
test_negative_limits (void)
{
  const gint64 limits[] = { -1, -2, -5000000000, G_MININT64 };

  g_test_summary ("With any negative limit the pool chooses, also as a property");

  for (guint i = 0; i < G_N_ELEMENTS (limits); i++)
    {
      g_autoptr (BufPool) pool = g_object_new (BUF_TYPE_POOL, "max-cached-memory", limits[i], NULL);

      g_assert_cmpint (buf_pool_get_max_cached_memory (pool), ==, -1);
      buf_pool_set_max_cached_memory (pool, 0);
      g_object_set (pool, "max-cached-memory", limits[i], NULL);
      g_assert_cmpint (buf_pool_get_max_cached_memory (pool), ==, -1);
    }
}

static void
test_limit (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, N_BUFFERS);
  gint64 limit;

  g_test_summary ("The pool never caches more than the limit, and nothing if the limit is 0");

  g_assert_cmpint (buf_pool_get_max_cached_memory (pool), ==, -1);
  for (guint i = 0; i <= 12; i++)
    {
      limit = (gint64) BUFFER_SIZE * i * i * i;
      buf_pool_set_max_cached_memory (pool, limit);
      g_assert_cmpint (buf_pool_get_max_cached_memory (pool), ==, limit);
      g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 0);

      cache_blocks (pool, 3000, 1);
      g_assert_cmpuint (buf_pool_get_cached_memory (pool), <=, limit);
      g_assert_cmpuint (get_cached (pool), >=, i * i * i / 4);
      cache_blocks (pool, 1000, 2);
      g_assert_cmpuint (buf_pool_get_cached_memory (pool), <=, limit);
      test_assert_figures (pool, 0, 0);
    }
}

static void
on_notify (GObject *object, GParamSpec *pspec, gpointer user_data)
{
  guint *n = user_data;

  (*n)++;
}

static void
test_properties (void)
{
  g_autoptr (BufPool) pool = g_object_new (BUF_TYPE_POOL,
                                           "buffer-size",
                                           (guint64) 16,
                                           "max-cached-memory",
                                           (gint64) 0,
                                           NULL);
  guint n_notified = 0;
  gint64 limit;
  guint64 cached;

  g_test_summary ("The limit is a property that notifies when it changes");

  g_signal_connect (pool, "notify::max-cached-memory", G_CALLBACK (on_notify), &n_notified);
  cache_blocks (pool, 1, 1);
  g_object_get (pool, "max-cached-memory", &limit, "cached-memory", &cached, NULL);
  g_assert_cmpint (limit, ==, 0);
  g_assert_cmpuint (cached, ==, 0);

  g_object_set (pool, "max-cached-memory", (gint64) 0, NULL);
  g_assert_cmpuint (n_notified, ==, 0);
  g_object_set (pool, "max-cached-memory", (gint64) -1, NULL);
  g_assert_cmpuint (n_notified, ==, 1);
  cache_blocks (pool, 1, 1);
  g_object_get (pool, "max-cached-memory", &limit, "cached-memory", &cached, NULL);
  g_assert_cmpint (limit, ==, -1);
  g_assert_cmpuint (cached, ==, 16);
}

/* Whether the pool caches this many buffers in one block. */
static gboolean
keeps_block_of (BufPool *pool, gsize n_buffers)
{
  gboolean keeps;

  buf_pool_trim (pool, 0);
  cache_blocks (pool, 1, n_buffers);
  keeps = get_cached (pool) == n_buffers;
  buf_pool_trim (pool, 0);
  return keeps;
}

/* After a change, the pool caches nothing until it has been calm. */
static void
calm_down (BufPool *pool)
{
  for (guint i = 0; i < 100; i++)
    buf_pool_allocation_unref (test_allocate (pool, 1));
}

static void
test_automatic_limit (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, 800);

  g_test_summary ("The automatic limit follows the maximum");

  use_one_stripe (pool);
  buf_pool_set_max_memory (pool, 80 * BUFFER_SIZE);
  calm_down (pool);
  g_assert_true (keeps_block_of (pool, 10));
  g_assert_false (keeps_block_of (pool, 11));

  buf_pool_set_max_memory (pool, 800 * BUFFER_SIZE);
  calm_down (pool);
  g_assert_true (keeps_block_of (pool, 100));
  g_assert_false (keeps_block_of (pool, 101));

  buf_pool_set_max_memory (pool, 7 * BUFFER_SIZE);
  calm_down (pool);
  g_assert_false (keeps_block_of (pool, 1));
}

static void
test_eviction (void)
{
  g_autoptr (BufPool) pool = new_pool (N_BUFFERS * BUFFER_SIZE);
  g_autoptr (BufPoolAllocation) small = test_allocate (pool, 1);
  guint most = (N_BUFFERS - 1) / 7;

  g_test_summary ("A try gets all memory that is not in use, no matter what the pool caches");

  for (guint i = 1; i <= 7; i++)
    {
      cache_blocks (pool, most / 2, i);
      g_assert_cmpuint (get_cached (pool), >, 0);
      buf_pool_allocation_unref (test_allocate (pool, N_BUFFERS - 1));
      test_assert_figures (pool, 1, 1);
      g_assert_cmpuint (get_cached (pool), <, N_BUFFERS);
    }
}

static void
test_eviction_is_not_for_nothing (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  g_autoptr (BufPoolAllocation) half = test_allocate (pool, N_BUFFERS / 2);
  g_autoptr (GError) error = NULL;
  gsize cached;

  g_test_summary ("A try that is refused anyway frees nothing");

  cache_blocks (pool, 10, 1);
  cached = get_cached (pool);
  g_assert_cmpuint (cached, ==, 10);
  g_assert_null (buf_pool_try_allocate (pool, N_BUFFERS / 2 + 1, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
  g_assert_cmpuint (get_cached (pool), ==, cached);
}

static void
test_trim (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  g_autoptr (BufPool) other = new_pool (-1);
  gsize freed;

  g_test_summary ("Trimming frees cached blocks down to the given size, in one pool or in all");

  cache_blocks (pool, 100, 1);
  g_assert_cmpuint (get_cached (pool), ==, 100);
  g_assert_cmpuint (buf_pool_trim (pool, G_MAXSIZE), ==, 0);
  freed = buf_pool_trim (pool, 60 * BUFFER_SIZE + 1);
  g_assert_cmpuint (freed, ==, 40 * BUFFER_SIZE);
  g_assert_cmpuint (get_cached (pool), ==, 60);
  test_assert_figures (pool, 0, 0);

  cache_blocks (other, 5, 1);
  g_assert_cmpuint (buf_pool_trim_all (), ==, 65 * BUFFER_SIZE);
  g_assert_cmpuint (get_cached (pool) + get_cached (other), ==, 0);
  buf_pool_close (other);
  g_assert_cmpuint (buf_pool_trim_all (), ==, 0);
}

static void
test_drain_and_close (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *last = test_allocate (pool, 1);

  g_test_summary ("Cached blocks are not outstanding for a drain; a closed pool caches nothing");

  cache_blocks (pool, 100, 1);
  g_assert_false (buf_pool_drain_timeout (pool, 0, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_clear_error (&error);
  buf_pool_allocation_unref (last);
  g_assert_true (buf_pool_drain_timeout (pool, 0, NULL, NULL));

  calm_down (pool);
  cache_blocks (pool, 100, 1);
  g_assert_cmpuint (get_cached (pool), ==, 100);
  last = test_allocate (pool, 1);
  buf_pool_close (pool);
  g_assert_cmpuint (get_cached (pool), ==, 0);
  g_assert_null (buf_pool_try_allocate (pool, 1, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
  buf_pool_allocation_unref (last);
  g_assert_cmpuint (get_cached (pool), ==, 0);
  g_assert_true (buf_pool_drain_timeout (pool, 0, NULL, NULL));
}

static void
test_zero_fill (void)
{
  const guint alignments[] = { 0, 1024 };
  static const guint8 zeros[2 * BUFFER_SIZE];

  g_test_summary ("Zeroed and aligned blocks are cached, and are zero and aligned again");

  for (guint i = 0; i < G_N_ELEMENTS (alignments); i++)
    {
      g_autoptr (BufPool) pool = g_object_new (BUF_TYPE_POOL,
                                               "buffer-size",
                                               (guint64) BUFFER_SIZE,
                                               "alignment",
                                               alignments[i],
                                               "zero-fill",
                                               TRUE,
                                               NULL);
      BufPoolAllocation *block = test_allocate (pool, 2);
      BufPoolAllocation *again;

      memset (buf_pool_allocation_get_first (block), 0xff, sizeof zeros);
      buf_pool_allocation_unref (block);
      g_assert_cmpuint (get_cached (pool), ==, 2);
      again = test_allocate (pool, 2);
      g_assert_true (again == block);
      g_assert_cmpmem (buf_pool_allocation_get_first (again),
                       buf_pool_allocation_get_allocated_bytes (again),
                       zeros,
                       sizeof zeros);
      g_assert_true (alignments[i] == 0 ||
                     (guintptr) buf_pool_allocation_get_first (again) % alignments[i] == 0);
      buf_pool_allocation_unref (again);

      /* The same from a magazine that is not the first one. */
      cache_blocks (pool, 1, 1);
      cache_blocks (pool, 1, 1);
      again = test_allocate (pool, 2);
      g_assert_true (again == block);
      g_assert_cmpint (*(guint8 *) buf_pool_allocation_get_first (again), ==, 0);
      buf_pool_allocation_unref (again);
      g_assert_cmpuint (buf_pool_trim (pool, 0), ==, 3 * BUFFER_SIZE);
    }
}

/* Sections in which nothing has to wait, until the cache is open. */
static void
wait_for_calm (BufPool *pool)
{
  for (guint i = 0; get_memory (pool)->semaphore.level.revoked; i++)
    {
      g_assert_cmpuint (i, <, 1000);
      buf_pool_allocation_unref (test_allocate (pool, 1));
    }
}

static void
test_idle_in_one_stripe (void)
{
  g_autoptr (BufPool) pool = new_pool (-1);
  const guint n_blocks = BUF_CACHE_ROUNDS + 8;
  g_autoptr (GPtrArray) blocks =
      g_ptr_array_new_with_free_func ((GDestroyNotify) buf_pool_allocation_unref);
  BufPoolAllocation *others;
  TestRequester *requester;

  g_test_summary ("A single stripe takes only as many idle blocks as its magazine has room for");

  use_one_stripe (pool);
  others = test_allocate (pool, N_BUFFERS - n_blocks * 4);
  for (guint i = 0; i < n_blocks; i++)
    g_ptr_array_add (blocks, test_allocate (pool, 4));
  requester = test_requester_start (pool, 1);
  test_wait_for_waiting (pool, 1);
  buf_pool_allocation_unref (others);
  test_requester_end_served (requester);
  g_ptr_array_set_size (blocks, 0);
  g_assert_cmpint (get_memory (pool)->semaphore.level.idle, ==, n_blocks * 4 * BUFFER_SIZE);

  /* The last block of one buffer may be cached as well. */
  wait_for_calm (pool);
  g_assert_cmpint (get_memory (pool)->semaphore.level.idle, ==, 0);
  g_assert_cmpint (get_memory (pool)->cache.stripes[0].bytes / (4 * BUFFER_SIZE),
                   ==,
                   BUF_CACHE_ROUNDS);
  g_assert_cmpuint (get_cached (pool) / 4, ==, n_blocks);
  g_assert_cmpuint (buf_pool_trim (pool, 0) / (4 * BUFFER_SIZE), ==, n_blocks);
  g_assert_cmpuint (get_cached (pool), ==, 0);
}

static void
test_debug_keys (void)
{
  const gchar *keys[] = { "leaks", "fill", "guard" };
  guint i = g_test_subprocess () ? 0 : G_N_ELEMENTS (keys);

  g_test_summary ("With keys that check freed memory, nothing is cached");

  if (i > 0)
    {
      for (i = 0; i < G_N_ELEMENTS (keys); i++)
        test_run_with (keys[i], NULL, NULL);
      return;
    }
  if (test_run_with ("", NULL, NULL))
    {
      g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, N_BUFFERS);

      /* Of a new pool, even before the first grant on a live path. */
      buf_pool_set_max_memory (pool, (N_BUFFERS - 1) * BUFFER_SIZE);
      cache_blocks (pool, 1, 4);
      cache_blocks (pool, 3, 1);
      g_assert_cmpuint (get_cached (pool), ==, 0);
    }
}

static void
test_use_after_free (void)
{
  g_test_summary ("AddressSanitizer detects accesses to a cached block");

#ifdef BUF_HAVE_ADDRESS_SANITIZER
  if (g_test_subprocess ())
    {
      g_autoptr (BufPool) pool = new_pool (-1);
      BufPoolAllocation *block = test_allocate (pool, 1);
      volatile guint8 *data = buf_pool_allocation_get_first (block);

      data[0] = 1;
      buf_pool_allocation_unref (block);
      g_assert_cmpuint (get_cached (pool), ==, 1);
      data[0] = 2;
      return;
    }
  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr ("*use-after-poison*");
#else
  g_test_skip ("Only with AddressSanitizer");
#endif
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/cache/hit", test_hit);
  g_test_add_func ("/cache/kinds", test_kinds);
  g_test_add_func ("/cache/task", test_task);
  g_test_add_func ("/cache/pinned", test_pinned);
  g_test_add_func ("/cache/pinned-task", test_pinned_task);
  g_test_add_func ("/cache/end-with-pinned", test_end_with_pinned);
  g_test_add_func ("/cache/held", test_held);
  g_test_add_func ("/cache/sizes", test_sizes);
  g_test_add_func ("/cache/size-that-goes", test_size_that_goes);
  g_test_add_func ("/cache/many-sizes", test_many_sizes);
  g_test_add_func ("/cache/depot", test_depot);
  g_test_add_func ("/cache/depot-sizes", test_depot_sizes);
  g_test_add_func ("/cache/large-blocks", test_large_blocks);
  g_test_add_func ("/cache/one-larger-block", test_one_larger_block);
  g_test_add_func ("/cache/larger-block-that-goes", test_larger_block_that_goes);
  g_test_add_func ("/cache/limit", test_limit);
  g_test_add_func ("/cache/negative-limits", test_negative_limits);
  g_test_add_func ("/cache/properties", test_properties);
  g_test_add_func ("/cache/automatic-limit", test_automatic_limit);
  g_test_add_func ("/cache/eviction", test_eviction);
  g_test_add_func ("/cache/eviction-is-not-for-nothing", test_eviction_is_not_for_nothing);
  g_test_add_func ("/cache/trim", test_trim);
  g_test_add_func ("/cache/drain-and-close", test_drain_and_close);
  g_test_add_func ("/cache/zero-fill", test_zero_fill);
  g_test_add_func ("/cache/idle-in-one-stripe", test_idle_in_one_stripe);
  g_test_add_func ("/cache/debug-keys", test_debug_keys);
  g_test_add_func ("/cache/use-after-free", test_use_after_free);

  return g_test_run ();
}
