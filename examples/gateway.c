/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A gateway for uploads from two kinds of clients, within one memory limit.
 *
 * A client sends a line, "premium N" or "standard N", and then N bytes. The gateway answers with a
 * line: "ok" and the SHA-256 of the bytes, or "busy" and the reason. All clients share the total,
 * and each kind has its own limit. Premium clients go first, and a part of the total is reserved
 * for them. If too many standard clients are waiting, the next one is refused. A client that sends
 * slowly holds no memory, because a block is allocated only when there is something to read. */

#include <bufpool/bufpool.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

#define BLOCK_SIZE  4096
#define MAX_BLOCKS  16 /* in one allocation */
#define MAX_CLIENTS 1000

typedef struct
{
  const gchar *name;
  int priority;
  BufPool *pool;
  gint n_served;  /* atomic */
  gint n_refused; /* atomic */
} Kind;

typedef struct
{
  BufBudget *total;
  Kind kinds[2];
  gint peak; /* atomic; KiB of the total in use */
} Gateway;

static guint64 port;
static guint64 total_memory = 1 << 20;
static guint64 max_waiting = 64;

/* clang-format off */
static const NumberOption numbers[] = {
  { "port", &port, 0, G_MAXUINT16, "Port to listen on (default: any)", "N" },
  { "total", &total_memory, 4 * MAX_BLOCKS * BLOCK_SIZE, G_MAXUINT32,
    "Memory for all clients, in bytes, or with K or M (default: 1M)", "BYTES" },
  { "max-waiting", &max_waiting, 0, MAX_CLIENTS,
    "How many standard clients may wait (default: 64)", "N" },
  { NULL }
};
/* clang-format on */

static void
kind_init (Kind *self, Gateway *gateway, const gchar *name, int priority, gsize cap, int waiting)
{
  g_autoptr (BufBudget) budget = g_object_new (BUF_TYPE_BUDGET,
                                               "parent",
                                               gateway->total,
                                               "name",
                                               name,
                                               "max-memory",
                                               (guint64) cap,
                                               "max-waiting",
                                               waiting,
                                               NULL);

  self->name = name;
  self->priority = priority;
  self->pool = buf_pool_new_with_budget (BLOCK_SIZE, budget, NULL);
}

static void
gateway_init (Gateway *self)
{
  self->total = g_object_new (BUF_TYPE_BUDGET,
                              "name",
                              "total",
                              "max-memory",
                              total_memory,
                              "reserved-memory",
                              total_memory / 8,
                              NULL);
  kind_init (&self->kinds[0], self, "premium", G_PRIORITY_HIGH, total_memory, -1);
  kind_init (&self->kinds[1],
             self,
             "standard",
             G_PRIORITY_DEFAULT,
             total_memory / 2,
             (int) max_waiting);
}

static void
note_peak (Gateway *self)
{
  gint now = (gint) (buf_budget_get_allocated_memory (self->total) / 1024);
  gint peak = g_atomic_int_get (&self->peak);

  while (now > peak && !g_atomic_int_compare_and_exchange (&self->peak, peak, now))
    peak = g_atomic_int_get (&self->peak);
}

/* Waits, without memory, until there is something to read or the client is gone. */
static gboolean
wait_for_data (GSocketConnection *connection, GError **error)
{
  return g_socket_condition_wait (g_socket_connection_get_socket (connection),
                                  G_IO_IN | G_IO_HUP,
                                  NULL,
                                  error);
}

/* Reads what is available, up to @n_bytes. Returns how much it read, or -1 with an error. */
static gssize
read_some (Gateway *self,
           Kind *kind,
           GSocketConnection *connection,
           guint64 n_bytes,
           GChecksum *checksum,
           GError **error)
{
  GInputStream *input = g_io_stream_get_input_stream (G_IO_STREAM (connection));
  g_autoptr (BufPoolAllocation) block = NULL;
  gssize n_read;

  if (!wait_for_data (connection, error))
    return -1;
  block = buf_pool_allocate_full (kind->pool, 1, MAX_BLOCKS, -1, kind->priority, NULL, error);
  if (block == NULL)
    return -1;

  note_peak (self);
  n_read = g_input_stream_read (input,
                                buf_pool_allocation_get_first (block),
                                MIN (n_bytes, buf_pool_allocation_get_allocated_bytes (block)),
                                NULL,
                                error);
  if (n_read > 0)
    g_checksum_update (checksum, buf_pool_allocation_get_first (block), n_read);
  return n_read;
}

static gchar *
receive (Gateway *self, Kind *kind, GSocketConnection *connection, guint64 n_bytes, GError **error)
{
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);

  while (n_bytes > 0)
    {
      gssize n_read = read_some (self, kind, connection, n_bytes, checksum, error);

      if (n_read == 0)
        g_set_error (error, G_IO_ERROR, G_IO_ERROR_PARTIAL_INPUT, "The client is gone");
      if (n_read <= 0)
        return NULL;
      n_bytes -= (guint64) n_read;
    }
  return g_strdup_printf ("ok %s\n", g_checksum_get_string (checksum));
}

/* Reads the line byte by byte, so that nothing after it is read. */
static gchar *
read_line (GInputStream *input)
{
  g_autoptr (GString) line = g_string_new (NULL);
  gchar c;

  while (line->len < 100 && g_input_stream_read (input, &c, 1, NULL, NULL) == 1)
    {
      if (c == '\n')
        return g_string_free (g_steal_pointer (&line), FALSE);
      g_string_append_c (line, c);
    }
  return NULL;
}

/* Many threads parse numbers, and g_ascii_string_to_unsigned() may reject a valid one if its first
 * call meets another thread in GLib: it checks errno, which a contended lock sets. */
static gboolean
parse_number (const gchar *text, guint64 *number)
{
  gchar *end;

  *number = g_ascii_strtoull (text, &end, 10);
  return g_ascii_isdigit (text[0]) && *end == '\0' && *number <= G_MAXINT64;
}

static Kind *
parse_line (Gateway *self, const gchar *line, guint64 *n_bytes)
{
  g_auto (GStrv) words = g_strsplit (line, " ", 2);

  for (guint i = 0; i < G_N_ELEMENTS (self->kinds); i++)
    if (g_strcmp0 (words[0], self->kinds[i].name) == 0 && words[1] != NULL &&
        parse_number (words[1], n_bytes))
      return &self->kinds[i];
  return NULL;
}

static gchar *
serve (Gateway *self, GSocketConnection *connection)
{
  GInputStream *input = g_io_stream_get_input_stream (G_IO_STREAM (connection));
  g_autofree gchar *line = read_line (input);
  guint64 n_bytes = 0;
  Kind *kind = line != NULL ? parse_line (self, line, &n_bytes) : NULL;
  g_autoptr (GError) error = NULL;
  gchar *answer;

  if (kind == NULL)
    return g_strdup ("error: the first line must be \"premium N\" or \"standard N\"\n");

  answer = receive (self, kind, connection, n_bytes, &error);
  if (answer != NULL)
    g_atomic_int_inc (&kind->n_served);
  else if (error != NULL && g_error_matches (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OVERLOADED))
    {
      g_atomic_int_inc (&kind->n_refused);
      answer = g_strdup_printf ("busy: %s\n", error->message);
    }
  else if (error != NULL)
    g_printerr ("%s client: %s\n", kind->name, error->message);
  return answer;
}

/* How long to wait for a client that was answered to stop sending, in seconds. */
#define LINGER_TIME 10

/* If a connection is closed while the client still sends, the client may lose the answer. */
static void
discard_rest (GSocketConnection *connection)
{
  GSocket *socket = g_socket_connection_get_socket (connection);
  gchar rest[BLOCK_SIZE];

  g_socket_shutdown (socket, FALSE, TRUE, NULL);
  g_socket_set_timeout (socket, LINGER_TIME);
  while (g_socket_receive (socket, rest, sizeof rest, NULL, NULL) > 0)
    continue;
}

/* Runs in a separate thread. */
static gboolean
on_run (GThreadedSocketService *service,
        GSocketConnection *connection,
        GObject *source_object,
        gpointer user_data)
{
  g_autofree gchar *answer = serve (user_data, connection);

  if (answer != NULL)
    g_output_stream_write_all (g_io_stream_get_output_stream (G_IO_STREAM (connection)),
                               answer,
                               strlen (answer),
                               NULL,
                               NULL,
                               NULL);
  discard_rest (connection);
  g_io_stream_close (G_IO_STREAM (connection), NULL, NULL);
  return FALSE;
}

static gboolean
on_signal (gpointer user_data)
{
  g_main_loop_quit (user_data);
  return G_SOURCE_REMOVE;
}

static void
report (Gateway *self)
{
  for (guint i = 0; i < G_N_ELEMENTS (self->kinds); i++)
    g_print ("%s: %d served, %d refused\n",
             self->kinds[i].name,
             self->kinds[i].n_served,
             self->kinds[i].n_refused);
  g_print ("at most %d of %" G_GUINT64_FORMAT " KiB in use\n", self->peak, total_memory / 1024);
}

static guint16
listen_on (GSocketService *service, GError **error)
{
  GSocketListener *listener = G_SOCKET_LISTENER (service);

  g_socket_listener_set_backlog (listener, MAX_CLIENTS);
  if (port == 0)
    return g_socket_listener_add_any_inet_port (listener, NULL, error);
  return g_socket_listener_add_inet_port (listener, (guint16) port, NULL, error) ? (guint16) port
                                                                                 : 0;
}

static gboolean
run (Gateway *self, GError **error)
{
  g_autoptr (GSocketService) service = g_threaded_socket_service_new (MAX_CLIENTS);
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  guint16 chosen = listen_on (service, error);

  if (chosen == 0)
    return FALSE;

  g_signal_connect (service, "run", G_CALLBACK (on_run), self);
  g_unix_signal_add (SIGINT, on_signal, loop);
  g_unix_signal_add (SIGTERM, on_signal, loop);
  g_print ("Listening on port %u\n", chosen);
  fflush (stdout);
  g_main_loop_run (loop);
  g_socket_service_stop (service);
  report (self);
  return TRUE;
}

int
main (int argc, char *argv[])
{
  const gchar *summary = "Receives uploads from two kinds of clients within one memory limit.";
  g_autoptr (GError) error = NULL;
  static Gateway gateway;

  if (!program_parse (&argc, &argv, NULL, summary, NULL, numbers, NULL, &error))
    {
      g_printerr ("gateway: %s\n", error->message);
      return EXIT_USAGE;
    }

  /* Threads may still serve clients at the end, so what they use lives as long as the process. */
  gateway_init (&gateway);
  if (run (&gateway, &error))
    return EXIT_SUCCESS;

  g_printerr ("gateway: %s\n", error->message);
  return EXIT_FAILURE;
}
