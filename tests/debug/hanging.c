/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A program that hangs, for debuggers to examine: a thread waits for memory that main() holds, and
 * main() waits for a leaked allocation. Another pool is gone, but still has a pinned allocation.
 * The program ends only when it is killed. */

#include <bufpool/bufpool.h>

static G_GNUC_NO_INLINE BufPoolAllocation *
take_everything (BufPool *pool)
{
  return buf_pool_allocate (pool, 4, NULL, NULL);
}

static G_GNUC_NO_INLINE void
leak (BufPool *pool)
{
  G_GNUC_UNUSED BufPoolAllocation *forgotten = buf_pool_allocate (pool, 2, NULL, NULL);
}

static BufPoolAllocation *
outlive_the_pool (void)
{
  g_autoptr (BufPool) pool = buf_pool_new (32, 1024, NULL);

  return buf_pool_allocate_pinned (pool, 2, NULL, NULL);
}

static gpointer
ask_for_more (gpointer pool)
{
  buf_pool_allocation_unref (buf_pool_allocate (pool, 3, NULL, NULL));
  return NULL;
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  buf_pool_allocation_unref (buf_pool_allocate_finish (BUF_POOL (pool), result, NULL));
}

static gpointer
allocate_and_free (gpointer pool)
{
  buf_pool_allocation_unref (buf_pool_allocate (pool, 1, NULL, NULL));
  return NULL;
}

static void
wait_for_waiting (BufPool *pool, gsize n_waiting)
{
  while (buf_pool_get_waiting (pool) < n_waiting)
    g_usleep (1000);
}

/* Of two blocks, one is in use. The other one is idle, because a request has waited for it. */
static BufPool *
new_pool_with_idle_block (void)
{
  BufPool *pool = buf_pool_new (4096, 8192, NULL);
  G_GNUC_UNUSED BufPoolAllocation *other;
  BufPoolAllocation *block;
  GThread *thread;

  buf_pool_set_max_cached_memory (pool, 8192);
  block = buf_pool_allocate (pool, 1, NULL, NULL);
  other = buf_pool_allocate (pool, 1, NULL, NULL);
  thread = g_thread_new ("waiter", allocate_and_free, pool);
  wait_for_waiting (pool, 1);
  buf_pool_allocation_unref (block);
  g_thread_join (thread);
  return pool;
}

int
main (void)
{
  g_autoptr (BufPool) pictures = g_object_new (BUF_TYPE_POOL,
                                               "name",
                                               "pictures",
                                               "buffer-size",
                                               (guint64) 16,
                                               "max-memory",
                                               (guint64) 64,
                                               NULL);
  g_autoptr (BufPoolAllocation) everything G_GNUC_UNUSED = take_everything (pictures);
  g_autoptr (GThread) thread G_GNUC_UNUSED = g_thread_new ("reader", ask_for_more, pictures);
  g_autoptr (BufPoolAllocation) pinned G_GNUC_UNUSED = outlive_the_pool ();

  g_autoptr (BufBudget) total =
      g_object_new (BUF_TYPE_BUDGET, "name", "total", "max-memory", (guint64) 1000, NULL);
  g_autoptr (BufBudget) part = buf_budget_new_child (total, 500);
  g_autoptr (BufPool) frames = buf_pool_new_with_budget (100, part, NULL);
  g_autoptr (BufPoolAllocation) frame G_GNUC_UNUSED = buf_pool_allocate (frames, 3, NULL, NULL);
  g_autoptr (BufPermit) permit G_GNUC_UNUSED = buf_budget_acquire (total, 50, NULL, NULL);

  BufPool *saturated G_GNUC_UNUSED = new_pool_with_idle_block ();
  BufPool *leaky = buf_pool_new (4096, 1024 * 1024, NULL);

  wait_for_waiting (pictures, 1);
  buf_pool_allocate_async (pictures, 1, G_PRIORITY_DEFAULT, NULL, on_allocated, NULL);
  wait_for_waiting (pictures, 2);
  leak (leaky);
  g_object_unref (leaky);
  return 0;
}
