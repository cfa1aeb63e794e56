/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "debug/buf-debug-private.h"
#include "debug/buf-trace-private.h"
#include "semaphore/buf-wakeup-private.h"

G_BEGIN_DECLS

/* How many threads are told to try at the same time. The others follow one by one. */
#define BUF_WAITER_MAX_WOKEN 8

/* How often the waiter at the head may be overtaken before nobody overtakes it any more. To serve
 * it then costs a change of threads, which takes as long as some hundred short requests. */
#define BUF_WAITER_MAX_OVERTAKEN 512

typedef enum
{
  BUF_OUTCOME_PENDING,
  BUF_OUTCOME_GRANTED,
  BUF_OUTCOME_TIMED_OUT,
  BUF_OUTCOME_CANCELLED,
  BUF_OUTCOME_TOO_LARGE,
  BUF_OUTCOME_CLOSED,
} BufOutcome;

/* One who was served, for BUFPOOL_DEBUG=waits. */
typedef struct
{
  gint64 bytes;
  guint thread_id;
} BufServed;

/* How many of those who were served last are remembered. */
#define BUF_WAITER_N_SERVED 4

typedef struct _BufWaiter BufWaiter;
typedef struct _BufWaiterQueue BufWaiterQueue;

/* Called without the lock, once, by whoever decided the outcome. */
typedef void (*BufWaiterFunc) (BufWaiter *waiter);

/* What has to be done when the lock is dropped: for threads and for tasks. */
typedef struct
{
  BufWakeups wakeups;
  GQueue tasks; /* of BufWaiter, settled */
} BufReady;

/* Somebody who waits: a thread (complete is NULL; lives on the thread's stack) or a task (complete
 * is called after the lock was dropped). */
struct _BufWaiter
{
  GList link;             /* LOCK: mutex; in @queue, then in a list of those to complete */
  BufWaiterQueue *queue;  /* LOCK: mutex; NULL when in none */
  gint64 bytes;           /* const; what it waits for; none: until nothing is outstanding */
  BufWaiterFunc complete; /* const */
  BufOutcome outcome;     /* LOCK: mutex */
  gboolean pins;          /* const; what it takes is pinned from that moment on */
  gboolean spares_pinned; /* const; waits only until nothing is outstanding that is not pinned */
  gint64 maximum;         /* LOCK: mutex; for which it was TOO_LARGE */
  gint64 since;           /* LOCK: mutex; when it began to wait (monotonic microseconds) */
  gint64 waited;          /* LOCK: mutex; for how long, once it is settled; 0 if not at all */
  guint thread_id;        /* const; who asked */
  guint overtaken;        /* LOCK: mutex */
  gboolean woken;         /* LOCK: mutex; is told to try, and has not tried yet */
  BufWakeup *wakeup;      /* const; NULL for a task */

  /* If the queue is watched: which requests were served while this one waited. */
  guint64 first_served;                /* LOCK: mutex; the number of the first */
  guint64 end_served;                  /* LOCK: mutex; one more than that of the last */
  BufServed last[BUF_WAITER_N_SERVED]; /* LOCK: mutex; a ring, by their number */
};

/* What has happened so far. Nothing that the fast paths do is counted. */
typedef struct
{
  guint64 n_waits;         /* of requests, not of drainers */
  guint64 total_wait_time; /* microseconds, of waits that are over */
  guint64 longest_wait;    /* microseconds, of waits that are over */
  guint64 n_overtakings;
  guint64 most_overtaken; /* how often one waiter was */
  guint64 n_revocations;
  guint64 n_refills;
} BufHistory;

/* What lies in no stripe, and those who wait for it. */
struct _BufWaiterQueue
{
  GQueue waiters;       /* LOCK: mutex; for bytes */
  GQueue drainers;      /* LOCK: mutex; until nothing is outstanding */
  gint64 free;          /* LOCK: mutex; bytes, negative when the maximum was lowered */
  gint64 pinned;        /* LOCK: mutex; bytes in use that the end of the budget does not wait for */
  gint64 n_allocations; /* LOCK: mutex; less what the stripes count */
  gint64 smallest;      /* LOCK: mutex; no waiter asks for less */
  guint n_woken;        /* LOCK: mutex */
  BufHistory history;   /* LOCK: mutex */

  gboolean watched;                    /* const; BUFPOOL_DEBUG=waits */
  guint64 n_served;                    /* LOCK: mutex; if watched */
  BufServed last[BUF_WAITER_N_SERVED]; /* LOCK: mutex; likewise; a ring, by their number */
};

void buf_ready_init (BufReady *self);
void buf_ready_complete (BufReady *self);

void buf_waiter_init (BufWaiter *self, gint64 bytes, BufWaiterFunc complete);
void buf_waiter_clear (BufWaiter *self);
gboolean buf_waiter_was_woken_locked (BufWaiter *self);
void buf_waiter_finish_locked (BufWaiter *self, BufOutcome outcome, BufReady *ready);

void buf_waiter_queue_init (BufWaiterQueue *self, gint64 free);
void buf_waiter_queue_push_locked (BufWaiterQueue *self, BufWaiter *waiter);
gboolean buf_waiter_queue_take_locked (BufWaiterQueue *self, BufWaiter *waiter, gint64 bytes);
void buf_waiter_queue_free_drainers_locked (BufWaiterQueue *self, BufReady *ready);
void buf_waiter_queue_serve_locked (BufWaiterQueue *self, BufReady *ready);
void buf_waiter_queue_fail_locked (BufWaiterQueue *self,
                                   gint64 above,
                                   BufOutcome outcome,
                                   BufReady *ready);

G_END_DECLS
