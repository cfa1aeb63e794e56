/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Many threads use pools and permits at three levels, while limits change and pools come and go. */

#include "budget/budget-testing.h"

#define N_POOLS   5
#define N_THREADS 8

typedef struct
{
  BufBudget *root;
  BufBudget *parts[2];
  BufPool *pools[N_POOLS];
  guint n_operations;
  gboolean changes; /* of the limits */
  gint stop;        /* atomic */

  /* What the threads have; atomic. */
  gint in_root;
  gint in_parts[2];
  gint in_pools[N_POOLS];
} Storm;

static const guint buffer_sizes[N_POOLS] = { 16, 100, 512, 4096, 9000 };

#define ROOT_MAXIMUM 100000
#define PART_MAXIMUM 70000
#define POOL_MAXIMUM 50000

static guint
get_part (guint pool)
{
  return pool % 2;
}

static void
count (Storm *self, gint *figure, gint maximum, gint change)
{
  gint before = g_atomic_int_add (figure, change);

  if (!self->changes && change > 0)
    g_assert_cmpint (before + change, <=, maximum);
}

/* With a negative change, before the bytes are returned. */
static void
count_pool (Storm *self, guint pool, gint change)
{
  count (self, &self->in_pools[pool], POOL_MAXIMUM, change);
  count (self, &self->in_parts[get_part (pool)], PART_MAXIMUM, change);
  count (self, &self->in_root, ROOT_MAXIMUM, change);
}

static void
count_part (Storm *self, guint part, gint change)
{
  count (self, &self->in_parts[part], PART_MAXIMUM, change);
  count (self, &self->in_root, ROOT_MAXIMUM, change);
}

static void
work_a_little (GRand *rand)
{
  if (g_rand_int_range (rand, 0, 20) == 0)
    g_thread_yield ();
}

static void
check_error (const GError *error)
{
  if (error->domain == BUF_POOL_ERROR)
    g_assert_cmpint (error->code, ==, BUF_POOL_ERROR_TOO_LARGE);
  else
    g_assert_true (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT) ||
                   g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK) ||
                   g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED));
}

static void
use_pool (Storm *self, GRand *rand, GCancellable *cancellable)
{
  guint i = g_rand_int_range (rand, 0, N_POOLS);
  guint n = g_rand_int_range (rand, 1, MAX (POOL_MAXIMUM / buffer_sizes[i] / 8, 2));
  gint priority = g_rand_int_range (rand, -1, 2) * 100;
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation;
  gint bytes;

  if (g_rand_int_range (rand, 0, 3) == 0)
    allocation = buf_pool_try_allocate (self->pools[i], n, &error);
  else if (g_rand_boolean (rand))
    allocation = buf_pool_allocate_full (self->pools[i],
                                         n,
                                         n + g_rand_int_range (rand, 0, 3),
                                         g_rand_int_range (rand, -300, 300),
                                         priority,
                                         cancellable,
                                         &error);
  else
    allocation = buf_pool_allocate_pinned (self->pools[i], n, NULL, &error);
  if (allocation == NULL)
    {
      check_error (error);
      return;
    }

  bytes = (gint) buf_pool_allocation_get_allocated_bytes (allocation);
  count_pool (self, i, bytes);
  work_a_little (rand);
  count_pool (self, i, -bytes);
  buf_pool_allocation_unref (allocation);
}

static void
use_permit (Storm *self, GRand *rand, GCancellable *cancellable)
{
  guint part = g_rand_int_range (rand, 0, 2);
  gsize n_bytes = g_rand_int_range (rand, 0, PART_MAXIMUM / 4);
  g_autoptr (GError) error = NULL;
  BufPermit *permit = buf_budget_acquire_full (self->parts[part],
                                               n_bytes,
                                               g_rand_int_range (rand, -300, 300),
                                               g_rand_int_range (rand, -1, 2) * 100,
                                               cancellable,
                                               &error);
  gsize kept;

  if (permit == NULL)
    {
      check_error (error);
      return;
    }

  count_part (self, part, (gint) n_bytes);
  work_a_little (rand);
  kept = n_bytes / 2;
  count_part (self, part, -(gint) (n_bytes - kept));
  g_assert_true (buf_permit_shrink (permit, kept, NULL));
  count_part (self, part, -(gint) kept);
  if (g_rand_boolean (rand))
    buf_permit_release (permit);
  buf_permit_unref (permit);
}

static gpointer
use_all (gpointer data)
{
  Storm *self = data;
  g_autoptr (GRand) rand = g_rand_new ();

  for (guint i = 0; i < self->n_operations; i++)
    {
      g_autoptr (GCancellable) cancellable = i % 16 == 0 ? g_cancellable_new () : NULL;

      if (i % 32 == 0)
        g_cancellable_cancel (cancellable);
      if (g_rand_int_range (rand, 0, 4) == 0)
        use_permit (self, rand, cancellable);
      else
        use_pool (self, rand, cancellable);
    }
  return NULL;
}

static gpointer
change_limits (gpointer data)
{
  Storm *self = data;
  g_autoptr (GRand) rand = g_rand_new ();

  while (!g_atomic_int_get (&self->stop))
    {
      BufBudget *part = self->parts[g_rand_int_range (rand, 0, 2)];

      buf_budget_set_max_memory (self->root, g_rand_int_range (rand, 0, 2 * ROOT_MAXIMUM));
      buf_budget_set_max_memory (part, g_rand_int_range (rand, 0, 2 * PART_MAXIMUM));
      buf_budget_set_reserved_memory (part, g_rand_int_range (rand, 0, PART_MAXIMUM / 4));
      buf_pool_set_max_memory (self->pools[g_rand_int_range (rand, 0, N_POOLS)],
                               g_rand_int_range (rand, 0, 2 * POOL_MAXIMUM));
      buf_pool_trim (self->pools[0], 0);
      g_usleep (200);
    }
  buf_budget_set_max_memory (self->root, ROOT_MAXIMUM);
  for (guint i = 0; i < 2; i++)
    {
      buf_budget_set_reserved_memory (self->parts[i], 0);
      buf_budget_set_max_memory (self->parts[i], PART_MAXIMUM);
    }
  return NULL;
}

/* Pools that come and go, some with something left. */
static gpointer
make_pools (gpointer data)
{
  Storm *self = data;

  while (!g_atomic_int_get (&self->stop))
    {
      BufPool *pool = buf_pool_new_with_budget (64, self->parts[0], NULL);
      BufPoolAllocation *pinned;

      pinned = buf_pool_try_allocate_pinned (pool, 2, NULL);
      buf_pool_close (pool);
      g_object_unref (pool);
      g_clear_pointer (&pinned, buf_pool_allocation_unref);
    }
  return NULL;
}

static void
storm_begin (Storm *self, gboolean changes)
{
  *self = (Storm){ .changes = changes, .n_operations = g_test_slow () ? 50000 : 3000 };
  self->root = buf_budget_new (ROOT_MAXIMUM);
  for (guint i = 0; i < 2; i++)
    self->parts[i] = buf_budget_new_child (self->root, PART_MAXIMUM);
  for (guint i = 0; i < N_POOLS; i++)
    {
      self->pools[i] = buf_pool_new_with_budget (buffer_sizes[i], self->parts[get_part (i)], NULL);
      buf_pool_set_max_memory (self->pools[i], POOL_MAXIMUM);
    }
}

static void
storm_end (Storm *self)
{
  for (guint i = 0; i < N_POOLS; i++)
    {
      g_assert_cmpuint (buf_pool_get_allocated_memory (self->pools[i]), ==, 0);
      g_object_unref (self->pools[i]);
    }
  for (guint i = 0; i < 2; i++)
    {
      assert_in_use (self->parts[i], 0);
      g_object_unref (self->parts[i]);
    }
  assert_in_use (self->root, 0);
  g_assert_cmpuint (buf_budget_get_waiting (self->root), ==, 0);
  g_object_unref (self->root);
}

static void
test_storm (gconstpointer data)
{
  GThread *threads[N_THREADS], *changer = NULL, *maker = NULL;
  Storm storm;

  g_test_summary (
      "No level ever has more in use than its limit, nothing hangs, and all comes back");

  storm_begin (&storm, GPOINTER_TO_INT (data));
  if (storm.changes)
    {
      changer = g_thread_new ("changer", change_limits, &storm);
      maker = g_thread_new ("maker", make_pools, &storm);
    }
  for (guint i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("user", use_all, &storm);
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
  g_atomic_int_set (&storm.stop, TRUE);
  if (storm.changes)
    {
      g_thread_join (changer);
      g_thread_join (maker);
    }
  storm_end (&storm);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_data_func ("/tree-storm/fixed", GINT_TO_POINTER (FALSE), test_storm);
  g_test_add_data_func ("/tree-storm/changes", GINT_TO_POINTER (TRUE), test_storm);
  return g_test_run ();
}
