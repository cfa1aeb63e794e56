/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The cost of budgets above a pool: latency with up to three levels above it, with a hit and with
 * the cache disabled; and throughput of four pools that share a budget, compared with four separate
 * pools. */

#include <bufpool/bufpool.h>

#include "harness.h"
#include "team.h"

#define BUFFER_SIZE 4096
#define BUDGET      (64 << 20)
#define MAX_LEVELS  3
#define N_POOLS     4
#define TIME_LIMIT  10
#define N_RUNS      21

typedef struct
{
  guint n_levels;
  gboolean caches;
  guint n_threads; /* 0: measure latency */
  gboolean shares;
  guint n;
  BufPool *pools[N_POOLS];
} Levels;

static BufPool *
new_pool (BufBudget *budget, gboolean caches)
{
  return g_initable_new (BUF_TYPE_POOL,
                         NULL,
                         NULL,
                         "buffer-size",
                         (guint64) BUFFER_SIZE,
                         "max-memory",
                         (guint64) BUDGET,
                         "max-cached-memory",
                         (gint64) (caches ? -1 : 0),
                         "budget",
                         budget,
                         NULL);
}

/* The lowest of @n levels; NULL if there is none. */
static BufBudget *
new_budgets (guint n)
{
  BufBudget *budget = NULL;

  for (guint i = 0; i < n; i++)
    {
      BufBudget *child =
          budget != NULL ? buf_budget_new_child (budget, BUDGET) : buf_budget_new (BUDGET);

      g_clear_object (&budget);
      budget = child;
    }
  return budget;
}

static void
spin (BufPool *pool, guint n)
{
  for (guint i = 0; i < n; i++)
    buf_pool_allocation_unref (buf_pool_allocate (pool, 1, NULL, NULL));
}

static void
measure_latency (Harness *harness, gpointer data)
{
  Levels *self = data;
  guint n = harness_choose (harness, 200000, 1000);
  g_autoptr (BufBudget) budget = new_budgets (self->n_levels);
  g_autoptr (BufPool) pool = new_pool (budget, self->caches);
  gint64 began;

  spin (pool, n / 10);
  began = harness_get_nanoseconds ();
  spin (pool, n);
  harness_record (harness, "time", "ns", (double) (harness_get_nanoseconds () - began) / n);
}

static void
spin_in_team (Team *team, guint member, gpointer data)
{
  Levels *self = data;

  spin (self->pools[member % N_POOLS], self->n);
}

static void
measure_contention (Harness *harness, gpointer data)
{
  Levels *self = data;
  g_autoptr (BufBudget) budget = new_budgets (self->shares ? 1 : 0);
  gint64 took;

  self->n = harness_choose (harness, 200000, 1000);
  for (guint i = 0; i < N_POOLS; i++)
    self->pools[i] = new_pool (budget, self->caches);
  took = team_run (self->n_threads, spin_in_team, self);
  for (guint i = 0; i < N_POOLS; i++)
    g_clear_object (&self->pools[i]);
  harness_record (harness, "throughput", "million/s", 1000.0 * self->n_threads * self->n / took);
}

static void
add (Harness *harness, const gchar *name, const gchar *subject, HarnessFunc func, Levels levels)
{
  harness_isolate_next (harness, TIME_LIMIT);
  harness_add (harness, name, subject, func, g_memdup2 (&levels, sizeof levels), g_free);
}

static const gchar *
describe (gboolean caches)
{
  return caches ? "hit" : "nothing is kept";
}

int
main (int argc, char **argv)
{
  static const guint threads[] = { 1, 2, 4, 8 };
  Harness *harness = harness_new (argc, argv, "levels");

  harness_set_runs (harness, N_RUNS);
  for (gint caches = TRUE; caches >= FALSE; caches--)
    {
      for (guint n = 0; n <= MAX_LEVELS; n++)
        {
          g_autofree gchar *subject = g_strdup_printf ("%u level%s above", n, n == 1 ? "" : "s");

          add (harness,
               describe (caches),
               subject,
               measure_latency,
               (Levels){ .n_levels = n, .caches = caches });
        }
      for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
        {
          g_autofree gchar *name =
              g_strdup_printf ("%u threads, %s", threads[i], describe (caches));

          for (gint shares = FALSE; shares <= TRUE; shares++)
            add (harness,
                 name,
                 shares ? "four pools in one budget" : "four separate pools",
                 measure_contention,
                 (Levels){ .caches = caches, .n_threads = threads[i], .shares = shares });
        }
    }
  harness_measure (harness);
  return harness_finish (harness);
}
