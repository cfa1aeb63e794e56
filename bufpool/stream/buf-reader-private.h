/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdatomic.h>

#include "buf-reader.h"
#include "stream/buf-reader-core-private.h"

G_BEGIN_DECLS

struct _BufReader
{
  GObject parent_instance;

  /* Constant after construction. */
  GInputStream *stream;
  BufPool *pool;
  guint64 n_buffers;
  BufReaderCore *core;

  _Atomic guint read_ahead;     /* atomic; the core has a copy */
  _Atomic gboolean busy;        /* atomic; whether an operation is in progress */
  _Atomic guint64 position;     /* atomic */
  GAsyncReadyCallback callback; /* of the operation; owned by the thread that set @busy */
};

gboolean buf_reader_begin (BufReader *self, GError **error);
void buf_reader_end (BufReader *self);
GTask *buf_reader_begin_async (BufReader *self,
                               int io_priority,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data,
                               gpointer source_tag);
void buf_reader_add_position (BufReader *self, gsize n_bytes);

/* The target of a splice. */

gboolean buf_reader_can_poll_target (GOutputStream *target);
GPollableOutputStream *buf_reader_get_unready_target (GOutputStream *target);
void buf_reader_end_block (BufReader *self, GBytes *bytes, gsize n_written);
gboolean buf_reader_write_block (BufReader *self,
                                 GBytes *bytes,
                                 GOutputStream *target,
                                 gint descriptor,
                                 GCancellable *cancellable,
                                 GError **error);

G_END_DECLS
