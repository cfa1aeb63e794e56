/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-pool-allocation-private.h"
#include "pool/buf-pool-private.h"

/*
 * Requests for garbage-collected languages.
 *
 * Such a language frees unused objects at any time and in any order. It may drop a pool before its
 * allocations, in the same thread, and would wait for plain allocations indefinitely. So the pool
 * does not wait for allocations from these functions. Introspection gives these functions the names
 * of the plain ones. See buf-pool-allocation-holding.c for the lifetime of such an allocation.
 */

/* If the request is invalid, this fails, and the caller finds out why. */
static inline BufPoolAllocation *
take_cached (BufPool *self, gsize n_buffers)
{
  if (!buf_pool_may_be_request (self, n_buffers))
    return NULL;
  return buf_pool_allocation_new_cached_pinned (self->memory, n_buffers);
}

/**
 * buf_pool_allocate_pinned: (rename-to buf_pool_allocate)
 * @self: a pool
 * @n_buffers: the number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Like [method@Pool.allocate], for garbage-collected languages. The end of the pool does not wait
 * for the allocation, so you can drop both in any order. [method@PoolAllocation.release] frees the
 * memory before the allocation is dropped.
 *
 * In languages other than C, this function has the plain name. It can be called from any thread.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_pinned (BufPool *self, gsize n_buffers, GCancellable *cancellable, GError **error)
{
  return buf_pool_allocate_timeout_pinned (self, n_buffers, -1, cancellable, error);
}

/**
 * buf_pool_allocate_timeout_pinned: (rename-to buf_pool_allocate_timeout)
 * @self: a pool
 * @n_buffers: the number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @timeout_us: the longest time to wait, in microseconds, or a negative value for no limit
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Like [method@Pool.allocate_timeout], for garbage-collected languages: see
 * [method@Pool.allocate_pinned].
 *
 * In languages other than C, this function has the plain name. It can be called from any thread.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_timeout_pinned (BufPool *self,
                                  gsize n_buffers,
                                  gint64 timeout_us,
                                  GCancellable *cancellable,
                                  GError **error)
{
  BufPoolRequest request = BUF_POOL_REQUEST (n_buffers, timeout_us);
  BufPoolAllocation *cached;

  if (G_LIKELY (cancellable == NULL && (cached = take_cached (self, n_buffers)) != NULL))
    return cached;

  g_return_val_if_fail (BUF_IS_POOL (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  request.pinned = TRUE;
  return buf_pool_allocate_as (self, &request, cancellable, error);
}

/**
 * buf_pool_allocate_full_pinned: (rename-to buf_pool_allocate_full)
 * @self: a pool
 * @min_buffers: the minimum number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @max_buffers: the maximum number of buffers, at least @min_buffers
 * @timeout_us: the longest time to wait, in microseconds, or a negative value for no limit
 * @io_priority: the priority of the request, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @error: return location for an error, or %NULL
 *
 * Like [method@Pool.allocate_full], for garbage-collected languages: see
 * [method@Pool.allocate_pinned].
 *
 * In languages other than C, this function has the plain name. It can be called from any thread.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_full_pinned (BufPool *self,
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
    .pinned = TRUE,
  };

  g_return_val_if_fail (BUF_IS_POOL (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return buf_pool_allocate_as (self, &request, cancellable, error);
}

/**
 * buf_pool_try_allocate_pinned: (rename-to buf_pool_try_allocate)
 * @self: a pool
 * @n_buffers: the number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @error: return location for an error, or %NULL
 *
 * Like [method@Pool.try_allocate], for garbage-collected languages: see
 * [method@Pool.allocate_pinned].
 *
 * In languages other than C, this function has the plain name. It can be called from any thread.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_try_allocate_pinned (BufPool *self, gsize n_buffers, GError **error)
{
  const BufPoolRequest request = BUF_POOL_REQUEST (n_buffers, 0);
  BufPoolAllocation *cached;
  BufMemory *memory;
  BufWant want;

  if (G_LIKELY ((cached = take_cached (self, n_buffers)) != NULL))
    return cached;

  g_return_val_if_fail (BUF_IS_POOL (self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  memory = self->memory;
  if (!buf_pool_try_take (self, &request, &want, error))
    return NULL;

  buf_semaphore_pin (&memory->semaphore, want.taken);
  return buf_pool_allocation_new_pinned_for (memory, n_buffers, &want, error);
}

/**
 * buf_pool_allocate_pinned_async: (rename-to buf_pool_allocate_async)
 * @self: a pool
 * @n_buffers: the number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @io_priority: the priority of the request and of its callback, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): the function to call when the request is granted or fails
 * @user_data: data for @callback
 *
 * Like [method@Pool.allocate_async], for garbage-collected languages: see
 * [method@Pool.allocate_pinned]. The callback calls [method@Pool.allocate_pinned_finish].
 *
 * In languages other than C, this function has the plain name. It can be called from any thread.
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
  BufPoolRequest request = BUF_POOL_REQUEST (n_buffers, -1);

  g_return_if_fail (BUF_IS_POOL (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  request.priority = io_priority;
  request.pinned = TRUE;
  buf_pool_allocate_async_as (self, &request, cancellable, callback, user_data);
}

/**
 * buf_pool_allocate_pinned_finish:
 * @self: a pool
 * @result: the result passed to the callback
 * @error: return location for an error, or %NULL
 *
 * Finishes a request that [method@Pool.allocate_pinned_async] started. Call this function once for
 * each request. This function and [method@Pool.allocate_finish] do the same: each accepts the
 * results of both kinds of request.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_pinned_finish (BufPool *self, GAsyncResult *result, GError **error)
{
  return buf_pool_allocate_finish_as (self, result, error);
}

/**
 * buf_pool_allocate_full_pinned_async: (rename-to buf_pool_allocate_full_async)
 * @self: a pool
 * @min_buffers: the minimum number of buffers, from 1 to %BUF_POOL_MAX_BUFFERS
 * @max_buffers: the maximum number of buffers, at least @min_buffers
 * @timeout_us: the longest time to wait, in microseconds, or a negative value for no limit
 * @io_priority: the priority of the request and of its callback, such as %G_PRIORITY_DEFAULT
 * @cancellable: (nullable): a cancellable, or %NULL
 * @callback: (scope async) (nullable): the function to call when the request is granted or fails
 * @user_data: data for @callback
 *
 * Like [method@Pool.allocate_full_async], for garbage-collected languages: see
 * [method@Pool.allocate_pinned]. The callback calls [method@Pool.allocate_full_pinned_finish].
 *
 * In languages other than C, this function has the plain name. It can be called from any thread.
 *
 * Since: 1.0
 */
void
buf_pool_allocate_full_pinned_async (BufPool *self,
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
    .pinned = TRUE,
  };

  g_return_if_fail (BUF_IS_POOL (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  buf_pool_allocate_async_as (self, &request, cancellable, callback, user_data);
}

/**
 * buf_pool_allocate_full_pinned_finish:
 * @self: a pool
 * @result: the result passed to the callback
 * @error: return location for an error, or %NULL
 *
 * Finishes a request that [method@Pool.allocate_full_pinned_async] started. Call this function once
 * for each request. It accepts the results of all asynchronous requests of the pool.
 *
 * Returns: (transfer full): the allocation, or %NULL with an error
 *
 * Since: 1.0
 */
BufPoolAllocation *
buf_pool_allocate_full_pinned_finish (BufPool *self, GAsyncResult *result, GError **error)
{
  return buf_pool_allocate_finish_as (self, result, error);
}
