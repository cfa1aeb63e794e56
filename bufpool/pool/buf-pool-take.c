/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-request-private.h"
#include "memory/buf-pool-allocation-private.h"
#include "pool/buf-pool-private.h"

/*
 * How a blocking request gets its bytes, and how a thread waits.
 *
 * A request tries the semaphore under the lock, and prepares to wait only if that fails. Only a
 * wait uses the cancellable, which must not be touched while the lock is held. The thread is
 * "inside" from before it connects to the cancellable until after its last access to the memory,
 * which keeps the memory alive. The pool itself may already be gone, so nothing here accesses it
 * after a wait, unless it was granted bytes.
 */

/* Waits for the bytes in @want; if that is no bytes, until nothing is outstanding. The caller is
 * inside. It logs @report after it has left. */
BufOutcome
buf_pool_wait_inside (BufMemory *memory,
                      BufWant *want,
                      gint64 timeout_us,
                      GCancellable *cancellable,
                      BufSemaphoreFigures *figures,
                      BufWaitReport **report)
{
  BufWaiter waiter;
  BufOutcome outcome;

  buf_waiter_init (&waiter, want->bytes, NULL);
  waiter.want = *want;
  outcome = buf_request_wait (&memory->semaphore, &waiter, timeout_us, cancellable, figures);
  *want = waiter.want;
  *report = buf_wait_report_new (&memory->semaphore, &waiter);
  buf_waiter_clear (&waiter);
  return outcome;
}

/* A log writer is user code. If it drops the last reference on the pool, this thread must not wait
 * for the allocation that was granted but has not been returned yet. */
static void
log_granted (BufPool *self, BufWaitReport *report)
{
  if (G_LIKELY (report == NULL))
    return;

  g_object_ref (self);
  buf_wait_report_log (report);
  buf_pool_drop_library_reference (self);
}

/* Returns whether the bytes were taken, after a wait. The caller is inside on entry, but not on
 * return. Only granted bytes keep @self alive. */
static gboolean
wait_for_budget (BufPool *self,
                 BufMemory *memory,
                 const BufPoolRequest *request,
                 BufWant *want,
                 GCancellable *cancellable,
                 GError **error)
{
  gsize n_buffers = request->min_buffers;
  BufSemaphoreFigures figures;
  BufWaitReport *report;
  BufOutcome outcome =
      buf_pool_wait_inside (memory, want, request->timeout_us, cancellable, &figures, &report);

  /* The grant may come first, but a caller that has cancelled does not expect an allocation
   * anymore. */
  if (g_cancellable_is_cancelled (cancellable))
    {
      if (outcome == BUF_OUTCOME_GRANTED)
        buf_pool_allocation_give_up (memory, want);
      outcome = BUF_OUTCOME_CANCELLED;
    }

  if (outcome != BUF_OUTCOME_GRANTED)
    buf_pool_set_request_error (memory, n_buffers, outcome, &figures, error);
  buf_semaphore_leave (&memory->semaphore);
  if (outcome == BUF_OUTCOME_GRANTED)
    log_granted (self, report);
  else
    buf_wait_report_log (report);
  return outcome == BUF_OUTCOME_GRANTED;
}

/* Takes the bytes for an unchecked request if they are available. */
gboolean
buf_pool_try_take (BufPool *self, const BufPoolRequest *request, BufWant *want, GError **error)
{
  BufMemory *memory = self->memory;
  BufSemaphoreFigures figures;
  BufOutcome outcome;

  if (!buf_pool_check_request (self, request, want, error))
    return FALSE;

  outcome = buf_memory_acquire (memory, want, FALSE, &figures);
  buf_memory_trace (memory, 0);
  if (outcome == BUF_OUTCOME_GRANTED)
    return TRUE;

  buf_pool_set_request_error (memory, request->min_buffers, outcome, &figures, error);
  return FALSE;
}

/* Like buf_pool_try_take(), but waits for the bytes. */
gboolean
buf_pool_take (BufPool *self,
               const BufPoolRequest *request,
               GCancellable *cancellable,
               BufWant *want,
               GError **error)
{
  BufMemory *memory = self->memory;
  BufSemaphoreFigures figures;
  BufOutcome outcome;

  if (!buf_pool_check_cancelled (memory, cancellable, error) ||
      !buf_pool_check_request (self, request, want, error))
    return FALSE;

  outcome = buf_memory_acquire (memory, want, TRUE, &figures);
  buf_memory_trace (memory, 0);
  if (outcome == BUF_OUTCOME_GRANTED)
    return TRUE;
  if (outcome == BUF_OUTCOME_PENDING)
    return wait_for_budget (self, memory, request, want, cancellable, error);

  buf_pool_set_request_error (memory, request->min_buffers, outcome, &figures, error);
  return FALSE;
}
