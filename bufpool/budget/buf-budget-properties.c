/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-budget-private.h"

/*
 * The properties of a budget. The functions named "change" also run during construction. The
 * getters and setters are in buf-budget-getters.c.
 */

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

static void
buf_budget_get_property (GObject *object, guint prop_id, GValue *value, GParamSpec *pspec)
{
  BufBudget *self = (BufBudget *) object;
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
      g_value_set_int (value, buf_semaphore_get_max_waiting (&self->core->semaphore));
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

void
buf_budget_change_max_memory (BufBudget *self, guint64 max_memory)
{
  if (!has_begun (self))
    self->max_memory = max_memory;
  else if (buf_semaphore_set_maximum (&self->core->semaphore, (gint64) max_memory))
    g_object_notify_by_pspec (G_OBJECT (self), budget_properties[BUDGET_PROP_MAX_MEMORY]);
}

void
buf_budget_change_reserved_memory (BufBudget *self, guint64 reserved_memory)
{
  if (!has_begun (self))
    self->reserved_memory = reserved_memory;
  else if (buf_semaphore_set_reserved (&self->core->semaphore, (gint64) reserved_memory))
    g_object_notify_by_pspec (G_OBJECT (self), budget_properties[BUDGET_PROP_RESERVED_MEMORY]);
}

void
buf_budget_change_max_waiting (BufBudget *self, gint max_waiting)
{
  if (!has_begun (self))
    self->max_waiting = max_waiting;
  else if (buf_semaphore_set_max_waiting (&self->core->semaphore, max_waiting))
    g_object_notify_by_pspec (G_OBJECT (self), budget_properties[BUDGET_PROP_MAX_WAITING]);
}

static void
buf_budget_set_property (GObject *object, guint prop_id, const GValue *value, GParamSpec *pspec)
{
  BufBudget *self = (BufBudget *) object;

  switch (prop_id)
    {
    case BUDGET_PROP_PARENT:
      self->parent = g_value_dup_object (value);
      break;
    case BUDGET_PROP_NAME:
      self->core->name = g_value_dup_string (value);
      break;
    case BUDGET_PROP_MAX_MEMORY:
      buf_budget_change_max_memory (self, g_value_get_uint64 (value));
      break;
    case BUDGET_PROP_RESERVED_MEMORY:
      buf_budget_change_reserved_memory (self, g_value_get_uint64 (value));
      break;
    case BUDGET_PROP_MAX_WAITING:
      buf_budget_change_max_waiting (self, MAX (g_value_get_int (value), -1));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
    }
}

static void
install_budget_settings (GType budget_type)
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
      g_param_spec_object ("parent", NULL, NULL, budget_type, construct_only);

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

void
buf_budget_install_properties (GObjectClass *object_class)
{
  object_class->get_property = buf_budget_get_property;
  object_class->set_property = buf_budget_set_property;

  install_budget_settings (G_OBJECT_CLASS_TYPE (object_class));
  install_budget_figures ();
  g_object_class_install_properties (object_class, BUDGET_N_PROPS, budget_properties);
}
