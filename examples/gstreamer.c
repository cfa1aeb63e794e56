/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <bufpool/bufpool.h>

#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <stdlib.h>

#include "program.h"

/*
 * Feeds a file from a pool to a GStreamer pipeline.
 *
 * Each GstBuffer is a block of the reader, without a copy. Its memory is freed when the last
 * element drops it. So the pool throttles the source, and no queue is needed: what all elements
 * hold of the file together never exceeds the limit. The limit has to be more than they hold at the
 * same time.
 */

static guint64 max_memory = 1 << 20, buffer_size = 16384, n_buffers = 1;
static BufPool *pool;
static BufReader *reader;
static GstElement *pipeline;
static GstAppSrc *source;
static GMainLoop *loop;
static gsize most_out;
static gboolean failed;

/* clang-format off */
static const NumberOption numbers[] = {
  { "max-memory", &max_memory, 1, G_MAXSIZE,
    "Memory for file data, in bytes, or with K, M or G (default: 1M)", "BYTES" },
  { "buffer-size", &buffer_size, 1, G_MAXSIZE, "Size of a buffer (default: 16K)", "BYTES" },
  { "buffers", &n_buffers, 1, G_MAXSIZE, "Buffers in a block (default: 1)", "N" },
  { NULL }
};
/* clang-format on */

static void read_next (void);

static void
fail (const gchar *message)
{
  g_printerr ("gstreamer: %s\n", message);
  failed = TRUE;
  g_main_loop_quit (loop);
}

static void
on_block (GObject *object, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GError) error = NULL;
  GBytes *block = buf_reader_next_block_finish (reader, result, &error);

  most_out = MAX (most_out, buf_pool_get_allocated_memory (pool));
  if (error != NULL)
    fail (error->message);
  else if (block == NULL)
    gst_app_src_end_of_stream (source);
  else
    {
      GstFlowReturn flow = gst_app_src_push_buffer (source, gst_buffer_new_wrapped_bytes (block));

      g_bytes_unref (block);
      if (flow == GST_FLOW_OK)
        read_next ();
    }
}

static void
read_next (void)
{
  buf_reader_next_block_async (reader, G_PRIORITY_DEFAULT, NULL, on_block, NULL);
}

static gboolean
on_message (GstBus *bus, GstMessage *message, gpointer user_data)
{
  g_autoptr (GError) error = NULL;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS)
    g_main_loop_quit (loop);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    {
      gst_message_parse_error (message, &error, NULL);
      fail (error->message);
    }
  return G_SOURCE_CONTINUE;
}

static gboolean
create_pipeline (const gchar *name, const gchar *description, GError **error)
{
  g_autofree gchar *launch =
      g_strconcat ("appsrc name=source format=bytes max-bytes=0 ! ", description, NULL);
  g_autoptr (GFile) file = g_file_new_for_commandline_arg (name);
  g_autoptr (GFileInputStream) stream = g_file_read (file, NULL, error);
  g_autoptr (GError) problem = NULL;

  if (stream == NULL)
    return FALSE;

  reader = buf_reader_new (G_INPUT_STREAM (stream), pool, n_buffers);
  pipeline = gst_parse_launch (launch, &problem);
  if (problem != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&problem));
      return FALSE;
    }
  source = GST_APP_SRC (gst_bin_get_by_name (GST_BIN (pipeline), "source"));
  return TRUE;
}

static void
run (void)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);

  loop = g_main_loop_new (NULL, FALSE);
  gst_bus_add_watch (bus, on_message, NULL);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  read_next ();
  g_main_loop_run (loop);

  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_bus_remove_watch (bus);
  g_main_loop_unref (loop);
  if (!failed)
    g_print ("%" G_GUINT64_FORMAT " bytes, at most %" G_GSIZE_FORMAT " of %" G_GUINT64_FORMAT
             " bytes out\n",
             buf_reader_get_position (reader),
             most_out,
             max_memory);
}

static gboolean
parse_options (gint *argc, gchar ***argv, GError **error)
{
  const gchar *summary = "Feeds a file to a pipeline, such as “decodebin ! autoaudiosink”, in "
                         "bounded memory.";

  if (!program_parse (argc, argv, "FILE [PIPELINE]", summary, NULL, numbers, NULL, error))
    return FALSE;
  if (*argc != 2 && *argc != 3)
    {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "Specify a file; try --help");
      return FALSE;
    }

  pool = program_create_pool (buffer_size, max_memory, n_buffers, error);
  return pool != NULL;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  int status = EXIT_USAGE;

  gst_init (NULL, NULL);
  if (parse_options (&argc, &argv, &error))
    {
      if (create_pipeline (argv[1], argc == 3 ? argv[2] : "fakesink", &error))
        run ();
      status = error == NULL && !failed ? EXIT_SUCCESS : EXIT_FAILURE;
    }
  if (error != NULL)
    g_printerr ("gstreamer: %s\n", error->message);

  g_clear_object (&source);
  g_clear_object (&pipeline);
  g_clear_object (&reader);
  g_clear_object (&pool);
  return status;
}
