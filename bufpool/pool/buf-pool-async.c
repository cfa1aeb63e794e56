/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-pending-task-private.h"
#include "budget/buf-wait-report-private.h"
#include "memory/buf-pool-allocation-private.h"
#include "pool/buf-pool-private.h"

/*
 * Asynchronous requests and draining, for programs with a main loop.
 *
 * If the bytes are available, the request takes them immediately, and the task returns in the next
 * iteration of its context. Otherwise the request becomes a pending task, see buf-pending-task.c.
 *
 * GTask drops its source object before its task data. Therefore the task data also holds a
 * reference on the pool. The library owns that reference, because a consumer that drops a task must
 * not block, see buf-pool-instance.c. An unfetched allocation is freed first. GTask does not check
 * the cancellable, because it would discard a result that is already counted.
 */

/* A waiting request. */
typedef struct
{
  BufPendingTask base;
  gsize min_buffers;
  gboolean pinned;
  BufDebugStack *origin; /* where the request began; NULL unless BUFPOOL_DEBUG enables it */
} PendingRequest;

/* What a task frees last. */
typedef struct
{
  BufPool *pool;                /* owned by the library */
  BufPoolAllocation *unfetched; /* the result until it is fetched */
} TaskEnd;

static void
task_end_free (gpointer data)
{
  TaskEnd *self = data;
  BufPool *pool = self->pool;

  g_clear_pointer (&self->unfetched, buf_pool_allocation_unref);
  g_free (self);
  buf_pool_drop_library_reference (pool);
}

static BufMemory *
get_memory (GTask *task)
{
  BufPool *pool = g_task_get_source_object (task);

  return pool->memory;
}

static void
clear_request (BufPendingTask *base, BufOutcome outcome)
{
  PendingRequest *self = (PendingRequest *) base;

  g_free (self->origin);
}

/* Makes the task wait for the bytes in @want; if that is no bytes, until nothing is outstanding. */
static void
wait_in_queue (GTask *task,
               const BufPoolRequest *request,
               const BufWant *want,
               BufPendingTaskFunc deliver)
{
  PendingRequest *self = g_new0 (PendingRequest, 1);
  BufMemory *memory = get_memory (task);

  buf_pending_task_init (&self->base, task, want, deliver);
  self->base.clear = clear_request;
  self->base.waiter.want.pins = request->pinned;
  self->min_buffers = request->min_buffers;
  self->pinned = request->pinned;
  if (memory->ledger != NULL)
    {
      self->origin = g_new0 (BufDebugStack, 1);
      buf_debug_stack_capture (self->origin);
    }
  buf_pending_task_wait (&self->base, &memory->semaphore, request->timeout_us);
}

static GTask *
new_task (BufPool *self,
          int io_priority,
          GCancellable *cancellable,
          GAsyncReadyCallback callback,
          gpointer user_data,
          gpointer source_tag)
{
  GTask *task = g_task_new (self, cancellable, callback, user_data);
  TaskEnd *end = g_new0 (TaskEnd, 1);

  end->pool = g_object_ref (self);
  g_task_set_task_data (task, end, task_end_free);
  /* The parentheses avoid the macro of this name, which would copy the name for each task. */
  (g_task_set_source_tag) (task, source_tag);
  g_task_set_priority (task, io_priority);
  g_task_set_check_cancellable (task, FALSE);
  return task;
}

static void
return_allocation (GTask *task, BufPoolAllocation *allocation)
{
  TaskEnd *end = g_task_get_task_data (task);

  end->unfetched = allocation;
  g_task_return_pointer (task, allocation, NULL);
}

/* The bytes have been taken, and pinned if @pinned is set. @origin is where the request began; NULL
 * means here. */
static void
return_new_allocation (GTask *task,
                       const BufWant *want,
                       gboolean pinned,
                       const BufDebugStack *origin)
{
  BufMemory *memory = get_memory (task);
  gsize n_buffers = buf_pool_get_n_granted (memory, want);
  GError *error = NULL;
  BufPoolAllocation *allocation;

  if (pinned)
    allocation = buf_pool_allocation_new_pinned_for (memory, n_buffers, want, &error);
  else
    allocation = buf_pool_allocation_new_for (memory, n_buffers, want, &error);

  if (allocation == NULL)
    {
      g_task_return_error (task, error);
      return;
    }

  if (origin != NULL)
    buf_pool_allocation_set_origin (allocation, origin);
  return_allocation (task, allocation);
}

static void
return_refusal (GTask *task,
                gsize n_buffers,
                BufOutcome outcome,
                const BufSemaphoreFigures *figures)
{
  GError *error = NULL;

  buf_pool_set_request_error (get_memory (task), n_buffers, outcome, figures, &error);
  g_task_return_error (task, error);
}

static void
deliver_allocation (BufPendingTask *base, BufOutcome outcome)
{
  PendingRequest *self = (PendingRequest *) base;
  BufMemory *memory = get_memory (base->task);
  BufSemaphoreFigures figures;

  buf_wait_report_log (buf_wait_report_new (&memory->semaphore, &base->waiter));
  if (outcome == BUF_OUTCOME_GRANTED)
    {
      return_new_allocation (base->task, &base->waiter.want, self->pinned, self->origin);
      return;
    }

  if (g_cancellable_is_cancelled (g_task_get_cancellable (base->task)))
    outcome = BUF_OUTCOME_CANCELLED;
  buf_semaphore_get_refusal (&memory->semaphore, &base->waiter, &figures);
  return_refusal (base->task, self->min_buffers, outcome, &figures);
}

/* Returns whether the request was refused immediately. The task has then returned. */
static gboolean
has_refused (GTask *task, BufPool *self, const BufPoolRequest *request, BufWant *want)
{
  GError *error = NULL;

  if (buf_pool_check_cancelled (self->memory, g_task_get_cancellable (task), &error) &&
      buf_pool_check_request (self, request, want, &error))
    return FALSE;

  g_task_return_error (task, error);
  return TRUE;
}

/* Starts any asynchronous request. The arguments have been checked. */
void
buf_pool_allocate_async_as (BufPool *self,
                            const BufPoolRequest *request,
                            GCancellable *cancellable,
                            GAsyncReadyCallback callback,
                            gpointer user_data)
{
  g_autoptr (GTask) task = NULL;
  BufPoolAllocation *cached;
  BufSemaphoreFigures figures;
  BufOutcome outcome;
  BufWant want;

  task =
      new_task (self, request->priority, cancellable, callback, user_data, buf_pool_allocate_async);
  if (has_refused (task, self, request, &want))
    return;

  cached = buf_pool_take_cached (self, request->max_buffers, request->pinned, cancellable);
  if (cached != NULL)
    {
      return_allocation (task, cached);
      return;
    }

  outcome = buf_memory_acquire (self->memory, &want, FALSE, &figures);
  buf_memory_trace (self->memory, 0);
  if (outcome == BUF_OUTCOME_GRANTED)
    {
      if (request->pinned)
        buf_semaphore_pin (&self->memory->semaphore, want.taken);
      return_new_allocation (task, &want, request->pinned, NULL);
    }
  else if (outcome == BUF_OUTCOME_PENDING)
    wait_in_queue (g_steal_pointer (&task), request, &want, deliver_allocation);
  else
    return_refusal (task, request->min_buffers, outcome, &figures);
}

/* Finishes any asynchronous request. */
BufPoolAllocation *
buf_pool_allocate_finish_as (BufPool *self, GAsyncResult *result, GError **error)
{
  BufPoolAllocation *allocation;
  TaskEnd *end;

  g_return_val_if_fail (BUF_IS_POOL (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, buf_pool_allocate_async), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  allocation = g_task_propagate_pointer (G_TASK (result), error);
  if (allocation == NULL)
    return NULL;

  end = g_task_get_task_data (G_TASK (result));
  end->unfetched = NULL;
  if (!buf_pool_check_cancelled (self->memory, g_task_get_cancellable (G_TASK (result)), error))
    g_clear_pointer (&allocation, buf_pool_allocation_unref);
  return allocation;
}

/**
 * buf_pool_allocate_async:
 * @self: a pool
 * @n_buffers: the number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @io_priority: the priority of the request and of its callback, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): the function to call when the request is granted or fails
 * @user_data: data for @callback
 *
 * Allocates one contiguous block of @n_buffers buffers asynchronously. The request waits in the
 * same queue as those of [method@Pool.allocate], by the same rules, but the calling thread does not
 * block.
 *
 * The callback runs in the thread-default main context of the caller. It never runs inside this
 * call, nor inside the call that frees the memory. Call [method@Pool.allocate_finish] in the
 * callback; it fails with the errors of [method@Pool.allocate]. If a request is cancelled after it
 * is granted but before the callback runs, it fails with %G_IO_ERROR_CANCELLED, and its memory goes
 * to other requests.
 *
 * The memory counts against the limit from the moment the request is granted, not from the
 * callback. Therefore a callback of low priority holds unused memory while the main loop has more
 * urgent work.
 *
 * A waiting request holds a reference on the pool. If you do not fetch the allocation, it is freed
 * together with the result. You must iterate the main context until the callback has run, even
 * after you cancel the request. Otherwise a granted request keeps its memory.
 *
 * This function can be called from any thread.
 *
 * Since: 1.0
 */
void
buf_pool_allocate_async (BufPool *self,
                         gsize n_buffers,
                         int io_priority,
                         GCancellable *cancellable,
                         GAsyncReadyCallback callback,
                         gpointer user_data)
{
  BufPoolRequest request = BUF_POOL_REQUEST (n_buffers, -1);

  g_return_if_fail (BUF_IS_POOL (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  request.priority = io_priority;
  buf_pool_allocate_async_as (self, &request, cancellable, callback, user_data);
}

/**
 * buf_pool_allocate_finish:
 * @self: a pool
 * @result: the result passed to the callback
 * @error: return location for an error, or %NULL
 *
 * Finishes a request that [method@Pool.allocate_async] started. Call this function once for each
 * request. In languages other than C, it also accepts the results of
 * [method@Pool.allocate_pinned_async].
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_finish (BufPool *self, GAsyncResult *result, GError **error)
{
  return buf_pool_allocate_finish_as (self, result, error);
}

/**
 * buf_pool_allocate_full_async:
 * @self: a pool
 * @min_buffers: the minimum number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @max_buffers: the maximum number of buffers, at least @min_buffers
 * @timeout_us: the longest time to wait, in microseconds, or a negative value for no limit
 * @io_priority: the priority of the request and of its callback, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): the function to call when the request is granted or fails
 * @user_data: data for @callback
 *
 * The asynchronous version of [method@Pool.allocate_full]. It works like
 * [method@Pool.allocate_async]. Call [method@Pool.allocate_full_finish] in the callback. The
 * timeout takes effect only while the main context of the caller is iterated.
 *
 * This function can be called from any thread.
 *
 * Since: 1.0
 */
void
buf_pool_allocate_full_async (BufPool *self,
                              gsize min_buffers,
                              gsize max_buffers,
                              gint64 timeout_us,
                              int io_priority,
                              GCancellable *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer user_data)
{
  BufPoolRequest request = {
    .min_buffers = min_buffers,
    .max_buffers = max_buffers,
    .timeout_us = timeout_us,
    .priority = io_priority,
  };

  g_return_if_fail (BUF_IS_POOL (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  buf_pool_allocate_async_as (self, &request, cancellable, callback, user_data);
}

/**
 * buf_pool_allocate_full_finish:
 * @self: a pool
 * @result: the result passed to the callback
 * @error: return location for an error, or %NULL
 *
 * Finishes a request that [method@Pool.allocate_full_async] started. Call this function once for
 * each request.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_full_finish (BufPool *self, GAsyncResult *result, GError **error)
{
  return buf_pool_allocate_finish_as (self, result, error);
}

static void
deliver_drained (BufPendingTask *self, BufOutcome outcome)
{
  GError *error = NULL;
  BufSemaphoreFigures figures;

  if (outcome == BUF_OUTCOME_GRANTED)
    {
      g_task_return_boolean (self->task, TRUE);
      return;
    }

  buf_semaphore_get_figures (&get_memory (self->task)->semaphore, &figures, NULL);
  buf_pool_set_drain_error (outcome, &figures, &error);
  g_task_return_error (self->task, error);
}

/**
 * buf_pool_drain_async:
 * @self: a pool
 * @io_priority: the priority of the callback, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): the function to call when nothing is outstanding
 * @user_data: data for @callback
 *
 * The asynchronous version of [method@Pool.drain]. The callback runs in the thread-default main
 * context of the caller. Call [method@Pool.drain_finish] in it.
 *
 * This function can be called from any thread.
 *
 * Since: 1.0
 */
void
buf_pool_drain_async (BufPool *self,
                      int io_priority,
                      GCancellable *cancellable,
                      GAsyncReadyCallback callback,
                      gpointer user_data)
{
  g_autoptr (GTask) task = NULL;
  const BufPoolRequest request = BUF_POOL_REQUEST (0, -1);
  const BufWant nothing = BUF_WANT (0);

  g_return_if_fail (BUF_IS_POOL (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = new_task (self, io_priority, cancellable, callback, user_data, buf_pool_drain_async);
  if (!g_task_return_error_if_cancelled (task))
    wait_in_queue (g_steal_pointer (&task), &request, &nothing, deliver_drained);
}

/**
 * buf_pool_drain_finish:
 * @self: a pool
 * @result: the result passed to the callback
 * @error: return location for an error, or %NULL
 *
 * Finishes an operation that [method@Pool.drain_async] started. Call this function once for each
 * operation.
 *
 * Returns: %TRUE if nothing was outstanding, %FALSE with an error otherwise
 *
 * Since: 1.0
 */
gboolean
buf_pool_drain_finish (BufPool *self, GAsyncResult *result, GError **error)
{
  g_return_val_if_fail (BUF_IS_POOL (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (g_async_result_is_tagged (result, buf_pool_drain_async), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  return g_task_propagate_boolean (G_TASK (result), error);
}
