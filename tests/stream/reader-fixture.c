/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <gio/gunixinputstream.h>
#include <gio/gunixoutputstream.h>

#include "reader-fixture.h"
#include "stream/buf-reader-private.h"

GBytes *
test_make_text (gsize size)
{
  GString *text = g_string_sized_new (size + 16);

  for (guint i = 0; text->len < size; i++)
    g_string_append_printf (text, "%u,", i);
  g_string_truncate (text, size);
  return g_string_free_to_bytes (text);
}

GInputStream *
test_make_file_stream (GBytes *text)
{
  g_autoptr (GFileIOStream) stream = NULL;
  g_autoptr (GFile) file = NULL;
  g_autoptr (GError) error = NULL;
  GFileInputStream *in;

  file = g_file_new_tmp ("test-reader-XXXXXX", &stream, &error);
  g_assert_no_error (error);
  g_assert_true (g_output_stream_write_all (g_io_stream_get_output_stream (G_IO_STREAM (stream)),
                                            g_bytes_get_data (text, NULL),
                                            g_bytes_get_size (text),
                                            NULL,
                                            NULL,
                                            NULL));
  in = g_file_read (file, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (g_file_delete (file, NULL, NULL));
  return G_INPUT_STREAM (in);
}

GInputStream *
test_make_pipe (GOutputStream **writer)
{
  int fds[2];

  g_assert_cmpint (pipe (fds), ==, 0);
  *writer = g_unix_output_stream_new (fds[1], TRUE);
  return g_unix_input_stream_new (fds[0], TRUE);
}

typedef struct
{
  GOutputStream *writer;
  GBytes *text;
} Writing;

static gpointer
write_in_thread (gpointer data)
{
  Writing *writing = data;

  g_assert_true (g_output_stream_write_all (writing->writer,
                                            g_bytes_get_data (writing->text, NULL),
                                            g_bytes_get_size (writing->text),
                                            NULL,
                                            NULL,
                                            NULL));
  g_object_unref (writing->writer);
  g_bytes_unref (writing->text);
  g_free (writing);
  return NULL;
}

static GInputStream *
make_fed_pipe (GBytes *text)
{
  Writing *writing = g_new (Writing, 1);
  GInputStream *in = test_make_pipe (&writing->writer);

  writing->text = g_bytes_ref (text);
  g_thread_unref (g_thread_new ("writer", write_in_thread, writing));
  return in;
}

static GInputStream *
make_converted (GBytes *text)
{
  g_autoptr (GConverter) compress =
      G_CONVERTER (g_zlib_compressor_new (G_ZLIB_COMPRESSOR_FORMAT_GZIP, 1));
  g_autoptr (GConverter) expand =
      G_CONVERTER (g_zlib_decompressor_new (G_ZLIB_COMPRESSOR_FORMAT_GZIP));
  g_autoptr (GInputStream) base = g_memory_input_stream_new_from_bytes (text);
  g_autoptr (GInputStream) compressed = g_converter_input_stream_new (base, compress);

  return g_converter_input_stream_new (compressed, expand);
}

GInputStream *
test_make_stream (guint kind, GBytes *text)
{
  g_autoptr (GInputStream) base = NULL;

  switch (kind)
    {
    case 0:
      return g_memory_input_stream_new_from_bytes (text);
    case 1:
      return test_make_file_stream (text);
    case 2:
      base = test_make_file_stream (text);
      return g_buffered_input_stream_new_sized (base, 100);
    case 3:
      return make_converted (text);
    default:
      return make_fed_pipe (text);
    }
}

GBytes *
test_next_block (gboolean async, BufReader *reader, GCancellable *cancellable, GError **error)
{
  g_autoptr (GAsyncResult) result = NULL;

  if (!async)
    return buf_reader_next_block (reader, cancellable, error);

  buf_reader_next_block_async (reader, G_PRIORITY_DEFAULT, cancellable, test_keep_result, &result);
  g_assert_null (result);
  test_iterate_until (&result);
  return buf_reader_next_block_finish (reader, result, error);
}

gboolean
test_splice (gboolean async,
             BufReader *reader,
             GOutputStream *target,
             GOutputStreamSpliceFlags flags,
             GCancellable *cancellable,
             GError **error)
{
  g_autoptr (GAsyncResult) result = NULL;

  if (!async)
    return buf_reader_splice (reader, target, flags, cancellable, error);

  buf_reader_splice_async (reader,
                           target,
                           flags,
                           G_PRIORITY_DEFAULT,
                           cancellable,
                           test_keep_result,
                           &result);
  g_assert_null (result);
  test_iterate_until (&result);
  return buf_reader_splice_finish (reader, result, error);
}

void
test_assert_next_is (gboolean async, BufReader *reader, const gchar *text)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = test_next_block (async, reader, NULL, &error);

  g_assert_no_error (error);
  g_assert_nonnull (bytes);
  g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), text, strlen (text));
}

void
test_assert_end (gboolean async, BufReader *reader)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (test_next_block (async, reader, NULL, &error));
  g_assert_no_error (error);
}

void
test_wait_until_calm (BufReader *reader)
{
  BufReaderCore *core = reader->core;
  gboolean calm = FALSE;

  while (!calm)
    {
      g_mutex_lock (&core->mutex);
      calm = core->reading == BUF_READING_NONE && !core->has_job;
      g_mutex_unlock (&core->mutex);
      g_thread_yield ();
    }
}

void
test_wait_until_stopped (BufReader *reader)
{
  BufReaderCore *core = reader->core;
  gboolean stopped = FALSE;

  while (!stopped)
    {
      g_mutex_lock (&core->mutex);
      stopped = core->stopped;
      g_mutex_unlock (&core->mutex);
      g_thread_yield ();
    }
}

gpointer
test_cancel_when_pending (gpointer data)
{
  gpointer *what = data;

  if (G_IS_INPUT_STREAM (what[0]))
    test_wait_until (g_input_stream_has_pending (what[0]));
  else
    test_wait_until (g_output_stream_has_pending (what[0]));
  g_cancellable_cancel (what[1]);
  return NULL;
}
