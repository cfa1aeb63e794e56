/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* More threads than the budget has room for: their total throughput, how long each waits, and how
 * evenly they share. */

#include "pool/buf-pool-private.h"
#include "distribution.h"
#include "peer.h"
#include "team.h"

#define BUFFER_SIZE 64
#define MAX_THREADS 16
#define TIME_LIMIT  5
#define N_RUNS      5

typedef struct
{
  const Peer *peer;
  guint n_threads;
  guint n_blocks;
  gpointer pool;
  guint64 served[MAX_THREADS];
  Distribution waits[MAX_THREADS];
} Saturation;

/* A separate cache line for each thread would be better, but they write it only once, at the
 * end. */
static void
work (Team *team, guint member, gpointer data)
{
  Saturation *self = data;
  guint64 served = 0;

  while (!team_is_over (team))
    {
      gpointer block = self->peer->allocate (self->pool, 1);

      served++;
      self->peer->drop (self->pool, block);
    }
  self->served[member] = served;
}

static void
work_by_the_clock (Team *team, guint member, gpointer data)
{
  Saturation *self = data;
  Distribution *waits = &self->waits[member];

  while (!team_is_over (team))
    {
      gint64 begin = harness_get_nanoseconds ();
      gpointer block = self->peer->allocate (self->pool, 1);

      distribution_add (waits, harness_get_nanoseconds () - begin);
      self->peer->drop (self->pool, block);
    }
  self->served[member] = waits->n;
}

static void
record_waits (Harness *harness, Saturation *self)
{
  Distribution *all = g_new0 (Distribution, 1);
  double worst = 0;

  for (guint i = 0; i < self->n_threads; i++)
    {
      distribution_merge (all, &self->waits[i]);
      worst = MAX (worst, distribution_get (&self->waits[i], 0.999));
    }
  harness_record (harness, "wait, p50", "µs", distribution_get (all, 0.5) / 1000);
  harness_record (harness, "wait, p99", "µs", distribution_get (all, 0.99) / 1000);
  harness_record (harness, "wait, p99.9", "µs", distribution_get (all, 0.999) / 1000);
  harness_record (harness, "wait, p99.9 of the worst thread", "µs", worst / 1000);
  harness_record (harness, "wait, longest", "µs", all->longest / 1000.0);
  harness_record (harness,
                  "fairness",
                  "Jain",
                  distribution_get_fairness (self->served, self->n_threads));
  g_free (all);
}

static void
measure (Harness *harness, gpointer data)
{
  Saturation *self = data;
  guint64 served = 0;
  gint64 took;

  memset (self->waits, 0, sizeof self->waits);
  self->pool = self->peer->create (BUFFER_SIZE, 1, BUFFER_SIZE * self->n_blocks);
  took = team_run_for (self->n_threads, harness_choose (harness, 200000, 5000), work, self);
  for (guint i = 0; i < self->n_threads; i++)
    served += self->served[i];
  harness_record (harness, "throughput", "million/s", served * 1000.0 / took);

  team_run_for (self->n_threads, harness_choose (harness, 1000000, 10000), work_by_the_clock, self);
  record_waits (harness, self);
  if (self->peer == &peer_libbufpool)
    harness_record (harness,
                    "most overtaken",
                    "times",
                    ((BufPool *) self->pool)->memory->semaphore.level.history.most_overtaken);
  self->peer->destroy (self->pool);
}

static void
add_case (Harness *harness, guint n_threads, guint n_blocks)
{
  g_autofree gchar *name = g_strdup_printf ("%u threads, limit of %u", n_threads, n_blocks);

  for (guint i = 0; peers[i] != NULL; i++)
    {
      Saturation *saturation;

      if (!(peers[i]->features & PEER_WAITS) || !harness_wants (harness, peers[i]->name))
        continue;
      saturation = g_new0 (Saturation, 1);
      saturation->peer = peers[i];
      saturation->n_threads = n_threads;
      saturation->n_blocks = n_blocks;
      harness_isolate_next (harness, TIME_LIMIT);
      harness_add (harness, name, peers[i]->name, measure, saturation, g_free);
    }
  harness_measure (harness);
}

int
main (int argc, char **argv)
{
  Harness *harness = harness_new (argc, argv, "saturation");

  harness_describe (harness, "bound of overtaking", G_STRINGIFY (BUF_WAIT_QUEUE_MAX_OVERTAKEN));
  harness_set_runs (harness, N_RUNS);
  for (guint n_threads = 2; n_threads <= MAX_THREADS; n_threads *= 2)
    for (guint n_blocks = 1; n_blocks <= 4; n_blocks *= 2)
      add_case (harness, n_threads, n_blocks);
  return harness_finish (harness);
}
