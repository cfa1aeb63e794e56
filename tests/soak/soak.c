/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A mixed load for a given time, on many threads and main loops. At all times, the outstanding
 * memory must be within the largest maximum in force, and must contain what its owner has written;
 * when a pool ends, nothing may be missing. Reports what it did. */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../testing.h"
#include "soak.h"

#define PATIENCE 30 /* seconds without any request */

static gint seconds = 600;
static gint n_workers = 6;
static gint n_loops = 2;
static gboolean is_short;

static GOptionEntry entries[] = {
  { "seconds", 0, 0, G_OPTION_ARG_INT, &seconds, "How long", "N" },
  { "workers", 0, 0, G_OPTION_ARG_INT, &n_workers, "How many threads that block", "N" },
  { "loops", 0, 0, G_OPTION_ARG_INT, &n_loops, "How many main loops", "N" },
  { "short", 0, 0, G_OPTION_ARG_NONE, &is_short, "3 seconds, or TEST_SCALE percent of them", NULL },
  G_OPTION_ENTRY_NULL
};

static guint64
get_figure (SoakFigure figure)
{
  return atomic_load_explicit (&soak_figures[figure], memory_order_relaxed);
}

/* In KiB; 0 if the system does not report it. */
static glong
get_resident_memory (void)
{
  glong size = 0, resident = 0;
  FILE *file = fopen ("/proc/self/statm", "r");

  if (file == NULL)
    return 0;
  if (fscanf (file, "%ld %ld", &size, &resident) != 2)
    resident = 0;
  fclose (file);
  return resident * (sysconf (_SC_PAGESIZE) / 1024);
}

static void
print_progress (gint64 elapsed)
{
  g_print ("# %4" G_GINT64_FORMAT " s: %" G_GUINT64_FORMAT " requests, %" G_GUINT64_FORMAT
           " served, %" G_GUINT64_FORMAT " waits, %" G_GUINT64_FORMAT " cancelled, %ld KiB\n",
           elapsed,
           get_figure (SOAK_REQUESTS),
           get_figure (SOAK_SERVED),
           get_figure (SOAK_WAITS),
           get_figure (SOAK_CANCELLED),
           get_resident_memory ());
}

/* Returns the resident memory after a tenth of the time. */
static glong
watch (gint64 duration)
{
  gint64 begin = g_get_monotonic_time ();
  gint64 last_progress = begin, last_change = begin;
  guint64 n_requests = 0;
  glong resident = 0;

  while (TRUE)
    {
      gint64 now = g_get_monotonic_time ();

      if (now - begin >= duration)
        return resident;
      if (resident == 0 && now - begin >= duration / 10)
        resident = get_resident_memory ();
      if (get_figure (SOAK_REQUESTS) != n_requests)
        {
          n_requests = get_figure (SOAK_REQUESTS);
          last_change = now;
        }
      else if (now - last_change > PATIENCE * G_USEC_PER_SEC)
        g_error ("no progress for %d seconds", PATIENCE);
      if (now - last_progress >= 10 * G_USEC_PER_SEC)
        {
          last_progress = now;
          print_progress ((now - begin) / G_USEC_PER_SEC);
        }
      g_usleep (50000);
    }
}

static void
print_summary (glong resident)
{
  static const gchar *const names[SOAK_N_FIGURES] = {
    [SOAK_REQUESTS] = "requests",
    [SOAK_TASKS] = "of these asynchronous",
    [SOAK_SERVED] = "served",
    [SOAK_WAITS] = "waits of threads",
    [SOAK_WOULD_BLOCK] = "would block",
    [SOAK_TIMED_OUT] = "timed out",
    [SOAK_CANCELLED] = "cancelled",
    [SOAK_TOO_LARGE] = "too large",
    [SOAK_CLOSED] = "closed",
    [SOAK_CHANGES] = "changes of the maximum",
    [SOAK_POOLS] = "pools",
  };

  for (guint i = 0; i < SOAK_N_FIGURES; i++)
    g_print ("# %s: %" G_GUINT64_FORMAT "\n", names[i], get_figure (i));
  g_print ("# largest overtaking: %u\n", soak_most_overtaken);
  g_print ("# drift: 0, in every pool\n");
  g_print ("# resident memory grew by %ld KiB\n", get_resident_memory () - resident);
}

static glong
soak (gint64 duration)
{
  g_autoptr (GPtrArray) threads = g_ptr_array_new ();
  GThread *dropper = soak_dropper_start ();
  GThread *changer;
  SoakGeneration *last;
  glong resident;

  for (gint i = 0; i < n_workers; i++)
    g_ptr_array_add (threads, soak_worker_start (i + 1));
  for (gint i = 0; i < n_loops; i++)
    g_ptr_array_add (threads, soak_loop_start (1000 + i));
  g_ptr_array_add (threads, soak_canceller_start ());
  changer = soak_changer_start ();

  resident = watch (duration);
  soak_stop ();
  g_thread_join (changer);

  /* Fails requests for more than the last maximum leaves. */
  last = soak_generation_get ();
  soak_generation_set_limit (last, SOAK_MOST, TRUE);
  buf_pool_set_max_memory (last->pool, SOAK_MOST * SOAK_BUFFER_SIZE);
  for (guint i = 0; i < threads->len; i++)
    g_thread_join (threads->pdata[i]);
  soak_end ();
  g_thread_join (dropper);
  soak_generation_unref (last);
  soak_generation_end ();
  return resident;
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;
  gint64 duration;
  glong resident;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error))
    g_error ("%s", error->message);

  duration = is_short ? (gint64) test_scale (3000) * 1000 : seconds * G_USEC_PER_SEC;
  setvbuf (stdout, NULL, _IOLBF, 0);
  g_print ("1..1\n");
  resident = soak (duration);
  print_summary (resident);
  g_assert_cmpuint (get_figure (SOAK_SERVED), >, 0);
  g_print ("ok 1 nothing was exceeded, overwritten, lost or left waiting\n");
  return 0;
}
