/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Threads that acquire permits. */

#pragma once

#include "budget/buf-budget-private.h"
#include "testing.h"

G_BEGIN_DECLS

typedef struct
{
  BufBudget *budget;
  gsize n_bytes;
  gint64 timeout_us;
  int priority;
  GCancellable *cancellable;
  GThread *thread;
  BufPermit *permit;
  GError *error;
  gint done; /* atomic */
} Acquirer;

static gpointer
acquirer_run (gpointer data)
{
  Acquirer *self = data;

  self->permit = buf_budget_acquire_full (self->budget,
                                          self->n_bytes,
                                          self->timeout_us,
                                          self->priority,
                                          self->cancellable,
                                          &self->error);
  g_atomic_int_set (&self->done, TRUE);
  return NULL;
}

/* Disables all time limits in this tree, so that the order of grants does not depend on the load of
 * the machine. */
static inline void
budget_stop_clock (BufBudget *budget)
{
  BufWaitQueue *queue = &buf_budget_get_semaphore (budget)->tree->queue;

  queue->overtaken_time = G_MAXINT64 / 2;
  queue->patience = G_MAXINT64 / 2;
}

/* Returns when the request waits. */
static inline void
acquirer_start (Acquirer *self, BufBudget *budget, gsize n_bytes, int priority)
{
  gsize n_waiting = buf_budget_get_waiting (budget);

  self->budget = budget;
  self->n_bytes = n_bytes;
  self->timeout_us = -1;
  self->priority = priority;
  self->thread = g_thread_new ("acquirer", acquirer_run, self);
  while (buf_budget_get_waiting (budget) == n_waiting)
    g_thread_yield ();
}

/* How many requests of this tree wait and have not been woken. Whether a waiting request is granted
 * is decided in the section that frees the bytes. */
static inline guint
count_asleep (BufBudget *budget)
{
  BufTree *tree = buf_budget_get_semaphore (budget)->tree;
  guint n;

  g_mutex_lock (&tree->mutex);
  n = tree->queue.waiters.length - tree->queue.woken.length;
  g_mutex_unlock (&tree->mutex);
  return n;
}

static inline void
acquirer_end (Acquirer *self)
{
  g_thread_join (self->thread);
  g_assert_cmpint (self->permit != NULL, !=, self->error != NULL);
}

static inline void
acquirer_end_granted (Acquirer *self)
{
  acquirer_end (self);
  g_assert_no_error (self->error);
  g_assert_cmpuint (buf_permit_get_size (self->permit), ==, self->n_bytes);
  buf_permit_unref (self->permit);
}

static inline BufPermit *
acquire (BufBudget *budget, gsize n_bytes)
{
  g_autoptr (GError) error = NULL;
  BufPermit *permit = buf_budget_try_acquire (budget, n_bytes, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (buf_permit_get_size (permit), ==, n_bytes);
  return permit;
}

static inline void
assert_refused (BufBudget *budget, gsize n_bytes, GQuark domain, gint code, const gchar *message)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (buf_budget_try_acquire (budget, n_bytes, &error));
  g_assert_error (error, domain, code);
  g_assert_cmpstr (error->message, ==, message);
}

static inline void
assert_in_use (BufBudget *budget, gsize allocated)
{
  g_assert_cmpuint (buf_budget_get_allocated_memory (budget), ==, allocated);
  g_assert_cmpuint (buf_budget_get_available_memory (budget),
                    ==,
                    buf_budget_get_max_memory (budget) - allocated);
}

G_END_DECLS
