/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A model of more processors than the machine has: threads 1 to 64, one after another in a random
 * order that is always the same, with as many stripes. It counts how often a request or a release
 * has to take the lock of the budget, and what it does there. It needs no clock, so the figures are
 * the same on every machine.
 *
 * It leaves out one effect: a thread is never interrupted within a request, so no compare-and-swap
 * fails because of another thread. With a stripe for each thread, this is rare anyway. */

#include "counted-budget.h"
#include "harness.h"

#define MAX_THREADS 64

typedef struct
{
  guint n_threads;
  guint n_stripes;
  guint depth;         /* the most that a thread holds */
  guint per_thread;    /* the budget for each thread */
  gboolean hands_over; /* the even threads allocate, the odd ones drop */
} Model;

typedef struct
{
  const Model *model;
  gpointer budget;
  GRand *rand;
  guint held[MAX_THREADS]; /* by the thread, or by the threads it handed them to */
  guint64 n_requests;
  guint64 n_refused;
} Simulation;

static void
take (Simulation *self, guint thread)
{
  self->n_requests++;
  if (counted_budget_take (self->budget, thread, 1))
    self->held[thread]++;
  else
    self->n_refused++;
}

static void
give (Simulation *self, guint holder, guint thread)
{
  self->held[holder]--;
  counted_budget_give (self->budget, thread, 1);
}

/* A thread continues in its direction for a while: it allocates as much as it may, then frees
 * everything. */
static void
step (Simulation *self, guint thread)
{
  guint holder = self->model->hands_over ? thread & ~1u : thread;
  guint n = g_rand_int_range (self->rand, 1, self->model->depth + 1);
  gboolean takes = self->model->hands_over ? thread == holder : self->held[thread] == 0;

  for (guint i = 0; i < n; i++)
    if (takes && self->held[holder] < self->model->depth)
      take (self, thread);
    else if (!takes && self->held[holder] > 0)
      give (self, holder, thread);
}

static void
simulate (Simulation *self, guint64 n_requests)
{
  guint64 goal = self->n_requests + n_requests;

  while (self->n_requests < goal)
    step (self, g_rand_int_range (self->rand, 0, self->model->n_threads));
}

static void
record (Harness *harness, const gchar *what, guint64 n, Simulation *simulation)
{
  harness_record (harness, what, "per 1000 requests", n * 1000.0 / simulation->n_requests);
}

static void
measure (Harness *harness, gpointer data)
{
  const Model *model = data;
  Simulation simulation = { .model = model, .rand = g_rand_new_with_seed (1) };

  simulation.budget = counted_budget_new (model->n_threads * model->per_thread, model->n_stripes);
  simulate (&simulation, harness_choose (harness, 100000, 1000));
  simulation.n_requests = simulation.n_refused = 0;
  budget_counts = (BudgetCounts){ 0 };
  simulate (&simulation, harness_choose (harness, 1000000, 10000));

  record (harness, "locked sections", budget_counts.sections, &simulation);
  record (harness, "compare-and-swaps", budget_counts.exchanges, &simulation);
  record (harness, "stripes collected", budget_counts.collections, &simulation);
  record (harness, "stripes revoked", budget_counts.revocations, &simulation);
  harness_record (harness,
                  "stripes in use",
                  "stripes",
                  counted_budget_get_n_stripes (simulation.budget));
  record (harness, "refused", simulation.n_refused, &simulation);

  for (guint i = 0; i < model->n_threads; i++)
    while (simulation.held[i] > 0)
      give (&simulation, i, i);
  counted_budget_free (simulation.budget);
  g_rand_free (simulation.rand);
}

static void
add_model (Harness *harness, Model model)
{
  g_autofree gchar *subject =
      g_strdup_printf ("%u threads, %u stripes", model.n_threads, model.n_stripes);
  g_autofree gchar *name = NULL;

  if (model.hands_over)
    name = g_strdup_printf ("handed over, up to %u, of %u", model.depth, model.per_thread);
  else
    name = g_strdup_printf ("each holds up to %u of %u", model.depth, model.per_thread);
  harness_add (harness, name, subject, measure, g_memdup2 (&model, sizeof model), g_free);
}

/* The most that a thread holds, and the budget for each thread. */
static const struct
{
  guint depth;
  guint per_thread;
} own[] = { { 1, 8 }, { 8, 256 },   { 8, 64 },   { 8, 16 },  { 8, 8 },
            { 8, 4 }, { 64, 4096 }, { 64, 256 }, { 64, 64 }, { 64, 32 } },
  handed[] = { { 8, 4096 }, { 64, 4096 }, { 64, 1024 }, { 64, 256 }, { 64, 64 }, { 64, 16 } };

int
main (int argc, char **argv)
{
  Harness *harness = harness_new (argc, argv, "counting");

  harness_set_runs (harness, 1);
  for (guint n = 1; n <= MAX_THREADS; n *= 2)
    {
      for (guint i = 0; i < G_N_ELEMENTS (own); i++)
        add_model (harness, (Model){ n, n, own[i].depth, own[i].per_thread, FALSE });
      for (guint i = 0; n > 1 && i < G_N_ELEMENTS (handed); i++)
        add_model (harness, (Model){ n, n, handed[i].depth, handed[i].per_thread, TRUE });
    }
  for (guint n_stripes = 1; n_stripes < MAX_THREADS; n_stripes *= 2)
    add_model (harness, (Model){ MAX_THREADS, n_stripes, 8, 64, FALSE });
  harness_measure (harness);
  return harness_finish (harness);
}
