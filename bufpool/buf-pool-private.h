/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdatomic.h>

#include "buf-budget-private.h"
#include "buf-pool.h"

G_BEGIN_DECLS

/* All but @has_closed is constant once the pool is constructed; what changes is in the budget. */
struct _BufPool
{
  GObject parent_instance;

  gchar padding[BUF_CACHE_LINE]; /* so that the reference count is on another cache line */

  /* Read by every request. */
  gint64 unit; /* @buffer_size, or less when it is so large that no stripe has room for it */
  guint64 buffer_size;
  gboolean unusual_memory; /* aligned, zeroed, or perhaps too large: not simply malloc() */
  BufBudget budget;

  guint alignment;
  gboolean zero_fill;
  guint64 max_memory; /* as constructed */
  gchar *name;
  GError *config_error;        /* what every request fails with, when the pool was built wrong */
  _Atomic gboolean has_closed; /* buf_pool_close() was called, and has notified */
};

/* A timeout. */
#define BUF_POOL_FOR_EVER G_MAXUINT64

/* A request that buf_pool_check_request() has let pass. */
typedef struct
{
  gsize n_buffers;
  gint64 bytes;
  gboolean pinned; /* only for tasks */
} BufPoolRequest;

extern gpointer buf_pool_class;

/* BUF_IS_POOL() for hot paths: the type is final, so one comparison answers it. */
static inline gboolean
buf_pool_is_instance (BufPool *self)
{
  return self != NULL && self->parent_instance.g_type_instance.g_class == buf_pool_class;
}

void buf_pool_install_properties (GObjectClass *object_class);

gboolean
buf_pool_check_request (BufPool *self, gsize n_buffers, BufPoolRequest *request, GError **error);
void buf_pool_set_request_error (BufPool *self,
                                 const BufPoolRequest *request,
                                 BufOutcome outcome,
                                 const BufBudgetFigures *figures,
                                 GError **error);
gboolean
buf_pool_try_take (BufPool *self, gsize n_buffers, BufPoolRequest *request, GError **error);
gboolean buf_pool_take (BufPool *self,
                        gsize n_buffers,
                        guint64 timeout,
                        GCancellable *cancellable,
                        BufPoolRequest *request,
                        GError **error);
void buf_pool_allocate_async_as (BufPool *self,
                                 gsize n_buffers,
                                 int io_priority,
                                 GCancellable *cancellable,
                                 GAsyncReadyCallback callback,
                                 gpointer user_data,
                                 gboolean pinned);
void buf_pool_set_drain_error (BufOutcome outcome, const BufBudgetFigures *figures, GError **error);

G_END_DECLS
