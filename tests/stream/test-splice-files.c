/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A splice from file to file, which runs in a thread even if it is asynchronous. */

#define _DEFAULT_SOURCE 1 /* O_CLOEXEC, which strict C11 hides */

#include <fcntl.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <gio/gunixoutputstream.h>

#include "reader-fixture.h"
#include "scripted-stream.h"

#define N_FILE_STREAMS 4 /* the streams of the fixture that cannot be polled */
#define N_TARGETS      2

/* A file, as each of GIO's two streams. */
static GOutputStream *
make_target_file (guint kind, gchar **name)
{
  g_autoptr (GFileIOStream) io = NULL;
  g_autoptr (GFile) file = g_file_new_tmp ("test-splice-XXXXXX", &io, NULL);

  *name = g_file_get_path (file);
  if (kind == 0)
    return G_OUTPUT_STREAM (g_file_append_to (file, G_FILE_CREATE_NONE, NULL, NULL));
  return g_unix_output_stream_new (open (*name, O_WRONLY | O_CLOEXEC), TRUE);
}

/* Deletes the file. */
static void
assert_contents (const gchar *name, gconstpointer data, gsize size)
{
  g_autofree gchar *text = NULL;
  gsize length;

  g_assert_true (g_file_get_contents (name, &text, &length, NULL));
  g_assert_cmpmem (text, length, data, size);
  g_assert_cmpint (g_unlink (name), ==, 0);
}

static void
test_files (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 8);
  g_autoptr (GBytes) text = test_make_text (10000);

  g_test_summary ("A whole file arrives in another file, in any number of batches");

  for (guint kind = 0; kind < N_FILE_STREAMS * N_TARGETS; kind++)
    for (guint read_ahead = 0; read_ahead <= 2; read_ahead++)
      for (gboolean async = FALSE; async <= TRUE; async++)
        {
          g_autofree gchar *name = NULL;
          g_autoptr (GInputStream) stream = test_make_stream (kind / N_TARGETS, text);
          g_autoptr (GOutputStream) target = make_target_file (kind % N_TARGETS, &name);
          g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 2);
          g_autoptr (GError) error = NULL;

          buf_reader_set_read_ahead (reader, read_ahead);
          g_assert_true (test_splice (async, reader, target, 3, NULL, &error));
          g_assert_no_error (error);
          g_assert_cmpuint (buf_reader_get_position (reader), ==, 10000);
          g_assert_true (g_input_stream_is_closed (stream));
          g_assert_true (g_output_stream_is_closed (target));
          test_wait_until_calm (reader);
          test_assert_figures (pool, 0, 0);
          assert_contents (name, g_bytes_get_data (text, NULL), 10000);
        }
}

static void
test_full_device (void)
{
  g_test_summary ("A file that cannot be written is an error, and nothing is lost");

  if (!g_file_test ("/dev/full", G_FILE_TEST_EXISTS))
    {
      g_test_skip ("There is no /dev/full");
      return;
    }

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 8);
      g_autoptr (GBytes) text = g_bytes_new_static ("The quick", 9);
      g_autoptr (GInputStream) stream = test_make_file_stream (text);
      g_autoptr (GOutputStream) full =
          g_unix_output_stream_new (open ("/dev/full", O_WRONLY | O_CLOEXEC), TRUE);
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
      g_autoptr (GError) error = NULL;

      g_assert_false (test_splice (async, reader, full, 0, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
      g_assert_cmpuint (buf_reader_get_position (reader), ==, 0);
      test_assert_next_is (async, reader, "The ");
    }
}

static void
test_read_error (void)
{
  g_test_summary ("A read error in a thread is reported after the preceding data was written");

  for (guint read_ahead = 0; read_ahead <= 2; read_ahead++)
    {
      g_autofree gchar *name = NULL;
      g_autoptr (BufPool) pool = test_pool_new (4, 8);
      g_autoptr (ScriptedStream) stream = scripted_stream_new (FALSE);
      g_autoptr (GOutputStream) target = make_target_file (0, &name);
      g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);
      g_autoptr (GError) error = NULL;

      buf_reader_set_read_ahead (reader, read_ahead);
      scripted_stream_add_data (stream, "abcdef");
      scripted_stream_add_error (stream, G_IO_ERROR_TIMED_OUT);
      scripted_stream_add_data (stream, "gh");
      g_assert_false (test_splice (TRUE, reader, target, 0, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      g_assert_cmpuint (buf_reader_get_position (reader), ==, 6);
      g_assert_true (test_splice (TRUE, reader, target, 3, NULL, NULL));
      assert_contents (name, "abcdefgh", 8);
    }
}

static void
test_refusal (void)
{
  const gint codes[] = { BUF_POOL_ERROR_TOO_LARGE, BUF_POOL_ERROR_CLOSED };

  g_test_summary ("A thread leaves a refused request to the main loop, which reports the reason");

  for (guint i = 0; i < G_N_ELEMENTS (codes); i++)
    {
      g_autofree gchar *name = NULL;
      g_autoptr (BufPool) pool = test_pool_new (4, 8);
      g_autoptr (GBytes) text = g_bytes_new_static ("The quick", 9);
      g_autoptr (GInputStream) stream = test_make_file_stream (text);
      g_autoptr (GOutputStream) target = make_target_file (0, &name);
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, i == 0 ? 9 : 1);
      g_autoptr (GError) error = NULL;

      if (codes[i] == BUF_POOL_ERROR_CLOSED)
        buf_pool_close (pool);
      g_assert_false (test_splice (TRUE, reader, target, 3, NULL, &error));
      g_assert_error (error, BUF_POOL_ERROR, codes[i]);
      assert_contents (name, "", 0);
    }
}

static void
test_one_block (void)
{
  g_autofree GAsyncResult **results = g_new0 (GAsyncResult *, 8);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (BufPool) pool = test_pool_new (100, 1);
  g_autoptr (GBytes) text = test_make_text (10000);
  g_autoptr (BufPoolAllocation) all = test_allocate (pool, 1);

  g_test_summary ("Copies that share one block wait for it in the main loop");

  for (guint i = 0; i < 8; i++)
    {
      gchar *name;
      g_autoptr (GInputStream) stream = test_make_file_stream (text);
      g_autoptr (GOutputStream) target = make_target_file (i % N_TARGETS, &name);
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);

      g_ptr_array_add (names, name);
      buf_reader_splice_async (reader, target, 3, 0, NULL, test_keep_result, &results[i]);
    }
  while (buf_pool_get_waiting (pool) < 8)
    g_main_context_iteration (NULL, FALSE);
  g_clear_pointer (&all, buf_pool_allocation_unref);

  for (guint i = 0; i < 8; i++)
    {
      g_autoptr (GObject) reader = NULL;

      test_iterate_until (&results[i]);
      reader = g_async_result_get_source_object (results[i]);
      g_assert_true (buf_reader_splice_finish (BUF_READER (reader), results[i], NULL));
      g_object_unref (results[i]);
      assert_contents (names->pdata[i], g_bytes_get_data (text, NULL), 10000);
    }
}

static void
test_cancel_in_thread (void)
{
  g_autofree gchar *name = NULL;
  g_autoptr (BufPool) pool = test_pool_new (4, 8);
  g_autoptr (ScriptedStream) stream = scripted_stream_new (FALSE);
  g_autoptr (GOutputStream) target = make_target_file (0, &name);
  g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;

  g_test_summary ("A thread that waits for the thread that reads ahead can be cancelled");

  scripted_stream_add_data (stream, "ab");
  scripted_stream_add_gate (stream);
  scripted_stream_add_data (stream, "cd");
  test_assert_next_is (FALSE, reader, "ab");
  test_wait_until (scripted_stream_is_at_gate (stream));
  buf_reader_splice_async (reader, target, 0, 0, cancellable, test_keep_result, &result);
  for (guint i = 0; i < 100; i++)
    g_main_context_iteration (NULL, FALSE);
  g_cancellable_cancel (cancellable);
  test_iterate_until (&result);
  g_assert_false (buf_reader_splice_finish (reader, result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);

  scripted_stream_open_gate (stream);
  g_assert_true (test_splice (TRUE, reader, target, 3, NULL, NULL));
  assert_contents (name, "cd", 2);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/splice-files/files", test_files);
  g_test_add_func ("/splice-files/full-device", test_full_device);
  g_test_add_func ("/splice-files/read-error", test_read_error);
  g_test_add_func ("/splice-files/refusal", test_refusal);
  g_test_add_func ("/splice-files/one-block", test_one_block);
  g_test_add_func ("/splice-files/cancel-in-thread", test_cancel_in_thread);
  return g_test_run ();
}
