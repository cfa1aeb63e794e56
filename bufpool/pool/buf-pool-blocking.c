/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-pool-allocation-private.h"
#include "pool/buf-pool-private.h"

/*
 * Blocking requests and draining.
 *
 * A request first tries a cached block, and the credit of its thread's stripe. Everything else is
 * in buf-pool-take.c.
 */

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

/* The slow path: everything that take_at_once() cannot do, including the checks of the
 * arguments. */
static G_GNUC_NO_INLINE BufPoolAllocation *
try_slowly (BufPool *self, gsize n_buffers, GError **error, const gchar *function)
{
  BufPoolRequest request = BUF_POOL_REQUEST (n_buffers, 0);
  BufWant want;

  if (!check_arguments (self, NULL, error, function) ||
      !buf_pool_try_take (self, &request, &want, error))
    return NULL;

  return buf_pool_allocation_new_for (self->memory, n_buffers, &want, error);
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

  return buf_pool_allocation_new_for (self->memory, n_buffers, &want, error);
}

/* For an unchecked request. The slow path reports what is wrong with it. */
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

/* The fast paths take a cached block, or allocate a new one if the thread's stripe has enough
 * credit. If the pool or the request is invalid, both fail and the slow path reports the error: the
 * stripes of an invalid or closed pool are revoked, and such a pool caches nothing. They are
 * separate functions so that none saves registers for the others. */
static inline BufPoolAllocation *
allocate_quickly (BufPool *self, gsize n_buffers)
{
  if (!buf_pool_may_be_request (self, n_buffers))
    return NULL;
  return buf_pool_allocation_new_quickly (self->memory, n_buffers);
}

static inline BufPoolAllocation *
allocate_cached (BufPool *self, gsize n_buffers)
{
  if (!buf_pool_may_be_request (self, n_buffers))
    return NULL;
  return buf_pool_allocation_new_cached (self->memory, n_buffers);
}

static inline BufMemory *
take_at_once (BufPool *self, gsize n_buffers, gint64 *bytes)
{
  BufMemory *memory;

  if (!buf_pool_may_be_request (self, n_buffers))
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
  BufPoolAllocation *cached;
  BufMemory *memory;
  gint64 bytes;

  if (G_LIKELY (cancellable == NULL && (cached = allocate_cached (self, n_buffers)) != NULL))
    return cached;
  if (G_LIKELY (cancellable == NULL && (memory = take_at_once (self, n_buffers, &bytes)) != NULL))
    return buf_pool_allocation_new (memory, n_buffers, bytes, error);
  return allocate_slowly (self, n_buffers, timeout_us, cancellable, error, function);
}

static G_GNUC_NO_INLINE BufPoolAllocation *
try_new (BufPool *self, gsize n_buffers, GError **error, const gchar *function)
{
  BufPoolAllocation *cached = allocate_cached (self, n_buffers);
  BufMemory *memory;
  gint64 bytes;

  if (G_LIKELY (cached != NULL))
    return cached;
  if (G_LIKELY ((memory = take_at_once (self, n_buffers, &bytes)) != NULL))
    return buf_pool_allocation_new (memory, n_buffers, bytes, error);
  return try_slowly (self, n_buffers, error, function);
}

/**
 * buf_pool_allocate:
 * @self: a pool
 * @n_buffers: the number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Allocates one contiguous block of @n_buffers buffers. If the limit is reached, the calling thread
 * blocks until enough memory is freed.
 *
 * Requests are served in order, with one exception: a request that fits may overtake requests that
 * do not fit yet, or whose threads have not been scheduled yet. No request starves.
 *
 * Fails with %BUF_POOL_ERROR_INVALID_COUNT; with %BUF_POOL_ERROR_TOO_LARGE if the request exceeds
 * [property@Pool:max-memory], either immediately or when the limit is lowered during the wait; with
 * %BUF_POOL_ERROR_CLOSED if the pool is closed before or during the wait; with
 * %BUF_POOL_ERROR_NO_MEMORY; with %BUF_POOL_ERROR_INVALID_CONFIG if the properties of the pool are
 * invalid; with %BUF_POOL_ERROR_OVERLOADED if [property@Pool:max-waiting] requests are already
 * waiting; and with %G_IO_ERROR_CANCELLED.
 *
 * A request for the whole limit, or nearly the whole limit, is granted only when nothing else is
 * outstanding. While another thread holds even one block, the request waits, and in time all other
 * requests wait behind it.
 *
 * This function can be called from any thread. Do not call it in a thread that runs a main loop, or
 * while you hold a resource that other threads need to free their memory. Do not call it in
 * g_task_run_in_thread() either: GIO also needs its few worker threads for files and name
 * resolution, and all of them could block here.
 *
 * Allocate only when there is data to put into the memory. A program that holds an allocation while
 * it waits for a slow peer blocks all other users of the pool.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate (BufPool *self, gsize n_buffers, GCancellable *cancellable, GError **error)
{
  BufPoolAllocation *allocation;

  if (G_LIKELY (cancellable == NULL && (allocation = allocate_quickly (self, n_buffers)) != NULL))
    return allocation;
  return allocate_new (self, n_buffers, -1, cancellable, error, G_STRFUNC);
}

/**
 * buf_pool_allocate_timeout:
 * @self: a pool
 * @n_buffers: the number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @timeout_us: the longest time to wait, in microseconds, or a negative value for no limit
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Like [method@Pool.allocate], but fails with %G_IO_ERROR_TIMED_OUT if the request is not granted
 * within the given time. The timeout covers the whole wait, no matter how often the thread wakes
 * up.
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

  if (G_LIKELY (cancellable == NULL && (allocation = allocate_quickly (self, n_buffers)) != NULL))
    return allocation;
  return allocate_new (self, n_buffers, timeout_us, cancellable, error, G_STRFUNC);
}

/* The arguments have been checked. */
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
    return buf_pool_allocation_new_for (memory,
                                        buf_pool_get_n_granted (memory, &want),
                                        &want,
                                        error);

  /* From here on, the pool may be gone. */
  buf_semaphore_pin (&memory->semaphore, want.taken);
  return buf_pool_allocation_new_pinned_for (memory,
                                             buf_pool_get_n_granted (memory, &want),
                                             &want,
                                             error);
}

/**
 * buf_pool_allocate_full:
 * @self: a pool
 * @min_buffers: the minimum number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @max_buffers: the maximum number of buffers, at least @min_buffers; larger values than
 *   %BUF_POOL_MAX_BUFFERS mean %BUF_POOL_MAX_BUFFERS
 * @timeout_us: the longest time to wait, in microseconds, or a negative value for no limit
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Like [method@Pool.allocate], with all options of a request.
 *
 * The allocation gets as many buffers as are available when the request is granted, from
 * @min_buffers to @max_buffers. If any other request is waiting, it gets exactly @min_buffers. For
 * more than that, blocks that the pool itself has cached are freed, but not those of other pools of
 * its budget. Only @min_buffers determines how long the request waits, and whether it is too large.
 *
 * A request with a higher priority, which is a lower number, is granted before a request with a
 * lower priority. If the priority is higher than %G_PRIORITY_DEFAULT, the request can also use
 * [property@Pool:reserved-memory]. An urgent request may still have to wait while bytes are kept
 * for an older request that was overtaken too often. A reserve avoids this.
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
 * @n_buffers: the number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @error: return location for an error, or %NULL
 *
 * Like [method@Pool.allocate], but never waits. If the request does not fit now, or if the
 * available memory is owed to an older waiting request, it fails with %G_IO_ERROR_WOULD_BLOCK.
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

  if (G_LIKELY ((allocation = allocate_quickly (self, n_buffers)) != NULL))
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
  outcome = buf_pool_wait_inside (memory, &want, timeout_us, cancellable, &figures, &report);
  if (outcome != BUF_OUTCOME_GRANTED)
    buf_pool_set_drain_error (outcome, &figures, error);
  buf_semaphore_leave (&memory->semaphore);

  buf_wait_report_log (report);
  return outcome == BUF_OUTCOME_GRANTED;
}

/**
 * buf_pool_drain:
 * @self: a pool
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Waits until nothing is outstanding, that is, until there is a moment at which all allocations are
 * freed. The pool stays open. When this function returns, other threads may have allocated again.
 * To empty a pool permanently, call [method@Pool.close] first.
 *
 * While a thread drains the pool, the pool caches nothing, and each request of the other threads
 * takes a lock. They become many times slower. So do not drain a pool only to watch it.
 *
 * Fails with %G_IO_ERROR_CANCELLED. This function can be called from any thread that does not hold
 * an allocation itself.
 *
 * Returns: %TRUE if nothing was outstanding, %FALSE with an error otherwise
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
 * @timeout_us: the longest time to wait, in microseconds, or a negative value for no limit
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Like [method@Pool.drain], but fails with %G_IO_ERROR_TIMED_OUT if allocations were outstanding
 * for the whole given time. The message says how many.
 *
 * This function can be called from any thread.
 *
 * Returns: %TRUE if nothing was outstanding, %FALSE with an error otherwise
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
