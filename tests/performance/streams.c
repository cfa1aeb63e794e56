/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A splice of a reader, compared with those of GIO, with a loop over one buffer of the same size,
 * and with cat: a file in the page cache, socket to socket, and a pipe to a file. Files are in
 * memory if there is such a folder, so that no disk is measured. */

#include <bufpool/bufpool.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gio/gunixinputstream.h>
#include <gio/gunixoutputstream.h>

#include "harness.h"

#define BUFFER_SIZE 16384
#define N_BUFFERS   8
#define BLOCK_SIZE  (BUFFER_SIZE * N_BUFFERS)

typedef enum
{
  FILE_TO_FILE,
  SOCKET_TO_SOCKET,
  PIPE_TO_FILE,
  N_PATHS
} Path;

static const gchar *const path_names[] = { "file to file", "socket to socket", "pipe to file" };

typedef struct
{
  Path path;
  void (*copy) (GInputStream *from, GOutputStream *to);
} Case;

static gchar *folder;
static gchar *source_name;
static gchar *target_name;
static gsize n_bytes;

static void
write_all (gint fd, gsize size)
{
  static guint8 data[BLOCK_SIZE];

  while (size > 0)
    {
      gssize n = write (fd, data, MIN (size, sizeof data));

      g_assert (n > 0);
      size -= n;
    }
}

static gpointer
feed (gpointer data)
{
  write_all (GPOINTER_TO_INT (data), n_bytes);
  close (GPOINTER_TO_INT (data));
  return NULL;
}

static gpointer
swallow (gpointer data)
{
  static guint8 room[BLOCK_SIZE];
  gint fd = GPOINTER_TO_INT (data);

  while (read (fd, room, sizeof room) > 0)
    continue;
  close (fd);
  return NULL;
}

static gint
open_target (void)
{
  unlink (target_name);
  return open (target_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* The ends of the path, and the threads at its other ends. */
static void
open_path (Path path, gint *from, gint *to, GThread *threads[2])
{
  gint fds[2];

  if (path == FILE_TO_FILE)
    *from = open (source_name, O_RDONLY | O_CLOEXEC);
  else
    {
      g_assert ((path == PIPE_TO_FILE ? pipe (fds) : socketpair (AF_UNIX, SOCK_STREAM, 0, fds)) ==
                0);
      *from = fds[0];
      threads[0] = g_thread_new ("feed", feed, GINT_TO_POINTER (fds[1]));
    }

  if (path != SOCKET_TO_SOCKET)
    *to = open_target ();
  else
    {
      g_assert (socketpair (AF_UNIX, SOCK_STREAM, 0, fds) == 0);
      *to = fds[0];
      threads[1] = g_thread_new ("swallow", swallow, GINT_TO_POINTER (fds[1]));
    }
}

static void
measure (Harness *harness, gpointer data)
{
  const Case *self = data;
  GThread *threads[2] = { NULL, NULL };
  gint from, to;
  gint64 begin;

  open_path (self->path, &from, &to, threads);
  begin = harness_get_nanoseconds ();
  {
    g_autoptr (GInputStream) in = g_unix_input_stream_new (from, TRUE);
    g_autoptr (GOutputStream) out = g_unix_output_stream_new (to, TRUE);

    self->copy (in, out);
  }
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_clear_pointer (&threads[i], g_thread_join);
  harness_record (harness,
                  "throughput",
                  "GB/s",
                  (gdouble) n_bytes / (harness_get_nanoseconds () - begin));
}

static BufReader *
make_reader (GInputStream *from)
{
  g_autoptr (BufPool) pool = buf_pool_new (BUFFER_SIZE, 8 * BLOCK_SIZE, NULL);

  return buf_reader_new (from, pool, N_BUFFERS);
}

static void
copy_by_reader (GInputStream *from, GOutputStream *to)
{
  g_autoptr (BufReader) reader = make_reader (from);

  g_assert (buf_reader_splice (reader, to, G_OUTPUT_STREAM_SPLICE_NONE, NULL, NULL));
  g_assert (buf_reader_get_position (reader) == n_bytes);
}

static void
copy_by_gio (GInputStream *from, GOutputStream *to)
{
  g_assert (g_output_stream_splice (to, from, G_OUTPUT_STREAM_SPLICE_NONE, NULL, NULL) > 0);
}

static void
copy_by_loop (GInputStream *from, GOutputStream *to)
{
  gint in = g_unix_input_stream_get_fd (G_UNIX_INPUT_STREAM (from));
  gint out = g_unix_output_stream_get_fd (G_UNIX_OUTPUT_STREAM (to));
  guint8 *data = g_malloc (BLOCK_SIZE);
  gssize n_read;

  while ((n_read = read (in, data, BLOCK_SIZE)) > 0)
    for (gssize n_written = 0; n_written < n_read;)
      {
        gssize n = write (out, data + n_written, n_read - n_written);

        g_assert (n > 0);
        n_written += n;
      }
  g_free (data);
}

static void
copy_by_cat (GInputStream *from, GOutputStream *to)
{
  g_autoptr (GSubprocessLauncher) launcher = g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_NONE);
  g_autoptr (GSubprocess) cat = NULL;

  g_subprocess_launcher_take_stdin_fd (launcher,
                                       dup (g_unix_input_stream_get_fd (
                                           G_UNIX_INPUT_STREAM (from))));
  g_subprocess_launcher_take_stdout_fd (launcher,
                                        dup (g_unix_output_stream_get_fd (
                                            G_UNIX_OUTPUT_STREAM (to))));
  cat = g_subprocess_launcher_spawn (launcher, NULL, "cat", NULL);
  g_assert (cat != NULL && g_subprocess_wait_check (cat, NULL, NULL));
}

static void
on_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

static void
copy_by_reader_async (GInputStream *from, GOutputStream *to)
{
  g_autoptr (BufReader) reader = make_reader (from);
  g_autoptr (GAsyncResult) result = NULL;

  buf_reader_splice_async (reader, to, G_OUTPUT_STREAM_SPLICE_NONE, 0, NULL, on_done, &result);
  while (result == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_assert (buf_reader_splice_finish (reader, result, NULL));
}

static void
copy_by_gio_async (GInputStream *from, GOutputStream *to)
{
  g_autoptr (GAsyncResult) result = NULL;

  g_output_stream_splice_async (to, from, G_OUTPUT_STREAM_SPLICE_NONE, 0, NULL, on_done, &result);
  while (result == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_assert (g_output_stream_splice_finish (to, result, NULL) > 0);
}

static void
measure_file_copy (Harness *harness, gpointer data)
{
  g_autoptr (GFile) from = g_file_new_for_path (source_name);
  g_autoptr (GFile) to = g_file_new_for_path (target_name);
  gint64 begin;

  unlink (target_name);
  begin = harness_get_nanoseconds ();
  g_assert (g_file_copy (from, to, G_FILE_COPY_NONE, NULL, NULL, NULL, NULL));
  harness_record (harness,
                  "throughput",
                  "GB/s",
                  (gdouble) n_bytes / (harness_get_nanoseconds () - begin));
}

static void
add (Harness *harness,
     Path path,
     gboolean async,
     const gchar *subject,
     void (*copy) (GInputStream *, GOutputStream *))
{
  g_autofree gchar *name = g_strconcat (path_names[path], async ? ", asynchronous" : "", NULL);
  Case *self = g_new (Case, 1);

  self->path = path;
  self->copy = copy;
  harness_add (harness, name, subject, measure, self, g_free);
}

static void
make_files (void)
{
  gint fd;

  folder = g_strdup ("/dev/shm/streams-XXXXXX");
  if (g_mkdtemp (folder) == NULL)
    {
      g_free (folder);
      folder = g_dir_make_tmp ("streams-XXXXXX", NULL);
    }
  source_name = g_build_filename (folder, "source", NULL);
  target_name = g_build_filename (folder, "target", NULL);
  fd = open (source_name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  write_all (fd, n_bytes);
  close (fd);
}

int
main (int argc, char **argv)
{
  Harness *harness = harness_new (argc, argv, "streams");

  n_bytes = (gsize) harness_choose (harness, 1024, 1) << 20;
  make_files ();
  for (Path path = 0; path < N_PATHS; path++)
    {
      add (harness, path, FALSE, "buf_reader_splice", copy_by_reader);
      add (harness, path, FALSE, "g_output_stream_splice", copy_by_gio);
      add (harness, path, FALSE, "read and write", copy_by_loop);
      add (harness, path, FALSE, "cat", copy_by_cat);
      add (harness, path, TRUE, "buf_reader_splice", copy_by_reader_async);
      add (harness, path, TRUE, "g_output_stream_splice", copy_by_gio_async);
    }
  harness_add (harness, path_names[FILE_TO_FILE], "g_file_copy", measure_file_copy, NULL, NULL);
  harness_measure (harness);

  unlink (source_name);
  unlink (target_name);
  rmdir (folder);
  return harness_finish (harness);
}
