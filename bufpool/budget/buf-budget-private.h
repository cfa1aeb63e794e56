/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "buf-budget.h"
#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

/* The greatest limit, for pools and budgets, as a property. */
#define BUF_BUDGET_UNLIMITED G_GUINT64_CONSTANT (9007199254740991)

/* What children, and permits that outlive the BufBudget, need of it. It ends itself, see
 * buf-semaphore-inside.c. */
typedef struct
{
  BufSemaphore semaphore;
  gchar *name;    /* const; may be NULL */
  GList link;     /* in the list of all budgets, and under its lock */
  gpointer owner; /* atomic; the budget, for debuggers; NULL when it is gone */
} BufBudgetCore;

struct _BufBudget
{
  GObject parent_instance;

  BufBudgetCore *core;     /* const once it is constructed */
  BufBudget *parent;       /* const; may be NULL */
  guint64 max_memory;      /* as constructed */
  guint64 reserved_memory; /* likewise */
  gint max_waiting;        /* likewise */
};

BufSemaphore *buf_budget_get_semaphore (BufBudget *self);
BufPermit *buf_permit_new (BufBudget *budget, gint64 bytes);

/* As functions take and return sizes: with 32 bits, a limit can be more than a gsize can hold. */
static inline gsize
buf_budget_to_size (guint64 value)
{
  return (gsize) MIN (value, (guint64) G_MAXSIZE);
}

static inline guint64
buf_budget_from_size (gsize value)
{
  return value == G_MAXSIZE ? BUF_BUDGET_UNLIMITED : MIN ((guint64) value, BUF_BUDGET_UNLIMITED);
}

G_END_DECLS
