/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "semaphore/buf-waiter-private.h"

G_BEGIN_DECLS

/* Waiters in their order of service, with a fast search for the first one that fits. */
typedef struct
{
  BufWaiter *root;
  guint32 seed;
} BufWaiterTree;

/* The order of service: by priority, then by age. */
static inline gboolean
buf_waiter_comes_before (const BufWaiter *self, const BufWaiter *other)
{
  if (self->want.priority != other->want.priority)
    return self->want.priority < other->want.priority;
  return self->number < other->number;
}

void buf_waiter_tree_init (BufWaiterTree *self);
void buf_waiter_tree_insert (BufWaiterTree *self, BufWaiter *waiter);
void buf_waiter_tree_remove (BufWaiterTree *self, BufWaiter *waiter);
BufWaiter *buf_waiter_tree_find_first (BufWaiterTree *self, gint64 bytes);
BufWaiter *buf_waiter_tree_find_above (BufWaiterTree *self, gint64 bytes);

G_END_DECLS
