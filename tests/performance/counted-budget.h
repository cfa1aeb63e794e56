/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Another copy of the budget, compiled so that it counts its operations. Only for one thread at a
 * time. */

typedef struct
{
  guint64 exchanges;   /* compare-and-swaps */
  guint64 failed;      /* those that failed */
  guint64 sections;    /* under the mutex */
  guint64 collections; /* stripes emptied */
  guint64 revocations; /* times the stripes were revoked */
} BudgetCounts;

extern BudgetCounts budget_counts;

gpointer counted_budget_new (gsize buffers, guint n_processors);
void counted_budget_free (gpointer budget);

/* A small budget does not use all of them. */
guint counted_budget_get_n_stripes (gpointer budget);

/* Acts as the thread with this number. */
gboolean counted_budget_take (gpointer budget, guint thread, gsize buffers);
void counted_budget_give (gpointer budget, guint thread, gsize buffers);

G_END_DECLS
