/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#if !defined(BUF_INSIDE) && !defined(BUF_COMPILATION)
#error "Only <bufpool/bufpool.h> can be included directly."
#endif

#include <gio/gio.h>

#include <bufpool/buf-budget.h>
#include <bufpool/buf-pool-allocation.h>
#include <bufpool/buf-pool-stats.h>
#include <bufpool/buf-version-macros.h>

G_BEGIN_DECLS

/**
 * BUF_POOL_UNLIMITED:
 *
 * The default and the maximum value of [property@Pool:max-memory]: 2⁵³ − 1 bytes, the largest
 * integer that every supported language can represent exactly. On 32-bit systems, the constant is
 * the maximum of `gsize`, and functions take and return it instead of 2⁵³ − 1; the property still
 * uses 2⁵³ − 1.
 *
 * Since: 1.0
 */
#if GLIB_SIZEOF_SIZE_T < 8
#define BUF_POOL_UNLIMITED G_MAXUINT32
#else
#define BUF_POOL_UNLIMITED G_GUINT64_CONSTANT (9007199254740991)
#endif

#define BUF_TYPE_POOL (buf_pool_get_type ())

BUF_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (BufPool, buf_pool, BUF, POOL, GObject)

BUF_AVAILABLE_IN_1_0
BufPool *buf_pool_new (gsize buffer_size, gsize max_memory, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
BufPool *buf_pool_new_with_budget (gsize buffer_size, BufBudget *budget, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
BufPoolAllocation *
buf_pool_allocate (BufPool *self, gsize n_buffers, GCancellable *cancellable, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
BufPoolAllocation *buf_pool_allocate_timeout (BufPool *self,
                                              gsize n_buffers,
                                              gint64 timeout_us,
                                              GCancellable *cancellable,
                                              GError **error) G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
BufPoolAllocation *buf_pool_try_allocate (BufPool *self, gsize n_buffers, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
void buf_pool_allocate_async (BufPool *self,
                              gsize n_buffers,
                              int io_priority,
                              GCancellable *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer user_data);
BUF_AVAILABLE_IN_1_0
BufPoolAllocation *buf_pool_allocate_finish (BufPool *self, GAsyncResult *result, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
BufPoolAllocation *buf_pool_allocate_full (BufPool *self,
                                           gsize min_buffers,
                                           gsize max_buffers,
                                           gint64 timeout_us,
                                           int io_priority,
                                           GCancellable *cancellable,
                                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
void buf_pool_allocate_full_async (BufPool *self,
                                   gsize min_buffers,
                                   gsize max_buffers,
                                   gint64 timeout_us,
                                   int io_priority,
                                   GCancellable *cancellable,
                                   GAsyncReadyCallback callback,
                                   gpointer user_data);
BUF_AVAILABLE_IN_1_0
BufPoolAllocation *
buf_pool_allocate_full_finish (BufPool *self, GAsyncResult *result, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
BufPoolAllocation *
buf_pool_allocate_pinned (BufPool *self, gsize n_buffers, GCancellable *cancellable, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
BufPoolAllocation *buf_pool_allocate_timeout_pinned (BufPool *self,
                                                     gsize n_buffers,
                                                     gint64 timeout_us,
                                                     GCancellable *cancellable,
                                                     GError **error) G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
BufPoolAllocation *buf_pool_try_allocate_pinned (BufPool *self, gsize n_buffers, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
void buf_pool_allocate_pinned_async (BufPool *self,
                                     gsize n_buffers,
                                     int io_priority,
                                     GCancellable *cancellable,
                                     GAsyncReadyCallback callback,
                                     gpointer user_data);
BUF_AVAILABLE_IN_1_0
BufPoolAllocation *
buf_pool_allocate_pinned_finish (BufPool *self, GAsyncResult *result, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
BufPoolAllocation *buf_pool_allocate_full_pinned (BufPool *self,
                                                  gsize min_buffers,
                                                  gsize max_buffers,
                                                  gint64 timeout_us,
                                                  int io_priority,
                                                  GCancellable *cancellable,
                                                  GError **error) G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
void buf_pool_allocate_full_pinned_async (BufPool *self,
                                          gsize min_buffers,
                                          gsize max_buffers,
                                          gint64 timeout_us,
                                          int io_priority,
                                          GCancellable *cancellable,
                                          GAsyncReadyCallback callback,
                                          gpointer user_data);
BUF_AVAILABLE_IN_1_0
BufPoolAllocation *
buf_pool_allocate_full_pinned_finish (BufPool *self, GAsyncResult *result, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
gboolean buf_pool_drain (BufPool *self, GCancellable *cancellable, GError **error);
BUF_AVAILABLE_IN_1_0
gboolean buf_pool_drain_timeout (BufPool *self,
                                 gint64 timeout_us,
                                 GCancellable *cancellable,
                                 GError **error);
BUF_AVAILABLE_IN_1_0
void buf_pool_drain_async (BufPool *self,
                           int io_priority,
                           GCancellable *cancellable,
                           GAsyncReadyCallback callback,
                           gpointer user_data);
BUF_AVAILABLE_IN_1_0
gboolean buf_pool_drain_finish (BufPool *self, GAsyncResult *result, GError **error);

BUF_AVAILABLE_IN_1_0
void buf_pool_close (BufPool *self);
BUF_AVAILABLE_IN_1_0
gboolean buf_pool_is_closed (BufPool *self);

BUF_AVAILABLE_IN_1_0
gsize buf_pool_get_buffer_size (BufPool *self);
BUF_AVAILABLE_IN_1_0
gsize buf_pool_get_max_memory (BufPool *self);
BUF_AVAILABLE_IN_1_0
void buf_pool_set_max_memory (BufPool *self, gsize max_memory);
BUF_AVAILABLE_IN_1_0
gint64 buf_pool_get_max_cached_memory (BufPool *self);
BUF_AVAILABLE_IN_1_0
void buf_pool_set_max_cached_memory (BufPool *self, gint64 max_cached_memory);
BUF_AVAILABLE_IN_1_0
gsize buf_pool_get_reserved_memory (BufPool *self);
BUF_AVAILABLE_IN_1_0
void buf_pool_set_reserved_memory (BufPool *self, gsize reserved_memory);
BUF_AVAILABLE_IN_1_0
int buf_pool_get_max_waiting (BufPool *self);
BUF_AVAILABLE_IN_1_0
void buf_pool_set_max_waiting (BufPool *self, int max_waiting);
BUF_AVAILABLE_IN_1_0
BufBudget *buf_pool_get_budget (BufPool *self);
BUF_AVAILABLE_IN_1_0
guint buf_pool_get_alignment (BufPool *self);
BUF_AVAILABLE_IN_1_0
gboolean buf_pool_get_zero_fill (BufPool *self);
BUF_AVAILABLE_IN_1_0
const gchar *buf_pool_get_name (BufPool *self);

BUF_AVAILABLE_IN_1_0
gsize buf_pool_get_allocated_memory (BufPool *self);
BUF_AVAILABLE_IN_1_0
gsize buf_pool_get_available_memory (BufPool *self);
BUF_AVAILABLE_IN_1_0
gsize buf_pool_get_cached_memory (BufPool *self);
BUF_AVAILABLE_IN_1_0
gsize buf_pool_get_active_allocations (BufPool *self);
BUF_AVAILABLE_IN_1_0
gsize buf_pool_get_waiting (BufPool *self);

BUF_AVAILABLE_IN_1_0
gsize buf_pool_trim (BufPool *self, gsize target);
BUF_AVAILABLE_IN_1_0
gsize buf_pool_trim_all (void);

BUF_AVAILABLE_IN_1_0
BufPoolStats *buf_pool_get_stats (BufPool *self) G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
gchar *buf_pool_describe_outstanding (BufPool *self) G_GNUC_WARN_UNUSED_RESULT;

G_END_DECLS
