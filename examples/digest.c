/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#define _DEFAULT_SOURCE 1 /* O_CLOEXEC, which strict C11 hides */

#include <bufpool/bufpool.h>

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gio/gunixinputstream.h>

#include "number-option.h"
#include "sha256.h"

/*
 * Prints the SHA-256 of files, like sha256sum, but hashes many files at once within a memory limit.
 *
 * Each worker takes the next file and hashes its blocks, which a reader reads ahead. The reader
 * waits for data before it waits for memory, and a worker frees a block before it fetches the next
 * one. So no worker holds memory while it waits for the pool, or for a program at the far end of a
 * pipe, and one block is enough for any number of workers.
 */

#define EXIT_USAGE        2
#define MIB               (1024.0 * 1024.0)
#define MAX_WORKERS       256
#define PROGRESS_INTERVAL (G_USEC_PER_SEC / 10)
#define DIGEST_LENGTH     64

typedef struct
{
  gchar *name;
  gchar *expected; /* with --check */
  gchar *digest;   /* LOCK: mutex, like the following fields; in hexadecimal */
  GError *error;
  gboolean done;
} File;

static guint64 max_memory = 16 << 20, buffer_size = BUF_BUFFER_SIZE_S16384, n_buffers = 4,
               n_workers;
static gboolean progress, quiet, version;
static gchar *check;
static gchar **names;

static BufPool *pool;
static GArray *files; /* of File */
static _Atomic guint n_started;
static GMutex mutex;
static GCond file_done;
static guint n_printed, n_failed, n_unequal;
static gboolean drawn; /* whether there is a progress line */
static gint64 start, next_drawing;
static _Atomic guint64 n_bytes, n_blocks, most_memory;

static const NumberOption numbers[] = {
  { "--max-memory", &max_memory, 0, G_MAXSIZE },
  { "--buffer-size", &buffer_size, 0, G_MAXSIZE },
  { "--buffers", &n_buffers, 0, G_MAXSIZE },
  { "--workers", &n_workers, 1, MAX_WORKERS },
};

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

static GInputStream *
fail_to_open (gint fd, gint code, GError **error)
{
  if (fd >= 0)
    close (fd);
  g_set_error_literal (error, G_IO_ERROR, g_io_error_from_errno (code), g_strerror (code));
  return NULL;
}

/* GFile is not used, because it normalizes the name, and opens another file than the system would
 * if ".." follows a symbolic link. */
static GInputStream *
open_file (const gchar *name, gboolean *is_small, GError **error)
{
  gint fd =
      g_str_equal (name, "-") ? dup (STDIN_FILENO) : open (name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  struct stat status;

  if (fd < 0 || fstat (fd, &status) != 0)
    return fail_to_open (fd, errno, error);
  if (S_ISDIR (status.st_mode))
    return fail_to_open (fd, EISDIR, error);

  *is_small = S_ISREG (status.st_mode) && status.st_size < (goffset) (n_buffers * buffer_size);
  return g_unix_input_stream_new (fd, TRUE);
}

static gchar *
hash_file (const gchar *name, GError **error)
{
  gboolean is_small = FALSE;
  g_autoptr (GInputStream) stream = open_file (name, &is_small, error);
  g_autoptr (BufReader) reader = NULL;
  g_autofree gchar *digest = NULL;
  GError *problem = NULL;
  Sha256 *sum;
  GBytes *block;

  if (stream == NULL)
    return NULL;

  reader = buf_reader_new (stream, pool, n_buffers);
  buf_reader_set_read_ahead (reader, is_small ? 0 : 1);
  sum = sha256_new ();
  while ((block = buf_reader_next_block (reader, NULL, &problem)) != NULL)
    {
      count_block (block);
      sha256_update (sum, block);
      g_bytes_unref (block);
    }
  digest = sha256_end (sum);
  if (problem == NULL)
    return g_steal_pointer (&digest);
  g_propagate_error (error, problem);
  return NULL;
}

static gpointer
work (gpointer data)
{
  for (guint i = atomic_fetch_add (&n_started, 1); i < files->len;
       i = atomic_fetch_add (&n_started, 1))
    {
      File *file = &g_array_index (files, File, i);
      GError *error = NULL;
      gchar *digest = hash_file (file->name, &error);

      g_mutex_lock (&mutex);
      file->digest = digest;
      file->error = error;
      file->done = TRUE;
      g_cond_signal (&file_done);
      g_mutex_unlock (&mutex);
    }
  return NULL;
}

static gdouble
get_seconds (void)
{
  return (gdouble) MAX (1, g_get_monotonic_time () - start) / G_USEC_PER_SEC;
}

static void
draw_progress (void)
{
  if (!progress || g_get_monotonic_time () < next_drawing)
    return;

  fprintf (stderr,
           "\r%u of %u files, %.1f MiB, %.1f MiB/s, %.1f of %.1f MiB out\033[K",
           n_printed,
           files->len,
           n_bytes / MIB,
           n_bytes / MIB / get_seconds (),
           buf_pool_get_allocated_memory (pool) / MIB,
           max_memory / MIB);
  drawn = TRUE;
  next_drawing = g_get_monotonic_time () + PROGRESS_INTERVAL;
}

static void
clear_progress (void)
{
  if (drawn)
    fputs ("\r\033[K", stderr);
  drawn = FALSE;
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

/* The same format as sha256sum, so that each file has one line. */
static gchar *
escape_name (const gchar *name)
{
  GString *escaped = g_string_new (name);

  g_string_replace (escaped, "\\", "\\\\", 0);
  g_string_replace (escaped, "\n", "\\n", 0);
  g_string_replace (escaped, "\r", "\\r", 0);
  return g_string_free (escaped, FALSE);
}

static void
print_file (const File *file)
{
  g_autofree gchar *escaped = escape_name (file->name);
  const gchar *mark = g_str_equal (file->name, escaped) ? "" : "\\";
  gboolean equal = g_strcmp0 (file->digest, file->expected) == 0;

  if (file->error != NULL || isatty (STDOUT_FILENO))
    clear_progress ();
  if (file->error != NULL)
    {
      check_output (fflush (stdout) == 0);
      fprintf (stderr, "digest: %s: %s\n", escaped, file->error->message);
      n_failed++;
    }

  if (check == NULL && file->error == NULL)
    check_output (printf ("%s%s  %s\n", mark, file->digest, escaped) >= 0);
  else if (check != NULL && file->error != NULL)
    check_output (printf ("%s%s: FAILED open or read\n", mark, escaped) >= 0);
  else if (check != NULL && !(equal && quiet))
    check_output (printf ("%s%s: %s\n", mark, escaped, equal ? "OK" : "FAILED") >= 0);
  n_unequal += check != NULL && file->error == NULL && !equal;
  n_printed++;
}

static void
print_files (void)
{
  for (guint i = 0; i < files->len; i++)
    {
      File *file = &g_array_index (files, File, i);

      g_mutex_lock (&mutex);
      while (!file->done)
        {
          /* Show what has been printed in the meantime. */
          g_mutex_unlock (&mutex);
          check_output (fflush (stdout) == 0);
          draw_progress ();
          g_mutex_lock (&mutex);
          if (!file->done)
            g_cond_wait_until (&file_done, &mutex, g_get_monotonic_time () + PROGRESS_INTERVAL);
        }
      g_mutex_unlock (&mutex);
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
  struct rusage usage;

  getrusage (RUSAGE_SELF, &usage);
  fprintf (stderr,
           "digest: %u of %u files, %" G_GUINT64_FORMAT " bytes in %.3f s, %.1f MiB/s\n"
           "digest: at most %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
           " bytes of memory were out at once, and %ld KiB in the whole process\n"
           "digest: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
           " requests waited, %.3f s altogether, the longest %.3f s\n",
           n_printed - n_failed,
           files->len,
           n_bytes,
           get_seconds (),
           n_bytes / MIB / get_seconds (),
           most_memory,
           max_memory,
           usage.ru_maxrss,
           stats->n_waits,
           n_blocks + n_printed - n_failed,
           stats->total_wait_time / (gdouble) G_USEC_PER_SEC,
           stats->longest_wait / (gdouble) G_USEC_PER_SEC);
  fprintf (stderr,
           "digest: %" G_GUINT64_FORMAT " requests used a cached block, %" G_GSIZE_FORMAT
           " bytes are cached\n",
           stats->n_hits,
           buf_pool_get_cached_memory (pool));
}

static gint
run (void)
{
  g_autoptr (GPtrArray) threads = g_ptr_array_new ();
  guint n_threads = MIN (n_workers, files->len);

  start = g_get_monotonic_time ();
  next_drawing = start + PROGRESS_INTERVAL;
  progress = progress && isatty (STDERR_FILENO);
  for (guint i = 0; i < n_threads; i++)
    g_ptr_array_add (threads, g_thread_new ("worker", work, NULL));
  print_files ();
  for (guint i = 0; i < n_threads; i++)
    g_thread_join (threads->pdata[i]);

  if (!quiet)
    report ();
  if (n_unequal > 0)
    fprintf (stderr, "digest: WARNING: %u computed checksums did NOT match\n", n_unequal);
  return n_failed + n_unequal > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A line of the output of digest or sha256sum. */
static gboolean
add_line (const gchar *line)
{
  gboolean escaped = line[0] == '\\';
  const gchar *digest = line + escaped;
  File *file;

  if (strspn (digest, "0123456789abcdefABCDEF") != DIGEST_LENGTH || digest[DIGEST_LENGTH] != ' ' ||
      strchr (" *", digest[DIGEST_LENGTH + 1]) == NULL || digest[DIGEST_LENGTH + 1] == 0 ||
      digest[DIGEST_LENGTH + 2] == 0)
    return FALSE;

  g_array_set_size (files, files->len + 1);
  file = &g_array_index (files, File, files->len - 1);
  file->name =
      escaped ? g_strcompress (digest + DIGEST_LENGTH + 2) : g_strdup (digest + DIGEST_LENGTH + 2);
  file->expected = g_ascii_strdown (digest, DIGEST_LENGTH);
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
  if (n_bad > 0)
    fprintf (stderr, "digest: WARNING: %u lines are improperly formatted\n", n_bad);
  if (files->len == 0)
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s has no checksums", name);
  return files->len > 0;
}

static gboolean
set_number (const gchar *option, const gchar *value, gpointer data, GError **error)
{
  return number_option_set (numbers, option, value, error);
}

static gboolean
parse_options (gint *argc, gchar ***argv, GError **error)
{
  /* clang-format off */
  const GOptionEntry entries[] = {
    { "max-memory", 0, 0, G_OPTION_ARG_CALLBACK, set_number,
      "Memory for file data, in bytes, or with K, M or G (default: 16M)", "BYTES" },
    { "buffer-size", 0, 0, G_OPTION_ARG_CALLBACK, set_number, "Size of a buffer (default: 16K)", "BYTES" },
    { "buffers", 0, 0, G_OPTION_ARG_CALLBACK, set_number,
      "Buffers in each block, 1 to 65535 (default: 4)", "N" },
    { "workers", 0, 0, G_OPTION_ARG_CALLBACK, set_number,
      "Files hashed at once, 1 to 256 (default: as many as there are processors)", "N" },
    { "check", 0, 0, G_OPTION_ARG_FILENAME, &check, "Read checksums from FILE, and check them", "FILE" },
    { "quiet", 0, 0, G_OPTION_ARG_NONE, &quiet, "Print no figures; and with --check, no OK", NULL },
    { "progress", 0, 0, G_OPTION_ARG_NONE, &progress,
      "Show how far it is, if standard error is a terminal", NULL },
    { "version", 0, 0, G_OPTION_ARG_NONE, &version, "Print the version", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &names, NULL, "FILE…" },
    G_OPTION_ENTRY_NULL
  };
  /* clang-format on */
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_summary (context,
                                "Prints the SHA-256 of each file, as sha256sum does, but hashes "
                                "many files at\nonce, within a budget of memory. FILE may be “-”, "
                                "for standard input.");
  g_option_context_set_description (context,
                                    "The exit status is 1 if a file could not be read, or has "
                                    "another checksum, and\n2 if the options make no sense.");
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (!version && (names == NULL) == (check == NULL))
    g_set_error_literal (error,
                         G_OPTION_ERROR,
                         G_OPTION_ERROR_FAILED,
                         names == NULL ? "No files were named; try --help"
                                       : "Name files, or one to --check");
  return *error == NULL;
}

/* Tries to allocate one block: if the pool can never grant it, it reports why immediately. */
static gboolean
create_pool (GError **error)
{
  g_autoptr (BufPoolAllocation) block = NULL;

  pool = buf_pool_new (buffer_size, max_memory, error);
  if (pool != NULL)
    block = buf_pool_try_allocate (pool, n_buffers, error);
  return block != NULL;
}

static gint
hash_all (GError **error)
{
  if (check != NULL && !add_lines (check, error))
    return EXIT_FAILURE;

  for (guint i = 0; names != NULL && names[i] != NULL; i++)
    {
      File file = { .name = names[i] };

      g_array_append_val (files, file);
    }
  return run ();
}

static gint
print_version (void)
{
  g_print ("%s (libbufpool) %s\n", g_get_prgname (), BUF_VERSION_S);
  return EXIT_SUCCESS;
}

gint
main (gint argc, gchar **argv)
{
  g_autoptr (GError) error = NULL;
  gint status = EXIT_USAGE;

  setlocale (LC_ALL, "");
  signal (SIGPIPE, SIG_IGN);
  n_workers = MIN (g_get_num_processors (), MAX_WORKERS);
  files = g_array_new (FALSE, TRUE, sizeof (File));

  if (parse_options (&argc, &argv, &error) && (version || create_pool (&error)))
    status = version ? print_version () : hash_all (&error);
  if (error != NULL)
    g_printerr ("digest: %s\n", error->message);

  g_clear_object (&pool);
  return status;
}
