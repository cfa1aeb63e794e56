/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A reader that writes a whole stream to another one. */

#include <string.h>
#include <sys/socket.h>

#include <glib-unix.h>

#include <gio/gunixinputstream.h>
#include <gio/gunixoutputstream.h>

#include "reader-fixture.h"
#include "scripted-stream.h"
#include "stream/buf-reader-private.h"

static void
assert_written (GOutputStream *target, gconstpointer data, gsize size)
{
  GMemoryOutputStream *memory = G_MEMORY_OUTPUT_STREAM (target);

  g_assert_cmpmem (g_memory_output_stream_get_data (memory),
                   g_memory_output_stream_get_data_size (memory),
                   data,
                   size);
}

static void
test_all_streams (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 8);
  g_autoptr (GBytes) text = test_make_text (10000);

  g_test_summary ("The whole stream arrives, no matter how many blocks are read ahead");

  for (guint kind = 0; kind < TEST_N_STREAMS; kind++)
    for (guint read_ahead = 0; read_ahead <= 2; read_ahead++)
      for (gboolean async = FALSE; async <= TRUE; async++)
        {
          g_autoptr (GInputStream) stream = test_make_stream (kind, text);
          g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
          g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 2);
          g_autoptr (GError) error = NULL;

          buf_reader_set_read_ahead (reader, read_ahead);
          g_assert_true (test_splice (async, reader, target, 0, NULL, &error));
          g_assert_no_error (error);
          assert_written (target, g_bytes_get_data (text, NULL), 10000);
          g_assert_cmpuint (buf_reader_get_position (reader), ==, 10000);
          g_assert_false (g_input_stream_is_closed (stream));
          g_assert_false (g_output_stream_is_closed (target));
          test_wait_until_calm (reader);
          test_assert_figures (pool, 0, 0);
        }
}

static void
make_socket_streams (GInputStream **in, GOutputStream **out)
{
  int sockets[2];

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, sockets), ==, 0);
  *in = g_unix_input_stream_new (sockets[0], TRUE);
  *out = g_unix_output_stream_new (sockets[1], TRUE);
}

typedef struct
{
  BufReader *reader;
  GOutputStream *target;
  gboolean async;
} Job;

static gpointer
splice_in_thread (gpointer data)
{
  Job *job = data;
  g_autoptr (GError) error = NULL;

  g_assert_true (buf_reader_splice (job->reader,
                                    job->target,
                                    G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET,
                                    NULL,
                                    &error));
  g_assert_no_error (error);
  return NULL;
}

static void
test_through_sockets (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4096, 6);
  g_autoptr (GBytes) text = test_make_text (1000000);

  g_test_summary ("A thread feeds a socket with a splice, and another splice empties it");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (GInputStream) file = test_make_file_stream (text);
      g_autoptr (BufReader) feeder = buf_reader_new (file, pool, 1);
      g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
      g_autoptr (GInputStream) in = NULL;
      g_autoptr (BufReader) reader = NULL;
      g_autoptr (GError) error = NULL;
      Job job = { feeder, NULL };
      GThread *thread;

      make_socket_streams (&in, &job.target);
      reader = buf_reader_new (in, pool, 2);
      thread = g_thread_new ("feeder", splice_in_thread, &job);
      g_assert_true (test_splice (async, reader, target, 0, NULL, &error));
      g_assert_no_error (error);
      g_thread_join (thread);
      g_object_unref (job.target);
      assert_written (target, g_bytes_get_data (text, NULL), 1000000);
    }
  test_assert_figures (pool, 0, 0);
}

static void
test_flags (void)
{
  g_test_summary ("The flags close the streams, even after an error or a cancellation");

  for (guint flags = 0; flags <= 3; flags++)
    for (guint end = 0; end <= 2; end++)
      for (gboolean async = FALSE; async <= TRUE; async++)
        {
          g_autoptr (BufPool) pool = test_pool_new (4, 8);
          g_autoptr (ScriptedStream) stream = scripted_stream_new (FALSE);
          g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
          g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);
          g_autoptr (GCancellable) cancellable = g_cancellable_new ();
          g_autoptr (GError) error = NULL;

          scripted_stream_add_data (stream, "abcdef");
          if (end == 1)
            scripted_stream_add_error (stream, G_IO_ERROR_NO_SPACE);
          if (end == 2)
            g_cancellable_cancel (cancellable);
          g_assert_true (test_splice (async, reader, target, flags, cancellable, &error) ==
                         (end == 0));
          if (end == 1)
            g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
          if (end == 2)
            g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
          g_assert_cmpuint (buf_reader_get_position (reader), ==, end == 2 ? 0 : 6);
          g_assert_cmpint (g_input_stream_is_closed (G_INPUT_STREAM (stream)), ==, flags & 1);
          g_assert_cmpint (g_output_stream_is_closed (target), ==, flags >> 1);
        }
}

static void
test_read_error (void)
{
  g_test_summary ("A read error is reported after the preceding data was written");

  for (guint read_ahead = 0; read_ahead <= 4; read_ahead += 4)
    for (gboolean async = FALSE; async <= TRUE; async++)
      {
        g_autoptr (BufPool) pool = test_pool_new (4, 8);
        g_autoptr (ScriptedStream) stream = scripted_stream_new (FALSE);
        g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
        g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);
        g_autoptr (GError) error = NULL;

        buf_reader_set_read_ahead (reader, read_ahead);
        scripted_stream_add_data (stream, "abcdef");
        scripted_stream_add_error (stream, G_IO_ERROR_TIMED_OUT);
        scripted_stream_add_data (stream, "gh");
        g_assert_false (test_splice (async, reader, target, 0, NULL, &error));
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
        assert_written (target, "abcdef", 6);
        g_assert_cmpuint (buf_reader_get_position (reader), ==, 6);

        g_assert_true (test_splice (async, reader, target, 0, NULL, NULL));
        assert_written (target, "abcdefgh", 8);
      }
}

static void
test_write_error (void)
{
  g_test_summary ("After a write error, the position shows how much was written, and the next "
                  "splice continues there");

  for (guint read_ahead = 0; read_ahead <= 4; read_ahead += 4)
    for (gboolean async = FALSE; async <= TRUE; async++)
      {
        guint8 room[10];
        g_autoptr (BufPool) pool = test_pool_new (8, 8);
        g_autoptr (GBytes) text = g_bytes_new_static ("The quick brown fox.", 20);
        g_autoptr (GInputStream) stream = test_make_file_stream (text);
        g_autoptr (GOutputStream) full = g_memory_output_stream_new (room, 10, NULL, NULL);
        g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
        g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
        g_autoptr (GError) error = NULL;

        buf_reader_set_read_ahead (reader, read_ahead);
        g_assert_false (test_splice (async, reader, full, 0, NULL, &error));
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
        g_assert_cmpuint (buf_reader_get_position (reader), ==, 10);
        assert_written (full, "The quick ", 10);

        test_assert_next_is (async, reader, "brown ");
        g_assert_true (test_splice (async, reader, target, 0, NULL, NULL));
        assert_written (target, "fox.", 4);
        g_assert_cmpuint (buf_reader_get_position (reader), ==, 20);
      }
}

/* A full pipe. */
static GOutputStream *
make_stuck_target (GInputStream **reader)
{
  GOutputStream *target;
  gssize n;

  *reader = test_make_pipe (&target);
  do
    n = g_pollable_output_stream_write_nonblocking (G_POLLABLE_OUTPUT_STREAM (target),
                                                    "full",
                                                    4,
                                                    NULL,
                                                    NULL);
  while (n > 0);
  return target;
}

static void
test_stuck_target (void)
{
  g_test_summary ("A peer that accepts nothing holds no memory; if it is cancelled, nothing is "
                  "lost");

  for (guint kind = 0; kind < TEST_N_STREAMS; kind++)
    for (gboolean async = FALSE; async <= TRUE; async++)
      {
        g_autoptr (BufPool) pool = test_pool_new (4, 4);
        g_autoptr (GBytes) text = g_bytes_new_static ("The quick brown fox.", 20);
        g_autoptr (GInputStream) stream = test_make_stream (kind, text);
        g_autoptr (GInputStream) drain = NULL;
        g_autoptr (GOutputStream) stuck = make_stuck_target (&drain);
        g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
        g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
        g_autoptr (GCancellable) cancellable = g_cancellable_new ();
        g_autoptr (GError) error = NULL;
        gpointer what[] = { stuck, cancellable };
        GThread *thread = g_thread_new ("canceller", test_cancel_when_pending, what);

        g_assert_false (test_splice (async, reader, stuck, 0, cancellable, &error));
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
        g_thread_join (thread);
        g_assert_false (g_output_stream_has_pending (stuck));
        test_assert_figures (pool, 0, 0);
        g_assert_cmpuint (buf_reader_get_position (reader), ==, 0);
        g_assert_true (test_splice (async, reader, target, 0, NULL, NULL));
        assert_written (target, "The quick brown fox.", 20);
      }
}

static gpointer
cancel_when_read_ahead (gpointer data)
{
  gpointer *what = data;
  BufPool *pool = what[0];

  test_wait_until (buf_pool_get_allocated_memory (pool) == 2 * buf_pool_get_buffer_size (pool));
  g_cancellable_cancel (what[1]);
  return NULL;
}

static void
test_reads_while_it_writes (void)
{
  g_test_summary ("While a block is written, the next one is read; if it is cancelled, nothing is "
                  "lost");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      const gsize size = 1 << 20; /* more than a pipe holds */
      g_autoptr (BufPool) pool = test_pool_new (size, 4);
      g_autoptr (GBytes) text = test_make_text (3 * size);
      g_autoptr (GInputStream) stream = test_make_file_stream (text);
      g_autoptr (GOutputStream) narrow = NULL;
      g_autoptr (GInputStream) drain = test_make_pipe (&narrow);
      g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (GError) error = NULL;
      gpointer what[] = { pool, cancellable };
      GThread *thread = g_thread_new ("canceller", cancel_when_read_ahead, what);
      guint64 position;

      g_assert_true (
          g_unix_set_fd_nonblocking (g_unix_output_stream_get_fd (G_UNIX_OUTPUT_STREAM (narrow)),
                                     TRUE,
                                     NULL));
      g_assert_false (test_splice (async, reader, narrow, 0, cancellable, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      g_thread_join (thread);
      position = buf_reader_get_position (reader);
      g_assert_cmpuint (position, <, size);
      g_assert_true (test_splice (async, reader, target, 0, NULL, NULL));
      assert_written (target,
                      (const guint8 *) g_bytes_get_data (text, NULL) + position,
                      3 * size - position);
    }
}

static GCond *awaited; /* atomic */
static gint n_waits;   /* atomic; how many times a thread began to wait for it */

void __real_g_cond_wait (GCond *cond, GMutex *mutex);
void __wrap_g_cond_wait (GCond *cond, GMutex *mutex);

void
__wrap_g_cond_wait (GCond *cond, GMutex *mutex)
{
  if (cond == g_atomic_pointer_get (&awaited))
    g_atomic_int_inc (&n_waits);
  __real_g_cond_wait (cond, mutex);
}

typedef struct
{
  BufReader *reader;
  gint done; /* atomic; whether the splice has returned */
} Opener;

/* Whether the splice waits for the thread that reads ahead. */
static gboolean
waits_for_thread (BufReader *reader)
{
  BufReaderCore *core = reader->core;
  gboolean attached;

  g_mutex_lock (&core->mutex);
  attached = core->stopped && core->waiting != NULL;
  g_mutex_unlock (&core->mutex);
  return attached || g_atomic_int_get (&n_waits) > 0;
}

static gpointer
open_gate_when_awaited (gpointer data)
{
  Opener *self = data;
  GInputStream *stream = buf_reader_get_stream (self->reader);

  test_wait_until (waits_for_thread (self->reader) || g_atomic_int_get (&self->done));
  g_assert_false (g_atomic_int_get (&self->done));
  g_assert_false (g_input_stream_is_closed (stream));
  scripted_stream_open_gate (SCRIPTED_STREAM (stream));
  return NULL;
}

static void
test_source_is_closed_after_reading (void)
{
  g_test_summary ("The source is closed only after the thread that reads ahead has finished");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 8);
      g_autoptr (ScriptedStream) stream = scripted_stream_new (FALSE);
      g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
      g_autoptr (BufReader) reader = buf_reader_new (G_INPUT_STREAM (stream), pool, 1);
      g_autoptr (GError) error = NULL;
      Opener opener = { .reader = reader };
      GThread *thread;

      scripted_stream_add_data (stream, "ab");
      scripted_stream_add_data (stream, "cd");
      scripted_stream_add_gate (stream);
      scripted_stream_add_data (stream, "ef");
      g_assert_true (g_output_stream_close (target, NULL, NULL));
      buf_reader_set_read_ahead (reader, 2);
      test_assert_next_is (async, reader, "ab");
      test_wait_until (scripted_stream_is_at_gate (stream));

      g_atomic_int_set (&n_waits, 0);
      g_atomic_pointer_set (&awaited, &reader->core->changed);
      thread = g_thread_new ("opener", open_gate_when_awaited, &opener);
      g_assert_false (
          test_splice (async, reader, target, G_OUTPUT_STREAM_SPLICE_CLOSE_SOURCE, NULL, &error));
      g_atomic_int_set (&opener.done, TRUE);
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
      g_thread_join (thread);
      g_atomic_pointer_set (&awaited, NULL);
      g_assert_true (g_input_stream_is_closed (G_INPUT_STREAM (stream)));
      test_assert_next_is (async, reader, "cd");
      test_assert_next_is (async, reader, "ef");
    }
}

static void
test_closed_target (void)
{
  g_test_summary ("A closed target is an error, and nothing is lost");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4, 4);
      g_autoptr (GInputStream) stream = g_memory_input_stream_new_from_data ("data", 4, NULL);
      g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);
      g_autoptr (GError) error = NULL;

      g_assert_true (g_output_stream_close (target, NULL, NULL));
      g_assert_false (test_splice (async, reader, target, 0, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CLOSED);
      test_assert_next_is (async, reader, "data");
    }
}

static void
test_many_at_once (void)
{
  guint n = test_scale (100);
  g_autofree GAsyncResult **results = g_new0 (GAsyncResult *, n);
  g_autoptr (GPtrArray) targets = g_ptr_array_new_with_free_func (g_object_unref);
  g_autoptr (BufPool) pool = test_pool_new (512, 8);
  g_autoptr (GBytes) text = test_make_text (20000);

  g_test_summary ("Many splices share a budget of a few blocks");

  for (guint i = 0; i < n; i++)
    {
      g_autoptr (GInputStream) stream = test_make_stream (i % TEST_N_STREAMS, text);
      g_autoptr (BufReader) reader = buf_reader_new (stream, pool, 1);

      g_ptr_array_add (targets, g_memory_output_stream_new_resizable ());
      buf_reader_splice_async (reader,
                               targets->pdata[i],
                               3,
                               G_PRIORITY_DEFAULT,
                               NULL,
                               test_keep_result,
                               &results[i]);
    }
  for (guint i = 0; i < n; i++)
    {
      g_autoptr (GObject) reader = NULL;

      while (results[i] == NULL)
        g_main_context_iteration (NULL, TRUE);
      reader = g_async_result_get_source_object (results[i]);
      g_assert_true (buf_reader_splice_finish (BUF_READER (reader), results[i], NULL));
      assert_written (targets->pdata[i], g_bytes_get_data (text, NULL), 20000);
      g_object_unref (results[i]);
    }
  test_wait_until (buf_pool_get_allocated_memory (pool) == 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/splice/all-streams", test_all_streams);
  g_test_add_func ("/splice/through-sockets", test_through_sockets);
  g_test_add_func ("/splice/flags", test_flags);
  g_test_add_func ("/splice/read-error", test_read_error);
  g_test_add_func ("/splice/write-error", test_write_error);
  g_test_add_func ("/splice/stuck-target", test_stuck_target);
  g_test_add_func ("/splice/reads-while-it-writes", test_reads_while_it_writes);
  g_test_add_func ("/splice/source-is-closed-after-reading", test_source_is_closed_after_reading);
  g_test_add_func ("/splice/closed-target", test_closed_target);
  g_test_add_func ("/splice/many-at-once", test_many_at_once);
  return g_test_run ();
}
