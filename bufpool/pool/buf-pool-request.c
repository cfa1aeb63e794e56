/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "buf-pool-error.h"
#include "budget/buf-request-private.h"
#include "debug/buf-words-private.h"
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

static void
set_count_error (const BufPoolRequest *request, GError **error)
{
  if (request->min_buffers < 1 || request->min_buffers > BUF_POOL_MAX_BUFFERS)
    g_set_error (error,
                 BUF_POOL_ERROR,
                 BUF_POOL_ERROR_INVALID_COUNT,
                 "%" G_GSIZE_FORMAT " buffers were asked for, but an allocation has from 1 to %u",
                 request->min_buffers,
                 BUF_POOL_MAX_BUFFERS);
  else
    g_set_error (error,
                 BUF_POOL_ERROR,
                 BUF_POOL_ERROR_INVALID_COUNT,
                 "At least %" G_GSIZE_FORMAT " and at most %" G_GSIZE_FORMAT
                 " buffers were asked for",
                 request->min_buffers,
                 request->max_buffers);
}

static gint64
get_bytes (BufMemory *memory, gsize n_buffers)
{
  gint64 bytes;

  if (__builtin_mul_overflow (n_buffers, memory->buffer_size, &bytes))
    bytes = G_MAXINT64;
  return bytes;
}

/* Whether the request is one that the pool could ever grant, as far as its constant properties
 * tell, and what it wants then. Each request that was not granted at once comes here. */
gboolean
buf_pool_check_request (BufPool *self, const BufPoolRequest *request, BufWant *want, GError **error)
{
  if (self->config_error != NULL)
    {
      buf_memory_count_refusal (self->memory, BUF_REFUSAL_INVALID);
      g_propagate_error (error, g_error_copy (self->config_error));
      return FALSE;
    }
  if (request->min_buffers < 1 || request->min_buffers > BUF_POOL_MAX_BUFFERS ||
      request->max_buffers < request->min_buffers)
    {
      buf_memory_count_refusal (self->memory, BUF_REFUSAL_INVALID);
      set_count_error (request, error);
      return FALSE;
    }

  *want = (BufWant){
    .bytes = get_bytes (self->memory, request->min_buffers),
    .most = get_bytes (self->memory, MIN (request->max_buffers, BUF_POOL_MAX_BUFFERS)),
    .step = (gint64) self->memory->buffer_size,
    .priority = request->priority,
  };
  return TRUE;
}

gsize
buf_pool_get_n_granted (BufMemory *memory, const BufWant *want)
{
  return (gsize) ((guint64) want->taken / memory->buffer_size);
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
    case BUF_OUTCOME_OVERLOADED:
      return BUF_REFUSAL_OVERLOADED;
    case BUF_OUTCOME_GRANTED:
    default:
      g_assert_not_reached ();
    }
}

/* Says why a request for at least @n_buffers was not granted. Needs the memory only: the pool may
 * be gone, when the caller is inside. PENDING: because it would have had to wait. */
void
buf_pool_set_request_error (BufMemory *memory,
                            gsize n_buffers,
                            BufOutcome outcome,
                            const BufSemaphoreFigures *figures,
                            GError **error)
{
  g_autofree gchar *buffers = NULL;
  g_autofree gchar *asked = NULL;

  buf_memory_count_refusal (memory, get_refusal (outcome));
  if (error == NULL)
    return;

  buffers = buf_words_buffers (n_buffers, memory->buffer_size, get_bytes (memory, n_buffers));
  asked = g_strdup_printf ("%s %s asked for", buffers, buf_words_choose (n_buffers, "was", "were"));
  buf_request_set_error (&memory->semaphore, asked, outcome, figures, error);
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
