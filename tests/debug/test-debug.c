/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* BUFPOOL_DEBUG. Each test runs in a separate process, because the environment variables are set
 * first. */

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "debug/buf-debug-private.h"
#include "testing.h"

/* The last freed block of the size that a test is interested in. */
static guint8 *watched;
static gsize watched_size;
static guint8 *seen_when_freed;

void __real_free (void *memory);
void __wrap_free (void *memory);

void
__wrap_free (void *memory)
{
  if (memory != NULL && memory == watched)
    {
      seen_when_freed = g_memdup2 (memory, watched_size);
      watched = NULL;
    }
  __real_free (memory);
}

/* These functions allocate. The tests look for their names in the reports. */
static G_GNUC_NO_INLINE BufPoolAllocation *
forget_to_drop (BufPool *pool)
{
  BufPoolAllocation *allocation = buf_pool_allocate (pool, 2, NULL, NULL);

  g_assert_nonnull (allocation);
  return allocation;
}

static G_GNUC_NO_INLINE BufPoolAllocation *
keep_pinned (BufPool *pool)
{
  BufPoolAllocation *allocation = buf_pool_try_allocate_pinned (pool, 1, NULL);

  g_assert_nonnull (allocation);
  return allocation;
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  BufPoolAllocation **allocation = user_data;

  *allocation = buf_pool_allocate_finish (BUF_POOL (pool), result, NULL);
}

static G_GNUC_NO_INLINE void
ask_for_later (BufPool *pool, BufPoolAllocation **allocation)
{
  buf_pool_allocate_async (pool, 4, G_PRIORITY_DEFAULT, NULL, on_allocated, allocation);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
}

/* From one place: clang would unroll a loop with a constant number of iterations. */
static G_GNUC_NO_INLINE void
allocate_repeatedly (GPtrArray *all,
                     BufPool *pool,
                     BufPoolAllocation *(*allocate) (BufPool *),
                     volatile guint n)
{
  while (n-- > 0)
    g_ptr_array_add (all, allocate (pool));
}

static gpointer
drop_all_when_warned (gpointer data)
{
  test_wait_until (test_get_n_warnings () > 0);
  g_ptr_array_unref (data);
  return NULL;
}

static void
test_help (void)
{
  g_test_summary ("help lists the keys");

  if (test_run_with ("help", NULL, NULL))
    {
      g_autoptr (BufPool) pool G_GNUC_UNUSED = test_pool_new (16, 1);
      return;
    }
  g_test_trap_assert_stderr ("*leaks*waits*fill*guard*exit*");
}

static void
test_leaks_in_the_warning (void)
{
  g_test_summary ("The warning of dispose names the functions, with counts, those with the most "
                  "bytes first");

  if (test_skip_without_stacks ())
    return;

  if (test_run_with ("leaks", "BUFPOOL_DRAIN_WARNING", "20"))
    {
      GPtrArray *all = g_ptr_array_new_with_free_func ((GDestroyNotify) buf_pool_allocation_unref);
      BufPool *pool = test_pool_new (16, 100);
      GThread *thread;

      g_ptr_array_add (all, test_allocate (pool, 1));
      allocate_repeatedly (all, pool, forget_to_drop, 3);
      test_begin_to_count_warnings ();
      thread = g_thread_new ("drop", drop_all_when_warned, all);
      g_object_unref (pool);
      g_thread_join (thread);
      return;
    }
  g_test_trap_assert_stderr ("*waiting for 4 allocations (112 bytes)*"
                             "  3 allocations (96 bytes) by thread *:\n"
                             "    forget_to_drop*test_leaks_in_the_warning*"
                             "  1 allocation (16 bytes) by thread *:\n"
                             "    test_allocate*");
}

static void
test_without_leaks (void)
{
  g_test_summary ("Without the key, the warning contains figures and a hint to use it");

  if (test_run_with ("fill", NULL, NULL))
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 100);
      g_autoptr (BufPoolAllocation) allocation G_GNUC_UNUSED = forget_to_drop (pool);
      g_autofree gchar *description = buf_pool_describe_outstanding (pool);

      g_assert_cmpstr (description,
                       ==,
                       "The pool has 1 outstanding allocation (32 of 1600 bytes), and 0 requests "
                       "are waiting.\n  Run the program with BUFPOOL_DEBUG=leaks to see where they "
                       "come from.\n");
    }
}

static void
test_describe_later (void)
{
  g_test_summary ("A record of a request that had to wait names the place where it began");

  if (test_skip_without_stacks ())
    return;

  if (test_run_with ("leaks", NULL, NULL))
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 4);
      g_autoptr (BufPoolAllocation) first = forget_to_drop (pool);
      g_autoptr (BufPoolAllocation) second = NULL;
      g_autofree gchar *description = NULL;

      ask_for_later (pool, &second);
      g_clear_pointer (&first, buf_pool_allocation_unref);
      test_wait_until (g_main_context_iteration (NULL, FALSE) || second != NULL);
      while (second == NULL)
        g_main_context_iteration (NULL, TRUE);
      description = buf_pool_describe_outstanding (pool);
      g_assert_nonnull (strstr (description, "  1 allocation (64 bytes)"));
      g_assert_nonnull (strstr (description, "    ask_for_later"));
      g_assert_null (strstr (description, "forget_to_drop"));
    }
}

static void
test_describe_pinned (void)
{
  g_test_summary ("A released allocation is not outstanding anymore; one with a view is");

  if (test_skip_without_stacks ())
    return;

  if (test_run_with ("leaks", NULL, NULL))
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 4);
      g_autoptr (BufPoolAllocation) allocation = keep_pinned (pool);
      g_autoptr (GBytes) view = buf_pool_allocation_get_bytes (allocation);
      g_autofree gchar *before = NULL;
      g_autofree gchar *after = NULL;

      buf_pool_allocation_release (allocation);
      before = buf_pool_describe_outstanding (pool);
      g_assert_nonnull (strstr (before, "    keep_pinned"));
      g_clear_pointer (&view, g_bytes_unref);
      after = buf_pool_describe_outstanding (pool);
      g_assert_null (strstr (after, "keep_pinned"));
    }
}

/* Its name begins like those of the library. */
static G_GNUC_NO_INLINE BufPoolAllocation *
buf_of_the_program (BufPool *pool)
{
  BufPoolAllocation *allocation = buf_pool_allocate (pool, 2, NULL, NULL);

  g_assert_nonnull (allocation);
  return allocation;
}

static void
test_groups (void)
{
  g_test_summary ("Allocations from one place form one group, no matter which path the library "
                  "took");

  if (test_skip_without_stacks ())
    return;

  if (test_run_with ("leaks", NULL, NULL))
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 1000);
      g_autoptr (GPtrArray) all =
          g_ptr_array_new_with_free_func ((GDestroyNotify) buf_pool_allocation_unref);
      g_autofree gchar *description = NULL;

      /* The first request finds no credit, the others do. */
      allocate_repeatedly (all, pool, buf_of_the_program, 6);
      description = buf_pool_describe_outstanding (pool);
      g_assert_nonnull (strstr (description, "  6 allocations (192 bytes)"));
      g_assert_nonnull (strstr (description, "    buf_of_the_program"));
    }
}

static gpointer
allocate_and_drop (gpointer data)
{
  BufPool *pool = data;

  for (guint i = 0; !buf_pool_is_closed (pool); i++)
    {
      BufPoolAllocation *allocation = buf_pool_try_allocate (pool, 1 + i % 3, NULL);

      g_clear_pointer (&allocation, buf_pool_allocation_unref);
    }
  return NULL;
}

/* The total of all groups. */
static guint
count_bytes (const gchar *description)
{
  g_auto (GStrv) lines = g_strsplit (description, "\n", -1);
  guint sum = 0;

  for (guint i = 0; lines[i] != NULL; i++)
    if (g_str_has_prefix (lines[i], "  ") && g_ascii_isdigit (lines[i][2]))
      sum += g_ascii_strtoull (strchr (lines[i], '(') + 1, NULL, 10);
  g_assert_cmpuint (sum, >=, 32);
  return sum;
}

static void
test_describe_under_load (void)
{
  g_test_summary ("The description can be requested while other threads allocate, and never lists "
                  "too many");

  if (test_skip_without_stacks ())
    return;

  if (test_run_with ("leaks,fill,guard", NULL, NULL))
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 8);
      g_autoptr (BufPoolAllocation) allocation G_GNUC_UNUSED = forget_to_drop (pool);
      GThread *threads[] = { g_thread_new ("one", allocate_and_drop, pool),
                             g_thread_new ("two", allocate_and_drop, pool) };

      for (guint i = 0; i < 10; i++)
        {
          g_autofree gchar *description = buf_pool_describe_outstanding (pool);

          g_assert_nonnull (strstr (description, "    forget_to_drop"));
          g_assert_cmpuint (count_bytes (description), <=, 128);
        }
      buf_pool_close (pool);
      for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
        g_thread_join (threads[i]);
    }
}

static guint n_logged;

static const gchar *
get_field (const GLogField *fields, gsize n_fields, const gchar *key)
{
  for (gsize i = 0; i < n_fields; i++)
    if (g_str_equal (fields[i].key, key))
      return fields[i].value;
  return NULL;
}

/* Of a finished wait: test-stall.c tests waits in progress. */
static gboolean
is_in_progress (const gchar *message)
{
  return message != NULL && strstr (message, "still waiting, overtaken") != NULL;
}

static GLogWriterOutput
check_wait (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  const gchar *message = get_field (fields, n_fields, "MESSAGE");
  const gchar *waited = get_field (fields, n_fields, "BUFPOOL_WAITED");

  if (is_in_progress (message))
    return G_LOG_WRITER_HANDLED;
  g_assert_cmpstr (get_field (fields, n_fields, "GLIB_DOMAIN"), ==, "BufPool");
  g_assert_cmpstr (get_field (fields, n_fields, "BUFPOOL_BYTES"), ==, "64");
  g_assert_cmpuint (g_ascii_strtoull (waited, NULL, 10), >=, 1000);
  g_assert_true (
      g_pattern_match_simple ("The pool: a request for 64 bytes by thread * waited *.??? ms and "
                              "was granted, overtaken 2 times. In the meantime, 2 other requests "
                              "were served, the last: 16 bytes to thread *, 32 bytes to thread *",
                              message));
  n_logged++;
  return G_LOG_WRITER_HANDLED;
}

static void
test_waits (void)
{
  g_test_summary ("A long wait is logged with its size, its duration, and the requests that were "
                  "served in the meantime");

  if (test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "1"))
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 4);
      g_autoptr (BufPoolAllocation) first = test_allocate (pool, 1);
      TestRequester *requester;

      g_log_set_writer_func (check_wait, NULL, NULL);
      requester = test_requester_start (pool, 4);
      test_wait_for_waiting (pool, 1);
      for (guint i = 1; i <= 2; i++)
        buf_pool_allocation_unref (test_allocate (pool, i));
      g_usleep (2000);
      g_clear_pointer (&first, buf_pool_allocation_unref);
      test_requester_end_served (requester);
      g_assert_cmpuint (n_logged, ==, 1);
    }
}

static GString *logged;

static GLogWriterOutput
collect_waits (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  const gchar *message = get_field (fields, n_fields, "MESSAGE");

  if (!is_in_progress (message))
    g_string_append_printf (logged, "%s\n", message);
  return G_LOG_WRITER_HANDLED;
}

static void
test_waits_that_fail (void)
{
  g_test_summary ("A wait that is not granted is logged with its outcome");

  if (test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "0"))
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 4);
      g_autoptr (BufPoolAllocation) first G_GNUC_UNUSED = test_allocate (pool, 4);
      g_autoptr (GCancellable) cancellable = g_cancellable_new ();
      TestRequester *requesters[3];

      logged = g_string_new (NULL);
      g_log_set_writer_func (collect_waits, NULL, NULL);
      g_assert_null (buf_pool_allocate_timeout (pool, 1, 1, NULL, NULL));
      requesters[0] = test_requester_start_full (pool, 1, -1, cancellable);
      test_wait_for_waiting (pool, 1);
      g_cancellable_cancel (cancellable);
      g_assert_null (test_requester_end (requesters[0], NULL));
      requesters[1] = test_requester_start (pool, 4);
      test_wait_for_waiting (pool, 1);
      buf_pool_set_max_memory (pool, 32);
      g_assert_null (test_requester_end (requesters[1], NULL));
      requesters[2] = test_requester_start (pool, 1);
      test_wait_for_waiting (pool, 1);
      buf_pool_close (pool);
      g_assert_null (test_requester_end (requesters[2], NULL));

      g_assert_true (g_pattern_match_simple ("* ms and timed out*"
                                             "* ms and was cancelled*"
                                             "* ms and became too large*"
                                             "* ms and failed because the pool was closed*",
                                             logged->str));
      g_string_free (logged, TRUE);
    }
}

static void
test_short_waits (void)
{
  g_test_summary ("A wait that is shorter than the threshold is not logged");

  if (test_run_with ("waits", "BUFPOOL_WAIT_THRESHOLD", "100000"))
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 4);
      g_autoptr (BufPoolAllocation) first = test_allocate (pool, 1);
      TestRequester *requester = test_requester_start (pool, 4);

      test_wait_for_waiting (pool, 1);
      g_clear_pointer (&first, buf_pool_allocation_unref);
      test_requester_end_served (requester);
      return;
    }
  g_test_trap_assert_stderr_unmatched ("*waited*");
}

static void
assert_filled (const guint8 *data, gsize size, guint8 byte)
{
  for (gsize i = 0; i < size; i++)
    g_assert_cmphex (data[i], ==, byte);
}

static void
test_fill (void)
{
  g_test_summary ("fill marks new and freed memory; zeroed memory stays zero");

  if (test_run_with ("fill", NULL, NULL))
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 4);
      g_autoptr (BufPool) zeroed = g_object_new (BUF_TYPE_POOL, "zero-fill", TRUE, NULL);
      g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 3);
      g_autoptr (BufPoolAllocation) zeros = test_allocate (zeroed, 1);

      assert_filled (buf_pool_allocation_get_first (zeros), 4096, 0);
      watched = buf_pool_allocation_get_first (allocation);
      watched_size = 48;
      assert_filled (watched, 48, 0xCD);
      memset (watched, 7, 48);
      g_clear_pointer (&allocation, buf_pool_allocation_unref);
      g_assert_nonnull (seen_when_freed);
      assert_filled (seen_when_freed, 48, 0xDD);
      g_free (seen_when_freed);
    }
}

static void
test_guard (void)
{
  g_test_summary ("guard detects a write past the end, and names the place of the allocation");

  if (test_skip_without_stacks ())
    return;

  if (test_run_with ("guard", NULL, NULL))
    {
      g_autoptr (BufPool) pool = test_pool_new (16, 4);
      BufPoolAllocation *allocation = forget_to_drop (pool);
      guint8 *data = buf_pool_allocation_get_first (allocation);

      memset (data, 0, 32 + 3);
      buf_pool_allocation_unref (allocation);
      return;
    }
  g_test_trap_assert_stderr ("*CRITICAL*up to 3 bytes past the end*    forget_to_drop*");
}

static void
assert_usable_to_the_end (guint64 buffer_size, guint alignment, gboolean zero_fill)
{
  g_autoptr (BufPool) pool = g_object_new (BUF_TYPE_POOL,
                                           "buffer-size",
                                           buffer_size,
                                           "alignment",
                                           alignment,
                                           "zero-fill",
                                           zero_fill,
                                           NULL);
  BufPoolAllocation *allocations[] = { test_allocate (pool, 1),
                                       test_allocate (pool, 3),
                                       keep_pinned (pool) };

  for (guint i = 0; i < G_N_ELEMENTS (allocations); i++)
    {
      gsize size;
      guint8 *data = buf_pool_allocation_get_data (allocations[i], &size);

      g_assert_cmpuint ((guintptr) data % alignment, ==, 0);
      memset (data, 0, size);
      buf_pool_allocation_unref (allocations[i]);
    }
}

static void
test_guard_is_quiet (void)
{
  g_test_summary ("guard does not report writes up to the end of aligned, zeroed or pinned memory");

  if (test_run_with ("all", NULL, NULL))
    {
      assert_usable_to_the_end (512, 512, FALSE);
      assert_usable_to_the_end (128 * 1024 - 64, 64, TRUE); /* large, except for the guard */
      return;
    }
  g_test_trap_assert_stderr_unmatched ("*CRITICAL*");
}

static void
test_thread_id_after_fork (void)
{
  pid_t child;
  int status;

  g_test_summary ("The first thread has the ID of its process, even in the child of a fork");

  g_assert_cmpuint (buf_debug_get_thread_id (), ==, getpid ());
  child = fork ();
  if (child == 0)
    _exit (buf_debug_get_thread_id () != (guint) getpid ());
  g_assert_cmpint (child, >, 0);
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (status, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/debug/help", test_help);
  g_test_add_func ("/debug/leaks-in-the-warning", test_leaks_in_the_warning);
  g_test_add_func ("/debug/without-leaks", test_without_leaks);
  g_test_add_func ("/debug/describe-later", test_describe_later);
  g_test_add_func ("/debug/describe-pinned", test_describe_pinned);
  g_test_add_func ("/debug/groups", test_groups);
  g_test_add_func ("/debug/describe-under-load", test_describe_under_load);
  g_test_add_func ("/debug/waits", test_waits);
  g_test_add_func ("/debug/waits-that-fail", test_waits_that_fail);
  g_test_add_func ("/debug/short-waits", test_short_waits);
  g_test_add_func ("/debug/fill", test_fill);
  g_test_add_func ("/debug/guard", test_guard);
  g_test_add_func ("/debug/guard-is-quiet", test_guard_is_quiet);
  g_test_add_func ("/debug/thread-id-after-fork", test_thread_id_after_fork);
  return g_test_run ();
}
