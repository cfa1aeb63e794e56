/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Requests of a budget that end without a permit, and permits as boxed values. */

#include "budget-testing.h"

typedef struct
{
  BufPermit *permit;
  Acquirer *acquirer;
} Release;

/* Runs after the cancellable is marked, but before the request is cancelled. */
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

  g_test_summary ("A thread that is cancelled gets no permit, even if its bytes were granted "
                  "before it notices the cancellation; the bytes return");

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

  g_test_summary ("A task that can never be granted fails and does not wait");

  buf_budget_acquire_async (budget, 101, 0, NULL, test_keep_result, &result);
  g_assert_cmpuint (buf_budget_get_waiting (budget), ==, 0);
  test_iterate_until (&result);
  g_assert_null (buf_budget_acquire_finish (budget, result, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE);
  g_object_unref (result);
}

static void
assert_error_says (GError **error, gint code, const gchar *message)
{
  g_assert_error (*error, BUF_POOL_ERROR, code);
  g_assert_cmpstr ((*error)->message, ==, message);
  g_clear_error (error);
}

static void
test_figures_of_the_largest_requests (void)
{
  static const gsize sizes[] = { 101, G_MAXSIZE / 2, G_MAXSIZE / 2 + 1, G_MAXSIZE };
  g_autoptr (BufBudget) root = buf_budget_new (BUF_POOL_UNLIMITED);
  g_autoptr (BufBudget) budget = buf_budget_new_child (root, 100);

  g_test_summary ("A request that is too large is refused with its size, however large that is");

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    {
      g_autofree gchar *message = g_strdup_printf ("Cannot acquire %" G_GSIZE_FORMAT
                                                   " bytes: the budget never has more than 100 "
                                                   "bytes",
                                                   sizes[i]);
      g_autoptr (GError) error = NULL;
      GAsyncResult *result = NULL;

      g_assert_null (buf_budget_acquire (budget, sizes[i], NULL, &error));
      assert_error_says (&error, BUF_POOL_ERROR_TOO_LARGE, message);
      g_assert_null (buf_budget_acquire_full (budget, sizes[i], 0, G_MININT, NULL, &error));
      assert_error_says (&error, BUF_POOL_ERROR_TOO_LARGE, message);
      g_assert_null (buf_budget_try_acquire (budget, sizes[i], &error));
      assert_error_says (&error, BUF_POOL_ERROR_TOO_LARGE, message);
      buf_budget_acquire_async (budget, sizes[i], G_MAXINT, NULL, test_keep_result, &result);
      test_iterate_until (&result);
      g_assert_null (buf_budget_acquire_finish (budget, result, &error));
      assert_error_says (&error, BUF_POOL_ERROR_TOO_LARGE, message);
      g_object_unref (result);
    }
  assert_in_use (budget, 0);
}

static void
test_shrink_beyond_range (void)
{
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  g_autoptr (BufPermit) permit = acquire (budget, 1);
  g_autoptr (GError) error = NULL;

  g_test_summary ("A permit refuses to grow, however far, and to shrink once it is released");

  g_assert_false (buf_permit_shrink (permit, 2, &error));
  assert_error_says (&error,
                     BUF_POOL_ERROR_OUT_OF_RANGE,
                     "A permit for 1 byte cannot shrink to 2 bytes");
  g_assert_false (buf_permit_shrink (permit, G_MAXSIZE, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OUT_OF_RANGE);
  g_clear_error (&error);
  assert_in_use (budget, 1);

  buf_permit_release (permit);
  g_assert_false (buf_permit_shrink (permit, 0, &error));
  assert_error_says (&error,
                     BUF_POOL_ERROR_RELEASED,
                     "The permit cannot shrink to 0 bytes: it has been released");
}

static void
test_pool_of_a_budget (void)
{
  g_autoptr (BufBudget) budget =
      g_object_new (BUF_TYPE_BUDGET, "max-memory", (guint64) 64, "name", "total", NULL);
  g_autofree gchar *message =
      g_strdup_printf ("A buffer size of 0 bytes is not in the range from 1 to %" G_GUINT64_FORMAT,
                       MIN ((guint64) G_MAXSSIZE, BUF_POOL_UNLIMITED));
  g_autoptr (BufPool) pool = NULL;
  g_autoptr (GError) error = NULL;

  g_test_summary ("A pool that draws on a budget checks its own properties, and names the budget "
                  "that is too small");

  g_assert_null (buf_pool_new_with_budget (0, budget, &error));
  assert_error_says (&error, BUF_POOL_ERROR_INVALID_CONFIG, message);
  pool = buf_pool_new_with_budget (16, budget, &error);
  g_assert_no_error (error);
  g_assert_null (buf_pool_allocate_full (pool, 5, 9, -1, 0, NULL, &error));
  assert_error_says (&error,
                     BUF_POOL_ERROR_TOO_LARGE,
                     "Cannot allocate 5 buffers of 16 bytes (80 bytes): the budget \"total\" never "
                     "has more than 64 bytes");
  buf_budget_set_reserved_memory (budget, 16);
  g_assert_null (buf_pool_allocate_full (pool, 4, 4, -1, 0, NULL, &error));
  assert_error_says (&error,
                     BUF_POOL_ERROR_TOO_LARGE,
                     "Cannot allocate 4 buffers of 16 bytes (64 bytes): the budget \"total\" never "
                     "has more than 48 bytes outside its reserve");
  assert_in_use (budget, 0);
}

#define EXPECT(message) g_test_expect_message ("BufPool", G_LOG_LEVEL_CRITICAL, message)

static void
test_programming_errors (void)
{
  g_autoptr (GObject) object = g_object_new (G_TYPE_OBJECT, NULL);
  g_autoptr (GError) earlier = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_FAILED, "earlier");
  g_autoptr (GError) error = NULL;
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  g_autoptr (BufBudget) other = buf_budget_new (100);
  g_autoptr (BufPermit) permit = acquire (budget, 60);
  GAsyncResult *result = NULL;

  g_test_summary ("What is no budget and no permit is caught, under the name of the function");

  EXPECT ("buf_budget_new_child: assertion*BUF_IS_BUDGET*");
  g_assert_null (buf_budget_new_child ((BufBudget *) object, 1));
  EXPECT ("buf_budget_acquire_full: assertion*BUF_IS_BUDGET*");
  g_assert_null (buf_budget_acquire (NULL, 1, NULL, &error));
  EXPECT ("buf_budget_acquire_full: assertion*G_IS_CANCELLABLE*");
  g_assert_null (buf_budget_acquire (budget, 1, (GCancellable *) object, &error));
  EXPECT ("buf_budget_try_acquire: assertion*error == NULL*");
  g_assert_null (buf_budget_try_acquire (budget, 1, &earlier));
  EXPECT ("buf_budget_acquire_async: assertion*BUF_IS_BUDGET*");
  buf_budget_acquire_async (NULL, 1, 0, NULL, test_keep_result, &result);
  EXPECT ("buf_budget_set_max_memory: assertion*BUF_IS_BUDGET*");
  buf_budget_set_max_memory (NULL, 1);
  EXPECT ("buf_budget_set_reserved_memory: assertion*BUF_IS_BUDGET*");
  buf_budget_set_reserved_memory (NULL, 1);
  EXPECT ("buf_budget_set_max_waiting: assertion*BUF_IS_BUDGET*");
  buf_budget_set_max_waiting (NULL, 1);
  EXPECT ("buf_permit_shrink: assertion*self != NULL*");
  g_assert_false (buf_permit_shrink (NULL, 0, &error));
  EXPECT ("buf_permit_release: assertion*self != NULL*");
  buf_permit_release (NULL);
  EXPECT ("buf_pool_new_with_budget: assertion*BUF_IS_BUDGET*");
  g_assert_null (buf_pool_new_with_budget (16, NULL, &error));

  /* The permit of a result that is fetched from the wrong budget is not lost. */
  buf_budget_acquire_async (budget, 40, 0, NULL, test_keep_result, &result);
  test_iterate_until (&result);
  EXPECT ("buf_budget_acquire_finish: assertion*g_task_is_valid*");
  g_assert_null (buf_budget_acquire_finish (other, result, &error));
  g_test_assert_expected_messages ();
  g_assert_no_error (error);
  assert_in_use (budget, 100);
  g_object_unref (result);
  assert_in_use (budget, 60);
}

static void
test_boxed_permit (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BufBudget) budget = buf_budget_new (100);
  BufPermit *permit = buf_budget_try_acquire (budget, 60, &error);
  BufPermit *copy;

  g_test_summary ("A copy of a permit is the same permit");

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
  g_test_add_func ("/budget-refusals/figures-of-the-largest-requests",
                   test_figures_of_the_largest_requests);
  g_test_add_func ("/budget-refusals/shrink-beyond-range", test_shrink_beyond_range);
  g_test_add_func ("/budget-refusals/pool-of-a-budget", test_pool_of_a_budget);
  g_test_add_func ("/budget-refusals/programming-errors", test_programming_errors);
  g_test_add_func ("/budget-refusals/boxed-permit", test_boxed_permit);

  return g_test_run ();
}
