/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "harness-private.h"

#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

#define N_RUNS 11

/* The time, in seconds, for an isolated process that only shows that it works. */
#define QUICK_LIMIT 3

/* A subject that does not finish this many times is not tried again. */
#define MAX_UNFINISHED 3

static void
entry_free (gpointer data)
{
  Entry *self = data;

  if (self->destroy != NULL)
    self->destroy (self->data);
  g_free (self->name);
  g_free (self->subject);
  g_free (self);
}

static void
figure_free (gpointer data)
{
  Figure *self = data;

  g_array_unref (self->samples);
  g_free (self->name);
  g_free (self->subject);
  g_free (self->quantity);
  g_free (self->unit);
  g_free (self);
}

static void
description_clear (gpointer data)
{
  Description *self = data;

  g_free (self->what);
  g_free (self->text);
}

gint64
harness_get_nanoseconds (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return now.tv_sec * G_GINT64_CONSTANT (1000000000) + now.tv_nsec;
}

static void
describe (gpointer data, const gchar *what, const gchar *text)
{
  harness_describe (data, what, text);
}

Harness *
harness_new (int argc, char **argv, const gchar *program)
{
  Harness *self = g_new0 (Harness, 1);
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;
  g_autofree gchar *only = NULL;
  const GOptionEntry options[] = {
    { "json", 0, 0, G_OPTION_ARG_NONE, &self->as_json, "Write JSON", NULL },
    { "quick", 0, 0, G_OPTION_ARG_NONE, &self->quick, "Only check whether everything works", NULL },
    { "runs",
      0,
      0,
      G_OPTION_ARG_INT,
      &self->n_runs,
      "How many times to measure each subject",
      "N" },
    { "only", 0, 0, G_OPTION_ARG_STRING, &only, "Measure only these subjects", "NAME,…" },
    { NULL },
  };

  g_option_context_add_main_entries (context, options, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error))
    {
      g_printerr ("%s\n", error->message);
      exit (2);
    }

  self->program = g_strdup (program);
  self->only = only != NULL ? g_strsplit (only, ",", -1) : NULL;
  self->entries = g_ptr_array_new_with_free_func (entry_free);
  self->figures = g_ptr_array_new_with_free_func (figure_free);
  self->unfinished = g_ptr_array_new_with_free_func (entry_free);
  self->descriptions = g_array_new (FALSE, FALSE, sizeof (Description));
  g_array_set_clear_func (self->descriptions, description_clear);
  harness_set_runs (self, N_RUNS);
  machine_describe (describe, self);
  return self;
}

gboolean
harness_is_quick (Harness *self)
{
  return self->quick;
}

guint
harness_choose (Harness *self, guint full, guint quick)
{
  return self->quick ? quick : full;
}

/* Unless the command line says otherwise. */
void
harness_set_runs (Harness *self, guint n_runs)
{
  static gboolean asked_for = -1;

  if (asked_for < 0)
    asked_for = self->n_runs > 0;
  if (self->quick)
    self->n_runs = 1;
  else if (!asked_for)
    self->n_runs = n_runs;
}

gboolean
harness_wants (Harness *self, const gchar *subject)
{
  return self->only == NULL || g_strv_contains ((const gchar *const *) self->only, subject);
}

void
harness_describe (Harness *self, const gchar *what, const gchar *text)
{
  Description description = { g_strdup (what), g_strdup (text) };

  g_array_append_val (self->descriptions, description);
}

void
harness_isolate_next (Harness *self, guint seconds)
{
  self->next_limit = self->quick ? QUICK_LIMIT : seconds;
}

void
harness_add (Harness *self,
             const gchar *name,
             const gchar *subject,
             HarnessFunc func,
             gpointer data,
             GDestroyNotify destroy)
{
  Entry *entry = g_new0 (Entry, 1);

  entry->name = g_strdup (name);
  entry->subject = g_strdup (subject);
  entry->func = func;
  entry->data = data;
  entry->destroy = destroy;
  entry->limit = self->next_limit;
  self->next_limit = 0;
  g_ptr_array_add (self->entries, entry);
}

static Figure *
find_figure (Harness *self, const gchar *quantity, const gchar *unit)
{
  Figure *figure;

  for (guint i = 0; i < self->figures->len; i++)
    {
      figure = self->figures->pdata[i];
      if (strcmp (figure->name, self->current->name) == 0 &&
          strcmp (figure->subject, self->current->subject) == 0 &&
          strcmp (figure->quantity, quantity) == 0)
        return figure;
    }

  figure = g_new0 (Figure, 1);
  figure->name = g_strdup (self->current->name);
  figure->subject = g_strdup (self->current->subject);
  figure->quantity = g_strdup (quantity);
  figure->unit = g_strdup (unit);
  figure->samples = g_array_new (FALSE, FALSE, sizeof (double));
  g_ptr_array_add (self->figures, figure);
  return figure;
}

void
harness_record (Harness *self, const gchar *quantity, const gchar *unit, double value)
{
  if (self->to_parent != NULL)
    {
      fprintf (self->to_parent, "%s\t%s\t%.17g\n", quantity, unit, value);
      return;
    }

  if (!isfinite (value))
    {
      g_printerr ("%s: %s, %s: no figure\n", self->current->name, self->current->subject, quantity);
      self->n_failures++;
      return;
    }
  g_array_append_val (find_figure (self, quantity, unit)->samples, value);
}

static void
record_line (Harness *self, const gchar *line)
{
  g_auto (GStrv) parts = g_strsplit (line, "\t", -1);

  if (g_strv_length (parts) == 3)
    harness_record (self, parts[0], parts[1], g_ascii_strtod (parts[2], NULL));
}

/* Reads until the other end is closed; returns FALSE if that takes too long. */
static gboolean
read_within (int fd, guint seconds, GString *text)
{
  gint64 deadline = harness_get_nanoseconds () + seconds * G_GINT64_CONSTANT (1000000000);

  for (;;)
    {
      struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
      gint64 left = (deadline - harness_get_nanoseconds ()) / 1000000;
      gchar buffer[1024];
      gssize size;

      if (left <= 0 || poll (&poll_fd, 1, left) <= 0)
        return FALSE;
      size = read (fd, buffer, sizeof buffer);
      if (size <= 0)
        return TRUE;
      g_string_append_len (text, buffer, size);
    }
}

static void
run_in_child (Harness *self, int fd)
{
  self->to_parent = fdopen (fd, "w");
  self->current->func (self, self->current->data);
  fflush (self->to_parent);
  _exit (0);
}

static void
count_unfinished (Harness *self)
{
  if (self->current->n_unfinished++ > 0)
    return;

  g_printerr ("%s: %s did not finish\n", self->current->name, self->current->subject);
}

static void
run_isolated (Harness *self)
{
  g_autoptr (GString) text = g_string_new (NULL);
  g_auto (GStrv) lines = NULL;
  gboolean in_time;
  int fds[2], status;
  pid_t child;

  if (self->current->n_unfinished >= MAX_UNFINISHED)
    return;
  if (pipe (fds) != 0 || (child = fork ()) < 0)
    g_error ("Cannot start a process for %s", self->current->subject);
  if (child == 0)
    {
      close (fds[0]);
      run_in_child (self, fds[1]);
    }

  close (fds[1]);
  in_time = read_within (fds[0], self->current->limit, text);
  close (fds[0]);
  if (!in_time)
    kill (child, SIGKILL);
  waitpid (child, &status, 0);

  lines = g_strsplit (text->str, "\n", -1);
  for (guint i = 0; in_time && lines[i] != NULL; i++)
    record_line (self, lines[i]);
  if (!in_time)
    count_unfinished (self);
  else if (!WIFEXITED (status) || WEXITSTATUS (status) != 0)
    {
      g_printerr ("%s: %s ended badly\n", self->current->name, self->current->subject);
      self->n_failures++;
    }
}

static guint
count_samples (Harness *self)
{
  guint n = 0;

  for (guint i = 0; i < self->figures->len; i++)
    n += ((Figure *) self->figures->pdata[i])->samples->len;
  return n;
}

static void
run_entry (Harness *self, Entry *entry)
{
  guint before = count_samples (self);

  self->current = entry;
  if (entry->limit > 0)
    run_isolated (self);
  else
    entry->func (self, entry->data);

  if (entry->n_unfinished == 0 && count_samples (self) == before)
    {
      g_printerr ("%s: %s gave no figure\n", entry->name, entry->subject);
      self->n_failures++;
    }
}

void
harness_measure (Harness *self)
{
  for (gint run = 0; run < self->n_runs; run++)
    for (guint i = 0; i < self->entries->len; i++)
      run_entry (self, self->entries->pdata[i]);

  for (gint i = (gint) self->entries->len - 1; i >= 0; i--)
    if (((Entry *) self->entries->pdata[i])->n_unfinished > 0)
      g_ptr_array_insert (self->unfinished, 0, g_ptr_array_steal_index (self->entries, i));
  g_ptr_array_set_size (self->entries, 0);
}

/* Returns the exit status of the program. */
int
harness_finish (Harness *self)
{
  int status = self->n_failures > 0 || self->figures->len == 0;

  if (self->as_json)
    harness_print_json (self);
  else
    harness_print_table (self);

  g_array_unref (self->descriptions);
  g_ptr_array_unref (self->unfinished);
  g_ptr_array_unref (self->figures);
  g_ptr_array_unref (self->entries);
  g_strfreev (self->only);
  g_free (self->program);
  g_free (self);
  return status;
}
