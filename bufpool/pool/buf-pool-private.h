/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdatomic.h>
#include <sys/types.h>

#include "semaphore/buf-semaphore-private.h"
#include "debug/buf-debug-private.h"
#include "buf-pool.h"

G_BEGIN_DECLS

/* Why a request failed, in the order of precedence. */
typedef enum
{
  BUF_REFUSAL_CANCELLED,
  BUF_REFUSAL_INVALID,
  BUF_REFUSAL_TOO_LARGE,
  BUF_REFUSAL_CLOSED,
  BUF_REFUSAL_WOULD_BLOCK,
  BUF_REFUSAL_TIMED_OUT,
  BUF_REFUSAL_NO_MEMORY,
  BUF_N_REFUSALS
} BufRefusal;

/* All but the atomic fields is constant once the pool is constructed; what changes is in the
 * budget. */
struct _BufPool
{
  GObject parent_instance;

  gchar padding[BUF_CACHE_LINE]; /* so that the reference count is on another cache line */

  /* Read by every request. */
  gint64 unit; /* @buffer_size, or less when it is so large that no stripe has room for it */
  guint64 buffer_size;
  gboolean unusual_memory; /* aligned, zeroed, recorded, or perhaps too large: not just malloc() */
  BufSemaphore semaphore;

  guint alignment;
  gboolean zero_fill;
  guint64 max_memory; /* as constructed */
  gchar *name;
  GError *config_error;        /* what every request fails with, when the pool was built wrong */
  _Atomic gboolean has_closed; /* buf_pool_close() was called, and has notified */

  GList link;                                /* in the list of all pools, and under its lock */
  pid_t process;                             /* which made it; not the child of a fork */
  BufDebugLedger *ledger;                    /* NULL unless BUFPOOL_DEBUG asks for one */
  _Atomic guint64 n_refused[BUF_N_REFUSALS]; /* atomic */
  guint trace_counter;                       /* of Sysprof; 0 when it does not record */
  _Atomic gint64 traced;                     /* atomic; when that was last set, in microseconds */
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

static inline void
buf_pool_count_refusal (BufPool *self, BufRefusal refusal)
{
  atomic_fetch_add_explicit (&self->n_refused[refusal], 1, memory_order_relaxed);
}

void buf_pool_install_properties (GObjectClass *object_class);

gboolean buf_pool_check_cancelled (BufPool *self, GCancellable *cancellable, GError **error);
gboolean
buf_pool_check_request (BufPool *self, gsize n_buffers, BufPoolRequest *request, GError **error);
void buf_pool_set_request_error (BufPool *self,
                                 const BufPoolRequest *request,
                                 BufOutcome outcome,
                                 const BufSemaphoreFigures *figures,
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
void
buf_pool_set_drain_error (BufOutcome outcome, const BufSemaphoreFigures *figures, GError **error);

/* For bytes that the caller has taken. The pool is held first: what is pinned does not hold it. */
static inline void
buf_pool_pin (BufPool *self, gint64 bytes)
{
  g_object_ref (self);
  buf_semaphore_pin (&self->semaphore, bytes);
}

void buf_pool_trace_change (BufPool *self, gint64 change);

/* Shows the memory that is out, and what is about to change, in the graph of Sysprof. */
static inline void
buf_pool_trace_memory (BufPool *self, gint64 change)
{
  if (G_UNLIKELY (self->trace_counter != 0))
    buf_pool_trace_change (self, change);
}

void buf_pool_join_all (BufPool *self);
void buf_pool_leave_all (BufPool *self);
void buf_pool_report_wait (BufPool *self, const BufWaiter *waiter);
void
buf_pool_warn_of_drain (BufPool *self, guint64 milliseconds, const BufSemaphoreFigures *figures);

G_END_DECLS
