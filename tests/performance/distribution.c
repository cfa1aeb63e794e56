/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "distribution.h"

static guint
get_slot (guint64 value)
{
  guint exponent;

  if (value < DISTRIBUTION_STEPS)
    return value;
  exponent = g_bit_storage (value) - 1;
  return (exponent - 3) * DISTRIBUTION_STEPS +
         ((value >> (exponent - 4)) & (DISTRIBUTION_STEPS - 1));
}

/* The largest value that falls into the slot. */
static double
get_end (guint slot)
{
  guint exponent = slot / DISTRIBUTION_STEPS;

  if (exponent == 0)
    return slot;
  return (double) ((guint64) (DISTRIBUTION_STEPS + slot % DISTRIBUTION_STEPS + 1)
                   << (exponent - 1)) -
         1;
}

void
distribution_add (Distribution *self, gint64 nanoseconds)
{
  self->counts[get_slot (MAX (nanoseconds, 0))]++;
  self->n++;
  self->longest = MAX (self->longest, nanoseconds);
}

void
distribution_merge (Distribution *self, const Distribution *other)
{
  for (guint i = 0; i < G_N_ELEMENTS (self->counts); i++)
    self->counts[i] += other->counts[i];
  self->n += other->n;
  self->longest = MAX (self->longest, other->longest);
}

double
distribution_get (const Distribution *self, double part)
{
  guint64 seen = 0;

  for (guint i = 0; i < G_N_ELEMENTS (self->counts); i++)
    {
      seen += self->counts[i];
      if (seen >= part * self->n && seen > 0)
        return MIN (get_end (i), self->longest);
    }
  return self->longest;
}

double
distribution_get_fairness (const guint64 *shares, guint n)
{
  double sum = 0, squares = 0;

  for (guint i = 0; i < n; i++)
    {
      sum += shares[i];
      squares += (double) shares[i] * shares[i];
    }
  return squares > 0 ? sum * sum / (n * squares) : 0;
}
