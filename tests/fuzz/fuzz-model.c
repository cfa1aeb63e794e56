/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "fuzz-model.h"

/*
 * The rules of a pool, as docs/architecture.md tells them, without stripes, locks or memory: one
 * number for what is free, and one list of those who wait.
 *
 * The rules leave open what depends on the moment at which a thread runs. So the model is not in
 * one state but in a set of them: all those that the rules allow after what was seen so far. A step
 * takes each of them to its next ones; what is then seen of the library removes those that would
 * have looked different. When none is left, the library has done what no rule allows.
 *
 * What may happen at any moment, and so belongs to every state's next ones: a thread that was woken
 * runs, and takes or sleeps again; a request whose time is short times out; one whose cancellable
 * was cancelled leaves; what nobody wants any more is given back. The library has settled when none
 * of this can happen any more.
 */

typedef struct
{
  guint8 slot;
  guint8 overtaken;
  guint8 woken;
  guint8 cancelled;
} Waiter;

/* Compared and copied as a whole: what is not used is zero. */
typedef struct
{
  gint64 maximum;
  gint64 free;
  gint64 n_allocations;
  guint8 closed;
  guint8 n_waiters;
  guint8 n_drainers;
  guint8 reserved[5];
  guint8 outcomes[FUZZ_N_REQUESTS];
  Waiter waiters[FUZZ_N_REQUESTS];
  Waiter drainers[FUZZ_N_REQUESTS];
} State;

struct _FuzzModel
{
  FuzzRequestKind kinds[FUZZ_N_REQUESTS];
  GArray *states;
};

static const gchar *const outcome_names[] = {
  "none",   "pending",     "granted",       "timed out",  "cancelled", "too large",
  "closed", "would block", "invalid count", "gives back", "gone",
};

const gchar *
fuzz_outcome_get_name (FuzzOutcome outcome)
{
  return outcome_names[outcome];
}

static gboolean
is_owed (const State *state)
{
  return state->n_waiters > 0 && state->waiters[0].overtaken >= FUZZ_MAX_OVERTAKEN;
}

static void
remove_waiter (Waiter *waiters, guint8 *n_waiters, guint i)
{
  memmove (&waiters[i], &waiters[i + 1], (*n_waiters - i - 1) * sizeof *waiters);
  waiters[--*n_waiters] = (Waiter){ 0 };
}

/* The waiter is told its outcome. Who has cancelled is told so, whatever else there is to tell. */
static void
finish_waiter (FuzzModel *self, State *state, guint i, FuzzOutcome outcome)
{
  Waiter waiter = state->waiters[i];
  const FuzzRequestKind *kind = &self->kinds[waiter.slot];

  if (outcome == FUZZ_GRANTED && (waiter.cancelled || kind->is_dropped))
    outcome = FUZZ_GIVES_BACK;
  else if (outcome != FUZZ_GRANTED && waiter.cancelled)
    outcome = FUZZ_CANCELLED;
  state->outcomes[waiter.slot] = outcome;
  remove_waiter (state->waiters, &state->n_waiters, i);
}

static void
finish_drainer (State *state, guint i, FuzzOutcome outcome)
{
  state->outcomes[state->drainers[i].slot] = outcome;
  remove_waiter (state->drainers, &state->n_drainers, i);
}

/* @waiter is negative for who does not wait. */
static gboolean
take (State *state, gint waiter, gint64 bytes)
{
  if (bytes > state->free)
    return FALSE;
  if (waiter != 0 && state->n_waiters > 0)
    {
      if (is_owed (state))
        return FALSE;
      state->waiters[0].overtaken++;
    }
  state->free -= bytes;
  state->n_allocations++;
  return TRUE;
}

/* Whoever fits, in their order, is granted, or woken. Nobody passes one who is owed. */
static void
serve (FuzzModel *self, State *state)
{
  gint64 unpromised = state->free;
  guint i = 0;

  if (state->free == state->maximum)
    while (state->n_drainers > 0)
      finish_drainer (state, 0, FUZZ_GRANTED);

  while (i < state->n_waiters && (i == 0 || !is_owed (state)))
    {
      const FuzzRequestKind *kind = &self->kinds[state->waiters[i].slot];

      if (kind->bytes > unpromised)
        {
          i++;
          continue;
        }
      unpromised -= kind->bytes;
      if (kind->is_task || (i == 0 && is_owed (state)))
        {
          gboolean taken = take (state, i, kind->bytes);

          g_assert_true (taken);
          finish_waiter (self, state, i, FUZZ_GRANTED);
        }
      else
        state->waiters[i++].woken = TRUE;
    }
}

static FuzzOutcome
begin (State *state, gint64 bytes)
{
  if (bytes > state->maximum)
    return FUZZ_TOO_LARGE;
  if (state->closed)
    return FUZZ_CLOSED;
  return take (state, -1, bytes) ? FUZZ_GRANTED : FUZZ_PENDING;
}

static void
give_back (FuzzModel *self, State *state, gint64 bytes)
{
  state->free += bytes;
  state->n_allocations--;
  serve (self, state);
}

static GArray *
new_states (void)
{
  return g_array_sized_new (FALSE, FALSE, sizeof (State), 16);
}

static void
add_state (GArray *states, const State *state)
{
  for (guint i = 0; i < states->len; i++)
    if (memcmp (&g_array_index (states, State, i), state, sizeof *state) == 0)
      return;
  g_array_append_vals (states, state, 1);
}

/* A woken thread runs: it takes, or sleeps again. */
static void
run_waiter (FuzzModel *self, State *state, guint i)
{
  state->waiters[i].woken = FALSE;
  if (take (state, i, self->kinds[state->waiters[i].slot].bytes))
    finish_waiter (self, state, i, FUZZ_GRANTED);
  serve (self, state);
}

/* Adds what may happen next. Returns whether something may. */
static gboolean
add_moves_of_waiters (FuzzModel *self, const State *from, GArray *states)
{
  gboolean moves = FALSE;

  for (guint i = 0; i < from->n_waiters; i++)
    {
      const Waiter *waiter = &from->waiters[i];
      gboolean expires = self->kinds[waiter->slot].expires && !waiter->woken;
      State state = *from;

      if (waiter->woken)
        {
          run_waiter (self, &state, i);
          add_state (states, &state);
        }
      if (expires || waiter->cancelled)
        {
          state = *from;
          finish_waiter (self, &state, i, expires ? FUZZ_TIMED_OUT : FUZZ_CANCELLED);
          serve (self, &state);
          add_state (states, &state);
        }
      moves |= waiter->woken || expires || waiter->cancelled;
    }
  return moves;
}

static gboolean
add_moves (FuzzModel *self, const State *from, GArray *states)
{
  gboolean moves = add_moves_of_waiters (self, from, states);

  for (guint i = 0; i < from->n_drainers; i++)
    {
      const Waiter *drainer = &from->drainers[i];
      State state = *from;

      if (!drainer->cancelled && !self->kinds[drainer->slot].expires)
        continue;
      finish_drainer (&state, i, drainer->cancelled ? FUZZ_CANCELLED : FUZZ_TIMED_OUT);
      add_state (states, &state);
      moves = TRUE;
    }

  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    {
      State state = *from;

      if (from->outcomes[slot] != FUZZ_GIVES_BACK)
        continue;
      state.outcomes[slot] = self->kinds[slot].is_dropped ? FUZZ_GONE : FUZZ_CANCELLED;
      give_back (self, &state, self->kinds[slot].bytes);
      add_state (states, &state);
      moves = TRUE;
    }
  return moves;
}

/* All that may have happened meanwhile; with @settled, only where nothing more may happen. */
static void
let_happen (FuzzModel *self, gboolean settled)
{
  GArray *all = self->states;
  GArray *last = new_states ();

  for (guint i = 0; i < all->len; i++)
    {
      State state = g_array_index (all, State, i);

      if (!add_moves (self, &state, all))
        g_array_append_val (last, state);
    }

  if (settled)
    self->states = last;
  g_array_unref (settled ? all : last);
}

static void
start_waiting (FuzzModel *self, State *state, guint slot, FuzzOutcome outcome)
{
  if (outcome == FUZZ_GRANTED && self->kinds[slot].is_dropped)
    outcome = FUZZ_GIVES_BACK;
  state->outcomes[slot] = outcome;
  if (outcome == FUZZ_PENDING)
    state->waiters[state->n_waiters++] = (Waiter){ .slot = slot };
  serve (self, state);
}

static void
start_draining (FuzzModel *self, guint slot)
{
  GArray *before = self->states;

  self->states = new_states ();
  for (guint i = 0; i < before->len; i++)
    {
      State state = g_array_index (before, State, i);

      state.outcomes[slot] = FUZZ_PENDING;
      state.drainers[state.n_drainers++] = (Waiter){ .slot = slot };
      serve (self, &state);
      add_state (self->states, &state);
    }
  g_array_unref (before);
}

/* One look at the budget. The second one, @queues, is also the moment of joining the queue. */
static GArray *
look (FuzzModel *self, guint slot, gboolean queues)
{
  GArray *before = self->states;
  GArray *started = new_states ();

  self->states = new_states ();
  for (guint i = 0; i < before->len; i++)
    {
      State state = g_array_index (before, State, i);
      FuzzOutcome outcome = begin (&state, self->kinds[slot].bytes);

      if (outcome == FUZZ_PENDING && !queues)
        {
          add_state (self->states, &state);
          continue;
        }
      start_waiting (self, &state, slot, outcome);
      add_state (started, &state);
    }
  g_array_unref (before);
  return started;
}

FuzzModel *
fuzz_model_new (gint64 maximum)
{
  FuzzModel *self = g_new0 (FuzzModel, 1);
  State state;

  memset (&state, 0, sizeof state);
  state.maximum = maximum;
  state.free = maximum;
  self->states = new_states ();
  add_state (self->states, &state);
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
  let_happen (self, FALSE);
  if (kind->bytes == 0)
    {
      start_draining (self, slot);
      return;
    }

  first = look (self, slot, FALSE);
  let_happen (self, FALSE);
  second = look (self, slot, TRUE);
  g_array_unref (self->states);
  for (guint i = 0; i < second->len; i++)
    add_state (first, &g_array_index (second, State, i));
  self->states = first;
  g_array_unref (second);
}

/* The request was cancelled before it began. */
void
fuzz_model_request_cancelled (FuzzModel *self, guint slot)
{
  for (guint i = 0; i < self->states->len; i++)
    g_array_index (self->states, State, i).outcomes[slot] = FUZZ_CANCELLED;
}

/* Takes each state through one section, in which @func says whether it fits what was seen. */
typedef gboolean (*SectionFunc) (FuzzModel *self, State *state, gpointer data);

static gboolean
run_section (FuzzModel *self, SectionFunc func, gpointer data)
{
  GArray *before;

  let_happen (self, FALSE);
  before = self->states;
  self->states = new_states ();
  for (guint i = 0; i < before->len; i++)
    {
      State state = g_array_index (before, State, i);

      if (func (self, &state, data))
        add_state (self->states, &state);
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
try_section (FuzzModel *self, State *state, gpointer data)
{
  Try *attempt = data;
  FuzzOutcome outcome = begin (state, attempt->bytes);

  serve (self, state);
  return (outcome == FUZZ_PENDING ? FUZZ_WOULD_BLOCK : outcome) == attempt->observed;
}

gboolean
fuzz_model_try (FuzzModel *self, gint64 bytes, FuzzOutcome observed)
{
  Try attempt = { .bytes = bytes, .observed = observed };

  return run_section (self, try_section, &attempt);
}

static gboolean
release_section (FuzzModel *self, State *state, gpointer data)
{
  give_back (self, state, *(gint64 *) data);
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
add_late_cancels (FuzzModel *self, const State *from, guint slots, GArray *states)
{
  GArray *reached = new_states ();

  add_state (reached, from);
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
          State state = g_array_index (reached, State, i);

          state.outcomes[slot] = granted ? FUZZ_GIVES_BACK : FUZZ_CANCELLED;
          if (granted && self->kinds[slot].is_task)
            g_array_index (reached, State, i) = state;
          else
            g_array_append_val (reached, state);
        }
    }

  for (guint i = 0; i < reached->len; i++)
    add_state (states, &g_array_index (reached, State, i));
  g_array_unref (reached);
}

void
fuzz_model_cancel (FuzzModel *self, guint slots)
{
  GArray *before;

  let_happen (self, FALSE);
  before = self->states;
  self->states = new_states ();
  for (guint n = 0; n < before->len; n++)
    {
      State state = g_array_index (before, State, n);

      for (guint i = 0; i < state.n_waiters; i++)
        state.waiters[i].cancelled |= slots >> state.waiters[i].slot & 1;
      for (guint i = 0; i < state.n_drainers; i++)
        state.drainers[i].cancelled |= slots >> state.drainers[i].slot & 1;
      add_late_cancels (self, &state, slots, self->states);
    }
  g_array_unref (before);
}

static void
fail_above (FuzzModel *self, State *state, gint64 maximum, FuzzOutcome outcome)
{
  guint i = 0;

  while (i < state->n_waiters)
    if (self->kinds[state->waiters[i].slot].bytes > maximum)
      finish_waiter (self, state, i, outcome);
    else
      i++;
}

static gboolean
maximum_section (FuzzModel *self, State *state, gpointer data)
{
  gint64 maximum = *(gint64 *) data;

  state->free += maximum - state->maximum;
  state->maximum = maximum;
  fail_above (self, state, maximum, FUZZ_TOO_LARGE);
  serve (self, state);
  return TRUE;
}

void
fuzz_model_set_maximum (FuzzModel *self, gint64 maximum)
{
  run_section (self, maximum_section, &maximum);
}

static gboolean
close_section (FuzzModel *self, State *state, gpointer data)
{
  state->closed = TRUE;
  fail_above (self, state, -1, FUZZ_CLOSED);
  serve (self, state);
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
    g_array_index (self->states, State, i).outcomes[slot] = FUZZ_NONE;
}

static void
get_figures (const State *state, FuzzFigures *figures)
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
sight_section (FuzzModel *self, State *state, gpointer data)
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
settled_section (FuzzModel *self, State *state, gpointer data)
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

  let_happen (self, TRUE);
  return run_section (self, settled_section, &settlement);
}

guint
fuzz_model_get_n_states (FuzzModel *self)
{
  return self->states->len;
}

static void
describe_waiters (GString *text, FuzzModel *self, const State *state)
{
  for (guint i = 0; i < state->n_waiters; i++)
    g_string_append_printf (text,
                            " [request %u: %" G_GINT64_FORMAT " bytes, overtaken %u times%s]",
                            state->waiters[i].slot,
                            self->kinds[state->waiters[i].slot].bytes,
                            state->waiters[i].overtaken,
                            state->waiters[i].woken ? ", woken" : "");
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
      const State *state = &g_array_index (self->states, State, i);

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
