/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdatomic.h>

#include <gio/gio.h>

#include "buf-pool.h"

G_BEGIN_DECLS

typedef struct _BufReaderCore BufReaderCore;

/* The result of a read: a block, an error, or, with neither, the end of the stream. */
typedef struct
{
  GBytes *bytes;
  GError *error;
} BufReaderItem;

/* Which thread reads from the stream. */
typedef enum
{
  BUF_READING_NONE,
  BUF_READING_QUEUED, /* a thread will read, unless an operation does it first */
  BUF_READING_BUSY
} BufReading;

/* What an operation has to do. */
typedef enum
{
  BUF_TAKE_ITEM, /* nothing: it has an item */
  BUF_TAKE_READ, /* to read from the stream, as the only reader */
  BUF_TAKE_WAIT  /* to wait for the thread that is reading */
} BufTake;

struct _BufReaderCore
{
  gatomicrefcount ref_count; /* the reader, its operations, and the thread that reads ahead */

  /* Constant. */
  GInputStream *stream;
  GPollableInputStream *pollable; /* the same stream, or NULL if it cannot be polled */
  gint descriptor;                /* of the same stream, or -1 */
  BufPool *pool;                  /* owned by the library */
  gsize n_buffers;
  GCancellable *stop; /* cancels reading ahead */

  _Atomic guint read_ahead; /* atomic */
  _Atomic gboolean fits;    /* atomic; whether short blocks are worth shrinking */

  GMutex mutex;
  GCond changed;               /* an item has arrived, or no thread is reading anymore */
  GQueue items;                /* LOCK: mutex; BufReaderItem, in the order of the stream */
  BufReading reading;          /* LOCK: mutex */
  gboolean has_job;            /* LOCK: mutex; whether a thread has been requested */
  gboolean stopped;            /* LOCK: mutex; whether reading ahead has ended */
  GSource *waiting;            /* LOCK: mutex; to attach after a change */
  GMainContext *waiting_where; /* LOCK: mutex; the context to attach it to; a reference */
};

BufReaderCore *buf_reader_core_new (GInputStream *stream, BufPool *pool, gsize n_buffers);
BufReaderCore *buf_reader_core_ref (BufReaderCore *self);
void buf_reader_core_unref (BufReaderCore *self);

BufTake buf_reader_core_take (BufReaderCore *self, BufReaderItem *item);
BufTake
buf_reader_core_take_waiting (BufReaderCore *self, GCancellable *cancellable, BufReaderItem *item);
BufTake buf_reader_core_take_or_attach (BufReaderCore *self,
                                        GTask *task,
                                        GSourceFunc function,
                                        BufReaderItem *item);
void buf_reader_core_end_read (BufReaderCore *self, const BufReaderItem *item);
void buf_reader_core_put_back (BufReaderCore *self, GBytes *bytes);

void buf_reader_core_stop (BufReaderCore *self);
void buf_reader_core_wait_until_stopped (BufReaderCore *self);
gboolean
buf_reader_core_is_stopped_or_attach (BufReaderCore *self, GTask *task, GSourceFunc function);
void buf_reader_core_wake (gpointer data);
void buf_reader_core_drop_items (BufReaderCore *self);

/* One block. */

BufReaderItem buf_reader_core_make_item (BufReaderCore *self,
                                         BufPoolAllocation *allocation,
                                         gssize n_read,
                                         GError *error);
gboolean buf_reader_core_read_once (BufReaderCore *self,
                                    BufPoolAllocation *allocation,
                                    gboolean is_readable,
                                    GCancellable *cancellable,
                                    BufReaderItem *item);

/* The next block. */

GBytes *buf_reader_core_fetch (BufReaderCore *self, GCancellable *cancellable, GError **error);
gboolean
buf_reader_core_try_fetch (BufReaderCore *self, GCancellable *cancellable, BufReaderItem *item);
void buf_reader_core_fetch_for (BufReaderCore *self, GTask *task);
void buf_reader_core_fetch_async (BufReaderCore *self,
                                  int io_priority,
                                  GCancellable *cancellable,
                                  GAsyncReadyCallback callback,
                                  gpointer user_data);
GBytes *buf_reader_core_fetch_finish (GAsyncResult *result, GError **error);

G_END_DECLS
