/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-budget-private.h"
#include "budget/buf-watch-report-private.h"
#include "debug/buf-debug-private.h"

/**
 * BufBudget:
 *
 * A memory limit that several pools share, and a node in a tree of such limits.
 *
 * A [class@Pool] can have a budget. Each of its allocations then counts against the limit of the
 * pool, against its budget, and against all budgets above that. This way you can limit each part of
 * a program, and the program as a whole.
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

enum
{
  BUDGET_PROP_0,
  BUDGET_PROP_PARENT,
  BUDGET_PROP_NAME,
  BUDGET_PROP_MAX_MEMORY,
  BUDGET_PROP_RESERVED_MEMORY,
  BUDGET_PROP_MAX_WAITING,
  BUDGET_PROP_ALLOCATED_MEMORY,
  BUDGET_PROP_AVAILABLE_MEMORY,
  BUDGET_PROP_WAITING,
  BUDGET_N_PROPS
};

static GParamSpec *budget_properties[BUDGET_N_PROPS];

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
buf_budget_get_property (GObject *object, guint prop_id, GValue *value, GParamSpec *pspec)
{
  BufBudget *self = BUF_BUDGET (object);
  BufSemaphoreFigures figures;

  buf_semaphore_get_figures (&self->core->semaphore, &figures, NULL);
  switch (prop_id)
    {
    case BUDGET_PROP_PARENT:
      g_value_set_object (value, self->parent);
      break;
    case BUDGET_PROP_NAME:
      g_value_set_string (value, self->core->name);
      break;
    case BUDGET_PROP_MAX_MEMORY:
      g_value_set_uint64 (value, figures.maximum);
      break;
    case BUDGET_PROP_RESERVED_MEMORY:
      g_value_set_uint64 (value, figures.reserved);
      break;
    case BUDGET_PROP_MAX_WAITING:
      g_value_set_int (value, buf_budget_get_max_waiting (self));
      break;
    case BUDGET_PROP_ALLOCATED_MEMORY:
      g_value_set_uint64 (value, figures.allocated);
      break;
    case BUDGET_PROP_AVAILABLE_MEMORY:
      g_value_set_uint64 (value, figures.available);
      break;
    case BUDGET_PROP_WAITING:
      g_value_set_uint64 (value, figures.n_waiting);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
    }
}

/* Returns FALSE while the properties of a new budget are set, before the semaphore counts. */
static gboolean
has_begun (BufBudget *self)
{
  return self->core->semaphore.stripes != NULL;
}

static void
set_max_memory (BufBudget *self, guint64 max_memory)
{
  if (!has_begun (self))
    self->max_memory = max_memory;
  else if (buf_semaphore_set_maximum (&self->core->semaphore, (gint64) max_memory))
    g_object_notify_by_pspec (G_OBJECT (self), budget_properties[BUDGET_PROP_MAX_MEMORY]);
}

static void
set_reserved_memory (BufBudget *self, guint64 reserved_memory)
{
  if (!has_begun (self))
    self->reserved_memory = reserved_memory;
  else if (buf_semaphore_set_reserved (&self->core->semaphore, (gint64) reserved_memory))
    g_object_notify_by_pspec (G_OBJECT (self), budget_properties[BUDGET_PROP_RESERVED_MEMORY]);
}

static void
set_max_waiting (BufBudget *self, gint max_waiting)
{
  if (!has_begun (self))
    self->max_waiting = max_waiting;
  else if (buf_semaphore_set_max_waiting (&self->core->semaphore, max_waiting))
    g_object_notify_by_pspec (G_OBJECT (self), budget_properties[BUDGET_PROP_MAX_WAITING]);
}

static void
buf_budget_set_property (GObject *object, guint prop_id, const GValue *value, GParamSpec *pspec)
{
  BufBudget *self = BUF_BUDGET (object);

  switch (prop_id)
    {
    case BUDGET_PROP_PARENT:
      self->parent = g_value_dup_object (value);
      break;
    case BUDGET_PROP_NAME:
      self->core->name = g_value_dup_string (value);
      break;
    case BUDGET_PROP_MAX_MEMORY:
      set_max_memory (self, g_value_get_uint64 (value));
      break;
    case BUDGET_PROP_RESERVED_MEMORY:
      set_reserved_memory (self, g_value_get_uint64 (value));
      break;
    case BUDGET_PROP_MAX_WAITING:
      set_max_waiting (self, MAX (g_value_get_int (value), -1));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
    }
}

static void
install_budget_settings (void)
{
  const GParamFlags construct_only =
      G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;
  const GParamFlags writable = G_PARAM_READWRITE | G_PARAM_CONSTRUCT | G_PARAM_EXPLICIT_NOTIFY |
                               G_PARAM_LAX_VALIDATION | G_PARAM_STATIC_STRINGS;

  /**
   * BufBudget:parent: (getter get_parent)
   *
   * The budget above this one, or %NULL if this budget is the root of its tree.
   *
   * Since: 1.0
   */
  budget_properties[BUDGET_PROP_PARENT] =
      g_param_spec_object ("parent", NULL, NULL, BUF_TYPE_BUDGET, construct_only);

  /**
   * BufBudget:name: (getter get_name)
   *
   * A name for the budget, which appears in messages.
   *
   * Since: 1.0
   */
  budget_properties[BUDGET_PROP_NAME] =
      g_param_spec_string ("name", NULL, NULL, NULL, construct_only);

  /**
   * BufBudget:max-memory: (getter get_max_memory) (setter set_max_memory)
   *
   * The limit, in bytes, on everything that counts against this budget together. 0 is valid: every
   * request then fails. Values above %BUF_POOL_UNLIMITED mean %BUF_POOL_UNLIMITED. You can change
   * the limit at any time, see [method@Budget.set_max_memory].
   *
   * Since: 1.0
   */
  budget_properties[BUDGET_PROP_MAX_MEMORY] = g_param_spec_uint64 ("max-memory",
                                                                   NULL,
                                                                   NULL,
                                                                   0,
                                                                   BUF_BUDGET_UNLIMITED,
                                                                   BUF_BUDGET_UNLIMITED,
                                                                   writable);

  /**
   * BufBudget:reserved-memory: (getter get_reserved_memory) (setter set_reserved_memory)
   *
   * The part of [property@Budget:max-memory], in bytes, that only requests more urgent than
   * %G_PRIORITY_DEFAULT can use. Other requests that exceed the rest fail with
   * %BUF_POOL_ERROR_TOO_LARGE.
   *
   * Since: 1.0
   */
  budget_properties[BUDGET_PROP_RESERVED_MEMORY] =
      g_param_spec_uint64 ("reserved-memory", NULL, NULL, 0, BUF_BUDGET_UNLIMITED, 0, writable);

  /**
   * BufBudget:max-waiting: (getter get_max_waiting) (setter set_max_waiting)
   *
   * The maximum number of requests that wait for this budget or a budget below it, including those
   * of pools. A request that would exceed it fails with %BUF_POOL_ERROR_OVERLOADED. If the value is
   * 0, no request waits; if it is -1, there is no limit.
   *
   * Since: 1.0
   */
  budget_properties[BUDGET_PROP_MAX_WAITING] =
      g_param_spec_int ("max-waiting", NULL, NULL, -1, G_MAXINT, -1, writable);
}

static GParamSpec *
new_budget_figure (const gchar *name)
{
  return g_param_spec_uint64 (name,
                              NULL,
                              NULL,
                              0,
                              G_MAXUINT64,
                              0,
                              G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
}

static void
install_budget_figures (void)
{
  /**
   * BufBudget:allocated-memory: (getter get_allocated_memory)
   *
   * The number of bytes in use by permits and by the allocations of all pools below this budget.
   * This property does not notify. Like the other figures, it is exact while no other thread is
   * inside a call, and approximate otherwise.
   *
   * Since: 1.0
   */
  budget_properties[BUDGET_PROP_ALLOCATED_MEMORY] = new_budget_figure ("allocated-memory");

  /**
   * BufBudget:available-memory: (getter get_available_memory)
   *
   * The number of bytes of the limit that are not in use. This includes cached blocks of pools.
   * This property does not notify.
   *
   * Since: 1.0
   */
  budget_properties[BUDGET_PROP_AVAILABLE_MEMORY] = new_budget_figure ("available-memory");

  /**
   * BufBudget:waiting: (getter get_waiting)
   *
   * The number of requests that wait for this budget or a budget below it, including those of
   * pools. This property does not notify.
   *
   * Since: 1.0
   */
  budget_properties[BUDGET_PROP_WAITING] = new_budget_figure ("waiting");
}

static void
buf_budget_class_init (BufBudgetClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->constructed = buf_budget_constructed;
  object_class->finalize = buf_budget_finalize;
  object_class->get_property = buf_budget_get_property;
  object_class->set_property = buf_budget_set_property;

  install_budget_settings ();
  install_budget_figures ();
  g_object_class_install_properties (object_class, BUDGET_N_PROPS, budget_properties);
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

  set_max_memory (self, buf_budget_from_size (max_memory));
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

  set_reserved_memory (self, buf_budget_from_size (reserved_memory));
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

  set_max_waiting (self, MAX (max_waiting, -1));
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
