/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-budget-private.h"

/*
 * The getters and setters of a budget.
 */

static BufSemaphoreFigures
get_budget_figures (BufBudget *self)
{
  BufSemaphoreFigures figures;

  buf_semaphore_get_figures (&self->core->semaphore, &figures, NULL);
  return figures;
}

/**
 * buf_budget_get_max_memory: (get-property max-memory)
 * @self: a budget
 *
 * Gets the limit.
 *
 * Returns: [property@Budget:max-memory], in bytes
 *
 * Since: 1.0
 */
gsize
buf_budget_get_max_memory (BufBudget *self)
{
  g_return_val_if_fail (BUF_IS_BUDGET (self), 0);

  return buf_budget_to_size (get_budget_figures (self).maximum);
}

/**
 * buf_budget_set_max_memory: (set-property max-memory)
 * @self: a budget
 * @max_memory: the new limit, in bytes
 *
 * Sets the limit. If you raise it, waiting requests that now fit are granted. If you lower it,
 * existing permits and allocations stay valid, and new requests wait while more than the new limit
 * is in use. Waiting requests that exceed the new limit fail with %BUF_POOL_ERROR_TOO_LARGE. Pools
 * below this budget free their cached blocks.
 *
 * This function can be called from any thread. [property@Budget:max-memory] notifies in the calling
 * thread.
 *
 * Since: 1.0
 */
void
buf_budget_set_max_memory (BufBudget *self, gsize max_memory)
{
  g_return_if_fail (BUF_IS_BUDGET (self));

  buf_budget_change_max_memory (self, buf_budget_from_size (max_memory));
}

/**
 * buf_budget_get_reserved_memory: (get-property reserved-memory)
 * @self: a budget
 *
 * Gets the reserve.
 *
 * Returns: [property@Budget:reserved-memory], in bytes
 *
 * Since: 1.0
 */
gsize
buf_budget_get_reserved_memory (BufBudget *self)
{
  g_return_val_if_fail (BUF_IS_BUDGET (self), 0);

  return buf_budget_to_size (get_budget_figures (self).reserved);
}

/**
 * buf_budget_set_reserved_memory: (set-property reserved-memory)
 * @self: a budget
 * @reserved_memory: the new reserve, in bytes
 *
 * Sets the reserve. A larger reserve takes nothing away from existing permits and allocations. It
 * fills up as memory is freed. Waiting requests that exceed the memory outside the reserve fail
 * with %BUF_POOL_ERROR_TOO_LARGE.
 *
 * This function can be called from any thread. [property@Budget:reserved-memory] notifies in the
 * calling thread.
 *
 * Since: 1.0
 */
void
buf_budget_set_reserved_memory (BufBudget *self, gsize reserved_memory)
{
  g_return_if_fail (BUF_IS_BUDGET (self));

  buf_budget_change_reserved_memory (self, buf_budget_from_size (reserved_memory));
}

/**
 * buf_budget_get_max_waiting: (get-property max-waiting)
 * @self: a budget
 *
 * Gets the maximum number of waiting requests.
 *
 * Returns: [property@Budget:max-waiting], or -1 if there is no limit
 *
 * Since: 1.0
 */
int
buf_budget_get_max_waiting (BufBudget *self)
{
  g_return_val_if_fail (BUF_IS_BUDGET (self), -1);

  return buf_semaphore_get_max_waiting (&self->core->semaphore);
}

/**
 * buf_budget_set_max_waiting: (set-property max-waiting)
 * @self: a budget
 * @max_waiting: the maximum number of waiting requests, 0 for none, or a negative value for no
 *   limit
 *
 * Sets the maximum number of waiting requests. Requests that are already waiting continue to wait.
 *
 * This function can be called from any thread. [property@Budget:max-waiting] notifies in the
 * calling thread.
 *
 * Since: 1.0
 */
void
buf_budget_set_max_waiting (BufBudget *self, int max_waiting)
{
  g_return_if_fail (BUF_IS_BUDGET (self));

  buf_budget_change_max_waiting (self, MAX (max_waiting, -1));
}

/**
 * buf_budget_get_parent: (get-property parent)
 * @self: a budget
 *
 * Gets the budget above this one.
 *
 * Returns: (transfer none) (nullable): [property@Budget:parent]
 *
 * Since: 1.0
 */
BufBudget *
buf_budget_get_parent (BufBudget *self)
{
  g_return_val_if_fail (BUF_IS_BUDGET (self), NULL);

  return self->parent;
}

/**
 * buf_budget_get_name: (get-property name)
 * @self: a budget
 *
 * Gets the name of the budget.
 *
 * Returns: (nullable): [property@Budget:name]
 *
 * Since: 1.0
 */
const gchar *
buf_budget_get_name (BufBudget *self)
{
  g_return_val_if_fail (BUF_IS_BUDGET (self), NULL);

  return self->core->name;
}

/**
 * buf_budget_get_allocated_memory: (get-property allocated-memory)
 * @self: a budget
 *
 * Gets the number of bytes in use.
 *
 * Returns: [property@Budget:allocated-memory], in bytes
 *
 * Since: 1.0
 */
gsize
buf_budget_get_allocated_memory (BufBudget *self)
{
  g_return_val_if_fail (BUF_IS_BUDGET (self), 0);

  return buf_budget_to_size (get_budget_figures (self).allocated);
}

/**
 * buf_budget_get_available_memory: (get-property available-memory)
 * @self: a budget
 *
 * Gets the number of bytes that are not in use.
 *
 * Returns: [property@Budget:available-memory], in bytes
 *
 * Since: 1.0
 */
gsize
buf_budget_get_available_memory (BufBudget *self)
{
  g_return_val_if_fail (BUF_IS_BUDGET (self), 0);

  return buf_budget_to_size (get_budget_figures (self).available);
}

/**
 * buf_budget_get_waiting: (get-property waiting)
 * @self: a budget
 *
 * Gets the number of waiting requests.
 *
 * Returns: [property@Budget:waiting]
 *
 * Since: 1.0
 */
gsize
buf_budget_get_waiting (BufBudget *self)
{
  g_return_val_if_fail (BUF_IS_BUDGET (self), 0);

  return get_budget_figures (self).n_waiting;
}
