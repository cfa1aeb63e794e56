/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "pool/buf-pool-private.h"

/*
 * The functions that get and set the properties of a pool. Those named "change" are also used while
 * a new pool is constructed.
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
 * The size of one buffer.
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
 * The budget.
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
 * @max_memory: the new budget, in bytes; more than %BUF_POOL_UNLIMITED is %BUF_POOL_UNLIMITED
 *
 * Changes the budget. A larger one lets in those who wait and now fit. A smaller one takes nothing
 * away: as long as more is outstanding, new requests wait. Those who wait for more than the new
 * budget fail with %BUF_POOL_ERROR_TOO_LARGE.
 *
 * This function can be called from any thread; [property@Pool:max-memory] notifies in it.
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
 * How much the pool keeps of free blocks.
 *
 * Returns: [property@Pool:max-cached-memory], in bytes, or -1 if the pool chooses
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
 * @max_cached_memory: the most bytes of free blocks to keep; 0: none; negative: as the pool chooses
 *
 * Changes how much the pool keeps of free blocks. What it keeps at this moment is freed.
 *
 * This function can be called from any thread; [property@Pool:max-cached-memory] notifies in it.
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
 * Changes the reserve. A larger reserve takes nothing away; it is filled as memory is freed.
 * Requests that wait for more than the rest fail with %BUF_POOL_ERROR_TOO_LARGE.
 *
 * This function can be called from any thread; [property@Pool:reserved-memory] notifies in it.
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
 * Gets how many requests may wait.
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
 * @max_waiting: how many requests may wait; 0: none; negative: no limit
 *
 * Changes how many requests may wait. Requests that are waiting already go on waiting.
 *
 * This function can be called from any thread; [property@Pool:max-waiting] notifies in it.
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
 * Gets the budget that the pool draws on.
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
 * What the address of each buffer is a multiple of.
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
 * Whether fresh buffers are filled with zeros.
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
 * The name of the pool.
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
 * How much is outstanding.
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
 * How much of the budget is not used.
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
 * How much the pool keeps of free blocks.
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
 * How many allocations are outstanding.
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
 * How many requests wait for budget.
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
 * Whether the pool was closed.
 *
 * Returns: %TRUE after [method@Pool.close]
 *
 * Since: 1.0
 */
gboolean
buf_pool_is_closed (BufPool *self)
{
  g_return_val_if_fail (BUF_IS_POOL (self), FALSE);

  /* The budget of a pool that was built wrong has been closed from the start. */
  if (self->config_error != NULL)
    return atomic_load (&self->has_closed);
  return buf_semaphore_is_closed (&self->memory->semaphore);
}
