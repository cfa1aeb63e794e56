/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-budget-private.h"
#include "budget/buf-pending-task-private.h"
#include "budget/buf-request-private.h"
#include "budget/buf-wait-report-private.h"
#include "debug/buf-words-private.h"

/*
 * Requests for bytes of a budget: blocking, asynchronous and non-waiting.
 *
 * A request for no bytes is granted immediately, with an empty permit.
 */

static BufWant
get_want (gsize n_bytes, gint priority)
{
  guint64 wide = n_bytes;
  BufWant want = BUF_WANT ((gint64) MIN (wide, (guint64) G_MAXINT64));

  want.priority = priority;
  return want;
}

static void
set_error (BufBudget *self,
           gsize n_bytes,
           BufOutcome outcome,
           const BufSemaphoreFigures *figures,
           GError **error)
{
  g_autofree gchar *asked = NULL;

  if (error == NULL)
    return;

  asked = g_strdup_printf ("Cannot acquire %" G_GSIZE_FORMAT " %s",
                           n_bytes,
                           buf_words_choose (n_bytes, "byte", "bytes"));
  buf_request_set_error (buf_budget_get_semaphore (self), asked, outcome, figures, error);
}

/* Takes the bytes if they are available, or returns why not. PENDING means that the caller can wait
 * for them; if @enters is set, it is then inside. */
static BufOutcome
take_bytes (BufBudget *self, BufWant *want, gboolean enters, BufSemaphoreFigures *figures)
{
  BufSemaphore *semaphore = buf_budget_get_semaphore (self);
  BufOutcome outcome;

  if (want->bytes == 0 || buf_semaphore_take_credit (semaphore, want->bytes))
    return BUF_OUTCOME_GRANTED;

  outcome = buf_semaphore_acquire (semaphore, want, enters, figures);
  if (outcome == BUF_OUTCOME_PENDING)
    outcome = buf_semaphore_acquire_after_others (semaphore, want, enters, figures);
  return outcome;
}

/* The caller is inside on entry, but not on return. */
static BufOutcome
wait_for_bytes (BufBudget *self,
                BufWant *want,
                gint64 timeout_us,
                GCancellable *cancellable,
                BufSemaphoreFigures *figures)
{
  BufSemaphore *semaphore = buf_budget_get_semaphore (self);
  BufWaitReport *report;
  BufWaiter waiter;
  BufOutcome outcome;

  buf_waiter_init (&waiter, want->bytes, NULL);
  waiter.want = *want;
  outcome = buf_request_wait (semaphore, &waiter, timeout_us, cancellable, figures);
  report = buf_wait_report_new (semaphore, &waiter);
  buf_waiter_clear (&waiter);

  /* The grant may come first, but a caller that has cancelled does not expect a permit anymore. */
  if (outcome == BUF_OUTCOME_GRANTED && g_cancellable_is_cancelled (cancellable))
    {
      buf_semaphore_release (semaphore, want->bytes);
      outcome = BUF_OUTCOME_CANCELLED;
    }
  buf_semaphore_leave (semaphore);
  buf_wait_report_log (report);
  return outcome;
}

static BufPermit *
make_permit (BufBudget *self,
             gsize n_bytes,
             BufOutcome outcome,
             const BufSemaphoreFigures *figures,
             GError **error)
{
  if (outcome == BUF_OUTCOME_GRANTED)
    return buf_permit_new (self, (gint64) n_bytes);

  set_error (self, n_bytes, outcome, figures, error);
  return NULL;
}

/* The caller is inside on entry, but not on return. A reference keeps the budget alive, because
 * another thread may drop the one that the caller depends on. */
static BufPermit *
wait_for_permit (BufBudget *self,
                 BufWant *want,
                 gint64 timeout_us,
                 GCancellable *cancellable,
                 GError **error)
{
  BufSemaphoreFigures figures;
  BufPermit *permit;
  BufOutcome outcome;

  g_object_ref (self);
  outcome = wait_for_bytes (self, want, timeout_us, cancellable, &figures);
  permit = make_permit (self, (gsize) want->bytes, outcome, &figures, error);
  g_object_unref (self);
  return permit;
}

/**
 * buf_budget_acquire:
 * @self: a budget
 * @n_bytes: the number of bytes
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Acquires bytes. If this budget or a budget above it has too few bytes available, the calling
 * thread blocks until enough bytes are released.
 *
 * Fails with %BUF_POOL_ERROR_TOO_LARGE if the request exceeds the limit of any level; with
 * %BUF_POOL_ERROR_OVERLOADED if it would have to wait and [property@Budget:max-waiting] requests
 * are already waiting; and with %G_IO_ERROR_CANCELLED. The message names the level that refused the
 * request. A request for 0 bytes always succeeds.
 *
 * Do not acquire a permit while you hold another one, unless the limit covers what all threads can
 * hold at the same time. This function can be called from any thread; do not call it in a thread
 * that runs a main loop.
 *
 * Returns: (transfer full): a permit, or %NULL with an error
 *
 * Since: 1.0
 */
BufPermit *
buf_budget_acquire (BufBudget *self, gsize n_bytes, GCancellable *cancellable, GError **error)
{
  return buf_budget_acquire_full (self, n_bytes, -1, G_PRIORITY_DEFAULT, cancellable, error);
}

/**
 * buf_budget_acquire_full:
 * @self: a budget
 * @n_bytes: the number of bytes
 * @timeout_us: the longest time to wait, in microseconds, or a negative value for no limit
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Like [method@Budget.acquire], with a timeout and a priority. A request with a higher priority,
 * which is a lower number, is granted before a request with a lower priority. If the priority is
 * higher than %G_PRIORITY_DEFAULT, the request can also use [property@Budget:reserved-memory].
 *
 * Fails with %G_IO_ERROR_TIMED_OUT after @timeout_us.
 *
 * Returns: (transfer full): a permit, or %NULL with an error
 *
 * Since: 1.0
 */
BufPermit *
buf_budget_acquire_full (BufBudget *self,
                         gsize n_bytes,
                         gint64 timeout_us,
                         int io_priority,
                         GCancellable *cancellable,
                         GError **error)
{
  BufWant want = get_want (n_bytes, io_priority);
  BufSemaphoreFigures figures;
  BufOutcome outcome;

  g_return_val_if_fail (BUF_IS_BUDGET (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return NULL;

  outcome = take_bytes (self, &want, TRUE, &figures);
  if (outcome == BUF_OUTCOME_PENDING)
    return wait_for_permit (self, &want, timeout_us, cancellable, error);
  return make_permit (self, n_bytes, outcome, &figures, error);
}

/**
 * buf_budget_try_acquire:
 * @self: a budget
 * @n_bytes: the number of bytes
 * @error: return location for an error, or %NULL
 *
 * Like [method@Budget.acquire], but never waits. Fails with %G_IO_ERROR_WOULD_BLOCK if a level has
 * too few bytes available, or if the available bytes are owed to an older waiting request.
 *
 * This function can be called from any thread.
 *
 * Returns: (transfer full): a permit, or %NULL with an error
 *
 * Since: 1.0
 */
BufPermit *
buf_budget_try_acquire (BufBudget *self, gsize n_bytes, GError **error)
{
  BufWant want = get_want (n_bytes, G_PRIORITY_DEFAULT);
  BufSemaphoreFigures figures;
  BufOutcome outcome;

  g_return_val_if_fail (BUF_IS_BUDGET (self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  outcome = take_bytes (self, &want, FALSE, &figures);
  return make_permit (self, n_bytes, outcome, &figures, error);
}

static void
return_permit (GTask *task, gsize n_bytes)
{
  g_task_return_pointer (task,
                         buf_permit_new (g_task_get_source_object (task), (gint64) n_bytes),
                         (GDestroyNotify) buf_permit_unref);
}

static void
return_permit_error (GTask *task,
                     gsize n_bytes,
                     BufOutcome outcome,
                     const BufSemaphoreFigures *figures)
{
  GError *error = NULL;

  set_error (g_task_get_source_object (task), n_bytes, outcome, figures, &error);
  g_task_return_error (task, error);
}

static void
deliver_permit (BufPendingTask *self, BufOutcome outcome)
{
  BufSemaphore *semaphore = buf_budget_get_semaphore (g_task_get_source_object (self->task));
  gsize n_bytes = (gsize) self->waiter.want.bytes;
  BufSemaphoreFigures figures;

  buf_wait_report_log (buf_wait_report_new (semaphore, &self->waiter));
  if (outcome == BUF_OUTCOME_GRANTED)
    {
      return_permit (self->task, n_bytes);
      return;
    }

  if (g_cancellable_is_cancelled (g_task_get_cancellable (self->task)))
    outcome = BUF_OUTCOME_CANCELLED;
  buf_semaphore_get_refusal (semaphore, &self->waiter, &figures);
  return_permit_error (self->task, n_bytes, outcome, &figures);
}

/**
 * buf_budget_acquire_async:
 * @self: a budget
 * @n_bytes: the number of bytes
 * @io_priority: the priority of the request and of its callback, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): the function to call when the request is granted or fails
 * @user_data: data for @callback
 *
 * The asynchronous version of [method@Budget.acquire_full], without a timeout. The calling thread
 * does not block.
 *
 * The callback runs in the thread-default main context of the caller. Call
 * [method@Budget.acquire_finish] in it. If you do not fetch the permit, its bytes return to the
 * budget when the result is freed. If a request is cancelled after it is granted but before the
 * callback runs, it fails with %G_IO_ERROR_CANCELLED, and its bytes return to the budget.
 *
 * This function can be called from any thread.
 *
 * Since: 1.0
 */
void
buf_budget_acquire_async (BufBudget *self,
                          gsize n_bytes,
                          int io_priority,
                          GCancellable *cancellable,
                          GAsyncReadyCallback callback,
                          gpointer user_data)
{
  BufWant want = get_want (n_bytes, io_priority);
  g_autoptr (GTask) task = NULL;
  BufSemaphoreFigures figures;
  BufPendingTask *pending;
  BufOutcome outcome;

  g_return_if_fail (BUF_IS_BUDGET (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  /* The parentheses avoid the macro of this name, which would copy the name for each task. */
  (g_task_set_source_tag) (task, buf_budget_acquire_async);
  g_task_set_priority (task, io_priority);
  if (g_task_return_error_if_cancelled (task))
    return;

  outcome = take_bytes (self, &want, FALSE, &figures);
  if (outcome == BUF_OUTCOME_GRANTED)
    return_permit (task, n_bytes);
  else if (outcome != BUF_OUTCOME_PENDING)
    return_permit_error (task, n_bytes, outcome, &figures);
  else
    {
      pending = g_new0 (BufPendingTask, 1);
      buf_pending_task_init (pending, g_steal_pointer (&task), &want, deliver_permit);
      buf_pending_task_wait (pending, buf_budget_get_semaphore (self), -1);
    }
}

/**
 * buf_budget_acquire_finish:
 * @self: a budget
 * @result: the result passed to the callback
 * @error: return location for an error, or %NULL
 *
 * Finishes a request that [method@Budget.acquire_async] started. Call this function once for each
 * request.
 *
 * Returns: (transfer full): a permit, or %NULL with an error
 *
 * Since: 1.0
 */
BufPermit *
buf_budget_acquire_finish (BufBudget *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (BUF_IS_BUDGET (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, buf_budget_acquire_async), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}
