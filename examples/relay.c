/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <bufpool/bufpool.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include <glib-unix.h>

#include "program.h"

/*
 * A TCP server that echoes or forwards what it receives, for any number of connections, in one
 * thread. All data passes through one pool, so its memory is bounded no matter what clients do.
 *
 * A connection is one splice, or two when it forwards, one for each direction. A splice holds
 * memory only while there is something to read and the receiver can accept it. When the limit is
 * reached, it does not read, and TCP slows down the sender.
 */

/* From each end, a splice writes to the other end. */
typedef struct
{
  GSocketConnection *connection; /* both ends are the client for echo */
  BufReader *reader;             /* NULL if it has ended or never begun */
  guint64 position;              /* at the last check */
  guint n_idle;                  /* how many seconds the other end has accepted nothing */
} End;

typedef struct
{
  End ends[2];
  GCancellable *cancellable;
} Connection;

static guint64 max_memory = 1 << 20, buffer_size = 4096, n_buffers = 4, port = 0, timeout = 60;
static GSocketConnectable *target; /* NULL for echo */
static BufPool *pool;
static GSocketService *service;
static GList *connections;
static gboolean stopping;
static guint n_connections, n_failed;
static guint64 n_bytes;
static gsize most_out;

static void
connection_end (Connection *self)
{
  connections = g_list_remove (connections, self);
  g_io_stream_close (G_IO_STREAM (self->ends[0].connection), NULL, NULL);
  g_clear_object (&self->ends[0].connection);
  g_clear_object (&self->ends[1].connection);
  g_object_unref (self->cancellable);
  g_free (self);
}

static void
connection_fail (Connection *self)
{
  n_failed += !g_cancellable_is_cancelled (self->cancellable);
  g_cancellable_cancel (self->cancellable);
}

/* The sender has finished. Tells the receiver, while the other direction continues. */
static void
on_spliced (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Connection *self = user_data;
  gboolean i = self->ends[1].reader == BUF_READER (source);
  GSocketConnection *receiver = self->ends[!i].connection;

  if (!buf_reader_splice_finish (BUF_READER (source), result, NULL))
    connection_fail (self);
  n_bytes += buf_reader_get_position (BUF_READER (source));
  g_socket_shutdown (g_socket_connection_get_socket (receiver), FALSE, TRUE, NULL);
  g_clear_object (&self->ends[i].reader);
  if (self->ends[!i].reader == NULL)
    connection_end (self);
}

static void
begin (Connection *self, End *from, End *to)
{
  GInputStream *in = g_io_stream_get_input_stream (G_IO_STREAM (from->connection));
  GOutputStream *out = g_io_stream_get_output_stream (G_IO_STREAM (to->connection));
  GSocket *receiver = g_socket_connection_get_socket (to->connection);

  g_socket_set_option (receiver, IPPROTO_TCP, TCP_NODELAY, 1, NULL);
  from->reader = buf_reader_new (in, pool, n_buffers);
  buf_reader_splice_async (from->reader, out, 0, 0, self->cancellable, on_spliced, self);
}

static void
on_connected (GObject *client, GAsyncResult *result, gpointer user_data)
{
  Connection *self = user_data;
  g_autoptr (GError) error = NULL;

  self->ends[1].connection =
      g_socket_client_connect_finish (G_SOCKET_CLIENT (client), result, &error);
  if (error != NULL)
    g_printerr ("relay: %s\n", error->message);
  if (error != NULL || stopping)
    {
      n_failed++;
      connection_end (self);
      return;
    }

  begin (self, &self->ends[0], &self->ends[1]);
  begin (self, &self->ends[1], &self->ends[0]);
}

static gboolean
on_incoming (GSocketService *server, GSocketConnection *client, GObject *source, gpointer data)
{
  Connection *self = g_new0 (Connection, 1);
  g_autoptr (GSocketClient) connector = g_socket_client_new ();

  self->ends[0].connection = g_object_ref (client);
  self->cancellable = g_cancellable_new ();
  connections = g_list_prepend (connections, self);
  n_connections++;
  if (target != NULL)
    g_socket_client_connect_async (connector, target, self->cancellable, on_connected, self);
  else
    {
      self->ends[1].connection = g_object_ref (client);
      begin (self, &self->ends[0], &self->ends[1]);
    }
  return TRUE;
}

/* Returns whether the receiver has accepted nothing for too long. */
static gboolean
is_stuck (End *from, End *to)
{
  guint64 position = from->reader != NULL ? buf_reader_get_position (from->reader) : 0;
  gboolean stands =
      from->reader != NULL && position == from->position &&
      g_socket_condition_check (g_socket_connection_get_socket (to->connection), G_IO_OUT) == 0;

  from->position = position;
  from->n_idle = stands ? from->n_idle + 1 : 0;
  return timeout > 0 && from->n_idle >= timeout;
}

static gboolean
on_second (gpointer user_data)
{
  for (GList *l = connections; l != NULL; l = l->next)
    {
      Connection *self = l->data;

      if (is_stuck (&self->ends[0], &self->ends[1]) || is_stuck (&self->ends[1], &self->ends[0]))
        connection_fail (self);
    }
  return G_SOURCE_CONTINUE;
}

static gboolean
on_grace_over (gpointer user_data)
{
  for (GList *l = connections; l != NULL; l = l->next)
    g_cancellable_cancel (((Connection *) l->data)->cancellable);
  return G_SOURCE_REMOVE;
}

/* Data that has arrived is still written, for up to a second. A second signal ends the program
 * immediately. */
static gboolean
on_signal (gpointer user_data)
{
  stopping = TRUE;
  g_socket_service_stop (service);
  g_socket_listener_close (G_SOCKET_LISTENER (service));
  for (GList *l = connections; l != NULL; l = l->next)
    for (guint i = 0; i < 2; i++)
      {
        GSocketConnection *connection = ((Connection *) l->data)->ends[i].connection;

        if (connection != NULL)
          g_socket_shutdown (g_socket_connection_get_socket (connection), TRUE, FALSE, NULL);
      }
  g_timeout_add_seconds (1, on_grace_over, NULL);
  return G_SOURCE_REMOVE;
}

static gboolean
run (GError **error)
{
  g_autoptr (GSocket) socket = program_listen (port, 1024, error);

  service = g_socket_service_new ();
  g_signal_connect (service, "incoming", G_CALLBACK (on_incoming), NULL);
  if (socket == NULL ||
      !g_socket_listener_add_socket (G_SOCKET_LISTENER (service), socket, NULL, error))
    return FALSE;

  g_unix_signal_add (SIGINT, on_signal, NULL);
  g_unix_signal_add (SIGTERM, on_signal, NULL);
  g_timeout_add_seconds (1, on_second, NULL);
  while (!stopping || connections != NULL)
    {
      most_out = MAX (most_out, buf_pool_get_allocated_memory (pool));
      g_main_context_iteration (NULL, TRUE);
    }

  program_report (pool, "connection", n_connections, n_failed, n_bytes, most_out);
  return TRUE;
}

static gboolean
set_forward (const gchar *option, const gchar *value, gpointer data, GError **error)
{
  g_clear_object (&target);
  target = g_network_address_parse (value, 0, error);
  if (target == NULL || g_network_address_get_port (G_NETWORK_ADDRESS (target)) != 0)
    return target != NULL;

  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "%s: no port in %s", option, value);
  return FALSE;
}

/* clang-format off */
static const NumberOption numbers[] = {
  { "max-memory", &max_memory, 1, G_MAXSIZE,
    "Memory for data in transit, in bytes, or with K or M (default: 1M)", "BYTES" },
  { "buffer-size", &buffer_size, 1, G_MAXSIZE, "Size of a buffer (default: 4K)", "BYTES" },
  { "buffers", &n_buffers, 1, G_MAXINT64, "Buffers read at a time (default: 4)", "N" },
  { "port", &port, 0, G_MAXUINT16,
    "Port to listen on, at the loopback address (default: any)", "PORT" },
  { "timeout", &timeout, 0, G_MAXINT32,
    "Drop a receiver that accepts nothing for this many seconds; 0: never (default: 60)", "SECONDS" },
  { NULL }
};
static const GOptionEntry entries[] = {
  { "forward", 0, 0, G_OPTION_ARG_CALLBACK, set_forward,
    "Forward to this server, and its answers back; otherwise, echo", "HOST:PORT" },
  G_OPTION_ENTRY_NULL
};
/* clang-format on */

int
main (int argc, char **argv)
{
  const gchar *summary = "Echoes or forwards TCP connections in bounded memory.";
  g_autoptr (GError) error = NULL;
  int status = EXIT_USAGE;

  setvbuf (stdout, NULL, _IOLBF, 0);
  if (program_parse (&argc, &argv, NULL, summary, NULL, numbers, entries, &error))
    pool = program_create_pool (buffer_size, max_memory, n_buffers, &error);
  if (pool != NULL)
    status = run (&error) ? EXIT_SUCCESS : EXIT_FAILURE;
  if (error != NULL)
    g_printerr ("relay: %s\n", error->message);

  g_clear_object (&service);
  g_clear_object (&target);
  g_clear_object (&pool);
  return status;
}
