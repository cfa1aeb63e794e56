/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Messages use the singular and the plural correctly: one byte, two bytes. */

#include "debug/buf-words-private.h"
#include "testing.h"

static void
assert_says (GError *error, const gchar *message)
{
  g_assert_nonnull (error);
  g_assert_cmpstr (error->message, ==, message);
  g_error_free (error);
}

static void
assert_refused (BufPool *pool, gsize n_buffers, const gchar *message)
{
  GError *error = NULL;

  g_assert_null (buf_pool_try_allocate (pool, n_buffers, &error));
  assert_says (error, message);
}

static void
test_buffers (void)
{
  g_autofree gchar *one = buf_words_buffers (1, 4096, 4096);
  g_autofree gchar *one_byte = buf_words_buffers (1, 1, 1);
  g_autofree gchar *two = buf_words_buffers (2, 4096, 8192);
  g_autofree gchar *two_bytes = buf_words_buffers (2, 1, 2);

  g_test_summary ("The size of a request");

  g_assert_cmpstr (one, ==, "1 buffer of 4096 bytes");
  g_assert_cmpstr (one_byte, ==, "1 buffer of 1 byte");
  g_assert_cmpstr (two, ==, "2 buffers of 4096 bytes (8192 bytes)");
  g_assert_cmpstr (two_bytes, ==, "2 buffers of 1 byte (2 bytes)");
}

static void
test_too_large (void)
{
  g_autoptr (BufPool) one = test_pool_new (1, 1);
  g_autoptr (BufPool) two = test_pool_new (2, 1);

  g_test_summary ("Why a request can never be granted");

  assert_refused (one,
                  2,
                  "Cannot allocate 2 buffers of 1 byte (2 bytes): the pool never has more than 1 "
                  "byte");
  assert_refused (two,
                  2,
                  "Cannot allocate 2 buffers of 2 bytes (4 bytes): the pool never has more than 2 "
                  "bytes");
  buf_pool_close (one);
  assert_refused (one, 1, "Cannot allocate 1 buffer of 1 byte: the pool is closed");
}

static void
test_would_block (void)
{
  g_autoptr (BufPool) pool = test_pool_new (1, 3);
  g_autoptr (BufPool) one = test_pool_new (1, 1);
  g_autoptr (BufPoolAllocation) two = test_allocate (pool, 2);
  g_autoptr (BufPoolAllocation) all = test_allocate (one, 1);
  TestRequester *requesters[2];

  g_test_summary ("Why a request cannot be granted now");

  assert_refused (pool,
                  2,
                  "Cannot allocate 2 buffers of 1 byte (2 bytes): only 1 of 3 bytes is available, "
                  "and 0 other requests are waiting");
  assert_refused (one,
                  1,
                  "Cannot allocate 1 buffer of 1 byte: only 0 of 1 byte are available, and 0 other "
                  "requests are waiting");
  for (guint i = 0; i < G_N_ELEMENTS (requesters); i++)
    {
      requesters[i] = test_requester_start (one, 1);
      test_wait_for_waiting (one, i + 1);
      assert_refused (one,
                      1,
                      i == 0 ? "Cannot allocate 1 buffer of 1 byte: only 0 of 1 byte are "
                               "available, and 1 other request is waiting"
                             : "Cannot allocate 1 buffer of 1 byte: only 0 of 1 byte are "
                               "available, and 2 other requests are waiting");
    }
  g_clear_pointer (&all, buf_pool_allocation_unref);
  for (guint i = 0; i < G_N_ELEMENTS (requesters); i++)
    test_requester_end_served (requesters[i]);
}

static void
test_drain (void)
{
  g_autoptr (BufPool) pool = test_pool_new (1, 8);
  g_autoptr (BufPoolAllocation) first = test_allocate (pool, 1);
  g_autoptr (BufPoolAllocation) second = NULL;
  GError *error = NULL;

  g_test_summary ("What a drain still waits for");

  g_assert_false (buf_pool_drain_timeout (pool, 1, NULL, &error));
  assert_says (g_steal_pointer (&error),
               "Draining timed out while 1 allocation (1 byte) is still outstanding");
  second = test_allocate (pool, 2);
  g_assert_nonnull (second);
  g_assert_false (buf_pool_drain_timeout (pool, 1, NULL, &error));
  assert_says (error, "Draining timed out while 2 allocations (3 bytes) are still outstanding");
}

static void
assert_described (BufPool *pool, const gchar *beginning)
{
  g_autofree gchar *description = buf_pool_describe_outstanding (pool);

  g_test_message ("%s", description);
  g_assert_true (g_str_has_prefix (description, beginning));
}

static void
test_description (void)
{
  g_autoptr (BufPool) pool = test_pool_new (1, 2);
  g_autoptr (BufPool) one = test_pool_new (1, 1);
  g_autoptr (BufPoolAllocation) first = test_allocate (pool, 1);
  g_autoptr (BufPoolAllocation) second = NULL;
  TestRequester *requester;

  g_test_summary ("What is outstanding, and how many requests wait");

  assert_described (one,
                    "The pool has 0 outstanding allocations (0 of 1 byte), and 0 requests are "
                    "waiting.\n");
  requester = test_requester_start (pool, 2);
  test_wait_for_waiting (pool, 1);
  assert_described (pool,
                    "The pool has 1 outstanding allocation (1 of 2 bytes), and 1 request is "
                    "waiting.\n");
  second = test_allocate (pool, 1);
  assert_described (pool,
                    "The pool has 2 outstanding allocations (2 of 2 bytes), and 1 request is "
                    "waiting.\n");
  g_clear_pointer (&first, buf_pool_allocation_unref);
  g_clear_pointer (&second, buf_pool_allocation_unref);
  test_requester_end_served (requester);
}

static void
test_range (void)
{
  g_autoptr (BufPool) pool = test_pool_new (1, 8);
  g_autoptr (BufPoolAllocation) one = test_allocate (pool, 1);
  g_autoptr (BufPoolAllocation) two = test_allocate (pool, 2);
  GError *error = NULL;

  g_test_summary ("Which part of an allocation does not exist");

  g_assert_null (buf_pool_allocation_extract (one, 1, 1, &error));
  assert_says (g_steal_pointer (&error),
               "Cannot access 1 byte at offset 1: the allocation has 1 byte");
  g_assert_null (buf_pool_allocation_extract (two, 1, 2, &error));
  assert_says (g_steal_pointer (&error),
               "Cannot access 2 bytes at offset 1: the allocation has 2 bytes");
  buf_pool_allocation_release (one);
  g_assert_null (buf_pool_allocation_extract (one, 0, 1, &error));
  assert_says (error, "The allocation of 1 byte has been released");

  g_test_expect_message ("BufPool", G_LOG_LEVEL_CRITICAL, "*buffer index 2 is out of range 0 to 1");
  g_assert_null (buf_pool_allocation_get_buffer (two, 2));
  g_test_assert_expected_messages ();
}

static void
test_shrink (void)
{
  g_autoptr (BufPool) pool = test_pool_new (1, 2);
  g_autoptr (BufPoolAllocation) pinned = buf_pool_try_allocate_pinned (pool, 2, NULL);
  GError *error = NULL;

  g_test_summary ("Why an allocation cannot shrink");

  g_assert_false (buf_pool_allocation_shrink (pinned, 1, &error));
  assert_says (error,
               "An allocation of 2 buffers cannot shrink to 1 (1 byte), because only 0 bytes are "
               "available for the exchange");
}

static void
test_configuration (void)
{
  GError *error = NULL;

  g_test_summary ("Why a pool cannot be created");

  g_assert_null (buf_pool_new (2, 1, &error));
  assert_says (g_steal_pointer (&error),
               "A limit of 1 byte is too small for one buffer of 2 bytes");
  g_assert_null (buf_pool_new (1, 0, &error));
  assert_says (g_steal_pointer (&error),
               "A limit of 0 bytes is too small for one buffer of 1 byte");
  g_assert_null (g_initable_new (BUF_TYPE_POOL,
                                 NULL,
                                 &error,
                                 "buffer-size",
                                 (guint64) 1,
                                 "alignment",
                                 2,
                                 NULL));
  assert_says (error, "A buffer size of 1 byte is not a multiple of the alignment of 2 bytes");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/words/buffers", test_buffers);
  g_test_add_func ("/words/too-large", test_too_large);
  g_test_add_func ("/words/would-block", test_would_block);
  g_test_add_func ("/words/drain", test_drain);
  g_test_add_func ("/words/description", test_description);
  g_test_add_func ("/words/range", test_range);
  g_test_add_func ("/words/shrink", test_shrink);
  g_test_add_func ("/words/configuration", test_configuration);
  return g_test_run ();
}
