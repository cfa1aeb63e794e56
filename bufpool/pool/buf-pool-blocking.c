/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-request-private.h"
#include "budget/buf-wait-report-private.h"
#include "memory/buf-pool-allocation-private.h"
#include "pool/buf-pool-private.h"

/*
 * The blocking side of a pool: requests, and waiting until nothing is outstanding.
 *
 * A request first tries the credit of its thread's stripe, then asks the budget, and only then
 * prepares to wait: only a wait needs the cancellable, which must not be touched under the budget's
 * lock. From before it is connected until after the last look at the memory, the thread is
 * "inside", which keeps the memory. The pool itself may be gone by then, so nothing here looks at
 * it.
 */

/* Waits for what @want wants; without any bytes, until nothing is outstanding. The caller is
 * inside, and logs the @report when it has left. */
static BufOutcome
wait_inside (BufMemory *memory,
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

/* A log writer is code of the program. If it drops the last reference on the pool, this thread must
 * not wait for what it was granted, and has not returned yet. */
static void
log_granted (BufPool *self, BufWaitReport *report)
{
  if (G_LIKELY (report == NULL))
    return;

  g_object_ref (self);
  buf_wait_report_log (report);
  buf_pool_drop_library_reference (self);
}

/* Returns whether the bytes were taken, after a wait. The caller is inside, and has left when this
 * returns. Only bytes that were granted keep @self. */
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
      wait_inside (memory, want, request->timeout_us, cancellable, &figures, &report);

  /* It may be late, but a caller who has cancelled does not expect an allocation any more. */
  if (g_cancellable_is_cancelled (cancellable))
    {
      if (outcome == BUF_OUTCOME_GRANTED)
        buf_semaphore_release (&memory->semaphore, want->taken);
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

static gboolean
check_arguments (BufPool *self, GCancellable *cancellable, GError **error, const gchar *function)
{
  const gchar *failed = NULL;

  if (!BUF_IS_POOL (self))
    failed = "BUF_IS_POOL (self)";
  else if (cancellable != NULL && !G_IS_CANCELLABLE (cancellable))
    failed = "cancellable == NULL || G_IS_CANCELLABLE (cancellable)";
  else if (error != NULL && *error != NULL)
    failed = "error == NULL || *error == NULL";

  if (failed != NULL)
    g_return_if_fail_warning (G_LOG_DOMAIN, function, failed);
  return failed == NULL;
}

/* Takes the bytes for a request of which nothing is known yet, if they are there. */
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

/* The same, but waits for them. */
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

/* All that take_at_once() could not do, the checks of the arguments included. */
static G_GNUC_NO_INLINE BufPoolAllocation *
try_slowly (BufPool *self, gsize n_buffers, GError **error, const gchar *function)
{
  BufPoolRequest request = BUF_POOL_REQUEST (n_buffers, 0);
  BufWant want;

  if (!check_arguments (self, NULL, error, function) ||
      !buf_pool_try_take (self, &request, &want, error))
    return NULL;

  return buf_pool_allocation_new (self->memory, n_buffers, want.taken, error);
}

static G_GNUC_NO_INLINE BufPoolAllocation *
allocate_slowly (BufPool *self,
                 gsize n_buffers,
                 gint64 timeout_us,
                 GCancellable *cancellable,
                 GError **error,
                 const gchar *function)
{
  BufPoolRequest request = BUF_POOL_REQUEST (n_buffers, timeout_us);
  BufPoolAllocation *cached;
  BufWant want;

  if (!check_arguments (self, cancellable, error, function))
    return NULL;
  if (cancellable != NULL &&
      (cached = buf_pool_take_cached (self, n_buffers, FALSE, cancellable)) != NULL)
    return cached;
  if (!buf_pool_take (self, &request, cancellable, &want, error))
    return NULL;

  return buf_pool_allocation_new (self->memory, n_buffers, want.taken, error);
}

/* For a request that has not been looked at yet: what is wrong with it is found out later. */
BufPoolAllocation *
buf_pool_take_cached (BufPool *self, gsize n_buffers, gboolean pinned, GCancellable *cancellable)
{
  if (n_buffers - 1 >= BUF_POOL_MAX_BUFFERS ||
      (cancellable != NULL && g_cancellable_is_cancelled (cancellable)))
    return NULL;
  if (pinned)
    return buf_pool_allocation_new_cached_pinned (self->memory, n_buffers);
  return buf_pool_allocation_new_cached (self->memory, n_buffers);
}

/* The fast paths are a cached block, or a new one if the thread's stripe has the bytes. Whatever is
 * wrong with the pool or with the request makes both fail, and is found out later: the stripes of a
 * pool that was built wrong, or is closed, are revoked, and nothing is cached there. They are
 * functions of their own, so that neither pays for the registers of the other. */
static inline gboolean
may_be_request (BufPool *self, gsize n_buffers)
{
  return G_LIKELY (buf_pool_is_instance (self) && n_buffers - 1 < BUF_POOL_MAX_BUFFERS);
}

static inline BufPoolAllocation *
allocate_cached (BufPool *self, gsize n_buffers)
{
  return may_be_request (self, n_buffers) ? buf_pool_allocation_new_cached (self->memory, n_buffers)
                                          : NULL;
}

static inline BufMemory *
take_at_once (BufPool *self, gsize n_buffers, gint64 *bytes)
{
  BufMemory *memory;

  if (!may_be_request (self, n_buffers))
    return NULL;

  memory = self->memory;
  *bytes = (gint64) n_buffers * memory->unit;
  return buf_semaphore_take_credit (&memory->semaphore, *bytes) ? memory : NULL;
}

static G_GNUC_NO_INLINE BufPoolAllocation *
allocate_new (BufPool *self,
              gsize n_buffers,
              gint64 timeout_us,
              GCancellable *cancellable,
              GError **error,
              const gchar *function)
{
  BufMemory *memory;
  gint64 bytes;

  if (G_LIKELY (cancellable == NULL && (memory = take_at_once (self, n_buffers, &bytes)) != NULL))
    return buf_pool_allocation_new (memory, n_buffers, bytes, error);
  return allocate_slowly (self, n_buffers, timeout_us, cancellable, error, function);
}

static G_GNUC_NO_INLINE BufPoolAllocation *
try_new (BufPool *self, gsize n_buffers, GError **error, const gchar *function)
{
  gint64 bytes;
  BufMemory *memory = take_at_once (self, n_buffers, &bytes);

  if (G_LIKELY (memory != NULL))
    return buf_pool_allocation_new (memory, n_buffers, bytes, error);
  return try_slowly (self, n_buffers, error, function);
}

/**
 * buf_pool_allocate:
 * @self: a pool
 * @n_buffers: how many buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @cancellable: (nullable): a cancellable
 * @error: return location for an error
 *
 * Allocates one contiguous block of @n_buffers buffers. When the budget is used up, the calling
 * thread waits until others have given back enough.
 *
 * Requests are served in their order, except that one that fits may overtake those that do not fit
 * yet, or that have not been scheduled yet. Nobody is overtaken without end.
 *
 * Fails with %BUF_POOL_ERROR_INVALID_COUNT; with %BUF_POOL_ERROR_TOO_LARGE at once if the request
 * exceeds [property@Pool:max-memory], or later when that is lowered; with %BUF_POOL_ERROR_CLOSED
 * when the pool is closed, before or meanwhile; with %BUF_POOL_ERROR_NO_MEMORY; with
 * %BUF_POOL_ERROR_INVALID_CONFIG if the pool was built wrong; and with %G_IO_ERROR_CANCELLED.
 *
 * A request for the whole budget, or nearly, is granted only when nothing else is outstanding:
 * while somebody keeps one block, it waits, and sooner or later everybody else waits behind it.
 *
 * This function can be called from any thread. Do not call it in a thread that has a main loop to
 * run, nor while holding what others need in order to give back. Do not call it in
 * g_task_run_in_thread() either: GIO has few threads for that, which it needs for files and names,
 * too, and all of them may end up waiting here.
 *
 * Allocate when there is something to put into the memory. A program that holds an allocation while
 * it waits for a slow peer keeps all others waiting that share the pool.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate (BufPool *self, gsize n_buffers, GCancellable *cancellable, GError **error)
{
  BufPoolAllocation *allocation;

  if (G_LIKELY (cancellable == NULL && (allocation = allocate_cached (self, n_buffers)) != NULL))
    return allocation;
  return allocate_new (self, n_buffers, -1, cancellable, error, G_STRFUNC);
}

/**
 * buf_pool_allocate_timeout:
 * @self: a pool
 * @n_buffers: how many buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @timeout_us: how long to wait at most, in microseconds; negative: no limit
 * @cancellable: (nullable): a cancellable
 * @error: return location for an error
 *
 * Like [method@Pool.allocate], but fails with %G_IO_ERROR_TIMED_OUT when the budget did not allow
 * the request for the given time. The time is total, however often the thread was woken.
 *
 * This function can be called from any thread.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_timeout (BufPool *self,
                           gsize n_buffers,
                           gint64 timeout_us,
                           GCancellable *cancellable,
                           GError **error)
{
  BufPoolAllocation *allocation;

  if (G_LIKELY (cancellable == NULL && (allocation = allocate_cached (self, n_buffers)) != NULL))
    return allocation;
  return allocate_new (self, n_buffers, timeout_us, cancellable, error, G_STRFUNC);
}

/* For arguments that were checked. */
BufPoolAllocation *
buf_pool_allocate_as (BufPool *self,
                      const BufPoolRequest *request,
                      GCancellable *cancellable,
                      GError **error)
{
  BufMemory *memory = self->memory;
  BufPoolAllocation *cached;
  BufWant want;

  if (request->max_buffers >= request->min_buffers &&
      (cached = buf_pool_take_cached (self, request->max_buffers, request->pinned, cancellable)) !=
          NULL)
    return cached;
  if (!buf_pool_take (self, request, cancellable, &want, error))
    return NULL;
  if (!request->pinned)
    return buf_pool_allocation_new (memory,
                                    buf_pool_get_n_granted (memory, &want),
                                    want.taken,
                                    error);

  /* From here on the pool may be gone. */
  buf_semaphore_pin (&memory->semaphore, want.taken);
  return buf_pool_allocation_new_pinned (memory,
                                         buf_pool_get_n_granted (memory, &want),
                                         want.taken,
                                         error);
}

/**
 * buf_pool_allocate_full:
 * @self: a pool
 * @min_buffers: how many buffers at least, from 1 to %BUF_POOL_MAX_BUFFERS
 * @max_buffers: how many buffers at most, at least @min_buffers; more than %BUF_POOL_MAX_BUFFERS
 *   is %BUF_POOL_MAX_BUFFERS
 * @timeout_us: how long to wait at most, in microseconds; negative: no limit
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable
 * @error: return location for an error
 *
 * Like [method@Pool.allocate], with everything that a request can have.
 *
 * The allocation gets as many buffers as are available when the request is granted, from
 * @min_buffers to @max_buffers. If any other request waits, it gets @min_buffers. Only @min_buffers
 * decides how long the request waits, and whether it is too large.
 *
 * A request of higher priority, which is a lower number, is granted before one of lower priority.
 * If it is higher than %G_PRIORITY_DEFAULT, the request can also use
 * [property@Pool:reserved-memory]. It still may have to wait for as long as the bytes of an older
 * request are kept that was overtaken too often; a reserve is the remedy.
 *
 * Fails with %G_IO_ERROR_TIMED_OUT after @timeout_us, and with the errors of
 * [method@Pool.allocate]. This function can be called from any thread.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_full (BufPool *self,
                        gsize min_buffers,
                        gsize max_buffers,
                        gint64 timeout_us,
                        int io_priority,
                        GCancellable *cancellable,
                        GError **error)
{
  BufPoolRequest request = {
    .min_buffers = min_buffers,
    .max_buffers = max_buffers,
    .timeout_us = timeout_us,
    .priority = io_priority,
  };

  if (!check_arguments (self, cancellable, error, G_STRFUNC))
    return NULL;
  return buf_pool_allocate_as (self, &request, cancellable, error);
}

/**
 * buf_pool_try_allocate:
 * @self: a pool
 * @n_buffers: how many buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @error: return location for an error
 *
 * Like [method@Pool.allocate], but never waits: when the budget does not allow the request now, or
 * what is left of it is owed to one who has waited too long, it fails with %G_IO_ERROR_WOULD_BLOCK.
 *
 * This function can be called from any thread.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_try_allocate (BufPool *self, gsize n_buffers, GError **error)
{
  BufPoolAllocation *allocation;

  if (G_LIKELY ((allocation = allocate_cached (self, n_buffers)) != NULL))
    return allocation;
  return try_new (self, n_buffers, error, G_STRFUNC);
}

static gboolean
drain_within (BufMemory *memory, gint64 timeout_us, GCancellable *cancellable, GError **error)
{
  BufWant want = BUF_WANT (0);
  BufSemaphoreFigures figures;
  BufWaitReport *report;
  BufOutcome outcome;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;

  buf_semaphore_enter (&memory->semaphore);
  outcome = wait_inside (memory, &want, timeout_us, cancellable, &figures, &report);
  if (outcome != BUF_OUTCOME_GRANTED)
    buf_pool_set_drain_error (outcome, &figures, error);
  buf_semaphore_leave (&memory->semaphore);

  buf_wait_report_log (report);
  return outcome == BUF_OUTCOME_GRANTED;
}

/**
 * buf_pool_drain:
 * @self: a pool
 * @cancellable: (nullable): a cancellable
 * @error: return location for an error
 *
 * Waits until nothing is outstanding: until there is a moment at which every allocation was
 * dropped. The pool stays open, and when this function returns, others may have allocated again. To
 * have the pool empty for good, call [method@Pool.close] first.
 *
 * Fails with %G_IO_ERROR_CANCELLED. This function can be called from any thread that does not
 * itself hold an allocation.
 *
 * Returns: whether nothing was outstanding
 *
 * Since: 1.0
 */
gboolean
buf_pool_drain (BufPool *self, GCancellable *cancellable, GError **error)
{
  g_return_val_if_fail (BUF_IS_POOL (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return drain_within (self->memory, -1, cancellable, error);
}

/**
 * buf_pool_drain_timeout:
 * @self: a pool
 * @timeout_us: how long to wait at most, in microseconds; negative: no limit
 * @cancellable: (nullable): a cancellable
 * @error: return location for an error
 *
 * Like [method@Pool.drain], but fails with %G_IO_ERROR_TIMED_OUT when something was outstanding for
 * all of the given time. The message says how much.
 *
 * This function can be called from any thread.
 *
 * Returns: whether nothing was outstanding
 *
 * Since: 1.0
 */
gboolean
buf_pool_drain_timeout (BufPool *self, gint64 timeout_us, GCancellable *cancellable, GError **error)
{
  g_return_val_if_fail (BUF_IS_POOL (self), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return drain_within (self->memory, timeout_us, cancellable, error);
}
