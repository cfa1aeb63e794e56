/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <bufpool/bufpool.h>

#include <locale.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <glib-unix.h>

/*
 * A TCP server that echoes what it receives, or forwards it, for any number of connections, in one
 * thread. All data passes through one pool, so the memory for it is bounded whatever clients do.
 *
 * A connection has one pipe; when it forwards, two, one for each direction. A pipe waits until
 * there is something to read, then until there is room to write, and only then asks the pool for
 * memory. So a client that sends nothing, or reads nothing, holds none. While the pool is used up
 * the pipe does not read, and TCP holds the sender back. What was read is written, and the memory
 * dropped:
 *
 *   readable -> writable -> memory -> read and write -> readable ...
 *
 * A write can still take long, if there was room but not enough: after --timeout the connection is
 * dropped. A pipe has one operation under way at any time, so it ends in the callback of that one.
 */

typedef struct
{
  BufPool *pool;
  GMainLoop *loop;
  GSocketService *service;
  GSocketConnectable *target; /* NULL: echo */
  GList *connections;         /* of Connection */
  gsize n_buffers;
  guint timeout; /* seconds */
  gboolean stopping;

  guint64 n_connections;
  guint64 n_failed;
  guint64 n_bytes;
  guint64 n_requests;
  guint64 n_waits;
  gsize most_out;
} Relay;

typedef struct _Connection Connection;

typedef struct
{
  Connection *connection; /* NULL: has ended, or never began */
  GSocketConnection *from;
  GSocketConnection *to;
  GCancellable *waiting; /* for all stages but the last */
  GCancellable *writing;
  BufPoolAllocation *allocation;
  gsize length;
  guint timeout_id;
} Pipe;

struct _Connection
{
  Relay *relay;
  GSocketConnection *client;
  GSocketConnection *server; /* NULL: echo */
  Pipe pipes[2];
  guint n_pipes;
  gboolean failed;
};

static void pipe_wait_until_readable (Pipe *self);

static void
on_drained (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Relay *relay = user_data;

  g_assert_true (buf_pool_drain_finish (BUF_POOL (pool), result, NULL));
  g_main_loop_quit (relay->loop);
}

static void
relay_drain_if_idle (Relay *self)
{
  if (self->stopping && self->connections == NULL)
    buf_pool_drain_async (self->pool, G_PRIORITY_DEFAULT, NULL, on_drained, self);
}

static void
close_socket (GSocketConnection *socket)
{
  /* Not g_io_stream_close_async(): a socket closes at once. */
  g_io_stream_close (G_IO_STREAM (socket), NULL, NULL);
  g_object_unref (socket);
}

static void
connection_free (Connection *self)
{
  Relay *relay = self->relay;

  relay->connections = g_list_remove (relay->connections, self);
  relay->n_failed += self->failed;
  g_clear_pointer (&self->client, close_socket);
  g_clear_pointer (&self->server, close_socket);
  g_free (self);
  relay_drain_if_idle (relay);
}

static void
connection_fail (Connection *self)
{
  self->failed = TRUE;
  for (guint i = 0; i < G_N_ELEMENTS (self->pipes); i++)
    if (self->pipes[i].connection != NULL)
      {
        g_cancellable_cancel (self->pipes[i].waiting);
        g_cancellable_cancel (self->pipes[i].writing);
      }
}

/* The sender has finished: the receiver is told so, and the other direction goes on. */
static void
pipe_end (Pipe *self)
{
  Connection *connection = self->connection;

  g_clear_pointer (&self->allocation, buf_pool_allocation_unref);
  g_socket_shutdown (g_socket_connection_get_socket (self->to), FALSE, TRUE, NULL);
  g_clear_object (&self->waiting);
  g_clear_object (&self->writing);
  self->connection = NULL;
  if (--connection->n_pipes == 0)
    connection_free (connection);
}

/* Something went wrong, unless the server is to stop: then the connection just ends. */
static void
pipe_fail (Pipe *self)
{
  if (!g_cancellable_is_cancelled (self->waiting))
    connection_fail (self->connection);
  pipe_end (self);
}

static gboolean
on_timeout (gpointer user_data)
{
  Pipe *self = user_data;

  self->timeout_id = 0;
  connection_fail (self->connection);
  return G_SOURCE_REMOVE;
}

static void
on_written (GObject *object, GAsyncResult *result, gpointer user_data)
{
  Pipe *self = user_data;
  gsize n_written;
  gboolean done =
      buf_pool_allocation_write_to_stream_finish (self->allocation, result, &n_written, NULL);

  g_clear_handle_id (&self->timeout_id, g_source_remove);
  self->connection->relay->n_bytes += n_written;
  g_clear_pointer (&self->allocation, buf_pool_allocation_unref);
  if (done)
    pipe_wait_until_readable (self);
  else
    pipe_fail (self);
}

static void
pipe_write (Pipe *self)
{
  Relay *relay = self->connection->relay;

  if (relay->timeout > 0)
    self->timeout_id = g_timeout_add_seconds (relay->timeout, on_timeout, self);
  buf_pool_allocation_write_to_stream_async (self->allocation,
                                             g_io_stream_get_output_stream (G_IO_STREAM (self->to)),
                                             0,
                                             self->length,
                                             G_PRIORITY_DEFAULT,
                                             self->writing,
                                             on_written,
                                             self);
}

static void
pipe_read (Pipe *self)
{
  g_autoptr (GError) error = NULL;
  GInputStream *stream = g_io_stream_get_input_stream (G_IO_STREAM (self->from));
  gsize size;
  guint8 *data = buf_pool_allocation_get_data (self->allocation, &size);
  gssize n_read = g_pollable_input_stream_read_nonblocking (G_POLLABLE_INPUT_STREAM (stream),
                                                            data,
                                                            size,
                                                            self->waiting,
                                                            &error);

  if (n_read > 0)
    {
      self->length = n_read;
      pipe_write (self);
    }
  else if (n_read == 0)
    pipe_end (self);
  else if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    {
      g_clear_pointer (&self->allocation, buf_pool_allocation_unref);
      pipe_wait_until_readable (self);
    }
  else
    pipe_fail (self);
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Pipe *self = user_data;
  Relay *relay = self->connection->relay;
  g_autoptr (GError) error = NULL;

  self->allocation = buf_pool_allocate_finish (BUF_POOL (pool), result, &error);
  relay->most_out = MAX (relay->most_out, buf_pool_get_allocated_memory (relay->pool));
  if (self->allocation != NULL)
    {
      pipe_read (self);
      return;
    }

  if (!g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    g_printerr ("relay: %s\n", error->message);
  pipe_fail (self);
}

static gboolean
on_writable (GObject *stream, gpointer user_data)
{
  Pipe *self = user_data;
  Relay *relay = self->connection->relay;
  gsize n_waiting = buf_pool_get_waiting (relay->pool);

  relay->n_requests++;
  buf_pool_allocate_async (relay->pool,
                           relay->n_buffers,
                           G_PRIORITY_DEFAULT,
                           self->waiting,
                           on_allocated,
                           self);
  if (buf_pool_get_waiting (relay->pool) > n_waiting)
    relay->n_waits++;
  return G_SOURCE_REMOVE;
}

static void
attach (GSource *source, GPollableSourceFunc callback, Pipe *pipe)
{
  g_source_set_callback (source, G_SOURCE_FUNC (callback), pipe, NULL);
  g_source_attach (source, NULL);
  g_source_unref (source);
}

static gboolean
on_readable (GObject *stream, gpointer user_data)
{
  Pipe *self = user_data;
  GOutputStream *out = g_io_stream_get_output_stream (G_IO_STREAM (self->to));

  attach (g_pollable_output_stream_create_source (G_POLLABLE_OUTPUT_STREAM (out), self->waiting),
          on_writable,
          self);
  return G_SOURCE_REMOVE;
}

/* Cancellation passes through the stages that wait: the request for memory fails with it. */
static void
pipe_wait_until_readable (Pipe *self)
{
  GInputStream *in = g_io_stream_get_input_stream (G_IO_STREAM (self->from));

  attach (g_pollable_input_stream_create_source (G_POLLABLE_INPUT_STREAM (in), self->waiting),
          on_readable,
          self);
}

static void
connection_add_pipe (Connection *self, GSocketConnection *from, GSocketConnection *to)
{
  Pipe *pipe = &self->pipes[self->n_pipes++];

  g_socket_set_option (g_socket_connection_get_socket (to), IPPROTO_TCP, TCP_NODELAY, 1, NULL);
  pipe->connection = self;
  pipe->from = from;
  pipe->to = to;
  pipe->waiting = g_cancellable_new ();
  pipe->writing = g_cancellable_new ();
  pipe_wait_until_readable (pipe);
}

static void
on_connected (GObject *client, GAsyncResult *result, gpointer user_data)
{
  Connection *self = user_data;
  g_autoptr (GError) error = NULL;

  self->server = g_socket_client_connect_finish (G_SOCKET_CLIENT (client), result, &error);
  if (self->server == NULL || self->relay->stopping)
    {
      if (error != NULL)
        g_printerr ("relay: %s\n", error->message);
      self->failed = TRUE;
      connection_free (self);
      return;
    }

  connection_add_pipe (self, self->client, self->server);
  connection_add_pipe (self, self->server, self->client);
}

static gboolean
on_incoming (GSocketService *service,
             GSocketConnection *client,
             GObject *source_object,
             gpointer user_data)
{
  Relay *relay = user_data;
  Connection *self = g_new0 (Connection, 1);
  g_autoptr (GSocketClient) connector = NULL;

  self->relay = relay;
  self->client = g_object_ref (client);
  relay->connections = g_list_prepend (relay->connections, self);
  relay->n_connections++;

  if (relay->target == NULL)
    {
      connection_add_pipe (self, client, client);
      return TRUE;
    }

  connector = g_socket_client_new ();
  g_socket_client_connect_async (connector, relay->target, NULL, on_connected, self);
  return TRUE;
}

/* What was read is still written; what waits ends. A second signal ends the program at once. */
static gboolean
on_signal (gpointer user_data)
{
  Relay *relay = user_data;

  relay->stopping = TRUE;
  g_socket_service_stop (relay->service);
  g_socket_listener_close (G_SOCKET_LISTENER (relay->service));
  for (GList *l = relay->connections; l != NULL; l = l->next)
    {
      Connection *connection = l->data;

      for (guint i = 0; i < G_N_ELEMENTS (connection->pipes); i++)
        if (connection->pipes[i].connection != NULL)
          g_cancellable_cancel (connection->pipes[i].waiting);
    }
  relay_drain_if_idle (relay);
  return G_SOURCE_REMOVE;
}

static void
relay_report (Relay *self)
{
  g_print ("%" G_GUINT64_FORMAT " connections (%" G_GUINT64_FORMAT " failed), %" G_GUINT64_FORMAT
           " bytes, at most %" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT
           " bytes out, %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " requests waited\n",
           self->n_connections,
           self->n_failed,
           self->n_bytes,
           self->most_out,
           buf_pool_get_max_memory (self->pool),
           self->n_waits,
           self->n_requests);
}

/* Each connection takes a file descriptor, or two. */
static void
raise_descriptor_limit (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) == 0)
    {
      limit.rlim_cur = limit.rlim_max;
      setrlimit (RLIMIT_NOFILE, &limit);
    }
}

typedef struct
{
  gint64 max_memory;
  gint64 buffer_size;
  gint n_buffers;
  gint port;
  gint timeout;
  gchar *forward;
} Options;

static gboolean
parse_options (Options *options, gint *argc, gchar ***argv, GError **error)
{
  /* clang-format off */
  const GOptionEntry entries[] = {
    { "max-memory", 0, 0, G_OPTION_ARG_INT64, &options->max_memory,
      "Memory for data in transit, in bytes (default: 1048576)", "BYTES" },
    { "buffer-size", 0, 0, G_OPTION_ARG_INT64, &options->buffer_size,
      "Size of a buffer, in bytes (default: 4096)", "BYTES" },
    { "buffers", 0, 0, G_OPTION_ARG_INT, &options->n_buffers,
      "Buffers that are read and written at a time (default: 4)", "N" },
    { "port", 0, 0, G_OPTION_ARG_INT, &options->port,
      "Port to listen on, at the loopback address (default: any)", "PORT" },
    { "forward", 0, 0, G_OPTION_ARG_STRING, &options->forward,
      "Forward to this server, and its answers back; otherwise, echo", "HOST:PORT" },
    { "timeout", 0, 0, G_OPTION_ARG_INT, &options->timeout,
      "Drop a receiver that takes nothing for so many seconds; 0: never (default: 60)", "SECONDS" },
    G_OPTION_ENTRY_NULL
  };
  /* clang-format on */
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_summary (context,
                                "Echoes or forwards TCP connections, within a budget of memory.");
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (options->max_memory < 0 || options->buffer_size < 0 || options->n_buffers < 1 ||
      options->n_buffers > BUF_POOL_MAX_BUFFERS || options->port < 0 || options->port > 65535 ||
      options->timeout < 0)
    {
      g_set_error (error,
                   G_OPTION_ERROR,
                   G_OPTION_ERROR_BAD_VALUE,
                   "A number is out of range: see --help");
      return FALSE;
    }
  return TRUE;
}

static gboolean
relay_set_up (Relay *self, const Options *options, GError **error)
{
  BufPoolAllocation *first;

  self->pool = buf_pool_new (options->buffer_size, options->max_memory, error);
  if (self->pool == NULL)
    return FALSE;

  /* A request that can never be granted is better found out now than by the first client. */
  self->n_buffers = options->n_buffers;
  first = buf_pool_try_allocate (self->pool, self->n_buffers, error);
  if (first == NULL)
    return FALSE;
  buf_pool_allocation_unref (first);

  self->timeout = options->timeout;
  if (options->forward != NULL)
    {
      self->target = g_network_address_parse (options->forward, 0, error);
      if (self->target == NULL)
        return FALSE;
    }
  return TRUE;
}

static gboolean
relay_listen (Relay *self, guint16 port, GError **error)
{
  g_autoptr (GInetAddress) loopback = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);
  g_autoptr (GSocketAddress) address = g_inet_socket_address_new (loopback, port);
  g_autoptr (GSocketAddress) effective = NULL;

  g_socket_listener_set_backlog (G_SOCKET_LISTENER (self->service), 1024);
  if (!g_socket_listener_add_address (G_SOCKET_LISTENER (self->service),
                                      address,
                                      G_SOCKET_TYPE_STREAM,
                                      G_SOCKET_PROTOCOL_TCP,
                                      NULL,
                                      &effective,
                                      error))
    return FALSE;

  g_print ("Listening on port %u\n",
           g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (effective)));
  return TRUE;
}

static gboolean
relay_run (Relay *self, const Options *options, GError **error)
{
  if (!relay_set_up (self, options, error))
    return FALSE;

  self->service = g_socket_service_new ();
  self->loop = g_main_loop_new (NULL, FALSE);
  g_signal_connect (self->service, "incoming", G_CALLBACK (on_incoming), self);
  g_unix_signal_add (SIGINT, on_signal, self);
  g_unix_signal_add (SIGTERM, on_signal, self);
  if (!relay_listen (self, options->port, error))
    return FALSE;

  g_main_loop_run (self->loop);
  relay_report (self);
  return TRUE;
}

int
main (int argc, char **argv)
{
  Options options = { .max_memory = 1 << 20, .buffer_size = 4096, .n_buffers = 4, .timeout = 60 };
  Relay relay = { 0 };
  g_autoptr (GError) error = NULL;
  gboolean done;

  setlocale (LC_ALL, "");
  setvbuf (stdout, NULL, _IOLBF, 0);
  raise_descriptor_limit ();
  done = parse_options (&options, &argc, &argv, &error) && relay_run (&relay, &options, &error);
  if (!done)
    g_printerr ("relay: %s\n", error->message);

  g_clear_object (&relay.service);
  g_clear_pointer (&relay.loop, g_main_loop_unref);
  g_clear_object (&relay.target);
  g_clear_object (&relay.pool);
  g_free (options.forward);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
