/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-pool-allocation-private.h"
#include "budget/buf-cancel-link-private.h"
#include "pool/buf-pool-private.h"

/*
 * The task side of a pool: requests, and waiting until nothing is outstanding, for main loops.
 *
 * What is there is taken at once, and the task returns in the next iteration of its context. What
 * is not there becomes a PendingTask: a node in the same queue as the waiting threads. Whoever
 * settles its outcome, a releaser or a canceller in any thread, does no more than attach a source
 * to the task's context. Everything else happens when that source is dispatched: so no callback of
 * a user runs inside a release, and a releaser never touches a cancellable, nor drops a reference
 * on an object. Until then there is no source, so the main loop does not get slower by what waits.
 *
 * A PendingTask belongs to the wait, and then to the source that delivers. The source is dropped
 * with the PendingTask, before the task, which holds its context: dropping a source looks at its
 * context, and whoever has attached it does not know whether that is still there.
 *
 * A task holds its context, and a source that has not been dispatched holds its task: so a request
 * whose context is abandoned, and never iterated again, keeps what it was granted. It is the same
 * with every GTask.
 *
 * GTask drops its source object before its task data. So the task data has a reference on the pool,
 * too: of the library, since a consumer that drops a task must not wait, see buf-pool-instance.c.
 * An allocation that nobody has fetched is freed before that. GTask does not check the cancellable:
 * it would throw a result away that we have counted.
 */

typedef struct _PendingTask PendingTask;

/* Makes the result of a settled task. */
typedef void (*DeliverFunc) (PendingTask *self, BufOutcome outcome);

struct _PendingTask
{
  BufWaiter waiter;
  GTask *task;
  BufPoolRequest request;
  DeliverFunc deliver;
  BufDebugStack *origin; /* where it began; NULL unless BUFPOOL_DEBUG asks for it */
  GSource *deliver_source;
  BufCancelLink *link; /* with a cancellable only */
};

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
stop_watching (PendingTask *self)
{
  if (self->link == NULL)
    return;

  buf_cancel_link_end (self->link, g_task_get_cancellable (self->task));
  g_clear_pointer (&self->link, buf_cancel_link_unref);
}

static void
pending_task_free (PendingTask *self)
{
  stop_watching (self);
  g_clear_pointer (&self->deliver_source, g_source_unref);
  buf_waiter_clear (&self->waiter);
  g_free (self->origin);
  g_object_unref (self->task);
  g_free (self);
}

static gboolean
on_deliver (gpointer user_data)
{
  PendingTask *self = user_data;

  stop_watching (self);
  buf_wait_report_log (buf_pool_report_wait (get_memory (self->task), &self->waiter));
  self->deliver (self, self->waiter.outcome);
  return G_SOURCE_REMOVE;
}

/* Called by whoever has settled the outcome, in its thread. After the last line all may be over. */
static void
on_settled (BufWaiter *waiter)
{
  PendingTask *self = (PendingTask *) waiter;
  GSource *source = g_idle_source_new ();

  self->deliver_source = source;
  g_source_set_priority (source, g_task_get_priority (self->task));
  g_source_set_callback (source, on_deliver, self, (GDestroyNotify) pending_task_free);
  g_source_set_static_name (source, "[libbufpool] deliver");
  g_source_attach (source, g_task_get_context (self->task));
}

static PendingTask *
pending_task_new (GTask *task, const BufPoolRequest *request, DeliverFunc deliver)
{
  PendingTask *self = g_new0 (PendingTask, 1);

  buf_waiter_init (&self->waiter, request->want.bytes, on_settled);
  self->waiter.want.pins = request->pinned;
  self->task = task;
  self->request = *request;
  self->deliver = deliver;
  if (get_memory (task)->ledger != NULL)
    {
      self->origin = g_new0 (BufDebugStack, 1);
      buf_debug_stack_capture (self->origin);
    }
  return self;
}

/* Lets the task wait for the bytes of the request; without any, until nothing is outstanding. From
 * the enqueueing on, the context may run in another thread, and end it all. */
static void
wait_in_queue (GTask *task, const BufPoolRequest *request, DeliverFunc deliver)
{
  PendingTask *self = pending_task_new (task, request, deliver);
  BufSemaphore *semaphore = &get_memory (task)->semaphore;
  GCancellable *cancellable = g_task_get_cancellable (task);
  BufCancelLink *link;

  if (cancellable == NULL)
    {
      buf_semaphore_enqueue (semaphore, &self->waiter);
      return;
    }

  link = buf_cancel_link_new (cancellable);
  self->link = buf_cancel_link_ref (link);
  buf_semaphore_enqueue (semaphore, &self->waiter);
  buf_cancel_link_begin (link, cancellable, semaphore, &self->waiter);
  buf_cancel_link_unref (link);
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

/* The bytes were taken, and pinned if the request says so; for a request that began at @origin, or
 * just now. */
static void
return_new_allocation (GTask *task, const BufPoolRequest *request, const BufDebugStack *origin)
{
  BufMemory *memory = get_memory (task);
  GError *error = NULL;
  BufPoolAllocation *allocation;

  if (request->pinned)
    allocation =
        buf_pool_allocation_new_pinned (memory, request->n_buffers, request->want.bytes, &error);
  else
    allocation = buf_pool_allocation_new (memory, request->n_buffers, request->want.bytes, &error);

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
                const BufPoolRequest *request,
                BufOutcome outcome,
                const BufSemaphoreFigures *figures)
{
  GError *error = NULL;

  buf_pool_set_request_error (get_memory (task), request, outcome, figures, &error);
  g_task_return_error (task, error);
}

static void
deliver_allocation (PendingTask *self, BufOutcome outcome)
{
  BufSemaphoreFigures figures;

  if (outcome == BUF_OUTCOME_GRANTED)
    {
      return_new_allocation (self->task, &self->request, self->origin);
      return;
    }

  if (g_cancellable_is_cancelled (g_task_get_cancellable (self->task)))
    outcome = BUF_OUTCOME_CANCELLED;
  buf_semaphore_get_refusal (&get_memory (self->task)->semaphore, &self->waiter, &figures);
  return_refusal (self->task, &self->request, outcome, &figures);
}

/* Whether the task has returned, since the request cannot even begin. */
static gboolean
check_request (GTask *task, BufPool *self, gsize n_buffers, BufPoolRequest *request)
{
  GError *error = NULL;

  if (buf_pool_check_cancelled (self->memory, g_task_get_cancellable (task), &error) &&
      buf_pool_check_request (self, n_buffers, request, &error))
    return FALSE;

  g_task_return_error (task, error);
  return TRUE;
}

/* buf_pool_allocate_async(), plain or pinned. */
void
buf_pool_allocate_async_as (BufPool *self,
                            gsize n_buffers,
                            int io_priority,
                            GCancellable *cancellable,
                            GAsyncReadyCallback callback,
                            gpointer user_data,
                            gboolean pinned)
{
  BufSemaphore *semaphore = &self->memory->semaphore;
  g_autoptr (GTask) task = NULL;
  BufPoolAllocation *cached;
  BufPoolRequest request;
  BufSemaphoreFigures figures;
  BufOutcome outcome;

  task = new_task (self, io_priority, cancellable, callback, user_data, buf_pool_allocate_async);
  if (check_request (task, self, n_buffers, &request))
    return;

  request.pinned = pinned;
  cached = pinned ? NULL : buf_pool_take_cached (self, n_buffers, cancellable);
  if (cached != NULL)
    {
      return_allocation (task, cached);
      return;
    }

  outcome = buf_memory_acquire (self->memory, &request.want, FALSE, &figures);
  buf_memory_trace (self->memory, 0);
  if (outcome == BUF_OUTCOME_GRANTED)
    {
      if (pinned)
        buf_semaphore_pin (semaphore, request.want.bytes);
      return_new_allocation (task, &request, NULL);
    }
  else if (outcome == BUF_OUTCOME_PENDING)
    wait_in_queue (g_steal_pointer (&task), &request, deliver_allocation);
  else
    return_refusal (task, &request, outcome, &figures);
}

/**
 * buf_pool_allocate_async:
 * @self: a pool
 * @n_buffers: how many buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @io_priority: the priority at which the callback runs, such as %G_PRIORITY_DEFAULT
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
  g_return_if_fail (BUF_IS_POOL (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  buf_pool_allocate_async_as (self,
                              n_buffers,
                              io_priority,
                              cancellable,
                              callback,
                              user_data,
                              FALSE);
}

/**
 * buf_pool_allocate_finish:
 * @self: a pool
 * @result: what the callback was given
 * @error: return location for an error
 *
 * Fetches the result of [method@Pool.allocate_async], once. In other languages than C and Vala the
 * results of [method@Pool.allocate_pinned_async] come here, too.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_finish (BufPool *self, GAsyncResult *result, GError **error)
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

static void
deliver_drained (PendingTask *self, BufOutcome outcome)
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
  const BufPoolRequest nothing = { 0 };

  g_return_if_fail (BUF_IS_POOL (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = new_task (self, io_priority, cancellable, callback, user_data, buf_pool_drain_async);
  if (!g_task_return_error_if_cancelled (task))
    wait_in_queue (g_steal_pointer (&task), &nothing, deliver_drained);
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
