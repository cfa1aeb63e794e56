/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "stream/buf-descriptor-private.h"
#include "stream/buf-reader-private.h"

/*
 * The target of a splice, and writing one block to it.
 *
 * The part of a block that was not written goes back to the reader.
 */

/* Takes ownership of the block, of which @n_written bytes were written. */
void
buf_reader_end_block (BufReader *self, GBytes *bytes, gsize n_written)
{
  gsize size = g_bytes_get_size (bytes);

  buf_reader_add_position (self, n_written);
  if (n_written == size)
    {
      g_bytes_unref (bytes);
      return;
    }

  buf_reader_core_put_back (self->core,
                            g_bytes_new_from_bytes (bytes, n_written, size - n_written));
  g_bytes_unref (bytes);
}

gboolean
buf_reader_can_poll_target (GOutputStream *target)
{
  return G_IS_POLLABLE_OUTPUT_STREAM (target) &&
         g_pollable_output_stream_can_poll (G_POLLABLE_OUTPUT_STREAM (target));
}

/* Returns the target if the operation has to wait for it. */
GPollableOutputStream *
buf_reader_get_unready_target (GOutputStream *target)
{
  if (g_output_stream_is_closed (target) || !buf_reader_can_poll_target (target) ||
      g_pollable_output_stream_is_writable (G_POLLABLE_OUTPUT_STREAM (target)))
    return NULL;
  return G_POLLABLE_OUTPUT_STREAM (target);
}

/* A write blocks until there is room. Only the stream itself can be cancelled meanwhile. */
static gboolean
can_write_directly (GOutputStream *target, gint descriptor, GCancellable *cancellable)
{
  if (descriptor < 0 || g_cancellable_is_cancelled (cancellable))
    return FALSE;
  return cancellable == NULL || buf_reader_get_unready_target (target) == NULL;
}

/* Writes to the descriptor of the target once. Returns how much was written. */
static gsize
write_directly (GOutputStream *target,
                gint descriptor,
                gconstpointer data,
                gsize size,
                GCancellable *cancellable)
{
  gssize n_written;

  if (!can_write_directly (target, descriptor, cancellable) ||
      !g_output_stream_set_pending (target, NULL))
    return 0;

  n_written = buf_descriptor_write (descriptor, data, size);
  g_output_stream_clear_pending (target);
  return MAX (n_written, 0);
}

/* The stream itself reports each error. */
gboolean
buf_reader_write_block (BufReader *self,
                        GBytes *bytes,
                        GOutputStream *target,
                        gint descriptor,
                        GCancellable *cancellable,
                        GError **error)
{
  gsize size;
  const guint8 *data = g_bytes_get_data (bytes, &size);
  gsize n_direct = write_directly (target, descriptor, data, size, cancellable);
  gsize n_rest = 0;
  gboolean done = n_direct == size || g_output_stream_write_all (target,
                                                                 data + n_direct,
                                                                 size - n_direct,
                                                                 &n_rest,
                                                                 cancellable,
                                                                 error);

  buf_reader_end_block (self, bytes, n_direct + n_rest);
  return done;
}
