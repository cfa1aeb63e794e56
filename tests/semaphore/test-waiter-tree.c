/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tree in which waiters are found, compared with a walk over a list. */

#include "semaphore/buf-waiter-tree-private.h"
#include "testing.h"

#define N_WAITERS 200

static void
ignore (BufWaiter *waiter)
{
}

typedef struct
{
  BufWaiterTree tree;
  BufWaiter waiters[N_WAITERS];
  gboolean inserted[N_WAITERS];
} Fixture;

static void
set_up (Fixture *self, gconstpointer data)
{
  buf_waiter_tree_init (&self->tree);
  for (guint i = 0; i < N_WAITERS; i++)
    {
      buf_waiter_init (&self->waiters[i], g_test_rand_int_range (1, 50), ignore);
      self->waiters[i].number = i;
      self->inserted[i] = FALSE;
    }
}

static void
tear_down (Fixture *self, gconstpointer data)
{
  for (guint i = 0; i < N_WAITERS; i++)
    buf_waiter_clear (&self->waiters[i]);
}

static void
flip (Fixture *self, guint i)
{
  if (self->inserted[i])
    buf_waiter_tree_remove (&self->tree, &self->waiters[i].node);
  else
    buf_waiter_tree_add (&self->tree, &self->waiters[i]);
  self->inserted[i] = !self->inserted[i];
}

/* From the one with this number on. */
static BufWaiter *
walk_to_first (Fixture *self, gint64 bytes, guint from)
{
  for (guint i = from; i < N_WAITERS; i++)
    if (self->inserted[i] && self->waiters[i].want.bytes <= bytes)
      return &self->waiters[i];
  return NULL;
}

static gboolean
has_above (Fixture *self, gint64 bytes)
{
  for (guint i = 0; i < N_WAITERS; i++)
    if (self->inserted[i] && self->waiters[i].want.bytes > bytes)
      return TRUE;
  return FALSE;
}

static guint
get_depth (BufWaiterNode *node)
{
  guint depth = 0;

  if (node == NULL)
    return 0;

  for (guint i = 0; i < 2; i++)
    {
      BufWaiterNode *child = node->children[i];
      guint below = get_depth (child);

      g_assert_true (child == NULL || child->parent == node);
      depth = MAX (depth, below);
    }
  return 1 + depth;
}

/* After @previous, which may be NULL, and need not be in the tree. */
static BufWaiter *
find_first (Fixture *self, gint64 bytes, BufWaiter *previous)
{
  BufWaiterNode key = { .number = previous != NULL ? previous->number : 0 };

  return buf_waiter_get_for_node (
      buf_waiter_tree_find_first (&self->tree, bytes, previous != NULL ? &key : NULL));
}

static void
test_random (Fixture *self, gconstpointer data)
{
  g_test_summary ("Whatever is inserted and removed, the first waiter that fits is found");

  for (guint n = 0; n < test_scale (20000); n++)
    {
      gint64 bytes = g_test_rand_int_range (0, 52);
      guint previous = g_test_rand_int_range (0, N_WAITERS);
      BufWaiter *above;

      flip (self, g_test_rand_int_range (0, N_WAITERS));
      g_assert_true (find_first (self, bytes, NULL) == walk_to_first (self, bytes, 0));
      g_assert_true (find_first (self, bytes, &self->waiters[previous]) ==
                     walk_to_first (self, bytes, previous + 1));
      above = buf_waiter_get_for_node (buf_waiter_tree_find_above (&self->tree, bytes));
      g_assert_cmpint (above != NULL, ==, has_above (self, bytes));
      g_assert_true (above == NULL || above->want.bytes > bytes);
    }
}

static void
test_in_order (Fixture *self, gconstpointer data)
{
  g_test_summary ("Waiters that come in order, as is usual, do not make the tree deep");

  g_assert_null (find_first (self, G_MAXINT64, NULL));
  g_assert_null (buf_waiter_tree_find_above (&self->tree, 0));
  for (guint i = 0; i < N_WAITERS; i++)
    flip (self, i);
  g_assert_cmpuint (get_depth (self->tree.root), <, 40);
  for (guint i = 0; i < N_WAITERS; i++)
    {
      g_assert_true (find_first (self, G_MAXINT64, NULL) == &self->waiters[i]);
      flip (self, i);
    }
  g_assert_null (self->tree.root);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add ("/waiter-tree/random", Fixture, NULL, set_up, test_random, tear_down);
  g_test_add ("/waiter-tree/in-order", Fixture, NULL, set_up, test_in_order, tear_down);

  return g_test_run ();
}
