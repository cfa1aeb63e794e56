/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A wait queue without threads, in which each step is explicit, and time passes only when the test
 * says so: link with --wrap=g_get_monotonic_time. */

#pragma once

#include "semaphore/buf-wait-queue-private.h"
#include "testing.h"

G_BEGIN_DECLS

#define MAXIMUM 100

typedef struct
{
  BufLevel level;
  BufWaitQueue queue;
  BufReady ready;
  gint64 due; /* when the watcher looks */
  GPtrArray *waiters;
} Fixture;

gint64 fixture_pass (gint64 microseconds);
void fixture_assert_oldest (const BufWaitQueue *queue);
void fixture_set_up (Fixture *self, gconstpointer data);
void fixture_tear_down (Fixture *self, gconstpointer data);
BufWaiter *fixture_push_thread (Fixture *self, gint64 bytes);
BufWaiter *fixture_push_thread_at (Fixture *self, BufLevel *level, gint64 bytes);
BufWaiter *fixture_push_urgent_thread (Fixture *self, gint64 bytes);
BufWaiter *fixture_push_task (Fixture *self, gint64 bytes);
gboolean fixture_try (Fixture *self, gint64 bytes);
void fixture_take (Fixture *self, gint64 bytes);
void fixture_release (Fixture *self, gint64 bytes);
gboolean fixture_run (Fixture *self, BufWaiter *waiter);
void fixture_let_time_pass (Fixture *self, gint64 microseconds);
void fixture_leave (Fixture *self, BufWaiter *waiter);
void fixture_overtake (Fixture *self, guint n);

#define assert_granted(waiter) g_assert_cmpint ((waiter)->outcome, ==, BUF_OUTCOME_GRANTED)
#define assert_pending(waiter, what)                                                               \
  G_STMT_START                                                                                     \
  {                                                                                                \
    g_assert_cmpint ((waiter)->outcome, ==, BUF_OUTCOME_PENDING);                                  \
    g_assert_cmpint ((waiter)->state, ==, what);                                                   \
  }                                                                                                \
  G_STMT_END

G_END_DECLS
