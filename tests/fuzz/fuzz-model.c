/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "fuzz-rules.h"

/*
 * The rules allow more than one result, because a result depends on when each thread runs. So the
 * model is in a set of states: all those that the rules allow after what has been observed. A step
 * replaces each state by the states that can follow it. An observation of the library removes the
 * states that contradict it. When no state is left, the library has done something that no rule
 * allows.
 *
 * Some events can happen at any moment, and their results belong to the states that follow any
 * state: a woken thread runs, and takes its bytes or sleeps again; a promise ends, if promises end
 * in this sequence; a request with a short timeout times out; a request whose cancellable was
 * cancelled leaves; bytes that no caller wants are released. The library has settled when none of
 * these events can happen.
 */

static void
start_waiting (FuzzModel *self, FuzzState *state, guint slot, FuzzOutcome outcome)
{
  if (outcome == FUZZ_GRANTED && self->kinds[slot].is_dropped)
    outcome = FUZZ_GIVES_BACK;
  if (outcome == FUZZ_PENDING && fuzz_rules_is_overloaded (self, state, self->kinds[slot].level))
    outcome = FUZZ_OVERLOADED;
  state->outcomes[slot] = outcome;
  if (outcome == FUZZ_PENDING)
    state->waiters[state->n_waiters++] = (FuzzWaiter){ .slot = slot };
  fuzz_rules_serve (self, state);
}

static void
start_draining (FuzzModel *self, guint slot)
{
  GArray *before = self->states;

  self->states = fuzz_states_new ();
  for (guint i = 0; i < before->len; i++)
    FUZZ_FOR_EACH_CHOICE (self)
    {
      FuzzState state = g_array_index (before, FuzzState, i);

      state.outcomes[slot] = FUZZ_PENDING;
      state.drainers[state.n_drainers++] = (FuzzWaiter){ .slot = slot };
      fuzz_rules_serve (self, &state);
      fuzz_states_add (self->states, &state);
    }
  g_array_unref (before);
}

/* Adds the states in which the request was granted although the rules of the queue may not allow
 * it. */
static void
add_bypass (FuzzModel *self, const FuzzState *from, guint slot, GArray *states)
{
  FUZZ_FOR_EACH_CHOICE (self)
  {
    FuzzState state = *from;

    if (!fuzz_rules_bypass (self, &state, &self->kinds[slot]))
      return;
    state.taken[slot] = self->kinds[slot].most;
    start_waiting (self, &state, slot, FUZZ_GRANTED);
    fuzz_states_add (states, &state);
  }
}

/* One look at the budget of one state. In the second look, @queues is set, and the request joins
 * the queue in the same section. */
static void
look_from (FuzzModel *self, const FuzzState *from, guint slot, gboolean queues, GArray *started)
{
  FuzzState state = *from;
  FuzzOutcome outcome = fuzz_rules_begin (self, &state, &self->kinds[slot], &state.taken[slot]);

  if (outcome == FUZZ_PENDING && !queues)
    {
      fuzz_states_add (self->states, &state);
      return;
    }
  start_waiting (self, &state, slot, outcome);
  fuzz_states_add (started, &state);
}

static GArray *
look (FuzzModel *self, guint slot, gboolean queues)
{
  GArray *before = self->states;
  GArray *started = fuzz_states_new ();

  self->states = fuzz_states_new ();
  for (guint i = 0; i < before->len; i++)
    {
      const FuzzState *from = &g_array_index (before, FuzzState, i);

      if (!queues)
        add_bypass (self, from, slot, started);
      FUZZ_FOR_EACH_CHOICE (self)
      look_from (self, from, slot, queues, started);
    }
  g_array_unref (before);
  return started;
}

FuzzModel *
fuzz_model_new (const FuzzTree *tree, gboolean impatient)
{
  FuzzModel *self = g_new0 (FuzzModel, 1);
  FuzzState state;

  self->n_levels = tree->n_levels;
  self->impatient = impatient;
  self->uncounted = impatient || tree->n_levels > 1;
  memset (&state, 0, sizeof state);
  for (guint i = 0; i < tree->n_levels; i++)
    {
      self->parents[i] = tree->parents[i];
      state.levels[i].maximum = state.levels[i].free = tree->maxima[i];
      state.levels[i].max_waiting = -1;
    }
  self->states = fuzz_states_new ();
  fuzz_states_add (self->states, &state);
  return self;
}

void
fuzz_model_free (FuzzModel *self)
{
  g_array_unref (self->states);
  g_free (self);
}

/* Between the two looks of a request, other threads can run. */
void
fuzz_model_request (FuzzModel *self, guint slot, const FuzzRequestKind *kind)
{
  GArray *first, *second;

  self->kinds[slot] = *kind;
  fuzz_rules_let_happen (self, FALSE);
  if (kind->bytes == 0)
    {
      start_draining (self, slot);
      return;
    }

  first = look (self, slot, FALSE);
  fuzz_rules_let_happen (self, FALSE);
  second = look (self, slot, TRUE);
  g_array_unref (self->states);
  for (guint i = 0; i < second->len; i++)
    fuzz_states_add (first, &g_array_index (second, FuzzState, i));
  self->states = first;
  g_array_unref (second);
}

/* Notes how much is cached at @level: now, if the step begins here, or else at some moment of the
 * step. */
void
fuzz_model_note_kept (FuzzModel *self, gint level, gint64 kept, gboolean begins)
{
  self->kept[level] = begins ? kept : MAX (self->kept[level], kept);
}

/* The request was cancelled before it began. */
void
fuzz_model_request_cancelled (FuzzModel *self, guint slot)
{
  for (guint i = 0; i < self->states->len; i++)
    g_array_index (self->states, FuzzState, i).outcomes[slot] = FUZZ_CANCELLED;
}

/* Runs one section in each state. @func returns whether the result matches what was observed. */
gboolean
fuzz_model_run_section (FuzzModel *self, FuzzSectionFunc func, gpointer data)
{
  GArray *before;

  fuzz_rules_let_happen (self, FALSE);
  before = self->states;
  self->states = fuzz_states_new ();
  for (guint i = 0; i < before->len; i++)
    FUZZ_FOR_EACH_CHOICE (self)
    {
      FuzzState state = g_array_index (before, FuzzState, i);

      if (func (self, &state, data))
        fuzz_states_add (self->states, &state);
    }
  if (self->states->len > 0)
    {
      g_array_unref (before);
      return TRUE;
    }

  /* Keep them to describe what was expected. */
  g_array_unref (self->states);
  self->states = before;
  return FALSE;
}

typedef struct
{
  const FuzzRequestKind *kind;
  FuzzOutcome observed;
} Try;

/* Returns whether the try ended as observed. WOULD_BLOCK stands for any refusal if the reason is
 * unknown. */
static gboolean
try_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  Try *attempt = data;
  gint64 taken;
  FuzzOutcome outcome;

  if (attempt->observed == FUZZ_GRANTED && fuzz_rules_bypass (self, state, attempt->kind))
    return TRUE;
  outcome = fuzz_rules_begin (self, state, attempt->kind, &taken);
  fuzz_rules_serve (self, state);
  return (outcome == FUZZ_PENDING ? FUZZ_WOULD_BLOCK : outcome) == attempt->observed;
}

gboolean
fuzz_model_try (FuzzModel *self, const FuzzRequestKind *kind, FuzzOutcome observed)
{
  Try attempt = { .kind = kind, .observed = observed };

  return fuzz_model_run_section (self, try_section, &attempt);
}

typedef struct
{
  gint level;
  gint64 bytes;
  guint n_allocations;
} Release;

static gboolean
release_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  Release *release = data;

  fuzz_rules_give_back (self, state, release->level, release->bytes, release->n_allocations);
  return TRUE;
}

void
fuzz_model_release (FuzzModel *self, gint level, gint64 bytes, guint n_allocations)
{
  Release release = { .level = level, .bytes = bytes, .n_allocations = n_allocations };

  fuzz_model_run_section (self, release_section, &release);
}

/* The request has an outcome that it has not reported yet. Without an allocation, it can report
 * this outcome or a cancellation. A thread that was granted its bytes may already have checked its
 * cancellable. */
static void
add_late_cancels (FuzzModel *self, const FuzzState *from, guint slots, GArray *states)
{
  GArray *reached = fuzz_states_new ();

  fuzz_states_add (reached, from);
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    {
      guint8 outcome = from->outcomes[slot];
      gboolean granted = outcome == FUZZ_GRANTED;
      guint n = reached->len;

      if (!(slots >> slot & 1) || outcome <= FUZZ_PENDING || outcome == FUZZ_GIVES_BACK ||
          self->kinds[slot].bytes == 0)
        continue;
      for (guint i = 0; i < n; i++)
        {
          FuzzState state = g_array_index (reached, FuzzState, i);

          state.outcomes[slot] = granted ? FUZZ_GIVES_BACK : FUZZ_CANCELLED;
          if (granted && self->kinds[slot].is_task)
            g_array_index (reached, FuzzState, i) = state;
          else
            g_array_append_val (reached, state);
        }
    }

  for (guint i = 0; i < reached->len; i++)
    fuzz_states_add (states, &g_array_index (reached, FuzzState, i));
  g_array_unref (reached);
}

void
fuzz_model_cancel (FuzzModel *self, guint slots)
{
  GArray *before;

  fuzz_rules_let_happen (self, FALSE);
  before = self->states;
  self->states = fuzz_states_new ();
  for (guint n = 0; n < before->len; n++)
    {
      FuzzState state = g_array_index (before, FuzzState, n);

      for (guint i = 0; i < state.n_waiters; i++)
        state.waiters[i].cancelled |= slots >> state.waiters[i].slot & 1;
      for (guint i = 0; i < state.n_drainers; i++)
        state.drainers[i].cancelled |= slots >> state.drainers[i].slot & 1;
      add_late_cancels (self, &state, slots, self->states);
    }
  g_array_unref (before);
}

static gboolean
cancelled_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  for (guint i = 0; i < state->n_waiters; i++)
    if (state->waiters[i].cancelled)
      return FALSE;
  for (guint i = 0; i < state->n_drainers; i++)
    if (state->drainers[i].cancelled)
      return FALSE;
  return TRUE;
}

/* A cancellation ends all waits before it returns, in any order. */
gboolean
fuzz_model_have_cancelled (FuzzModel *self)
{
  return fuzz_model_run_section (self, cancelled_section, NULL);
}

/* The request has ended, and its outcome was compared. */
void
fuzz_model_forget (FuzzModel *self, guint slot)
{
  for (guint i = 0; i < self->states->len; i++)
    {
      FuzzState *state = &g_array_index (self->states, FuzzState, i);

      state->outcomes[slot] = FUZZ_NONE;
      state->taken[slot] = 0;
    }
}

static void
get_figures (FuzzModel *self, const FuzzState *state, gint level, FuzzLevelFigures *figures)
{
  const FuzzLevel *at = &state->levels[level];

  *figures = (FuzzLevelFigures){
    .maximum = at->maximum,
    .allocated = at->maximum - at->free,
    .available = MAX (at->free, 0),
    .n_allocations = at->n_allocations,
    .n_waiting = fuzz_rules_count_waiters (self, state, level),
    .closed = at->closed,
  };
}

typedef struct
{
  gint level;
  goffset figure;
  gint64 value;
} Sight;

static gboolean
sight_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  Sight *sight = data;
  FuzzLevelFigures figures;

  get_figures (self, state, sight->level, &figures);
  return G_STRUCT_MEMBER (gint64, &figures, sight->figure) == sight->value;
}

/* One figure was observed while threads may be running. */
gboolean
fuzz_model_observe (FuzzModel *self, gint level, goffset figure, gint64 value)
{
  Sight sight = { .level = level, .figure = figure, .value = value };

  return fuzz_model_run_section (self, sight_section, &sight);
}

typedef struct
{
  const FuzzFigures *observed;
  guint unknown;
} Settlement;

static gboolean
is_like (const FuzzLevelFigures *figures, const FuzzLevelFigures *observed)
{
  return figures->maximum == observed->maximum && figures->allocated == observed->allocated &&
         figures->available == observed->available &&
         figures->n_allocations == observed->n_allocations &&
         figures->n_waiting == observed->n_waiting && figures->closed == observed->closed;
}

static gboolean
settled_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  Settlement *settlement = data;
  const FuzzFigures *observed = settlement->observed;

  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    if (settlement->unknown >> slot & 1)
      {
        if (state->outcomes[slot] <= FUZZ_PENDING)
          return FALSE;
      }
    else if (state->outcomes[slot] != observed->outcomes[slot] ||
             state->taken[slot] != observed->taken[slot])
      return FALSE;

  for (guint level = 0; level < self->n_levels; level++)
    {
      FuzzLevelFigures figures;

      get_figures (self, state, (gint) level, &figures);
      if (!is_like (&figures, &observed->levels[level]))
        return FALSE;
    }
  return TRUE;
}

/* All figures were observed while no call was in progress. All that is known about the slots in
 * @unknown is that they have ended. */
gboolean
fuzz_model_settle (FuzzModel *self, const FuzzFigures *observed, guint unknown)
{
  Settlement settlement = { .observed = observed, .unknown = unknown };

  fuzz_rules_let_happen (self, TRUE);
  return fuzz_model_run_section (self, settled_section, &settlement);
}

guint
fuzz_model_get_n_states (FuzzModel *self)
{
  return self->states->len;
}
