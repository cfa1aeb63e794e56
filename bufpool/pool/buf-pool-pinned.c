/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-pool-allocation-private.h"
#include "pool/buf-pool-private.h"

/*
 * Requests for garbage-collected languages.
 *
 * Such a language decides itself when, and in which order, it drops what a program does not use any
 * more: it may drop a pool before its allocations, in the same thread, and would wait for ever for
 * plain ones. So the pool does not wait for what these functions return. Introspection gives them
 * the names of the plain ones. How such an allocation lives and ends is told in
 * buf-pool-allocation-holding.c.
 */

/* From here on the pool may be gone. */
static BufPoolAllocation *
new_pinned (BufMemory *memory, const BufPoolRequest *request, GError **error)
{
  buf_semaphore_pin (&memory->semaphore, request->want.bytes);
  return buf_pool_allocation_new_pinned (memory, request->n_buffers, request->want.bytes, error);
}

/**
 * buf_pool_allocate_pinned: (rename-to buf_pool_allocate)
 * @self: a pool
 * @n_buffers: how many buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @cancellable: (nullable): a cancellable
 * @error: return location for an error
 *
 * Like [method@Pool.allocate], for garbage-collected languages: the pool does not wait for the
 * allocation when it is dropped, so they can be dropped in any order; and
 * [method@PoolAllocation.release] gives the memory back before the allocation is dropped.
 *
 * In other languages than C and Vala it has the plain name. This function can be called from any
 * thread.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_pinned (BufPool *self, gsize n_buffers, GCancellable *cancellable, GError **error)
{
  return buf_pool_allocate_timeout_pinned (self, n_buffers, BUF_POOL_FOR_EVER, cancellable, error);
}

/**
 * buf_pool_allocate_timeout_pinned: (rename-to buf_pool_allocate_timeout)
 * @self: a pool
 * @n_buffers: how many buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @timeout: how long to wait at the most, in microseconds; %G_MAXUINT64 is for ever
 * @cancellable: (nullable): a cancellable
 * @error: return location for an error
 *
 * Like [method@Pool.allocate_timeout], for garbage-collected languages: see
 * [method@Pool.allocate_pinned].
 *
 * In other languages than C and Vala it has the plain name. This function can be called from any
 * thread.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_timeout_pinned (BufPool *self,
                                  gsize n_buffers,
                                  guint64 timeout,
                                  GCancellable *cancellable,
                                  GError **error)
{
  BufPoolRequest request;

  g_return_val_if_fail (BUF_IS_POOL (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (!buf_pool_take (self, n_buffers, timeout, cancellable, &request, error))
    return NULL;

  return new_pinned (self->memory, &request, error);
}

/**
 * buf_pool_try_allocate_pinned: (rename-to buf_pool_try_allocate)
 * @self: a pool
 * @n_buffers: how many buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @error: return location for an error
 *
 * Like [method@Pool.try_allocate], for garbage-collected languages: see
 * [method@Pool.allocate_pinned].
 *
 * In other languages than C and Vala it has the plain name. This function can be called from any
 * thread.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_try_allocate_pinned (BufPool *self, gsize n_buffers, GError **error)
{
  BufPoolRequest request;

  g_return_val_if_fail (BUF_IS_POOL (self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (!buf_pool_try_take (self, n_buffers, &request, error))
    return NULL;

  return new_pinned (self->memory, &request, error);
}

/**
 * buf_pool_allocate_pinned_async: (rename-to buf_pool_allocate_async)
 * @self: a pool
 * @n_buffers: how many buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @io_priority: the priority at which the callback runs, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable
 * @callback: (scope async) (nullable): what to call when the request was granted or has failed
 * @user_data: data for @callback
 *
 * Like [method@Pool.allocate_async], for garbage-collected languages: see
 * [method@Pool.allocate_pinned]. The callback calls [method@Pool.allocate_pinned_finish].
 *
 * In other languages than C and Vala it has the plain name. This function can be called from any
 * thread.
 *
 * Since: 1.0
 */
void
buf_pool_allocate_pinned_async (BufPool *self,
                                gsize n_buffers,
                                int io_priority,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data)
{
  g_return_if_fail (BUF_IS_POOL (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  buf_pool_allocate_async_as (self, n_buffers, io_priority, cancellable, callback, user_data, TRUE);
}

/**
 * buf_pool_allocate_pinned_finish:
 * @self: a pool
 * @result: what the callback was given
 * @error: return location for an error
 *
 * Fetches the result of [method@Pool.allocate_pinned_async], once. This function and
 * [method@Pool.allocate_finish] do the same: each accepts the results of both kinds of request.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_pinned_finish (BufPool *self, GAsyncResult *result, GError **error)
{
  return buf_pool_allocate_finish (self, result, error);
}
