/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "debug/buf-debug-private.h"
#include "debug/buf-trace-private.h"
#include "semaphore/buf-wakeup-private.h"

G_BEGIN_DECLS

typedef enum
{
  BUF_OUTCOME_PENDING,
  BUF_OUTCOME_GRANTED,
  BUF_OUTCOME_TIMED_OUT,
  BUF_OUTCOME_CANCELLED,
  BUF_OUTCOME_TOO_LARGE,
  BUF_OUTCOME_CLOSED,
  BUF_OUTCOME_OVERLOADED,
} BufOutcome;

/* What a request wants, and what it got. */
typedef struct
{
  gint64 bytes;  /* the minimum; 0 waits until nothing is outstanding */
  gint64 most;   /* the maximum, in steps of @step beyond @bytes */
  gint64 step;   /* used only if @most is more than @bytes */
  gint priority; /* as in GLib: a lower number is more urgent */
  gboolean pins; /* its bytes are pinned once they are granted */
  gint64 taken;  /* LOCK: mutex; its bytes, once they are granted */
  gpointer idle; /* LOCK: mutex; memory of exactly these bytes that the keeper still had, or NULL */
} BufWant;

/* A request of default priority for exactly @n_bytes. */
#define BUF_WANT(n_bytes) ((BufWant){ .bytes = (n_bytes), .most = (n_bytes) })

/* Only requests that are more urgent than the default may use the reserve. */
static inline gboolean
buf_want_is_urgent (const BufWant *self)
{
  return self->priority < 0;
}

/* What a waiting thread has been told. A task is always asleep: it is granted, never woken. */
typedef enum
{
  BUF_WAITER_ASLEEP,
  BUF_WAITER_WOKEN, /* told to try; its bytes are promised to it */
  BUF_WAITER_LATE,  /* told to try, but did not run while its bytes were promised */
} BufWaiterState;

/* A request that was served, for BUFPOOL_DEBUG=waits. */
typedef struct
{
  gint64 bytes;
  guint thread_id;
} BufServed;

/* How many of the requests that were served last are recorded. */
#define BUF_WAITER_N_SERVED 4

typedef struct _BufWaiter BufWaiter;
typedef struct _BufLevel BufLevel;

/* Called once, without the lock, by the thread that decided the outcome. */
typedef void (*BufWaiterFunc) (BufWaiter *waiter);

/* What has to be done for threads and tasks after the lock is unlocked. */
typedef struct
{
  BufWakeups wakeups;
  GQueue tasks; /* of BufWaiter, settled */
} BufReady;

typedef struct _BufWaiterNode BufWaiterNode;

/* A place in a BufWaiterTree, of one waiter or of all waiters below a level. */
struct _BufWaiterNode
{
  gint priority;  /* of the waiter, or of the first of them */
  guint64 number; /* likewise */
  gint64 least;   /* the number of bytes that it wants, or that any of them wants */
  gint64 most;    /* likewise */
  BufWaiterNode *parent;
  BufWaiterNode *children[2]; /* the subtrees before and after it in the order of service */
  guint32 weight;             /* random; no child has a larger one than its parent; 0: in no tree */
  gint64 smallest;            /* the least and the most of it and its descendants */
  gint64 largest;
};

/* A waiting request of a thread (@complete is NULL; on the stack of the thread) or of a task
 * (@complete is called after the lock is unlocked). */
struct _BufWaiter
{
  GList link;             /* LOCK: mutex; in @list, then in a list of those to complete */
  GQueue *list;           /* LOCK: mutex; NULL if in no list */
  BufLevel *level;        /* LOCK: mutex; where it waits; NULL if it does not */
  GList level_link;       /* LOCK: mutex; among the waiters of @level */
  BufWaiterNode node;     /* LOCK: mutex; in a tree of @level, while it is asleep there */
  GList woken_link;       /* LOCK: mutex; among those woken, while it is woken and not late */
  guint64 number;         /* LOCK: mutex; a serial number, which tells its age */
  BufWant want;           /* const, except for what it got */
  BufWaiterFunc complete; /* const */
  BufOutcome outcome;     /* LOCK: mutex */
  BufWaiterState state;   /* LOCK: mutex */
  gboolean spares_pinned; /* const; whether a drainer ignores pinned bytes */
  BufLevel *refuser;      /* LOCK: mutex; that found it TOO_LARGE or OVERLOADED; or NULL */
  gint64 maximum;         /* LOCK: mutex; the most that could be granted there */
  guint n_waiting;        /* LOCK: mutex; how many waited there when it was OVERLOADED */
  gint64 since;           /* LOCK: mutex; when it began to wait (monotonic microseconds) */
  gint64 waited;          /* LOCK: mutex; how long it waited, once settled; 0 if it did not */
  guint thread_id;        /* const; of the thread that made the request */
  BufWakeup *wakeup;      /* const; NULL for a task */

  guint overtaken;        /* LOCK: mutex; how many times, as the oldest */
  gint64 overtaken_since; /* LOCK: mutex; when that first happened */
  gboolean owed;          /* LOCK: mutex; must not be overtaken anymore */
  gint64 woken_since;     /* LOCK: mutex; when it was last woken */
  gint64 patience;        /* LOCK: mutex; how long its bytes are then promised */

  /* If the queue is watched: which requests were served while this one waited. */
  gint64 noticed;                      /* LOCK: mutex; how long it had waited at the last report */
  guint64 first_served;                /* LOCK: mutex; the number of the first one */
  guint64 end_served;                  /* LOCK: mutex; one more than the number of the last one */
  BufServed last[BUF_WAITER_N_SERVED]; /* LOCK: mutex; a ring, indexed by their number */
};

static inline gboolean
buf_ready_is_empty (const BufReady *self)
{
  return self->wakeups.n == 0 && self->tasks.head == NULL;
}

void buf_ready_init (BufReady *self);
void buf_ready_complete (BufReady *self);

void buf_waiter_init (BufWaiter *self, gint64 bytes, BufWaiterFunc complete);
void buf_waiter_clear (BufWaiter *self);

G_END_DECLS
