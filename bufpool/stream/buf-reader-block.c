/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "stream/buf-descriptor-private.h"
#include "stream/buf-reader-core-private.h"

/*
 * One block: a read into an allocation, and its result.
 *
 * A block is delivered with the data of one read, so that data from a slow peer does not wait for
 * more. The GBytes owns the reference on the allocation.
 */

/* Frees the buffers that a short block does not need, if the limit allows the exchange. */
static void
fit (BufPoolAllocation *allocation, gsize n_read)
{
  gsize buffer_size = buf_pool_allocation_get_buffer_size (allocation);
  gsize n_needed = (n_read - 1) / buffer_size + 1;

  if (n_needed < buf_pool_allocation_get_length (allocation))
    (void) buf_pool_allocation_shrink (allocation, n_needed, NULL);
}

static GBytes *
make_bytes (BufReaderCore *self, BufPoolAllocation *allocation, gsize n_read)
{
  if (atomic_load (&self->fits))
    fit (allocation, n_read);
  return g_bytes_new_with_free_func (buf_pool_allocation_get_first (allocation),
                                     n_read,
                                     (GDestroyNotify) buf_pool_allocation_unref,
                                     allocation);
}

/* Takes ownership of @allocation and @error. @n_read is the return value of the stream. */
BufReaderItem
buf_reader_core_make_item (BufReaderCore *self,
                           BufPoolAllocation *allocation,
                           gssize n_read,
                           GError *error)
{
  gsize size = buf_pool_allocation_get_allocated_bytes (allocation);
  BufReaderItem item = { NULL, error };

  if (n_read > 0 && (gsize) n_read <= size)
    {
      item.bytes = make_bytes (self, allocation, n_read);
      return item;
    }

  buf_pool_allocation_unref (allocation);
  if (n_read > 0)
    item.error =
        g_error_new (G_IO_ERROR,
                     G_IO_ERROR_FAILED,
                     "%s returned %" G_GSSIZE_FORMAT " bytes from a read of %" G_GSIZE_FORMAT,
                     G_OBJECT_TYPE_NAME (self->stream),
                     n_read,
                     size);
  else if (n_read < 0 && item.error == NULL)
    item.error = g_error_new (G_IO_ERROR,
                              G_IO_ERROR_FAILED,
                              "%s failed to read without setting an error",
                              G_OBJECT_TYPE_NAME (self->stream));
  return item;
}

/* The caller has set the "pending" flag of the stream. */
static gssize
read_from_polled (BufReaderCore *self,
                  gpointer data,
                  gsize size,
                  gboolean is_readable,
                  GCancellable *cancellable,
                  GError **error)
{
  gssize n_read = -1;

  if (is_readable)
    n_read = buf_descriptor_read (self->descriptor, data, size);
  if (n_read >= 0)
    return n_read;
  return g_pollable_input_stream_read_nonblocking (self->pollable, data, size, cancellable, error);
}

/* Reads once, and takes ownership of @allocation. @is_readable means that the stream was polled
 * just now. If it was polled before a wait, another process may have read the data meanwhile.
 * Returns FALSE if the stream was polled and has no data yet. */
gboolean
buf_reader_core_read_once (BufReaderCore *self,
                           BufPoolAllocation *allocation,
                           gboolean is_readable,
                           GCancellable *cancellable,
                           BufReaderItem *item)
{
  gpointer data = buf_pool_allocation_get_first (allocation);
  gsize size = buf_pool_allocation_get_allocated_bytes (allocation);
  GError *error = NULL;
  gssize n_read;

  if (self->pollable == NULL)
    n_read = g_input_stream_read (self->stream, data, size, cancellable, &error);
  else
    n_read = read_from_polled (self, data, size, is_readable, cancellable, &error);

  if (self->pollable != NULL && g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    {
      g_error_free (error);
      buf_pool_allocation_unref (allocation);
      return FALSE;
    }

  *item = buf_reader_core_make_item (self, allocation, n_read, error);
  return TRUE;
}
