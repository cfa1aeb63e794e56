/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "debug/buf-words-private.h"
#include "buf-pool-error.h"
#include "pool/buf-pool-private.h"

/*
 * What a request is, and what is said when it is refused: the same for threads and tasks.
 *
 * When several errors apply, the first of these is reported: cancelled, config, count, too large,
 * closed.
 */

/* Whether the request may go on, as far as its cancellable tells. */
gboolean
buf_pool_check_cancelled (BufMemory *memory, GCancellable *cancellable, GError **error)
{
  if (!g_cancellable_set_error_if_cancelled (cancellable, error))
    return TRUE;

  buf_memory_count_refusal (memory, BUF_REFUSAL_CANCELLED);
  return FALSE;
}

/* Whether the request is one that the pool could ever grant, as far as its constant properties
 * tell. Each request that was not granted at once comes here. */
gboolean
buf_pool_check_request (BufPool *self, gsize n_buffers, BufPoolRequest *request, GError **error)
{
  gint64 bytes;

  if (self->config_error != NULL)
    {
      buf_memory_count_refusal (self->memory, BUF_REFUSAL_INVALID);
      g_propagate_error (error, g_error_copy (self->config_error));
      return FALSE;
    }
  if (n_buffers < 1 || n_buffers > BUF_POOL_MAX_BUFFERS)
    {
      buf_memory_count_refusal (self->memory, BUF_REFUSAL_INVALID);
      g_set_error (error,
                   BUF_POOL_ERROR,
                   BUF_POOL_ERROR_INVALID_COUNT,
                   "%" G_GSIZE_FORMAT " buffers were asked for, but an allocation has from 1 to %u",
                   n_buffers,
                   BUF_POOL_MAX_BUFFERS);
      return FALSE;
    }

  request->n_buffers = n_buffers;
  request->pinned = FALSE;
  if (__builtin_mul_overflow (n_buffers, self->memory->buffer_size, &bytes))
    bytes = G_MAXINT64;
  request->want = BUF_WANT (bytes);
  return TRUE;
}

static BufRefusal
get_refusal (BufOutcome outcome)
{
  switch (outcome)
    {
    case BUF_OUTCOME_PENDING:
      return BUF_REFUSAL_WOULD_BLOCK;
    case BUF_OUTCOME_TIMED_OUT:
      return BUF_REFUSAL_TIMED_OUT;
    case BUF_OUTCOME_CANCELLED:
      return BUF_REFUSAL_CANCELLED;
    case BUF_OUTCOME_TOO_LARGE:
      return BUF_REFUSAL_TOO_LARGE;
    case BUF_OUTCOME_CLOSED:
      return BUF_REFUSAL_CLOSED;
    case BUF_OUTCOME_GRANTED:
    default:
      g_assert_not_reached ();
    }
}

/* Says why a request was not granted. Needs the memory only: the pool may be gone, when the caller
 * is inside. PENDING: because it would have had to wait. */
void
buf_pool_set_request_error (BufMemory *memory,
                            const BufPoolRequest *request,
                            BufOutcome outcome,
                            const BufSemaphoreFigures *figures,
                            GError **error)
{
  g_autofree gchar *buffers = NULL;
  g_autofree gchar *asked = NULL;

  buf_memory_count_refusal (memory, get_refusal (outcome));
  if (error == NULL)
    return;

  buffers = buf_words_buffers (request->n_buffers, memory->buffer_size, request->want.bytes);
  asked = g_strdup_printf ("%s %s asked for",
                           buffers,
                           buf_words_choose (request->n_buffers, "was", "were"));

  switch (outcome)
    {
    case BUF_OUTCOME_TOO_LARGE:
      g_set_error (error,
                   BUF_POOL_ERROR,
                   BUF_POOL_ERROR_TOO_LARGE,
                   "%s, but the pool never has more than %" G_GINT64_FORMAT " %s",
                   asked,
                   figures->maximum,
                   buf_words_choose (figures->maximum, "byte", "bytes"));
      break;

    case BUF_OUTCOME_CLOSED:
      g_set_error (error,
                   BUF_POOL_ERROR,
                   BUF_POOL_ERROR_CLOSED,
                   "%s, but the pool is closed",
                   asked);
      break;

    case BUF_OUTCOME_CANCELLED:
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED, "%s; the request was cancelled", asked);
      break;

    case BUF_OUTCOME_PENDING:
    case BUF_OUTCOME_TIMED_OUT:
      g_set_error (error,
                   G_IO_ERROR,
                   outcome == BUF_OUTCOME_PENDING ? G_IO_ERROR_WOULD_BLOCK : G_IO_ERROR_TIMED_OUT,
                   "%s, but only %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT
                   " %s %s available, and %u %s",
                   asked,
                   figures->available,
                   figures->maximum,
                   buf_words_choose (figures->maximum, "byte", "bytes"),
                   buf_words_choose (figures->available, "is", "are"),
                   figures->n_waiting,
                   buf_words_choose (figures->n_waiting, "other waits", "others wait"));
      break;

    case BUF_OUTCOME_GRANTED:
    default:
      g_assert_not_reached ();
    }
}

void
buf_pool_set_drain_error (BufOutcome outcome, const BufSemaphoreFigures *figures, GError **error)
{
  g_set_error (error,
               G_IO_ERROR,
               outcome == BUF_OUTCOME_CANCELLED ? G_IO_ERROR_CANCELLED : G_IO_ERROR_TIMED_OUT,
               "%s while %" G_GINT64_FORMAT " %s (%" G_GINT64_FORMAT " %s) %s still outstanding",
               outcome == BUF_OUTCOME_CANCELLED ? "Draining was cancelled" : "Draining timed out",
               figures->n_allocations,
               buf_words_choose (figures->n_allocations, "allocation", "allocations"),
               figures->allocated,
               buf_words_choose (figures->allocated, "byte", "bytes"),
               buf_words_choose (figures->n_allocations, "is", "are"));
}
