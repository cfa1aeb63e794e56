/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "buf-budget.h"
#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

/* The maximum value of the limit properties of pools and budgets. */
#define BUF_BUDGET_UNLIMITED G_GUINT64_CONSTANT (9007199254740991)

/* The part of a budget that children need, and permits that outlive the BufBudget. It frees itself
 * at its end, see buf-semaphore-inside.c. */
typedef struct
{
  BufSemaphore semaphore;
  gchar *name;    /* const; may be NULL */
  GList link;     /* LOCK: all_budgets_mutex; in the list of all budgets */
  gpointer owner; /* atomic; the budget, for debuggers; NULL after it is gone */
} BufBudgetCore;

struct _BufBudget
{
  GObject parent_instance;

  BufBudgetCore *core;     /* const after construction */
  BufBudget *parent;       /* const; may be NULL */
  guint64 max_memory;      /* as set during construction */
  guint64 reserved_memory; /* as set during construction */
  gint max_waiting;        /* as set during construction */
};

BufSemaphore *buf_budget_get_semaphore (BufBudget *self);
void buf_budget_install_properties (GObjectClass *object_class);
void buf_budget_change_max_memory (BufBudget *self, guint64 max_memory);
void buf_budget_change_reserved_memory (BufBudget *self, guint64 reserved_memory);
void buf_budget_change_max_waiting (BufBudget *self, gint max_waiting);
BufPermit *buf_permit_new (BufBudget *budget, gint64 bytes);

/* Conversion to the sizes that functions take and return: on 32-bit systems, a limit can exceed the
 * maximum of gsize. */
static inline gsize
buf_budget_to_size (guint64 value)
{
  return (gsize) MIN (value, (guint64) G_MAXSIZE);
}

static inline guint64
buf_budget_from_size (gsize value)
{
  guint64 wide = value;

  return value == G_MAXSIZE ? BUF_BUDGET_UNLIMITED : MIN (wide, BUF_BUDGET_UNLIMITED);
}

G_END_DECLS
