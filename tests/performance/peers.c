/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "peer.h"

#define FIRST_ROUNDS 64

const Peer *const peers[] = {
  &peer_libbufpool,
  &peer_malloc,
  &peer_floor,
  &peer_counter,
  &peer_careful,
  &peer_naive,
  &peer_bytes,
  &peer_async_queue,
#ifdef HAVE_GSTREAMER
  &peer_gstreamer,
#endif
#ifdef HAVE_DPDK
  &peer_dpdk,
  &peer_dpdk_uncached,
#endif
  NULL,
};

static const gchar *
name_yes_or_no (const Peer *peer, PeerFeatures feature)
{
  return peer->features & feature ? "yes" : "no";
}

/* One line for each peer: what it has, and what it lacks. */
void
peer_describe_all (Harness *harness)
{
  for (guint i = 0; peers[i] != NULL; i++)
    {
      const Peer *peer = peers[i];
      g_autofree gchar *what = g_strconcat ("peer: ", peer->name, NULL);
      g_autofree gchar *text = g_strjoin ("|",
                                          name_yes_or_no (peer, PEER_HAS_BUDGET),
                                          name_yes_or_no (peer, PEER_WAITS),
                                          name_yes_or_no (peer, PEER_IS_FAIR),
                                          name_yes_or_no (peer, PEER_ANY_SIZE),
                                          peer->get_version != NULL ? peer->get_version () : "",
                                          peer->remark,
                                          NULL);

      harness_describe (harness, what, text);
    }
}

void
peer_enter_thread (const Peer *self)
{
  if (self->enter_thread != NULL)
    self->enter_thread ();
}

void
peer_leave_thread (const Peer *self)
{
  if (self->leave_thread != NULL)
    self->leave_thread ();
}

guint
peer_calibrate (const Peer *self, gpointer pool, gsize n_buffers, gsize touched, guint milliseconds)
{
  const gint64 wanted = milliseconds * G_GINT64_CONSTANT (1000000);
  guint n = FIRST_ROUNDS;

  for (;;)
    {
      gint64 begin = harness_get_nanoseconds ();
      gint64 took;

      self->spin (pool, n_buffers, touched, n);
      took = harness_get_nanoseconds () - begin;
      if (took * 8 > wanted)
        return MAX (1, n * wanted / MAX (took, 1));
      n *= 4;
    }
}
