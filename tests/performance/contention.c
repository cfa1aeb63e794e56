/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The throughput of several threads, each of which allocates and drops, with a budget that is never
 * exhausted. */

#include "peer.h"
#include "team.h"

#define BUFFER_SIZE 64
#define BUDGET      (64 << 20)
#define TIME_LIMIT  5
#define N_RUNS      21

typedef struct
{
  const Peer *peer;
  guint n_threads;
  guint n;
  gpointer pool;
} Contention;

static void
spin (Team *team, guint member, gpointer data)
{
  Contention *self = data;

  peer_enter_thread (self->peer);
  self->peer->spin (self->pool, 1, 0, self->n);
  peer_leave_thread (self->peer);
}

/* For one thread alone. */
static guint
calibrate (Contention *self, guint milliseconds)
{
  guint n;

  peer_enter_thread (self->peer);
  n = peer_calibrate (self->peer, self->pool, 1, 0, milliseconds);
  peer_leave_thread (self->peer);
  return n;
}

static void
measure (Harness *harness, gpointer data)
{
  Contention *self = data;
  gint64 took;

  self->pool = self->peer->create (BUFFER_SIZE, 1, BUDGET);
  if (self->n == 0)
    self->n = calibrate (self, harness_choose (harness, 30, 1));
  took = team_run (self->n_threads, spin, self);
  self->peer->destroy (self->pool);
  harness_record (harness, "throughput", "million/s", 1000.0 * self->n_threads * self->n / took);
}

int
main (int argc, char **argv)
{
  static const guint threads[] = { 1, 2, 4, 8 };
  Harness *harness = harness_new (argc, argv, "contention");

  peer_describe_all (harness);
  harness_set_runs (harness, N_RUNS);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    for (guint j = 0; peers[j] != NULL; j++)
      {
        g_autofree gchar *name = g_strdup_printf ("%u threads", threads[i]);
        Contention *contention;

        if (!harness_wants (harness, peers[j]->name))
          continue;
        contention = g_new0 (Contention, 1);
        contention->peer = peers[j];
        contention->n_threads = threads[i];
        harness_isolate_next (harness, TIME_LIMIT);
        harness_add (harness, name, peers[j]->name, measure, contention, g_free);
      }
  harness_measure (harness);
  return harness_finish (harness);
}
