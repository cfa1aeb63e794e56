/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading ahead, cancellation, and streams that fail. */

#include "reader-fixture.h"
#include "scripted-stream.h"

#define N_BLOCKED 16 /* how many threads can read ahead at the same time */
#define N_THREADS 20

static void
test_reads_ahead (void)
{
  g_test_summary ("While the caller works, blocks are read ahead: exactly the given number");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 100);
      g_autoptr (GBytes) text = test_make_text (1000);
      g_autoptr (GInputStream) stream = test_make_file_stream (text);
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);

      buf_reader_set_read_ahead (reader, 3);
      test_assert_next_is (async, reader, "0,1,");
      test_wait_until_calm (reader);
      test_assert_figures (pool, 3, 3);
      g_assert_cmpuint (buf_reader_get_position (reader), ==, 4);

      buf_reader_set_read_ahead (reader, 0);
      for (guint i = 0; i < 4; i++)
        g_bytes_unref (test_next_block (async, reader, NULL, NULL));
      test_wait_until_calm (reader);
      test_assert_figures (pool, 0, 0);
    }
}

static void
test_leaves_a_block (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 3);
  g_autoptr (GBytes) text = test_make_text (1000);
  g_autoptr (GInputStream) a = test_make_file_stream (text);
  g_autoptr (GInputStream) b = test_make_file_stream (text);
  g_autoptr (BufReader) first = buf_reader_new (a, pool, 1);
  g_autoptr (BufReader) second = buf_reader_new (b, pool, 1);
  g_autoptr (GBytes) held = NULL;

  g_test_summary ("Reading ahead leaves a block for others: a thread holds a block of one reader, "
                  "and reads from another");

  buf_reader_set_read_ahead (first, 10);
  buf_reader_set_read_ahead (second, 10);
  held = buf_reader_next_block (first, NULL, NULL);
  g_assert_nonnull (held);
  test_wait_until_calm (first);
  test_assert_figures (pool, 2, 2);
  test_assert_next_is (FALSE, second, "0,1,");
  test_wait_until_calm (second);
  test_assert_figures (pool, 2, 2);
  test_assert_next_is (TRUE, second, "2,3,");
}

static void
test_error_after_data (void)
{
  g_test_summary ("An error is reported once, after the preceding data, and the position stays "
                  "correct");

  for (guint read_ahead = 0; read_ahead <= 8; read_ahead += 4)
    for (gboolean async = FALSE; async <= TRUE; async++)
      {
        g_autoptr (BufPool) pool = test_pool_new (4, 16);
        g_autoptr (ScriptedStream) stream = scripted_stream_new (FALSE);
        g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);
        g_autoptr (GError) error = NULL;

        buf_reader_set_read_ahead (reader, read_ahead);
        scripted_stream_add_data (stream, "abcdef");
        scripted_stream_add_error (stream, G_IO_ERROR_NO_SPACE);
        scripted_stream_add_data (stream, "gh");
        test_assert_next_is (async, reader, "abcd");
        test_wait_until_calm (reader);
        g_assert_cmpuint (scripted_stream_get_n_reads (stream), <=, 3);
        test_assert_next_is (async, reader, "ef");
        g_assert_null (test_next_block (async, reader, NULL, &error));
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
        g_assert_cmpuint (buf_reader_get_position (reader), ==, 6);
        test_assert_next_is (async, reader, "gh");
        test_assert_end (async, reader);
      }
}

static void
test_overlong (void)
{
  g_test_summary ("A read that returns more than requested is an error");

  for (gboolean pollable = FALSE; pollable <= TRUE; pollable++)
    for (gboolean async = FALSE; async <= TRUE; async++)
      {
        g_autoptr (BufPool) pool = test_pool_new (4, 4);
        g_autoptr (ScriptedStream) stream = scripted_stream_new (pollable);
        g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);
        g_autoptr (GError) error = NULL;

        scripted_stream_add_overlong (stream);
        g_assert_null (test_next_block (async, reader, NULL, &error));
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
        g_assert_cmpstr (error->message, ==, "ScriptedStream returned 5 bytes from a read of 4");
        test_assert_figures (pool, 0, 0);
        g_assert_cmpuint (buf_reader_get_position (reader), ==, 0);
      }
}

static void
test_silent_error (void)
{
  g_test_summary ("A read that fails without an error is an error, and not the end");

  for (gboolean pollable = FALSE; pollable <= TRUE; pollable++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 4);
      g_autoptr (ScriptedStream) stream = scripted_stream_new (pollable);
      g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);
      g_autoptr (GError) error = NULL;

      scripted_stream_add_silent_error (stream);
      g_assert_null (test_next_block (FALSE, reader, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_FAILED);
      test_assert_figures (pool, 0, 0);
    }
}

static void
test_would_block (void)
{
  g_test_summary ("A stream that reports that it is readable, and has no data, is polled again");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 4);
      g_autoptr (ScriptedStream) stream = scripted_stream_new (TRUE);
      g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);

      for (guint i = 0; i < 3; i++)
        scripted_stream_add_error (stream, G_IO_ERROR_WOULD_BLOCK);
      scripted_stream_add_data (stream, "at");
      test_assert_next_is (async, reader, "at");
      g_assert_cmpuint (scripted_stream_get_n_reads (stream), ==, 4);
    }
}

/* If the stream is not polled, this is an error like any other. */
static void
test_would_block_without_poll (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 4);
  g_autoptr (ScriptedStream) stream = scripted_stream_new (FALSE);
  g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);
  g_autoptr (GError) error = NULL;

  g_test_summary ("A stream that cannot be polled fails when it would block");

  scripted_stream_add_error (stream, G_IO_ERROR_WOULD_BLOCK);
  g_assert_null (test_next_block (FALSE, reader, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
}

typedef struct
{
  BufReader *reader;
  GCancellable *cancellable;
  GThread *thread;
} Cancelled;

static gpointer
read_until_cancelled (gpointer data)
{
  Cancelled *self = data;
  g_autoptr (GError) error = NULL;

  g_assert_null (buf_reader_next_block (self->reader, self->cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  return NULL;
}

/* Cancels a request, no matter what it waits for. */
static void
start_cancelled (Cancelled *self, BufReader *reader)
{
  self->reader = reader;
  self->cancellable = g_cancellable_new ();
  self->thread = g_thread_new ("cancelled", read_until_cancelled, self);
}

static void
end_cancelled (Cancelled *self)
{
  g_cancellable_cancel (self->cancellable);
  g_thread_join (self->thread);
  g_object_unref (self->cancellable);
}

static void
cancel_async (BufReader *reader, guint n_waiting)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;

  buf_reader_next_block_async (reader, G_PRIORITY_DEFAULT, cancellable, test_keep_result, &result);
  test_iterate_all ();
  g_assert_null (result);
  g_assert_cmpuint (buf_pool_get_waiting (buf_reader_get_pool (reader)), ==, n_waiting);
  g_cancellable_cancel (cancellable);
  test_iterate_until (&result);
  g_assert_null (buf_reader_next_block_finish (reader, result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void
test_cancelled_before (void)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();

  g_test_summary ("With a cancelled cancellable, nothing is read, and nothing is lost");

  g_cancellable_cancel (cancellable);
  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 4);
      g_autoptr (ScriptedStream) stream = scripted_stream_new (FALSE);
      g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);
      g_autoptr (GError) error = NULL;

      scripted_stream_add_data (stream, "data");
      g_assert_null (test_next_block (async, reader, cancellable, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      g_assert_cmpuint (scripted_stream_get_n_reads (stream), ==, 0);
      test_assert_next_is (async, reader, "data");
    }
}

static void
test_cancelled_while_idle (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 4);
  g_autoptr (GOutputStream) writer = NULL;
  g_autoptr (GInputStream) stream = test_make_pipe (&writer);
  g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
  Cancelled cancelled;

  g_test_summary ("A request that waits for a peer can be cancelled");

  start_cancelled (&cancelled, reader);
  test_wait_until (g_input_stream_has_pending (stream));
  end_cancelled (&cancelled);
  cancel_async (reader, 0);
  g_assert_cmpint (g_output_stream_write (writer, "late", 4, NULL, NULL), ==, 4);
  test_assert_next_is (TRUE, reader, "late");
}

static void
test_cancelled_while_waiting_for_memory (void)
{
  g_test_summary ("A request that waits for memory can be cancelled, and nothing is lost");

  for (guint kind = 0; kind <= 1; kind++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 1);
      g_autoptr (GBytes) text = g_bytes_new_static ("text", 4);
      g_autoptr (GInputStream) stream = test_make_stream (kind, text);
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
      BufPoolAllocation *allocation = test_allocate (pool, 1);
      Cancelled cancelled;

      start_cancelled (&cancelled, reader);
      test_wait_for_waiting (pool, 1);
      end_cancelled (&cancelled);
      cancel_async (reader, 1);
      buf_pool_allocation_unref (allocation);
      test_assert_next_is (FALSE, reader, "text");
    }
}

static void
test_cancelled_while_a_thread_reads (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 4);
  g_autoptr (ScriptedStream) stream = scripted_stream_new (FALSE);
  g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);
  Cancelled cancelled;

  g_test_summary ("A request that waits for a block that is read ahead can be cancelled, and the "
                  "next one gets the block");

  scripted_stream_add_data (stream, "ab");
  scripted_stream_add_gate (stream);
  scripted_stream_add_data (stream, "cd");
  test_assert_next_is (FALSE, reader, "ab");
  test_wait_until (scripted_stream_is_at_gate (stream));
  start_cancelled (&cancelled, reader);
  end_cancelled (&cancelled);
  cancel_async (reader, 0);
  scripted_stream_open_gate (stream);
  test_assert_next_is (TRUE, reader, "cd");
  test_assert_end (TRUE, reader);
}

static void
test_cancelled_late (void)
{
  g_test_summary ("A request that is cancelled before its callback runs fails, and the next one "
                  "gets the block");

  for (guint kind = 0; kind <= 1; kind++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 4);
      g_autoptr (GBytes) text = g_bytes_new_static ("abcdef", 6);
      g_autoptr (GInputStream) stream = test_make_stream (kind, text);
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (GAsyncResult) result = NULL;
      g_autoptr (GError) error = NULL;

      buf_reader_next_block_async (reader,
                                   G_PRIORITY_DEFAULT,
                                   cancellable,
                                   test_keep_result,
                                   &result);
      test_iterate_until (&result);
      g_cancellable_cancel (cancellable);
      g_assert_null (buf_reader_next_block_finish (reader, result, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      g_assert_cmpuint (buf_reader_get_position (reader), ==, 0);
      test_assert_next_is (FALSE, reader, "abcd");
      test_assert_next_is (FALSE, reader, "ef");
    }
}

static void
test_unfetched (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 4);
  g_autoptr (GBytes) text = g_bytes_new_static ("abcdef", 6);
  g_autoptr (GInputStream) stream = test_make_file_stream (text);
  g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
  GAsyncResult *result = NULL;

  g_test_summary ("The next request gets a block that was not fetched");

  buf_reader_next_block_async (reader, G_PRIORITY_DEFAULT, NULL, test_keep_result, &result);
  test_iterate_until (&result);
  g_object_unref (result);
  test_assert_next_is (TRUE, reader, "abcd");
  test_assert_next_is (TRUE, reader, "ef");
  g_assert_cmpuint (buf_reader_get_position (reader), ==, 6);
}

static void
test_pending (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 4);
  g_autoptr (GOutputStream) writer = NULL;
  g_autoptr (GInputStream) stream = test_make_pipe (&writer);
  g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
  g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GBytes) bytes = NULL;

  g_test_summary ("Only one operation is possible at a time, and other code cannot close the "
                  "stream meanwhile");

  buf_reader_next_block_async (reader, G_PRIORITY_DEFAULT, NULL, test_keep_result, &result);
  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (test_next_block (async, reader, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
      g_clear_error (&error);
      g_assert_false (test_splice (async, reader, target, 0, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
      g_clear_error (&error);
      g_assert_false (g_input_stream_close (stream, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_PENDING);
    }
  g_assert_cmpint (g_output_stream_write (writer, "fine", 4, NULL, NULL), ==, 4);
  test_iterate_until (&result);
  bytes = buf_reader_next_block_finish (reader, result, NULL);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), "fine", 4);
  g_assert_true (g_input_stream_close (stream, NULL, NULL));
}

static void
test_closed_by_others (void)
{
  g_test_summary ("A stream that other code has closed is an error, and not the end");

  for (guint kind = 0; kind < TEST_N_STREAMS; kind++)
    for (gboolean async = FALSE; async <= TRUE; async++)
      {
        g_autoptr (BufPool) pool = test_pool_new (4, 4);
        g_autoptr (GBytes) text = test_make_text (8);
        g_autoptr (GInputStream) stream = test_make_stream (kind, text);
        g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
        g_autoptr (GError) error = NULL;

        buf_reader_set_read_ahead (reader, 0);
        /* So that the thread that feeds the pipe has finished. */
        g_bytes_unref (test_next_block (async, reader, NULL, NULL));
        g_bytes_unref (test_next_block (async, reader, NULL, NULL));
        g_assert_true (g_input_stream_close (stream, NULL, NULL));
        g_assert_null (test_next_block (async, reader, NULL, &error));
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
        test_assert_figures (pool, 0, 0);
      }
}

static void
test_dropped_with_blocks (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 100);
  g_autoptr (GBytes) text = test_make_text (1000);
  g_autoptr (GInputStream) stream = test_make_file_stream (text);
  g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);

  g_test_summary ("A reader that is dropped frees the blocks it has read ahead");

  buf_reader_set_read_ahead (reader, 8);
  test_assert_next_is (FALSE, reader, "0,1,");
  test_wait_until_calm (reader);
  test_assert_figures (pool, 8, 8);
  g_clear_object (&reader);
  test_assert_figures (pool, 0, 0);
}

static void
test_dropped_while_a_thread_reads (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 4);
  g_autoptr (ScriptedStream) stream = scripted_stream_new (FALSE);
  g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);

  g_test_summary ("A reader that is dropped while a thread reads ahead does not wait for that "
                  "thread");

  scripted_stream_add_data (stream, "ab");
  scripted_stream_add_gate (stream);
  scripted_stream_add_data (stream, "cd");
  test_assert_next_is (FALSE, reader, "ab");
  test_wait_until (scripted_stream_is_at_gate (stream));
  g_clear_object (&reader);
  test_assert_figures (pool, 1, 1);
  scripted_stream_open_gate (stream);
  test_wait_until (buf_pool_get_allocated_memory (pool) == 0);
}

static void
test_all_threads_are_busy (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 100);
  ScriptedStream *streams[N_THREADS];
  BufReader *readers[N_THREADS];

  g_test_summary ("While all threads that read ahead are blocked, other readers continue");

  for (guint i = 0; i < N_THREADS; i++)
    {
      streams[i] = scripted_stream_new (FALSE);
      readers[i] = buf_reader_new (G_INPUT_STREAM (streams[i]), pool, 1);
      scripted_stream_add_data (streams[i], "ab");
      if (i < N_THREADS - 1)
        scripted_stream_add_gate (streams[i]);
      scripted_stream_add_data (streams[i], "cd");
      scripted_stream_add_data (streams[i], "ef");
      test_assert_next_is (FALSE, readers[i], "ab");
      if (i < N_BLOCKED)
        test_wait_until (scripted_stream_is_at_gate (streams[i]));
    }

  test_assert_next_is (FALSE, readers[N_THREADS - 1], "cd");
  test_assert_next_is (TRUE, readers[N_THREADS - 1], "ef");

  for (guint i = 0; i < N_THREADS; i++)
    {
      scripted_stream_open_gate (streams[i]);
      g_object_unref (readers[i]);
      g_object_unref (streams[i]);
    }
  test_wait_until (buf_pool_get_allocated_memory (pool) == 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/reader/reads-ahead", test_reads_ahead);
  g_test_add_func ("/reader/leaves-a-block", test_leaves_a_block);
  g_test_add_func ("/reader/error-after-data", test_error_after_data);
  g_test_add_func ("/reader/overlong", test_overlong);
  g_test_add_func ("/reader/silent-error", test_silent_error);
  g_test_add_func ("/reader/would-block", test_would_block);
  g_test_add_func ("/reader/would-block-without-poll", test_would_block_without_poll);
  g_test_add_func ("/reader/cancelled-before", test_cancelled_before);
  g_test_add_func ("/reader/cancelled-while-idle", test_cancelled_while_idle);
  g_test_add_func ("/reader/cancelled-while-waiting-for-memory",
                   test_cancelled_while_waiting_for_memory);
  g_test_add_func ("/reader/cancelled-while-a-thread-reads", test_cancelled_while_a_thread_reads);
  g_test_add_func ("/reader/cancelled-late", test_cancelled_late);
  g_test_add_func ("/reader/unfetched", test_unfetched);
  g_test_add_func ("/reader/pending", test_pending);
  g_test_add_func ("/reader/closed-by-others", test_closed_by_others);
  g_test_add_func ("/reader/dropped-with-blocks", test_dropped_with_blocks);
  g_test_add_func ("/reader/dropped-while-a-thread-reads", test_dropped_while_a_thread_reads);
  g_test_add_func ("/reader/all-threads-are-busy", test_all_threads_are_busy);
  return g_test_run ();
}
