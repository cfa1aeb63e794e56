/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The program that test-tracing.py watches: it does everything that can be traced once, always in
 * the same order. */

#include <bufpool/bufpool.h>

typedef struct
{
  BufPool *pool;
  BufPoolAllocation *allocation;
} Later;

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  BufPoolAllocation **allocation = user_data;

  *allocation = buf_pool_allocate_finish (BUF_POOL (pool), result, NULL);
}

static gpointer
drop_later (gpointer data)
{
  Later *later = data;

  while (buf_pool_get_waiting (later->pool) == 0)
    g_usleep (1000);
  g_usleep (20000);
  buf_pool_allocation_unref (later->allocation);
  return NULL;
}

static gpointer
new_pool (gpointer name)
{
  return g_object_new (BUF_TYPE_POOL,
                       "name",
                       name,
                       "buffer-size",
                       (guint64) 16,
                       "max-memory",
                       (guint64) 64,
                       NULL);
}

int
main (void)
{
  /* In a separate thread, for which Sysprof has another collector. */
  BufPool *other = g_thread_join (g_thread_new ("other", new_pool, (gpointer) "music"));
  BufPool *pool = new_pool ((gpointer) "pictures");
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *first = buf_pool_allocate (pool, 4, NULL, NULL);
  BufPoolAllocation *second = NULL;
  Later later;
  GThread *thread;

  /* A task waits, and is granted. */
  buf_pool_allocate_async (pool, 3, G_PRIORITY_DEFAULT, NULL, on_allocated, &second);
  buf_pool_allocation_unref (first);
  while (second == NULL)
    g_main_context_iteration (NULL, TRUE);

  /* A thread waits until a timeout; then another wait is granted. */
  first = buf_pool_allocate_timeout (pool, 4, 1000, NULL, &error);
  g_assert_null (first);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  later = (Later){ pool, second };
  thread = g_thread_new ("drop", drop_later, &later);
  first = buf_pool_allocate (pool, 2, NULL, NULL);
  buf_pool_allocation_unref (first);
  g_thread_join (thread);

  /* Cached blocks are freed. */
  buf_pool_set_max_cached_memory (other, 64);
  buf_pool_allocation_unref (buf_pool_allocate (other, 1, NULL, NULL));
  buf_pool_trim (other, 0);
  buf_pool_allocation_unref (buf_pool_allocate (other, 1, NULL, NULL));
  buf_pool_drain (other, NULL, NULL);

  buf_pool_drain (pool, NULL, NULL);
  g_object_unref (pool);
  g_object_unref (other);
  return 0;
}
