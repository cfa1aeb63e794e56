/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A tree in which a thread was woken and never runs. When its promise ends, the next request fits
 * at its own level, and turns out to be short at the level above, where a pool has cached what it
 * needs. Nothing else happens in the tree: the watcher has to do it all. */

#include "budget/budget-testing.h"
#include "semaphore/buf-semaphore-sections-private.h"

#define BUFFER 4096

typedef struct
{
  BufBudget *root;
  BufBudget *middle;
  BufBudget *narrow;
  BufPool *pool;
  BufSemaphore *semaphore; /* of @narrow */
  BufWaiter late;          /* of a thread that never runs */
} Fixture;

static void
enqueue_thread (Fixture *self)
{
  buf_waiter_init (&self->late, 4 * BUFFER, NULL);
  buf_semaphore_enter (self->semaphore);

  g_mutex_lock (&self->semaphore->tree->mutex);
  buf_wait_queue_set_promises_locked (&self->semaphore->tree->queue, buf_watcher_start ());
  buf_semaphore_revoke_locked (self->semaphore);
  buf_wait_queue_push_locked (&self->semaphore->level, &self->late);
  buf_semaphore_serve_and_unlock (self->semaphore);
}

/* Until the watcher has done what it was told before. */
static void
wait_for_watcher (BufTree *tree)
{
  gboolean unfinished = TRUE;

  while (unfinished)
    {
      g_thread_yield ();
      g_mutex_lock (&tree->mutex);
      unfinished = tree->unfinished;
      g_mutex_unlock (&tree->mutex);
    }
}

/* Leaves no credit in the stripes, which are live. So the next request need not revoke them in
 * order to find out how much there is. */
static void
empty_stripes (BufBudget *budget)
{
  BufSemaphore *semaphore = buf_budget_get_semaphore (budget);

  g_mutex_lock (&semaphore->tree->mutex);
  buf_semaphore_revoke_locked (semaphore);
  buf_semaphore_restore_locked (semaphore);
  g_mutex_unlock (&semaphore->tree->mutex);
}

static void
make_late (Fixture *self)
{
  BufTree *tree = self->semaphore->tree;

  g_mutex_lock (&tree->mutex);
  g_assert_cmpint (self->late.state, ==, BUF_WAITER_WOKEN);
  self->late.patience = 0;
  buf_watch_set_due_locked (&tree->watch, g_get_monotonic_time ());
  g_mutex_unlock (&tree->mutex);
}

static void
withdraw_thread (Fixture *self)
{
  buf_semaphore_withdraw (self->semaphore, &self->late, BUF_OUTCOME_CANCELLED);
  buf_semaphore_leave (self->semaphore);
  buf_waiter_clear (&self->late);
}

static void
set_up (Fixture *self, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  self->root = buf_budget_new (100 * BUFFER);
  budget_stop_clock (self->root);
  self->middle = buf_budget_new_child (self->root, 10 * BUFFER);
  self->narrow = buf_budget_new_child (self->middle, 4 * BUFFER);
  self->semaphore = buf_budget_get_semaphore (self->narrow);
  self->pool = buf_pool_new_with_budget (BUFFER, self->middle, &error);
  g_assert_no_error (error);
  buf_pool_set_max_cached_memory (self->pool, 100 * BUFFER);
}

static void
tear_down (Fixture *self, gconstpointer data)
{
  assert_in_use (self->root, 0);
  g_object_unref (self->pool);
  g_object_unref (self->narrow);
  g_object_unref (self->middle);
  g_object_unref (self->root);
}

static void
test_cached_above (Fixture *self, gconstpointer data)
{
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;
  BufPermit *permit = acquire (self->narrow, 4 * BUFFER);

  enqueue_thread (self);
  buf_budget_acquire_async (self->narrow,
                            4 * BUFFER,
                            G_PRIORITY_DEFAULT,
                            NULL,
                            test_keep_result,
                            &result);
  buf_permit_unref (permit);
  wait_for_watcher (self->semaphore->tree);
  empty_stripes (self->middle);
  buf_pool_allocation_unref (test_allocate (self->pool, 8));
  g_assert_cmpuint (buf_pool_get_cached_memory (self->pool), ==, 8 * BUFFER);

  make_late (self);
  test_iterate_until (&result);
  permit = buf_budget_acquire_finish (self->narrow, result, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (buf_pool_get_cached_memory (self->pool), ==, 0);

  withdraw_thread (self);
  buf_permit_unref (permit);
}

/* It has to come first: no request of this process has waited. */
static void
test_reserve_before_any_wait (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER, 16);
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *urgent;

  buf_pool_set_max_cached_memory (pool, 16 * BUFFER);
  buf_pool_set_reserved_memory (pool, 4 * BUFFER);
  while (buf_pool_get_cached_memory (pool) == 0)
    buf_pool_allocation_unref (test_allocate (pool, 4));

  urgent = buf_pool_allocate_full (pool, 12, 12, 0, G_PRIORITY_HIGH, NULL, &error);
  g_assert_no_error (error);
  while (buf_pool_get_cached_memory (pool) > 0)
    g_thread_yield ();
  buf_pool_allocation_unref (urgent);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_summary ("What only the watcher does");
  g_test_add_func ("/tree/late/reserve-before-any-wait", test_reserve_before_any_wait);
  g_test_add ("/tree/late/cached-above", Fixture, NULL, set_up, test_cached_above, tear_down);
  return g_test_run ();
}
