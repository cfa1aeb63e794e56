/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "pool/buf-pool-private.h"

/*
 * The getters and setters of a pool. The functions named "change" also run during construction.
 */

void
buf_pool_change_max_memory (BufPool *self, guint64 max_memory)
{
  if (!buf_memory_has_begun (self->memory))
    self->max_memory = max_memory;
  else if (buf_semaphore_set_maximum (&self->memory->semaphore, (gint64) max_memory))
    buf_pool_notify (self, "max-memory");
}

void
buf_pool_change_reserved_memory (BufPool *self, guint64 reserved_memory)
{
  if (!buf_memory_has_begun (self->memory))
    self->reserved_memory = reserved_memory;
  else if (buf_semaphore_set_reserved (&self->memory->semaphore, (gint64) reserved_memory))
    buf_pool_notify (self, "reserved-memory");
}

void
buf_pool_change_max_waiting (BufPool *self, gint max_waiting)
{
  if (!buf_memory_has_begun (self->memory))
    self->max_waiting = max_waiting;
  else if (buf_semaphore_set_max_waiting (&self->memory->semaphore, max_waiting))
    buf_pool_notify (self, "max-waiting");
}

void
buf_pool_change_max_cached_memory (BufPool *self, gint64 max_cached_memory)
{
  if (!buf_memory_has_begun (self->memory))
    self->max_cached_memory = max_cached_memory;
  else if (buf_memory_set_max_cached (self->memory, max_cached_memory))
    buf_pool_notify (self, "max-cached-memory");
}

/**
 * buf_pool_get_buffer_size: (get-property buffer-size)
 * @self: a pool
 *
 * Gets the size of one buffer.
 *
 * Returns: [property@Pool:buffer-size], in bytes
 *
 * Since: 1.0
 */
gsize
buf_pool_get_buffer_size (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  return MIN (self->memory->buffer_size, G_MAXSIZE);
}

static BufSemaphoreFigures
get_figures (BufPool *self)
{
  BufSemaphoreFigures figures;

  buf_semaphore_get_figures (&self->memory->semaphore, &figures, NULL);
  return figures;
}

/**
 * buf_pool_get_max_memory: (get-property max-memory)
 * @self: a pool
 *
 * Gets the limit of the pool.
 *
 * Returns: [property@Pool:max-memory], in bytes
 *
 * Since: 1.0
 */
gsize
buf_pool_get_max_memory (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  return MIN ((guint64) get_figures (self).maximum, G_MAXSIZE);
}

/**
 * buf_pool_set_max_memory: (set-property max-memory)
 * @self: a pool
 * @max_memory: the new limit, in bytes; values above %BUF_POOL_UNLIMITED mean %BUF_POOL_UNLIMITED
 *
 * Sets the limit of the pool. If you raise it, waiting requests that now fit are granted. If you
 * lower it, existing allocations stay valid, and new requests wait while more than the new limit is
 * outstanding. Waiting requests that exceed the new limit fail with %BUF_POOL_ERROR_TOO_LARGE.
 *
 * This function can be called from any thread. [property@Pool:max-memory] notifies in the calling
 * thread.
 *
 * Since: 1.0
 */
void
buf_pool_set_max_memory (BufPool *self, gsize max_memory)
{
  g_return_if_fail (BUF_IS_POOL (self));

  buf_pool_change_max_memory (self, buf_budget_from_size (max_memory));
}

/**
 * buf_pool_get_max_cached_memory: (get-property max-cached-memory)
 * @self: a pool
 *
 * Gets the maximum size of the cached blocks.
 *
 * Returns: [property@Pool:max-cached-memory], in bytes, or -1 if the pool chooses the value
 *
 * Since: 1.0
 */
gint64
buf_pool_get_max_cached_memory (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  return buf_memory_get_max_cached (self->memory);
}

/**
 * buf_pool_set_max_cached_memory: (set-property max-cached-memory)
 * @self: a pool
 * @max_cached_memory: the maximum size of the cached blocks, in bytes; 0 disables caching, a
 *   negative value lets the pool choose
 *
 * Sets the maximum size of the cached blocks. All blocks that are cached at this moment are freed.
 *
 * This function can be called from any thread. [property@Pool:max-cached-memory] notifies in the
 * calling thread.
 *
 * Since: 1.0
 */
void
buf_pool_set_max_cached_memory (BufPool *self, gint64 max_cached_memory)
{
  g_return_if_fail (BUF_IS_POOL (self));

  buf_pool_change_max_cached_memory (self, MAX (max_cached_memory, -1));
}

/**
 * buf_pool_get_reserved_memory: (get-property reserved-memory)
 * @self: a pool
 *
 * Gets the reserve.
 *
 * Returns: [property@Pool:reserved-memory], in bytes
 *
 * Since: 1.0
 */
gsize
buf_pool_get_reserved_memory (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  return buf_budget_to_size (get_figures (self).reserved);
}

/**
 * buf_pool_set_reserved_memory: (set-property reserved-memory)
 * @self: a pool
 * @reserved_memory: the new reserve, in bytes
 *
 * Sets the reserve. A larger reserve takes nothing away from existing allocations. It fills up as
 * memory is freed. Waiting requests that exceed the memory outside the reserve fail with
 * %BUF_POOL_ERROR_TOO_LARGE.
 *
 * This function can be called from any thread. [property@Pool:reserved-memory] notifies in the
 * calling thread.
 *
 * Since: 1.0
 */
void
buf_pool_set_reserved_memory (BufPool *self, gsize reserved_memory)
{
  g_return_if_fail (BUF_IS_POOL (self));

  buf_pool_change_reserved_memory (self, buf_budget_from_size (reserved_memory));
}

/**
 * buf_pool_get_max_waiting: (get-property max-waiting)
 * @self: a pool
 *
 * Gets the maximum number of waiting requests.
 *
 * Returns: [property@Pool:max-waiting], or -1 if there is no limit
 *
 * Since: 1.0
 */
int
buf_pool_get_max_waiting (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), -1);

  return buf_semaphore_get_max_waiting (&self->memory->semaphore);
}

/**
 * buf_pool_set_max_waiting: (set-property max-waiting)
 * @self: a pool
 * @max_waiting: the maximum number of waiting requests, 0 for none, or a negative value for no
 *   limit
 *
 * Sets the maximum number of waiting requests. Requests that are already waiting continue to wait.
 *
 * This function can be called from any thread. [property@Pool:max-waiting] notifies in the calling
 * thread.
 *
 * Since: 1.0
 */
void
buf_pool_set_max_waiting (BufPool *self, int max_waiting)
{
  g_return_if_fail (BUF_IS_POOL (self));

  buf_pool_change_max_waiting (self, MAX (max_waiting, -1));
}

/**
 * buf_pool_get_budget: (get-property budget)
 * @self: a pool
 *
 * Gets the budget above the pool.
 *
 * Returns: (transfer none) (nullable): [property@Pool:budget]
 *
 * Since: 1.0
 */
BufBudget *
buf_pool_get_budget (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), NULL);

  return self->budget;
}

/**
 * buf_pool_get_alignment: (get-property alignment)
 * @self: a pool
 *
 * Gets the alignment of each buffer.
 *
 * Returns: [property@Pool:alignment], in bytes
 *
 * Since: 1.0
 */
guint
buf_pool_get_alignment (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  return self->memory->alignment;
}

/**
 * buf_pool_get_zero_fill: (get-property zero-fill)
 * @self: a pool
 *
 * Gets whether new buffers are filled with zeros.
 *
 * Returns: [property@Pool:zero-fill]
 *
 * Since: 1.0
 */
gboolean
buf_pool_get_zero_fill (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), FALSE);

  return self->memory->zero_fill;
}

/**
 * buf_pool_get_name: (get-property name)
 * @self: a pool
 *
 * Gets the name of the pool.
 *
 * Returns: (transfer none) (nullable): [property@Pool:name]
 *
 * Since: 1.0
 */
const gchar *
buf_pool_get_name (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), NULL);

  return self->memory->name;
}

/**
 * buf_pool_get_allocated_memory: (get-property allocated-memory)
 * @self: a pool
 *
 * Gets the size of all outstanding allocations.
 *
 * Returns: [property@Pool:allocated-memory], in bytes
 *
 * Since: 1.0
 */
gsize
buf_pool_get_allocated_memory (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  return MIN ((guint64) get_figures (self).allocated, G_MAXSIZE);
}

/**
 * buf_pool_get_available_memory: (get-property available-memory)
 * @self: a pool
 *
 * Gets the amount of memory that is available below the limit.
 *
 * Returns: [property@Pool:available-memory], in bytes
 *
 * Since: 1.0
 */
gsize
buf_pool_get_available_memory (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  return MIN ((guint64) get_figures (self).available, G_MAXSIZE);
}

/**
 * buf_pool_get_cached_memory: (get-property cached-memory)
 * @self: a pool
 *
 * Gets the size of the cached blocks.
 *
 * Returns: [property@Pool:cached-memory], in bytes
 *
 * Since: 1.0
 */
gsize
buf_pool_get_cached_memory (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  return MIN ((guint64) buf_memory_get_cached (self->memory), G_MAXSIZE);
}

/**
 * buf_pool_get_active_allocations: (get-property active-allocations)
 * @self: a pool
 *
 * Gets the number of outstanding allocations.
 *
 * Returns: [property@Pool:active-allocations]
 *
 * Since: 1.0
 */
gsize
buf_pool_get_active_allocations (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  return get_figures (self).n_allocations;
}

/**
 * buf_pool_get_waiting: (get-property waiting)
 * @self: a pool
 *
 * Gets the number of waiting requests.
 *
 * Returns: [property@Pool:waiting]
 *
 * Since: 1.0
 */
gsize
buf_pool_get_waiting (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  return get_figures (self).n_waiting;
}

/**
 * buf_pool_is_closed: (get-property closed)
 * @self: a pool
 *
 * Gets whether the pool is closed.
 *
 * Returns: %TRUE after [method@Pool.close]
 *
 * Since: 1.0
 */
gboolean
buf_pool_is_closed (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), FALSE);

  /* The semaphore of an invalid pool is closed from the start. */
  if (self->config_error != NULL)
    return atomic_load (&self->has_closed);
  return buf_semaphore_is_closed (&self->memory->semaphore);
}
