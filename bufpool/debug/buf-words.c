/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "debug/buf-words-private.h"

/* Describes the size of a request, which is @bytes in total. */
gchar *
buf_words_buffers (gsize n_buffers, guint64 buffer_size, gint64 bytes)
{
  const gchar *unit = buf_words_choose (buffer_size, "byte", "bytes");

  if (n_buffers == 1)
    return g_strdup_printf ("1 buffer of %" G_GUINT64_FORMAT " %s", buffer_size, unit);
  return g_strdup_printf ("%" G_GSIZE_FORMAT " buffers of %" G_GUINT64_FORMAT
                          " %s (%" G_GINT64_FORMAT " bytes)",
                          n_buffers,
                          buffer_size,
                          unit,
                          bytes);
}
