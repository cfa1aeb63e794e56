/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-budget-private.h"
#include "budget/buf-watch-report-private.h"

/**
 * BufBudget:
 *
 * A memory limit that several pools share, and a node in a tree of such limits.
 *
 * A [class@Pool] can have a budget. Each of its allocations then counts against the limit of the
 * pool, against its budget, and against all budgets above that. This way, you can limit each part
 * of a program, and the program as a whole.
 *
 * A budget is also useful on its own. It is a semaphore whose unit is a byte: fair, cancellable and
 * asynchronous. [method@Budget.acquire] acquires bytes for memory that comes from another
 * allocator. It returns a [struct@Permit]. The bytes return to the budget with the last reference
 * to the permit.
 *
 * ```c
 * g_autoptr (BufBudget) total = buf_budget_new (64 << 20);
 * g_autoptr (BufBudget) uploads = buf_budget_new_child (total, 16 << 20);
 * g_autoptr (BufPool) frames = buf_pool_new_with_budget (4096, total, &error);
 * g_autoptr (BufPermit) permit = buf_budget_acquire (uploads, 100000, NULL, &error);
 * ```
 *
 * A request takes its bytes at all levels at once. While it waits, it holds nothing. All levels of
 * a tree share one order of waiters: by priority, then by age. A request that fits may overtake
 * requests that do not fit yet, with the same bound as for a pool, see [method@Pool.allocate].
 *
 * A budget can reserve [property@Budget:reserved-memory] bytes for requests that are more urgent
 * than %G_PRIORITY_DEFAULT. Give a higher priority and a reserve to the stages that finish work and
 * free memory. The stages that start work then cannot take everything.
 *
 * Pools, permits and waiting tasks hold a reference on their budget. A budget does not wait for
 * them when it is disposed of. All functions can be called from any thread.
 *
 * Since: 1.0
 */

/* The size of the smallest request. Stripes are worthwhile only if the budget is much larger than
 * this. */
#define BUDGET_UNIT 4096

static GMutex all_budgets_mutex;
static GQueue all_budgets; /* LOCK: all_budgets_mutex; for debuggers */

G_DEFINE_FINAL_TYPE (BufBudget, buf_budget, G_TYPE_OBJECT)

BufSemaphore *
buf_budget_get_semaphore (BufBudget *self)
{
  return &self->core->semaphore;
}

static void
end_core (BufSemaphore *semaphore)
{
  BufBudgetCore *core =
      (gpointer) ((guint8 *) semaphore - G_STRUCT_OFFSET (BufBudgetCore, semaphore));

  g_mutex_lock (&all_budgets_mutex);
  g_queue_unlink (&all_budgets, &core->link);
  g_mutex_unlock (&all_budgets_mutex);

  buf_semaphore_clear (semaphore);
  g_free (core->name);
  g_free (core);
}

static void
begin_core (BufBudget *self)
{
  BufBudgetCore *core = self->core;
  BufSemaphore *parent = self->parent != NULL ? buf_budget_get_semaphore (self->parent) : NULL;

  buf_semaphore_init (&core->semaphore,
                      parent,
                      (gint64) self->max_memory,
                      BUDGET_UNIT,
                      g_get_num_processors ());
  core->semaphore.kind = "budget";
  core->semaphore.name = core->name;
  core->semaphore.end = end_core;
  buf_watch_report_begin (&core->semaphore);
  buf_semaphore_set_reserved (&core->semaphore, (gint64) self->reserved_memory);
  buf_semaphore_set_max_waiting (&core->semaphore, self->max_waiting);

  g_mutex_lock (&all_budgets_mutex);
  g_queue_push_tail_link (&all_budgets, &core->link);
  g_mutex_unlock (&all_budgets_mutex);
}

static void
buf_budget_constructed (GObject *object)
{
  G_OBJECT_CLASS (buf_budget_parent_class)->constructed (object);

  begin_core (BUF_BUDGET (object));
}

static void
buf_budget_finalize (GObject *object)
{
  BufBudget *self = BUF_BUDGET (object);
  BufBudget *parent = self->parent;

  g_atomic_pointer_set (&self->core->owner, NULL);
  buf_semaphore_close (&self->core->semaphore);
  buf_semaphore_abandon (&self->core->semaphore);

  G_OBJECT_CLASS (buf_budget_parent_class)->finalize (object);
  g_clear_object (&parent);
}

static void
buf_budget_class_init (BufBudgetClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->constructed = buf_budget_constructed;
  object_class->finalize = buf_budget_finalize;
  buf_budget_install_properties (object_class);
}

static void
buf_budget_init (BufBudget *self)
{
  self->core = g_new0 (BufBudgetCore, 1);
  self->core->link.data = self->core;
  self->core->owner = self;
}

/**
 * buf_budget_new:
 * @max_memory: the limit, in bytes, see [property@Budget:max-memory]
 *
 * Creates a budget.
 *
 * Returns: (transfer full): a new budget
 *
 * Since: 1.0
 */
BufBudget *
buf_budget_new (gsize max_memory)
{
  return g_object_new (BUF_TYPE_BUDGET, "max-memory", buf_budget_from_size (max_memory), NULL);
}

/**
 * buf_budget_new_child: (constructor)
 * @parent: the budget above the new one
 * @max_memory: the limit, in bytes, see [property@Budget:max-memory]
 *
 * Creates a budget below another one. Bytes that are acquired from it count against its own limit,
 * against that of @parent, and against all budgets above @parent. The limit may exceed that of
 * @parent, and so may the sum of the limits of all children. The children then share the limit of
 * @parent.
 *
 * Returns: (transfer full): a new budget
 *
 * Since: 1.0
 */
BufBudget *
buf_budget_new_child (BufBudget *parent, gsize max_memory)
{
  g_return_val_if_fail (BUF_IS_BUDGET (parent), NULL);

  return g_object_new (BUF_TYPE_BUDGET,
                       "parent",
                       parent,
                       "max-memory",
                       buf_budget_from_size (max_memory),
                       NULL);
}
