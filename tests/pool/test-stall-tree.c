/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The messages of a budget about a stall: which pools and permits hold its bytes. */

#include "budget/buf-budget-private.h"
#include "pool/stall-testing.h"

/* What a thread holds while another one waits. */
typedef struct
{
  BufBudget *total;
  BufBudget *part;
  BufPool *frames;
  BufPool *idle; /* holds nothing */
  BufPoolAllocation *allocation;
  BufPermit *permits[3];
} Tree;

static G_GNUC_NO_INLINE void
hold_frames (Tree *self)
{
  self->allocation = buf_pool_allocate (self->frames, 2, NULL, NULL);
}

static BufPool *
pool_in (const gchar *name, BufBudget *budget)
{
  return g_object_new (BUF_TYPE_POOL,
                       "name",
                       name,
                       "budget",
                       budget,
                       "buffer-size",
                       (guint64) 16,
                       "max-memory",
                       (guint64) 64,
                       NULL);
}

static void
tree_begin (Tree *self)
{
  self->total = g_object_new (BUF_TYPE_BUDGET, "name", "total", "max-memory", (guint64) 130, NULL);
  self->part = buf_budget_new_child (self->total, 101);
  self->frames = pool_in ("frames", self->part);
  self->idle = pool_in ("idle", self->total);
  hold_frames (self);
  self->permits[0] = buf_budget_acquire (self->part, 10, NULL, NULL);
  self->permits[1] = buf_budget_acquire (self->part, 40, NULL, NULL);
  self->permits[2] = buf_budget_acquire (self->total, 48, NULL, NULL);
}

static gpointer
wait_in_total (gpointer pool)
{
  BufPoolAllocation *allocation = buf_pool_allocate (pool, 2, NULL, NULL);

  g_clear_pointer (&allocation, buf_pool_allocation_unref);
  return NULL;
}

static void
tree_end (Tree *self, GThread *thread)
{
  buf_pool_allocation_unref (self->allocation);
  for (guint i = 0; i < G_N_ELEMENTS (self->permits); i++)
    buf_permit_unref (self->permits[i]);
  g_thread_join (thread);
  g_object_unref (self->idle);
  g_object_unref (self->frames);
  g_object_unref (self->part);
  g_object_unref (self->total);
}

#define TREE_STALL                                                                                 \
  "The budget \"total\" has not granted a request for 3600.0 s, and 1 request is waiting. The "    \
  "oldest waits for 32 bytes, but only 0 of 130 are available; 1 allocation and 3 permits are "    \
  "outstanding:\n"                                                                                 \
  "  The budget holds 2 permits (50 bytes).\n"                                                     \
  "  The budget \"total\" holds 1 permit (48 bytes).\n"                                            \
  "  The pool \"frames\" holds 1 allocation (32 bytes)"

/* Waits for the report of one stall of a budget that has holders at three levels. */
static void
stall_in_tree (void)
{
  GThread *thread;
  Tree tree;
  gint64 now;

  begin_to_collect ();
  tree_begin (&tree);
  thread = g_thread_new ("waiter", wait_in_total, tree.idle);
  test_wait_for_waiting (tree.idle, 1);
  now = g_get_monotonic_time ();
  look_at (tree.idle, now);
  look_at (tree.idle, now + G_TIME_SPAN_HOUR);
  wait_until_logged (TREE_STALL, 1);
  tree_end (&tree, thread);
}

static void
test_tree (void)
{
  g_test_summary ("A budget reports the pools and permits that hold its bytes");

  if (test_skip_without_stacks ())
    return;

  if (!test_run_with ("leaks", "BUFPOOL_STALL_WARNING", "3600000"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  stall_in_tree ();
  g_assert_cmpuint (count (TREE_STALL ":\n  1 allocation (32 bytes) by thread "), ==, 1);
  g_assert_cmpuint (count ("hold_frames"), ==, 1);
  g_assert_cmpuint (count ("Does a thread hold an allocation or a permit while it waits"), ==, 1);
  g_assert_cmpuint (count ("BUFPOOL_DEBUG=leaks"), ==, 0);
  g_print ("as it should be\n");
}

static void
test_tree_without_records (void)
{
  g_test_summary ("Without records of allocations, a budget reports how much each pool holds");

  if (!test_run_with ("", "BUFPOOL_STALL_WARNING", "3600000"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  stall_in_tree ();
  g_assert_cmpuint (count (TREE_STALL ".\n  Run the program with BUFPOOL_DEBUG=leaks"), ==, 1);
  g_print ("as it should be\n");
}

static gpointer
wait_for_permit (gpointer budget)
{
  BufPermit *permit = buf_budget_acquire (budget, 1, NULL, NULL);

  buf_permit_unref (permit);
  return NULL;
}

/* Returns when the budget, all of whose bytes are in use, has reported a stall. */
static GThread *
stall_at (BufBudget *budget, const gchar *text)
{
  BufWatch *watch = &buf_budget_get_semaphore (budget)->tree->watch;
  GThread *thread = g_thread_new ("waiter", wait_for_permit, budget);
  gint64 now;

  test_wait_until (buf_budget_get_waiting (budget) == 1);
  now = g_get_monotonic_time ();
  buf_semaphore_look (watch, now);
  buf_semaphore_look (watch, now + G_TIME_SPAN_HOUR);
  wait_until_logged (text, 1);
  return thread;
}

static void
test_permits (void)
{
  g_autoptr (BufBudget) budget = NULL;
  BufPermit *permit;
  GThread *thread;

  g_test_summary ("A budget without pools reports permits only");

  if (!test_run_with ("", "BUFPOOL_STALL_WARNING", "3600000"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  begin_to_collect ();
  budget = buf_budget_new (100);
  permit = buf_budget_acquire (budget, 100, NULL, NULL);
  thread = stall_at (budget,
                     "1 permit is outstanding:\n"
                     "  The budget holds 1 permit (100 bytes).\n"
                     "  Does a thread hold");
  buf_permit_unref (permit);
  g_thread_join (thread);
  g_print ("as it should be\n");
}

#define N_MANY 20

static void
test_many_pools (void)
{
  BufPoolAllocation *allocations[N_MANY];
  BufPool *pools[N_MANY];
  g_autoptr (BufBudget) budget = NULL;
  GThread *thread;

  g_test_summary ("A report names the largest holders, and sums up the others");

  if (!test_run_with ("", "BUFPOOL_STALL_WARNING", "3600000"))
    {
      g_test_trap_assert_stdout ("*as it should be*");
      return;
    }

  begin_to_collect ();
  budget = buf_budget_new ((N_MANY + 1) * 16);
  for (guint i = 0; i < N_MANY; i++)
    {
      pools[i] = pool_in (i == N_MANY / 2 ? "largest" : "small", budget);
      allocations[i] = test_allocate (pools[i], i == N_MANY / 2 ? 2 : 1);
    }
  thread = stall_at (budget,
                     "20 allocations are outstanding:\n"
                     "  The pool \"largest\" holds 1 allocation (32 bytes).\n"
                     "  The pool \"small\" holds 1 allocation (16 bytes).\n");
  g_assert_cmpuint (count ("The pool \"small\" holds 1 allocation (16 bytes)"), ==, 15);
  g_assert_cmpuint (count ("  Other pools and budgets hold 64 bytes.\n"), ==, 1);
  for (guint i = 0; i < N_MANY; i++)
    buf_pool_allocation_unref (allocations[i]);
  g_thread_join (thread);
  for (guint i = 0; i < N_MANY; i++)
    g_object_unref (pools[i]);
  g_print ("as it should be\n");
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/stall-tree/pools-and-permits", test_tree);
  g_test_add_func ("/stall-tree/without-records", test_tree_without_records);
  g_test_add_func ("/stall-tree/permits", test_permits);
  g_test_add_func ("/stall-tree/many-pools", test_many_pools);

  return g_test_run ();
}
