/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Streams into and out of an allocation. */

#include <string.h>
#include <sys/socket.h>

#include <glib/gstdio.h>

#include <gio/gunixinputstream.h>
#include <gio/gunixoutputstream.h>

#include "testing.h"

typedef struct
{
  GAsyncResult *result;
} Waiting;

static void
on_ready (GObject *object, GAsyncResult *result, gpointer user_data)
{
  Waiting *waiting = user_data;

  waiting->result = g_object_ref (result);
}

static GAsyncResult *
iterate_until_ready (Waiting *waiting)
{
  while (waiting->result == NULL)
    g_main_context_iteration (NULL, TRUE);
  return waiting->result;
}

/* Both forms of each function, so that every test covers both. */
static gboolean
fill (gboolean async,
      BufPoolAllocation *allocation,
      GInputStream *stream,
      gsize offset,
      gsize size,
      gsize *bytes_read,
      GCancellable *cancellable,
      GError **error)
{
  Waiting waiting = { NULL };
  gboolean done;

  if (!async)
    return buf_pool_allocation_fill_from_stream (allocation,
                                                 stream,
                                                 offset,
                                                 size,
                                                 bytes_read,
                                                 cancellable,
                                                 error);

  buf_pool_allocation_fill_from_stream_async (allocation,
                                              stream,
                                              offset,
                                              size,
                                              G_PRIORITY_DEFAULT,
                                              cancellable,
                                              on_ready,
                                              &waiting);
  g_assert_null (waiting.result);
  done = buf_pool_allocation_fill_from_stream_finish (allocation,
                                                      iterate_until_ready (&waiting),
                                                      bytes_read,
                                                      error);
  g_object_unref (waiting.result);
  return done;
}

static gboolean
write_out (gboolean async,
           BufPoolAllocation *allocation,
           GOutputStream *stream,
           gsize offset,
           gsize size,
           gsize *bytes_written,
           GCancellable *cancellable,
           GError **error)
{
  Waiting waiting = { NULL };
  gboolean done;

  if (!async)
    return buf_pool_allocation_write_to_stream (allocation,
                                                stream,
                                                offset,
                                                size,
                                                bytes_written,
                                                cancellable,
                                                error);

  buf_pool_allocation_write_to_stream_async (allocation,
                                             stream,
                                             offset,
                                             size,
                                             G_PRIORITY_DEFAULT,
                                             cancellable,
                                             on_ready,
                                             &waiting);
  g_assert_null (waiting.result);
  done = buf_pool_allocation_write_to_stream_finish (allocation,
                                                     iterate_until_ready (&waiting),
                                                     bytes_written,
                                                     error);
  g_object_unref (waiting.result);
  return done;
}

static void
test_to_and_fro (void)
{
  g_test_summary ("Data that is read from one stream and written to another is the same");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (8, 4);
      g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 4);
      g_autoptr (GInputStream) in =
          g_memory_input_stream_new_from_data ("The quick brown fox.", 20, NULL);
      g_autoptr (GOutputStream) out = g_memory_output_stream_new_resizable ();
      g_autoptr (GError) error = NULL;
      gsize n = 0;

      g_assert_true (fill (async, allocation, in, 5, 20, &n, NULL, &error));
      g_assert_no_error (error);
      g_assert_cmpuint (n, ==, 20);
      g_assert_true (write_out (async, allocation, out, 9, 5, &n, NULL, &error));
      g_assert_no_error (error);
      g_assert_cmpuint (n, ==, 5);
      g_assert_cmpmem (g_memory_output_stream_get_data (G_MEMORY_OUTPUT_STREAM (out)),
                       5,
                       "quick",
                       5);
      g_assert_true (write_out (async, allocation, out, 32, 0, &n, NULL, &error));
      g_assert_cmpuint (n, ==, 0);
    }
}

static void
test_short_read (void)
{
  g_test_summary ("At the end of the stream, fewer bytes than requested are read, without an "
                  "error");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (8, 4);
      g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 4);
      g_autoptr (GInputStream) in = g_memory_input_stream_new_from_data ("seven b", 7, NULL);
      g_autoptr (GError) error = NULL;
      gsize n = 99;

      g_assert_true (fill (async, allocation, in, 0, 32, &n, NULL, &error));
      g_assert_cmpuint (n, ==, 7);
      g_assert_true (fill (async, allocation, in, 0, 32, &n, NULL, &error));
      g_assert_cmpuint (n, ==, 0);
      g_assert_no_error (error);
    }
}

static void
test_out_of_range (void)
{
  g_test_summary ("A range outside the allocation fails before the stream is accessed");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (8, 4);
      g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 4);
      g_autoptr (GInputStream) in = g_memory_input_stream_new_from_data ("seven b", 7, NULL);
      g_autoptr (GOutputStream) out = g_memory_output_stream_new_resizable ();
      g_autoptr (GError) error = NULL;
      gsize n = 99;

      g_assert_false (fill (async, allocation, in, 1, 32, &n, NULL, &error));
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OUT_OF_RANGE);
      g_assert_cmpuint (n, ==, 0);
      g_clear_error (&error);
      g_assert_false (write_out (async, allocation, out, G_MAXSIZE, 2, &n, NULL, &error));
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OUT_OF_RANGE);
      g_assert_cmpint (g_seekable_tell (G_SEEKABLE (in)), ==, 0);
      g_assert_cmpint (g_seekable_tell (G_SEEKABLE (out)), ==, 0);
    }
}

static void
test_errors (void)
{
  g_test_summary (
      "Errors and cancellation are those of GIO, with the number of bytes transferred before");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (8, 4);
      g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 4);
      guint8 room[10];
      g_autoptr (GOutputStream) out = g_memory_output_stream_new (room, sizeof room, NULL, NULL);
      g_autoptr (GError) error = NULL;
      gsize n = 99;

      g_assert_false (write_out (async, allocation, out, 0, 32, &n, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
      g_assert_cmpuint (n, ==, 10);
      g_clear_error (&error);
    }
}

static BufPoolAllocation *
allocate_pinned (BufPool *pool)
{
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation = buf_pool_try_allocate_pinned (pool, 4, &error);

  g_assert_no_error (error);
  return allocation;
}

static void
test_transferred (void)
{
  g_test_summary ("A pinned allocation knows how far its last transfer came, even after an error");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      guint8 room[10];
      g_autoptr (BufPool) pool = test_pool_new (8, 4);
      g_autoptr (BufPoolAllocation) allocation = allocate_pinned (pool);
      g_autoptr (GInputStream) in = g_memory_input_stream_new_from_data ("seven b", 7, NULL);
      g_autoptr (GOutputStream) out = g_memory_output_stream_new (room, sizeof room, NULL, NULL);
      g_autoptr (GError) error = NULL;

      g_assert_cmpuint (buf_pool_allocation_get_transferred_bytes (allocation), ==, 0);
      g_assert_true (fill (async, allocation, in, 0, 32, NULL, NULL, NULL));
      g_assert_cmpuint (buf_pool_allocation_get_transferred_bytes (allocation), ==, 7);
      g_assert_false (write_out (async, allocation, out, 0, 32, NULL, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
      g_assert_cmpuint (buf_pool_allocation_get_transferred_bytes (allocation), ==, 10);
      g_assert_false (write_out (async, allocation, out, 1, 32, NULL, NULL, NULL));
      g_assert_cmpuint (buf_pool_allocation_get_transferred_bytes (allocation), ==, 0);
      buf_pool_allocation_release (allocation);
      g_assert_cmpuint (buf_pool_allocation_get_transferred_bytes (allocation), ==, 0);
    }
}

static void
test_plain_tells_by_argument (void)
{
  g_autoptr (BufPool) pool = test_pool_new (8, 4);
  g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 4);
  g_autoptr (GInputStream) in = g_memory_input_stream_new_from_data ("seven b", 7, NULL);

  g_test_summary ("A plain allocation does not remember its transfers");

  g_assert_true (fill (FALSE, allocation, in, 0, 32, NULL, NULL, NULL));
  g_assert_cmpuint (buf_pool_allocation_get_transferred_bytes (allocation), ==, 0);
}

static void
test_cancelled (void)
{
  g_test_summary ("The stream reports cancellation: here, a socket");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (8, 4);
      g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 4);
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (GInputStream) in = NULL;
      g_autoptr (GError) error = NULL;
      int sockets[2];
      gsize n = 99;

      g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, sockets), ==, 0);
      in = g_unix_input_stream_new (sockets[0], TRUE);
      g_cancellable_cancel (cancellable);
      g_assert_false (fill (async, allocation, in, 0, 7, &n, cancellable, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      g_assert_cmpuint (n, ==, 0);
      g_assert_true (g_close (sockets[1], NULL));
    }
}

static void
test_kept_meanwhile (void)
{
  g_autoptr (BufPool) pool = test_pool_new (8, 4);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GInputStream) in = NULL;
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation = test_allocate (pool, 4);
  Waiting waiting = { NULL };
  int sockets[2];
  gsize n = 99;

  g_test_summary (
      "The allocation stays alive while a stream uses it, and is dropped before the callback");

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, sockets), ==, 0);
  in = g_unix_input_stream_new (sockets[0], TRUE);
  buf_pool_allocation_fill_from_stream_async (allocation,
                                              in,
                                              0,
                                              32,
                                              G_PRIORITY_DEFAULT,
                                              cancellable,
                                              on_ready,
                                              &waiting);
  buf_pool_allocation_unref (allocation);
  g_assert_cmpint (send (sockets[1], "123", 3, 0), ==, 3);
  for (guint i = 0; i < 20; i++)
    g_main_context_iteration (NULL, FALSE);
  g_assert_null (waiting.result);
  test_assert_figures (pool, 4, 1);

  g_cancellable_cancel (cancellable);
  iterate_until_ready (&waiting);
  test_assert_figures (pool, 0, 0);

  /* The result of the other direction is invalid. */
  g_test_expect_message ("BufPool",
                         G_LOG_LEVEL_CRITICAL,
                         "*write_to_stream_finish: *is_result_of*");
  g_assert_false (
      buf_pool_allocation_write_to_stream_finish (allocation, waiting.result, &n, &error));
  g_test_assert_expected_messages ();
  g_assert_no_error (error);

  g_assert_false (
      buf_pool_allocation_fill_from_stream_finish (allocation, waiting.result, &n, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (n, ==, 3);
  g_object_unref (waiting.result);
  g_assert_true (g_close (sockets[1], NULL));
}

static gboolean
send_and_close (gpointer data)
{
  int *socket = data;

  g_assert_cmpint (send (*socket, "12345678", 8, 0), ==, 8);
  g_assert_true (g_close (*socket, NULL));
  return G_SOURCE_REMOVE;
}

static void
test_dropped_meanwhile (void)
{
  BufPool *pool = test_pool_new (8, 4);
  BufPool *weak = pool;
  BufPoolAllocation *allocation = test_allocate (pool, 1);
  g_autoptr (GInputStream) in = NULL;
  g_autoptr (GError) error = NULL;
  Waiting waiting = { NULL };
  int sockets[2];
  gsize n = 0;

  g_test_summary (
      "The allocation and the pool are dropped during a transfer, in the thread whose main loop it "
      "needs: dispose does not wait for it");

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, sockets), ==, 0);
  in = g_unix_input_stream_new (sockets[0], TRUE);
  g_object_add_weak_pointer (G_OBJECT (pool), (gpointer *) &weak);
  buf_pool_allocation_fill_from_stream_async (allocation,
                                              in,
                                              0,
                                              8,
                                              G_PRIORITY_DEFAULT,
                                              NULL,
                                              on_ready,
                                              &waiting);
  buf_pool_allocation_unref (allocation);
  g_object_unref (pool);
  g_assert_null (weak);
  g_assert_cmpuint (test_count_memories (), ==, 1);

  g_idle_add (send_and_close, &sockets[1]);
  iterate_until_ready (&waiting);
  test_wait_for_the_end ();
  g_assert_true (
      buf_pool_allocation_fill_from_stream_finish (allocation, waiting.result, &n, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (n, ==, 8);
  g_object_unref (waiting.result);
  while (g_main_context_iteration (NULL, FALSE))
    continue;
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/stream/to-and-fro", test_to_and_fro);
  g_test_add_func ("/stream/short-read", test_short_read);
  g_test_add_func ("/stream/out-of-range", test_out_of_range);
  g_test_add_func ("/stream/errors", test_errors);
  g_test_add_func ("/stream/transferred", test_transferred);
  g_test_add_func ("/stream/plain-tells-by-argument", test_plain_tells_by_argument);
  g_test_add_func ("/stream/cancelled", test_cancelled);
  g_test_add_func ("/stream/kept-meanwhile", test_kept_meanwhile);
  g_test_add_func ("/stream/dropped-meanwhile", test_dropped_meanwhile);
  return g_test_run ();
}
