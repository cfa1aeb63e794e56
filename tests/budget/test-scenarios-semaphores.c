/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Scenarios from the tests of weighted semaphores, those of Go and tokio, for budgets. A tree of
 * budgets has the same rules as a single one, so the requests come from different children. Each
 * case is one scenario. */

#include "budget/budget-testing.h"

#define N_THREADS 8
#define N_LOOPS   400

/* As a permit of the library is overtaken at most. */
#define BOUND 512

typedef struct
{
  BufBudget *root;
  BufBudget *children[2];
} Fixture;

static void
set_up (Fixture *self, gconstpointer data)
{
  self->root = buf_budget_new (100);
  budget_stop_clock (self->root);
  for (guint i = 0; i < 2; i++)
    self->children[i] = buf_budget_new_child (self->root, 100);
}

static void
tear_down (Fixture *self, gconstpointer data)
{
  assert_in_use (self->root, 0);
  g_assert_cmpuint (buf_budget_get_waiting (self->root), ==, 0);
  for (guint i = 0; i < 2; i++)
    g_object_unref (self->children[i]);
  g_object_unref (self->root);
}

static void
start (BufBudget *budget, gsize n_bytes, GCancellable *cancellable, GAsyncResult **result)
{
  gsize n_waiting = buf_budget_get_waiting (budget);

  *result = NULL;
  buf_budget_acquire_async (budget,
                            n_bytes,
                            G_PRIORITY_DEFAULT,
                            cancellable,
                            test_keep_result,
                            result);
  g_assert_cmpuint (buf_budget_get_waiting (budget), ==, n_waiting + 1);
}

static BufPermit *
end_granted (BufBudget *budget, GAsyncResult **result)
{
  g_autoptr (GError) error = NULL;
  BufPermit *permit;

  test_iterate_until (result);
  permit = buf_budget_acquire_finish (budget, *result, &error);
  g_assert_no_error (error);
  g_clear_object (result);
  return permit;
}

static void
end_cancelled (BufBudget *budget, GAsyncResult **result)
{
  g_autoptr (GError) error = NULL;

  test_iterate_until (result);
  g_assert_null (buf_budget_acquire_finish (budget, *result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_object (result);
}

static gboolean
try_once (BufBudget *budget, gsize n_bytes)
{
  g_autoptr (BufPermit) permit = buf_budget_try_acquire (budget, n_bytes, NULL);

  return permit != NULL;
}

static void
test_cancelled_head (Fixture *self, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  BufPermit *most = acquire (self->root, 90);
  GAsyncResult *head, *small[2];

  g_test_summary ("The head of the queue is owed its bytes, and is cancelled: those behind it that "
                  "fit are granted");

  start (self->children[0], 50, cancellable, &head);
  for (guint i = 0; i <= BOUND; i++)
    try_once (self->children[1], 1);
  g_assert_false (try_once (self->children[1], 1));
  start (self->children[1], 5, NULL, &small[0]);
  start (self->children[0], 5, NULL, &small[1]);

  g_cancellable_cancel (cancellable);
  end_cancelled (self->children[0], &head);
  for (guint i = 0; i < 2; i++)
    buf_permit_unref (end_granted (self->children[!i], &small[i]));
  buf_permit_unref (most);
}

static void
test_cancelled_while_it_is_granted (Fixture *self, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  BufPermit *all = acquire (self->root, 100);
  GAsyncResult *first, *second;

  g_test_summary (
      "A request was granted, and is cancelled before it hears of it: the next one gets "
      "the bytes");

  start (self->children[0], 60, cancellable, &first);
  start (self->children[1], 60, NULL, &second);
  buf_permit_unref (all);
  assert_in_use (self->root, 60);
  g_cancellable_cancel (cancellable);
  end_cancelled (self->children[0], &first);
  buf_permit_unref (end_granted (self->children[1], &second));
}

static void
test_dropped_before_it_is_fetched (Fixture *self, gconstpointer data)
{
  BufPermit *all = acquire (self->root, 100);
  GAsyncResult *first, *second;

  g_test_summary ("Nobody fetches a permit that was granted: the next request gets its bytes");

  start (self->children[0], 100, NULL, &first);
  start (self->children[1], 100, NULL, &second);
  buf_permit_unref (all);
  test_iterate_until (&first);
  g_assert_null (second);
  g_clear_object (&first);
  buf_permit_unref (end_granted (self->children[1], &second));
}

static void
test_already_cancelled (Fixture *self, gconstpointer data)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();

  g_test_summary ("A request that is cancelled beforehand fails although everything is free");

  g_cancellable_cancel (cancellable);
  for (guint i = 0; i < 50; i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (buf_budget_acquire (self->children[i % 2], 1, cancellable, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      assert_in_use (self->root, 0);
    }
}

static void
test_larger_than_the_semaphore (Fixture *self, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  BufPermit *half = acquire (self->root, 50);
  GAsyncResult *waiting;

  g_test_summary ("A request for more than there can be does not stand in the way of others");

  start (self->children[0], 60, NULL, &waiting);
  g_assert_null (buf_budget_acquire (self->children[1], 101, NULL, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE);
  g_assert_cmpstr (error->message,
                   ==,
                   "Cannot acquire 101 bytes: the budget never has more than 100 bytes");
  buf_permit_unref (acquire (self->children[1], 50));
  buf_permit_unref (half);
  buf_permit_unref (end_granted (self->children[0], &waiting));
}

static void
test_many_at_once_are_bounded (Fixture *self, gconstpointer data)
{
  BufPermit *held = acquire (self->root, 60);
  GAsyncResult *large;
  guint n = 0;

  g_test_summary ("Small requests pass one for many permits, but only so often");

  start (self->children[0], 50, NULL, &large);
  while (try_once (self->children[1], 10))
    g_assert_cmpuint (++n, <=, BOUND);
  g_assert_cmpuint (n, >, 0);
  g_assert_false (try_once (self->root, 1));
  buf_permit_unref (held);
  buf_permit_unref (end_granted (self->children[0], &large));
  buf_permit_unref (acquire (self->children[1], 10));
}

typedef struct
{
  BufBudget *budget;
  gint *in_use; /* atomic */
  gint largest;
} Hammer;

static gpointer
hammer (gpointer data)
{
  Hammer *self = data;

  for (gint i = 0; i < (gint) test_scale (N_LOOPS); i++)
    {
      gint n_bytes = 1 + i % self->largest;
      BufPermit *permit = buf_budget_acquire (self->budget, (gsize) n_bytes, NULL, NULL);

      g_assert_cmpint (g_atomic_int_add (self->in_use, n_bytes) + n_bytes, <=, 100);
      if (i % 3 == 0)
        g_thread_yield ();
      g_atomic_int_add (self->in_use, -n_bytes);
      buf_permit_unref (permit);
    }
  return NULL;
}

static void
test_hammer (Fixture *self, gconstpointer data)
{
  GThread *threads[N_THREADS];
  Hammer hammers[N_THREADS];
  gint in_use = 0;
  BufPermit *all;

  g_test_summary (
      "Threads acquire and release different amounts; a request for everything gets its "
      "turn among them, and all is there at the end");

  for (guint i = 0; i < N_THREADS; i++)
    {
      hammers[i] = (Hammer){ self->children[i % 2], &in_use, 1 + (gint) i * 12 };
      threads[i] = g_thread_new ("hammer", hammer, &hammers[i]);
    }
  for (guint i = 0; i < test_scale (20); i++)
    {
      all = buf_budget_acquire (self->root, 100, NULL, NULL);
      g_assert_cmpint (g_atomic_int_get (&in_use), ==, 0);
      buf_permit_unref (all);
    }
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
}

static void
test_forget_permits (Fixture *self, gconstpointer data)
{
  BufPermit *half = acquire (self->children[0], 50);
  GAsyncResult *waiting;

  g_test_summary ("Permits that are forgotten while a request waits are no longer there for it");

  start (self->children[1], 60, NULL, &waiting);
  buf_budget_set_max_memory (self->root, 70);
  g_assert_cmpuint (buf_budget_get_available_memory (self->root), ==, 20);
  g_assert_true (buf_permit_shrink (half, 20, NULL));
  g_assert_null (waiting);
  assert_in_use (self->root, 20);
  buf_permit_unref (half);
  buf_permit_unref (end_granted (self->children[1], &waiting));
  g_assert_false (try_once (self->root, 71));
}

static void
test_add_permits (Fixture *self, gconstpointer data)
{
  GAsyncResult *waiting[4];
  BufPermit *permits[4];

  g_test_summary ("Permits are added a few at a time: waiting requests are granted in their order");

  buf_budget_set_max_memory (self->root, 40);
  permits[0] = acquire (self->root, 40);
  for (guint i = 1; i < 4; i++)
    start (self->children[i % 2], 20, NULL, &waiting[i]);
  for (guint i = 1; i < 4; i++)
    {
      buf_budget_set_max_memory (self->root, 40 + 20 * i - 1);
      for (guint j = i; j < 4; j++)
        g_assert_null (waiting[j]);
      buf_budget_set_max_memory (self->root, 40 + 20 * i);
      permits[i] = end_granted (self->children[i % 2], &waiting[i]);
      assert_in_use (self->root, 40 + 20 * i);
    }
  for (guint i = 0; i < 4; i++)
    buf_permit_unref (permits[i]);
}

static void
test_split_permit (Fixture *self, gconstpointer data)
{
  BufPermit *permit = acquire (self->children[0], 100);
  GAsyncResult *waiting[10];
  BufPermit *permits[10];

  g_test_summary ("A permit is returned piece by piece, and each piece is granted to the next");

  for (guint i = 0; i < 10; i++)
    start (self->children[i % 2], 10, NULL, &waiting[i]);
  for (guint i = 0; i < 10; i++)
    {
      g_assert_true (buf_permit_shrink (permit, 100 - 10 * (i + 1), NULL));
      permits[i] = end_granted (self->children[i % 2], &waiting[i]);
      assert_in_use (self->root, 100);
    }
  buf_permit_release (permit);
  buf_permit_release (permit);
  buf_permit_unref (permit);
  assert_in_use (self->root, 100);
  for (guint i = 0; i < 10; i++)
    buf_permit_unref (permits[i]);
}

static void
test_close_wakes_all (Fixture *self, gconstpointer data)
{
  BufPool *pool = buf_pool_new_with_budget (10, self->children[0], NULL);
  BufPermit *all = acquire (self->root, 100);
  TestRequester *requesters[N_THREADS];

  g_test_summary ("A close wakes up all threads that wait, and whoever comes later is refused");

  for (guint i = 0; i < N_THREADS; i++)
    requesters[i] = test_requester_start (pool, 1 + i);
  test_wait_for_waiting (pool, N_THREADS);
  buf_pool_close (pool);
  for (guint i = 0; i < N_THREADS; i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (test_requester_end (requesters[i], &error));
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
    }
  buf_permit_unref (all);
  for (guint i = 0; i < 2; i++)
    {
      g_autoptr (GError) error = NULL;

      g_assert_null (i == 0 ? buf_pool_try_allocate (pool, 1, &error)
                            : buf_pool_allocate (pool, 1, NULL, &error));
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
    }
  g_object_unref (pool);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

#define ADD(name, function)                                                                        \
  g_test_add ("/scenarios/semaphores/" name, Fixture, NULL, set_up, function, tear_down)
  ADD ("cancelled-head", test_cancelled_head);
  ADD ("cancelled-while-it-is-granted", test_cancelled_while_it_is_granted);
  ADD ("dropped-before-it-is-fetched", test_dropped_before_it_is_fetched);
  ADD ("already-cancelled", test_already_cancelled);
  ADD ("larger-than-the-semaphore", test_larger_than_the_semaphore);
  ADD ("many-at-once-are-bounded", test_many_at_once_are_bounded);
  ADD ("hammer", test_hammer);
  ADD ("forget-permits", test_forget_permits);
  ADD ("add-permits", test_add_permits);
  ADD ("split-permit", test_split_permit);
  ADD ("close-wakes-all", test_close_wakes_all);
  return g_test_run ();
}
