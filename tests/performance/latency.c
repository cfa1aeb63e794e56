/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The cost of one request and its release, on one thread. */

#include "machine.h"
#include "peer.h"

#define BUDGET (64 << 20)

typedef struct
{
  const Peer *peer;
  gpointer pool;
  gsize n_buffers;
  gsize touched;
  guint n;
} Spin;

static void
spin_free (gpointer data)
{
  Spin *self = data;

  if (self->pool != NULL)
    self->peer->destroy (self->pool);
  g_free (self);
}

static void
measure (Harness *harness, gpointer data)
{
  Spin *self = data;
  gint64 begin;

  peer_enter_thread (self->peer);
  if (self->n == 0)
    self->n = peer_calibrate (self->peer,
                              self->pool,
                              self->n_buffers,
                              self->touched,
                              harness_choose (harness, 20, 1));
  begin = harness_get_nanoseconds ();
  self->peer->spin (self->pool, self->n_buffers, self->touched, self->n);
  harness_record (harness, "time", "ns", (double) (harness_get_nanoseconds () - begin) / self->n);
  peer_leave_thread (self->peer);
}

static void
add_case (Harness *harness, const gchar *size, gsize buffer_size, gsize n_buffers, gboolean touches)
{
  g_autofree gchar *name = g_strconcat (size, touches ? ", touched" : "", NULL);

  for (guint i = 0; peers[i] != NULL; i++)
    {
      Spin *spin;

      if (!harness_wants (harness, peers[i]->name))
        continue;
      spin = g_new0 (Spin, 1);
      spin->peer = peers[i];
      spin->pool = peers[i]->create (buffer_size, n_buffers, BUDGET);
      spin->n_buffers = n_buffers;
      spin->touched = touches ? buffer_size * n_buffers : 0;
      harness_add (harness, name, peers[i]->name, measure, spin, spin_free);
    }
  harness_measure (harness);
}

int
main (int argc, char **argv)
{
  Harness *harness = harness_new (argc, argv, "latency");

  peer_describe_all (harness);
  machine_pin_thread (0);
  for (guint touches = 0; touches <= 1; touches++)
    {
      add_case (harness, "1 × 64 B", 64, 1, touches);
      add_case (harness, "16 × 64 B", 64, 16, touches);
      add_case (harness, "1024 × 64 B", 64, 1024, touches);
      add_case (harness, "1 × 4 KiB", 4096, 1, touches);
      add_case (harness, "1 × 64 KiB", 64 << 10, 1, touches);
      add_case (harness, "1 × 1 MiB", 1 << 20, 1, touches);
    }
  return harness_finish (harness);
}
