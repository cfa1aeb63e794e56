/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Asynchronous requests: when and where they complete, and that nothing is lost. */

#include <string.h>

#include "testing.h"

/* An asynchronous request, and its result. */
typedef struct
{
  BufPool *pool;
  BufPoolAllocation *allocation;
  GError *error;
  GThread *thread;
  gint n_done; /* atomic */
  gint order;
  gboolean drained;
} Request;

static gint last_order; /* atomic */

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Request *request = user_data;

  g_assert_true (BUF_IS_POOL (pool));
  request->allocation = buf_pool_allocate_finish (BUF_POOL (pool), result, &request->error);
  request->thread = g_thread_self ();
  request->order = g_atomic_int_add (&last_order, 1);
  g_atomic_int_inc (&request->n_done);
}

static void
start (Request *request, BufPool *pool, gsize n_buffers, GCancellable *cancellable)
{
  *request = (Request){ .pool = pool };
  buf_pool_allocate_async (pool, n_buffers, G_PRIORITY_DEFAULT, cancellable, on_allocated, request);
}

static gboolean
is_done (Request *request)
{
  return g_atomic_int_get (&request->n_done) > 0;
}

static void
iterate_until_done (Request *request)
{
  while (!is_done (request))
    g_main_context_iteration (g_main_context_get_thread_default (), TRUE);
}

/* Checks that no further event happens. */
static void
iterate_all (void)
{
  while (g_main_context_iteration (g_main_context_get_thread_default (), FALSE))
    continue;
}

static void
assert_failed (Request *request, GQuark domain, gint code)
{
  g_assert_cmpint (request->n_done, ==, 1);
  g_assert_null (request->allocation);
  g_assert_error (request->error, domain, code);
  g_clear_error (&request->error);
}

static void
drop_served (Request *request)
{
  g_assert_cmpint (request->n_done, ==, 1);
  g_assert_no_error (request->error);
  g_assert_nonnull (request->allocation);
  g_clear_pointer (&request->allocation, buf_pool_allocation_unref);
}

static void
test_granted_at_once (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  Request request;

  g_test_summary (
      "If bytes are available, they are taken immediately, and the callback runs in the next "
      "iteration");

  start (&request, pool, 10, NULL);
  test_assert_figures (pool, 10, 1);
  g_assert_false (is_done (&request));
  g_main_context_iteration (NULL, FALSE);
  g_assert_true (is_done (&request));
  g_assert_true (request.thread == g_thread_self ());
  drop_served (&request);
  test_assert_figures (pool, 0, 0);
}

static void
test_granted_later (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *all = test_allocate (pool, 10);
  Request request;

  g_test_summary ("If they are not available, the release grants them, and the callback runs after "
                  "it");

  start (&request, pool, 4, NULL);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
  iterate_all ();
  g_assert_false (is_done (&request));
  buf_pool_allocation_unref (all);
  g_assert_false (is_done (&request));
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 0);
  test_assert_figures (pool, 4, 1);
  iterate_until_done (&request);
  drop_served (&request);
  test_assert_figures (pool, 0, 0);
}

static void
test_errors (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (BufPool) bad = g_object_new (BUF_TYPE_POOL, "buffer-size", (guint64) 0, NULL);
  g_autoptr (GCancellable) cancelled = g_cancellable_new ();
  Request request;
  const struct
  {
    BufPool *pool;
    gsize n_buffers;
    GCancellable *cancellable;
    gboolean closed;
    GQuark domain;
    gint code;
  } cases[] = {
    { bad, 0, cancelled, FALSE, G_IO_ERROR, G_IO_ERROR_CANCELLED },
    { bad, 0, NULL, FALSE, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_CONFIG },
    { pool, 0, NULL, FALSE, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_COUNT },
    { pool, 65536, NULL, FALSE, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_COUNT },
    { pool, 11, NULL, FALSE, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE },
    { pool, 11, NULL, TRUE, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE },
    { pool, 10, NULL, TRUE, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED },
  };

  g_test_summary ("The callback reports every error, in the order of precedence");

  g_cancellable_cancel (cancelled);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      if (cases[i].closed)
        buf_pool_close (pool);
      start (&request, cases[i].pool, cases[i].n_buffers, cases[i].cancellable);
      g_assert_false (is_done (&request));
      iterate_until_done (&request);
      assert_failed (&request, cases[i].domain, cases[i].code);
    }
}

static void
test_priority (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *all = test_allocate (pool, 10);
  const int priorities[] = { G_PRIORITY_LOW, G_PRIORITY_DEFAULT, G_PRIORITY_HIGH };
  Request requests[6];

  g_test_summary ("Callbacks run by priority, whether the request was granted immediately or "
                  "later");

  for (guint round = 0; round < 2; round++)
    {
      for (guint i = 0; i < 3; i++)
        {
          requests[i] = (Request){ .pool = pool };
          if (round == 1)
            g_clear_pointer (&all, buf_pool_allocation_unref);
          buf_pool_allocate_async (pool, 1, priorities[i], NULL, on_allocated, &requests[i]);
        }
      g_clear_pointer (&all, buf_pool_allocation_unref);
      for (guint i = 0; i < 3; i++)
        iterate_until_done (&requests[i]);
      g_assert_cmpint (requests[2].order, <, requests[1].order);
      g_assert_cmpint (requests[1].order, <, requests[0].order);
      for (guint i = 0; i < 3; i++)
        drop_served (&requests[i]);
    }
}

static void
test_one_queue (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *all = test_allocate (pool, 10);
  TestRequester *first, *third;
  Request second, fourth;

  g_test_summary ("Threads and tasks wait in one queue");

  first = test_requester_start (pool, 6);
  test_wait_for_waiting (pool, 1);
  start (&second, pool, 6, NULL);
  third = test_requester_start (pool, 6);
  test_wait_for_waiting (pool, 3);
  start (&fourth, pool, 6, NULL);

  buf_pool_allocation_unref (all);
  test_wait_until (test_requester_is_done (first));
  iterate_all ();
  g_assert_false (is_done (&second) || test_requester_is_done (third));
  test_requester_end_served (first);
  iterate_until_done (&second);
  g_assert_false (test_requester_is_done (third) || is_done (&fourth));
  drop_served (&second);
  test_wait_until (test_requester_is_done (third));
  iterate_all ();
  g_assert_false (is_done (&fourth));
  test_requester_end_served (third);
  iterate_until_done (&fourth);
  drop_served (&fourth);
}

static void
test_cancel_before_grant (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  BufPoolAllocation *all = test_allocate (pool, 10);
  Request cancelled, other;

  g_test_summary ("A request that is cancelled while it waits leaves the queue, and others "
                  "continue to wait");

  start (&cancelled, pool, 10, cancellable);
  start (&other, pool, 10, NULL);
  g_cancellable_cancel (cancellable);
  g_assert_false (is_done (&cancelled));
  iterate_until_done (&cancelled);
  assert_failed (&cancelled, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
  buf_pool_allocation_unref (all);
  iterate_until_done (&other);
  drop_served (&other);
}

static gpointer
drop (gpointer data)
{
  buf_pool_allocation_unref (data);
  return NULL;
}

static void
test_cancel_after_grant (void)
{
  g_test_summary (
      "A request that is cancelled between the grant, immediate or from another thread, and its "
      "callback fails, its bytes return, and the next request is served");

  for (guint at_once = 0; at_once < 2; at_once++)
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 10);
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      BufPoolAllocation *all = at_once ? NULL : test_allocate (pool, 10);
      Request cancelled, next;

      start (&cancelled, pool, 10, cancellable);
      start (&next, pool, 10, NULL);
      if (!at_once)
        g_thread_join (g_thread_new ("drop", drop, all));
      test_assert_figures (pool, 10, 1);
      g_cancellable_cancel (cancellable);
      iterate_until_done (&cancelled);
      assert_failed (&cancelled, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      iterate_until_done (&next);
      drop_served (&next);
      test_assert_figures (pool, 0, 0);
    }
}

static void
test_close (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *all = test_allocate (pool, 10);
  Request requests[5];

  g_test_summary ("Closing the pool fails waiting requests, in their context and not inside the "
                  "call");

  for (guint i = 0; i < 5; i++)
    start (&requests[i], pool, 1 + i, NULL);
  buf_pool_close (pool);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 0);
  for (guint i = 0; i < 5; i++)
    g_assert_false (is_done (&requests[i]));
  for (guint i = 0; i < 5; i++)
    {
      iterate_until_done (&requests[i]);
      assert_failed (&requests[i], BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
    }
  buf_pool_allocation_unref (all);
}

typedef struct
{
  BufPool *pool;
  BufPoolAllocation *allocation;
} ClosedPool;

static gpointer
drop_when_closed (gpointer data)
{
  ClosedPool *closed = data;

  test_wait_until (buf_pool_is_closed (closed->pool));
  buf_pool_allocation_unref (closed->allocation);
  return NULL;
}

static void
test_run_dispose (void)
{
  BufPool *pool = test_pool_new (16, 10);
  ClosedPool closed = { pool, test_allocate (pool, 10) };
  GThread *thread;
  Request request;

  g_test_summary ("Dispose fails waiting requests, too");

  start (&request, pool, 1, NULL);
  thread = g_thread_new ("drop", drop_when_closed, &closed);
  g_object_run_dispose (G_OBJECT (pool));
  g_thread_join (thread);
  iterate_until_done (&request);
  assert_failed (&request, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
  iterate_all ();
  g_object_unref (pool);
}

static void
test_pending_holds_pool (void)
{
  BufPool *pool = test_pool_new (16, 10);
  BufPool *weak = pool;
  BufPoolAllocation *all = test_allocate (pool, 10);
  Request request;

  g_test_summary ("A waiting request holds a reference on its pool, and drops it when it is done");

  g_object_add_weak_pointer (G_OBJECT (pool), (gpointer *) &weak);
  start (&request, pool, 10, NULL);
  g_object_unref (pool);
  g_assert_nonnull (weak);
  buf_pool_allocation_unref (all);

  /* The allocation holds none, so another request holds the pool until the allocation is
   * dropped. */
  g_object_ref (weak);
  iterate_until_done (&request);
  drop_served (&request);
  iterate_all ();
  g_object_unref (weak);
  g_assert_null (weak);
}

static void
test_unfetched (void)
{
  g_test_summary (
      "A result that is never fetched frees everything, even if it holds the last reference on the "
      "pool, and even if it was cancelled late");

  for (guint how = 0; how < 4; how++)
    {
      gboolean waits = how % 2 == 1;
      gboolean cancelled = how / 2 == 1;
      BufPool *pool = test_pool_new (16, 10);
      BufPool *weak = pool;
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      BufPoolAllocation *all = waits ? test_allocate (pool, 10) : NULL;

      g_object_add_weak_pointer (G_OBJECT (pool), (gpointer *) &weak);
      buf_pool_allocate_async (pool, 10, G_PRIORITY_DEFAULT, cancellable, NULL, NULL);
      g_object_unref (pool);
      g_clear_pointer (&all, buf_pool_allocation_unref);
      if (cancelled)
        g_cancellable_cancel (cancellable);
      g_assert_nonnull (weak);
      iterate_all ();
      g_assert_null (weak);
    }
}

static GMutex user_lock;

static void
on_allocated_with_lock (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  g_mutex_lock (&user_lock);
  on_allocated (pool, result, user_data);
  g_mutex_unlock (&user_lock);
}

static gboolean
drop_under_lock (gpointer data)
{
  g_mutex_lock (&user_lock);
  buf_pool_allocation_unref (data);
  g_mutex_unlock (&user_lock);
  return G_SOURCE_REMOVE;
}

static void
test_user_lock (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *all = test_allocate (pool, 10);
  Request request = { .pool = pool };

  g_test_summary ("The callback may take a lock that the releaser, in the same context, holds");

  buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, on_allocated_with_lock, &request);
  g_idle_add (drop_under_lock, all);
  iterate_until_done (&request);
  drop_served (&request);
}

#define N_PENDING 200000

static guint n_served;

static void
on_served_and_dropped (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (BufPoolAllocation) allocation =
      buf_pool_allocate_finish (BUF_POOL (pool), result, NULL);

  g_assert_nonnull (allocation);
  n_served++;
}

static gboolean
drop_from_loop (gpointer data)
{
  buf_pool_allocation_unref (data);
  return G_SOURCE_REMOVE;
}

static void
test_many_pending (void)
{
  guint n = test_scale (N_PENDING);

  g_test_summary (
      "200,000 pending requests, which one release inside the context serves: all immediately, or "
      "one after the other, each serving the next");

  for (guint each = 0; each < 2; each++)
    {
      g_autoptr (BufPool) pool = test_pool_new (1, each ? 1000 : n);
      BufPoolAllocation *all[200];
      guint n_all = 0;

      for (gsize left = buf_pool_get_available_memory (pool); left > 0; n_all++)
        {
          all[n_all] = test_allocate (pool, MIN (left, BUF_POOL_MAX_BUFFERS));
          left = buf_pool_get_available_memory (pool);
        }
      for (guint i = 0; i < n; i++)
        buf_pool_allocate_async (pool,
                                 each ? 1000 : 1,
                                 G_PRIORITY_DEFAULT,
                                 NULL,
                                 on_served_and_dropped,
                                 NULL);
      g_assert_cmpuint (buf_pool_get_waiting (pool), ==, n);

      n_served = 0;
      for (guint i = 0; i < n_all; i++)
        g_idle_add (drop_from_loop, all[i]);
      while (n_served < n)
        g_main_context_iteration (NULL, TRUE);
      iterate_all ();
      test_assert_figures (pool, 0, 0);
    }
}

static void
drop_when_cancelled (GCancellable *cancellable, gpointer user_data)
{
  buf_pool_allocation_unref (user_data);
}

static gpointer
cancel (gpointer data)
{
  g_cancellable_cancel (data);
  return NULL;
}

static void
test_drop_in_cancelled_handler (void)
{
  g_test_summary (
      "A handler of a cancellable that several requests share drops the allocation they wait for: "
      "no deadlock, no matter which thread cancels");

  for (guint round = 0; round < test_scale (200); round++)
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 10);
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      BufPoolAllocation *all = test_allocate (pool, 10);
      TestRequester *thread;
      Request requests[3];

      g_signal_connect (cancellable, "cancelled", G_CALLBACK (drop_when_cancelled), all);
      thread = test_requester_start_full (pool, 1, -1, cancellable);
      for (guint i = 0; i < 3; i++)
        start (&requests[i], pool, 1 + i, cancellable);
      test_wait_for_waiting (pool, 4);

      if (round % 2 == 0)
        g_cancellable_cancel (cancellable);
      else
        g_thread_join (g_thread_new ("cancel", cancel, cancellable));
      for (guint i = 0; i < 3; i++)
        {
          iterate_until_done (&requests[i]);
          assert_failed (&requests[i], G_IO_ERROR, G_IO_ERROR_CANCELLED);
        }
      g_assert_null (test_requester_end (thread, NULL));
      test_assert_figures (pool, 0, 0);
    }
}

static guint
attach_probe (GMainContext *context)
{
  g_autoptr (GSource) source = g_timeout_source_new_seconds (G_MAXINT);

  return g_source_attach (source, context);
}

/* Sources can only be found by their numbers, which are consecutive. */
static guint
count_sources (GMainContext *context, guint probe)
{
  guint n = 0;

  for (guint id = probe + 1; id < probe + 10000; id++)
    n += g_main_context_find_source_by_id (context, id) != NULL;
  return n;
}

static void
cancel_slowly (GCancellable *cancellable, gpointer user_data)
{
  test_wait_until (g_atomic_int_get ((gint *) user_data));
}

static void
test_nothing_is_left_behind (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *all = test_allocate (pool, 10);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GMainContext) context = g_main_context_new ();
  guint probe = attach_probe (context);
  GThread *thread;
  Request requests[100];
  gint go_on = FALSE;

  g_test_summary (
      "A waiting request has no source attached; and after its end none remains, even while the "
      "shared cancellable is still notifying others");

  g_main_context_push_thread_default (context);
  for (guint i = 0; i < G_N_ELEMENTS (requests); i++)
    start (&requests[i], pool, 10, cancellable);
  g_signal_connect (cancellable, "cancelled", G_CALLBACK (cancel_slowly), &go_on);
  g_assert_cmpuint (count_sources (context, probe), ==, 0);
  thread = g_thread_new ("cancel", cancel, cancellable);
  for (guint i = 0; i < G_N_ELEMENTS (requests); i++)
    {
      iterate_until_done (&requests[i]);
      assert_failed (&requests[i], G_IO_ERROR, G_IO_ERROR_CANCELLED);
    }
  g_atomic_int_set (&go_on, TRUE);
  g_thread_join (thread);
  iterate_all ();
  g_assert_cmpuint (count_sources (context, probe), ==, 0);
  g_main_context_pop_thread_default (context);
  buf_pool_allocation_unref (all);
}

static void
test_maximum (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *all = test_allocate (pool, 10);
  Request small, large;

  g_test_summary ("Changes of the maximum affect waiting requests");

  start (&large, pool, 10, NULL);
  start (&small, pool, 5, NULL);
  buf_pool_set_max_memory (pool, 16 * 9);
  buf_pool_set_max_memory (pool, 16 * 10);
  iterate_until_done (&large);
  g_assert_nonnull (strstr (large.error->message, "than 144 bytes"));
  assert_failed (&large, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE);
  g_assert_false (is_done (&small));
  buf_pool_set_max_memory (pool, 16 * 15);
  iterate_until_done (&small);
  drop_served (&small);
  buf_pool_allocation_unref (all);
}

static void
on_drained (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Request *request = user_data;

  request->drained = buf_pool_drain_finish (BUF_POOL (pool), result, &request->error);
  g_atomic_int_inc (&request->n_done);
}

static void
test_drain (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  Request empty = { 0 }, waiting = { 0 }, cancelled = { 0 }, too_late = { 0 };
  BufPoolAllocation *allocation;

  g_test_summary ("Draining completes immediately, or with the last release even if the pool is in "
                  "use again, and can be cancelled");

  buf_pool_drain_async (pool, G_PRIORITY_DEFAULT, NULL, on_drained, &empty);
  g_assert_false (is_done (&empty));
  iterate_until_done (&empty);
  g_assert_true (empty.drained);

  allocation = test_allocate (pool, 3);
  buf_pool_drain_async (pool, G_PRIORITY_DEFAULT, NULL, on_drained, &waiting);
  buf_pool_drain_async (pool, G_PRIORITY_DEFAULT, cancellable, on_drained, &cancelled);
  iterate_all ();
  g_assert_false (is_done (&waiting) || is_done (&cancelled));
  g_cancellable_cancel (cancellable);
  iterate_until_done (&cancelled);
  assert_failed (&cancelled, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  buf_pool_drain_async (pool, G_PRIORITY_DEFAULT, cancellable, on_drained, &too_late);
  iterate_until_done (&too_late);
  assert_failed (&too_late, G_IO_ERROR, G_IO_ERROR_CANCELLED);

  buf_pool_allocation_unref (allocation);
  allocation = test_allocate (pool, 3);
  iterate_until_done (&waiting);
  g_assert_no_error (waiting.error);
  g_assert_true (waiting.drained);
  buf_pool_allocation_unref (allocation);
}

static void
test_drain_pinned (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *plain = test_allocate (pool, 3);
  BufPoolAllocation *pinned = buf_pool_try_allocate_pinned (pool, 2, NULL);
  Request waiting = { 0 };

  g_test_summary ("Draining waits for pinned allocations, too");

  buf_pool_drain_async (pool, G_PRIORITY_DEFAULT, NULL, on_drained, &waiting);
  buf_pool_allocation_unref (plain);
  iterate_all ();
  g_assert_false (is_done (&waiting));
  test_assert_figures (pool, 2, 1);

  buf_pool_allocation_unref (pinned);
  iterate_until_done (&waiting);
  g_assert_true (waiting.drained);
}

static gpointer
request_in_own_context (gpointer data)
{
  BufPool *pool = data;
  g_autoptr (GMainContext) context = g_main_context_new ();
  Request requests[2];

  g_main_context_push_thread_default (context);
  for (guint i = 0; i < 2; i++)
    start (&requests[i], pool, 5, NULL);
  for (guint i = 0; i < 2; i++)
    {
      while (!is_done (&requests[i]))
        g_main_context_iteration (context, TRUE);
      g_assert_true (requests[i].thread == g_thread_self ());
      drop_served (&requests[i]);
    }
  while (g_main_context_iteration (context, FALSE))
    continue;
  g_main_context_pop_thread_default (context);
  return NULL;
}

static void
test_own_context (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);

  g_test_summary ("Callbacks run in the context, and in the thread, of the request");

  for (guint round = 0; round < test_scale (2000); round++)
    {
      BufPoolAllocation *some = test_allocate (pool, 6);
      GThread *threads[2];

      for (guint i = 0; i < 2; i++)
        threads[i] = g_thread_new ("context", request_in_own_context, pool);
      test_wait_for_waiting (pool, 4);
      buf_pool_allocation_unref (some);
      for (guint i = 0; i < 2; i++)
        g_thread_join (threads[i]);
      test_assert_figures (pool, 0, 0);
    }
}

typedef struct
{
  BufPool *pool;
  Request inner;
} Nested;

static void
request_nested (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Nested *nested = user_data;
  g_autoptr (BufPoolAllocation) outer = buf_pool_allocate_finish (BUF_POOL (pool), result, NULL);
  g_autoptr (GMainContext) context = g_main_context_new ();

  g_main_context_push_thread_default (context);
  start (&nested->inner, nested->pool, 10, NULL);
  g_main_context_iteration (context, FALSE);
  g_assert_false (is_done (&nested->inner));
  g_clear_pointer (&outer, buf_pool_allocation_unref);
  while (!is_done (&nested->inner))
    g_main_context_iteration (context, TRUE);
  g_main_context_pop_thread_default (context);
}

static void
test_nested_contexts (void)
{
  Nested nested = { .pool = test_pool_new (16, 10) };

  g_test_summary ("A callback waits in a context of its own, nested in the outer one");

  buf_pool_allocate_async (nested.pool, 10, G_PRIORITY_DEFAULT, NULL, request_nested, &nested);
  while (nested.inner.n_done == 0)
    g_main_context_iteration (NULL, TRUE);
  drop_served (&nested.inner);
  iterate_all ();
  g_object_unref (nested.pool);
}

/* The storm test. */

#define N_STORM   200000
#define N_AT_ONCE 1000
#define N_THREADS 4
#define N_BUFFERS 32

typedef struct
{
  BufPool *pool;
  GRand *rand;
  guint n_started, n_served, n_cancelled;
  guint n_total;
  gint stop; /* atomic */
} Storm;

typedef struct
{
  Storm *storm;
  GCancellable *cancellable;
  gboolean done;
} StormRequest;

static void start_in_storm (Storm *storm);

static void
on_storm_done (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  StormRequest *request = user_data;
  Storm *storm = request->storm;
  g_autoptr (GError) error = NULL;
  g_autoptr (BufPoolAllocation) allocation =
      buf_pool_allocate_finish (BUF_POOL (pool), result, &error);

  g_assert_false (request->done);
  request->done = TRUE;
  if (allocation != NULL)
    storm->n_served++;
  else
    {
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      storm->n_cancelled++;
    }
  g_object_unref (request->cancellable);
  g_free (request);

  if (storm->n_started < storm->n_total)
    start_in_storm (storm);
}

/* What another thread has to cancel; NULL marks the end. Not a GAsyncQueue, whose lock
 * ThreadSanitizer does not see. */
static struct
{
  GMutex mutex;
  GCond cond;
  GQueue cancellables; /* LOCK: mutex */
} to_cancel;

static void
push_to_cancel (GCancellable *cancellable)
{
  g_mutex_lock (&to_cancel.mutex);
  g_queue_push_tail (&to_cancel.cancellables, cancellable);
  g_cond_signal (&to_cancel.cond);
  g_mutex_unlock (&to_cancel.mutex);
}

static GCancellable *
pop_to_cancel (void)
{
  GCancellable *cancellable;

  g_mutex_lock (&to_cancel.mutex);
  while (g_queue_is_empty (&to_cancel.cancellables))
    g_cond_wait (&to_cancel.cond, &to_cancel.mutex);
  cancellable = g_queue_pop_head (&to_cancel.cancellables);
  g_mutex_unlock (&to_cancel.mutex);
  return cancellable;
}

static gpointer
cancel_in_storm (gpointer data)
{
  GCancellable *cancellable;

  while ((cancellable = pop_to_cancel ()) != NULL)
    {
      g_cancellable_cancel (cancellable);
      g_object_unref (cancellable);
    }
  return NULL;
}

static void
start_in_storm (Storm *storm)
{
  StormRequest *request = g_new0 (StormRequest, 1);
  guint fate = g_rand_int_range (storm->rand, 0, 6);

  storm->n_started++;
  request->storm = storm;
  request->cancellable = g_cancellable_new ();
  buf_pool_allocate_async (storm->pool,
                           g_rand_int_range (storm->rand, 1, N_BUFFERS + 1),
                           G_PRIORITY_DEFAULT,
                           request->cancellable,
                           on_storm_done,
                           request);
  if (fate == 0)
    g_cancellable_cancel (request->cancellable);
  else if (fate == 1)
    push_to_cancel (g_object_ref (request->cancellable));
}

static gpointer
disturb_storm (gpointer data)
{
  Storm *storm = data;
  g_autoptr (GRand) rand = g_rand_new ();

  while (!g_atomic_int_get (&storm->stop))
    {
      BufPoolAllocation *allocation =
          buf_pool_allocate (storm->pool, g_rand_int_range (rand, 1, N_BUFFERS + 1), NULL, NULL);

      g_thread_yield ();
      buf_pool_allocation_unref (allocation);
    }
  return NULL;
}

static void
test_storm (void)
{
  Storm storm = { .pool = test_pool_new (16, N_BUFFERS),
                  .rand = g_rand_new (),
                  .n_total = test_scale (N_STORM) };
  GThread *threads[N_THREADS], *canceller;

  g_test_summary ("4 threads request and release, 1,000 requests are pending, and a third of them "
                  "are cancelled: each of 200,000 completes exactly once, and all bytes return");

  canceller = g_thread_new ("cancel", cancel_in_storm, NULL);
  for (guint i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("disturb", disturb_storm, &storm);
  while (storm.n_started < MIN (N_AT_ONCE, storm.n_total))
    start_in_storm (&storm);
  while (storm.n_served + storm.n_cancelled < storm.n_total)
    g_main_context_iteration (NULL, TRUE);

  g_atomic_int_set (&storm.stop, TRUE);
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
  push_to_cancel (NULL);
  g_thread_join (canceller);
  iterate_all ();

  g_test_message ("%u served, %u cancelled", storm.n_served, storm.n_cancelled);
  g_assert_cmpuint (storm.n_served + storm.n_cancelled, ==, storm.n_total);
  g_assert_cmpuint (storm.n_cancelled, >, storm.n_total / 10);
  g_assert_cmpuint (storm.n_served, >, storm.n_total / 10);
  test_assert_figures (storm.pool, 0, 0);
  g_assert_cmpuint (buf_pool_get_waiting (storm.pool), ==, 0);
  g_object_unref (storm.pool);
  g_rand_free (storm.rand);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/async/granted-at-once", test_granted_at_once);
  g_test_add_func ("/async/granted-later", test_granted_later);
  g_test_add_func ("/async/errors", test_errors);
  g_test_add_func ("/async/priority", test_priority);
  g_test_add_func ("/async/one-queue", test_one_queue);
  g_test_add_func ("/async/cancel-before-grant", test_cancel_before_grant);
  g_test_add_func ("/async/cancel-after-grant", test_cancel_after_grant);
  g_test_add_func ("/async/close", test_close);
  g_test_add_func ("/async/run-dispose", test_run_dispose);
  g_test_add_func ("/async/pending-holds-pool", test_pending_holds_pool);
  g_test_add_func ("/async/unfetched", test_unfetched);
  g_test_add_func ("/async/user-lock", test_user_lock);
  g_test_add_func ("/async/many-pending", test_many_pending);
  g_test_add_func ("/async/drop-in-cancelled-handler", test_drop_in_cancelled_handler);
  g_test_add_func ("/async/nothing-is-left-behind", test_nothing_is_left_behind);
  g_test_add_func ("/async/maximum", test_maximum);
  g_test_add_func ("/async/drain", test_drain);
  g_test_add_func ("/async/drain-pinned", test_drain_pinned);
  g_test_add_func ("/async/own-context", test_own_context);
  g_test_add_func ("/async/nested-contexts", test_nested_contexts);
  g_test_add_func ("/async/storm", test_storm);
  return g_test_run ();
}
