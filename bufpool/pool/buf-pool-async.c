/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-pending-task-private.h"
#include "budget/buf-wait-report-private.h"
#include "memory/buf-pool-allocation-private.h"
#include "pool/buf-pool-private.h"

/*
 * The task side of a pool: requests, and waiting until nothing is outstanding, for main loops.
 *
 * What is there is taken at once, and the task returns in the next iteration of its context. What
 * is not there becomes a pending task, see buf-pending-task.c.
 *
 * GTask drops its source object before its task data. So the task data has a reference on the pool,
 * too: of the library, since a consumer that drops a task must not wait, see buf-pool-instance.c.
 * An allocation that nobody has fetched is freed before that. GTask does not check the cancellable:
 * it would throw a result away that we have counted.
 */

/* A request that waits. */
typedef struct
{
  BufPendingTask base;
  gsize min_buffers;
  gboolean pinned;
  BufDebugStack *origin; /* where it began; NULL unless BUFPOOL_DEBUG asks for it */
} PendingRequest;

/* The last that a task drops. */
typedef struct
{
  BufPool *pool;                /* a reference of the library */
  BufPoolAllocation *unfetched; /* the result, until it is fetched */
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

/* Lets the task wait for what @want wants; without any bytes, until nothing is outstanding. */
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
  /* In parentheses: the macro of this name would copy a name for each task. */
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

/* The bytes were taken, and pinned if it has to be; for a request that began at @origin, or just
 * now. */
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
    allocation = buf_pool_allocation_new_pinned (memory, n_buffers, want->taken, &error);
  else
    allocation = buf_pool_allocation_new (memory, n_buffers, want->taken, &error);

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

/* Whether the task has returned, since the request cannot even begin. */
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

/* Any asynchronous request, for arguments that were checked. */
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

/* The result of any asynchronous request. */
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
 * @n_buffers: how many buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @io_priority: the priority of the request and of its callback, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable
 * @callback: (scope async) (nullable): what to call when the request was granted or has failed
 * @user_data: data for @callback
 *
 * Like [method@Pool.allocate], for programs with a main loop: the request waits, and the thread
 * does not. It waits in the same queue as the threads, by the same rule.
 *
 * The callback runs in the thread-default main context of the caller, and never inside of this
 * call, nor inside of the call that gives back. There it calls [method@Pool.allocate_finish], which
 * has the errors of [method@Pool.allocate]. A request that is cancelled after it was granted, but
 * before the callback ran, fails with %G_IO_ERROR_CANCELLED, and gives its budget to others.
 *
 * The memory counts from the moment at which the request is granted, and not only from the
 * callback. So a callback of low priority, which waits while the main loop has more urgent things
 * to do, keeps memory that nobody uses yet.
 *
 * A waiting request holds a reference on the pool. An allocation that is not fetched is freed with
 * the result. The main context has to be iterated until the callback has run, also after
 * cancelling: a request in a context that is given up keeps what it was granted.
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
 * @result: what the callback was given
 * @error: return location for an error
 *
 * Fetches the result of [method@Pool.allocate_async], once. In languages other than C the
 * results of [method@Pool.allocate_pinned_async] come here, too.
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
 * @min_buffers: how many buffers at least, from 1 to %BUF_POOL_MAX_BUFFERS
 * @max_buffers: how many buffers at most, at least @min_buffers
 * @timeout_us: how long to wait at most, in microseconds; negative: no limit
 * @io_priority: the priority of the request and of its callback, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable
 * @callback: (scope async) (nullable): the function to call when the request was granted or failed
 * @user_data: data for @callback
 *
 * Like [method@Pool.allocate_full], for programs with a main loop: see
 * [method@Pool.allocate_async]. The callback calls [method@Pool.allocate_full_finish]. The timeout
 * ends the wait when the main context of the caller runs.
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
 * @result: the result that the callback got
 * @error: return location for an error
 *
 * Fetches the result of [method@Pool.allocate_full_async], once.
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
 * @io_priority: the priority at which the callback runs, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable
 * @callback: (scope async) (nullable): what to call when nothing was outstanding
 * @user_data: data for @callback
 *
 * Like [method@Pool.drain], for programs with a main loop. The callback runs in the thread-default
 * main context of the caller, and calls [method@Pool.drain_finish].
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
 * @result: what the callback was given
 * @error: return location for an error
 *
 * Fetches the result of [method@Pool.drain_async], once.
 *
 * Returns: whether nothing was outstanding
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
