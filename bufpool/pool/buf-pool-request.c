/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "buf-pool-error.h"
#include "budget/buf-request-private.h"
#include "debug/buf-words-private.h"
#include "pool/buf-pool-private.h"

/*
 * Requests and the errors of refused requests, for threads and tasks.
 *
 * If several errors apply, the first of these is reported: cancelled, configuration, count, too
 * large, closed.
 */

/* Returns whether the request may continue, as far as @cancellable is concerned. */
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
                 "Cannot allocate %" G_GSIZE_FORMAT
                 " buffers: an allocation has from 1 to %u buffers",
                 request->min_buffers,
                 BUF_POOL_MAX_BUFFERS);
  else
    g_set_error (error,
                 BUF_POOL_ERROR,
                 BUF_POOL_ERROR_INVALID_COUNT,
                 "Cannot allocate from %" G_GSIZE_FORMAT " to %" G_GSIZE_FORMAT
                 " buffers: the minimum is greater than the maximum",
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

/* Returns whether the constant properties of the pool allow the request, and sets @want. Every
 * request that is not granted immediately is checked here. */
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

/* Sets the error of a request for at least @n_buffers that was not granted. PENDING means that it
 * would have had to wait. This function uses only the memory, because the pool may be gone while
 * the caller is inside. */
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
  asked = g_strdup_printf ("Cannot allocate %s", buffers);
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
