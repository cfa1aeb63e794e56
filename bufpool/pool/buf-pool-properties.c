/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "pool/buf-pool-private.h"

/*
 * The properties of a pool. Their getters and setters are in buf-pool-getters.c.
 */

#define DEFAULT_BUFFER_SIZE 4096

enum
{
  PROP_0,
  PROP_BUFFER_SIZE,
  PROP_MAX_MEMORY,
  PROP_RESERVED_MEMORY,
  PROP_MAX_CACHED_MEMORY,
  PROP_MAX_WAITING,
  PROP_BUDGET,
  PROP_ALIGNMENT,
  PROP_ZERO_FILL,
  PROP_NAME,
  PROP_ALLOCATED_MEMORY,
  PROP_AVAILABLE_MEMORY,
  PROP_CACHED_MEMORY,
  PROP_ACTIVE_ALLOCATIONS,
  PROP_WAITING,
  PROP_CLOSED,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static void
buf_pool_get_property (GObject *object, guint prop_id, GValue *value, GParamSpec *pspec)
{
  BufPool *self = (BufPool *) object;
  BufSemaphoreFigures figures;

  switch (prop_id)
    {
    case PROP_BUFFER_SIZE:
      g_value_set_uint64 (value, self->memory->buffer_size);
      return;
    case PROP_ALIGNMENT:
      g_value_set_uint (value, self->memory->alignment);
      return;
    case PROP_ZERO_FILL:
      g_value_set_boolean (value, self->memory->zero_fill);
      return;
    case PROP_NAME:
      g_value_set_string (value, self->memory->name);
      return;
    case PROP_CLOSED:
      g_value_set_boolean (value, buf_pool_is_closed (self));
      return;
    case PROP_MAX_CACHED_MEMORY:
      g_value_set_int64 (value, buf_pool_get_max_cached_memory (self));
      return;
    case PROP_MAX_WAITING:
      g_value_set_int (value, buf_pool_get_max_waiting (self));
      return;
    case PROP_BUDGET:
      g_value_set_object (value, self->budget);
      return;
    case PROP_CACHED_MEMORY:
      g_value_set_uint64 (value, buf_pool_get_cached_memory (self));
      return;
    default:
      break;
    }

  buf_semaphore_get_figures (&self->memory->semaphore, &figures, NULL);
  switch (prop_id)
    {
    case PROP_MAX_MEMORY:
      g_value_set_uint64 (value, figures.maximum);
      break;
    case PROP_RESERVED_MEMORY:
      g_value_set_uint64 (value, figures.reserved);
      break;
    case PROP_ALLOCATED_MEMORY:
      g_value_set_uint64 (value, figures.allocated);
      break;
    case PROP_AVAILABLE_MEMORY:
      g_value_set_uint64 (value, figures.available);
      break;
    case PROP_ACTIVE_ALLOCATIONS:
      g_value_set_uint64 (value, figures.n_allocations);
      break;
    case PROP_WAITING:
      g_value_set_uint64 (value, figures.n_waiting);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
    }
}

static void
buf_pool_set_property (GObject *object, guint prop_id, const GValue *value, GParamSpec *pspec)
{
  BufPool *self = (BufPool *) object;

  switch (prop_id)
    {
    case PROP_BUFFER_SIZE:
      self->memory->buffer_size = g_value_get_uint64 (value);
      break;
    case PROP_MAX_MEMORY:
      buf_pool_change_max_memory (self, g_value_get_uint64 (value));
      break;
    case PROP_RESERVED_MEMORY:
      buf_pool_change_reserved_memory (self, g_value_get_uint64 (value));
      break;
    case PROP_MAX_CACHED_MEMORY:
      buf_pool_change_max_cached_memory (self, MAX (g_value_get_int64 (value), -1));
      break;
    case PROP_MAX_WAITING:
      buf_pool_change_max_waiting (self, MAX (g_value_get_int (value), -1));
      break;
    case PROP_BUDGET:
      self->budget = g_value_dup_object (value);
      break;
    case PROP_ALIGNMENT:
      self->memory->alignment = g_value_get_uint (value);
      break;
    case PROP_ZERO_FILL:
      self->memory->zero_fill = g_value_get_boolean (value);
      break;
    case PROP_NAME:
      self->memory->name = g_value_dup_string (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, prop_id, pspec);
    }
}

static void
install_settings (void)
{
  const GParamFlags construct_only =
      G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY | G_PARAM_STATIC_STRINGS;

  /**
   * BufPool:buffer-size: (getter get_buffer_size)
   *
   * The size of one buffer, in bytes, at least 1. [enum@BufPool.BufferSize] lists common sizes.
   *
   * Since: 1.0
   */
  properties[PROP_BUFFER_SIZE] = g_param_spec_uint64 ("buffer-size",
                                                      NULL,
                                                      NULL,
                                                      0,
                                                      G_MAXUINT64,
                                                      DEFAULT_BUFFER_SIZE,
                                                      construct_only);

  /**
   * BufPool:max-memory: (getter get_max_memory) (setter set_max_memory)
   *
   * The limit of the pool: the maximum size of all outstanding buffers, in bytes. Values above
   * %BUF_POOL_UNLIMITED mean %BUF_POOL_UNLIMITED. You can change the limit at any time.
   *
   * Since: 1.0
   */
  properties[PROP_MAX_MEMORY] =
      g_param_spec_uint64 ("max-memory",
                           NULL,
                           NULL,
                           0,
                           BUF_BUDGET_UNLIMITED,
                           BUF_BUDGET_UNLIMITED,
                           G_PARAM_READWRITE | G_PARAM_CONSTRUCT | G_PARAM_EXPLICIT_NOTIFY |
                               G_PARAM_LAX_VALIDATION | G_PARAM_STATIC_STRINGS);

  /**
   * BufPool:reserved-memory: (getter get_reserved_memory) (setter set_reserved_memory)
   *
   * The part of [property@Pool:max-memory], in bytes, that only requests more urgent than
   * %G_PRIORITY_DEFAULT can use, see [method@Pool.allocate_full]. Other requests that exceed the
   * rest fail with %BUF_POOL_ERROR_TOO_LARGE. Under a permanent load of urgent requests, there is
   * no bound on how long a request of default priority waits.
   *
   * Since: 1.0
   */
  properties[PROP_RESERVED_MEMORY] =
      g_param_spec_uint64 ("reserved-memory",
                           NULL,
                           NULL,
                           0,
                           BUF_BUDGET_UNLIMITED,
                           0,
                           G_PARAM_READWRITE | G_PARAM_CONSTRUCT | G_PARAM_EXPLICIT_NOTIFY |
                               G_PARAM_LAX_VALIDATION | G_PARAM_STATIC_STRINGS);

  /**
   * BufPool:max-waiting: (getter get_max_waiting) (setter set_max_waiting)
   *
   * The maximum number of waiting requests of the pool. A request that would exceed it fails with
   * %BUF_POOL_ERROR_OVERLOADED. If the value is 0, no request waits; if it is -1, there is no
   * limit.
   *
   * Since: 1.0
   */
  properties[PROP_MAX_WAITING] =
      g_param_spec_int ("max-waiting",
                        NULL,
                        NULL,
                        -1,
                        G_MAXINT,
                        -1,
                        G_PARAM_READWRITE | G_PARAM_CONSTRUCT | G_PARAM_EXPLICIT_NOTIFY |
                            G_PARAM_LAX_VALIDATION | G_PARAM_STATIC_STRINGS);

  /**
   * BufPool:budget: (getter get_budget)
   *
   * The budget above the pool, or %NULL. Allocations count against the budget and against the limit
   * of the pool.
   *
   * Since: 1.0
   */
  properties[PROP_BUDGET] =
      g_param_spec_object ("budget", NULL, NULL, BUF_TYPE_BUDGET, construct_only);

  /**
   * BufPool:max-cached-memory: (getter get_max_cached_memory) (setter set_max_cached_memory)
   *
   * The maximum size of the cached blocks, in bytes. The pool caches free blocks so that requests
   * of the same size are faster than with the allocator of the C library. Cached blocks are
   * available: if a request needs their bytes, they are freed before the request waits or is
   * refused. You can change this property at any time; the pool then frees all cached blocks.
   *
   * If the value is negative, such as -1, the pool chooses: one eighth of
   * [property@Pool:max-memory], but at most 16 MiB, or one larger block. If the value is 0, the
   * pool frees every block when its last reference is dropped. If the pool was created with 0, all
   * memory comes from the allocator of the C library. Otherwise, blocks of 128 KiB and more come
   * from mmap(), on systems that have it.
   *
   * If `BUFPOOL_DEBUG` contains `leaks`, `fill` or `guard`, the pool caches nothing.
   *
   * Since: 1.0
   */
  properties[PROP_MAX_CACHED_MEMORY] =
      g_param_spec_int64 ("max-cached-memory",
                          NULL,
                          NULL,
                          G_MININT64,
                          G_MAXINT64,
                          -1,
                          G_PARAM_READWRITE | G_PARAM_CONSTRUCT | G_PARAM_EXPLICIT_NOTIFY |
                              G_PARAM_STATIC_STRINGS);

  /**
   * BufPool:alignment: (getter get_alignment)
   *
   * The alignment of each buffer, in bytes: a power of two that divides
   * [property@Pool:buffer-size], so that each buffer of an allocation is aligned, not only the
   * first. Other values fail with %BUF_POOL_ERROR_INVALID_CONFIG. If the value is 0, the first
   * buffer has the alignment of the allocator of the C library, and the others follow it without a
   * gap.
   *
   * Since: 1.0
   */
  properties[PROP_ALIGNMENT] =
      g_param_spec_uint ("alignment", NULL, NULL, 0, G_MAXUINT, 0, construct_only);

  /**
   * BufPool:zero-fill: (getter get_zero_fill)
   *
   * Whether new buffers are filled with zeros. Otherwise, their content is undefined.
   *
   * Since: 1.0
   */
  properties[PROP_ZERO_FILL] =
      g_param_spec_boolean ("zero-fill", NULL, NULL, FALSE, construct_only);

  /**
   * BufPool:name: (getter get_name)
   *
   * A name for the pool, which appears in messages.
   *
   * Since: 1.0
   */
  properties[PROP_NAME] = g_param_spec_string ("name", NULL, NULL, NULL, construct_only);
}

static GParamSpec *
new_figure (const gchar *name)
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
install_figures (void)
{
  /**
   * BufPool:allocated-memory: (getter get_allocated_memory)
   *
   * The size of all outstanding allocations, in bytes. This property does not notify. Like the
   * other figures, it is exact while no other thread is inside a call, and approximate otherwise.
   *
   * Since: 1.0
   */
  properties[PROP_ALLOCATED_MEMORY] = new_figure ("allocated-memory");

  /**
   * BufPool:available-memory: (getter get_available_memory)
   *
   * The number of bytes that are available below the limit. This includes the cached blocks. This
   * property does not notify.
   *
   * Since: 1.0
   */
  properties[PROP_AVAILABLE_MEMORY] = new_figure ("available-memory");

  /**
   * BufPool:cached-memory: (getter get_cached_memory)
   *
   * The size of the cached blocks, in bytes, see [property@Pool:max-cached-memory]. This property
   * does not notify.
   *
   * Since: 1.0
   */
  properties[PROP_CACHED_MEMORY] = new_figure ("cached-memory");

  /**
   * BufPool:active-allocations: (getter get_active_allocations)
   *
   * The number of outstanding allocations. This property does not notify.
   *
   * Since: 1.0
   */
  properties[PROP_ACTIVE_ALLOCATIONS] = new_figure ("active-allocations");

  /**
   * BufPool:waiting: (getter get_waiting)
   *
   * The number of waiting requests. This property does not notify.
   *
   * Since: 1.0
   */
  properties[PROP_WAITING] = new_figure ("waiting");

  /**
   * BufPool:closed: (getter is_closed)
   *
   * Whether the pool is closed. This property notifies in the thread that closes the pool.
   *
   * Since: 1.0
   */
  properties[PROP_CLOSED] =
      g_param_spec_boolean ("closed",
                            NULL,
                            NULL,
                            FALSE,
                            G_PARAM_READABLE | G_PARAM_EXPLICIT_NOTIFY | G_PARAM_STATIC_STRINGS);
}

void
buf_pool_install_properties (GObjectClass *object_class)
{
  object_class->get_property = buf_pool_get_property;
  object_class->set_property = buf_pool_set_property;

  install_settings ();
  install_figures ();
  g_object_class_install_properties (object_class, N_PROPS, properties);
}
