/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* From a release to the waiter that runs: two threads pass blocks back and forth, compared with two
 * threads that take turns with a bare futex. */

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "machine.h"
#include "peer.h"
#include "team.h"

#define BUFFER_SIZE 64
#define N_POOLS     3

typedef struct
{
  const Peer *peer; /* NULL: the bare futex */
  guint n_processors;
  guint n;
  gpointer pools[N_POOLS]; /* each has room for one block */
  gpointer blocks[N_POOLS];
  _Atomic guint32 turn;
} PingPong;

static void
futex (_Atomic guint32 *word, int operation, guint32 value)
{
  syscall (SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void
await_turn (PingPong *self, guint32 turn)
{
  guint32 now;

  while ((now = atomic_load (&self->turn)) != turn)
    futex (&self->turn, FUTEX_WAIT, now);
}

static void
pass_turn (PingPong *self, guint32 turn)
{
  atomic_store (&self->turn, turn);
  futex (&self->turn, FUTEX_WAKE, 1);
}

static void
play_with_futex (PingPong *self, guint member)
{
  for (guint i = 0; i < self->n; i++)
    if (member == 0)
      {
        pass_turn (self, 1);
        await_turn (self, 0);
      }
    else
      {
        await_turn (self, 1);
        pass_turn (self, 0);
      }
}

static void
drop (PingPong *self, guint which)
{
  self->peer->drop (self->pools[which], self->blocks[which]);
}

static void
allocate (PingPong *self, guint which)
{
  self->blocks[which] = self->peer->allocate (self->pools[which], 1);
}

/* Each thread waits for the block that the other one frees, and takes it. There are three blocks,
 * and no thread requests the one that it has just freed, so it cannot take that one itself. */
static void
play_with_pools (PingPong *self, guint member)
{
  for (guint i = 0; i < 2 * self->n; i++)
    if (i % 2 == member)
      drop (self, i % N_POOLS);
    else
      allocate (self, i % N_POOLS);
}

static void
play (Team *team, guint member, gpointer data)
{
  PingPong *self = data;

  machine_pin_thread (member % self->n_processors);
  if (self->peer != NULL)
    play_with_pools (self, member);
  else
    play_with_futex (self, member);
}

static void
measure (Harness *harness, gpointer data)
{
  PingPong *self = data;
  gint64 took;

  self->n = harness_choose (harness, 5000, 50);
  for (guint i = 0; self->peer != NULL && i < N_POOLS; i++)
    {
      self->pools[i] = self->peer->create (BUFFER_SIZE, 1, BUFFER_SIZE);
      allocate (self, i);
    }
  took = team_run (2, play, self);
  for (guint i = 0; self->peer != NULL && i < N_POOLS; i++)
    {
      drop (self, i);
      self->peer->destroy (self->pools[i]);
    }
  harness_record (harness, "time", "µs", took / 1000.0 / (2 * self->n));
}

static void
add_entry (Harness *harness, const Peer *peer, guint n_processors)
{
  const gchar *name = n_processors == 1 ? "one processor" : "two processors";
  const gchar *subject = peer != NULL ? peer->name : "futex";
  PingPong *ping_pong;

  if (!harness_wants (harness, subject))
    return;
  ping_pong = g_new0 (PingPong, 1);
  ping_pong->peer = peer;
  ping_pong->n_processors = n_processors;
  harness_add (harness, name, subject, measure, ping_pong, g_free);
}

int
main (int argc, char **argv)
{
  Harness *harness = harness_new (argc, argv, "wake-up");

  for (guint n_processors = 1; n_processors <= 2; n_processors++)
    {
      add_entry (harness, NULL, n_processors);
      add_entry (harness, &peer_libbufpool, n_processors);
      add_entry (harness, &peer_careful, n_processors);
      add_entry (harness, &peer_naive, n_processors);
      harness_measure (harness);
    }
  return harness_finish (harness);
}
