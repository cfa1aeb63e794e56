/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Streams of small requests next to a thread that wants half of the budget, and one that wants all
 * of it. A thread that holds a block yields in the meantime, so the small requests alone exhaust
 * the budget. */

#include <sched.h>

#include "distribution.h"
#include "peer.h"
#include "team.h"

#define BUFFER_SIZE 64
#define BUDGET      4 /* buffers */
#define N_SMALL     4
#define N_THREADS   (N_SMALL + 2)
#define N_RUNS      5

typedef struct
{
  const Peer *peer;
  gpointer pool;
  Distribution waits[N_THREADS];
} Mix;

static guint
get_wanted (guint member)
{
  if (member < N_SMALL)
    return 1;
  return member == N_SMALL ? BUDGET / 2 : BUDGET;
}

static void
work (Team *team, guint member, gpointer data)
{
  Mix *self = data;

  while (!team_is_over (team))
    {
      gint64 begin = harness_get_nanoseconds ();
      gpointer block = self->peer->allocate (self->pool, get_wanted (member));

      distribution_add (&self->waits[member], harness_get_nanoseconds () - begin);
      sched_yield ();
      self->peer->drop (self->pool, block);
    }
}

static void
record (Harness *harness, const gchar *who, const Distribution *waits, gint64 took)
{
  g_autofree gchar *served = g_strconcat (who, ": served", NULL);
  g_autofree gchar *tail = g_strconcat (who, ": wait, p99", NULL);
  g_autofree gchar *longest = g_strconcat (who, ": wait, longest", NULL);

  harness_record (harness, served, "1/s", waits->n * 1e9 / took);
  harness_record (harness, tail, "µs", distribution_get (waits, 0.99) / 1000);
  harness_record (harness, longest, "µs", waits->longest / 1000.0);
}

static void
measure (Harness *harness, gpointer data)
{
  Mix *self = data;
  gint64 took;

  memset (self->waits, 0, sizeof self->waits);
  self->pool = self->peer->create (BUFFER_SIZE, BUDGET, BUFFER_SIZE * BUDGET);
  took = team_run_for (N_THREADS, harness_choose (harness, 1000000, 10000), work, self);
  self->peer->destroy (self->pool);

  for (guint i = 1; i < N_SMALL; i++)
    distribution_merge (&self->waits[0], &self->waits[i]);
  record (harness, "small", &self->waits[0], took);
  record (harness, "half", &self->waits[N_SMALL], took);
  record (harness, "all", &self->waits[N_SMALL + 1], took);
}

int
main (int argc, char **argv)
{
  const PeerFeatures needed = PEER_WAITS | PEER_ANY_SIZE;
  Harness *harness = harness_new (argc, argv, "mixed-sizes");

  harness_set_runs (harness, N_RUNS);
  for (guint i = 0; peers[i] != NULL; i++)
    {
      Mix *mix;

      if ((peers[i]->features & needed) != needed || !harness_wants (harness, peers[i]->name))
        continue;
      mix = g_new0 (Mix, 1);
      mix->peer = peers[i];
      harness_add (harness, "mixed sizes", peers[i]->name, measure, mix, g_free);
    }
  harness_measure (harness);
  return harness_finish (harness);
}
