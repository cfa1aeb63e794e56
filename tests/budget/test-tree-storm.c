/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Many threads use pools and permits at three levels, while limits change, requests are cancelled,
 * and pools are created, closed and dropped. */

#include "budget/budget-testing.h"
#include "budget/limit-testing.h"

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

  Level *in_root;
  Level *in_parts[2];
  Level *in_pools[N_POOLS];

  GMutex mutex;
  GCancellable *cancellables[N_THREADS]; /* LOCK: mutex; of requests in progress, or NULL */
  gint n_cancelled;                      /* atomic; requests that were cancelled after they began */
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

/* The path of a request, from the root down. */
typedef struct
{
  Level *levels[3];
  gint since[3];
  guint n_levels;
} Path;

static Path
get_path (Storm *self, guint part, Level *pool)
{
  Path path = { .levels = { self->in_root, self->in_parts[part], pool } };

  path.n_levels = pool != NULL ? 3 : 2;
  for (guint i = 0; i < path.n_levels; i++)
    path.since[i] = level_now (path.levels[i]);
  return path;
}

/* A request for no bytes is granted at any time. */
static void
path_count (const Path *self, gint bytes)
{
  for (guint i = 0; i < self->n_levels && bytes > 0; i++)
    level_count (self->levels[i], bytes, self->since[i]);
}

static void
path_discount (const Path *self, gint bytes)
{
  for (guint i = 0; i < self->n_levels; i++)
    level_discount (self->levels[i], bytes);
}

static void
work_a_little (GRand *rand)
{
  if (g_rand_int_range (rand, 0, 20) == 0)
    g_thread_yield ();
}

static void
check_error (const GError *error, gboolean may_be_closed)
{
  if (error->domain == BUF_POOL_ERROR)
    g_assert_true (error->code == BUF_POOL_ERROR_TOO_LARGE ||
                   (may_be_closed && error->code == BUF_POOL_ERROR_CLOSED));
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
  const Path path = get_path (self, get_part (i), self->in_pools[i]);
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
    allocation = buf_pool_allocate_pinned (self->pools[i], n, cancellable, &error);
  if (allocation == NULL)
    {
      check_error (error, FALSE);
      return;
    }

  bytes = (gint) buf_pool_allocation_get_allocated_bytes (allocation);
  path_count (&path, bytes);
  work_a_little (rand);
  path_discount (&path, bytes);
  buf_pool_allocation_unref (allocation);
}

static void
use_permit (Storm *self, GRand *rand, GCancellable *cancellable)
{
  guint part = g_rand_int_range (rand, 0, 2);
  gsize n_bytes = g_rand_int_range (rand, 0, PART_MAXIMUM / 4);
  const Path path = get_path (self, part, NULL);
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
      check_error (error, FALSE);
      return;
    }

  path_count (&path, (gint) n_bytes);
  work_a_little (rand);
  kept = n_bytes / 2;
  path_discount (&path, (gint) (n_bytes - kept));
  g_assert_true (buf_permit_shrink (permit, kept, NULL));
  path_discount (&path, (gint) kept);
  if (g_rand_boolean (rand))
    buf_permit_release (permit);
  buf_permit_unref (permit);
}

typedef struct
{
  Storm *storm;
  guint number;
} User;

/* From now on, the request of this thread may be cancelled at any time. */
static void
set_cancellable (User *self, GCancellable *cancellable)
{
  g_mutex_lock (&self->storm->mutex);
  self->storm->cancellables[self->number] = cancellable;
  g_mutex_unlock (&self->storm->mutex);
}

static gpointer
use_all (gpointer data)
{
  User *user = data;
  Storm *self = user->storm;
  g_autoptr (GRand) rand = g_rand_new ();

  for (guint i = 0; i < self->n_operations; i++)
    {
      g_autoptr (GCancellable) cancellable = i % 4 == 0 ? g_cancellable_new () : NULL;

      if (i % 32 == 0)
        g_cancellable_cancel (cancellable);
      else
        set_cancellable (user, cancellable);
      if (g_rand_int_range (rand, 0, 4) == 0)
        use_permit (self, rand, cancellable);
      else
        use_pool (self, rand, cancellable);
      set_cancellable (user, NULL);
    }
  return NULL;
}

/* Cancels requests, most of which wait: the others take little time. */
static gpointer
cancel_some (gpointer data)
{
  Storm *self = data;
  g_autoptr (GRand) rand = g_rand_new ();

  while (!g_atomic_int_get (&self->stop))
    {
      g_autoptr (GCancellable) cancellable = NULL;

      g_mutex_lock (&self->mutex);
      g_set_object (&cancellable, self->cancellables[g_rand_int_range (rand, 0, N_THREADS)]);
      g_mutex_unlock (&self->mutex);
      if (cancellable != NULL && !g_cancellable_is_cancelled (cancellable))
        {
          g_cancellable_cancel (cancellable);
          g_atomic_int_inc (&self->n_cancelled);
        }
      g_usleep (g_rand_int_range (rand, 0, 100));
    }
  return NULL;
}

static void
set_budget_limit (BufBudget *budget, Level *level, gint limit)
{
  level_begin_change (level, limit);
  buf_budget_set_max_memory (budget, limit);
  level_end_change (level, limit);
}

static void
set_pool_limit (BufPool *pool, Level *level, gint limit)
{
  level_begin_change (level, limit);
  buf_pool_set_max_memory (pool, limit);
  level_end_change (level, limit);
}

static gpointer
change_limits (gpointer data)
{
  Storm *self = data;
  g_autoptr (GRand) rand = g_rand_new ();

  while (!g_atomic_int_get (&self->stop))
    {
      guint part = g_rand_int_range (rand, 0, 2);
      guint pool = g_rand_int_range (rand, 0, N_POOLS);

      set_budget_limit (self->root, self->in_root, g_rand_int_range (rand, 0, 2 * ROOT_MAXIMUM));
      set_budget_limit (self->parts[part],
                        self->in_parts[part],
                        g_rand_int_range (rand, 0, 2 * PART_MAXIMUM));
      buf_budget_set_reserved_memory (self->parts[part],
                                      g_rand_int_range (rand, 0, PART_MAXIMUM / 4));
      set_pool_limit (self->pools[pool],
                      self->in_pools[pool],
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

/* Waits in a pool that is closed, unless it gets its bytes before. */
static gpointer
wait_in_pool (gpointer data)
{
  g_autoptr (BufPool) pool = data;
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation = buf_pool_allocate_pinned (pool, 2, NULL, &error);

  if (allocation == NULL)
    check_error (error, TRUE);
  g_clear_pointer (&allocation, buf_pool_allocation_unref);
  return NULL;
}

static void
on_allocated (GObject *source, GAsyncResult *result, gpointer data)
{
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation =
      buf_pool_allocate_pinned_finish (BUF_POOL (source), result, &error);
  guint *n_pending = data;

  if (allocation == NULL)
    check_error (error, TRUE);
  g_clear_pointer (&allocation, buf_pool_allocation_unref);
  --*n_pending;
}

/* Closes and drops a pool in which a thread and two tasks wait. */
static void
close_with_waiters (Storm *self, GRand *rand)
{
  BufPool *pool = buf_pool_new_with_budget (64, self->parts[0], NULL);
  BufPoolAllocation *pinned;
  guint n_pending = 2;
  GThread *thread;

  buf_pool_set_max_memory (pool, 128);
  pinned = buf_pool_try_allocate_pinned (pool, 2, NULL);
  thread = g_thread_new ("waiter", wait_in_pool, g_object_ref (pool));
  for (guint i = 0; i < 2; i++)
    buf_pool_allocate_pinned_async (pool, 2, i * 100, NULL, on_allocated, &n_pending);
  for (gint i = g_rand_int_range (rand, 0, 100); i > 0 && buf_pool_get_waiting (pool) < 3; i--)
    g_thread_yield ();
  buf_pool_close (pool);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 0);
  while (n_pending > 0)
    g_main_context_iteration (g_main_context_get_thread_default (), TRUE);
  g_object_unref (pool);
  g_clear_pointer (&pinned, buf_pool_allocation_unref);
  g_thread_join (thread);
}

/* Creates and drops pools, some of which still have allocations or waiters. */
static gpointer
make_pools (gpointer data)
{
  Storm *self = data;
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GRand) rand = g_rand_new ();

  g_main_context_push_thread_default (context);
  while (!g_atomic_int_get (&self->stop))
    {
      BufPool *pool = buf_pool_new_with_budget (64, self->parts[0], NULL);
      BufPoolAllocation *pinned;

      pinned = buf_pool_try_allocate_pinned (pool, 2, NULL);
      buf_pool_close (pool);
      g_object_unref (pool);
      g_clear_pointer (&pinned, buf_pool_allocation_unref);
      close_with_waiters (self, rand);
    }
  g_main_context_pop_thread_default (context);
  return NULL;
}

static void
storm_begin (Storm *self, gboolean changes)
{
  *self = (Storm){ .changes = changes, .n_operations = g_test_slow () ? 50000 : 3000 };
  g_mutex_init (&self->mutex);
  self->in_root = level_new (ROOT_MAXIMUM);
  self->root = buf_budget_new (ROOT_MAXIMUM);
  for (guint i = 0; i < 2; i++)
    {
      self->parts[i] = buf_budget_new_child (self->root, PART_MAXIMUM);
      self->in_parts[i] = level_new (PART_MAXIMUM);
    }
  for (guint i = 0; i < N_POOLS; i++)
    {
      self->pools[i] = buf_pool_new_with_budget (buffer_sizes[i], self->parts[get_part (i)], NULL);
      buf_pool_set_max_memory (self->pools[i], POOL_MAXIMUM);
      self->in_pools[i] = level_new (POOL_MAXIMUM);
    }
}

static void
storm_end (Storm *self)
{
  for (guint i = 0; i < N_POOLS; i++)
    {
      g_assert_cmpuint (buf_pool_get_allocated_memory (self->pools[i]), ==, 0);
      g_object_unref (self->pools[i]);
      g_free (self->in_pools[i]);
    }
  for (guint i = 0; i < 2; i++)
    {
      assert_in_use (self->parts[i], 0);
      g_object_unref (self->parts[i]);
      g_free (self->in_parts[i]);
    }
  assert_in_use (self->root, 0);
  g_assert_cmpuint (buf_budget_get_waiting (self->root), ==, 0);
  g_object_unref (self->root);
  g_free (self->in_root);
  g_mutex_clear (&self->mutex);
}

static void
test_storm (gconstpointer data)
{
  GThread *threads[N_THREADS], *canceller, *changer = NULL, *maker = NULL;
  User users[N_THREADS];
  Storm storm;

  g_test_summary ("No level exceeds its limit, nothing hangs, and all bytes return");

  storm_begin (&storm, GPOINTER_TO_INT (data));
  if (storm.changes)
    {
      changer = g_thread_new ("changer", change_limits, &storm);
      maker = g_thread_new ("maker", make_pools, &storm);
    }
  canceller = g_thread_new ("canceller", cancel_some, &storm);
  for (guint i = 0; i < N_THREADS; i++)
    {
      users[i] = (User){ &storm, i };
      threads[i] = g_thread_new ("user", use_all, &users[i]);
    }
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
  g_atomic_int_set (&storm.stop, TRUE);
  g_thread_join (canceller);
  if (storm.changes)
    {
      g_thread_join (changer);
      g_thread_join (maker);
    }
  g_test_message ("%d requests were cancelled after they began",
                  g_atomic_int_get (&storm.n_cancelled));
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
