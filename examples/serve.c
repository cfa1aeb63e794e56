/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <bufpool/bufpool.h>

#include <libsoup/soup.h>
#include <stdio.h>
#include <stdlib.h>

#include <glib-unix.h>

#include "program.h"

/*
 * An HTTP server for the files in a folder. All file data passes through one pool, so a bounded
 * amount of memory serves any number of clients.
 *
 * A transfer waits until the socket of its client is writable, and then for a block of the file,
 * which may wait for the pool. It passes the block to libsoup without a copy, and libsoup frees it
 * after writing it. So a client that accepts nothing holds at most one block, and only until
 * --timeout. With 4 MiB, 200 transfers of 8 MiB at once raise the resident memory by less than 16
 * MiB: the buffers, what malloc() keeps, and about 30 KiB for each connection.
 *
 *   socket is writable -> block -> written -> socket is writable ...
 */

#define EXIT_USAGE     2
#define LISTEN_BACKLOG 1024

static guint64 max_memory = 4 << 20, buffer_size = 16384, n_buffers = 4, port = 0, timeout = 60;
static BufPool *pool;
static GFile *root;
static GMainLoop *loop;
static guint n_transfers, n_failed;
static guint64 n_bytes;
static gsize most_out;

/* clang-format off */
static const NumberOption numbers[] = {
  { "max-memory", &max_memory, 1, G_MAXSIZE,
    "Memory for file data, in bytes, or with K, M or G (default: 4M)", "BYTES" },
  { "buffer-size", &buffer_size, 1, G_MAXSIZE, "Size of a buffer (default: 16K)", "BYTES" },
  { "buffers", &n_buffers, 1, G_MAXSIZE, "Buffers in a block (default: 4)", "N" },
  { "port", &port, 0, G_MAXUINT16,
    "Port to listen on, at the loopback address (default: any)", "PORT" },
  { "timeout", &timeout, 0, G_MAXINT32,
    "Drop a client that accepts nothing for this many seconds; 0: never (default: 60)", "SECONDS" },
  { NULL }
};
/* clang-format on */

typedef struct
{
  SoupServerMessage *message;
  GSocket *socket;
  BufReader *reader;
  GCancellable *cancellable;
  GSource *writable; /* while it waits for the client */
  guint timeout_id;  /* while a block is written */
  gboolean reading;  /* whether on_block() will be called */
  gboolean complete;
} Transfer;

static void
stop_polling (Transfer *self)
{
  if (self->writable == NULL)
    return;

  g_source_destroy (self->writable);
  g_clear_pointer (&self->writable, g_source_unref);
}

static void
transfer_free (Transfer *self)
{
  stop_polling (self);
  g_object_unref (self->reader);
  g_object_unref (self->cancellable);
  g_object_unref (self->socket);
  g_object_unref (self->message);
  g_free (self);
}

/* The client notices that data is missing, because the last chunk does not arrive. */
static void
transfer_abort (Transfer *self)
{
  soup_server_message_unpause (self->message);
  g_socket_shutdown (self->socket, TRUE, TRUE, NULL);
}

static gboolean
on_timeout (gpointer user_data)
{
  Transfer *self = user_data;

  self->timeout_id = 0;
  transfer_abort (self);
  return G_SOURCE_REMOVE;
}

static void
transfer_write (Transfer *self, GBytes *block)
{
  SoupMessageBody *body = soup_server_message_get_response_body (self->message);

  most_out = MAX (most_out, buf_pool_get_allocated_memory (pool));
  if (block == NULL)
    {
      self->complete = TRUE;
      soup_message_body_complete (body);
    }
  else
    {
      n_bytes += g_bytes_get_size (block);
      soup_message_body_append_bytes (body, block);
    }
  if (timeout > 0)
    self->timeout_id = g_timeout_add_seconds (timeout, on_timeout, self);
  soup_server_message_unpause (self->message);
}

static void
on_block (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Transfer *self = user_data;
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) block = buf_reader_next_block_finish (BUF_READER (source), result, &error);

  self->reading = FALSE;
  if (g_cancellable_is_cancelled (self->cancellable))
    transfer_free (self);
  else if (error == NULL)
    transfer_write (self, block);
  else
    {
      g_printerr ("serve: %s\n", error->message);
      transfer_abort (self);
    }
}

static gboolean
on_writable (GSocket *socket, GIOCondition condition, gpointer user_data)
{
  Transfer *self = user_data;

  stop_polling (self);
  self->reading = TRUE;
  buf_reader_next_block_async (self->reader, G_PRIORITY_DEFAULT, self->cancellable, on_block, self);
  return G_SOURCE_REMOVE;
}

static void
transfer_next (Transfer *self)
{
  self->writable = g_socket_create_source (self->socket, G_IO_OUT, NULL);
  g_source_set_callback (self->writable, G_SOURCE_FUNC (on_writable), self, NULL);
  g_source_attach (self->writable, NULL);
}

static void
on_wrote_chunk (SoupServerMessage *message, gpointer user_data)
{
  Transfer *self = user_data;

  g_clear_handle_id (&self->timeout_id, g_source_remove);
  if (!self->complete)
    transfer_next (self);
}

/* Everything has been sent, or the client is gone. */
static void
on_finished (SoupServerMessage *message, gpointer user_data)
{
  Transfer *self = user_data;

  g_clear_handle_id (&self->timeout_id, g_source_remove);
  g_signal_handlers_disconnect_by_data (message, self);
  n_failed += !self->complete;
  g_cancellable_cancel (self->cancellable);
  if (!self->reading)
    transfer_free (self);
}

static void
transfer_begin (SoupServerMessage *message, GInputStream *file)
{
  Transfer *self = g_new0 (Transfer, 1);

  n_transfers++;
  self->message = g_object_ref (message);
  self->socket = g_object_ref (soup_server_message_get_socket (message));
  self->reader = buf_reader_new (file, pool, n_buffers);
  self->cancellable = g_cancellable_new ();
  buf_reader_set_read_ahead (self->reader, 0);
  soup_message_body_set_accumulate (soup_server_message_get_response_body (message), FALSE);
  soup_message_headers_set_encoding (soup_server_message_get_response_headers (message),
                                     SOUP_ENCODING_CHUNKED);
  g_signal_connect (message, "wrote-chunk", G_CALLBACK (on_wrote_chunk), self);
  g_signal_connect (message, "finished", G_CALLBACK (on_finished), self);
  g_signal_connect (message, "disconnected", G_CALLBACK (on_finished), self);
  soup_server_message_pause (message);
  transfer_next (self);
}

/* The path is decoded and begins with a slash. */
static GInputStream *
open_file (const gchar *path)
{
  g_autoptr (GFile) file = g_file_resolve_relative_path (root, path + strspn (path, "/"));

  return g_file_has_prefix (file, root) ? (GInputStream *) g_file_read (file, NULL, NULL) : NULL;
}

static void
on_request (SoupServer *server,
            SoupServerMessage *message,
            const gchar *path,
            GHashTable *query,
            gpointer user_data)
{
  const gchar *method = soup_server_message_get_method (message);
  g_autoptr (GInputStream) file = NULL;

  if (method != SOUP_METHOD_GET && method != SOUP_METHOD_HEAD)
    {
      soup_server_message_set_status (message, SOUP_STATUS_NOT_IMPLEMENTED, NULL);
      return;
    }

  file = open_file (path);
  soup_server_message_set_status (message,
                                  file != NULL ? SOUP_STATUS_OK : SOUP_STATUS_NOT_FOUND,
                                  NULL);
  if (file != NULL && method == SOUP_METHOD_GET)
    transfer_begin (message, file);
}

static gboolean
parse_options (gint *argc, gchar ***argv, GError **error)
{
  const gchar *summary = "Serves the files of a folder by HTTP, in bounded memory.";

  if (!program_parse (argc, argv, "FOLDER", summary, NULL, numbers, NULL, error))
    return FALSE;
  if (*argc != 2)
    {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "Specify one folder; try --help");
      return FALSE;
    }

  root = g_file_new_for_commandline_arg ((*argv)[1]);
  pool = program_create_pool (buffer_size, max_memory, n_buffers, error);
  return pool != NULL;
}

static gboolean
on_signal (gpointer user_data)
{
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

static gboolean
run (GError **error)
{
  g_autoptr (GSocket) socket = program_listen ((guint16) port, LISTEN_BACKLOG, error);
  g_autoptr (SoupServer) server = soup_server_new (NULL, NULL);

  soup_server_add_handler (server, NULL, on_request, NULL, NULL);
  if (socket == NULL || !soup_server_listen_socket (server, socket, 0, error))
    return FALSE;

  loop = g_main_loop_new (NULL, FALSE);
  g_unix_signal_add (SIGINT, on_signal, NULL);
  g_unix_signal_add (SIGTERM, on_signal, NULL);
  g_main_loop_run (loop);

  soup_server_disconnect (server);
  while (g_main_context_iteration (NULL, FALSE))
    continue;
  program_report (pool, "transfer", n_transfers, n_failed, n_bytes, most_out);
  g_main_loop_unref (loop);
  return TRUE;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  int status = EXIT_USAGE;

  setvbuf (stdout, NULL, _IOLBF, 0);
  if (parse_options (&argc, &argv, &error))
    status = run (&error) ? EXIT_SUCCESS : EXIT_FAILURE;
  if (error != NULL)
    g_printerr ("serve: %s\n", error->message);
  g_clear_object (&root);
  g_clear_object (&pool);
  return status;
}
