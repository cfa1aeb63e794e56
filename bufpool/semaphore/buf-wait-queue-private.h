/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "semaphore/buf-level-private.h"

G_BEGIN_DECLS

/* How many threads may be woken at the same time, besides the oldest. */
#define BUF_WAIT_QUEUE_MAX_WOKEN 8

/* How many times the oldest waiter may be overtaken. Serving it then costs a context switch, which
 * takes as long as a few hundred short requests. */
#define BUF_WAIT_QUEUE_MAX_OVERTAKEN 512

/* How long it may be overtaken, in microseconds. */
#define BUF_WAIT_QUEUE_OVERTAKEN_TIME (10 * G_TIME_SPAN_MILLISECOND)

/* After this many overtakings, the clock is read only once in as many. */
#define BUF_WAIT_QUEUE_CLOCK 16

/* How long bytes are promised to a woken thread, in microseconds. */
#define BUF_WAIT_QUEUE_PATIENCE (2 * G_TIME_SPAN_MILLISECOND)

/* The same once the thread is owed its bytes: the initial value, and the maximum, because it
 * doubles each time it was not enough. */
#define BUF_WAIT_QUEUE_OWED_PATIENCE     (20 * G_TIME_SPAN_MILLISECOND)
#define BUF_WAIT_QUEUE_MAX_OWED_PATIENCE (160 * G_TIME_SPAN_MILLISECOND)

/* The maximum number of waiters that one section serves. */
#define BUF_WAIT_QUEUE_BATCH 32

/* The requests that wait at any level of one tree. */
struct _BufWaitQueue
{
  BufLevel *root; /* const */

  /* Moves the credit in the stripes of the level to its free bytes. */
  void (*revoke_locked) (BufLevel *level); /* const */

  /* Called if a level has idle bytes, after the bytes in @want were taken there; or NULL. */
  void (*claim_locked) (BufLevel *level, BufWant *want); /* const */

  /* A waiter at this level or below may have become impossible; or NULL. */
  BufLevel *suspect; /* LOCK: mutex */

  GQueue waiters;    /* LOCK: mutex; for bytes, by age */
  BufWaiter *oldest; /* LOCK: mutex; the one whose overtakings are bounded, or NULL */
  GQueue woken;      /* LOCK: mutex; those of @waiters that are woken, and not late */
  GQueue drained;    /* LOCK: mutex; drainers that have to be told they are done */
  guint64 n_pushed;  /* LOCK: mutex */
  guint64 n_woken;   /* LOCK: mutex; how many times a thread was woken */

  gboolean promises;     /* LOCK: mutex; whether the watcher ends promises */
  gboolean sooner;       /* LOCK: mutex; something may expire sooner than the watcher knows */
  gint64 overtaken_time; /* const; see BUF_WAIT_QUEUE_OVERTAKEN_TIME */
  gint64 patience;       /* const; see BUF_WAIT_QUEUE_PATIENCE */

  gboolean watched;                    /* LOCK: mutex; whether BUFPOOL_DEBUG=waits is set */
  guint64 n_served;                    /* LOCK: mutex; if watched */
  BufServed last[BUF_WAITER_N_SERVED]; /* LOCK: mutex; if watched; a ring, by their number */
};

void
buf_wait_queue_init (BufWaitQueue *self, BufLevel *root, void (*revoke_locked) (BufLevel *level));

void buf_wait_queue_set_promises_locked (BufWaitQueue *self, gboolean promises);
void buf_wait_queue_push_locked (BufLevel *level, BufWaiter *waiter);
void buf_wait_queue_finish_locked (BufWaiter *waiter, BufOutcome outcome, BufReady *ready);
void buf_wait_queue_rejoin_locked (BufWaiter *waiter);

/* Whether a request may take its bytes: buf-wait-queue-take.c. */
gboolean buf_wait_queue_take_locked (BufLevel *level, BufWaiter *waiter, BufWant *want);
void buf_wait_queue_note_overtaken_locked (BufWaiter *waiter);
BufLevel *buf_wait_queue_find_too_small_locked (BufLevel *level, const BufWant *want);
BufLevel *buf_wait_queue_find_full_locked (BufLevel *level);
BufLevel *buf_wait_queue_find_short_locked (BufLevel *level, const BufWant *want);
BufLevel *
buf_wait_queue_find_missing_locked (BufLevel *level, const BufWant *want, gint64 *missing);

void buf_wait_queue_close_locked (BufLevel *level);
void buf_wait_queue_forget_locked (BufLevel *level);
void buf_wait_queue_set_maximum_locked (BufLevel *level, gint64 maximum);
void buf_wait_queue_set_reserved_locked (BufLevel *level, gint64 reserved);
void buf_wait_queue_note_drained_locked (BufLevel *level);
gboolean buf_wait_queue_serve_locked (BufWaitQueue *self, BufReady *ready);

gint64 buf_wait_queue_get_next_time_locked (BufWaitQueue *self);
void buf_wait_queue_expire_locked (BufWaitQueue *self, gint64 now, BufReady *ready);
gboolean buf_wait_queue_find_long_wait_locked (BufWaitQueue *self,
                                               const BufLevel *level,
                                               gint64 threshold,
                                               gint64 now,
                                               BufWaiter *copy);

/* Like g_queue_peek_head(), but inline, because each section calls it several times. */
static inline BufWaiter *
buf_wait_queue_peek_head (const GQueue *waiters)
{
  return waiters->head != NULL ? waiters->head->data : NULL;
}

/* Returns the waiter whose bytes other requests have to leave, at each of its levels, or NULL. */
static inline BufWaiter *
buf_wait_queue_get_owed_locked (BufWaitQueue *self)
{
  return self->oldest != NULL && self->oldest->owed ? self->oldest : NULL;
}

/* Returns whether @oldest, which may be NULL, becomes owed as time passes. */
static inline gboolean
buf_wait_queue_is_being_overtaken (const BufWaiter *oldest)
{
  return oldest != NULL && oldest->overtaken > 0 && !oldest->owed;
}

static inline void
buf_wait_queue_make_owed (BufWaiter *waiter)
{
  waiter->owed = TRUE;
  waiter->patience = MAX (waiter->patience, BUF_WAIT_QUEUE_OWED_PATIENCE);
}

/* Called when the thread runs, or is late. */
void
buf_wait_queue_end_promise_locked (BufWaitQueue *self, BufWaiter *waiter, BufWaiterState state);

G_END_DECLS
