/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A budget on its own: permits, figures, errors, and how requests wait. */

#include "budget/budget-testing.h"

static void
test_permits (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (1000);
  BufPermit *first = acquire (budget, 600);
  BufPermit *second = acquire (budget, 400);

  g_test_summary ("Permits take their bytes, and return them with the last reference");

  assert_in_use (budget, 1000);
  assert_refused (budget,
                  1,
                  G_IO_ERROR,
                  G_IO_ERROR_WOULD_BLOCK,
                  "Cannot acquire 1 byte: only 0 of 1000 bytes are available, and 0 other requests "
                  "are waiting");
  buf_permit_ref (first);
  buf_permit_unref (first);
  assert_in_use (budget, 1000);
  buf_permit_unref (first);
  assert_in_use (budget, 400);
  buf_permit_unref (second);
  assert_in_use (budget, 0);
}

static void
test_release (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (1000);
  g_autoptr (BufPermit) permit = acquire (budget, 600);

  g_test_summary ("A permit is released once, no matter how often release() is called");

  g_assert_false (buf_permit_is_released (permit));
  buf_permit_release (permit);
  buf_permit_release (permit);
  g_assert_true (buf_permit_is_released (permit));
  g_assert_cmpuint (buf_permit_get_size (permit), ==, 0);
  assert_in_use (budget, 0);
}

static void
test_shrink (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (1000);
  g_autoptr (BufPermit) permit = acquire (budget, 600);
  g_autoptr (GError) error = NULL;

  g_test_summary ("A permit shrinks and never grows");

  g_assert_true (buf_permit_shrink (permit, 600, &error));
  g_assert_true (buf_permit_shrink (permit, 200, &error));
  g_assert_no_error (error);
  assert_in_use (budget, 200);

  g_assert_false (buf_permit_shrink (permit, 201, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OUT_OF_RANGE);
  g_assert_cmpstr (error->message, ==, "A permit for 200 bytes cannot shrink to 201 bytes");
  g_clear_error (&error);
  assert_in_use (budget, 200);

  g_assert_true (buf_permit_shrink (permit, 0, NULL));
  assert_in_use (budget, 0);
  g_assert_false (buf_permit_is_released (permit));

  buf_permit_release (permit);
  g_assert_false (buf_permit_shrink (permit, 1, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_RELEASED);
}

static void
test_empty (void)
{
  g_autoptr (BufBudget) nothing = buf_budget_new (0);
  g_autoptr (BufPermit) permit = acquire (nothing, 0);
  g_autoptr (GCancellable) cancelled = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  g_test_summary ("A budget of 0 grants only empty permits");

  g_assert_false (buf_permit_is_released (permit));
  assert_in_use (nothing, 0);
  assert_refused (nothing,
                  1,
                  BUF_POOL_ERROR,
                  BUF_POOL_ERROR_TOO_LARGE,
                  "Cannot acquire 1 byte: the budget never has more than 0 bytes");

  g_cancellable_cancel (cancelled);
  g_assert_null (buf_budget_acquire (nothing, 0, cancelled, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void
test_properties (void)
{
  g_autoptr (BufBudget) total = g_object_new (BUF_TYPE_BUDGET, NULL);
  g_autoptr (BufBudget) part = g_object_new (BUF_TYPE_BUDGET,
                                             "parent",
                                             total,
                                             "name",
                                             "uploads",
                                             "max-memory",
                                             G_MAXUINT64,
                                             "reserved-memory",
                                             (guint64) 10,
                                             "max-waiting",
                                             3,
                                             NULL);
  g_autoptr (BufBudget) parent = NULL;
  g_autofree gchar *name = NULL;
  guint64 max_memory, reserved_memory, allocated, available, waiting;
  gint max_waiting;

  g_test_summary ("Properties have the values that were set, and saturate");

  g_object_get (part,
                "parent",
                &parent,
                "name",
                &name,
                "max-memory",
                &max_memory,
                "reserved-memory",
                &reserved_memory,
                "max-waiting",
                &max_waiting,
                "allocated-memory",
                &allocated,
                "available-memory",
                &available,
                "waiting",
                &waiting,
                NULL);
  g_assert_true (parent == total && buf_budget_get_parent (part) == total);
  g_assert_null (buf_budget_get_parent (total));
  g_assert_cmpstr (name, ==, "uploads");
  g_assert_null (buf_budget_get_name (total));
  g_assert_cmpuint (max_memory, ==, G_GUINT64_CONSTANT (9007199254740991));
  g_assert_cmpuint (buf_budget_get_max_memory (part), ==, BUF_POOL_UNLIMITED);
  g_assert_cmpuint (reserved_memory, ==, 10);
  g_assert_cmpuint (buf_budget_get_reserved_memory (part), ==, 10);
  g_assert_cmpint (max_waiting, ==, 3);
  g_assert_cmpint (buf_budget_get_max_waiting (total), ==, -1);
  g_assert_cmpuint (allocated, ==, 0);
  g_assert_cmpuint (available, ==, max_memory);
  g_assert_cmpuint (waiting, ==, 0);

  buf_budget_set_max_waiting (part, -5);
  g_assert_cmpint (buf_budget_get_max_waiting (part), ==, -1);
}

static void
count (GObject *object, GParamSpec *pspec, gpointer user_data)
{
  ++*(guint *) user_data;
}

static void
test_notifies (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  guint n = 0;

  g_test_summary ("A property notifies only when it changes");

  g_signal_connect (budget, "notify", G_CALLBACK (count), &n);
  buf_budget_set_max_memory (budget, 100);
  buf_budget_set_reserved_memory (budget, 0);
  buf_budget_set_max_waiting (budget, -1);
  g_assert_cmpuint (n, ==, 0);
  buf_budget_set_max_memory (budget, 200);
  buf_budget_set_reserved_memory (budget, 50);
  buf_budget_set_max_waiting (budget, 0);
  g_assert_cmpuint (n, ==, 3);
}

static void
test_waits (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  BufPermit *all = acquire (budget, 100);
  Acquirer waiter = { 0 };

  g_test_summary ("A request waits until permits are dropped");

  acquirer_start (&waiter, budget, 70, G_PRIORITY_DEFAULT);
  g_assert_cmpuint (buf_budget_get_waiting (budget), ==, 1);
  buf_permit_unref (all);
  acquirer_end_granted (&waiter);
  assert_in_use (budget, 0);
}

static void
test_times_out (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  g_autoptr (BufPermit) all = acquire (budget, 100);
  g_autoptr (GError) error = NULL;

  g_test_summary ("A request with a timeout fails, and its error contains the figures");

  g_assert_null (buf_budget_acquire_full (budget, 70, 1000, 0, NULL, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
  g_assert_cmpstr (error->message,
                   ==,
                   "Cannot acquire 70 bytes: only 0 of 100 bytes are available, and 0 other "
                   "requests are waiting");
  g_assert_cmpuint (buf_budget_get_waiting (budget), ==, 0);
}

static void
test_cancelled (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  BufPermit *all = acquire (budget, 100);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  Acquirer waiter = { .cancellable = cancellable };

  g_test_summary ("A waiting request can be cancelled");

  acquirer_start (&waiter, budget, 70, G_PRIORITY_DEFAULT);
  g_cancellable_cancel (cancellable);
  acquirer_end (&waiter);
  g_assert_error (waiter.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&waiter.error);
  buf_permit_unref (all);
  assert_in_use (budget, 0);
}

static void
on_acquired (GObject *budget, GAsyncResult *result, gpointer user_data)
{
  BufPermit **permit = user_data;
  g_autoptr (GError) error = NULL;

  *permit = buf_budget_acquire_finish (BUF_BUDGET (budget), result, &error);
  g_assert_no_error (error);
}

static void
test_async (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  BufPermit *all = NULL, *later = NULL;

  g_test_summary ("An asynchronous request completes from the main loop, immediately or when it "
                  "fits");

  buf_budget_acquire_async (budget, 100, 0, NULL, on_acquired, &all);
  g_assert_null (all);
  while (all == NULL)
    g_main_context_iteration (NULL, TRUE);
  buf_budget_acquire_async (budget, 60, 0, NULL, on_acquired, &later);
  test_iterate_all ();
  g_assert_null (later);
  buf_permit_unref (all);
  g_assert_null (later);
  while (later == NULL)
    g_main_context_iteration (NULL, TRUE);
  assert_in_use (budget, 60);
  buf_permit_unref (later);
}

static void
on_cancelled (GObject *budget, GAsyncResult *result, gpointer user_data)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (buf_budget_acquire_finish (BUF_BUDGET (budget), result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  *(gboolean *) user_data = TRUE;
}

static void
test_async_cancelled (void)
{
  g_test_summary ("A task can be cancelled before it begins, while it waits, and after it is "
                  "granted");

  for (guint i = 0; i < 3; i++)
    {
      g_autoptr (BufBudget) budget = buf_budget_new (100);
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      BufPermit *all = acquire (budget, 100);
      gboolean done = FALSE;

      if (i == 0)
        g_cancellable_cancel (cancellable);
      buf_budget_acquire_async (budget, 60, 0, cancellable, on_cancelled, &done);
      if (i == 2)
        g_clear_pointer (&all, buf_permit_unref);
      g_cancellable_cancel (cancellable);
      while (!done)
        g_main_context_iteration (NULL, TRUE);
      g_clear_pointer (&all, buf_permit_unref);
      test_iterate_all ();
      assert_in_use (budget, 0);
    }
}

static void
test_unfetched (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);

  g_test_summary ("A permit that is never fetched returns its bytes");

  buf_budget_acquire_async (budget, 100, 0, NULL, NULL, NULL);
  test_iterate_all ();
  assert_in_use (budget, 0);
}

static void
test_outlives (void)
{
  BufBudget *budget = buf_budget_new (100);
  BufPermit *permit = acquire (budget, 60);
  GBytes *bytes;

  g_test_summary ("A permit keeps its budget alive, and can be user data of another object");

  g_object_add_weak_pointer (G_OBJECT (budget), (gpointer *) &budget);
  g_object_unref (budget);
  g_assert_nonnull (budget);
  bytes = g_bytes_new_with_free_func ("", 0, (GDestroyNotify) buf_permit_unref, permit);
  g_bytes_unref (bytes);
  g_assert_null (budget);
}

static void
test_priority (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  BufPermit *all = acquire (budget, 100);
  Acquirer low = { 0 }, first = { 0 }, second = { 0 };

  g_test_summary ("Requests are granted by priority, and then by age");

  budget_stop_clock (budget);
  acquirer_start (&low, budget, 100, G_PRIORITY_LOW);
  acquirer_start (&first, budget, 100, G_PRIORITY_HIGH);
  acquirer_start (&second, budget, 100, G_PRIORITY_HIGH);
  buf_permit_unref (all);
  acquirer_end (&first);
  g_assert_false (g_atomic_int_get (&second.done) || g_atomic_int_get (&low.done));
  buf_permit_unref (first.permit);
  acquirer_end (&second);
  g_assert_false (g_atomic_int_get (&low.done));
  buf_permit_unref (second.permit);
  acquirer_end_granted (&low);
}

static void
test_reserve (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  g_autoptr (GError) error = NULL;
  BufPermit *normal, *urgent;

  g_test_summary ("Only urgent requests can use the reserve");

  buf_budget_set_reserved_memory (budget, 30);
  assert_refused (budget,
                  71,
                  BUF_POOL_ERROR,
                  BUF_POOL_ERROR_TOO_LARGE,
                  "Cannot acquire 71 bytes: the budget never has more than 70 bytes outside its "
                  "reserve");
  normal = acquire (budget, 70);
  assert_refused (budget,
                  1,
                  G_IO_ERROR,
                  G_IO_ERROR_WOULD_BLOCK,
                  "Cannot acquire 1 byte: only 30 of 100 bytes are available (30 of them "
                  "reserved), and 0 other requests are waiting");
  urgent = buf_budget_acquire_full (budget, 30, -1, G_PRIORITY_HIGH, NULL, &error);
  g_assert_no_error (error);

  /* Released bytes refill the reserve first. */
  g_assert_true (buf_permit_shrink (normal, 45, NULL));
  assert_refused (budget,
                  1,
                  G_IO_ERROR,
                  G_IO_ERROR_WOULD_BLOCK,
                  "Cannot acquire 1 byte: only 25 of 100 bytes are available (25 of them "
                  "reserved), and 0 other requests are waiting");
  buf_permit_unref (urgent);
  buf_permit_unref (acquire (budget, 25));
  buf_permit_unref (normal);
}

static void
test_reserve_is_raised (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  g_autoptr (BufPermit) all = acquire (budget, 100);
  Acquirer normal = { 0 }, urgent = { 0 };

  g_test_summary ("A waiting request that becomes too large fails when the reserve is raised");

  acquirer_start (&urgent, budget, 90, G_PRIORITY_HIGH);
  acquirer_start (&normal, budget, 90, G_PRIORITY_DEFAULT);
  buf_budget_set_reserved_memory (budget, 20);
  acquirer_end (&normal);
  g_assert_error (normal.error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE);
  g_clear_error (&normal.error);
  buf_permit_release (all);
  acquirer_end_granted (&urgent);
}

static void
test_overload (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  BufPermit *all = acquire (budget, 100);
  g_autoptr (GError) error = NULL;
  Acquirer waiter = { 0 };

  g_test_summary ("A request that exceeds max-waiting is refused");

  buf_budget_set_max_waiting (budget, 1);
  acquirer_start (&waiter, budget, 10, G_PRIORITY_DEFAULT);
  g_assert_null (buf_budget_acquire (budget, 10, NULL, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OVERLOADED);
  g_assert_cmpstr (error->message,
                   ==,
                   "Cannot acquire 10 bytes: 1 request is already waiting for the budget, and no "
                   "more may wait");
  g_clear_error (&error);
  buf_permit_unref (all);
  acquirer_end_granted (&waiter);

  buf_budget_set_max_waiting (budget, 0);
  all = acquire (budget, 100);
  g_assert_null (buf_budget_acquire (budget, 10, NULL, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OVERLOADED);
  buf_permit_unref (all);
}

static void
test_overloaded_task (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  g_autoptr (GAsyncResult) first = NULL;
  g_autoptr (GAsyncResult) second = NULL;
  g_autoptr (GError) error = NULL;
  BufPermit *all = acquire (budget, 100);

  g_test_summary ("A task that exceeds max-waiting reports how many requests waited at that time");

  buf_budget_set_max_waiting (budget, 1);
  buf_budget_acquire_async (budget, 10, G_PRIORITY_DEFAULT, NULL, test_keep_result, &first);
  buf_budget_acquire_async (budget, 10, G_PRIORITY_DEFAULT, NULL, test_keep_result, &second);
  buf_permit_unref (all);
  g_assert_cmpuint (buf_budget_get_waiting (budget), ==, 0);
  test_iterate_until (&second);
  g_assert_null (buf_budget_acquire_finish (budget, second, &error));
  g_assert_cmpstr (error->message,
                   ==,
                   "Cannot acquire 10 bytes: 1 request is already waiting for the budget, and no "
                   "more may wait");
  test_iterate_until (&first);
  buf_permit_unref (buf_budget_acquire_finish (budget, first, NULL));
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/budget/permits", test_permits);
  g_test_add_func ("/budget/release", test_release);
  g_test_add_func ("/budget/shrink", test_shrink);
  g_test_add_func ("/budget/empty", test_empty);
  g_test_add_func ("/budget/properties", test_properties);
  g_test_add_func ("/budget/notifies", test_notifies);
  g_test_add_func ("/budget/waits", test_waits);
  g_test_add_func ("/budget/times-out", test_times_out);
  g_test_add_func ("/budget/cancelled", test_cancelled);
  g_test_add_func ("/budget/async", test_async);
  g_test_add_func ("/budget/async-cancelled", test_async_cancelled);
  g_test_add_func ("/budget/unfetched", test_unfetched);
  g_test_add_func ("/budget/outlives", test_outlives);
  g_test_add_func ("/budget/priority", test_priority);
  g_test_add_func ("/budget/reserve", test_reserve);
  g_test_add_func ("/budget/reserve-is-raised", test_reserve_is_raised);
  g_test_add_func ("/budget/overload", test_overload);
  g_test_add_func ("/budget/overloaded-task", test_overloaded_task);
  return g_test_run ();
}
