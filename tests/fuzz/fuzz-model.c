/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "fuzz-rules.h"

/*
 * The rules leave open what depends on the moment at which a thread runs. So the model is not in
 * one state but in a set of them: all those that the rules allow after what was seen so far. A step
 * takes each of them to its next ones; what is then seen of the library removes those that would
 * have looked different. When none is left, the library has done what no rule allows.
 *
 * What may happen at any moment, and so belongs to every state's next ones: a thread that was woken
 * runs, and takes or sleeps again; the promise to it ends, where that is not put off; a request
 * whose time is short times out; one whose cancellable was cancelled leaves; what nobody wants any
 * more is given back. The library has settled when none of this can happen any more.
 */

static const gchar *const outcome_names[] = {
  "none",   "pending",     "granted",       "timed out",  "cancelled", "too large",
  "closed", "would block", "invalid count", "gives back", "gone",
};

const gchar *
fuzz_outcome_get_name (FuzzOutcome outcome)
{
  return outcome_names[outcome];
}

static void
start_waiting (FuzzModel *self, FuzzState *state, guint slot, FuzzOutcome outcome)
{
  if (outcome == FUZZ_GRANTED && self->kinds[slot].is_dropped)
    outcome = FUZZ_GIVES_BACK;
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
    {
      FuzzState state = g_array_index (before, FuzzState, i);

      state.outcomes[slot] = FUZZ_PENDING;
      state.drainers[state.n_drainers++] = (FuzzWaiter){ .slot = slot };
      fuzz_rules_serve (self, &state);
      fuzz_states_add (self->states, &state);
    }
  g_array_unref (before);
}

/* One look at the budget. The second one, @queues, is also the moment of joining the queue. */
static GArray *
look (FuzzModel *self, guint slot, gboolean queues)
{
  GArray *before = self->states;
  GArray *started = fuzz_states_new ();

  self->states = fuzz_states_new ();
  for (guint i = 0; i < before->len; i++)
    {
      FuzzState state = g_array_index (before, FuzzState, i);
      FuzzOutcome outcome = fuzz_rules_begin (self, &state, &self->kinds[slot]);

      if (outcome == FUZZ_PENDING && !queues)
        {
          fuzz_states_add (self->states, &state);
          continue;
        }
      start_waiting (self, &state, slot, outcome);
      fuzz_states_add (started, &state);
    }
  g_array_unref (before);
  return started;
}

FuzzModel *
fuzz_model_new (gint64 maximum, gboolean impatient)
{
  FuzzModel *self = g_new0 (FuzzModel, 1);
  FuzzState state;

  self->impatient = impatient;
  memset (&state, 0, sizeof state);
  state.maximum = maximum;
  state.free = maximum;
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

/* Between the two looks of a request, others may run. */
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

/* The request was cancelled before it began. */
void
fuzz_model_request_cancelled (FuzzModel *self, guint slot)
{
  for (guint i = 0; i < self->states->len; i++)
    g_array_index (self->states, FuzzState, i).outcomes[slot] = FUZZ_CANCELLED;
}

/* Takes each state through one section, in which @func says whether it fits what was seen. */
typedef gboolean (*SectionFunc) (FuzzModel *self, FuzzState *state, gpointer data);

static gboolean
run_section (FuzzModel *self, SectionFunc func, gpointer data)
{
  GArray *before;

  fuzz_rules_let_happen (self, FALSE);
  before = self->states;
  self->states = fuzz_states_new ();
  for (guint i = 0; i < before->len; i++)
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

  /* For the description of what was expected. */
  g_array_unref (self->states);
  self->states = before;
  return FALSE;
}

typedef struct
{
  gint64 bytes;
  FuzzOutcome observed;
} Try;

static gboolean
try_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  Try *attempt = data;
  const FuzzRequestKind kind = { .bytes = attempt->bytes };
  FuzzOutcome outcome = fuzz_rules_begin (self, state, &kind);

  fuzz_rules_serve (self, state);
  return (outcome == FUZZ_PENDING ? FUZZ_WOULD_BLOCK : outcome) == attempt->observed;
}

gboolean
fuzz_model_try (FuzzModel *self, gint64 bytes, FuzzOutcome observed)
{
  Try attempt = { .bytes = bytes, .observed = observed };

  return run_section (self, try_section, &attempt);
}

static gboolean
release_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  fuzz_rules_give_back (self, state, *(gint64 *) data);
  return TRUE;
}

void
fuzz_model_release (FuzzModel *self, gint64 bytes)
{
  run_section (self, release_section, &bytes);
}

/* The request has its outcome, but has not told it yet. What comes with no allocation may be told
 * as it is, or as cancelled; a thread that was granted may have looked at its cancellable already.
 */
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

/* To cancel is to end all waits, in whatever order, before it returns. */
gboolean
fuzz_model_have_cancelled (FuzzModel *self)
{
  return run_section (self, cancelled_section, NULL);
}

static gboolean
maximum_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  gint64 maximum = *(gint64 *) data;

  state->free += maximum - state->maximum;
  state->maximum = maximum;
  fuzz_rules_fail_above (self, state, maximum, FUZZ_TOO_LARGE);
  fuzz_rules_serve (self, state);
  return TRUE;
}

void
fuzz_model_set_maximum (FuzzModel *self, gint64 maximum)
{
  run_section (self, maximum_section, &maximum);
}

static gboolean
close_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  state->closed = TRUE;
  fuzz_rules_fail_above (self, state, -1, FUZZ_CLOSED);
  fuzz_rules_serve (self, state);
  return TRUE;
}

void
fuzz_model_close (FuzzModel *self)
{
  run_section (self, close_section, NULL);
}

/* The request is over, and was looked at. */
void
fuzz_model_forget (FuzzModel *self, guint slot)
{
  for (guint i = 0; i < self->states->len; i++)
    g_array_index (self->states, FuzzState, i).outcomes[slot] = FUZZ_NONE;
}

static void
get_figures (const FuzzState *state, FuzzFigures *figures)
{
  *figures = (FuzzFigures){
    .maximum = state->maximum,
    .allocated = state->maximum - state->free,
    .available = MAX (state->free, 0),
    .n_allocations = state->n_allocations,
    .n_waiting = state->n_waiters,
    .closed = state->closed,
  };
  memcpy (figures->outcomes, state->outcomes, sizeof figures->outcomes);
}

typedef struct
{
  goffset figure;
  gint64 value;
} Sight;

static gboolean
sight_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  Sight *sight = data;
  FuzzFigures figures;

  get_figures (state, &figures);
  return G_STRUCT_MEMBER (gint64, &figures, sight->figure) == sight->value;
}

/* One figure was seen while threads may be running. */
gboolean
fuzz_model_observe (FuzzModel *self, goffset figure, gint64 value)
{
  Sight sight = { .figure = figure, .value = value };

  return run_section (self, sight_section, &sight);
}

typedef struct
{
  const FuzzFigures *observed;
  guint unknown;
} Settlement;

static gboolean
settled_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  Settlement *settlement = data;
  const FuzzFigures *observed = settlement->observed;
  FuzzFigures figures;

  get_figures (state, &figures);
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    if (settlement->unknown >> slot & 1)
      {
        if (figures.outcomes[slot] <= FUZZ_PENDING)
          return FALSE;
      }
    else if (figures.outcomes[slot] != observed->outcomes[slot])
      return FALSE;

  return figures.maximum == observed->maximum && figures.allocated == observed->allocated &&
         figures.available == observed->available &&
         figures.n_allocations == observed->n_allocations &&
         figures.n_waiting == observed->n_waiting && figures.closed == observed->closed;
}

/* All figures were seen while nothing was going on. Of the slots in @unknown no more is known than
 * that they are over. */
gboolean
fuzz_model_settle (FuzzModel *self, const FuzzFigures *observed, guint unknown)
{
  Settlement settlement = { .observed = observed, .unknown = unknown };

  fuzz_rules_let_happen (self, TRUE);
  return run_section (self, settled_section, &settlement);
}

guint
fuzz_model_get_n_states (FuzzModel *self)
{
  return self->states->len;
}

static void
describe_waiters (GString *text, FuzzModel *self, const FuzzState *state)
{
  for (guint i = 0; i < state->n_waiters; i++)
    g_string_append_printf (text,
                            " [request %u: %" G_GINT64_FORMAT " bytes, overtaken %u times%s]",
                            state->waiters[i].slot,
                            self->kinds[state->waiters[i].slot].bytes,
                            state->waiters[i].overtaken,
                            state->waiters[i].woken  ? ", woken"
                            : state->waiters[i].late ? ", late"
                                                     : "");
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    if (state->outcomes[slot] != FUZZ_NONE)
      g_string_append_printf (text, " %u:%s", slot, outcome_names[state->outcomes[slot]]);
}

gchar *
fuzz_model_describe (FuzzModel *self)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < self->states->len && i < 4; i++)
    {
      const FuzzState *state = &g_array_index (self->states, FuzzState, i);

      g_string_append_printf (text,
                              "\n  allowed: maximum %" G_GINT64_FORMAT ", free %" G_GINT64_FORMAT
                              ", %" G_GINT64_FORMAT " allocations, %u waiting, %u draining%s;",
                              state->maximum,
                              state->free,
                              state->n_allocations,
                              state->n_waiters,
                              state->n_drainers,
                              state->closed ? ", closed" : "");
      describe_waiters (text, self, state);
    }
  return g_string_free (text, FALSE);
}
