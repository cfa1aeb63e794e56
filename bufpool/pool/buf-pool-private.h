/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "buf-pool.h"
#include "budget/buf-budget-private.h"
#include "budget/buf-wait-report-private.h"
#include "memory/buf-memory-private.h"

G_BEGIN_DECLS

/* All fields except the atomic ones are constant after construction. State that allocations need,
 * and state that changes, is in the memory. */
struct _BufPool
{
  GObject parent_instance;

  BufMemory *memory;
  BufBudget *budget;           /* may be NULL */
  guint64 max_memory;          /* as set during construction */
  guint64 reserved_memory;     /* as set during construction */
  gint64 max_cached_memory;    /* as set during construction */
  gint max_waiting;            /* as set during construction */
  GError *config_error;        /* the error of all requests, if the properties are invalid */
  _Atomic gboolean has_closed; /* buf_pool_close() has been called and has notified */

  _Atomic guint n_until_dispatch; /* atomic; references to drop when a notification is dispatched */
};

/* A request with its options. */
typedef struct
{
  gsize min_buffers;
  gsize max_buffers; /* if at most @min_buffers: exactly @min_buffers */
  gint64 timeout_us; /* negative: no limit */
  gint priority;
  gboolean pinned;
} BufPoolRequest;

#define BUF_POOL_REQUEST(n_buffers, timeout)                                                       \
  ((BufPoolRequest){ .min_buffers = (n_buffers),                                                   \
                     .max_buffers = (n_buffers),                                                   \
                     .timeout_us = (timeout) })

extern gpointer buf_pool_class;

/* The type is final, so one comparison is enough. Argument checks use this function instead of the
 * type check of GObject, which would call back into the file that defines the type. */
static inline gboolean
buf_pool_is_instance (BufPool *self)
{
  return self != NULL && self->parent_instance.g_type_instance.g_class == buf_pool_class;
}
#define BUF_IS_POOL(instance) buf_pool_is_instance (instance)

static inline gboolean
buf_pool_may_be_request (BufPool *self, gsize n_buffers)
{
  return G_LIKELY (buf_pool_is_instance (self) && n_buffers - 1 < BUF_POOL_MAX_BUFFERS);
}

void buf_pool_notify (BufPool *self, const gchar *property);
void buf_pool_drop_library_reference (gpointer self);
gboolean buf_pool_leave_to_thread (BufPool *self);
void buf_pool_keep_until_dispatch (BufPool *self);
void buf_pool_drop_after_dispatch (BufPool *self);

void buf_pool_install_properties (GObjectClass *object_class);
void buf_pool_change_max_memory (BufPool *self, guint64 max_memory);
void buf_pool_change_reserved_memory (BufPool *self, guint64 reserved_memory);
void buf_pool_change_max_waiting (BufPool *self, gint max_waiting);
void buf_pool_change_max_cached_memory (BufPool *self, gint64 max_cached_memory);

gboolean buf_pool_check_cancelled (BufMemory *memory, GCancellable *cancellable, GError **error);
gboolean buf_pool_check_request (BufPool *self,
                                 const BufPoolRequest *request,
                                 BufWant *want,
                                 GError **error);
gsize buf_pool_get_n_granted (BufMemory *memory, const BufWant *want);
void buf_pool_set_request_error (BufMemory *memory,
                                 gsize n_buffers,
                                 BufOutcome outcome,
                                 const BufSemaphoreFigures *figures,
                                 GError **error);
BufPoolAllocation *
buf_pool_take_cached (BufPool *self, gsize n_buffers, gboolean pinned, GCancellable *cancellable);
BufOutcome buf_pool_wait_inside (BufMemory *memory,
                                 BufWant *want,
                                 gint64 timeout_us,
                                 GCancellable *cancellable,
                                 BufSemaphoreFigures *figures,
                                 BufWaitReport **report);
gboolean
buf_pool_try_take (BufPool *self, const BufPoolRequest *request, BufWant *want, GError **error);
gboolean buf_pool_take (BufPool *self,
                        const BufPoolRequest *request,
                        GCancellable *cancellable,
                        BufWant *want,
                        GError **error);
BufPoolAllocation *buf_pool_allocate_as (BufPool *self,
                                         const BufPoolRequest *request,
                                         GCancellable *cancellable,
                                         GError **error);
void buf_pool_allocate_async_as (BufPool *self,
                                 const BufPoolRequest *request,
                                 GCancellable *cancellable,
                                 GAsyncReadyCallback callback,
                                 gpointer user_data);
BufPoolAllocation *
buf_pool_allocate_finish_as (BufPool *self, GAsyncResult *result, GError **error);
void
buf_pool_set_drain_error (BufOutcome outcome, const BufSemaphoreFigures *figures, GError **error);

void buf_pool_warn_of_drain (BufMemory *memory,
                             guint64 milliseconds,
                             const BufSemaphoreFigures *figures);

G_END_DECLS
