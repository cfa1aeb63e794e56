/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#if !defined(BUF_INSIDE) && !defined(BUF_COMPILATION)
#error "Only <bufpool/bufpool.h> can be included directly."
#endif

#include <gio/gio.h>

#include <bufpool/buf-version-macros.h>

G_BEGIN_DECLS

/**
 * BUF_POOL_MAX_BUFFERS:
 *
 * The maximum number of buffers in one allocation.
 *
 * Since: 1.0
 */
#define BUF_POOL_MAX_BUFFERS 65535

#define BUF_TYPE_POOL_ALLOCATION (buf_pool_allocation_get_type ())

typedef struct _BufPoolAllocation BufPoolAllocation;
typedef struct _BufPoolAllocationIter BufPoolAllocationIter;

/**
 * BufPoolAllocationIter: (skip)
 *
 * An iterator over the buffers of an allocation. It is allocated on the stack and owns nothing.
 *
 * Since: 1.0
 */
struct _BufPoolAllocationIter
{
  /*< private >*/
  gpointer next;
  gsize left;
  gsize step;
  gpointer padding[5];
};

BUF_AVAILABLE_IN_1_0
GType buf_pool_allocation_get_type (void) G_GNUC_CONST;

BUF_AVAILABLE_IN_1_0
BufPoolAllocation *buf_pool_allocation_ref (BufPoolAllocation *self);
BUF_AVAILABLE_IN_1_0
void buf_pool_allocation_unref (BufPoolAllocation *self);

BUF_AVAILABLE_IN_1_0
gsize buf_pool_allocation_get_length (BufPoolAllocation *self);
BUF_AVAILABLE_IN_1_0
gsize buf_pool_allocation_get_buffer_size (BufPoolAllocation *self);
BUF_AVAILABLE_IN_1_0
gsize buf_pool_allocation_get_allocated_bytes (BufPoolAllocation *self);

BUF_AVAILABLE_IN_1_0
gpointer buf_pool_allocation_get_first (BufPoolAllocation *self);
BUF_AVAILABLE_IN_1_0
gpointer buf_pool_allocation_get_buffer (BufPoolAllocation *self, gsize index);
BUF_AVAILABLE_IN_1_0
guint8 *buf_pool_allocation_get_data (BufPoolAllocation *self, gsize *size);

BUF_AVAILABLE_IN_1_0
GBytes *buf_pool_allocation_get_bytes (BufPoolAllocation *self) G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
GBytes *buf_pool_allocation_get_buffer_bytes (BufPoolAllocation *self, gsize index)
    G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
gboolean buf_pool_allocation_fill (BufPoolAllocation *self,
                                   gsize offset,
                                   const guint8 *data,
                                   gsize size,
                                   GError **error);
BUF_AVAILABLE_IN_1_0
GBytes *
buf_pool_allocation_extract (BufPoolAllocation *self, gsize offset, gsize size, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
gboolean buf_pool_allocation_fill_from_stream (BufPoolAllocation *self,
                                               GInputStream *stream,
                                               gsize offset,
                                               gsize size,
                                               gsize *bytes_read,
                                               GCancellable *cancellable,
                                               GError **error);
BUF_AVAILABLE_IN_1_0
void buf_pool_allocation_fill_from_stream_async (BufPoolAllocation *self,
                                                 GInputStream *stream,
                                                 gsize offset,
                                                 gsize size,
                                                 int io_priority,
                                                 GCancellable *cancellable,
                                                 GAsyncReadyCallback callback,
                                                 gpointer user_data);
BUF_AVAILABLE_IN_1_0
gboolean buf_pool_allocation_fill_from_stream_finish (BufPoolAllocation *self,
                                                      GAsyncResult *result,
                                                      gsize *bytes_read,
                                                      GError **error);
BUF_AVAILABLE_IN_1_0
gboolean buf_pool_allocation_write_to_stream (BufPoolAllocation *self,
                                              GOutputStream *stream,
                                              gsize offset,
                                              gsize size,
                                              gsize *bytes_written,
                                              GCancellable *cancellable,
                                              GError **error);
BUF_AVAILABLE_IN_1_0
void buf_pool_allocation_write_to_stream_async (BufPoolAllocation *self,
                                                GOutputStream *stream,
                                                gsize offset,
                                                gsize size,
                                                int io_priority,
                                                GCancellable *cancellable,
                                                GAsyncReadyCallback callback,
                                                gpointer user_data);
BUF_AVAILABLE_IN_1_0
gboolean buf_pool_allocation_write_to_stream_finish (BufPoolAllocation *self,
                                                     GAsyncResult *result,
                                                     gsize *bytes_written,
                                                     GError **error);

BUF_AVAILABLE_IN_1_0
gsize buf_pool_allocation_get_transferred_bytes (BufPoolAllocation *self);

BUF_AVAILABLE_IN_1_0
gboolean buf_pool_allocation_shrink (BufPoolAllocation *self, gsize n_buffers, GError **error);
BUF_AVAILABLE_IN_1_0
void buf_pool_allocation_release (BufPoolAllocation *self);
BUF_AVAILABLE_IN_1_0
gboolean buf_pool_allocation_is_released (BufPoolAllocation *self);

BUF_AVAILABLE_IN_1_0
void buf_pool_allocation_iter_init (BufPoolAllocationIter *iter, BufPoolAllocation *self);
BUF_AVAILABLE_IN_1_0
gboolean buf_pool_allocation_iter_next (BufPoolAllocationIter *iter, gpointer *buffer);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BufPoolAllocation, buf_pool_allocation_unref)

G_END_DECLS
