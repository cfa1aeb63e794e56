/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "buf-pool-error.h"
#include "stream/buf-reader-private.h"

/*
 * One operation at a time: like the streams of GIO, a reader has a flag, which is cleared before
 * the callback runs.
 */

static gboolean
check_construction (BufReader *self, GError **error)
{
  if (self->core != NULL)
    return TRUE;

  g_set_error (error,
               BUF_POOL_ERROR,
               BUF_POOL_ERROR_INVALID_CONFIG,
               "The reader was created without a %s",
               self->stream == NULL ? "stream" : "pool");
  return FALSE;
}

/* Returns whether the caller is now the only operation. */
gboolean
buf_reader_begin (BufReader *self, GError **error)
{
  if (!check_construction (self, error))
    return FALSE;
  if (!atomic_exchange (&self->busy, TRUE))
    return TRUE;

  g_set_error_literal (error,
                       G_IO_ERROR,
                       G_IO_ERROR_PENDING,
                       "Another operation of the reader is in progress");
  return FALSE;
}

void
buf_reader_end (BufReader *self)
{
  atomic_store (&self->busy, FALSE);
}

static void
on_done (GObject *source, GAsyncResult *result, gpointer user_data)
{
  BufReader *self = BUF_READER (source);
  GAsyncReadyCallback callback = g_steal_pointer (&self->callback);

  buf_reader_end (self);
  if (callback != NULL)
    callback (source, result, user_data);
}

static GTask *
new_reader_task (BufReader *self,
                 int io_priority,
                 GCancellable *cancellable,
                 GAsyncReadyCallback callback,
                 gpointer user_data,
                 gpointer source_tag)
{
  GTask *task = g_task_new (self, cancellable, callback, user_data);

  /* The parentheses avoid the macro of this name, which would copy the name for each task. */
  (g_task_set_source_tag) (task, source_tag);
  g_task_set_priority (task, io_priority);
  g_task_set_check_cancellable (task, FALSE);
  return task;
}

/* Returns NULL if another operation is in progress or the reader is invalid. @callback then gets an
 * error. */
GTask *
buf_reader_begin_async (BufReader *self,
                        int io_priority,
                        GCancellable *cancellable,
                        GAsyncReadyCallback callback,
                        gpointer user_data,
                        gpointer source_tag)
{
  g_autoptr (GTask) refused = NULL;
  GError *error = NULL;

  if (buf_reader_begin (self, &error))
    {
      self->callback = callback;
      return new_reader_task (self, io_priority, cancellable, on_done, user_data, source_tag);
    }

  refused = new_reader_task (self, io_priority, cancellable, callback, user_data, source_tag);
  g_task_return_error (refused, error);
  return NULL;
}

void
buf_reader_add_position (BufReader *self, gsize n_bytes)
{
  atomic_fetch_add (&self->position, n_bytes);
}
