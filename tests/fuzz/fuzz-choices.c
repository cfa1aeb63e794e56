/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz-rules.h"

/*
 * A section of the model that can end in several ways. It is run repeatedly, each time with other
 * choices, until all choices have been made.
 *
 * There is one kind of choice. The bytes that a pool has cached are in use at the levels above it,
 * although they count as free in the figures and in the model. Cached bytes are released only for a
 * level at which a request is short. A request that was first short at another level, and is now
 * short here, gets the cached bytes only after the watcher has asked for them. Until then, other
 * requests can overtake it.
 */

#define MOST_CHOICES 16

void
fuzz_choices_begin (FuzzModel *self)
{
  self->is_first_choice = TRUE;
  self->choices = 0;
  self->n_choices = 0;
}

/* Begins the next run. The last choice that has not been made both ways is made the other way. */
gboolean
fuzz_choices_next (FuzzModel *self)
{
  self->n_chosen = 0;
  if (self->is_first_choice)
    {
      self->is_first_choice = FALSE;
      return TRUE;
    }

  while (self->n_choices > 0 && (self->choices >> (self->n_choices - 1) & 1))
    self->choices &= ~(1u << --self->n_choices);
  if (self->n_choices == 0)
    return FALSE;
  self->choices |= 1u << (self->n_choices - 1);
  return TRUE;
}

gboolean
fuzz_choices_choose (FuzzModel *self)
{
  if (self->n_chosen == MOST_CHOICES)
    return FALSE;
  if (self->n_chosen == self->n_choices)
    self->n_choices++;
  return self->choices >> self->n_chosen++ & 1;
}
