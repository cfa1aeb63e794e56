/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <bufpool/bufpool.h>

#include <locale.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <glib-unix.h>

#include "number-option.h"

/*
 * A TCP server that echoes or forwards what it receives, for any number of connections, in one
 * thread. All data passes through one pool, so its memory is bounded no matter what clients do.
 *
 * A connection is one splice, or two when it forwards, one for each direction. A splice holds
 * memory only while there is something to read and the receiver can accept it. When the limit is
 * reached, it does not read, and TCP slows down the sender.
 */

#define EXIT_USAGE 2

typedef struct
{
  GSocketConnection *client, *server; /* NULL for the server: echo */
  GCancellable *cancellable;
  guint n_readers;
  gboolean failed;
  struct Direction
  {
    GSocketConnection *from, *to;
    BufReader *reader; /* NULL if it has ended or never begun */
    guint64 position;  /* at the last check */
    guint n_idle;      /* how many seconds @to has accepted nothing */
  } directions[2];
} Connection;

static guint64 max_memory = 1 << 20, buffer_size = 4096, n_buffers = 4, port = 0, timeout = 60;
static GSocketConnectable *target; /* NULL for echo */
static BufPool *pool;
static GMainLoop *loop;
static GSocketService *service;
static GList *connections;
static gboolean stopping;
static gboolean version;
static guint64 n_connections, n_failed, n_bytes;
static gsize most_out;

/* Samples how much memory is outstanding whenever the main loop is idle. */
static gint
poll_and_look (GPollFD *fds, guint n_fds, gint wait)
{
  most_out = MAX (most_out, buf_pool_get_allocated_memory (pool));
  return g_poll (fds, n_fds, wait);
}

static void
quit_if_idle (void)
{
  if (stopping && connections == NULL)
    g_main_loop_quit (loop);
}

static void
connection_end (Connection *self)
{
  connections = g_list_remove (connections, self);
  n_failed += self->failed;
  g_io_stream_close (G_IO_STREAM (self->client), NULL, NULL);
  g_object_unref (self->client);
  g_clear_object (&self->server);
  g_object_unref (self->cancellable);
  g_free (self);
  quit_if_idle ();
}

static void
connection_fail (Connection *self)
{
  self->failed = TRUE;
  g_cancellable_cancel (self->cancellable);
}

/* The sender has finished. Tells the receiver, while the other direction continues. */
static void
on_spliced (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Connection *self = user_data;
  struct Direction *direction =
      &self->directions[self->directions[1].reader == BUF_READER (source)];

  if (!buf_reader_splice_finish (BUF_READER (source), result, NULL) &&
      !g_cancellable_is_cancelled (self->cancellable))
    connection_fail (self);
  n_bytes += buf_reader_get_position (direction->reader);
  g_socket_shutdown (g_socket_connection_get_socket (direction->to), FALSE, TRUE, NULL);
  g_clear_object (&direction->reader);
  if (--self->n_readers == 0)
    connection_end (self);
}

static void
begin (Connection *self, GSocketConnection *from, GSocketConnection *to)
{
  struct Direction *direction = &self->directions[self->n_readers++];
  GInputStream *in = g_io_stream_get_input_stream (G_IO_STREAM (from));
  GOutputStream *out = g_io_stream_get_output_stream (G_IO_STREAM (to));

  g_socket_set_option (g_socket_connection_get_socket (to), IPPROTO_TCP, TCP_NODELAY, 1, NULL);
  direction->from = from;
  direction->to = to;
  direction->reader = buf_reader_new (in, pool, n_buffers);
  buf_reader_splice_async (direction->reader, out, 0, 0, self->cancellable, on_spliced, self);
}

static void
on_connected (GObject *client, GAsyncResult *result, gpointer user_data)
{
  Connection *self = user_data;
  g_autoptr (GError) error = NULL;

  self->server = g_socket_client_connect_finish (G_SOCKET_CLIENT (client), result, &error);
  if (error != NULL)
    g_printerr ("relay: %s\n", error->message);
  if (self->server == NULL || stopping)
    {
      self->failed = TRUE;
      connection_end (self);
      return;
    }

  begin (self, self->client, self->server);
  begin (self, self->server, self->client);
}

static gboolean
on_incoming (GSocketService *server, GSocketConnection *client, GObject *source, gpointer data)
{
  Connection *self = g_new0 (Connection, 1);
  g_autoptr (GSocketClient) connector = g_socket_client_new ();

  self->client = g_object_ref (client);
  self->cancellable = g_cancellable_new ();
  connections = g_list_prepend (connections, self);
  n_connections++;
  if (target == NULL)
    begin (self, client, client);
  else
    g_socket_client_connect_async (connector, target, self->cancellable, on_connected, self);
  return TRUE;
}

/* Returns whether the receiver has accepted nothing for too long. */
static gboolean
is_stuck (struct Direction *self)
{
  guint64 position = self->reader != NULL ? buf_reader_get_position (self->reader) : 0;
  GSocket *socket = self->reader != NULL ? g_socket_connection_get_socket (self->to) : NULL;
  gboolean stands = socket != NULL && position == self->position &&
                    g_socket_condition_check (socket, G_IO_OUT) == 0;

  self->position = position;
  self->n_idle = stands ? self->n_idle + 1 : 0;
  return timeout > 0 && self->n_idle >= timeout;
}

static gboolean
on_second (gpointer user_data)
{
  for (GList *l = connections; l != NULL; l = l->next)
    {
      Connection *self = l->data;

      if (is_stuck (&self->directions[0]) || is_stuck (&self->directions[1]))
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
    {
      Connection *self = l->data;

      g_socket_shutdown (g_socket_connection_get_socket (self->client), TRUE, FALSE, NULL);
      if (self->server != NULL)
        g_socket_shutdown (g_socket_connection_get_socket (self->server), TRUE, FALSE, NULL);
    }
  g_timeout_add_seconds (1, on_grace_over, NULL);
  quit_if_idle ();
  return G_SOURCE_REMOVE;
}

static gboolean
set_forward (const gchar *option, const gchar *value, gpointer data, GError **error)
{
  GSocketConnectable *parsed = g_network_address_parse (value, 0, error);

  g_set_object (&target, parsed);
  if (parsed == NULL)
    return FALSE;

  g_object_unref (parsed);
  if (g_network_address_get_port (G_NETWORK_ADDRESS (target)) != 0)
    return TRUE;
  g_set_error (error,
               G_OPTION_ERROR,
               G_OPTION_ERROR_BAD_VALUE,
               "%s: %s has no port",
               option,
               value);
  return FALSE;
}

static const NumberOption numbers[] = {
  { "--max-memory", &max_memory, 1, G_MAXSIZE }, { "--buffer-size", &buffer_size, 1, G_MAXSIZE },
  { "--buffers", &n_buffers, 1, G_MAXINT64 },     { "--port", &port, 0, G_MAXUINT16 },
  { "--timeout", &timeout, 0, G_MAXINT32 },
};

static gboolean
set_number (const gchar *option, const gchar *value, gpointer data, GError **error)
{
  return number_option_set (numbers, option, value, error);
}

/* A request that can never be granted should fail now, not with the first client. */
static gboolean
create_pool (GError **error)
{
  g_autoptr (BufPoolAllocation) first = NULL;

  pool = buf_pool_new (buffer_size, max_memory, error);
  if (pool != NULL)
    first = buf_pool_try_allocate (pool, n_buffers, error);
  return first != NULL;
}

static gboolean
parse_options (gint *argc, gchar ***argv, GError **error)
{
  /* clang-format off */
  const GOptionEntry entries[] = {
    { "max-memory", 0, 0, G_OPTION_ARG_CALLBACK, set_number,
      "Memory for data in transit, in bytes, or with K or M (default: 1M)", "BYTES" },
    { "buffer-size", 0, 0, G_OPTION_ARG_CALLBACK, set_number, "Size of a buffer (default: 4K)", "BYTES" },
    { "buffers", 0, 0, G_OPTION_ARG_CALLBACK, set_number, "Buffers read at a time (default: 4)", "N" },
    { "port", 0, 0, G_OPTION_ARG_CALLBACK, set_number,
      "Port to listen on, at the loopback address (default: any)", "PORT" },
    { "forward", 0, 0, G_OPTION_ARG_CALLBACK, set_forward,
      "Forward to this server, and its answers back; otherwise, echo", "HOST:PORT" },
    { "timeout", 0, 0, G_OPTION_ARG_CALLBACK, set_number,
      "Drop a receiver that takes nothing for so many seconds; 0: never (default: 60)", "SECONDS" },
    { "version", 0, 0, G_OPTION_ARG_NONE, &version, "Print the version", NULL },
    G_OPTION_ENTRY_NULL
  };
  /* clang-format on */
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_summary (context, "Echoes or forwards TCP connections in bounded memory.");
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (*argc > 1)
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "“%s” is no option", (*argv)[1]);
  return *argc == 1 && (version || create_pool (error));
}

static gboolean
listen_at_port (GError **error)
{
  g_autoptr (GInetAddress) loopback = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);
  g_autoptr (GSocketAddress) address = g_inet_socket_address_new (loopback, port);
  g_autoptr (GSocketAddress) effective = NULL;

  service = g_socket_service_new ();
  g_signal_connect (service, "incoming", G_CALLBACK (on_incoming), NULL);
  g_socket_listener_set_backlog (G_SOCKET_LISTENER (service), 1024);
  if (!g_socket_listener_add_address (G_SOCKET_LISTENER (service),
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

static void
run (void)
{
  g_autoptr (BufPoolStats) stats = NULL;
  struct rlimit limit;

  /* Each connection needs one or two file descriptors. */
  if (getrlimit (RLIMIT_NOFILE, &limit) == 0)
    {
      limit.rlim_cur = limit.rlim_max;
      setrlimit (RLIMIT_NOFILE, &limit);
    }
  loop = g_main_loop_new (NULL, FALSE);
  g_main_context_set_poll_func (NULL, poll_and_look);
  g_unix_signal_add (SIGINT, on_signal, NULL);
  g_unix_signal_add (SIGTERM, on_signal, NULL);
  g_timeout_add_seconds (1, on_second, NULL);
  g_main_loop_run (loop);

  stats = buf_pool_get_stats (pool);
  g_print ("%" G_GUINT64_FORMAT " connections (%" G_GUINT64_FORMAT " failed), %" G_GUINT64_FORMAT
           " bytes, at most %" G_GSIZE_FORMAT " of %" G_GUINT64_FORMAT
           " bytes out, %" G_GUINT64_FORMAT " requests waited, %" G_GUINT64_FORMAT
           " used a cached block, %" G_GSIZE_FORMAT " bytes cached\n",
           n_connections,
           n_failed,
           n_bytes,
           most_out,
           max_memory,
           stats->n_waits,
           stats->n_hits,
           buf_pool_get_cached_memory (pool));
}

static void
print_version (void)
{
  g_print ("%s (libbufpool) %s\n", g_get_prgname (), BUF_VERSION_S);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  int status = EXIT_USAGE;

  setlocale (LC_ALL, "");
  setvbuf (stdout, NULL, _IOLBF, 0);
  if (parse_options (&argc, &argv, &error))
    status = version || listen_at_port (&error) ? EXIT_SUCCESS : EXIT_FAILURE;
  if (error == NULL && version)
    print_version ();
  else if (error == NULL)
    run ();
  else
    g_printerr ("relay: %s\n", error->message);

  g_clear_object (&service);
  g_clear_pointer (&loop, g_main_loop_unref);
  g_clear_object (&target);
  g_clear_object (&pool);
  return status;
}
