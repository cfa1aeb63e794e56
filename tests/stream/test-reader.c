/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A reader: the blocks of a stream, their memory, and the end of a reader. */

#include <sys/resource.h>

#include "reader-fixture.h"
#include "scripted-stream.h"

static void
test_properties (void)
{
  g_autoptr (BufPool) pool = test_pool_new (8, 4);
  g_autoptr (GInputStream) stream = g_memory_input_stream_new ();
  g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 3);
  g_autoptr (GInputStream) stream_property = NULL;
  g_autoptr (BufPool) pool_property = NULL;
  guint64 n_buffers = 0, position = 99;
  guint read_ahead = 99;

  g_test_summary ("The properties and the getters return what the reader was created with");

  g_object_get (reader,
                "stream",
                &stream_property,
                "pool",
                &pool_property,
                "n-buffers",
                &n_buffers,
                "read-ahead",
                &read_ahead,
                "position",
                &position,
                NULL);
  g_assert_true (stream_property == stream && buf_reader_get_stream (reader) == stream);
  g_assert_true (pool_property == pool && buf_reader_get_pool (reader) == pool);
  g_assert_cmpuint (n_buffers, ==, 3);
  g_assert_cmpuint (buf_reader_get_n_buffers (reader), ==, 3);
  g_assert_cmpuint (read_ahead, ==, 1);
  g_assert_cmpuint (position, ==, 0);
  g_assert_cmpuint (buf_reader_get_position (reader), ==, 0);
}

static void
count_notify (GObject *reader, GParamSpec *pspec, gpointer user_data)
{
  guint *n = user_data;

  (*n)++;
}

static void
test_set_read_ahead (void)
{
  g_autoptr (BufPool) pool = test_pool_new (8, 4);
  g_autoptr (GInputStream) stream = g_memory_input_stream_new ();
  g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
  guint n_notified = 0;

  g_test_summary ("read-ahead can be changed, and notifies when it changes");

  g_signal_connect (reader, "notify::read-ahead", G_CALLBACK (count_notify), &n_notified);
  buf_reader_set_read_ahead (reader, 5);
  buf_reader_set_read_ahead (reader, 5);
  g_assert_cmpuint (n_notified, ==, 1);
  g_object_set (reader, "read-ahead", 0, NULL);
  g_assert_cmpuint (n_notified, ==, 2);
  g_assert_cmpuint (buf_reader_get_read_ahead (reader), ==, 0);
}

static void
read_all (gboolean async, BufReader *reader, GBytes *text)
{
  g_autoptr (GByteArray) all = g_byte_array_new ();
  g_autoptr (GError) error = NULL;
  GBytes *bytes;

  while ((bytes = test_next_block (async, reader, NULL, &error)) != NULL)
    {
      gsize size;
      gconstpointer data = g_bytes_get_data (bytes, &size);

      g_assert_cmpuint (size, >, 0);
      g_assert_cmpuint (size, <=, 3 * 16);
      g_byte_array_append (all, data, size);
      g_assert_cmpuint (buf_reader_get_position (reader), ==, all->len);
      g_bytes_unref (bytes);
    }
  g_assert_no_error (error);
  g_assert_cmpmem (all->data, all->len, g_bytes_get_data (text, NULL), g_bytes_get_size (text));
}

static void
test_all_streams (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 12);
  g_autoptr (GBytes) text = test_make_text (10000);

  g_test_summary ("The blocks of any stream contain its bytes, no matter how many are read ahead");

  for (guint kind = 0; kind < TEST_N_STREAMS; kind++)
    for (guint read_ahead = 0; read_ahead <= 4; read_ahead += 2)
      for (gboolean async = FALSE; async <= TRUE; async++)
        {
          g_autoptr (GInputStream) stream = test_make_stream (kind, text);
          g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 3);

          buf_reader_set_read_ahead (reader, read_ahead);
          read_all (async, reader, text);
          test_assert_end (async, reader);
          test_wait_until_calm (reader);
          test_assert_figures (pool, 0, 0);
        }
}

static void
test_change_of_form (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 8);
  g_autoptr (GBytes) text = g_bytes_new_static ("Two forms, taken in turn", 24);
  g_autoptr (GInputStream) stream = test_make_file_stream (text);
  g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
  static const gchar *const blocks[] = { "Two ", "form", "s, t", "aken", " in ", "turn" };

  g_test_summary ("Both forms can be used with one reader, in turn");

  buf_reader_set_read_ahead (reader, 2);
  for (guint i = 0; i < G_N_ELEMENTS (blocks); i++)
    test_assert_next_is (i % 2, reader, blocks[i]);
  test_assert_end (TRUE, reader);
}

static void
test_block_counts (void)
{
  g_autoptr (BufPool) pool = test_pool_new (8, 4);
  g_autoptr (GInputStream) stream = g_memory_input_stream_new_from_data ("0123456789", 10, NULL);
  g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
  g_autoptr (GError) error = NULL;
  GBytes *bytes, *part;

  g_test_summary ("A block counts until the last reference on its bytes is dropped");

  bytes = buf_reader_next_block (reader, NULL, &error);
  g_assert_no_error (error);
  test_assert_figures (pool, 1, 1);
  part = g_bytes_new_from_bytes (bytes, 3, 2);
  g_bytes_unref (bytes);
  test_assert_figures (pool, 1, 1);
  g_bytes_unref (part);
  test_assert_figures (pool, 0, 0);
}

static gpointer
read_in_thread (gpointer data)
{
  test_assert_next_is (FALSE, data, "ef");
  return NULL;
}

static void
test_waits_for_memory (void)
{
  g_test_summary ("A request waits until the pool has a block");

  for (guint kind = 0; kind <= 1; kind++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 1);
      g_autoptr (GBytes) text = g_bytes_new_static ("abcdef", 6);
      g_autoptr (GInputStream) stream = test_make_stream (kind, text);
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
      GBytes *bytes = buf_reader_next_block (reader, NULL, NULL);
      GThread *thread = g_thread_new ("reader", read_in_thread, reader);

      test_wait_for_waiting (pool, 1);
      g_bytes_unref (bytes);
      g_thread_join (thread);
    }
}

static void
test_waits_for_memory_async (void)
{
  g_test_summary ("A request waits until the pool has a block, and does not block the thread");

  for (guint kind = 0; kind <= 1; kind++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 1);
      g_autoptr (GBytes) text = g_bytes_new_static ("abcdef", 6);
      g_autoptr (GInputStream) stream = test_make_stream (kind, text);
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
      g_autoptr (GAsyncResult) result = NULL;
      g_autoptr (GBytes) second = NULL;
      GBytes *first = test_next_block (TRUE, reader, NULL, NULL);

      buf_reader_next_block_async (reader, G_PRIORITY_DEFAULT, NULL, test_keep_result, &result);
      test_iterate_all ();
      g_assert_null (result);
      g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
      g_bytes_unref (first);
      test_iterate_until (&result);
      second = buf_reader_next_block_finish (reader, result, NULL);
      g_assert_cmpmem (g_bytes_get_data (second, NULL), g_bytes_get_size (second), "ef", 2);
    }
}

static void
test_pool_is_kept (void)
{
  g_autoptr (GInputStream) stream = g_memory_input_stream_new_from_data ("0123456789", 10, NULL);
  BufPool *pool = test_pool_new (8, 4);
  BufReader *reader = buf_reader_new (stream, pool, 1);
  GBytes *bytes;

  g_test_summary ("A reader keeps its pool alive, and the pool does not wait for blocks");

  g_object_unref (pool);
  bytes = test_next_block (FALSE, reader, NULL, NULL);
  g_object_add_weak_pointer (G_OBJECT (pool), (gpointer *) &pool);
  g_object_unref (reader);
  g_assert_null (pool);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), 8, "01234567", 8);
  g_bytes_unref (bytes);
  test_wait_for_the_end ();
}

static void
test_dropped_under_a_plain_allocation (void)
{
  g_autoptr (GInputStream) stream = g_memory_input_stream_new ();
  BufPool *pool = test_pool_new (8, 4);
  BufPoolAllocation *allocation = test_allocate (pool, 1);
  BufReader *reader = buf_reader_new (stream, pool, 1);

  g_test_summary ("A thread with a plain allocation drops a reader that has the last reference on "
                  "the pool: it does not wait for itself");

  g_object_unref (pool);
  g_object_unref (reader);
  buf_pool_allocation_unref (allocation);
  test_wait_for_the_end ();
}

static void
test_idle_holds_nothing (void)
{
  g_autoptr (BufPool) pool = test_pool_new (8, 4);
  g_autoptr (GOutputStream) writer = NULL;
  g_autoptr (GInputStream) stream = test_make_pipe (&writer);
  g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
  g_autoptr (BufPoolAllocation) others = test_allocate (pool, 4);
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GBytes) bytes = NULL;

  g_test_summary ("Memory is allocated only when there is something to read");

  buf_reader_next_block_async (reader, G_PRIORITY_DEFAULT, NULL, test_keep_result, &result);
  test_iterate_all ();
  g_assert_null (result);
  test_assert_figures (pool, 4, 1);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 0);
  g_clear_pointer (&others, buf_pool_allocation_unref);
  g_assert_cmpint (g_output_stream_write (writer, "Hello", 5, NULL, NULL), ==, 5);
  test_iterate_until (&result);
  bytes = buf_reader_next_block_finish (reader, result, NULL);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), "Hello", 5);
  test_assert_figures (pool, 1, 1);
}

typedef struct
{
  BufReader *reader;
  GOutputStream *writer;
} Connection;

static void
count_block (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GBytes) bytes = buf_reader_next_block_finish (BUF_READER (source), result, NULL);
  guint *n_blocks = user_data;

  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), "x", 1);
  (*n_blocks)++;
}

/* As many as the system allows, up to @n. */
static guint
count_possible_connections (guint n)
{
  struct rlimit limit;

  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  limit.rlim_cur = MIN (limit.rlim_max, 2 * n + 100);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  return MIN (n, (limit.rlim_cur - 100) / 2);
}

static void
test_many_idle_connections (void)
{
  guint n = count_possible_connections (test_scale (10000));
  g_autofree Connection *connections = g_new (Connection, n);
  g_autoptr (BufPool) pool = test_pool_new (8, 2);
  guint n_blocks = 0;

  g_test_summary ("Ten thousand idle connections hold nothing of a budget of two blocks, and each "
                  "of them is served");
  g_test_message ("%u connections", n);

  for (guint i = 0; i < n; i++)
    {
      g_autoptr (GInputStream) stream = test_make_pipe (&connections[i].writer);

      connections[i].reader = buf_reader_new (stream, pool, 1);
      buf_reader_next_block_async (connections[i].reader,
                                   G_PRIORITY_DEFAULT,
                                   NULL,
                                   count_block,
                                   &n_blocks);
    }
  test_iterate_all ();
  test_assert_figures (pool, 0, 0);

  for (guint i = 0; i < n; i++)
    g_assert_cmpint (g_output_stream_write (connections[i].writer, "x", 1, NULL, NULL), ==, 1);
  while (n_blocks < n)
    g_main_context_iteration (NULL, TRUE);
  test_assert_figures (pool, 0, 0);

  for (guint i = 0; i < n; i++)
    {
      g_object_unref (connections[i].reader);
      g_object_unref (connections[i].writer);
    }
}

static void
test_short_blocks (void)
{
  g_test_summary ("A block contains the data of one read");

  for (gboolean pollable = FALSE; pollable <= TRUE; pollable++)
    for (gboolean async = FALSE; async <= TRUE; async++)
      {
        g_autoptr (BufPool) pool = test_pool_new (4, 8);
        g_autoptr (ScriptedStream) stream = scripted_stream_new (pollable);
        g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 2);

        scripted_stream_add_data (stream, "a");
        scripted_stream_add_data (stream, "bcd");
        scripted_stream_add_data (stream, "efghijklmn");
        test_assert_next_is (async, reader, "a");
        test_assert_next_is (async, reader, "bcd");
        test_assert_next_is (async, reader, "efghijkl");
        test_assert_next_is (async, reader, "mn");
        test_assert_end (async, reader);
        g_assert_cmpuint (buf_reader_get_position (reader), ==, 14);
      }
}

static void
test_short_blocks_shrink (void)
{
  g_test_summary ("A short block holds only the buffers that it needs, if there is room to "
                  "exchange it");

  for (gsize n_others = 0; n_others <= 4; n_others += 4)
    for (gboolean pollable = FALSE; pollable <= TRUE; pollable++)
      for (gboolean async = FALSE; async <= TRUE; async++)
        {
          g_autoptr (BufPool) pool = test_pool_new (4, 8);
          g_autoptr (BufPoolAllocation) others = n_others ? test_allocate (pool, n_others) : NULL;
          g_autoptr (ScriptedStream) stream = scripted_stream_new (pollable);
          g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 4);
          g_autoptr (GBytes) bytes = NULL;

          buf_reader_set_read_ahead (reader, 0);
          scripted_stream_add_data (stream, "abcde");
          bytes = test_next_block (async, reader, NULL, NULL);
          g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), "abcde", 5);
          test_assert_figures (pool, n_others + (n_others ? 4 : 2), n_others ? 2 : 1);
        }
}

static void
test_reads_after_the_end (void)
{
  g_test_summary ("After its end, the stream is read again, because a file may have grown");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 8);
      g_autoptr (ScriptedStream) stream = scripted_stream_new (FALSE);
      g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);

      scripted_stream_add_data (stream, "one");
      test_assert_next_is (async, reader, "one");
      test_assert_end (async, reader);
      scripted_stream_add_data (stream, "two");
      test_assert_next_is (async, reader, "two");
    }
}

static void
test_invalid (void)
{
  static const gsize counts[] = { 0, BUF_POOL_MAX_BUFFERS + 1, G_MAXSIZE };
  g_autoptr (BufPool) pool = test_pool_new (1, 100000);

  g_test_summary ("A reader with an invalid configuration reports the reason for each request");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (GInputStream) stream = g_memory_input_stream_new_from_data ("0123", 4, NULL);
      g_autoptr (BufReader) without_stream = g_object_new (BUF_TYPE_READER, "pool", pool, NULL);
      g_autoptr (BufReader) without_pool = g_object_new (BUF_TYPE_READER, "stream", stream, NULL);
      g_autoptr (GError) error = NULL;

      for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
        {
          g_autoptr (BufReader) reader = buf_reader_new (stream, pool, counts[i]);

          g_assert_null (test_next_block (async, reader, NULL, &error));
          g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_COUNT);
          g_clear_error (&error);
        }
      g_assert_null (test_next_block (async, without_stream, NULL, &error));
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_CONFIG);
      g_clear_error (&error);
      g_assert_null (test_next_block (async, without_pool, NULL, &error));
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_CONFIG);
    }
}

static void
test_closed_pool (void)
{
  g_test_summary ("With a closed pool, there is an error after the data that was read before");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 8);
      g_autoptr (GBytes) text = g_bytes_new_static ("abcdefgh", 8);
      g_autoptr (GInputStream) stream = test_make_file_stream (text);
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
      g_autoptr (GError) error = NULL;

      test_assert_next_is (async, reader, "abcd");
      test_wait_until_calm (reader);
      buf_pool_close (pool);
      test_assert_next_is (async, reader, "efgh");
      test_wait_until_calm (reader);
      g_assert_null (test_next_block (async, reader, NULL, &error));
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
      g_assert_cmpuint (buf_reader_get_position (reader), ==, 8);
    }
}

static void
on_next_in_callback (GObject *source, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GBytes) bytes = buf_reader_next_block_finish (BUF_READER (source), result, NULL);
  guint *n_bytes = user_data;

  if (bytes == NULL)
    {
      *n_bytes += 100;
      return;
    }
  *n_bytes += g_bytes_get_size (bytes);
  buf_reader_next_block_async (BUF_READER (source),
                               G_PRIORITY_DEFAULT,
                               NULL,
                               on_next_in_callback,
                               user_data);
}

static void
test_next_in_callback (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 2);
  g_autoptr (GBytes) text = test_make_text (90);
  g_autoptr (GInputStream) stream = test_make_file_stream (text);
  g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
  guint n_bytes = 0;

  g_test_summary ("A callback starts the next request");

  buf_reader_next_block_async (reader, G_PRIORITY_DEFAULT, NULL, on_next_in_callback, &n_bytes);
  while (n_bytes < 100)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (n_bytes, ==, 190);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/reader/properties", test_properties);
  g_test_add_func ("/reader/set-read-ahead", test_set_read_ahead);
  g_test_add_func ("/reader/all-streams", test_all_streams);
  g_test_add_func ("/reader/change-of-form", test_change_of_form);
  g_test_add_func ("/reader/block-counts", test_block_counts);
  g_test_add_func ("/reader/waits-for-memory", test_waits_for_memory);
  g_test_add_func ("/reader/waits-for-memory-async", test_waits_for_memory_async);
  g_test_add_func ("/reader/pool-is-kept", test_pool_is_kept);
  g_test_add_func ("/reader/dropped-under-a-plain-allocation",
                   test_dropped_under_a_plain_allocation);
  g_test_add_func ("/reader/idle-holds-nothing", test_idle_holds_nothing);
  g_test_add_func ("/reader/many-idle-connections", test_many_idle_connections);
  g_test_add_func ("/reader/short-blocks", test_short_blocks);
  g_test_add_func ("/reader/short-blocks-shrink", test_short_blocks_shrink);
  g_test_add_func ("/reader/reads-after-the-end", test_reads_after_the_end);
  g_test_add_func ("/reader/invalid", test_invalid);
  g_test_add_func ("/reader/closed-pool", test_closed_pool);
  g_test_add_func ("/reader/next-in-callback", test_next_in_callback);
  return g_test_run ();
}
