/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The budget and its queue, as they are implemented, for Spin. See "The model" in
 * docs/architecture.md for what stands for what; tests/model/run for how it is run.
 *
 * A stripe's word is loaded and exchanged in separate steps, so that whatever was loaded may be
 * stale. Everything else that is shared is under the mutex, so a locked section is cut only where
 * it touches a stripe: each atomic block has one such access at the most. Where the C code tries
 * its fast path twice, the model tries once: a try that fails leaves nothing behind.
 *
 * A thread may use either stripe each time: that covers every numbering of the threads, every move
 * to another stripe, and a mask that is stale. The count in the word is left out: whether nothing
 * is outstanding is decided by the bytes alone.
 *
 * What only the model has, to check the code against: n_spurious, in_use, passed, freed, unprotected.
 */

#ifndef MAXIMUM
#define MAXIMUM 8
#endif
#ifndef SIZE0
#define SIZE0 1 /* small */
#endif
#ifndef SIZE1
#define SIZE1 3 /* medium */
#endif
#ifndef SIZE2
#define SIZE2 8 /* the whole budget */
#endif
#ifndef HELD
#define HELD 0 /* out from the start, until it is released */
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef CALM
#define CALM 2
#endif
#ifndef MAX_WOKEN
#define MAX_WOKEN 1
#endif
#ifndef MAX_SIGNALS
#define MAX_SIGNALS 8 /* or 1: the others are signalled under the mutex */
#endif
#ifndef MAX_SPURIOUS
#define MAX_SPURIOUS 0 /* how often a thread wakes up for no reason */
#endif
#ifndef MAX_OVERTAKEN
#define MAX_OVERTAKEN 2
#endif
#define MIN_UNITS 2

/* Who else there is. */
#ifndef N_CLOSERS
#define N_CLOSERS 0
#endif
#ifndef N_DRAINERS
#define N_DRAINERS 0
#endif
#ifdef LOWERED /* what the maximum is for a while */
#define N_CHANGERS 1
#else
#define N_CHANGERS 0
#endif
#ifndef DISPOSED
#define DISPOSED 0
#endif

/* Sets, in which bit w is waiter w: who requests, which of them are tasks, who may time out, and who
 * has a cancellable. */
#ifndef REQUESTERS
#define REQUESTERS 7
#endif
#ifndef TASKS
#define TASKS 0
#endif
#ifndef TIMED
#define TIMED 0
#endif
#ifndef CANCELLABLE
#define CANCELLABLE 0
#endif

#define HAS(set, w)   ((set >> w) & 1)
#define SET(set, w)   set = set | (1 << (w))
#define CLEAR(set, w) set = set & ~(1 << (w))
#define IS_TASK(w)    HAS (TASKS, w)
#define SIZE(w)       (w == 0 -> SIZE0 : (w == 1 -> SIZE1 : SIZE2))
#define REVOKED       -1
#define CREDIT(i)     (stripe[i] < 0 -> 0 : stripe[i])
#define INFINITE      255
#define NOBODY        255
#define WAKEUP(w)     (w + N_WAITERS * latest[w])

/* Waiters: three who request, one who drains, and dispose. */
#define N_REQUESTERS 3
#define DRAIN        3
#define DISPOSE      4
#define N_WAITERS    5

#define PENDING   0
#define GRANTED   1
#define TIMED_OUT 2
#define CANCELLED 3
#define TOO_LARGE 4
#define CLOSED    5

/* BufSemaphore */
short stripe[2];             /* stripes[i].word: credit, or REVOKED */
byte mask = 1;               /* mask */
byte mark = MAXIMUM / 4;     /* mark */
bit mutex;                   /* mutex: whether it is locked */
short free = MAXIMUM - HELD; /* queue.free */
byte maximum = MAXIMUM;      /* maximum */
byte calm;                   /* calm */
bit revoked;                 /* revoked */
bit closed;                  /* closed */
byte n_inside;               /* n_inside */
bit awaits_leavers;          /* awaits_leavers */
bit leavers_awaited;         /* nobody_inside: whether dispose sleeps there */
byte ready;                  /* ready.tasks: a set of tasks */
short signals;               /* ready.wakeups: a set of wake-ups */

/* BufWaiterQueue */
byte line[N_REQUESTERS + 1]; /* queue.waiters; one more for the shift in remove() */
byte n_line;                 /* queue.waiters.length */
bit drains[N_WAITERS];       /* queue.drainers */
byte smallest = INFINITE;    /* queue.smallest */
byte n_woken;                /* queue.n_woken */

/* BufWaiter */
byte outcome[N_WAITERS];     /* outcome */
byte overtaken[N_REQUESTERS];/* overtaken */
bit woken[N_REQUESTERS];     /* woken */

/* BufWakeup */
bit asleep[N_WAITERS];       /* cond: whether its thread sleeps there */
#ifdef FAULT_SIGNAL_ONCE_PER_WAIT
bit expects[N_WAITERS] = 1;
#else
bit expects[N_WAITERS];      /* asleep: and nobody is about to signal it */
#endif
bit latest[N_WAITERS];       /* each wait has a wake-up of its own: a signal may come after it */

/* Around it */
byte references;             /* of the GObject */
byte settled;                /* tasks whose deliver_source was attached */
byte cancelled;              /* cancellables that were cancelled */
byte connected;              /* whose handler is connected */
byte link_budget;            /* CancelLink: whose budget is not NULL */
byte link_mutex;             /* CancelLink: whose mutex is locked */
byte alive;                  /* waiters that are initialised, and not cleared yet */

/* Only in the model */
byte n_spurious;             /* wake-ups for no reason */
byte in_use = HELD;          /* bytes that are out */
byte passed[N_REQUESTERS];   /* how often each was overtaken at the head, counted apart */
bit freed;                   /* the pool is gone */
byte unprotected;            /* those who still rely on somebody else's reference */

hidden byte i, j, k, least, other;
hidden short unpromised;
hidden byte taken, zero;

#define TOUCH   assert (!freed)
#define BALANCE assert (free + CREDIT (0) + CREDIT (1) + in_use == maximum)

#ifdef FAIR_MUTEX
/* Whoever asks for the mutex gets it in its turn: that a lock starves nobody is not our property. */
chan turns = [N_WAITERS + 3] of { byte };
#define QUEUE_UP turns ! _pid;
#define LOCK     (!mutex && turns ? [eval (_pid)]); turns ? eval (_pid); TOUCH; mutex = 1
#else
#define QUEUE_UP
#define LOCK     !mutex; TOUCH; mutex = 1
#endif
#define UNLOCK   check_queue (); TOUCH; mutex = 0

/* Bytes become somebody's. It is here that the limit counts. */
#define TAKE(n) \
  in_use = in_use + n; \
  assert (in_use <= maximum)

/* Somebody has taken while others wait. Liveness has to do without the count. */
#ifdef LIVENESS
#define PASS skip
#else
#define PASS \
  passed[line[0]]++; \
  assert (passed[line[0]] <= MAX_OVERTAKEN)
#endif

#include "waiter.pml"
#include "stripe.pml"
#include "semaphore.pml"
#include "pool.pml"
