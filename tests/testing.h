/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What several test programs share: threads that wait for a pool, and waiting for states. */

#pragma once

#include <bufpool/bufpool.h>

G_BEGIN_DECLS

/* A thread with one request. */
typedef struct
{
  BufPool *pool;
  gsize n_buffers;
  gint64 timeout;
  GCancellable *cancellable;
  GThread *thread;
  BufPoolAllocation *allocation;
  GError *error;
  gint done; /* atomic */
} TestRequester;

TestRequester *test_requester_start (BufPool *pool, gsize n_buffers);
TestRequester *test_requester_start_full (BufPool *pool,
                                          gsize n_buffers,
                                          gint64 timeout,
                                          GCancellable *cancellable);
gboolean test_requester_is_done (TestRequester *self);
BufPoolAllocation *test_requester_end (TestRequester *self, GError **error);
void test_requester_end_served (TestRequester *self);

BufPool *test_pool_new_timed (gsize buffer_size, gsize n_buffers);
BufPool *test_pool_new (gsize buffer_size, gsize n_buffers);
void test_pool_stop_clock (BufPool *pool);
BufPoolAllocation *test_allocate (BufPool *pool, gsize n_buffers);
void test_assert_figures (BufPool *pool, gsize allocated_buffers, gsize n_allocations);

/* A thread that drops a reference on a pool, and may wait there. */
typedef struct
{
  BufPool *pool;
  gint done; /* atomic */
  GThread *thread;
} TestOwner;

void test_owner_start (TestOwner *self, BufPool *pool);
void test_owner_start_waiting (TestOwner *self, BufPool *pool);
void test_owner_assert_waits (TestOwner *self);
void test_owner_end (TestOwner *self);
void test_owner_run (BufPool *pool);

void test_assert_still_there (BufPool *pool);
void test_wait_for_the_end (void);

void test_keep_result (GObject *source, GAsyncResult *result, gpointer user_data);
void test_iterate_until (GAsyncResult **result);
void test_iterate_all (void);

/* The number of threads that wait until nothing is outstanding: in a drain, or at the end of the
 * pool. */
guint test_get_n_drainers (BufPool *pool);

/* How many states that pools share with their allocations exist. */
guint test_count_memories (void);

/* Yields until the condition holds, and aborts the program if it does not hold within a minute. */
#define test_wait_until(condition)                                                                 \
  G_STMT_START                                                                                     \
  {                                                                                                \
    gint64 test_deadline = g_get_monotonic_time () + 60 * G_USEC_PER_SEC;                          \
    while (!(condition))                                                                           \
      test_yield (test_deadline, G_STRLOC, #condition);                                            \
  }                                                                                                \
  G_STMT_END

#define test_wait_for_waiting(pool, n) test_wait_until (test_is_waiting (pool, n))

/* Whether @n requests wait, and the cache is closed: a thread that waits closes it after it has
 * entered the queue, and until then others may find a cached block. */
gboolean test_is_waiting (BufPool *pool, guint n);

/* Counts the warnings of the library from now on; they are still logged. */
void test_begin_to_count_warnings (void);
guint test_get_n_warnings (void);

/* The text of the log messages. */
const gchar *test_get_log_message (const GLogField *fields, gsize n_fields);

void test_yield (gint64 deadline, const gchar *where, const gchar *condition);

gboolean test_run_with (const gchar *keys, const gchar *variable, const gchar *value);

/* For tests of call stacks, which not every C library provides. */
gboolean test_skip_without_stacks (void);

/* How often to repeat: @n, scaled by TEST_SCALE percent. */
guint test_scale (guint n);

G_END_DECLS
