/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#define _DEFAULT_SOURCE 1 /* MAP_ANONYMOUS, which strict C11 hides */

/* Plays random sequences against the library and the model, and shortens the first one that fails.
 * Each sequence runs in a separate process, so an abort, a sanitizer report and a hang all count as
 * failures. */

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../testing.h"
#include "fuzz-player.h"

/* How many sequences one process plays. */
#define BATCH 200

#define N_OPERATIONS 400000

static gint64 n_operations = -1;
static gint64 first_seed = 1;
static gint64 only_seed = -1;
static gboolean without_tasks;
static gchar *sequence_file;

static GOptionEntry entries[] = {
  { "operations", 0, 0, G_OPTION_ARG_INT64, &n_operations, "How many operations to do", "N" },
  { "first-seed", 0, 0, G_OPTION_ARG_INT64, &first_seed, "The seed of the first sequence", "N" },
  { "seed", 0, 0, G_OPTION_ARG_INT64, &only_seed, "Play the sequence of this seed alone", "N" },
  { "sequence", 0, 0, G_OPTION_ARG_FILENAME, &sequence_file, "Play this sequence", "FILE" },
  { "without-tasks", 0, 0, G_OPTION_ARG_NONE, &without_tasks, "No asynchronous requests", NULL },
  G_OPTION_ENTRY_NULL
};

/* What the processes share. */
typedef struct
{
  guint64 seed; /* of the sequence that is played */
  FuzzStatistics statistics;
} Shared;

static Shared *shared;

static int
wait_for (pid_t child)
{
  int status = 0;

  while (waitpid (child, &status, 0) < 0)
    ;
  return status;
}

static void
be_quiet (void)
{
  if (freopen ("/dev/null", "w", stderr) == NULL)
    _exit (1);
}

/* Returns whether the sequence passes. A hang ends by itself: see PATIENCE in fuzz-request.c, and
 * the alarm for hangs elsewhere. */
static gboolean
play_in_process (FuzzSequence *sequence, gboolean quiet)
{
  pid_t child = fork ();

  g_assert_cmpint (child, >=, 0);
  if (child == 0)
    {
      FuzzStatistics statistics = { 0 };

      alarm (quiet ? 2 : 30);
      if (quiet)
        be_quiet ();
      fuzz_play (sequence, &statistics);
      _exit (0);
    }
  return wait_for (child) == 0;
}

/* A failure may depend on chance, so a sequence passes only if it passes several times. */
static gboolean
passes (FuzzSequence *sequence)
{
  for (guint i = 0; i < 3; i++)
    if (!play_in_process (sequence, TRUE))
      return FALSE;
  return TRUE;
}

/* Leaves out smaller and smaller pieces, as long as the rest still fails. */
static FuzzSequence *
shrink (FuzzSequence *sequence)
{
  FuzzSequence *shortest = fuzz_sequence_new_part (sequence, 0, 0);

  for (guint piece = MAX (shortest->steps->len / 2, 1); piece > 0; piece /= 2)
    {
      guint at = 0;

      while (at < shortest->steps->len)
        {
          FuzzSequence *part = fuzz_sequence_new_part (shortest, at, at + piece);

          if (passes (part))
            {
              fuzz_sequence_free (part);
              at += piece;
              continue;
            }
          fuzz_sequence_free (shortest);
          shortest = part;
        }
    }
  return shortest;
}

static void
print_commented (const gchar *text)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);

  for (guint i = 0; lines[i] != NULL; i++)
    g_print ("# %s\n", lines[i]);
}

static void
report (guint64 seed, FuzzSequence *sequence)
{
  g_autoptr (FuzzSequence) shortest = NULL;
  g_autofree gchar *text = NULL;

  g_print ("# seed %" G_GUINT64_FORMAT " fails: %u steps. Shrinking\n", seed, sequence->steps->len);
  if (passes (sequence))
    {
      g_print ("# it does not fail again\n");
      return;
    }

  shortest = shrink (sequence);
  text = fuzz_sequence_to_text (shortest);
  g_print ("# %u steps are left, to be played again with --sequence FILE:\n", shortest->steps->len);
  print_commented (text);
  play_in_process (shortest, FALSE);
}

static void
play_batch (guint64 seed, guint64 target)
{
  FuzzStatistics *statistics = &shared->statistics;

  for (guint i = 0; i < BATCH && statistics->n_operations < target; i++)
    {
      g_autoptr (FuzzSequence) sequence = fuzz_sequence_new_random (seed + i, !without_tasks);

      alarm (60);
      shared->seed = seed + i;
      fuzz_play (sequence, statistics);
    }
}

static gboolean
play_random (guint64 target)
{
  guint64 seed = first_seed;

  while (shared->statistics.n_operations < target)
    {
      pid_t child = fork ();

      g_assert_cmpint (child, >=, 0);
      if (child == 0)
        {
          play_batch (seed, target);
          _exit (0);
        }
      if (wait_for (child) != 0)
        {
          g_autoptr (FuzzSequence) sequence =
              fuzz_sequence_new_random (shared->seed, !without_tasks);

          report (shared->seed, sequence);
          return FALSE;
        }
      seed = shared->seed + 1;
    }
  return TRUE;
}

static void
print_statistics (void)
{
  FuzzStatistics *statistics = &shared->statistics;

  g_print ("# %" G_GUINT64_FORMAT " operations in %" G_GUINT64_FORMAT
           " sequences, %" G_GUINT64_FORMAT
           " waits, most overtaken %u times, at most %u states at once\n",
           statistics->n_operations,
           statistics->n_sequences,
           statistics->n_waits,
           statistics->most_overtaken,
           statistics->most_states);
  for (guint i = FUZZ_GRANTED; i < FUZZ_GIVES_BACK; i++)
    g_print ("# %s: %" G_GUINT64_FORMAT "\n", fuzz_outcome_get_name (i), statistics->n_outcomes[i]);
}

static gboolean
play_one (void)
{
  g_autoptr (FuzzSequence) sequence = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree gchar *text = NULL;

  if (sequence_file == NULL)
    sequence = fuzz_sequence_new_random (only_seed, !without_tasks);
  else if (g_file_get_contents (sequence_file, &text, NULL, &error))
    sequence = fuzz_sequence_new_from_text (text, &error);
  if (sequence == NULL)
    g_error ("%s: %s", sequence_file, error->message);
  for (guint i = 0; i < 10; i++)
    if (!play_in_process (sequence, FALSE))
      return FALSE;
  return TRUE;
}

static void
prepare (void)
{
  const struct rlimit no_core = { 0, 0 };

  g_log_set_always_fatal (G_LOG_LEVEL_WARNING | G_LOG_LEVEL_CRITICAL | G_LOG_FATAL_MASK);
  setrlimit (RLIMIT_CORE, &no_core);
  g_setenv ("BUFPOOL_DRAIN_WARNING", "2000", TRUE);
  shared = mmap (NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  g_assert_true (shared != MAP_FAILED);
}

static void
parse_options (int *argc, char ***argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, &error))
    g_error ("%s", error->message);
}

int
main (int argc, char **argv)
{
  gboolean passed;

  parse_options (&argc, &argv);

  prepare ();
  g_print ("1..1\n");
  if (only_seed >= 0 || sequence_file != NULL)
    passed = play_one ();
  else
    {
      passed = play_random (n_operations >= 0 ? (guint64) n_operations : test_scale (N_OPERATIONS));
      print_statistics ();
    }
  g_print ("%s 1 the library does what the model allows\n", passed ? "ok" : "not ok");
  return passed ? 0 : 1;
}
