/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#define _DEFAULT_SOURCE 1 /* O_CLOEXEC, which strict C11 hides */

#include <bufpool/bufpool.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gio/gunixinputstream.h>

#include "program.h"
#include "sha256.h"

/*
 * Prints the SHA-256 of files, like sha256sum, but hashes many files at once within a memory limit.
 *
 * Each worker takes the next file and hashes its blocks, which a reader reads ahead. The reader
 * waits for data before it waits for memory, and a worker frees a block before it fetches the next
 * one. So no worker holds memory while it waits for the pool, or for a program at the far end of a
 * pipe, and one block is enough for any number of workers.
 */

#define MIB               (1024.0 * 1024.0)
#define MAX_WORKERS       256
#define PROGRESS_INTERVAL (G_USEC_PER_SEC / 10)

typedef struct
{
  gchar *name;
  gchar *expected; /* with --check */
  gchar *digest;   /* LOCK: mutex, like the next field; in hexadecimal */
  GError *error;
} File;

static guint64 max_memory = 16 << 20, buffer_size = 16384, n_buffers = 4, n_workers;
static gboolean progress, quiet;
static gchar *check, **names;

static BufPool *pool;
static GArray *files; /* of File */
static GMutex mutex;
static GCond file_done;
static guint n_printed, n_failed, n_unequal;
static gint64 start, next_drawing;
static _Atomic guint64 n_bytes, n_blocks, most_memory;

static void
count_block (GBytes *block)
{
  guint64 memory = buf_pool_get_allocated_memory (pool);
  guint64 seen = atomic_load (&most_memory);

  while (seen < memory && !atomic_compare_exchange_weak (&most_memory, &seen, memory))
    continue;
  atomic_fetch_add (&n_blocks, 1);
  atomic_fetch_add (&n_bytes, g_bytes_get_size (block));
}

/* GFile is not used, because it normalizes the name, and opens another file than the system would
 * if ".." follows a symbolic link. */
static BufReader *
open_reader (const gchar *name, GError **error)
{
  gint fd =
      g_str_equal (name, "-") ? dup (STDIN_FILENO) : open (name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  g_autoptr (GInputStream) stream = NULL;
  BufReader *reader;
  struct stat status = { 0 };
  gint code = 0;

  if (fd < 0 || fstat (fd, &status) != 0)
    code = errno;
  else if (S_ISDIR (status.st_mode))
    code = EISDIR;
  if (code != 0)
    {
      g_set_error_literal (error, G_IO_ERROR, g_io_error_from_errno (code), g_strerror (code));
      if (fd >= 0)
        close (fd);
      return NULL;
    }

  stream = g_unix_input_stream_new (fd, TRUE);
  reader = buf_reader_new (stream, pool, n_buffers);
  if (S_ISREG (status.st_mode) && status.st_size < (goffset) (n_buffers * buffer_size))
    buf_reader_set_read_ahead (reader, 0);
  return reader;
}

/* @error is not NULL. */
static gchar *
hash_file (const gchar *name, GError **error)
{
  g_autoptr (BufReader) reader = open_reader (name, error);
  g_autofree gchar *digest = NULL;
  Sha256 *sum;
  GBytes *block;

  if (reader == NULL)
    return NULL;

  sum = sha256_new ();
  while ((block = buf_reader_next_block (reader, NULL, error)) != NULL)
    {
      count_block (block);
      sha256_update (sum, block);
      g_bytes_unref (block);
    }
  digest = sha256_end (sum);
  return *error == NULL ? g_steal_pointer (&digest) : NULL;
}

static void
hash_in_thread (gpointer data, gpointer user_data)
{
  File *file = data;
  GError *error = NULL;
  gchar *digest = hash_file (file->name, &error);

  g_mutex_lock (&mutex);
  file->digest = digest;
  file->error = error;
  g_cond_signal (&file_done);
  g_mutex_unlock (&mutex);
}

static void
draw_progress (void)
{
  gint64 now = g_get_monotonic_time ();

  if (!progress || now < next_drawing)
    return;

  fprintf (stderr,
           "\r%u of %u files, %.1f MiB, %.1f MiB/s, %.1f of %.1f MiB out\033[K",
           n_printed,
           files->len,
           n_bytes / MIB,
           n_bytes / MIB * G_USEC_PER_SEC / (now - start),
           buf_pool_get_allocated_memory (pool) / MIB,
           max_memory / MIB);
  next_drawing = now + PROGRESS_INTERVAL;
}

static void
clear_progress (void)
{
  if (progress)
    fputs ("\r\033[K", stderr);
}

/* The other results are not needed. Threads may still be waiting for a pipe, so they are not
 * joined. */
static void
check_output (gboolean written)
{
  const gchar *reason = g_strerror (errno);

  if (written)
    return;
  clear_progress ();
  fprintf (stderr, "digest: standard output: %s\n", reason);
  _exit (EXIT_FAILURE);
}

static void
print_file (const File *file)
{
  g_autoptr (GString) name = g_string_new (file->name);
  gboolean equal = g_strcmp0 (file->digest, file->expected) == 0;
  const gchar *verdict = equal ? "OK" : file->error == NULL ? "FAILED" : "FAILED open or read";
  const gchar *mark = strpbrk (file->name, "\\\n\r") != NULL ? "\\" : "";

  /* The same format as sha256sum, so that each file has one line. */
  g_string_replace (name, "\\", "\\\\", 0);
  g_string_replace (name, "\n", "\\n", 0);
  g_string_replace (name, "\r", "\\r", 0);

  if (file->error != NULL || isatty (STDOUT_FILENO))
    clear_progress ();
  if (file->error != NULL)
    {
      check_output (fflush (stdout) == 0);
      fprintf (stderr, "digest: %s: %s\n", name->str, file->error->message);
      n_failed++;
    }

  if (check == NULL && file->error == NULL)
    check_output (printf ("%s%s  %s\n", mark, file->digest, name->str) >= 0);
  else if (check != NULL && !(equal && quiet))
    check_output (printf ("%s%s: %s\n", mark, name->str, verdict) >= 0);
  n_unequal += check != NULL && file->error == NULL && !equal;
  n_printed++;
}

static gboolean
is_done (const File *file, gint64 microseconds)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&mutex);

  if (file->digest == NULL && file->error == NULL)
    g_cond_wait_until (&file_done, &mutex, g_get_monotonic_time () + microseconds);
  return file->digest != NULL || file->error != NULL;
}

static void
print_files (void)
{
  for (guint i = 0; i < files->len; i++)
    {
      const File *file = &g_array_index (files, File, i);

      for (gint64 microseconds = 0; !is_done (file, microseconds); microseconds = PROGRESS_INTERVAL)
        {
          /* Show what has been printed in the meantime. */
          check_output (fflush (stdout) == 0);
          draw_progress ();
        }
      print_file (file);
      draw_progress ();
    }
  clear_progress ();
  check_output (fclose (stdout) == 0);
}

static void
report (void)
{
  g_autoptr (BufPoolStats) stats = buf_pool_get_stats (pool);
  gdouble seconds = MAX (1, g_get_monotonic_time () - start) / (gdouble) G_USEC_PER_SEC;
  struct rusage usage;

  getrusage (RUSAGE_SELF, &usage);
  fprintf (stderr,
           "digest: %u of %u files, %" G_GUINT64_FORMAT " bytes in %.3f s, %.1f MiB/s\n"
           "digest: at most %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
           " bytes of memory were out at once, and %ld KiB in the whole process\n"
           "digest: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
           " requests waited, %.3f s altogether, the longest %.3f s\n"
           "digest: %" G_GUINT64_FORMAT " requests used a cached block, %" G_GSIZE_FORMAT
           " bytes are cached\n",
           n_printed - n_failed,
           files->len,
           n_bytes,
           seconds,
           n_bytes / MIB / seconds,
           most_memory,
           max_memory,
           usage.ru_maxrss,
           stats->n_waits,
           n_blocks + n_printed - n_failed,
           stats->total_wait_time / (gdouble) G_USEC_PER_SEC,
           stats->longest_wait / (gdouble) G_USEC_PER_SEC,
           stats->n_hits,
           buf_pool_get_cached_memory (pool));
}

static void
add_file (gchar *name, gchar *expected)
{
  File file = { .name = name, .expected = expected };

  g_array_append_val (files, file);
}

/* A line of the output of digest or sha256sum. */
static gboolean
add_line (const gchar *line)
{
  gboolean escaped = line[0] == '\\';
  const gchar *digest = line + escaped;
  gsize length = strspn (digest, "0123456789abcdefABCDEF");
  const gchar *rest = digest + length;

  if (length != SHA256_DIGITS || rest[0] != ' ' || (rest[1] != ' ' && rest[1] != '*') || !rest[2])
    return FALSE;

  add_file (escaped ? g_strcompress (rest + 2) : g_strdup (rest + 2),
            g_ascii_strdown (digest, length));
  return TRUE;
}

static gboolean
add_lines (const gchar *name, GError **error)
{
  g_autofree gchar *text = NULL;
  g_auto (GStrv) lines = NULL;
  guint n_bad = 0;

  if (!g_file_get_contents (g_str_equal (name, "-") ? "/dev/stdin" : name, &text, NULL, error))
    return FALSE;

  lines = g_strsplit (text, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    n_bad += lines[i][0] != 0 && !add_line (lines[i]);
  program_warn ("digest", n_bad, "line is improperly formatted", "lines are improperly formatted");
  if (files->len == 0)
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s has no checksums", name);
  return files->len > 0;
}

static gint
run (GError **error)
{
  GThreadPool *workers = NULL;

  if (check != NULL && !add_lines (check, error))
    return EXIT_FAILURE;

  for (guint i = 0; names != NULL && names[i] != NULL; i++)
    add_file (names[i], NULL);
  start = g_get_monotonic_time ();
  next_drawing = start + PROGRESS_INTERVAL;
  workers = g_thread_pool_new (hash_in_thread, NULL, n_workers, FALSE, NULL);
  for (guint i = 0; i < files->len; i++)
    g_thread_pool_push (workers, &g_array_index (files, File, i), NULL);
  print_files ();
  g_thread_pool_free (workers, FALSE, TRUE);

  if (!quiet)
    report ();
  program_warn ("digest",
                n_unequal,
                "computed checksum did NOT match",
                "computed checksums did NOT match");
  return n_failed + n_unequal > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* clang-format off */
static const NumberOption numbers[] = {
  { "max-memory", &max_memory, 0, G_MAXSIZE,
    "Memory for file data, in bytes, or with K, M or G (default: 16M)", "BYTES" },
  { "buffer-size", &buffer_size, 0, G_MAXSIZE, "Size of a buffer (default: 16K)", "BYTES" },
  { "buffers", &n_buffers, 0, G_MAXSIZE, "Buffers in each block, 1 to 65535 (default: 4)", "N" },
  { "workers", &n_workers, 1, MAX_WORKERS,
    "Files hashed at once, 1 to 256 (default: as many as there are processors)", "N" },
  { NULL }
};

static const GOptionEntry entries[] = {
  { "check", 0, 0, G_OPTION_ARG_FILENAME, &check, "Read checksums from FILE, and check them", "FILE" },
  { "quiet", 0, 0, G_OPTION_ARG_NONE, &quiet, "Print no figures; and with --check, no OK", NULL },
  { "progress", 0, 0, G_OPTION_ARG_NONE, &progress, "Show how far it is, on a terminal", NULL },
  { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &names, NULL, "FILE…" },
  G_OPTION_ENTRY_NULL
};

static const gchar summary[] =
  "Prints the SHA-256 of each file, as sha256sum does, but hashes many files at\n"
  "once, within a memory limit. FILE may be “-”, for standard input.";
static const gchar description[] =
  "The exit status is 1 if a file cannot be read or a checksum does not match, and\n"
  "2 if the options are invalid, for which sha256sum exits with 1.";
/* clang-format on */

gint
main (gint argc, gchar **argv)
{
  g_autoptr (GError) error = NULL;
  gint status;

  signal (SIGPIPE, SIG_IGN);
  n_workers = MIN (g_get_num_processors (), MAX_WORKERS);
  files = g_array_new (FALSE, TRUE, sizeof (File));

  if (program_parse (&argc, &argv, NULL, summary, description, numbers, entries, &error) &&
      (names == NULL) == (check == NULL))
    error = g_error_new_literal (G_OPTION_ERROR,
                                 G_OPTION_ERROR_FAILED,
                                 names == NULL ? "No files were specified; try --help"
                                               : "Specify files, or one file with --check");
  if (error == NULL)
    pool = program_create_pool (buffer_size, max_memory, n_buffers, &error);
  progress = progress && isatty (STDERR_FILENO);
  status = pool != NULL ? run (&error) : EXIT_USAGE;
  if (error != NULL)
    g_printerr ("digest: %s\n", error->message);

  g_clear_object (&pool);
  return status;
}
