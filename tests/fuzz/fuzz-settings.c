/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz-rules.h"

/*
 * Changes of the settings of a level, in the model.
 */

typedef struct
{
  gint level;
  gint64 value;
} Setting;

static gboolean
maximum_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  Setting *setting = data;
  FuzzLevel *at = &state->levels[setting->level];

  at->free += setting->value - at->maximum;
  at->maximum = setting->value;
  fuzz_rules_fail_impossible (self, state);
  fuzz_rules_serve (self, state);
  return TRUE;
}

void
fuzz_model_set_maximum (FuzzModel *self, gint level, gint64 maximum)
{
  Setting setting = { .level = level, .value = maximum };

  fuzz_model_run_section (self, maximum_section, &setting);
}

static gboolean
reserved_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  Setting *setting = data;

  state->levels[setting->level].reserved = setting->value;
  fuzz_rules_fail_impossible (self, state);
  fuzz_rules_serve (self, state);
  return TRUE;
}

void
fuzz_model_set_reserved (FuzzModel *self, gint level, gint64 reserved)
{
  Setting setting = { .level = level, .value = reserved };

  fuzz_model_run_section (self, reserved_section, &setting);
}

static gboolean
max_waiting_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  Setting *setting = data;

  state->levels[setting->level].max_waiting = (gint32) setting->value;
  return TRUE;
}

void
fuzz_model_set_max_waiting (FuzzModel *self, gint level, gint max_waiting)
{
  Setting setting = { .level = level, .value = max_waiting };

  fuzz_model_run_section (self, max_waiting_section, &setting);
}

static gboolean
owe_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  gint oldest = fuzz_rules_get_oldest (state);

  if (oldest >= 0)
    state->waiters[oldest].overtaken = FUZZ_MAX_OVERTAKEN;
  fuzz_rules_serve (self, state);
  return TRUE;
}

/* The oldest has been overtaken for too long. */
void
fuzz_model_owe (FuzzModel *self)
{
  fuzz_model_run_section (self, owe_section, NULL);
}

static gboolean
close_section (FuzzModel *self, FuzzState *state, gpointer data)
{
  Setting *setting = data;

  state->levels[setting->level].closed = TRUE;
  fuzz_rules_fail_impossible (self, state);
  fuzz_rules_serve (self, state);
  return TRUE;
}

void
fuzz_model_close (FuzzModel *self, gint level)
{
  Setting setting = { .level = level };

  fuzz_model_run_section (self, close_section, &setting);
}
