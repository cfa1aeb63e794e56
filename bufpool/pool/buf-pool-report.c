/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-request-private.h"
#include "debug/buf-words-private.h"
#include "pool/buf-pool-private.h"

/*
 * What a pool says: who holds what, and that it cannot go yet.
 */

/**
 * buf_pool_describe_outstanding:
 * @self: a pool
 *
 * Tells in words what is outstanding, and how many wait. If the environment variable
 * `BUFPOOL_DEBUG` had the key `leaks` when the program began, it also tells for each allocation who
 * made it, when and where: grouped by their call stacks, the most bytes first.
 *
 * The text is meant for people. What it looks like may change.
 *
 * This function can be called from any thread, also while others use the pool. It may take a
 * second, as it looks up names of functions and lines in the debug information.
 *
 * Returns: (transfer full): some lines of text
 *
 * Since: 1.0
 */
gchar *
buf_pool_describe_outstanding (BufPool *self)
{
  g_autoptr (GString) description = g_string_new (NULL);

  g_return_val_if_fail (BUF_IS_POOL (self), NULL);

  buf_memory_append_description (self->memory, description);
  return g_string_free (g_steal_pointer (&description), FALSE);
}

/* Dispose has waited for long. */
void
buf_pool_warn_of_drain (BufMemory *memory, guint64 milliseconds, const BufSemaphoreFigures *figures)
{
  g_autofree gchar *title = buf_request_get_title (&memory->semaphore, "The");
  g_autoptr (GString) description = g_string_new (NULL);

  buf_memory_append_outstanding (memory, description);
  g_warning ("%s was dropped %" G_GUINT64_FORMAT " ms ago, and still waits for %" G_GINT64_FORMAT
             " %s (%" G_GINT64_FORMAT
             " %s) to be dropped. Does this thread hold one, or has one leaked?\n%s",
             title,
             milliseconds,
             figures->n_allocations,
             buf_words_choose (figures->n_allocations, "allocation", "allocations"),
             figures->allocated,
             buf_words_choose (figures->allocated, "byte", "bytes"),
             description->str);
}
