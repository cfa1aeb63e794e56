/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-waiter-tree-private.h"

/*
 * A treap: a binary search tree in the order of service, in which random weights keep the depth
 * logarithmic. Each node also stores the smallest and largest number of bytes that any node below
 * it wants. So the first one that fits is found on one path from the root, no matter how many do
 * not fit and what their sizes are. The nodes are embedded in the waiters and in the levels, so
 * nothing is allocated.
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
update (BufWaiterNode *node)
{
  node->smallest = node->least;
  node->largest = node->most;
  for (guint i = BEFORE; i <= AFTER; i++)
    {
      const BufWaiterNode *child = node->children[i];

      if (child == NULL)
        continue;
      node->smallest = MIN (node->smallest, child->smallest);
      node->largest = MAX (node->largest, child->largest);
    }
}

static void
update_upwards (BufWaiterNode *node)
{
  for (; node != NULL; node = node->parent)
    update (node);
}

/* Replaces @node in its parent by @other, which may be NULL. */
static void
replace (BufWaiterTree *self, BufWaiterNode *node, BufWaiterNode *other)
{
  BufWaiterNode *parent = node->parent;

  if (parent == NULL)
    self->root = other;
  else
    parent->children[parent->children[AFTER] == node] = other;
  if (other != NULL)
    other->parent = parent;
}

/* Exchanges @node with its child on @side. The order does not change. */
static void
rotate (BufWaiterTree *self, BufWaiterNode *node, guint side)
{
  BufWaiterNode *child = node->children[side];
  BufWaiterNode *between = child->children[!side];

  replace (self, node, child);
  node->children[side] = between;
  if (between != NULL)
    between->parent = node;
  child->children[!side] = node;
  node->parent = child;
  update (node);
  update (child);
}

/* The order and the sizes of @node are set. */
void
buf_waiter_tree_insert (BufWaiterTree *self, BufWaiterNode *node)
{
  BufWaiterNode *parent = NULL;
  BufWaiterNode **place = &self->root;

  while (*place != NULL)
    {
      parent = *place;
      place = &parent->children[!buf_waiter_node_comes_before (node, parent)];
    }

  node->parent = parent;
  node->children[BEFORE] = node->children[AFTER] = NULL;
  node->weight = next_weight (self);
  *place = node;
  update_upwards (node);
  while ((parent = node->parent) != NULL && parent->weight < node->weight)
    rotate (self, parent, parent->children[AFTER] == node);
}

void
buf_waiter_tree_add (BufWaiterTree *self, BufWaiter *waiter)
{
  waiter->node.priority = waiter->want.priority;
  waiter->node.number = waiter->number;
  waiter->node.least = waiter->node.most = waiter->want.bytes;
  buf_waiter_tree_insert (self, &waiter->node);
}

void
buf_waiter_tree_remove (BufWaiterTree *self, BufWaiterNode *node)
{
  BufWaiterNode *before, *after, *parent;

  while ((before = node->children[BEFORE]) != NULL && (after = node->children[AFTER]) != NULL)
    rotate (self, node, after->weight > before->weight ? AFTER : BEFORE);

  parent = node->parent;
  replace (self, node, before != NULL ? before : node->children[AFTER]);
  node->weight = 0;
  update_upwards (parent);
}

/* Changes the sizes of a node that is in a tree. */
void
buf_waiter_tree_resize (BufWaiterNode *node, gint64 least, gint64 most)
{
  node->least = least;
  node->most = most;
  update_upwards (node);
}

BufWaiterNode *
buf_waiter_tree_get_first (const BufWaiterTree *self)
{
  BufWaiterNode *node = self->root;

  while (node != NULL && node->children[BEFORE] != NULL)
    node = node->children[BEFORE];
  return node;
}

/* Below @node, which may be NULL. The search fails at most along the path to @previous. */
static BufWaiterNode *
find_first (BufWaiterNode *node, gint64 bytes, const BufWaiterNode *previous)
{
  BufWaiterNode *first;

  if (node == NULL || node->smallest > bytes)
    return NULL;
  if (previous != NULL && !buf_waiter_node_comes_before (previous, node))
    return find_first (node->children[AFTER], bytes, previous);

  first = find_first (node->children[BEFORE], bytes, previous);
  if (first != NULL)
    return first;
  if (node->least <= bytes)
    return node;
  return find_first (node->children[AFTER], bytes, NULL);
}

/* Returns the first node that wants at most @bytes and comes after @previous, which may be NULL and
 * need not be in the tree anymore. */
BufWaiterNode *
buf_waiter_tree_find_first (BufWaiterTree *self, gint64 bytes, const BufWaiterNode *previous)
{
  return find_first (self->root, bytes, previous);
}

/* Returns any node that wants more than @bytes. */
BufWaiterNode *
buf_waiter_tree_find_above (BufWaiterTree *self, gint64 bytes)
{
  BufWaiterNode *node = self->root;

  if (node == NULL || node->largest <= bytes)
    return NULL;

  while (node->most <= bytes)
    {
      BufWaiterNode *before = node->children[BEFORE];

      if (before != NULL && before->largest > bytes)
        node = before;
      else
        node = node->children[AFTER];
    }
  return node;
}
