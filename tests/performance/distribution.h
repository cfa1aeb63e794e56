/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A distribution of times. Times have a precision of one part in sixteen; the longest is exact. */

#define DISTRIBUTION_STEPS 16

typedef struct
{
  guint64 counts[64 * DISTRIBUTION_STEPS];
  guint64 n;
  gint64 longest; /* nanoseconds */
} Distribution;

void distribution_add (Distribution *self, gint64 nanoseconds);
void distribution_merge (Distribution *self, const Distribution *other);

/* The time within which this part of all operations completed, from 0 to 1. */
double distribution_get (const Distribution *self, double part);

/* Jain's index: 1 if all have the same share, 1/n if one has everything. */
double distribution_get_fairness (const guint64 *shares, guint n);

G_END_DECLS
