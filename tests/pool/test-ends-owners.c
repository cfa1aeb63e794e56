/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which thread ends a pool: the owner, which waits; a thread that the library creates so that a
 * consumer need not wait; or both at the same time. And what can happen meanwhile: notifications,
 * waits, logging. */

#include <string.h>

#include "pool/buf-pool-private.h"
#include "testing.h"

static void
on_notify (BufPool *pool, GParamSpec *pspec, gpointer user_data)
{
  test_owner_run (pool);
}

static void
test_notify (void)
{
  g_test_summary (
      "The owner drops its reference while a consumer is notified that the pool was closed, or "
      "that its maximum has changed");

  for (guint closes = 0; closes < 2; closes++)
    {
      BufPool *pool = test_pool_new (16, 2);
      BufPoolAllocation *allocation = test_allocate (pool, 1);

      if (closes)
        {
          g_signal_connect (pool, "notify::closed", G_CALLBACK (on_notify), NULL);
          buf_pool_close (pool);
        }
      else
        {
          g_signal_connect (pool, "notify::max-memory", G_CALLBACK (on_notify), NULL);
          buf_pool_set_max_memory (pool, 48);
        }
      test_assert_still_there (pool);
      buf_pool_allocation_unref (allocation);
      test_wait_for_the_end ();
    }
}

/* A consumer of a second pool, which drops its allocation as soon as the owner waits for it. */
typedef struct
{
  BufPool *pool;
  BufPoolAllocation *allocation;
  guint owner;  /* the ID of its thread */
  gint dropped; /* atomic */
} Second;

/* Returns the thread that waits until nothing is outstanding, or 0. */
static guint
get_drainer (BufPool *pool)
{
  BufSemaphore *semaphore = &pool->memory->semaphore;
  const BufWaiter *drainer;
  guint thread_id;

  g_mutex_lock (&semaphore->tree->mutex);
  drainer = g_queue_peek_head (&semaphore->level.drainers);
  thread_id = drainer != NULL ? drainer->thread_id : 0;
  g_mutex_unlock (&semaphore->tree->mutex);
  return thread_id;
}

static gpointer
drop_when_awaited (gpointer data)
{
  Second *second = data;

  test_wait_until (test_get_n_drainers (second->pool) == 1);
  g_assert_cmpuint (get_drainer (second->pool), ==, second->owner);
  g_atomic_int_set (&second->dropped, TRUE);
  buf_pool_allocation_unref (second->allocation);
  return NULL;
}

static void
drop_second (gpointer data, GObject *where_the_object_was)
{
  Second *second = data;

  g_object_unref (second->pool);
  g_assert_true (g_atomic_int_get (&second->dropped));
}

static void
test_owner_in_weak_notify (void)
{
  BufPool *pool = test_pool_new (16, 2);
  Second second = { .pool = test_pool_new (16, 2), .owner = buf_debug_get_thread_id () };
  GAsyncResult *result = NULL;
  GThread *thread;

  g_test_summary (
      "A task drops the last reference on a pool, and a weak notify the last one on another pool: "
      "that thread is an owner, and waits");

  second.allocation = test_allocate (second.pool, 1);
  thread = g_thread_new ("second", drop_when_awaited, &second);
  g_object_weak_ref (G_OBJECT (pool), drop_second, &second);
  buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, test_keep_result, &result);
  test_iterate_until (&result);
  g_object_unref (pool);
  g_object_unref (result);
  g_thread_join (thread);
  test_wait_for_the_end ();
}

static void
test_revived (void)
{
  g_test_summary (
      "While the owner waits, a consumer takes a reference, and drops it as soon as it is the last "
      "one: the owner does not access the pool anymore");

  for (guint round = 0; round < test_scale (3000); round++)
    {
      BufPool *pool = test_pool_new (16, 2);
      BufPoolAllocation *allocation = test_allocate (pool, 1);
      TestOwner owner;

      test_owner_start_waiting (&owner, pool);
      g_object_ref (pool);
      buf_pool_allocation_unref (allocation);
      while (g_atomic_int_get (&G_OBJECT (pool)->ref_count) > 1)
        continue;
      g_object_unref (pool);
      test_owner_end (&owner);
      test_wait_for_the_end ();
    }
}

static gpointer
drain (gpointer pool)
{
  return GINT_TO_POINTER (buf_pool_drain (pool, NULL, NULL));
}

static void
outlive_inside (void)
{
  BufPool *pool = test_pool_new (16, 2);
  BufPoolAllocation *pinned = buf_pool_try_allocate_pinned (pool, 1, NULL);
  GThread *thread = g_thread_new ("drain", drain, pool);

  test_wait_until (test_get_n_drainers (pool) == 1);
  g_object_unref (pool);
  g_assert_cmpuint (test_count_memories (), ==, 1);
  buf_pool_allocation_unref (pinned);
  g_assert_true (g_thread_join (thread));
  test_wait_for_the_end ();
}

static void
test_inside (void)
{
  g_test_summary (
      "A thread that drains without a reference, and waits for pinned allocations, outlives "
      "the pool");

  for (guint round = 0; round < test_scale (300); round++)
    outlive_inside ();
}

/* The linker redirects the calls of the library to this function. */
GThread *
__real_g_thread_try_new (const gchar *name, GThreadFunc func, gpointer data, GError **error);
GThread *
__wrap_g_thread_try_new (const gchar *name, GThreadFunc func, gpointer data, GError **error);

static gboolean has_no_threads;

GThread *
__wrap_g_thread_try_new (const gchar *name, GThreadFunc func, gpointer data, GError **error)
{
  if (!has_no_threads)
    return __real_g_thread_try_new (name, func, data, error);

  g_set_error_literal (error, G_THREAD_ERROR, G_THREAD_ERROR_AGAIN, "none is left");
  return NULL;
}

static void
test_no_thread (void)
{
  BufPool *pool = test_pool_new (16, 2);
  BufPoolAllocation *allocation = test_allocate (pool, 1);
  GAsyncResult *result = NULL;

  g_test_summary (
      "If no thread can be created to wait for a consumer, the pool leaks, and a message says so");

  buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, test_keep_result, &result);
  test_owner_run (pool);
  test_iterate_until (&result);
  g_test_expect_message ("BufPool", G_LOG_LEVEL_WARNING, "*leaks*none is left*");
  has_no_threads = TRUE;
  g_object_unref (result);
  has_no_threads = FALSE;
  g_test_assert_expected_messages ();
  test_assert_still_there (pool);
  buf_pool_allocation_unref (allocation);
  g_assert_cmpuint (test_count_memories (), ==, 1);
  g_object_unref (pool);
  test_wait_for_the_end ();
}

typedef struct
{
  BufPool *pool; /* not owned */
  GCancellable *cancellable;
} Request;

static gpointer
allocate_without_a_reference (gpointer data)
{
  Request *self = data;

  return buf_pool_allocate (self->pool, 1, self->cancellable, NULL);
}

/* What the log writer drops when it receives a message about a wait. */
static BufPool *dropped_by_writer; /* atomic */

static GLogWriterOutput
drop_and_write (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  BufPool *pool = g_atomic_pointer_get (&dropped_by_writer);

  /* Another thread logs a wait in progress, see test-stall.c. */
  if (pool != NULL &&
      strstr (test_get_log_message (fields, n_fields), "still waiting, overtaken") == NULL &&
      g_atomic_pointer_compare_and_exchange (&dropped_by_writer, pool, NULL))
    g_object_unref (pool);
  return G_LOG_WRITER_HANDLED;
}

/* From the cancellation on, only the log writer may use the pool. */
static void
test_log_writer (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  Request request = { NULL, cancellable };
  BufPoolAllocation *all;
  GThread *thread;

  g_test_summary (
      "The log writer, which receives a message about a wait, drops the last reference on the "
      "pool");

  if (!test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "0"))
    return;

  request.pool = test_pool_new (16, 1);
  all = test_allocate (request.pool, 1);
  g_atomic_pointer_set (&dropped_by_writer, request.pool);
  g_log_set_writer_func (drop_and_write, NULL, NULL);
  thread = g_thread_new ("request", allocate_without_a_reference, &request);
  test_wait_for_waiting (request.pool, 1);
  g_cancellable_cancel (cancellable);
  test_wait_until (g_atomic_pointer_get (&dropped_by_writer) == NULL);
  buf_pool_allocation_unref (all);
  g_assert_null (g_thread_join (thread));
  test_wait_for_the_end ();
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/ends-owners/notify", test_notify);
  g_test_add_func ("/ends-owners/in-weak-notify", test_owner_in_weak_notify);
  g_test_add_func ("/ends-owners/revived", test_revived);
  g_test_add_func ("/ends-owners/inside", test_inside);
  g_test_add_func ("/ends-owners/no-thread", test_no_thread);
  g_test_add_func ("/ends-owners/log-writer", test_log_writer);
  return g_test_run ();
}
