/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stdlib.h>

#include "fuzz-player.h"

/*
 * What is seen of the library when nothing is going on, and what is said when no rule allows it.
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

static void
read_figures (FuzzPlayer *self, FuzzFigures *figures, guint *unknown)
{
  *figures = (FuzzFigures){
    .maximum = buf_pool_get_max_memory (self->pool),
    .allocated = buf_pool_get_allocated_memory (self->pool),
    .available = buf_pool_get_available_memory (self->pool),
    .n_allocations = buf_pool_get_active_allocations (self->pool),
    .n_waiting = buf_pool_get_waiting (self->pool),
    .closed = buf_pool_is_closed (self->pool),
  };
  *unknown = 0;
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    {
      FuzzRequest *request = &self->requests[slot];

      if (!request->active)
        continue;
      figures->outcomes[slot] = request->done ? request->outcome : FUZZ_PENDING;
      if (request->done && request->dropped)
        *unknown |= 1u << slot;
    }
}

static gchar *
describe_figures (const FuzzFigures *figures)
{
  GString *text = g_string_new (NULL);

  g_string_printf (text,
                   "maximum %" G_GINT64_FORMAT ", allocated %" G_GINT64_FORMAT
                   ", available %" G_GINT64_FORMAT ", %" G_GINT64_FORMAT
                   " allocations, %" G_GINT64_FORMAT " waiting%s;",
                   figures->maximum,
                   figures->allocated,
                   figures->available,
                   figures->n_allocations,
                   figures->n_waiting,
                   figures->closed ? ", closed" : "");
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    if (figures->outcomes[slot] != FUZZ_NONE)
      g_string_append_printf (text,
                              " %u:%s",
                              slot,
                              fuzz_outcome_get_name (figures->outcomes[slot]));
  return g_string_free (text, FALSE);
}

/* The request is over: what it was granted is now held. */
static void
collect (FuzzPlayer *self, guint slot)
{
  FuzzRequest *request = &self->requests[slot];

  self->statistics->n_outcomes[request->outcome]++;
  request->active = FALSE;
  g_clear_object (&request->token);
  fuzz_model_forget (self->model, slot);
  if (request->allocation != NULL)
    fuzz_holding_add (self, request->allocation, request->n_buffers, request->pinned);
  request->allocation = NULL;
}

/* Waits until nothing is going on, and compares all there is to see. */
void
fuzz_settle (FuzzPlayer *self)
{
  FuzzFigures figures;
  guint unknown;

  fuzz_wait (self, FALSE);
  read_figures (self, &figures, &unknown);
  if (!fuzz_model_settle (self->model, &figures, unknown))
    {
      g_autofree gchar *text = describe_figures (&figures);

      fuzz_fail_with_states (self, text);
    }
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    if (self->requests[slot].active && self->requests[slot].done)
      collect (self, slot);
}
