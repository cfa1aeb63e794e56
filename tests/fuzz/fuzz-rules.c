/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "fuzz-rules.h"

/*
 * The rules of pools and budgets, as described in docs/architecture.md, but without stripes, locks
 * or memory. There is one number for the free bytes of each level, and one list of the waiters of
 * the tree.
 *
 * If threads can be late, or if there are several levels, no waiter is overtaken often enough to be
 * owed, and overtakings are not counted. Counting them would create too many states if threads can
 * be late. At a level that has enough for all, a request need not take the mutex, and is then not
 * counted.
 */

static const FuzzRequestKind *
get_kind (FuzzModel *self, const FuzzState *state, gint waiter)
{
  return &self->kinds[state->waiters[waiter].slot];
}

/* Returns whether @level is @top or below it. */
gboolean
fuzz_rules_is_below (FuzzModel *self, gint level, gint top)
{
  while (level >= 0 && level != top)
    level = self->parents[level];
  return level == top;
}

guint
fuzz_rules_count_waiters (FuzzModel *self, const FuzzState *state, gint level)
{
  guint n = 0;

  for (gint i = 0; i < state->n_waiters; i++)
    n += fuzz_rules_is_below (self, get_kind (self, state, i)->level, level);
  return n;
}

/* Returns the first waiter that is not late, or -1. */
gint
fuzz_rules_get_oldest (const FuzzState *state)
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

static gboolean
is_asleep (const FuzzState *state, gint waiter)
{
  return !state->waiters[waiter].woken && !state->waiters[waiter].late;
}

static void
remove_waiter (FuzzWaiter *waiters, guint8 *n_waiters, guint i)
{
  memmove (&waiters[i], &waiters[i + 1], (*n_waiters - i - 1) * sizeof *waiters);
  waiters[--*n_waiters] = (FuzzWaiter){ 0 };
}

/* Sets the outcome of the waiter. If its cancellable was cancelled, the outcome is always a
 * cancellation. */
void
fuzz_rules_finish_waiter (FuzzModel *self, FuzzState *state, guint i, FuzzOutcome outcome)
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

void
fuzz_rules_finish_drainer (FuzzState *state, guint i, FuzzOutcome outcome)
{
  state->outcomes[state->drainers[i].slot] = outcome;
  remove_waiter (state->drainers, &state->n_drainers, i);
}

/* Returns what is promised to threads that wait at @level or below and are more urgent than
 * @priority. Bytes that are left for @owed do not count twice. */
static gint64
get_promised (FuzzModel *self, const FuzzState *state, gint level, gint64 priority, gint owed)
{
  gint64 bytes = 0;

  for (gint i = 0; i < state->n_waiters; i++)
    {
      const FuzzRequestKind *kind = get_kind (self, state, i);

      if (i != owed && state->waiters[i].woken && kind->priority < priority &&
          fuzz_rules_is_below (self, kind->level, level))
        bytes += kind->bytes;
    }
  return bytes;
}

/* Returns what is left for the waiter @owed at @level. An urgent request need not leave the reserve
 * to it, unless @owed is urgent itself. */
static gint64
get_earmark (FuzzModel *self, const FuzzState *state, gint level, gboolean urgent, gint owed)
{
  const FuzzLevel *at = &state->levels[level];
  const FuzzRequestKind *kind;

  if (owed < 0 || !fuzz_rules_is_below (self, get_kind (self, state, owed)->level, level))
    return 0;

  kind = get_kind (self, state, owed);
  if (urgent && kind->priority >= 0)
    return MIN (kind->bytes, MAX (at->free - at->reserved, 0));
  return kind->bytes;
}

/* Returns how much a request can take at @level if it leaves the bytes of @owed, unless that is
 * negative. It respects promises to requests that are more urgent than @priority. */
static gint64
get_limit (FuzzModel *self,
           const FuzzState *state,
           gint level,
           const FuzzRequestKind *kind,
           gint64 priority,
           gint owed)
{
  const FuzzLevel *at = &state->levels[level];
  gboolean urgent = kind->priority < 0;

  return at->free - (urgent ? 0 : at->reserved) - get_earmark (self, state, level, urgent, owed) -
         get_promised (self, state, level, priority, owed);
}

static gboolean
is_closed (FuzzModel *self, const FuzzState *state, gint level)
{
  while (level >= 0 && !state->levels[level].closed)
    level = self->parents[level];
  return level >= 0;
}

/* Returns the minimum over all levels of the request. */
static gint64
get_least (FuzzModel *self,
           const FuzzState *state,
           const FuzzRequestKind *kind,
           gint64 priority,
           gint owed)
{
  gint64 least = G_MAXINT64;

  for (gint level = kind->level; level >= 0; level = self->parents[level])
    least = MIN (least, get_limit (self, state, level, kind, priority, owed));
  return least;
}

static gboolean
can_take (FuzzModel *self, const FuzzState *state, const FuzzRequestKind *kind, gint owed)
{
  return !is_closed (self, state, kind->level) &&
         kind->bytes <= get_least (self, state, kind, kind->priority, owed);
}

static void
deduct (FuzzModel *self, FuzzState *state, gint level, gint64 bytes)
{
  for (; level >= 0; level = self->parents[level])
    {
      state->levels[level].free -= bytes;
      state->levels[level].n_allocations++;
    }
}

/* A request for a range of sizes takes what is available, but only its minimum if other requests
 * wait. */
static gint64
choose_bytes (FuzzModel *self, const FuzzState *state, gint waiter, const FuzzRequestKind *kind)
{
  gint64 most;

  if (kind->most <= kind->bytes || state->n_waiters > (waiter >= 0 ? 1 : 0))
    return kind->bytes;

  most = MIN (kind->most, get_least (self, state, kind, kind->priority, -1));
  return kind->bytes + (most - kind->bytes) / kind->step * kind->step;
}

/* @waiter is negative for a request that does not wait. */
gboolean
fuzz_rules_take (FuzzModel *self,
                 FuzzState *state,
                 gint waiter,
                 const FuzzRequestKind *kind,
                 gint64 *taken)
{
  gint oldest = fuzz_rules_get_oldest (state);
  gboolean overtakes = oldest >= 0 && (waiter < 0 || waiter > oldest);
  gboolean owed = overtakes && is_owed (state, oldest);

  if (!can_take (self, state, kind, -1) || (owed && !can_take (self, state, kind, oldest)))
    return FALSE;
  if (overtakes && !owed && !self->uncounted)
    state->waiters[oldest].overtaken++;
  *taken = choose_bytes (self, state, waiter, kind);
  deduct (self, state, kind->level, *taken);
  return TRUE;
}

/* A request that takes credit or a cached block sees neither promised nor owed bytes, and a cached
 * block may be part of the reserve. Takes the bytes if that is possible. */
gboolean
fuzz_rules_bypass (FuzzModel *self, FuzzState *state, const FuzzRequestKind *kind)
{
  gboolean cached = kind->bypass == FUZZ_BYPASS_CACHE;

  if (kind->bypass == FUZZ_BYPASS_NONE || is_closed (self, state, kind->level))
    return FALSE;
  for (gint level = kind->level; level >= 0; level = self->parents[level])
    {
      const FuzzLevel *at = &state->levels[level];

      if (kind->most > at->free - (cached || kind->priority < 0 ? 0 : at->reserved))
        return FALSE;
    }
  deduct (self, state, kind->level, kind->most);
  return TRUE;
}

/* Returns whether the bytes of @waiter are neither promised to others nor kept for the waiter that
 * is owed. */
static gboolean
fits (FuzzModel *self, const FuzzState *state, gint waiter, gint owed)
{
  const FuzzRequestKind *kind = get_kind (self, state, waiter);

  return is_asleep (state, waiter) &&
         kind->bytes <= get_least (self, state, kind, G_MAXINT64, owed);
}

/* The oldest waiter ignores promises to waiters that are not more urgent. */
static gboolean
oldest_fits (FuzzModel *self, const FuzzState *state, gint oldest)
{
  return oldest >= 0 && is_asleep (state, oldest) &&
         can_take (self, state, get_kind (self, state, oldest), -1);
}

static gboolean
is_skipped (const FuzzState *state, gint waiter, guint skipped)
{
  return skipped >> state->waiters[waiter].slot & 1;
}

/* Returns what other pools have cached at @level or below. A pool at which a request waits caches
 * nothing. */
static gint64
get_kept (FuzzModel *self, gint level, gint own)
{
  gint64 kept = 0;

  for (guint i = 0; i < self->n_levels; i++)
    if ((gint) i != own && fuzz_rules_is_below (self, (gint) i, level))
      kept += self->kept[i];
  return kept;
}

/* Returns whether a request, which is @waiter unless that is negative, may be short of bytes that
 * are cached. */
static gboolean
misses_kept (FuzzModel *self, const FuzzState *state, const FuzzRequestKind *kind, gint waiter)
{
  gint oldest = fuzz_rules_get_oldest (state);
  gint owed = is_owed (state, oldest) && oldest != waiter ? oldest : -1;

  for (gint level = kind->level; level >= 0; level = self->parents[level])
    {
      gint64 kept = get_kept (self, level, kind->level);

      if (kept > 0 && kind->bytes > get_limit (self, state, level, kind, G_MAXINT64, owed) - kept)
        return TRUE;
    }
  return FALSE;
}

gboolean
fuzz_rules_misses_kept (FuzzModel *self, const FuzzState *state, gint waiter)
{
  return misses_kept (self, state, get_kind (self, state, waiter), waiter);
}

/* Returns the first waiter that fits and has not been woken or granted, by priority and then by
 * age, or -1. The oldest waiter comes first if it is owed. */
static gint
find_next (FuzzModel *self, const FuzzState *state, guint skipped)
{
  gint oldest = fuzz_rules_get_oldest (state);
  gboolean is_first = oldest_fits (self, state, oldest) && !is_skipped (state, oldest, skipped);
  gint owed = is_owed (state, oldest) && is_asleep (state, oldest) ? oldest : -1;
  gint first = -1;

  if (is_first && owed >= 0)
    return oldest;
  for (gint i = 0; i < state->n_waiters; i++)
    if (!is_skipped (state, i, skipped) &&
        ((i == oldest && is_first) || fits (self, state, i, owed)) &&
        (first < 0 ||
         get_kind (self, state, i)->priority < get_kind (self, state, first)->priority))
      first = i;
  return first;
}

static void
serve_drainers (FuzzModel *self, FuzzState *state)
{
  guint i = 0;

  while (i < state->n_drainers)
    {
      const FuzzLevel *at = &state->levels[self->kinds[state->drainers[i].slot].level];

      if (at->free == at->maximum)
        fuzz_rules_finish_drainer (state, i, FUZZ_GRANTED);
      else
        i++;
    }
}

/* Waiters that fit are granted or woken in their order. */
void
fuzz_rules_serve (FuzzModel *self, FuzzState *state)
{
  guint skipped = 0;
  gint i;

  serve_drainers (self, state);
  while ((i = find_next (self, state, skipped)) >= 0)
    {
      const FuzzRequestKind *kind = get_kind (self, state, i);

      if (fuzz_rules_misses_kept (self, state, i) && fuzz_choices_choose (self))
        skipped |= 1u << state->waiters[i].slot;
      else if (kind->is_task)
        {
          gboolean taken =
              fuzz_rules_take (self, state, i, kind, &state->taken[state->waiters[i].slot]);

          g_assert_true (taken);
          fuzz_rules_finish_waiter (self, state, i, FUZZ_GRANTED);
        }
      else
        state->waiters[i].woken = TRUE;
    }
}

/* Returns whether a waiter was short of cached bytes, and no longer is. */
gboolean
fuzz_rules_has_to_serve (FuzzModel *self, const FuzzState *state)
{
  return find_next (self, state, 0) >= 0;
}

/* Returns whether a level can never have that many bytes. */
gboolean
fuzz_rules_is_too_large (FuzzModel *self, const FuzzState *state, const FuzzRequestKind *kind)
{
  for (gint level = kind->level; level >= 0; level = self->parents[level])
    {
      const FuzzLevel *at = &state->levels[level];

      if (kind->bytes > at->maximum - (kind->priority < 0 ? 0 : MIN (at->reserved, at->maximum)))
        return TRUE;
    }
  return FALSE;
}

FuzzOutcome
fuzz_rules_begin (FuzzModel *self, FuzzState *state, const FuzzRequestKind *kind, gint64 *taken)
{
  if (fuzz_rules_is_too_large (self, state, kind))
    return FUZZ_TOO_LARGE;
  if (is_closed (self, state, kind->level))
    return FUZZ_CLOSED;

  /* While another request waits, the watcher may have taken out cached blocks that it is about to
   * release. They are in use until then. */
  if (state->n_waiters > 0 && misses_kept (self, state, kind, -1) && fuzz_choices_choose (self))
    return FUZZ_PENDING;
  return fuzz_rules_take (self, state, -1, kind, taken) ? FUZZ_GRANTED : FUZZ_PENDING;
}

/* Returns whether no further request may wait at @level. */
gboolean
fuzz_rules_is_overloaded (FuzzModel *self, const FuzzState *state, gint level)
{
  for (; level >= 0; level = self->parents[level])
    {
      gint max_waiting = state->levels[level].max_waiting;

      if (max_waiting >= 0 && fuzz_rules_count_waiters (self, state, level) >= (guint) max_waiting)
        return TRUE;
    }
  return FALSE;
}

void
fuzz_rules_give_back (FuzzModel *self,
                      FuzzState *state,
                      gint level,
                      gint64 bytes,
                      guint n_allocations)
{
  for (; level >= 0; level = self->parents[level])
    {
      state->levels[level].free += bytes;
      state->levels[level].n_allocations -= n_allocations;
    }
  fuzz_rules_serve (self, state);
}

/* A woken thread finds out by itself, unless its pool was closed. */
void
fuzz_rules_fail_impossible (FuzzModel *self, FuzzState *state)
{
  gint i = 0;

  while (i < state->n_waiters)
    {
      const FuzzRequestKind *kind = get_kind (self, state, i);

      if (is_closed (self, state, kind->level))
        fuzz_rules_finish_waiter (self, state, i, FUZZ_CLOSED);
      else if (is_asleep (state, i) && fuzz_rules_is_too_large (self, state, kind))
        fuzz_rules_finish_waiter (self, state, i, FUZZ_TOO_LARGE);
      else
        i++;
    }
}
