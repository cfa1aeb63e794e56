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

G_END_DECLS
