/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-cancel-link-private.h"
#include "budget/buf-request-private.h"
#include "buf-pool-error.h"
#include "debug/buf-words-private.h"

/*
 * Requests for bytes of a pool or a budget: how a thread waits, and the error of a refused request.
 * The message names the level that refused the request.
 */

/* A longer timeout means no limit, because 32-bit systems cannot represent it. */
#define A_LIFETIME (G_GINT64_CONSTANT (30) * 365 * 24 * 3600 * G_USEC_PER_SEC)

/* Returns the deadline in monotonic time, or a negative value for no limit. */
static gint64
get_deadline (gint64 timeout_us)
{
  if (timeout_us < 0 || timeout_us >= A_LIFETIME)
    return -1;
  return g_get_monotonic_time () + timeout_us;
}

/* Blocks until @waiter is settled. The caller is inside. A negative timeout means no limit. */
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

/* Returns a title such as: The pool "frames". */
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
               "%s: %s never has more than %" G_GINT64_FORMAT " %s%s",
               asked,
               refuser,
               figures->maximum,
               buf_words_choose (figures->maximum, "byte", "bytes"),
               figures->keeps_reserve ? " outside its reserve" : "");
}

/* The part of the available bytes that this request cannot use. */
static gchar *
get_kept (const BufSemaphoreFigures *figures)
{
  gint64 owed = MIN (figures->owed, figures->available);
  gint64 reserved = MIN (figures->reserved, figures->available);

  if (owed > 0)
    return g_strdup_printf (" (%" G_GINT64_FORMAT " of them owed to an older request)", owed);
  if (figures->reserved > 0)
    return g_strdup_printf (" (%" G_GINT64_FORMAT " of them reserved)", reserved);
  return g_strdup ("");
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
  g_autofree gchar *kept = get_kept (figures);

  g_set_error (error,
               G_IO_ERROR,
               outcome == BUF_OUTCOME_PENDING ? G_IO_ERROR_WOULD_BLOCK : G_IO_ERROR_TIMED_OUT,
               "%s: only %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT
               " %s%s %s available%s, and %u %s",
               asked,
               figures->available,
               figures->maximum,
               buf_words_choose (figures->maximum, "byte", "bytes"),
               place,
               buf_words_choose (figures->available, "is", "are"),
               kept,
               figures->n_waiting,
               buf_words_choose (figures->n_waiting,
                                 "other request is waiting",
                                 "other requests are waiting"));
}

/* Sets the error of a request at @own that was not granted. PENDING means that it would have had to
 * wait. @asked is a phrase that describes the request. @figures need not be set if the request was
 * cancelled or @own is closed. */
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
                   "%s: the %s is closed",
                   asked,
                   own->kind);
      break;

    case BUF_OUTCOME_OVERLOADED:
      g_set_error (error,
                   BUF_POOL_ERROR,
                   BUF_POOL_ERROR_OVERLOADED,
                   "%s: %u %s for %s, and no more may wait",
                   asked,
                   figures->n_waiting,
                   buf_words_choose (figures->n_waiting,
                                     "request is already waiting",
                                     "requests are already waiting"),
                   refuser);
      break;

    case BUF_OUTCOME_CANCELLED:
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED, "%s: the request was cancelled", asked);
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
