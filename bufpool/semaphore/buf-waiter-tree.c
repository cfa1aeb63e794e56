/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-waiter-tree-private.h"

/*
 * A treap: a binary search tree in the order of service, in which random weights keep the depth
 * logarithmic. Each node also stores the smallest and largest number of bytes that any waiter below
 * it wants. So the first waiter that fits is found on one path from the root, no matter how many do
 * not fit and what their sizes are. The nodes are embedded in the waiters, so nothing is allocated.
 */

enum
{
  BEFORE,
  AFTER
};

void
buf_waiter_tree_init (BufWaiterTree *self)
{
  *self = (BufWaiterTree){ .seed = 2463534242u };
}

/* Xorshift. The weights only need to be independent of the order of the waiters. */
static guint32
next_weight (BufWaiterTree *self)
{
  self->seed ^= self->seed << 13;
  self->seed ^= self->seed >> 17;
  self->seed ^= self->seed << 5;
  return self->seed;
}

static void
update (BufWaiter *waiter)
{
  BufWaiterNode *node = &waiter->node;

  node->smallest = node->largest = waiter->want.bytes;
  for (guint i = BEFORE; i <= AFTER; i++)
    {
      BufWaiter *child = node->children[i];

      if (child == NULL)
        continue;
      node->smallest = MIN (node->smallest, child->node.smallest);
      node->largest = MAX (node->largest, child->node.largest);
    }
}

static void
update_upwards (BufWaiter *waiter)
{
  for (; waiter != NULL; waiter = waiter->node.parent)
    update (waiter);
}

/* Replaces @waiter in its parent by @other, which may be NULL. */
static void
replace (BufWaiterTree *self, BufWaiter *waiter, BufWaiter *other)
{
  BufWaiter *parent = waiter->node.parent;

  if (parent == NULL)
    self->root = other;
  else
    parent->node.children[parent->node.children[AFTER] == waiter] = other;
  if (other != NULL)
    other->node.parent = parent;
}

/* Exchanges @waiter with its child on @side. The order does not change. */
static void
rotate (BufWaiterTree *self, BufWaiter *waiter, guint side)
{
  BufWaiter *child = waiter->node.children[side];
  BufWaiter *between = child->node.children[!side];

  replace (self, waiter, child);
  waiter->node.children[side] = between;
  if (between != NULL)
    between->node.parent = waiter;
  child->node.children[!side] = waiter;
  waiter->node.parent = child;
  update (waiter);
  update (child);
}

void
buf_waiter_tree_insert (BufWaiterTree *self, BufWaiter *waiter)
{
  BufWaiter *parent = NULL;
  BufWaiter **place = &self->root;

  while (*place != NULL)
    {
      parent = *place;
      place = &parent->node.children[!buf_waiter_comes_before (waiter, parent)];
    }

  waiter->node = (BufWaiterNode){ .parent = parent, .weight = next_weight (self) };
  *place = waiter;
  update_upwards (waiter);
  while ((parent = waiter->node.parent) != NULL && parent->node.weight < waiter->node.weight)
    rotate (self, parent, parent->node.children[AFTER] == waiter);
}

void
buf_waiter_tree_remove (BufWaiterTree *self, BufWaiter *waiter)
{
  BufWaiter *before, *after, *parent;

  while ((before = waiter->node.children[BEFORE]) != NULL &&
         (after = waiter->node.children[AFTER]) != NULL)
    rotate (self, waiter, after->node.weight > before->node.weight ? AFTER : BEFORE);

  parent = waiter->node.parent;
  replace (self, waiter, before != NULL ? before : waiter->node.children[AFTER]);
  update_upwards (parent);
}

/* Returns the first waiter that wants at most @bytes. */
BufWaiter *
buf_waiter_tree_find_first (BufWaiterTree *self, gint64 bytes)
{
  BufWaiter *waiter = self->root;

  if (waiter == NULL || waiter->node.smallest > bytes)
    return NULL;

  for (;;)
    {
      BufWaiter *before = waiter->node.children[BEFORE];

      if (before != NULL && before->node.smallest <= bytes)
        waiter = before;
      else if (waiter->want.bytes <= bytes)
        return waiter;
      else
        waiter = waiter->node.children[AFTER];
    }
}

/* Returns any waiter that wants more than @bytes. */
BufWaiter *
buf_waiter_tree_find_above (BufWaiterTree *self, gint64 bytes)
{
  BufWaiter *waiter = self->root;

  if (waiter == NULL || waiter->node.largest <= bytes)
    return NULL;

  while (waiter->want.bytes <= bytes)
    {
      BufWaiter *before = waiter->node.children[BEFORE];

      if (before != NULL && before->node.largest > bytes)
        waiter = before;
      else
        waiter = waiter->node.children[AFTER];
    }
  return waiter;
}
