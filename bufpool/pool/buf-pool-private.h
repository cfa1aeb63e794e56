/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "buf-pool.h"
#include "memory/buf-memory-private.h"

G_BEGIN_DECLS

/* All but the atomic fields are constant once the pool is constructed. What allocations need, and
 * what changes, is in the memory. */
struct _BufPool
{
  GObject parent_instance;

  BufMemory *memory;
  guint64 max_memory;          /* as constructed */
  gint64 max_cached_memory;    /* likewise */
  GError *config_error;        /* what every request fails with, when the pool was built wrong */
  _Atomic gboolean has_closed; /* buf_pool_close() was called, and has notified */

  _Atomic guint n_until_dispatch; /* atomic; references until a notification is dispatched */
};

/* A timeout. */
#define BUF_POOL_FOR_EVER G_MAXUINT64

/* A request that buf_pool_check_request() has let pass. */
typedef struct
{
  gsize n_buffers;
  BufWant want;
  gboolean pinned; /* only for tasks */
} BufPoolRequest;

/* What is logged of a wait. */
typedef struct _BufWaitReport BufWaitReport;

extern gpointer buf_pool_class;

/* The type is final, so one comparison tells. The checks of arguments use it instead of the
 * function of that name, which would call back into the file that defines the type. */
static inline gboolean
buf_pool_is_instance (BufPool *self)
{
  return self != NULL && self->parent_instance.g_type_instance.g_class == buf_pool_class;
}
#define BUF_IS_POOL(instance) buf_pool_is_instance (instance)

void buf_pool_notify (BufPool *self, const gchar *property);
void buf_pool_drop_library_reference (gpointer self);
gboolean buf_pool_leave_to_thread (BufPool *self);
void buf_pool_keep_until_dispatch (BufPool *self);
void buf_pool_drop_after_dispatch (BufPool *self);

void buf_pool_install_properties (GObjectClass *object_class);

gboolean buf_pool_check_cancelled (BufMemory *memory, GCancellable *cancellable, GError **error);
gboolean
buf_pool_check_request (BufPool *self, gsize n_buffers, BufPoolRequest *request, GError **error);
void buf_pool_set_request_error (BufMemory *memory,
                                 const BufPoolRequest *request,
                                 BufOutcome outcome,
                                 const BufSemaphoreFigures *figures,
                                 GError **error);
BufPoolAllocation *buf_pool_take_cached (BufPool *self, gsize n_buffers, GCancellable *cancellable);
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
void
buf_pool_set_drain_error (BufOutcome outcome, const BufSemaphoreFigures *figures, GError **error);

gint64 buf_pool_get_wait_threshold (void);
void buf_pool_watch (BufPool *self);
BufWaitReport *buf_pool_report_wait (BufMemory *memory, const BufWaiter *waiter);
void buf_wait_report_log (BufWaitReport *self);
void buf_pool_warn_of_drain (BufMemory *memory,
                             guint64 milliseconds,
                             const BufSemaphoreFigures *figures);

G_END_DECLS
