/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#if !defined(BUF_INSIDE) && !defined(BUF_COMPILATION)
#error "Only <bufpool/bufpool.h> can be included directly."
#endif

#include <gio/gio.h>

#include <bufpool/buf-pool.h>
#include <bufpool/buf-version-macros.h>

G_BEGIN_DECLS

#define BUF_TYPE_READER (buf_reader_get_type ())

BUF_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (BufReader, buf_reader, BUF, READER, GObject)

BUF_AVAILABLE_IN_1_0
BufReader *buf_reader_new (GInputStream *stream, BufPool *pool, gsize n_buffers)
    G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
GBytes *buf_reader_next_block (BufReader *self, GCancellable *cancellable, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
void buf_reader_next_block_async (BufReader *self,
                                  int io_priority,
                                  GCancellable *cancellable,
                                  GAsyncReadyCallback callback,
                                  gpointer user_data);
BUF_AVAILABLE_IN_1_0
GBytes *buf_reader_next_block_finish (BufReader *self, GAsyncResult *result, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
gboolean buf_reader_splice (BufReader *self,
                            GOutputStream *target,
                            GOutputStreamSpliceFlags flags,
                            GCancellable *cancellable,
                            GError **error);
BUF_AVAILABLE_IN_1_0
void buf_reader_splice_async (BufReader *self,
                              GOutputStream *target,
                              GOutputStreamSpliceFlags flags,
                              int io_priority,
                              GCancellable *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer user_data);
BUF_AVAILABLE_IN_1_0
gboolean buf_reader_splice_finish (BufReader *self, GAsyncResult *result, GError **error);

BUF_AVAILABLE_IN_1_0
GInputStream *buf_reader_get_stream (BufReader *self);
BUF_AVAILABLE_IN_1_0
BufPool *buf_reader_get_pool (BufReader *self);
BUF_AVAILABLE_IN_1_0
gsize buf_reader_get_n_buffers (BufReader *self);
BUF_AVAILABLE_IN_1_0
guint buf_reader_get_read_ahead (BufReader *self);
BUF_AVAILABLE_IN_1_0
void buf_reader_set_read_ahead (BufReader *self, guint read_ahead);
BUF_AVAILABLE_IN_1_0
guint64 buf_reader_get_position (BufReader *self);

G_END_DECLS
