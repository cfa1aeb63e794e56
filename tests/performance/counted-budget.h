/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The budget once more, compiled so that it counts what it does. Only for one thread at a time. */

typedef struct
{
  guint64 exchanges;   /* compare-and-swaps */
  guint64 failed;      /* of these */
  guint64 sections;    /* under the mutex */
  guint64 collections; /* stripes emptied */
  guint64 revocations; /* stripes revoked */
} BudgetCounts;

extern BudgetCounts budget_counts;

gpointer counted_budget_new (gsize buffers, guint n_processors);
void counted_budget_free (gpointer budget);

/* A small budget does not use all of them. */
guint counted_budget_get_n_stripes (gpointer budget);

/* As the thread with this number. */
gboolean counted_budget_take (gpointer budget, guint thread, gsize buffers);
void counted_budget_give (gpointer budget, guint thread, gsize buffers);

G_END_DECLS
