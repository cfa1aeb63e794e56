/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* How often something took how long. Times are kept to one part in sixteen, and the longest as it
 * is. */

#define DISTRIBUTION_STEPS 16

typedef struct
{
  guint64 counts[64 * DISTRIBUTION_STEPS];
  guint64 n;
  gint64 longest; /* nanoseconds */
} Distribution;

void distribution_add (Distribution *self, gint64 nanoseconds);
void distribution_merge (Distribution *self, const Distribution *other);

/* The time within which this part of all was done, from 0 to 1. */
double distribution_get (const Distribution *self, double part);

/* Jain's index: 1 when all have the same, 1/n when one has all. */
double distribution_get_fairness (const guint64 *shares, guint n);

G_END_DECLS
