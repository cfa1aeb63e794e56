/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-cancel-link-private.h"
#include "budget/buf-request-private.h"
#include "buf-pool-error.h"
#include "debug/buf-words-private.h"

/*
 * Requests for bytes, of a pool or of a budget: how a thread waits, and what the caller is told
 * when a request is refused. The message names the level that refused.
 */

/* A longer timeout than this is no limit: 32-bit systems cannot count that far. */
#define A_LIFETIME (G_GINT64_CONSTANT (30) * 365 * 24 * 3600 * G_USEC_PER_SEC)

/* As monotonic time; negative for no limit. */
static gint64
get_deadline (gint64 timeout_us)
{
  if (timeout_us < 0 || timeout_us >= A_LIFETIME)
    return -1;
  return g_get_monotonic_time () + timeout_us;
}

/* Blocks until @waiter is settled. The caller is inside. A negative timeout is no limit. */
BufOutcome
buf_request_wait (BufSemaphore *semaphore,
                  BufWaiter *waiter,
                  gint64 timeout_us,
                  GCancellable *cancellable,
                  BufSemaphoreFigures *figures)
{
  gint64 deadline = get_deadline (timeout_us);
  BufCancelLink *link;
  BufOutcome outcome;

  if (cancellable == NULL)
    return buf_semaphore_wait (semaphore, waiter, deadline, figures);

  link = buf_cancel_link_new (cancellable);
  buf_cancel_link_begin (link, semaphore, waiter);
  outcome = buf_semaphore_wait (semaphore, waiter, deadline, figures);
  buf_cancel_link_end (link);
  buf_cancel_link_unref (link);
  return outcome;
}

/* Such as: The pool "frames". */
gchar *
buf_request_get_title (const BufSemaphore *semaphore, const gchar *article)
{
  if (semaphore->name == NULL)
    return g_strdup_printf ("%s %s", article, semaphore->kind);
  return g_strdup_printf ("%s %s \"%s\"", article, semaphore->kind, semaphore->name);
}

static gchar *
get_refuser (const BufSemaphore *own, const BufSemaphore *refuser)
{
  if (refuser == own)
    return g_strdup_printf ("the %s", own->kind);
  return buf_request_get_title (refuser, "the");
}

static void
set_too_large (const gchar *asked,
               const gchar *refuser,
               const BufSemaphoreFigures *figures,
               GError **error)
{
  g_set_error (error,
               BUF_POOL_ERROR,
               BUF_POOL_ERROR_TOO_LARGE,
               "%s, but %s never has more than %" G_GINT64_FORMAT " %s%s",
               asked,
               refuser,
               figures->maximum,
               buf_words_choose (figures->maximum, "byte", "bytes"),
               figures->keeps_reserve ? " beyond its reserve" : "");
}

static void
set_unavailable (const gchar *asked,
                 const gchar *refuser,
                 gboolean own,
                 BufOutcome outcome,
                 const BufSemaphoreFigures *figures,
                 GError **error)
{
  g_autofree gchar *place = own ? g_strdup ("") : g_strdup_printf (" of %s", refuser);
  g_autofree gchar *reserve = figures->reserved == 0
                                  ? g_strdup ("")
                                  : g_strdup_printf (" (%" G_GINT64_FORMAT " of them reserved)",
                                                     MIN (figures->reserved, figures->available));

  g_set_error (error,
               G_IO_ERROR,
               outcome == BUF_OUTCOME_PENDING ? G_IO_ERROR_WOULD_BLOCK : G_IO_ERROR_TIMED_OUT,
               "%s, but only %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT
               " %s%s %s available%s, and %u %s",
               asked,
               figures->available,
               figures->maximum,
               buf_words_choose (figures->maximum, "byte", "bytes"),
               place,
               buf_words_choose (figures->available, "is", "are"),
               reserve,
               figures->n_waiting,
               buf_words_choose (figures->n_waiting, "other waits", "others wait"));
}

/* Says why a request at @own was not granted. PENDING: because it would have had to wait. @asked is
 * a clause that says for what. The @figures of a request that was cancelled, or is closed, need not
 * be set. */
void
buf_request_set_error (const BufSemaphore *own,
                       const gchar *asked,
                       BufOutcome outcome,
                       const BufSemaphoreFigures *figures,
                       GError **error)
{
  g_autofree gchar *refuser = NULL;

  if (outcome != BUF_OUTCOME_CANCELLED && outcome != BUF_OUTCOME_CLOSED)
    refuser = get_refuser (own, figures->semaphore);

  switch (outcome)
    {
    case BUF_OUTCOME_TOO_LARGE:
      set_too_large (asked, refuser, figures, error);
      break;

    case BUF_OUTCOME_CLOSED:
      g_set_error (error,
                   BUF_POOL_ERROR,
                   BUF_POOL_ERROR_CLOSED,
                   "%s, but the %s is closed",
                   asked,
                   own->kind);
      break;

    case BUF_OUTCOME_OVERLOADED:
      g_set_error (error,
                   BUF_POOL_ERROR,
                   BUF_POOL_ERROR_OVERLOADED,
                   "%s, but %u %s at %s already, and no more may wait",
                   asked,
                   figures->n_waiting,
                   buf_words_choose (figures->n_waiting, "request waits", "requests wait"),
                   refuser);
      break;

    case BUF_OUTCOME_CANCELLED:
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED, "%s; the request was cancelled", asked);
      break;

    case BUF_OUTCOME_PENDING:
    case BUF_OUTCOME_TIMED_OUT:
      set_unavailable (asked, refuser, figures->semaphore == own, outcome, figures, error);
      break;

    case BUF_OUTCOME_GRANTED:
    default:
      g_assert_not_reached ();
    }
}
