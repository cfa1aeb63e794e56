/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stdlib.h>

#include "fuzz-player.h"

/*
 * The observations of the library while no call is in progress, and the messages if no rule allows
 * them.
 */

void
fuzz_fail (FuzzPlayer *self, const gchar *format, ...)
{
  g_autofree gchar *message = NULL;
  va_list arguments;

  va_start (arguments, format);
  message = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  g_printerr ("step %u (%s): %s\n", self->step, self->step_name, message);
  abort ();
}

void
fuzz_fail_with_states (FuzzPlayer *self, const gchar *what)
{
  g_autofree gchar *states = fuzz_model_describe (self->model);

  fuzz_fail (self, "no rule allows that %s%s", what, states);
}

/* What the request was granted, in bytes. */
static gint64
get_taken (FuzzPlayer *self, FuzzRequest *request)
{
  if (!request->done)
    return 0;
  if (request->permit != NULL)
    return (gint64) buf_permit_get_size (request->permit);
  if (request->allocation != NULL)
    return (gint64) (buf_pool_allocation_get_length (request->allocation) * self->buffer_size);
  return 0;
}

static void
read_figures (FuzzPlayer *self, FuzzFigures *figures, guint *unknown)
{
  *figures = (FuzzFigures){ 0 };
  for (guint level = 0; level < self->n_levels; level++)
    fuzz_tree_get_figures (self, level, &figures->levels[level]);
  *unknown = 0;
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    {
      FuzzRequest *request = &self->requests[slot];

      if (!request->active)
        continue;
      figures->outcomes[slot] = request->done ? request->outcome : FUZZ_PENDING;
      figures->taken[slot] = get_taken (self, request);
      if (request->done && request->dropped)
        *unknown |= 1u << slot;
    }
}

static void
describe_level (GString *text, const FuzzLevelFigures *figures)
{
  g_string_append_printf (text,
                          " maximum %" G_GINT64_FORMAT ", allocated %" G_GINT64_FORMAT
                          ", available %" G_GINT64_FORMAT ", %" G_GINT64_FORMAT
                          " allocations, %" G_GINT64_FORMAT " waiting%s;",
                          figures->maximum,
                          figures->allocated,
                          figures->available,
                          figures->n_allocations,
                          figures->n_waiting,
                          figures->closed ? ", closed" : "");
}

static gchar *
describe_figures (FuzzPlayer *self, const FuzzFigures *figures)
{
  GString *text = g_string_new (NULL);

  for (guint level = 0; level < self->n_levels; level++)
    describe_level (text, &figures->levels[level]);
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    if (figures->outcomes[slot] != FUZZ_NONE)
      g_string_append_printf (text,
                              " %u:%s (%" G_GINT64_FORMAT ")",
                              slot,
                              fuzz_outcome_get_name (figures->outcomes[slot]),
                              figures->taken[slot]);
  return g_string_free (text, FALSE);
}

/* The request has ended: the sequence now holds what it was granted. */
static void
collect (FuzzPlayer *self, guint slot)
{
  FuzzRequest *request = &self->requests[slot];

  self->statistics->n_outcomes[request->outcome]++;
  request->active = FALSE;
  g_clear_object (&request->token);
  fuzz_model_forget (self->model, slot);
  if (request->allocation != NULL)
    fuzz_holding_add (self,
                      request->level,
                      request->allocation,
                      buf_pool_allocation_get_length (request->allocation),
                      request->pinned);
  if (request->permit != NULL)
    fuzz_permit_add (self, request->permit, request->level, request->n_bytes);
  request->allocation = NULL;
  request->permit = NULL;
}

/* Waits until no call is in progress, and compares everything that can be observed. */
void
fuzz_settle (FuzzPlayer *self)
{
  FuzzFigures figures;
  guint unknown;

  fuzz_wait (self, FALSE);
  read_figures (self, &figures, &unknown);
  if (!fuzz_model_settle (self->model, &figures, unknown))
    {
      g_autofree gchar *text = describe_figures (self, &figures);

      fuzz_fail_with_states (self, text);
    }
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    if (self->requests[slot].active && self->requests[slot].done)
      collect (self, slot);
}
