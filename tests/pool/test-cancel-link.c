/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Cancellables: no cancellation is missed, and no function is called that waits for their
 * handlers. */

#include "testing.h"

/* The linker redirects the calls of the library to these functions. */
gulong __wrap_g_cancellable_connect (GCancellable *cancellable,
                                     GCallback callback,
                                     gpointer data,
                                     GDestroyNotify destroy);
void __wrap_g_cancellable_disconnect (GCancellable *cancellable, gulong handler);
GSource *__wrap_g_cancellable_source_new (GCancellable *cancellable);
gulong __real_g_signal_connect_data (gpointer instance,
                                     const gchar *signal,
                                     GCallback callback,
                                     gpointer data,
                                     GClosureNotify destroy,
                                     GConnectFlags flags);
gulong __wrap_g_signal_connect_data (gpointer instance,
                                     const gchar *signal,
                                     GCallback callback,
                                     gpointer data,
                                     GClosureNotify destroy,
                                     GConnectFlags flags);

gulong
__wrap_g_cancellable_connect (GCancellable *cancellable,
                              GCallback callback,
                              gpointer data,
                              GDestroyNotify destroy)
{
  g_error ("g_cancellable_connect() can wait for a handler");
}

void
__wrap_g_cancellable_disconnect (GCancellable *cancellable, gulong handler)
{
  g_error ("g_cancellable_disconnect() can wait for a handler");
}

GSource *
__wrap_g_cancellable_source_new (GCancellable *cancellable)
{
  g_error ("g_cancellable_source_new() slows down the main loop with each waiting request");
}

static gpointer cancelled_before;
static gpointer cancelled_after;

/* A handler that is late: it has begun, but does nothing until the test continues it. */
static gpointer delayed;
static GCallback delayed_callback;
static gint n_begun; /* atomic */
static gint go_on;   /* atomic */

static void
call_late (GCancellable *cancellable, gpointer data)
{
  void (*callback) (GCancellable * cancellable, gpointer data);

  g_atomic_int_inc (&n_begun);
  test_wait_until (g_atomic_int_get (&go_on));
  callback = (void (*) (GCancellable *, gpointer)) delayed_callback;
  callback (cancellable, data);
}

gulong
__wrap_g_signal_connect_data (gpointer instance,
                              const gchar *signal,
                              GCallback callback,
                              gpointer data,
                              GClosureNotify destroy,
                              GConnectFlags flags)
{
  gulong handler;

  if (instance == cancelled_before)
    g_cancellable_cancel (instance);
  if (instance == delayed)
    {
      delayed_callback = callback;
      callback = G_CALLBACK (call_late);
    }
  handler = __real_g_signal_connect_data (instance, signal, callback, data, destroy, flags);
  if (instance == cancelled_after)
    g_cancellable_cancel (instance);
  return handler;
}

static void
assert_cancelled_in_thread (BufPool *pool, GCancellable *cancellable)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (buf_pool_allocate (pool, 1, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void
assert_cancelled_in_task (BufPool *pool, GCancellable *cancellable)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GAsyncResult) result = NULL;

  buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, cancellable, test_keep_result, &result);
  while (result == NULL)
    g_main_context_iteration (NULL, TRUE);
  g_assert_null (buf_pool_allocate_finish (pool, result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void
test_while_connecting (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 1);
  BufPoolAllocation *all = test_allocate (pool, 1);

  g_test_summary ("A request is cancelled after it has checked the cancellable, but before or "
                  "right after the handler is connected: it is withdrawn");

  for (guint i = 0; i < 4; i++)
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();

      cancelled_before = i % 2 == 0 ? cancellable : NULL;
      cancelled_after = i % 2 == 1 ? cancellable : NULL;
      if (i < 2)
        assert_cancelled_in_thread (pool, cancellable);
      else
        assert_cancelled_in_task (pool, cancellable);
      g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 0);
    }
  cancelled_before = NULL;
  cancelled_after = NULL;
  buf_pool_allocation_unref (all);
}

static void
test_withdraws_at_once (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 1);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  BufPoolAllocation *all = test_allocate (pool, 1);
  GAsyncResult *results[100] = { NULL };

  g_test_summary (
      "Tasks that share a cancellable leave the queue when it is cancelled, before their main loop "
      "runs");

  for (guint i = 0; i < G_N_ELEMENTS (results); i++)
    buf_pool_allocate_async (pool,
                             1,
                             G_PRIORITY_DEFAULT,
                             cancellable,
                             test_keep_result,
                             &results[i]);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, G_N_ELEMENTS (results));
  g_cancellable_cancel (cancellable);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (results); i++)
    {
      while (results[i] == NULL)
        g_main_context_iteration (NULL, TRUE);
      g_assert_null (buf_pool_allocate_finish (pool, results[i], NULL));
      g_object_unref (results[i]);
    }
  buf_pool_allocation_unref (all);
}

static gpointer
cancel (gpointer cancellable)
{
  g_cancellable_cancel (cancellable);
  return NULL;
}

static void
test_late_handler (void)
{
  g_test_summary ("A late handler accesses neither the request nor the pool, which are gone");

  for (guint is_task = 0; is_task < 2; is_task++)
    {
      BufPool *pool = test_pool_new (16, 1);
      BufPoolAllocation *all = test_allocate (pool, 1);
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      TestRequester *requester = NULL;
      GAsyncResult *result = NULL;
      GThread *thread;

      g_atomic_int_set (&n_begun, 0);
      g_atomic_int_set (&go_on, FALSE);
      delayed = cancellable;
      if (is_task)
        buf_pool_allocate_async (pool,
                                 1,
                                 G_PRIORITY_DEFAULT,
                                 cancellable,
                                 test_keep_result,
                                 &result);
      else
        requester = test_requester_start_full (pool, 1, -1, cancellable);
      test_wait_for_waiting (pool, 1);
      thread = g_thread_new ("cancel", cancel, cancellable);
      test_wait_until (g_atomic_int_get (&n_begun) == 1);

      buf_pool_allocation_unref (all);
      while (is_task && result == NULL)
        g_main_context_iteration (NULL, TRUE);
      if (is_task)
        g_object_unref (result);
      else
        g_assert_null (test_requester_end (requester, NULL));
      while (g_main_context_iteration (NULL, FALSE))
        continue;
      g_object_unref (pool);
      test_wait_for_the_end ();
      g_atomic_int_set (&go_on, TRUE);
      g_thread_join (thread);
      delayed = NULL;
    }
}

/* The requests of a thread that has an allocation, and therefore needs no reference on the pool. */
typedef struct
{
  gint round;   /* atomic; the round that may begin; negative: none */
  gint n_begun; /* atomic */
  gint n_ended; /* atomic */
  BufPool *pool;
  BufPoolAllocation *own;
  BufPoolAllocation *other;
  GCancellable *cancellable;
} Race;

static void
spin_until (gint *value, gint expected)
{
  for (guint i = 1; g_atomic_int_get (value) < expected; i++)
    if (i % 1000 == 0)
      g_thread_yield ();
}

static gpointer
request_in_each_round (gpointer data)
{
  Race *race = data;

  for (gint round = 1; round <= (gint) test_scale (20000); round++)
    {
      BufPoolAllocation *allocation;

      spin_until (&race->round, round);
      g_atomic_int_set (&race->n_begun, round);
      allocation = buf_pool_allocate (race->pool, 1, race->cancellable, NULL);
      g_clear_pointer (&allocation, buf_pool_allocation_unref);
      buf_pool_allocation_unref (race->own);
      g_atomic_int_set (&race->n_ended, round);
    }
  return NULL;
}

static void
drop_pool (GCancellable *cancellable, gpointer user_data)
{
  Race *race = user_data;

  buf_pool_allocation_unref (race->other);
  g_object_unref (race->pool);
}

static void
test_handler_drops_the_pool (void)
{
  Race race = { 0 };
  GThread *thread = g_thread_new ("request", request_in_each_round, &race);

  g_test_summary (
      "A handler drops the last reference on the pool, and waits for the allocation of a thread "
      "that begins a request with the same cancellable at that moment");

  for (gint round = 1; round <= (gint) test_scale (20000); round++)
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();

      race.pool = test_pool_new (16, 2);
      race.own = test_allocate (race.pool, 1);
      race.other = test_allocate (race.pool, 1);
      race.cancellable = cancellable;
      g_signal_connect (cancellable, "cancelled", G_CALLBACK (drop_pool), &race);
      g_atomic_int_set (&race.round, round);
      spin_until (&race.n_begun, round);
      for (gint i = 0; i < round % 400; i++)
        g_atomic_int_get (&race.round);
      g_cancellable_cancel (cancellable);
      spin_until (&race.n_ended, round);
    }
  g_thread_join (thread);
  test_wait_for_the_end ();
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/cancel-link/while-connecting", test_while_connecting);
  g_test_add_func ("/cancel-link/withdraws-at-once", test_withdraws_at_once);
  g_test_add_func ("/cancel-link/late-handler", test_late_handler);
  g_test_add_func ("/cancel-link/handler-drops-the-pool", test_handler_drops_the_pool);
  return g_test_run ();
}
