/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The references of the library must never make a consumer wait for its own allocation. Here, a
 * consumer has a plain allocation and no reference on the pool, which outlives its plain
 * allocations. The consumer is the thread of the test; the owner of the pool is another thread. */

#include <sys/socket.h>
#include <unistd.h>

#include <gio/gunixinputstream.h>

#include "testing.h"

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
                                              test_keep_result,
                                              &transfer->result);
  test_iterate_all ();
  g_assert_null (transfer->result);
}

static void
end_transfer (Transfer *transfer)
{
  g_assert_cmpint (write (transfer->socket, "12345678", 8), ==, 8);
  close (transfer->socket);
  test_iterate_until (&transfer->result);
  g_clear_object (&transfer->result);
  test_iterate_all ();
}

static void
test_transfer (void)
{
  BufPool *pool = test_pool_new (8, 4);
  BufPoolAllocation *allocation = test_allocate (pool, 1);
  Transfer transfer;
  TestOwner owner;

  g_test_summary ("The owner waits for an allocation that is being filled, and the consumer does "
                  "not");

  start_transfer (&transfer, allocation);
  test_owner_start_waiting (&owner, pool);
  end_transfer (&transfer);
  test_owner_assert_waits (&owner);
  g_assert_cmpmem (buf_pool_allocation_get_first (allocation), 8, "12345678", 8);
  buf_pool_allocation_unref (allocation);
  test_owner_end (&owner);
  test_wait_for_the_end ();
}

static void
test_transfer_alone (void)
{
  BufPool *pool = test_pool_new (8, 4);
  BufPoolAllocation *allocation = test_allocate (pool, 1);
  Transfer transfers[3];
  TestOwner owner;

  g_test_summary ("The owner does not wait for allocations that only transfers hold; the last "
                  "transfer frees them");

  for (guint i = 0; i < G_N_ELEMENTS (transfers); i++)
    start_transfer (&transfers[i], allocation);
  test_owner_start_waiting (&owner, pool);
  end_transfer (&transfers[0]);
  test_owner_assert_waits (&owner);
  buf_pool_allocation_unref (allocation);
  test_owner_end (&owner);
  g_assert_cmpuint (test_count_memories (), ==, 1);
  end_transfer (&transfers[2]);
  g_assert_cmpuint (test_count_memories (), ==, 1);
  end_transfer (&transfers[1]);
  test_wait_for_the_end ();
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

  g_test_summary ("GLib drops the source object of a task before its data, which the library "
                  "relies on");

  order = g_string_new (NULL);
  g_object_weak_ref (source, note_source, NULL);
  g_task_set_task_data (task, (gpointer) "data", note);
  g_task_return_pointer (task, NULL, NULL);
  g_object_unref (source);
  test_iterate_all ();
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

  g_test_summary ("The task of a granted request has the last reference on the pool");

  buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, test_keep_result, &result);
  test_owner_run (pool);
  test_iterate_until (&result);
  second = fetch (pool, result);
  g_object_unref (result);
  test_assert_still_there (pool);
  buf_pool_allocation_unref (first);
  test_assert_still_there (pool);
  buf_pool_allocation_unref (second);
  test_wait_for_the_end ();
}

static void
test_request_failed (void)
{
  g_test_summary ("The task of a failed request has it, too, whether it was cancelled or the pool "
                  "is closed");

  for (guint i = 0; i < 2; i++)
    {
      BufPool *pool = test_pool_new (16, 1);
      BufPoolAllocation *allocation = test_allocate (pool, 1);
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (GError) error = NULL;
      GAsyncResult *result = NULL;

      buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, cancellable, test_keep_result, &result);
      test_owner_run (pool);
      if (i == 0)
        g_cancellable_cancel (cancellable);
      else
        buf_pool_close (pool);
      test_iterate_until (&result);
      g_assert_null (buf_pool_allocate_finish (pool, result, &error));
      g_object_unref (result);
      test_assert_still_there (pool);
      buf_pool_allocation_unref (allocation);
      test_wait_for_the_end ();
    }
}

static void
test_drain (void)
{
  BufPool *pool = test_pool_new (16, 1);
  BufPoolAllocation *allocation = test_allocate (pool, 1);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  GAsyncResult *result = NULL;

  g_test_summary ("The task of a drain has it, too");

  buf_pool_drain_async (pool, G_PRIORITY_DEFAULT, cancellable, test_keep_result, &result);
  test_owner_run (pool);
  g_cancellable_cancel (cancellable);
  test_iterate_until (&result);
  g_object_unref (result);
  test_assert_still_there (pool);
  buf_pool_allocation_unref (allocation);
  test_wait_for_the_end ();
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

      buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, test_keep_result, &result);
      test_iterate_until (&result);
      if (fetched)
        buf_pool_allocation_unref (fetch (pool, result));
      test_owner_run (pool);
      g_assert_false (buf_pool_is_closed (pool));
      g_object_unref (result);
      test_assert_still_there (pool);
      buf_pool_allocation_unref (allocation);
      test_wait_for_the_end ();
    }
}

static void
test_unfetched (void)
{
  BufPool *pool = test_pool_new (16, 2);
  GAsyncResult *result = NULL;

  g_test_summary (
      "A pool that only a result keeps alive, with an allocation that was not fetched, ends with "
      "it immediately");

  buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, test_keep_result, &result);
  test_owner_run (pool);
  test_iterate_until (&result);
  g_assert_cmpuint (test_count_memories (), ==, 1);
  g_object_unref (result);
  g_assert_cmpuint (test_count_memories (), ==, 0);
}

static void
test_pinned (void)
{
  g_test_summary ("A consumer drops a pinned allocation before or after its plain one");

  for (guint first = 0; first < 2; first++)
    {
      BufPool *pool = test_pool_new (16, 2);
      BufPoolAllocation *plain = test_allocate (pool, 1);
      BufPoolAllocation *pinned = buf_pool_try_allocate_pinned (pool, 1, NULL);
      TestOwner owner;

      test_owner_start_waiting (&owner, pool);
      if (first)
        {
          buf_pool_allocation_unref (pinned);
          test_owner_assert_waits (&owner);
        }
      buf_pool_allocation_unref (plain);
      test_owner_end (&owner);
      if (!first)
        {
          g_assert_cmpuint (test_count_memories (), ==, 1);
          buf_pool_allocation_unref (pinned);
        }
      test_wait_for_the_end ();
    }
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
  return g_test_run ();
}
