/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* BufSemaphore, white box: how a report goes through the semaphores of a tree, some of which end in
 * the meantime. */

#include "semaphore/buf-semaphore-private.h"
#include "testing.h"

#define N_CHILDREN 3

typedef struct
{
  BufSemaphore root;
  BufSemaphore children[N_CHILDREN];
} Tree;

static Tree tree;
static guint n_ended;

static void
begin (BufSemaphore *self, BufSemaphore *parent, void (*end) (BufSemaphore *))
{
  buf_semaphore_init (self, parent, 100, 1, 2);
  self->end = end;
  buf_semaphore_join_reports (self);
}

static void
end_and_count (BufSemaphore *self)
{
  n_ended++;
  buf_semaphore_clear (self);
}

static void
tree_begin (void)
{
  n_ended = 0;
  begin (&tree.root, NULL, end_and_count);
  for (guint i = 0; i < N_CHILDREN; i++)
    begin (&tree.children[i], &tree.root, end_and_count);
}

static void
drop (BufSemaphore *self)
{
  buf_semaphore_close (self);
  buf_semaphore_abandon (self);
}

static void
acquire (BufSemaphore *self, gint64 bytes)
{
  BufSemaphoreFigures figures;

  g_assert_cmpint (buf_semaphore_acquire (self, &BUF_WANT (bytes), FALSE, &figures),
                   ==,
                   BUF_OUTCOME_GRANTED);
}

/* Enters the next one, and leaves the previous one. */
static BufSemaphore *
step (BufSemaphore *top, BufSemaphore *previous)
{
  BufSemaphore *next = buf_semaphore_enter_next (top, previous);

  if (previous != NULL)
    buf_semaphore_leave (previous);
  return next;
}

static void
test_all (void)
{
  BufSemaphore *semaphore;

  g_test_summary ("A report finds all semaphores at one level and below, each after its parent");

  tree_begin ();
  semaphore = step (&tree.root, NULL);
  g_assert_true (semaphore == &tree.root);
  for (guint i = 0; i < N_CHILDREN; i++)
    {
      semaphore = step (&tree.root, semaphore);
      g_assert_true (semaphore == &tree.children[i]);
    }
  g_assert_null (step (&tree.root, semaphore));

  semaphore = step (&tree.children[1], NULL);
  g_assert_true (semaphore == &tree.children[1]);
  g_assert_null (step (&tree.children[1], semaphore));

  for (guint i = 0; i < N_CHILDREN; i++)
    drop (&tree.children[i]);
  drop (&tree.root);
  g_assert_cmpuint (n_ended, ==, N_CHILDREN + 1);
}

static void
test_abandoned (void)
{
  BufSemaphore *semaphore;

  g_test_summary (
      "A semaphore that was abandoned with bytes in use ends when the report leaves it");

  tree_begin ();
  acquire (&tree.children[0], 10);
  drop (&tree.children[0]);
  semaphore = step (&tree.root, step (&tree.root, NULL));
  g_assert_true (semaphore == &tree.children[0]);
  buf_semaphore_release (&tree.children[0], 10);
  g_assert_cmpuint (n_ended, ==, 0);
  semaphore = step (&tree.root, semaphore);
  g_assert_true (semaphore == &tree.children[1]);
  g_assert_cmpuint (n_ended, ==, 1);

  drop (&tree.children[1]);
  g_assert_cmpuint (n_ended, ==, 1);
  semaphore = step (&tree.root, semaphore);
  g_assert_true (semaphore == &tree.children[2]);
  g_assert_cmpuint (n_ended, ==, 2);
  drop (&tree.children[2]);
  buf_semaphore_leave (semaphore);
  drop (&tree.root);
  g_assert_cmpuint (n_ended, ==, N_CHILDREN + 1);
}

/* In a thread that ends the semaphore, when another one makes a report. */
static void
look_around_and_end (BufSemaphore *self)
{
  BufSemaphore *semaphore = step (&tree.root, NULL);

  g_assert_true (semaphore == &tree.root);
  semaphore = step (&tree.root, semaphore);
  g_assert_true (semaphore == &tree.children[1]);
  buf_semaphore_leave (semaphore);
  end_and_count (self);
}

static void
test_over (void)
{
  g_test_summary ("A report does not enter a semaphore that is over but still in the tree");

  tree_begin ();
  tree.children[0].end = look_around_and_end;
  drop (&tree.children[0]);
  g_assert_cmpuint (n_ended, ==, 1);
  for (guint i = 1; i < N_CHILDREN; i++)
    drop (&tree.children[i]);
  drop (&tree.root);
  g_assert_cmpuint (n_ended, ==, N_CHILDREN + 1);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/inside/all", test_all);
  g_test_add_func ("/inside/abandoned", test_abandoned);
  g_test_add_func ("/inside/over", test_over);

  return g_test_run ();
}
