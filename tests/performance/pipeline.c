/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Some threads allocate, and others drop; the blocks pass through a bounded queue. */

#include "peer.h"
#include "ring.h"
#include "team.h"

#define CAPACITY   256
#define BUDGET     (64 << 20)
#define TIME_LIMIT 10

typedef struct
{
  const Peer *peer;
  gsize buffer_size;
  guint n_producers;
  guint n_consumers;
  guint n; /* how many blocks pass through */
  gpointer pool;
  Ring *ring;
} Pipeline;

static void
produce (Pipeline *self)
{
  for (guint i = 0; i < self->n / self->n_producers; i++)
    ring_push (self->ring, self->peer->allocate (self->pool, 1));
}

static void
consume (Pipeline *self)
{
  for (guint i = 0; i < self->n / self->n_consumers; i++)
    self->peer->drop (self->pool, ring_pop (self->ring));
}

static void
work (Team *team, guint member, gpointer data)
{
  Pipeline *self = data;

  peer_enter_thread (self->peer);
  if (member < self->n_producers)
    produce (self);
  else
    consume (self);
  peer_leave_thread (self->peer);
}

static void
measure (Harness *harness, gpointer data)
{
  Pipeline *self = data;
  gint64 took;

  self->n = 3 * harness_choose (harness, 50000, 200);
  self->pool = self->peer->create (self->buffer_size, 1, BUDGET);
  self->ring = ring_new (CAPACITY);
  took = team_run (self->n_producers + self->n_consumers, work, self);
  ring_free (self->ring);
  self->peer->destroy (self->pool);
  harness_record (harness, "time", "ns", (double) took / self->n);
}

static void
add_case (Harness *harness,
          const gchar *size,
          gsize buffer_size,
          guint n_producers,
          guint n_consumers)
{
  g_autofree gchar *name = g_strdup_printf ("%u to %u, %s", n_producers, n_consumers, size);

  for (guint i = 0; peers[i] != NULL; i++)
    {
      Pipeline *pipeline;

      if (!harness_wants (harness, peers[i]->name))
        continue;
      pipeline = g_new0 (Pipeline, 1);
      pipeline->peer = peers[i];
      pipeline->buffer_size = buffer_size;
      pipeline->n_producers = n_producers;
      pipeline->n_consumers = n_consumers;
      harness_isolate_next (harness, TIME_LIMIT);
      harness_add (harness, name, peers[i]->name, measure, pipeline, g_free);
    }
  harness_measure (harness);
}

int
main (int argc, char **argv)
{
  static const struct
  {
    const gchar *name;
    gsize bytes;
  } sizes[] = {
    { "64 B", 64 },
    { "4 KiB", 4096 },
    { "64 KiB", 64 << 10 },
    { "1 MiB", 1 << 20 },
  };
  Harness *harness = harness_new (argc, argv, "pipeline");

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    {
      add_case (harness, sizes[i].name, sizes[i].bytes, 1, 1);
      add_case (harness, sizes[i].name, sizes[i].bytes, 1, 3);
      add_case (harness, sizes[i].name, sizes[i].bytes, 3, 1);
    }
  return harness_finish (harness);
}
