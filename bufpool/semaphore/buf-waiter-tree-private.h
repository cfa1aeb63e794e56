/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "semaphore/buf-waiter-private.h"

G_BEGIN_DECLS

/* Nodes in their order of service, with a fast search for the first one that fits. */
typedef struct
{
  BufWaiterNode *root;
  guint32 seed;
} BufWaiterTree;

/* The order of service: by priority, then by age. */
static inline gboolean
buf_waiter_node_comes_before (const BufWaiterNode *self, const BufWaiterNode *other)
{
  if (self->priority != other->priority)
    return self->priority < other->priority;
  return self->number < other->number;
}

/* @self may be NULL. */
static inline BufWaiter *
buf_waiter_get_for_node (BufWaiterNode *self)
{
  return self != NULL ? (BufWaiter *) ((guint8 *) self - G_STRUCT_OFFSET (BufWaiter, node)) : NULL;
}

void buf_waiter_tree_init (BufWaiterTree *self);
void buf_waiter_tree_add (BufWaiterTree *self, BufWaiter *waiter);
void buf_waiter_tree_insert (BufWaiterTree *self, BufWaiterNode *node);
void buf_waiter_tree_remove (BufWaiterTree *self, BufWaiterNode *node);
void buf_waiter_tree_resize (BufWaiterNode *node, gint64 least, gint64 most);
BufWaiterNode *buf_waiter_tree_get_first (const BufWaiterTree *self);
BufWaiterNode *
buf_waiter_tree_find_first (BufWaiterTree *self, gint64 bytes, const BufWaiterNode *previous);
BufWaiterNode *buf_waiter_tree_find_above (BufWaiterTree *self, gint64 bytes);

G_END_DECLS
