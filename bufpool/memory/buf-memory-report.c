/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdlib.h>
#include <unistd.h>

#include "budget/buf-request-private.h"
#include "debug/buf-words-private.h"
#include "memory/buf-memory-private.h"

/*
 * Reports of outstanding allocations: of one memory, and of all memories when the program ends.
 */

/* The process whose pools the report at exit covers. After a fork, this is not the child until the
 * child creates a pool of its own. */
static _Atomic pid_t reporter; /* atomic */

/* The levels above the pool, from the lowest one up. */
static void
append_budgets (BufMemory *self, GString *description)
{
  BufSemaphoreFigures figures;

  for (BufSemaphore *level = self->semaphore.parent; level != NULL; level = level->parent)
    {
      g_autofree gchar *title = buf_request_get_title (level, "the");

      buf_semaphore_get_figures (level, &figures, NULL);
      g_string_append_printf (description,
                              "  It counts against %s (%" G_GINT64_FORMAT " of %" G_GINT64_FORMAT
                              " %s), where %u %s.\n",
                              title,
                              figures.allocated,
                              figures.maximum,
                              buf_words_choose (figures.maximum, "byte", "bytes"),
                              figures.n_waiting,
                              buf_words_choose (figures.n_waiting,
                                                "request is waiting",
                                                "requests are waiting"));
    }
}

static void
append_description (BufMemory *self, const BufSemaphoreFigures *figures, GString *description)
{
  g_autofree gchar *title = buf_request_get_title (&self->semaphore, "The");

  g_string_append_printf (description,
                          "%s has %" G_GINT64_FORMAT " outstanding %s (%" G_GINT64_FORMAT
                          " of %" G_GINT64_FORMAT " %s), and %u %s.\n",
                          title,
                          figures->n_allocations,
                          buf_words_choose (figures->n_allocations, "allocation", "allocations"),
                          figures->allocated,
                          figures->maximum,
                          buf_words_choose (figures->maximum, "byte", "bytes"),
                          figures->n_waiting,
                          buf_words_choose (figures->n_waiting,
                                            "request is waiting",
                                            "requests are waiting"));
  append_budgets (self, description);
  if (figures->n_allocations > 0)
    buf_memory_append_outstanding (self, description);
}

void
buf_memory_append_description (BufMemory *self, GString *description)
{
  BufSemaphoreFigures figures;

  buf_semaphore_get_figures (&self->semaphore, &figures, NULL);
  append_description (self, &figures, description);
}

static void
append_at_exit (BufMemory *self, gpointer data)
{
  GString *report = data;
  BufSemaphoreFigures figures;

  if (self->process != atomic_load (&reporter))
    return;
  buf_semaphore_get_figures (&self->semaphore, &figures, NULL);
  if (figures.n_allocations == 0)
    return;

  g_string_append (report, "At exit: ");
  append_description (self, &figures, report);
}

/* The child of a fork also inherits this handler, and possibly a lock held by a thread that does
 * not exist in the child. The report is printed without the lock, because the program may have
 * replaced the print handler. */
static void
describe_all (void)
{
  g_autoptr (GString) report = g_string_new (NULL);

  if (atomic_load (&reporter) != getpid ())
    return;

  buf_memory_for_each (append_at_exit, report);
  if (report->len > 0)
    g_printerr ("%s", report->str);
}

/* For BUFPOOL_DEBUG=exit. From now on, the report covers the pools of this process. */
void
buf_memory_describe_all_at_exit (void)
{
  static gsize initialized;

  atomic_store (&reporter, getpid ());
  if (g_once_init_enter (&initialized))
    {
      (void) atexit (describe_all);
      g_once_init_leave (&initialized, 1);
    }
}
