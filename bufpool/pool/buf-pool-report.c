/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-request-private.h"
#include "debug/buf-words-private.h"
#include "pool/buf-pool-private.h"

/*
 * Reports about a pool: its outstanding allocations, and a warning if they delay the end of the
 * pool.
 */

/**
 * buf_pool_describe_outstanding:
 * @self: a pool
 *
 * Describes the outstanding allocations and the number of waiting requests. If the environment
 * variable `BUFPOOL_DEBUG` contained `leaks` when the program started, the text also says for each
 * allocation which thread made it, when, and where. The allocations are grouped by call stack, with
 * the most bytes first.
 *
 * The text is meant for people. Its format may change.
 *
 * This function can be called from any thread, even while other threads use the pool. It may take a
 * second, because it looks up function names and line numbers in the debug information.
 *
 * Returns: (transfer full): a text of several lines
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

/* Called when dispose has been waiting for a long time. */
void
buf_pool_warn_of_drain (BufMemory *memory, guint64 milliseconds, const BufSemaphoreFigures *figures)
{
  g_autofree gchar *title = buf_request_get_title (&memory->semaphore, "the");
  g_autoptr (GString) description = g_string_new (NULL);

  buf_memory_append_outstanding (memory, description);
  g_warning ("The last reference to %s was dropped %" G_GUINT64_FORMAT
             " ms ago, but it is still waiting for %" G_GINT64_FORMAT " %s (%" G_GINT64_FORMAT
             " %s) to be freed. Does this thread hold one, or has one leaked?\n%s",
             title,
             milliseconds,
             figures->n_allocations,
             buf_words_choose (figures->n_allocations, "allocation", "allocations"),
             figures->allocated,
             buf_words_choose (figures->allocated, "byte", "bytes"),
             description->str);
}
