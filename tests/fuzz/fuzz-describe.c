/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz-rules.h"

/*
 * Describes the states of the model when the library is in none of them.
 */

static const gchar *const outcome_names[] = {
  "none",   "pending",    "granted",     "timed out",     "cancelled",  "too large",
  "closed", "overloaded", "would block", "invalid count", "gives back", "gone",
};

const gchar *
fuzz_outcome_get_name (FuzzOutcome outcome)
{
  return outcome_names[outcome];
}

static void
describe_waiters (GString *text, FuzzModel *self, const FuzzState *state)
{
  for (guint i = 0; i < state->n_waiters; i++)
    {
      const FuzzWaiter *waiter = &state->waiters[i];
      const FuzzRequestKind *kind = &self->kinds[waiter->slot];

      g_string_append_printf (text,
                              " [request %u at level %d: %" G_GINT64_FORMAT
                              " bytes, priority %d, overtaken %u times%s]",
                              waiter->slot,
                              kind->level,
                              kind->bytes,
                              kind->priority,
                              waiter->overtaken,
                              waiter->woken  ? ", woken"
                              : waiter->late ? ", late"
                                             : "");
    }
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    if (state->outcomes[slot] != FUZZ_NONE)
      g_string_append_printf (text,
                              " %u:%s (%" G_GINT64_FORMAT ")",
                              slot,
                              outcome_names[state->outcomes[slot]],
                              state->taken[slot]);
}

static void
describe_model_level (GString *text, const FuzzLevel *level)
{
  g_string_append_printf (text,
                          " maximum %" G_GINT64_FORMAT ", reserved %" G_GINT64_FORMAT
                          ", free %" G_GINT64_FORMAT ", %" G_GINT64_FORMAT
                          " allocations, max waiting %d%s;",
                          level->maximum,
                          level->reserved,
                          level->free,
                          level->n_allocations,
                          level->max_waiting,
                          level->closed ? ", closed" : "");
}

gchar *
fuzz_model_describe (FuzzModel *self)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < self->states->len && i < 4; i++)
    {
      const FuzzState *state = &g_array_index (self->states, FuzzState, i);

      g_string_append (text, "\n  allowed:");
      for (guint level = 0; level < self->n_levels; level++)
        describe_model_level (text, &state->levels[level]);
      g_string_append_printf (text, " %u draining;", state->n_drainers);
      describe_waiters (text, self, state);
    }
  return g_string_free (text, FALSE);
}
