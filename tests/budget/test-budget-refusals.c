/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Requests of a budget that end without a permit, and what a permit is as a value. */

#include "budget-testing.h"

typedef struct
{
  BufPermit *permit;
  Acquirer *acquirer;
} Release;

/* The cancellable is marked, and what cancels the request comes after this. */
static void
release_and_wait (GCancellable *cancellable, gpointer user_data)
{
  Release *self = user_data;

  buf_permit_release (self->permit);
  test_wait_until (g_atomic_int_get (&self->acquirer->done));
}

static void
test_granted_and_cancelled (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (BufPermit) permit = acquire (budget, 100);
  Acquirer acquirer = { .cancellable = cancellable };
  Release release = { permit, &acquirer };

  g_test_summary ("A thread that was cancelled gets no permit, though it has got the bytes before "
                  "it learns of it: they return");

  g_signal_connect (cancellable, "cancelled", G_CALLBACK (release_and_wait), &release);
  acquirer_start (&acquirer, budget, 60, 0);
  g_cancellable_cancel (cancellable);
  acquirer_end (&acquirer);

  g_assert_error (acquirer.error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&acquirer.error);
  assert_in_use (budget, 0);
}

static void
test_refused_task (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  GAsyncResult *result = NULL;

  g_test_summary ("A task that can never be granted fails, and does not wait");

  buf_budget_acquire_async (budget, 101, 0, NULL, test_keep_result, &result);
  g_assert_cmpuint (buf_budget_get_waiting (budget), ==, 0);
  test_iterate_until (&result);
  g_assert_null (buf_budget_acquire_finish (budget, result, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE);
  g_object_unref (result);
}

static void
test_boxed_permit (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  BufPermit *permit = buf_budget_try_acquire (budget, 60, &error);
  BufPermit *copy;

  g_test_summary ("The copy of a permit is the same permit");

  g_assert_no_error (error);
  copy = g_boxed_copy (BUF_TYPE_PERMIT, permit);
  g_assert_true (copy == permit);
  buf_permit_unref (permit);
  g_assert_cmpuint (buf_budget_get_allocated_memory (budget), ==, 60);
  g_boxed_free (BUF_TYPE_PERMIT, copy);
  g_assert_cmpuint (buf_budget_get_allocated_memory (budget), ==, 0);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/budget-refusals/granted-and-cancelled", test_granted_and_cancelled);
  g_test_add_func ("/budget-refusals/refused-task", test_refused_task);
  g_test_add_func ("/budget-refusals/boxed-permit", test_boxed_permit);

  return g_test_run ();
}
