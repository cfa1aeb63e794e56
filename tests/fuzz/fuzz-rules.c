/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "fuzz-rules.h"

/*
 * The rules of a pool, as docs/architecture.md tells them, without stripes, locks or memory: one
 * number for what is free, and one list of those who wait.
 *
 * When threads may be late, nobody is overtaken so often that it is owed, and it is not counted:
 * otherwise there would be too many states.
 */

/* The first that is not late; or -1. */
static gint
get_oldest (const FuzzState *state)
{
  for (guint i = 0; i < state->n_waiters; i++)
    if (!state->waiters[i].late)
      return (gint) i;
  return -1;
}

static gboolean
is_owed (const FuzzState *state, gint waiter)
{
  return waiter >= 0 && state->waiters[waiter].overtaken >= FUZZ_MAX_OVERTAKEN;
}

static gint64
get_bytes (FuzzModel *self, const FuzzState *state, gint waiter)
{
  return self->kinds[state->waiters[waiter].slot].bytes;
}

static gint
get_priority (FuzzModel *self, const FuzzState *state, gint waiter)
{
  return self->kinds[state->waiters[waiter].slot].priority;
}

static void
remove_waiter (FuzzWaiter *waiters, guint8 *n_waiters, guint i)
{
  memmove (&waiters[i], &waiters[i + 1], (*n_waiters - i - 1) * sizeof *waiters);
  waiters[--*n_waiters] = (FuzzWaiter){ 0 };
}

/* The waiter is told its outcome. Who has cancelled is told so, whatever else there is to tell. */
static void
finish_waiter (FuzzModel *self, FuzzState *state, guint i, FuzzOutcome outcome)
{
  FuzzWaiter waiter = state->waiters[i];
  const FuzzRequestKind *kind = &self->kinds[waiter.slot];

  if (outcome == FUZZ_GRANTED && (waiter.cancelled || kind->is_dropped))
    outcome = FUZZ_GIVES_BACK;
  else if (outcome != FUZZ_GRANTED && waiter.cancelled)
    outcome = FUZZ_CANCELLED;
  state->outcomes[waiter.slot] = outcome;
  remove_waiter (state->waiters, &state->n_waiters, i);
}

static void
finish_drainer (FuzzState *state, guint i, FuzzOutcome outcome)
{
  state->outcomes[state->drainers[i].slot] = outcome;
  remove_waiter (state->drainers, &state->n_drainers, i);
}

/* What is free, less what is promised to threads that are more urgent, and less what is left for
 * @owed, unless that is negative. These bytes do not count twice. */
static gint64
get_free_for (FuzzModel *self, const FuzzState *state, gint priority, gint owed)
{
  gint64 bytes = state->free - (owed >= 0 ? get_bytes (self, state, owed) : 0);

  for (gint i = 0; i < state->n_waiters; i++)
    if (i != owed && state->waiters[i].woken && get_priority (self, state, i) < priority)
      bytes -= get_bytes (self, state, i);
  return bytes;
}

/* @waiter is negative for a request that does not wait. */
static gboolean
take (FuzzModel *self, FuzzState *state, gint waiter, const FuzzRequestKind *kind)
{
  gint oldest = get_oldest (state);
  gboolean overtakes = oldest >= 0 && (waiter < 0 || waiter > oldest);
  gboolean owed = overtakes && is_owed (state, oldest);
  gint64 bytes = kind->bytes;

  if (state->closed || bytes > get_free_for (self, state, kind->priority, owed ? oldest : -1))
    return FALSE;
  if (overtakes && !owed && !self->impatient)
    state->waiters[oldest].overtaken++;
  state->free -= bytes;
  state->n_allocations++;
  return TRUE;
}

/* What is free, less what is promised to threads that were woken, or kept for one that is owed. */
static gint64
get_unpromised (FuzzModel *self, const FuzzState *state)
{
  gint oldest = get_oldest (state);
  gint64 unpromised = state->free;

  for (gint i = 0; i < state->n_waiters; i++)
    if (state->waiters[i].woken || (i == oldest && is_owed (state, oldest)))
      unpromised -= get_bytes (self, state, i);
  return unpromised;
}

/* The oldest passes what is promised to those that are not more urgent. */
static gboolean
fits (FuzzModel *self, const FuzzState *state, gint waiter, gint64 unpromised)
{
  gint64 bytes = get_bytes (self, state, waiter);

  if (bytes <= unpromised)
    return TRUE;
  return waiter == get_oldest (state) &&
         bytes <= get_free_for (self, state, get_priority (self, state, waiter), -1);
}

/* The first waiter that fits and has not been told so yet, by priority and then by age; or -1. The
 * oldest comes before all others if it is owed. */
static gint
find_next (FuzzModel *self, const FuzzState *state)
{
  gint oldest = get_oldest (state);
  gint64 unpromised = get_unpromised (self, state);
  gint first = -1;

  for (gint i = 0; i < state->n_waiters; i++)
    {
      if (state->waiters[i].woken || state->waiters[i].late || !fits (self, state, i, unpromised))
        continue;
      if (i == oldest && is_owed (state, oldest))
        return i;
      if (first < 0 || get_priority (self, state, i) < get_priority (self, state, first))
        first = i;
    }
  return first;
}

/* Waiters that fit are granted, or woken, in their order. */
void
fuzz_rules_serve (FuzzModel *self, FuzzState *state)
{
  gint i;

  if (state->free == state->maximum)
    while (state->n_drainers > 0)
      finish_drainer (state, 0, FUZZ_GRANTED);

  while ((i = find_next (self, state)) >= 0)
    {
      const FuzzRequestKind *kind = &self->kinds[state->waiters[i].slot];

      if (kind->is_task)
        {
          gboolean taken = take (self, state, i, kind);

          g_assert_true (taken);
          finish_waiter (self, state, i, FUZZ_GRANTED);
        }
      else
        state->waiters[i].woken = TRUE;
    }
}

FuzzOutcome
fuzz_rules_begin (FuzzModel *self, FuzzState *state, const FuzzRequestKind *kind)
{
  if (kind->bytes > state->maximum)
    return FUZZ_TOO_LARGE;
  if (state->closed)
    return FUZZ_CLOSED;
  return take (self, state, -1, kind) ? FUZZ_GRANTED : FUZZ_PENDING;
}

void
fuzz_rules_give_back (FuzzModel *self, FuzzState *state, gint64 bytes)
{
  state->free += bytes;
  state->n_allocations--;
  fuzz_rules_serve (self, state);
}

GArray *
fuzz_states_new (void)
{
  return g_array_sized_new (FALSE, FALSE, sizeof (FuzzState), 16);
}

static guint32
get_hash (const FuzzState *state)
{
  const guint8 *bytes = (const guint8 *) state;
  guint32 hash = 2166136261u;

  for (guint i = 0; i < sizeof *state; i++)
    hash = (hash ^ bytes[i]) * 16777619u;
  return hash;
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

/* A thread that was woken runs: it takes, or sleeps again, unless it wants more than there will
 * ever be. */
static void
run_waiter (FuzzModel *self, FuzzState *state, guint i)
{
  const FuzzRequestKind *kind = &self->kinds[state->waiters[i].slot];

  state->waiters[i].woken = state->waiters[i].late = FALSE;
  if (take (self, state, (gint) i, kind))
    finish_waiter (self, state, i, FUZZ_GRANTED);
  else if (kind->bytes > state->maximum)
    finish_waiter (self, state, i, FUZZ_TOO_LARGE);
  fuzz_rules_serve (self, state);
}

/* Ends the promises to those threads of @slots that were woken. Returns whether all of them were.
 */
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
      fuzz_rules_serve (self, &state);
      fuzz_states_add (states, &state);
    }
}

/* Adds what may happen next. Returns whether something may. */
static gboolean
add_moves_of_waiters (FuzzModel *self, const FuzzState *from, GArray *states)
{
  gboolean moves = FALSE;

  for (guint i = 0; i < from->n_waiters; i++)
    {
      const FuzzWaiter *waiter = &from->waiters[i];
      const FuzzRequestKind *kind = &self->kinds[waiter->slot];
      gboolean told = waiter->woken || waiter->late;
      gboolean expires = kind->expires && !told;
      FuzzState state = *from;

      if (told)
        {
          run_waiter (self, &state, i);
          fuzz_states_add (states, &state);
        }
      if (waiter->cancelled)
        {
          state = *from;
          finish_waiter (self, &state, i, FUZZ_CANCELLED);
          fuzz_rules_serve (self, &state);
          fuzz_states_add (states, &state);
        }
      if (expires)
        {
          state = *from;
          finish_waiter (self,
                         &state,
                         i,
                         take (self, &state, i, kind) ? FUZZ_GRANTED : FUZZ_TIMED_OUT);
          fuzz_rules_serve (self, &state);
          fuzz_states_add (states, &state);
        }
      moves |= told || expires || waiter->cancelled;
    }
  return moves;
}

/* Likewise. A task needs its main loop to give back what nobody wants. */
static gboolean
add_moves (FuzzModel *self, const FuzzState *from, gboolean loop_runs, GArray *states)
{
  gboolean moves = add_moves_of_waiters (self, from, states);

  if (self->impatient)
    add_late_threads (self, from, states);

  for (guint i = 0; i < from->n_drainers; i++)
    {
      const FuzzWaiter *drainer = &from->drainers[i];
      const FuzzRequestKind *kind = &self->kinds[drainer->slot];
      FuzzState state = *from;

      if (!kind->expires && !drainer->cancelled)
        continue;
      finish_drainer (&state, i, drainer->cancelled ? FUZZ_CANCELLED : FUZZ_TIMED_OUT);
      fuzz_states_add (states, &state);
      moves = TRUE;
    }

  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    {
      FuzzState state = *from;

      if (from->outcomes[slot] != FUZZ_GIVES_BACK || (self->kinds[slot].is_task && !loop_runs))
        continue;
      state.outcomes[slot] = self->kinds[slot].is_dropped ? FUZZ_GONE : FUZZ_CANCELLED;
      fuzz_rules_give_back (self, &state, self->kinds[slot].bytes);
      fuzz_states_add (states, &state);
      moves = TRUE;
    }
  return moves;
}

/* All that may have happened meanwhile; with @settled, and the main loop, only where nothing more
 * may happen. */
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

/* A thread that was woken finds out by itself, unless the pool was closed. */
void
fuzz_rules_fail_above (FuzzModel *self, FuzzState *state, gint64 maximum, FuzzOutcome outcome)
{
  guint i = 0;

  while (i < state->n_waiters)
    if (self->kinds[state->waiters[i].slot].bytes > maximum &&
        (state->closed || (!state->waiters[i].woken && !state->waiters[i].late)))
      finish_waiter (self, state, i, outcome);
    else
      i++;
}
