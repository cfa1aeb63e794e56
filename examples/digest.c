/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <bufpool/bufpool.h>

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "digest-pipeline.h"

/*
 * The command: what the user asked for, the digests on standard output, and on standard error what
 * went wrong, how far it is, and how it went.
 */

#define EXIT_USAGE 2

#define MIB (1024.0 * 1024.0)

#define MAX_WORKERS 256

/* How often the progress line is drawn, in microseconds. */
#define PROGRESS_INTERVAL (G_USEC_PER_SEC / 10)

typedef struct
{
  gsize max_memory;
  gsize buffer_size;
  gsize n_buffers;
  guint64 n_workers;
  gboolean progress;
  GStrv names;
} Options;

typedef struct
{
  BufPool *pool;
  DigestPipeline *pipeline;
  gboolean progress;
  gboolean drawn;      /* there is a progress line on the terminal */
  gint64 next_drawing; /* monotonic time */
  gint64 start;        /* likewise */
  guint n_files;
  guint n_done;
  guint n_failed;
} Command;

/* A number, perhaps with K, M or G behind it. */
static gboolean
parse_size (const gchar *text, gsize *size, GError **error)
{
  static const gchar units[] = "KMG";
  gsize length = strlen (text);
  const gchar *unit = length > 0 ? strchr (units, text[length - 1]) : NULL;
  gint shift = unit != NULL ? 10 * (unit - units + 1) : 0;
  g_autofree gchar *digits = g_strndup (text, length - (unit != NULL));
  guint64 number;

  if (!g_ascii_string_to_unsigned (digits, 10, 0, G_MAXSIZE >> shift, &number, error))
    return FALSE;

  *size = number << shift;
  return TRUE;
}

/* Which sizes go together, the pool knows best: see create_pool(). */
static gboolean
set_number (const gchar *option, const gchar *value, gpointer user_data, GError **error)
{
  Options *self = user_data;
  gboolean valid;

  if (g_str_equal (option, "--max-memory"))
    valid = parse_size (value, &self->max_memory, error);
  else if (g_str_equal (option, "--buffer-size"))
    valid = parse_size (value, &self->buffer_size, error);
  else if (g_str_equal (option, "--buffers"))
    valid = parse_size (value, &self->n_buffers, error);
  else
    valid = g_ascii_string_to_unsigned (value, 10, 1, MAX_WORKERS, &self->n_workers, error);

  if (!valid)
    g_prefix_error (error, "%s %s: ", option, value);
  return valid;
}

static GOptionContext *
create_context (Options *options)
{
  /* clang-format off */
  const GOptionEntry entries[] = {
    { "max-memory", 0, 0, G_OPTION_ARG_CALLBACK, set_number,
      "Memory for file data, in bytes, or with K, M or G (default: 16M)", "BYTES" },
    { "buffer-size", 0, 0, G_OPTION_ARG_CALLBACK, set_number,
      "Size of a buffer (default: 16K)", "BYTES" },
    { "buffers", 0, 0, G_OPTION_ARG_CALLBACK, set_number,
      "Buffers in each allocation, 1 to 65535 (default: 4)", "N" },
    { "workers", 0, 0, G_OPTION_ARG_CALLBACK, set_number,
      "Files hashed at once, 1 to 256 (default: as many as there are processors)", "N" },
    { "progress", 0, 0, G_OPTION_ARG_NONE, &options->progress,
      "Show how far it is, if standard error is a terminal", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &options->names, NULL, "FILE…" },
    G_OPTION_ENTRY_NULL
  };
  /* clang-format on */
  GOptionContext *context = g_option_context_new (NULL);
  GOptionGroup *group = g_option_group_new (NULL, NULL, NULL, options, NULL);

  g_option_group_add_entries (group, entries);
  g_option_context_set_main_group (context, group);
  g_option_context_set_summary (context,
                                "Prints the SHA-256 of each file, as sha256sum does, but reads and "
                                "hashes many\nfiles at once, within a budget of memory. FILE may "
                                "be “-”, for standard input.");
  g_option_context_set_description (context,
                                    "The exit status is 1 if a file could not be read, and 2 if "
                                    "the options make no sense.");
  return context;
}

static gboolean
parse_options (Options *options, gint *argc, gchar ***argv, GError **error)
{
  g_autoptr (GOptionContext) context = create_context (options);

  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (options->names == NULL)
    {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "No files were named; try --help");
      return FALSE;
    }
  return TRUE;
}

/* Tries one allocation: the pool tells at once when it could never grant it, and why. */
static BufPool *
create_pool (const Options *options, GError **error)
{
  g_autoptr (BufPool) pool = buf_pool_new (options->buffer_size, options->max_memory, error);
  g_autoptr (BufPoolAllocation) allocation = NULL;

  if (pool != NULL)
    allocation = buf_pool_try_allocate (pool, options->n_buffers, error);
  return allocation != NULL ? g_steal_pointer (&pool) : NULL;
}

static gdouble
get_seconds (Command *self)
{
  return (gdouble) MAX (1, g_get_monotonic_time () - self->start) / G_USEC_PER_SEC;
}

static void
update_progress (Command *self)
{
  gint64 now = g_get_monotonic_time ();
  DigestFigures figures;

  if (!self->progress || now < self->next_drawing)
    return;

  digest_pipeline_get_figures (self->pipeline, &figures);
  fprintf (stderr,
           "\r%u of %u files, %.1f MiB, %.1f MiB/s, %.1f of %.1f MiB out\033[K",
           self->n_done,
           self->n_files,
           figures.hashed / MIB,
           figures.hashed / MIB / get_seconds (self),
           figures.memory / MIB,
           buf_pool_get_max_memory (self->pool) / MIB);
  self->drawn = TRUE;
  self->next_drawing = now + PROGRESS_INTERVAL;
}

static void
clear_progress (Command *self)
{
  if (self->drawn)
    fputs ("\r\033[K", stderr);
  self->drawn = FALSE;
}

static void
check_output (Command *self, gboolean written)
{
  const gchar *reason = g_strerror (errno);

  if (written)
    return;

  /* Nobody wants the rest. Threads may be waiting for a pipe: so they are not waited for, and
   * nothing that they use is cleaned up. */
  clear_progress (self);
  fprintf (stderr, "digest: standard output: %s\n", reason);
  _exit (EXIT_FAILURE);
}

/* As sha256sum does it, so that each file has one line. */
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
print_result (Command *self, const gchar *name, const DigestResult *result)
{
  g_autofree gchar *escaped = escape_name (name);
  const gchar *mark = g_str_equal (name, escaped) ? "" : "\\";

  if (result->error != NULL || isatty (STDOUT_FILENO))
    clear_progress (self);
  if (result->error == NULL)
    {
      check_output (self, printf ("%s%s  %s\n", mark, result->digest, escaped) >= 0);
    }
  else
    {
      check_output (self, fflush (stdout) == 0);
      fprintf (stderr, "digest: %s: %s\n", escaped, result->error->message);
      self->n_failed++;
    }
  self->n_done++;
}

static void
wait_for_result (Command *self, DigestResult *result)
{
  if (digest_pipeline_next (self->pipeline, 0, result))
    return;

  /* What was printed is to be seen meanwhile. */
  check_output (self, fflush (stdout) == 0);
  while (!digest_pipeline_next (self->pipeline, PROGRESS_INTERVAL, result))
    update_progress (self);
}

static void
print_results (Command *self, const gchar *const *names)
{
  for (guint i = 0; i < self->n_files; i++)
    {
      g_auto (DigestResult) result = { NULL, NULL };

      wait_for_result (self, &result);
      print_result (self, names[i], &result);
      update_progress (self);
    }
  clear_progress (self);
  check_output (self, fclose (stdout) == 0);
}

static void
report (Command *self)
{
  g_autoptr (BufPoolStats) stats = buf_pool_get_stats (self->pool);
  DigestFigures figures;
  struct rusage usage;
  gdouble seconds = get_seconds (self);

  digest_pipeline_get_figures (self->pipeline, &figures);
  getrusage (RUSAGE_SELF, &usage);
  fprintf (stderr,
           "digest: %u of %u files, %" G_GUINT64_FORMAT " bytes in %.3f s, %.1f MiB/s\n",
           self->n_done - self->n_failed,
           self->n_files,
           figures.hashed,
           seconds,
           figures.hashed / MIB / seconds);
  fprintf (stderr,
           "digest: at most %" G_GUINT64_FORMAT " of %" G_GSIZE_FORMAT
           " bytes of memory were out at once, and %ld KiB in the whole process\n",
           figures.most_memory,
           buf_pool_get_max_memory (self->pool),
           usage.ru_maxrss);
  fprintf (stderr,
           "digest: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
           " requests waited, %.3f s altogether, the longest %.3f s\n",
           figures.n_waits,
           figures.n_requests,
           figures.waited / (gdouble) G_USEC_PER_SEC,
           figures.longest_wait / (gdouble) G_USEC_PER_SEC);
  fprintf (stderr,
           "digest: %" G_GUINT64_FORMAT " requests used a cached block, %" G_GSIZE_FORMAT
           " bytes are cached\n",
           stats->n_hits,
           buf_pool_get_cached_memory (self->pool));
}

static gint
run (BufPool *pool, const Options *options)
{
  const gchar *const *names = (const gchar *const *) options->names;
  gint64 start = g_get_monotonic_time ();
  g_autoptr (DigestPipeline) pipeline =
      digest_pipeline_new (pool, options->n_buffers, options->n_workers, names);
  Command command = {
    .pool = pool,
    .pipeline = pipeline,
    .progress = options->progress && isatty (STDERR_FILENO),
    .start = start,
    .next_drawing = start + PROGRESS_INTERVAL,
    .n_files = g_strv_length (options->names),
  };

  print_results (&command, names);
  report (&command);
  return command.n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

gint
main (gint argc, gchar **argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BufPool) pool = NULL;
  Options options = {
    .max_memory = 16 * 1024 * 1024,
    .buffer_size = BUF_BUFFER_SIZE_S16384,
    .n_buffers = 4,
    .n_workers = MIN (g_get_num_processors (), MAX_WORKERS),
  };
  gint status = EXIT_USAGE;

  setlocale (LC_ALL, "");
  signal (SIGPIPE, SIG_IGN);

  if (parse_options (&options, &argc, &argv, &error))
    pool = create_pool (&options, &error);
  if (pool != NULL)
    status = run (pool, &options);
  else
    g_printerr ("digest: %s\n", error->message);

  g_strfreev (options.names);
  return status;
}
