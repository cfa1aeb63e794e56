/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A log writer is user code: it may drop any object, even the pool. Each test runs in a separate
 * process, which is killed if it hangs. */

#include <string.h>
#include <unistd.h>

#include "testing.h"

/* What the writer drops when it is called. */
static BufPool *pool;
static BufPoolAllocation *allocation;
static GPtrArray *messages; /* of text */

/* Another thread logs waits in progress; test-stall.c tests these. */
static GLogWriterOutput
drop_everything (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  const gchar *message = test_get_log_message (fields, n_fields);

  if (strstr (message, "still waiting, overtaken") != NULL)
    return G_LOG_WRITER_HANDLED;

  g_ptr_array_add (messages, g_strdup (message));
  g_clear_pointer (&allocation, buf_pool_allocation_unref);
  g_clear_object (&pool);
  return G_LOG_WRITER_HANDLED;
}

/* A pool of four buffers, one of which is allocated. */
static void
prepare (void)
{
  (void) alarm (30);
  messages = g_ptr_array_new_with_free_func (g_free);
  pool = test_pool_new (16, 4);
  allocation = test_allocate (pool, 1);
  g_log_set_writer_func (drop_everything, NULL, NULL);
}

static void
assert_message (const gchar *pattern)
{
  g_assert_cmpuint (messages->len, ==, 1);
  g_assert_true (g_pattern_match_simple (pattern, messages->pdata[0]));
  g_assert_null (pool);
  g_ptr_array_unref (messages);
}

static void
test_timed_out (void)
{
  g_test_summary ("A thread that logs a timed-out wait is no longer inside the pool");

  if (test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "0"))
    {
      g_autoptr (GError) error = NULL;

      prepare ();
      g_assert_null (buf_pool_allocate_timeout (pool, 4, 1, NULL, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
      assert_message ("* timed out*");
    }
}

static void
test_cancelled (void)
{
  g_test_summary ("The same for a cancelled wait");

  if (test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "0"))
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (GError) error = NULL;
      TestRequester *requester;

      prepare ();
      requester = test_requester_start_full (pool, 4, -1, cancellable);
      test_wait_for_waiting (pool, 1);
      g_cancellable_cancel (cancellable);
      g_assert_null (test_requester_end (requester, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      assert_message ("* was cancelled*");
    }
}

/* Runs before the handler of the library: the request is granted although it is cancelled. */
static void
grant_and_wait (GCancellable *cancellable, gpointer user_data)
{
  TestRequester **requester = user_data;

  g_clear_pointer (&allocation, buf_pool_allocation_unref);
  test_wait_until (test_requester_is_done (*requester));
}

static void
test_cancelled_late (void)
{
  g_test_summary ("When a cancelled request is logged, the bytes it was granted have been "
                  "returned");

  if (test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "0"))
    {
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      g_autoptr (GError) error = NULL;
      TestRequester *requester;

      prepare ();
      g_signal_connect (cancellable, "cancelled", G_CALLBACK (grant_and_wait), &requester);
      requester = test_requester_start_full (pool, 4, -1, cancellable);
      test_wait_for_waiting (pool, 1);
      g_cancellable_cancel (cancellable);
      g_assert_null (test_requester_end (requester, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      assert_message ("* was granted*");
    }
}

static gpointer
drop_when_waiting (gpointer data)
{
  BufPoolAllocation *dropped = g_steal_pointer (&allocation);

  test_wait_for_waiting (pool, 1);
  buf_pool_allocation_unref (dropped);
  return NULL;
}

static void
test_granted (void)
{
  g_test_summary ("A thread that logs a granted wait does not wait for its own allocation");

  if (test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "0"))
    {
      g_autoptr (GError) error = NULL;
      BufPoolAllocation *got;
      GThread *thread;

      prepare ();
      thread = g_thread_new ("drop", drop_when_waiting, NULL);
      got = buf_pool_allocate (pool, 4, NULL, &error);
      g_assert_no_error (error);
      assert_message ("* was granted*");
      g_thread_join (thread);
      memset (buf_pool_allocation_get_first (got), 0, 4 * 16);
      buf_pool_allocation_unref (got);
      test_wait_until (test_count_memories () == 0);
    }
}

static void
on_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  BufPoolAllocation *got = buf_pool_allocate_finish (BUF_POOL (source), result, NULL);

  g_clear_pointer (&got, buf_pool_allocation_unref);
  *(gboolean *) user_data = TRUE;
}

static void
test_task (void)
{
  g_test_summary ("A task that is logged keeps the pool alive until it is done");

  if (test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "0"))
    {
      gboolean done = FALSE;

      prepare ();
      buf_pool_allocate_async (pool, 4, G_PRIORITY_DEFAULT, NULL, on_done, &done);
      g_clear_pointer (&allocation, buf_pool_allocation_unref);
      while (!done)
        g_main_context_iteration (NULL, TRUE);
      assert_message ("* was granted*");
    }
}

static void
test_drain_warning (void)
{
  g_test_summary ("An allocation that the end of a pool waits for may be dropped while this is "
                  "logged");

  if (test_run_with ("leaks", "BUFPOOL_DRAIN_WARNING", "1"))
    {
      prepare ();
      g_object_unref (g_steal_pointer (&pool));
      assert_message ("*still waiting for 1 allocation*");
    }
}

static void
write_behind_the_end (BufPoolAllocation *overrun)
{
  memset (buf_pool_allocation_get_first (overrun), 0, 16 + 3);
  buf_pool_allocation_unref (overrun);
}

static void
test_overrun (void)
{
  g_test_summary ("A write past the end is logged after the bytes are released");

  if (test_run_with ("guard", NULL, NULL))
    {
      prepare ();
      write_behind_the_end (test_allocate (pool, 1));
      assert_message ("*up to 3 bytes past the end of the allocation*");
    }
}

static void
test_pinned_overrun (void)
{
  g_test_summary ("The same for a pinned allocation, which may hold the last reference to its "
                  "pool");

  if (test_run_with ("guard", NULL, NULL))
    {
      BufPoolAllocation *pinned;

      prepare ();
      pinned = buf_pool_try_allocate_pinned (pool, 1, NULL);
      g_clear_pointer (&allocation, buf_pool_allocation_unref);
      g_clear_object (&pool);
      write_behind_the_end (pinned);
      assert_message ("*up to 3 bytes past the end of the allocation*");
    }
}

static void
test_bad_number (void)
{
  g_test_summary ("An invalid number is reported when a pool is created, not when a request waits");

  if (test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "soon"))
    {
      messages = g_ptr_array_new_with_free_func (g_free);
      g_log_set_writer_func (drop_everything, NULL, NULL);
      pool = test_pool_new (16, 4);
      g_clear_object (&pool);
      assert_message ("BUFPOOL_WAIT_THRESHOLD must be a number of milliseconds*");
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/logging/timed-out", test_timed_out);
  g_test_add_func ("/logging/cancelled", test_cancelled);
  g_test_add_func ("/logging/cancelled-late", test_cancelled_late);
  g_test_add_func ("/logging/granted", test_granted);
  g_test_add_func ("/logging/task", test_task);
  g_test_add_func ("/logging/drain-warning", test_drain_warning);
  g_test_add_func ("/logging/overrun", test_overrun);
  g_test_add_func ("/logging/pinned-overrun", test_pinned_overrun);
  g_test_add_func ("/logging/bad-number", test_bad_number);
  return g_test_run ();
}
