/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ring.h"

#include <sched.h>
#include <stdatomic.h>

#define PATIENCE 64

/* Each slot contains the number of the turn in which it may be used next: the position of a push,
 * or one more for the pop. */
typedef struct
{
  _Atomic guint turn;
  gpointer item;
} Slot;

struct _Ring
{
  Slot *slots;
  guint capacity;
  _Alignas(64) _Atomic guint pushed;
  _Alignas(64) _Atomic guint popped;
};

Ring *
ring_new (guint capacity)
{
  Ring *self = g_aligned_alloc0 (1, sizeof (Ring), 64);

  self->capacity = capacity;
  self->slots = g_new0 (Slot, capacity);
  for (guint i = 0; i < capacity; i++)
    atomic_init (&self->slots[i].turn, i);
  return self;
}

void
ring_free (Ring *self)
{
  g_free (self->slots);
  g_aligned_free (self);
}

static void
wait_for_turn (Slot *slot, guint turn)
{
  for (guint i = 0; atomic_load_explicit (&slot->turn, memory_order_acquire) != turn; i++)
    if (i >= PATIENCE)
      sched_yield ();
}

void
ring_push (Ring *self, gpointer item)
{
  guint position = atomic_fetch_add_explicit (&self->pushed, 1, memory_order_relaxed);
  Slot *slot = &self->slots[position & (self->capacity - 1)];

  wait_for_turn (slot, position);
  slot->item = item;
  atomic_store_explicit (&slot->turn, position + 1, memory_order_release);
}

gpointer
ring_pop (Ring *self)
{
  guint position = atomic_fetch_add_explicit (&self->popped, 1, memory_order_relaxed);
  Slot *slot = &self->slots[position & (self->capacity - 1)];
  gpointer item;

  wait_for_turn (slot, position + 1);
  item = slot->item;
  atomic_store_explicit (&slot->turn, position + self->capacity, memory_order_release);
  return item;
}
