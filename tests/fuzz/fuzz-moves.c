/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "fuzz-rules.h"

/*
 * The events that can happen at any moment in a state of the model, and sets of states.
 */

GArray *
fuzz_states_new (void)
{
  return g_array_sized_new (FALSE, FALSE, sizeof (FuzzState), 16);
}

static guint32
get_hash (const FuzzState *state)
{
  guint64 hash = G_GUINT64_CONSTANT (14695981039346656037);
  guint64 word;

  G_STATIC_ASSERT (sizeof *state % sizeof word == 0);
  for (gsize at = 0; at < sizeof *state; at += sizeof word)
    {
      memcpy (&word, (const guint8 *) state + at, sizeof word);
      hash = (hash ^ word) * G_GUINT64_CONSTANT (1099511628211);
      hash ^= hash >> 29;
    }
  return (guint32) (hash >> 16);
}

void
fuzz_states_add (GArray *states, const FuzzState *added)
{
  FuzzState state = *added;

  state.hash = 0;
  state.hash = get_hash (&state);
  for (guint i = 0; i < states->len; i++)
    {
      const FuzzState *other = &g_array_index (states, FuzzState, i);

      if (other->hash == state.hash && memcmp (other, &state, sizeof state) == 0)
        return;
    }
  g_array_append_val (states, state);
}

/* Returns whether the waiter takes its bytes. It then leaves the queue. */
static gboolean
take_and_finish (FuzzModel *self, FuzzState *state, guint i)
{
  guint slot = state->waiters[i].slot;

  if (fuzz_rules_misses_kept (self, state, (gint) i) && fuzz_choices_choose (self))
    return FALSE;
  if (!fuzz_rules_take (self, state, (gint) i, &self->kinds[slot], &state->taken[slot]))
    return FALSE;

  fuzz_rules_finish_waiter (self, state, i, FUZZ_GRANTED);
  return TRUE;
}

/* A woken thread runs. It takes its bytes or sleeps again, unless it wants more than it can ever
 * get. */
static void
run_waiter (FuzzModel *self, FuzzState *state, guint i)
{
  const FuzzRequestKind *kind = &self->kinds[state->waiters[i].slot];

  state->waiters[i].woken = state->waiters[i].late = FALSE;
  if (!take_and_finish (self, state, i) && fuzz_rules_is_too_large (self, state, kind))
    fuzz_rules_finish_waiter (self, state, i, FUZZ_TOO_LARGE);
  fuzz_rules_serve (self, state);
}

/* Ends the promises to the threads of @slots that were woken. Returns whether all of them were
 * woken. */
static gboolean
make_late (FuzzState *state, guint slots)
{
  for (guint i = 0; i < state->n_waiters; i++)
    {
      FuzzWaiter *waiter = &state->waiters[i];

      if (!waiter->woken || !(slots >> waiter->slot & 1))
        continue;
      waiter->woken = FALSE;
      waiter->late = TRUE;
      slots &= ~(1u << waiter->slot);
    }
  return slots == 0;
}

/* Any number of promises may end at the same time. */
static void
add_late_threads (FuzzModel *self, const FuzzState *from, GArray *states)
{
  for (guint slots = 1; slots < 1u << FUZZ_N_THREADS; slots++)
    {
      FuzzState state = *from;

      if (!make_late (&state, slots))
        continue;
      FUZZ_FOR_EACH_CHOICE (self)
      {
        FuzzState next = state;

        fuzz_rules_serve (self, &next);
        fuzz_states_add (states, &next);
      }
    }
}

/* Each of these is one section. */

static void
cancel_waiter (FuzzModel *self, FuzzState *state, guint i)
{
  fuzz_rules_finish_waiter (self, state, i, FUZZ_CANCELLED);
  fuzz_rules_serve (self, state);
}

static void
expire_waiter (FuzzModel *self, FuzzState *state, guint i)
{
  if (!take_and_finish (self, state, i))
    fuzz_rules_finish_waiter (self, state, i, FUZZ_TIMED_OUT);
  fuzz_rules_serve (self, state);
}

static void
serve_again (FuzzModel *self, FuzzState *state, guint i)
{
  fuzz_rules_serve (self, state);
}

typedef void (*MoveFunc) (FuzzModel *self, FuzzState *state, guint i);

static void
add_move (FuzzModel *self, const FuzzState *from, GArray *states, MoveFunc func, guint i)
{
  FUZZ_FOR_EACH_CHOICE (self)
  {
    FuzzState state = *from;

    func (self, &state, i);
    fuzz_states_add (states, &state);
  }
}

/* Adds the states that can follow. Returns whether there are any. */
static gboolean
add_moves_of_waiters (FuzzModel *self, const FuzzState *from, GArray *states)
{
  gboolean moves = fuzz_rules_has_to_serve (self, from);

  if (moves)
    add_move (self, from, states, serve_again, 0);
  for (guint i = 0; i < from->n_waiters; i++)
    {
      const FuzzWaiter *waiter = &from->waiters[i];
      gboolean told = waiter->woken || waiter->late;
      gboolean expires = self->kinds[waiter->slot].expires && !told;

      if (told)
        add_move (self, from, states, run_waiter, i);
      if (waiter->cancelled)
        add_move (self, from, states, cancel_waiter, i);
      if (expires)
        add_move (self, from, states, expire_waiter, i);
      moves |= told || expires || waiter->cancelled;
    }
  return moves;
}

static gboolean
add_moves_of_drainers (FuzzModel *self, const FuzzState *from, GArray *states)
{
  gboolean moves = FALSE;

  for (guint i = 0; i < from->n_drainers; i++)
    {
      const FuzzWaiter *drainer = &from->drainers[i];
      FuzzState state = *from;

      if (!self->kinds[drainer->slot].expires && !drainer->cancelled)
        continue;
      fuzz_rules_finish_drainer (&state, i, drainer->cancelled ? FUZZ_CANCELLED : FUZZ_TIMED_OUT);
      fuzz_states_add (states, &state);
      moves = TRUE;
    }
  return moves;
}

static void
give_back_unwanted (FuzzModel *self, FuzzState *state, guint slot)
{
  const FuzzRequestKind *kind = &self->kinds[slot];
  gint64 taken = state->taken[slot];

  state->outcomes[slot] = kind->is_dropped ? FUZZ_GONE : FUZZ_CANCELLED;
  state->taken[slot] = 0;
  fuzz_rules_give_back (self, state, kind->level, taken, 1);
}

/* Likewise. A task needs its main loop to release bytes that no caller wants. */
static gboolean
add_moves (FuzzModel *self, const FuzzState *from, gboolean loop_runs, GArray *states)
{
  gboolean moves = add_moves_of_waiters (self, from, states);

  if (self->impatient)
    add_late_threads (self, from, states);
  moves |= add_moves_of_drainers (self, from, states);

  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    {
      if (from->outcomes[slot] != FUZZ_GIVES_BACK || (self->kinds[slot].is_task && !loop_runs))
        continue;
      add_move (self, from, states, give_back_unwanted, slot);
      moves = TRUE;
    }
  return moves;
}

/* Adds all states that can have been reached in the meantime. If @settled is set, the main loop has
 * run, and only states in which nothing more can happen are kept. */
void
fuzz_rules_let_happen (FuzzModel *self, gboolean settled)
{
  GArray *all = self->states;
  GArray *last = fuzz_states_new ();

  for (guint i = 0; i < all->len; i++)
    {
      FuzzState state = g_array_index (all, FuzzState, i);

      if (!add_moves (self, &state, settled, all))
        g_array_append_val (last, state);
    }

  if (settled)
    self->states = last;
  g_array_unref (settled ? all : last);
}
