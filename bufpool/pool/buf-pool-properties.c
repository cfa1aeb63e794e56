/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "pool/buf-pool-private.h"

/*
 * The properties of a pool. The functions that get and set them are in buf-pool-getters.c.
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
   * The size of one buffer, in bytes: any size from 1 on. [enum@BufPool.BufferSize] has the usual
   * ones.
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
   * The budget: how many bytes all buffers together may take. What is larger than
   * %BUF_POOL_UNLIMITED saturates to it. It can be changed at any time.
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
   * A part of [property@Pool:max-memory], in bytes, that only requests more urgent than
   * %G_PRIORITY_DEFAULT can use, see [method@Pool.allocate_full]. Other requests for more than the
   * rest fail with %BUF_POOL_ERROR_TOO_LARGE. While others use the rest up without end, a request
   * of default priority has no bound.
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
   * How many requests of the pool may wait. The request that would be one more fails with
   * %BUF_POOL_ERROR_OVERLOADED. With 0 no request waits; -1 is no limit.
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
   * The budget that the pool draws on, besides its own limit; or %NULL.
   *
   * Since: 1.0
   */
  properties[PROP_BUDGET] =
      g_param_spec_object ("budget", NULL, NULL, BUF_TYPE_BUDGET, construct_only);

  /**
   * BufPool:max-cached-memory: (getter get_max_cached_memory) (setter set_max_cached_memory)
   *
   * How many bytes of free blocks the pool keeps, so that requests of the same size are faster than
   * with the allocator of the C library. They are available: when a request needs their bytes, they
   * are freed before it waits or is refused. It can be changed at any time; then the pool frees
   * what it keeps.
   *
   * -1, or any negative number, lets the pool choose: one eighth of [property@Pool:max-memory], but
   * at most 16 MiB, or one larger block. With 0 the pool frees every block when its last reference
   * is dropped; and if it was built with 0, all memory comes from the C library's allocator, while
   * otherwise blocks of 128 KiB and more come from mmap(), where there is such a function.
   *
   * With the keys `leaks`, `fill` and `guard` of `BUFPOOL_DEBUG` nothing is kept.
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
   * The address of each buffer is a multiple of this number of bytes. It is a power of two that
   * divides [property@Pool:buffer-size], so that each buffer of an allocation is aligned and not
   * only the first one; other values fail with %BUF_POOL_ERROR_INVALID_CONFIG. With 0, the first
   * buffer is aligned as the C library's allocator aligns memory, and the others follow it without
   * a gap.
   *
   * Since: 1.0
   */
  properties[PROP_ALIGNMENT] =
      g_param_spec_uint ("alignment", NULL, NULL, 0, G_MAXUINT, 0, construct_only);

  /**
   * BufPool:zero-fill: (getter get_zero_fill)
   *
   * Whether fresh buffers are filled with zeros. Otherwise they hold what was in that memory
   * before.
   *
   * Since: 1.0
   */
  properties[PROP_ZERO_FILL] =
      g_param_spec_boolean ("zero-fill", NULL, NULL, FALSE, construct_only);

  /**
   * BufPool:name: (getter get_name)
   *
   * A name for the pool, for messages.
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
   * How many bytes are outstanding. It does not notify. Like the other figures it is exact whenever
   * no other thread is inside a call, and close to it otherwise.
   *
   * Since: 1.0
   */
  properties[PROP_ALLOCATED_MEMORY] = new_figure ("allocated-memory");

  /**
   * BufPool:available-memory: (getter get_available_memory)
   *
   * How many bytes of the budget are not used. Those of free blocks that the pool keeps are among
   * them. It does not notify.
   *
   * Since: 1.0
   */
  properties[PROP_AVAILABLE_MEMORY] = new_figure ("available-memory");

  /**
   * BufPool:cached-memory: (getter get_cached_memory)
   *
   * How many bytes of free blocks the pool keeps, see [property@Pool:max-cached-memory]. It does
   * not notify.
   *
   * Since: 1.0
   */
  properties[PROP_CACHED_MEMORY] = new_figure ("cached-memory");

  /**
   * BufPool:active-allocations: (getter get_active_allocations)
   *
   * How many allocations are outstanding. It does not notify.
   *
   * Since: 1.0
   */
  properties[PROP_ACTIVE_ALLOCATIONS] = new_figure ("active-allocations");

  /**
   * BufPool:waiting: (getter get_waiting)
   *
   * How many requests wait for budget. It does not notify.
   *
   * Since: 1.0
   */
  properties[PROP_WAITING] = new_figure ("waiting");

  /**
   * BufPool:closed: (getter is_closed)
   *
   * Whether the pool was closed. It notifies in the thread that closes the pool.
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
