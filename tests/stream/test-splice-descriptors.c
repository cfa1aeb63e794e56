/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A splice uses the descriptors of GIO's Unix streams, and waits for those of its sockets, but not
 * those of any other streams. */

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include <gio/gunixinputstream.h>
#include <gio/gunixoutputstream.h>

#include "reader-fixture.h"

/* Unix streams that change the bytes, and so are more than their descriptors. */

#define LOUD_TYPE_INPUT  (loud_input_get_type ())
#define LOUD_TYPE_OUTPUT (loud_output_get_type ())
typedef GUnixInputStream LoudInput;
typedef GUnixInputStreamClass LoudInputClass;
typedef GUnixOutputStream LoudOutput;
typedef GUnixOutputStreamClass LoudOutputClass;
GType loud_input_get_type (void);
GType loud_output_get_type (void);
G_DEFINE_TYPE (LoudInput, loud_input, G_TYPE_UNIX_INPUT_STREAM)
G_DEFINE_TYPE (LoudOutput, loud_output, G_TYPE_UNIX_OUTPUT_STREAM)

static gssize
loud_input_read (GInputStream *stream,
                 void *buffer,
                 gsize count,
                 GCancellable *cancellable,
                 GError **error)
{
  gchar *text = buffer;
  gssize n = G_INPUT_STREAM_CLASS (loud_input_parent_class)
                 ->read_fn (stream, buffer, count, cancellable, error);

  for (gssize i = 0; i < n; i++)
    text[i] = g_ascii_toupper (text[i]);
  return n;
}

static gssize
loud_output_write (GOutputStream *stream,
                   const void *buffer,
                   gsize count,
                   GCancellable *cancellable,
                   GError **error)
{
  g_autofree gchar *text = g_ascii_strup (buffer, count);

  return G_OUTPUT_STREAM_CLASS (loud_output_parent_class)
      ->write_fn (stream, text, count, cancellable, error);
}

static void
loud_input_class_init (LoudInputClass *klass)
{
  G_INPUT_STREAM_CLASS (klass)->read_fn = loud_input_read;
}

static void
loud_output_class_init (LoudOutputClass *klass)
{
  G_OUTPUT_STREAM_CLASS (klass)->write_fn = loud_output_write;
}

static void
loud_input_init (LoudInput *self)
{
}

static void
loud_output_init (LoudOutput *self)
{
}

static gpointer
write_later (gpointer data)
{
  for (guint i = 0; i < 3; i++)
    {
      g_usleep (1000);
      g_assert_cmpint (write (GPOINTER_TO_INT (data), "text", 4), ==, 4);
    }
  close (GPOINTER_TO_INT (data));
  return NULL;
}

static void
test_derived (void)
{
  g_test_summary ("A stream that is derived from a Unix stream is read and written by its methods");

  for (guint kind = 1; kind <= 2; kind++)
    for (gboolean async = FALSE; async <= TRUE; async++)
      {
        g_autoptr (BufPool) pool = test_pool_new (4096, 2);
        g_autoptr (GInputStream) in = NULL;
        g_autoptr (GInputStream) drain = NULL;
        g_autoptr (GOutputStream) out = NULL;
        g_autoptr (BufReader) reader = NULL;
        GThread *thread;
        gchar text[13] = "";
        int source[2], target[2];

        g_assert_true (g_unix_open_pipe (source, FD_CLOEXEC, NULL));
        g_assert_true (g_unix_open_pipe (target, FD_CLOEXEC, NULL));
        in = g_object_new (kind == 1 ? LOUD_TYPE_INPUT : G_TYPE_UNIX_INPUT_STREAM,
                           "fd",
                           source[0],
                           NULL);
        out = g_object_new (kind == 2 ? LOUD_TYPE_OUTPUT : G_TYPE_UNIX_OUTPUT_STREAM,
                            "fd",
                            target[1],
                            NULL);
        drain = g_unix_input_stream_new (target[0], TRUE);
        reader = buf_reader_new (in, pool, 1);
        thread = g_thread_new ("writer", write_later, GINT_TO_POINTER (source[1]));
        g_assert_true (test_splice (async, reader, out, 3, NULL, NULL));
        g_thread_join (thread);
        g_input_stream_read_all (drain, text, 12, NULL, NULL, NULL);
        g_assert_cmpstr (text, ==, "TEXTTEXTTEXT");
      }
}

static GSocketConnection *
make_connection (gint fd)
{
  g_autoptr (GSocket) socket = g_socket_new_from_fd (fd, NULL);

  return g_socket_connection_factory_create_connection (socket);
}

/* Cancelled when the library has decided to wait, and has not begun to watch it. */
static GCancellable *late_cancellable;

gboolean __real_g_unix_open_pipe (gint *fds, gint flags, GError **error);
gboolean __wrap_g_unix_open_pipe (gint *fds, gint flags, GError **error);

gboolean
__wrap_g_unix_open_pipe (gint *fds, gint flags, GError **error)
{
  if (late_cancellable != NULL)
    g_cancellable_cancel (late_cancellable);
  return __real_g_unix_open_pipe (fds, flags, error);
}

static void
test_cancel_before_the_wait (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4096, 2);
  g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (GInputStream) in = NULL;
  g_autoptr (BufReader) reader = NULL;
  int fds[2];

  g_test_summary ("A cancellation just before the wait for a descriptor is noticed");

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
  in = g_unix_input_stream_new (fds[0], TRUE);
  reader = buf_reader_new (in, pool, 1);
  late_cancellable = cancellable;
  g_assert_false (test_splice (FALSE, reader, target, 0, cancellable, &error));
  late_cancellable = NULL;
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  close (fds[1]);
}

/* The stream is silent. */
static void
assert_wait_is_cancelled (GInputStream *in, gboolean async)
{
  g_autoptr (BufPool) pool = test_pool_new (4096, 2);
  g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
  g_autoptr (BufReader) reader = buf_reader_new (in, pool, 1);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;
  gpointer what[] = { in, cancellable };
  GThread *thread = g_thread_new ("canceller", test_cancel_when_pending, what);

  g_assert_false (test_splice (async, reader, target, 0, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_thread_join (thread);
  g_assert_false (g_input_stream_has_pending (in));
  test_assert_figures (pool, 0, 0);
}

static void
test_cancel_while_waiting (void)
{
  g_test_summary ("A wait for any stream can be cancelled: a Unix stream, a derived one, a socket, "
                  "and one with a timeout");

  for (guint kind = 0; kind < 4; kind++)
    for (gboolean async = FALSE; async <= TRUE; async++)
      {
        g_autoptr (GSocketConnection) connection = NULL;
        g_autoptr (GInputStream) in = NULL;
        int fds[2];

        g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
        if (kind < 2)
          in = g_object_new (kind == 0 ? G_TYPE_UNIX_INPUT_STREAM : LOUD_TYPE_INPUT,
                             "fd",
                             fds[0],
                             NULL);
        else
          {
            connection = make_connection (fds[0]);
            g_socket_set_timeout (g_socket_connection_get_socket (connection), kind == 2 ? 0 : 60);
            in = g_object_ref (g_io_stream_get_input_stream (G_IO_STREAM (connection)));
          }
        for (guint i = 0; i < test_scale (100); i++)
          assert_wait_is_cancelled (in, async);
        close (fds[1]);
      }
}

static void
test_full_target (void)
{
  g_test_summary ("A wait for a full target can be cancelled: a Unix stream, and a derived one");

  for (guint kind = 0; kind < 2; kind++)
    for (gboolean async = FALSE; async <= TRUE; async++)
      {
        g_autoptr (BufPool) pool = test_pool_new (4096, 2);
        g_autoptr (GInputStream) in = g_memory_input_stream_new_from_data ("text", 4, NULL);
        g_autoptr (GOutputStream) out = NULL;
        g_autoptr (BufReader) reader = buf_reader_new (in, pool, 1);
        g_autoptr (GCancellable) cancellable = g_cancellable_new ();
        g_autoptr (GError) error = NULL;
        gpointer what[] = { NULL, cancellable };
        GThread *thread;
        int fds[2];

        g_assert_true (g_unix_open_pipe (fds, FD_CLOEXEC, NULL));
        g_unix_set_fd_nonblocking (fds[1], TRUE, NULL);
        while (write (fds[1], "full", 4) > 0)
          continue;
        out = g_object_new (kind == 0 ? G_TYPE_UNIX_OUTPUT_STREAM : LOUD_TYPE_OUTPUT,
                            "fd",
                            fds[1],
                            NULL);
        what[0] = out;
        thread = g_thread_new ("canceller", test_cancel_when_pending, what);
        g_assert_false (test_splice (async, reader, out, 0, cancellable, &error));
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
        g_thread_join (thread);
        g_assert_cmpuint (buf_reader_get_position (reader), ==, 0);
        test_assert_figures (pool, 0, 0);
        close (fds[0]);
      }
}

static void
test_socket_timeout (void)
{
  g_test_summary ("The timeout of a socket ends a wait");

  for (gboolean async = FALSE; async <= TRUE; async++)
    {
      g_autoptr (BufPool) pool = test_pool_new (4096, 2);
      g_autoptr (GOutputStream) target = g_memory_output_stream_new_resizable ();
      g_autoptr (GSocketConnection) connection = NULL;
      g_autoptr (BufReader) reader = NULL;
      g_autoptr (GError) error = NULL;
      int fds[2];

      g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
      connection = make_connection (fds[0]);
      g_socket_set_timeout (g_socket_connection_get_socket (connection), 1);
      reader = buf_reader_new (g_io_stream_get_input_stream (G_IO_STREAM (connection)), pool, 1);
      g_assert_false (test_splice (async, reader, target, 0, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      close (fds[1]);
    }
}

typedef struct
{
  gint fd;
  GBytes *text;
  GChecksum *sum;
} Peer;

static gpointer
feed (gpointer data)
{
  Peer *self = data;
  gsize size;
  const guint8 *text = g_bytes_get_data (self->text, &size);

  while (size > 0)
    {
      gssize n = write (self->fd, text, MIN (size, 5000));

      g_assert_cmpint (n, >, 0);
      text += n;
      size -= n;
    }
  close (self->fd);
  return NULL;
}

static gpointer
swallow (gpointer data)
{
  Peer *self = data;
  guchar room[3000];
  gssize n;

  while ((n = read (self->fd, room, sizeof room)) > 0)
    g_checksum_update (self->sum, room, n);
  close (self->fd);
  return NULL;
}

static void
test_sockets (void)
{
  g_autoptr (GBytes) text = test_make_text (2000000);
  g_autofree gchar *expected = g_compute_checksum_for_bytes (G_CHECKSUM_SHA256, text);

  g_test_summary ("Data passes through sockets of each kind, blocking or not, as it is");

  for (guint kind = 0; kind < 3; kind++)
    for (gboolean async = FALSE; async <= TRUE; async++)
      for (gboolean cancellable = FALSE; cancellable <= TRUE; cancellable++)
        {
          g_autoptr (BufPool) pool = test_pool_new (4096, 40);
          g_autoptr (GCancellable) unused = cancellable ? g_cancellable_new () : NULL;
          GObject *sides[2] = { NULL, NULL };
          g_autoptr (GInputStream) in = NULL;
          g_autoptr (GOutputStream) out = NULL;
          g_autoptr (BufReader) reader = NULL;
          Peer peers[2] = { { 0, text, NULL }, { 0, NULL, g_checksum_new (G_CHECKSUM_SHA256) } };
          GThread *threads[2];
          int source[2], target[2];

          g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, source), ==, 0);
          g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, target), ==, 0);
          if (kind < 2)
            {
              g_unix_set_fd_nonblocking (source[0], kind == 1, NULL);
              g_unix_set_fd_nonblocking (target[0], kind == 1, NULL);
              in = g_unix_input_stream_new (source[0], TRUE);
              out = g_unix_output_stream_new (target[0], TRUE);
            }
          else
            {
              sides[0] = G_OBJECT (make_connection (source[0]));
              sides[1] = G_OBJECT (make_connection (target[0]));
              in = g_object_ref (g_io_stream_get_input_stream (G_IO_STREAM (sides[0])));
              out = g_object_ref (g_io_stream_get_output_stream (G_IO_STREAM (sides[1])));
            }
          peers[0].fd = source[1];
          peers[1].fd = target[1];
          threads[0] = g_thread_new ("feed", feed, &peers[0]);
          threads[1] = g_thread_new ("swallow", swallow, &peers[1]);
          reader = buf_reader_new (in, pool, 20);
          g_assert_true (test_splice (async, reader, out, 0, unused, NULL));
          g_assert_cmpuint (buf_reader_get_position (reader), ==, 2000000);
          g_assert_cmpint (shutdown (target[0], SHUT_WR), ==, 0);
          g_thread_join (threads[0]);
          g_thread_join (threads[1]);
          g_assert_cmpstr (g_checksum_get_string (peers[1].sum), ==, expected);
          g_checksum_free (peers[1].sum);
          g_clear_object (&sides[0]);
          g_clear_object (&sides[1]);
        }
}

/* Other code that reads from the same pipe, in the same main loop. */
typedef struct
{
  gint fds[2];
  GAsyncQueue *news; /* of a loop that still runs */
} Shared;

static gboolean
write_stale (gpointer data)
{
  Shared *self = data;

  g_assert_cmpint (write (self->fds[1], "stale", 5), ==, 5);
  return G_SOURCE_REMOVE;
}

static gboolean
write_late (gpointer data)
{
  Shared *self = data;

  g_assert_cmpint (write (self->fds[1], "late", 4), ==, 4);
  g_async_queue_push (self->news, self);
  return G_SOURCE_REMOVE;
}

static gboolean
take_data (gint fd, GIOCondition condition, gpointer data)
{
  gchar taken[5];

  g_assert_cmpint (read (fd, taken, sizeof taken), ==, 5);
  g_idle_add_full (G_PRIORITY_LOW, write_late, data, NULL);
  return G_SOURCE_REMOVE;
}

static gpointer
free_blocked_loop (gpointer data)
{
  Shared *self = data;

  if (g_async_queue_timeout_pop (self->news, 20 * G_TIME_SPAN_SECOND) == NULL)
    g_assert_cmpint (write (self->fds[1], "hung", 4), ==, 4);
  return NULL;
}

static void
test_data_taken (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4096, 2);
  g_autoptr (GAsyncQueue) news = g_async_queue_new ();
  g_autoptr (GInputStream) in = NULL;
  g_autoptr (BufReader) reader = NULL;
  Shared shared = { { -1, -1 }, news };
  GThread *thread;

  g_test_summary ("If other code takes the data after the poll, the main loop does not block");

  g_assert_true (g_unix_open_pipe (shared.fds, FD_CLOEXEC, NULL));
  in = g_unix_input_stream_new (shared.fds[0], TRUE);
  reader = buf_reader_new (in, pool, 1);
  g_unix_fd_add (shared.fds[0], G_IO_IN, take_data, &shared);
  g_idle_add_full (G_PRIORITY_LOW, write_stale, &shared, NULL);
  thread = g_thread_new ("free a loop", free_blocked_loop, &shared);
  test_assert_next_is (TRUE, reader, "late");
  g_thread_join (thread);
  close (shared.fds[1]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/splice-descriptors/derived", test_derived);
  g_test_add_func ("/splice-descriptors/cancel-before-the-wait", test_cancel_before_the_wait);
  g_test_add_func ("/splice-descriptors/cancel-while-waiting", test_cancel_while_waiting);
  g_test_add_func ("/splice-descriptors/full-target", test_full_target);
  g_test_add_func ("/splice-descriptors/socket-timeout", test_socket_timeout);
  g_test_add_func ("/splice-descriptors/sockets", test_sockets);
  g_test_add_func ("/splice-descriptors/data-taken", test_data_taken);
  return g_test_run ();
}
