/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "semaphore/buf-waiter-tree-private.h"

G_BEGIN_DECLS

/* How many threads are told to try at the same time, besides the oldest. */
#define BUF_WAIT_QUEUE_MAX_WOKEN 8

/* How often the oldest waiter may be overtaken. To serve it then costs a change of threads, which
 * takes as long as some hundred short requests. */
#define BUF_WAIT_QUEUE_MAX_OVERTAKEN 512

/* For how long it may be overtaken, in microseconds. */
#define BUF_WAIT_QUEUE_OVERTAKEN_TIME (10 * G_TIME_SPAN_MILLISECOND)

/* After so many times, the clock is read only once in as many times. */
#define BUF_WAIT_QUEUE_CLOCK 16

/* For how long bytes are promised to a thread that was woken, in microseconds. */
#define BUF_WAIT_QUEUE_PATIENCE (2 * G_TIME_SPAN_MILLISECOND)

/* The same, once the thread is owed its bytes: at first, and, as it doubles each time that it was
 * not enough, at most. */
#define BUF_WAIT_QUEUE_OWED_PATIENCE     (20 * G_TIME_SPAN_MILLISECOND)
#define BUF_WAIT_QUEUE_MAX_OWED_PATIENCE (160 * G_TIME_SPAN_MILLISECOND)

/* How many waiters one section serves at most. */
#define BUF_WAIT_QUEUE_BATCH 32

/* What has happened so far. Nothing that the fast paths do is counted. */
typedef struct
{
  guint64 n_waits;         /* of requests, not of drainers */
  guint64 total_wait_time; /* microseconds */
  guint64 longest_wait;    /* microseconds */
  guint64 n_overtakings;
  guint64 most_overtaken; /* how often one waiter was */
  guint64 n_revocations;
  guint64 n_refills;
} BufHistory;

/* The bytes that lie in no stripe, and the requests that wait for them. */
struct _BufWaitQueue
{
  gint64 free;          /* LOCK: mutex; bytes, negative when the maximum was lowered */
  gint64 maximum;       /* LOCK: mutex */
  gint64 pinned;        /* LOCK: mutex; bytes in use that the end of the budget does not wait for */
  gint64 n_allocations; /* LOCK: mutex; less what the stripes count */
  gboolean closed;      /* LOCK: mutex */
  gboolean has_impossible; /* LOCK: mutex; whether a waiter may want what it can never have */

  GQueue waiters;        /* LOCK: mutex; for bytes, by age */
  BufWaiterTree threads; /* LOCK: mutex; those of @waiters that are asleep */
  BufWaiterTree tasks;   /* LOCK: mutex; those of @waiters that are tasks */
  GQueue woken;          /* LOCK: mutex; those of @waiters that are woken, and not late */
  gint64 promised;       /* LOCK: mutex; bytes that @woken want together */
  GQueue drainers;       /* LOCK: mutex; until nothing is outstanding */
  GQueue drained;        /* LOCK: mutex; drainers that are to be told that this was so */
  guint64 n_pushed;      /* LOCK: mutex */
  guint64 n_taken;       /* LOCK: mutex; by whatever request */
  guint64 n_woken;       /* LOCK: mutex; how often a thread was woken */
  gint64 sum_since;      /* LOCK: mutex; of all that are in @waiters, modulo 2⁶⁴ */
  BufHistory history;    /* LOCK: mutex; of waits that are over */

  gboolean promises;     /* LOCK: mutex; whether somebody sees to it that promises end */
  gint64 overtaken_time; /* const; see BUF_WAIT_QUEUE_OVERTAKEN_TIME */
  gint64 patience;       /* const; see BUF_WAIT_QUEUE_PATIENCE */

  gboolean watched;                    /* const; BUFPOOL_DEBUG=waits */
  guint64 n_served;                    /* LOCK: mutex; if watched */
  BufServed last[BUF_WAITER_N_SERVED]; /* LOCK: mutex; likewise; a ring, by their number */
};

void buf_wait_queue_init (BufWaitQueue *self, gint64 maximum);

void buf_wait_queue_push_locked (BufWaitQueue *self, BufWaiter *waiter);
gboolean buf_wait_queue_take_locked (BufWaitQueue *self, BufWaiter *waiter, gint64 bytes);
void buf_wait_queue_finish_locked (BufWaiter *waiter, BufOutcome outcome, BufReady *ready);
void buf_wait_queue_rejoin_locked (BufWaitQueue *self, BufWaiter *waiter);

void buf_wait_queue_close_locked (BufWaitQueue *self);
void buf_wait_queue_set_maximum_locked (BufWaitQueue *self, gint64 maximum);
void buf_wait_queue_note_drained_locked (BufWaitQueue *self);
gboolean buf_wait_queue_serve_locked (BufWaitQueue *self, BufReady *ready);
gint64 buf_wait_queue_get_next_time_locked (BufWaitQueue *self);
void buf_wait_queue_expire_locked (BufWaitQueue *self, gint64 now, BufReady *ready);

gint64 buf_wait_queue_get_oldest_bytes_locked (BufWaitQueue *self);
gboolean buf_wait_queue_find_long_wait_locked (BufWaitQueue *self,
                                               gint64 threshold,
                                               gint64 now,
                                               BufWaiter *copy);
void buf_wait_queue_get_history_locked (BufWaitQueue *self, BufHistory *history);

G_END_DECLS
