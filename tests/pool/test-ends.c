/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the library keeps must never make a consumer wait for its own allocation. A consumer, here,
 * has a plain allocation and no reference on the pool, which outlives its plain allocations. It is
 * the thread of the test; the owner of the pool is another one. */

#include <sys/socket.h>
#include <unistd.h>

#include <gio/gunixinputstream.h>

#include <string.h>

#include "testing.h"

/* The owner drops its reference in a thread of its own, and perhaps waits there. */
typedef struct
{
  BufPool *pool;
  gint done; /* atomic */
  GThread *thread;
} Owner;

static gpointer
drop_pool (gpointer data)
{
  Owner *owner = data;

  g_object_unref (owner->pool);
  g_atomic_int_set (&owner->done, TRUE);
  return NULL;
}

static void
start_owner (Owner *owner, BufPool *pool)
{
  *owner = (Owner){ .pool = pool };
  owner->thread = g_thread_new ("owner", drop_pool, owner);
}

/* Its reference is the last, and it waits. */
static void
start_waiting_owner (Owner *owner, BufPool *pool)
{
  start_owner (owner, pool);
  test_wait_until (test_get_n_drainers (pool) == 1);
}

static void
assert_waits (Owner *owner)
{
  g_assert_cmpuint (test_get_n_drainers (owner->pool), ==, 1);
  g_assert_false (g_atomic_int_get (&owner->done));
}

static void
end_owner (Owner *owner)
{
  g_thread_join (owner->thread);
}

/* Its reference is not the last. */
static void
run_owner (BufPool *pool)
{
  Owner owner;

  start_owner (&owner, pool);
  end_owner (&owner);
}

/* The pool has been disposed of, but a plain allocation keeps it. */
static void
assert_still_there (BufPool *pool)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (buf_pool_allocate (pool, 1, NULL, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
}

/* The pool may be ending in another thread. */
static void
wait_for_the_end (void)
{
  test_wait_until (test_count_memories () == 0);
}

static void
iterate_all (void)
{
  while (g_main_context_iteration (NULL, FALSE))
    continue;
}

static void
keep_result (GObject *source, GAsyncResult *result, gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

static void
iterate_until (GAsyncResult **result)
{
  while (*result == NULL)
    g_main_context_iteration (NULL, TRUE);
  iterate_all ();
}

static BufPoolAllocation *
fetch (BufPool *pool, GAsyncResult *result)
{
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation = buf_pool_allocate_finish (pool, result, &error);

  g_assert_no_error (error);
  return allocation;
}

/* A transfer into an allocation that ends when the test says so. */
typedef struct
{
  int socket;
  GAsyncResult *result;
} Transfer;

static void
start_transfer (Transfer *transfer, BufPoolAllocation *allocation)
{
  g_autoptr (GInputStream) stream = NULL;
  int sockets[2];

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, sockets), ==, 0);
  stream = g_unix_input_stream_new (sockets[0], TRUE);
  *transfer = (Transfer){ .socket = sockets[1] };
  buf_pool_allocation_fill_from_stream_async (allocation,
                                              stream,
                                              0,
                                              8,
                                              G_PRIORITY_DEFAULT,
                                              NULL,
                                              keep_result,
                                              &transfer->result);
  iterate_all ();
  g_assert_null (transfer->result);
}

static void
end_transfer (Transfer *transfer)
{
  g_assert_cmpint (write (transfer->socket, "12345678", 8), ==, 8);
  close (transfer->socket);
  iterate_until (&transfer->result);
  g_clear_object (&transfer->result);
  iterate_all ();
}

static void
test_transfer (void)
{
  BufPool *pool = test_pool_new (8, 4);
  BufPoolAllocation *allocation = test_allocate (pool, 1);
  Transfer transfer;
  Owner owner;

  g_test_summary ("The owner waits for an allocation that is being filled, and not the consumer");

  start_transfer (&transfer, allocation);
  start_waiting_owner (&owner, pool);
  end_transfer (&transfer);
  assert_waits (&owner);
  g_assert_cmpmem (buf_pool_allocation_get_first (allocation), 8, "12345678", 8);
  buf_pool_allocation_unref (allocation);
  end_owner (&owner);
  g_assert_cmpuint (test_count_memories (), ==, 0);
}

static void
test_transfer_alone (void)
{
  BufPool *pool = test_pool_new (8, 4);
  BufPoolAllocation *allocation = test_allocate (pool, 1);
  Transfer transfers[3];
  Owner owner;

  g_test_summary ("The owner does not wait for what only transfers hold; the last one frees it");

  for (guint i = 0; i < G_N_ELEMENTS (transfers); i++)
    start_transfer (&transfers[i], allocation);
  start_waiting_owner (&owner, pool);
  end_transfer (&transfers[0]);
  assert_waits (&owner);
  buf_pool_allocation_unref (allocation);
  end_owner (&owner);
  g_assert_cmpuint (test_count_memories (), ==, 1);
  end_transfer (&transfers[2]);
  g_assert_cmpuint (test_count_memories (), ==, 1);
  end_transfer (&transfers[1]);
  g_assert_cmpuint (test_count_memories (), ==, 0);
}

static GString *order;

static void
note_source (gpointer data, GObject *where_the_object_was)
{
  g_string_append (order, "source ");
}

static void
note (gpointer data)
{
  g_string_append (order, data);
}

static void
test_task_order (void)
{
  GObject *source = g_object_new (G_TYPE_OBJECT, NULL);
  GTask *task = g_task_new (source, NULL, NULL, NULL);

  g_test_summary ("GLib drops the source object of a task before its data: we rely on it");

  order = g_string_new (NULL);
  g_object_weak_ref (source, note_source, NULL);
  g_task_set_task_data (task, (gpointer) "data", note);
  g_task_return_pointer (task, NULL, NULL);
  g_object_unref (source);
  iterate_all ();
  g_object_unref (task);
  g_assert_cmpstr (order->str, ==, "source data");
  g_string_free (order, TRUE);
}

static void
test_request_granted (void)
{
  BufPool *pool = test_pool_new (16, 2);
  BufPoolAllocation *first = test_allocate (pool, 1), *second;
  GAsyncResult *result = NULL;

  g_test_summary ("The task of a request that was granted has the last reference on the pool");

  buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, keep_result, &result);
  run_owner (pool);
  iterate_until (&result);
  second = fetch (pool, result);
  g_object_unref (result);
  assert_still_there (pool);
  buf_pool_allocation_unref (first);
  assert_still_there (pool);
  buf_pool_allocation_unref (second);
  wait_for_the_end ();
}

static void
test_request_failed (void)
{
  g_test_summary ("So has that of one which fails: since it is cancelled, or the pool is closed");

  for (guint i = 0; i < 2; i++)
    {
      BufPool *pool = test_pool_new (16, 1);
      BufPoolAllocation *allocation = test_allocate (pool, 1);
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (GError) error = NULL;
      GAsyncResult *result = NULL;

      buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, cancellable, keep_result, &result);
      run_owner (pool);
      if (i == 0)
        g_cancellable_cancel (cancellable);
      else
        buf_pool_close (pool);
      iterate_until (&result);
      g_assert_null (buf_pool_allocate_finish (pool, result, &error));
      g_object_unref (result);
      assert_still_there (pool);
      buf_pool_allocation_unref (allocation);
      wait_for_the_end ();
    }
}

static void
test_drain (void)
{
  BufPool *pool = test_pool_new (16, 1);
  BufPoolAllocation *allocation = test_allocate (pool, 1);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  GAsyncResult *result = NULL;

  g_test_summary ("So has that of a drain");

  buf_pool_drain_async (pool, G_PRIORITY_DEFAULT, cancellable, keep_result, &result);
  run_owner (pool);
  g_cancellable_cancel (cancellable);
  iterate_until (&result);
  g_object_unref (result);
  assert_still_there (pool);
  buf_pool_allocation_unref (allocation);
  wait_for_the_end ();
}

static void
test_kept_result (void)
{
  g_test_summary ("A result that is kept has the last reference, whether it is fetched or not");

  for (guint fetched = 0; fetched < 2; fetched++)
    {
      BufPool *pool = test_pool_new (16, 2);
      BufPoolAllocation *allocation = test_allocate (pool, 1);
      GAsyncResult *result = NULL;

      buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, keep_result, &result);
      iterate_until (&result);
      if (fetched)
        buf_pool_allocation_unref (fetch (pool, result));
      run_owner (pool);
      g_assert_false (buf_pool_is_closed (pool));
      g_object_unref (result);
      assert_still_there (pool);
      buf_pool_allocation_unref (allocation);
      wait_for_the_end ();
    }
}

static void
test_unfetched (void)
{
  BufPool *pool = test_pool_new (16, 2);
  GAsyncResult *result = NULL;

  g_test_summary (
      "A pool that only a result keeps, with an allocation that nobody has fetched, ends "
      "with it, at once");

  buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, keep_result, &result);
  run_owner (pool);
  iterate_until (&result);
  g_assert_cmpuint (test_count_memories (), ==, 1);
  g_object_unref (result);
  g_assert_cmpuint (test_count_memories (), ==, 0);
}

static void
test_pinned (void)
{
  g_test_summary ("A consumer drops a pinned allocation before its plain one, or after it");

  for (guint first = 0; first < 2; first++)
    {
      BufPool *pool = test_pool_new (16, 2);
      BufPoolAllocation *plain = test_allocate (pool, 1);
      BufPoolAllocation *pinned = buf_pool_try_allocate_pinned (pool, 1, NULL);
      Owner owner;

      start_waiting_owner (&owner, pool);
      if (first)
        {
          buf_pool_allocation_unref (pinned);
          assert_waits (&owner);
        }
      buf_pool_allocation_unref (plain);
      end_owner (&owner);
      g_assert_cmpuint (test_count_memories (), ==, first ? 0 : 1);
      if (!first)
        buf_pool_allocation_unref (pinned);
      g_assert_cmpuint (test_count_memories (), ==, 0);
    }
}

static void
on_notify (BufPool *pool, GParamSpec *pspec, gpointer user_data)
{
  run_owner (pool);
}

static void
test_notify (void)
{
  g_test_summary (
      "The owner drops its reference while a consumer is told that the pool was closed, "
      "or that its maximum has changed");

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
      assert_still_there (pool);
      buf_pool_allocation_unref (allocation);
      wait_for_the_end ();
    }
}

/* A consumer of a second pool, which drops its allocation as soon as the owner waits for it. */
typedef struct
{
  BufPool *pool;
  BufPoolAllocation *allocation;
  gint dropped; /* atomic */
} Second;

static gpointer
drop_when_awaited (gpointer data)
{
  Second *second = data;

  test_wait_until (test_get_n_drainers (second->pool) == 1);
  g_usleep (1000);
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
  Second second = { .pool = test_pool_new (16, 2) };
  GAsyncResult *result = NULL;
  GThread *thread;

  g_test_summary (
      "A task drops the last reference on a pool, and a weak notify that on another one: "
      "that is an owner, and waits");

  second.allocation = test_allocate (second.pool, 1);
  thread = g_thread_new ("second", drop_when_awaited, &second);
  g_object_weak_ref (G_OBJECT (pool), drop_second, &second);
  buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, keep_result, &result);
  iterate_until (&result);
  g_object_unref (pool);
  g_object_unref (result);
  g_thread_join (thread);
  g_assert_cmpuint (test_count_memories (), ==, 0);
}

static void
test_revived (void)
{
  g_test_summary (
      "While the owner waits, a consumer takes a reference, and drops it as soon as it is "
      "the last one: the owner does not touch the pool any more");

  for (guint round = 0; round < test_scale (3000); round++)
    {
      BufPool *pool = test_pool_new (16, 2);
      BufPoolAllocation *allocation = test_allocate (pool, 1);
      Owner owner;

      start_waiting_owner (&owner, pool);
      g_object_ref (pool);
      buf_pool_allocation_unref (allocation);
      while (g_atomic_int_get (&G_OBJECT (pool)->ref_count) > 1)
        continue;
      g_object_unref (pool);
      end_owner (&owner);
      g_assert_cmpuint (test_count_memories (), ==, 0);
    }
}

static gpointer
drain (gpointer pool)
{
  return GINT_TO_POINTER (buf_pool_drain (pool, NULL, NULL));
}

static void
test_inside (void)
{
  BufPool *pool = test_pool_new (16, 2);
  BufPoolAllocation *pinned = buf_pool_try_allocate_pinned (pool, 1, NULL);
  GThread *thread = g_thread_new ("drain", drain, pool);

  g_test_summary (
      "A thread that drains without a reference, and waits for what is pinned, outlives "
      "the pool");

  test_wait_until (test_get_n_drainers (pool) == 1);
  g_object_unref (pool);
  g_assert_cmpuint (test_count_memories (), ==, 1);
  buf_pool_allocation_unref (pinned);
  g_assert_true (g_thread_join (thread));
  g_assert_cmpuint (test_count_memories (), ==, 0);
}

/* The linker leads the calls of the library here. */
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
      "When there is no thread that could wait instead of the consumer, the pool leaks, and "
      "that is said");

  buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, keep_result, &result);
  run_owner (pool);
  iterate_until (&result);
  g_test_expect_message ("BufPool", G_LOG_LEVEL_WARNING, "*leaks*none is left*");
  has_no_threads = TRUE;
  g_object_unref (result);
  has_no_threads = FALSE;
  g_test_assert_expected_messages ();
  assert_still_there (pool);
  buf_pool_allocation_unref (allocation);
  g_assert_cmpuint (test_count_memories (), ==, 1);
  g_object_unref (pool);
  g_assert_cmpuint (test_count_memories (), ==, 0);
}

static gpointer
allocate_without_a_reference (gpointer pool)
{
  return buf_pool_allocate (pool, 1, NULL, NULL);
}

/* What the writer of logs drops when it is told of a wait. */
static BufPool *dropped_by_writer;

static GLogWriterOutput
drop_and_write (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  /* A wait in progress is logged by another thread, see test-stall.c. */
  if (strstr (test_get_log_message (fields, n_fields), "still waits, overtaken") == NULL)
    g_clear_object (&dropped_by_writer);
  return G_LOG_WRITER_HANDLED;
}

static void
test_log_writer (void)
{
  BufPool *pool;
  BufPoolAllocation *all;
  GThread *thread;

  g_test_summary (
      "The writer of logs, which is told of a wait, drops the last reference on the pool");

  if (!test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "0"))
    return;

  pool = test_pool_new (16, 1);
  all = test_allocate (pool, 1);
  dropped_by_writer = pool;
  g_log_set_writer_func (drop_and_write, NULL, NULL);
  thread = g_thread_new ("request", allocate_without_a_reference, pool);
  test_wait_for_waiting (pool, 1);
  buf_pool_close (pool);
  buf_pool_allocation_unref (all);
  g_assert_null (g_thread_join (thread));
  g_assert_null (dropped_by_writer);
  g_assert_cmpuint (test_count_memories (), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/ends/transfer", test_transfer);
  g_test_add_func ("/ends/transfer-alone", test_transfer_alone);
  g_test_add_func ("/ends/task-order", test_task_order);
  g_test_add_func ("/ends/request-granted", test_request_granted);
  g_test_add_func ("/ends/request-failed", test_request_failed);
  g_test_add_func ("/ends/drain", test_drain);
  g_test_add_func ("/ends/kept-result", test_kept_result);
  g_test_add_func ("/ends/unfetched", test_unfetched);
  g_test_add_func ("/ends/pinned", test_pinned);
  g_test_add_func ("/ends/notify", test_notify);
  g_test_add_func ("/ends/owner-in-weak-notify", test_owner_in_weak_notify);
  g_test_add_func ("/ends/revived", test_revived);
  g_test_add_func ("/ends/inside", test_inside);
  g_test_add_func ("/ends/no-thread", test_no_thread);
  g_test_add_func ("/ends/log-writer", test_log_writer);
  return g_test_run ();
}
