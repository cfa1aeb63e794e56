/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <glib.h>

#ifdef G_OS_UNIX
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <glib-unix.h>
#endif

#include "stream/buf-cancel-watch-private.h"
#include "stream/buf-descriptor-private.h"

/*
 * The file descriptors of streams.
 *
 * GIO's Unix streams do nothing but poll a descriptor and then read or write it, and they poll it
 * twice before a read that must not block. That takes a tenth of the time of a block. So a reader
 * uses the descriptor itself. When this fails for any reason, such as a signal, it uses the stream,
 * which retries or reports the error.
 *
 * A thread waits for the descriptor in one system call. A source in a context of its own takes a
 * dozen, because the context has a descriptor, too, to which each change of its sources writes.
 *
 * Any other stream, also a derived one, may have a buffer, so only the stream itself knows when it
 * is ready. A socket with a timeout has to notice when the timeout is over.
 */

#ifdef G_OS_UNIX

/* Returns the descriptor of a Unix stream of GIO, which never changes, or -1. */
gint
buf_descriptor_get (gpointer stream)
{
  const gchar *type = G_OBJECT_TYPE_NAME (stream);
  gint fd = -1;

  if (g_str_equal (type, "GUnixInputStream") || g_str_equal (type, "GUnixOutputStream"))
    g_object_get (stream, "fd", &fd, NULL);
  return fd;
}

/* Returns a negative number if the stream has to be used instead. */
gssize
buf_descriptor_read (gint fd, gpointer data, gsize size)
{
  return fd < 0 ? -1 : read (fd, data, size);
}

/* Returns a negative number if the stream has to be used instead. */
gssize
buf_descriptor_write (gint fd, gconstpointer data, gsize size)
{
  return fd < 0 ? -1 : write (fd, data, size);
}

/* Returns a negative number for any other stream, a closed socket, and a socket with a timeout. */
static gint
get_socket_descriptor (gpointer stream)
{
  const gchar *type = G_OBJECT_TYPE_NAME (stream);
  g_autoptr (GSocket) socket = NULL;

  if (!g_str_equal (type, "GSocketInputStream") && !g_str_equal (type, "GSocketOutputStream"))
    return -1;

  g_object_get (stream, "socket", &socket, NULL);
  return g_socket_get_timeout (socket) == 0 ? g_socket_get_fd (socket) : -1;
}

static void
poll_all (GPollFD *fds, guint n_fds)
{
  while (g_poll (fds, n_fds, -1) < 0 && errno == EINTR)
    continue;
}

static void
write_byte (gpointer data)
{
  while (write (*(gint *) data, "", 1) < 0 && errno == EINTR)
    continue;
}

/* GIO's descriptor of a cancellable is not used, for the reasons in buf-poll.c. */
static gboolean
poll_with_cancellable (GPollFD fds[2], GCancellable *cancellable)
{
  BufCancelWatch *watch;
  gint ends[2];

  if (!g_unix_open_pipe (ends, FD_CLOEXEC, NULL))
    return FALSE;

  fds[1].fd = ends[0];
  fds[1].events = G_IO_IN;
  watch = buf_cancel_watch_new (cancellable, write_byte, &ends[1]);
  if (!g_cancellable_is_cancelled (cancellable))
    poll_all (fds, 2);
  buf_cancel_watch_end (watch);
  close (ends[0]);
  close (ends[1]);
  return TRUE;
}

/* Blocks until the stream is ready or the cancellable is cancelled. @fd is the descriptor that
 * buf_descriptor_get() has returned. Returns FALSE immediately if this needs the source of the
 * stream. */
gboolean
buf_descriptor_wait (gint fd, gpointer stream, GIOCondition condition, GCancellable *cancellable)
{
  GPollFD fds[2] = { { fd >= 0 ? fd : get_socket_descriptor (stream), condition, 0 } };

  if (fds[0].fd < 0)
    return FALSE;
  if (cancellable != NULL)
    return poll_with_cancellable (fds, cancellable);

  poll_all (fds, 1);
  return TRUE;
}

#else

gint
buf_descriptor_get (gpointer stream)
{
  return -1;
}

gssize
buf_descriptor_read (gint fd, gpointer data, gsize size)
{
  return -1;
}

gssize
buf_descriptor_write (gint fd, gconstpointer data, gsize size)
{
  return -1;
}

gboolean
buf_descriptor_wait (gint fd, gpointer stream, GIOCondition condition, GCancellable *cancellable)
{
  return FALSE;
}

#endif
