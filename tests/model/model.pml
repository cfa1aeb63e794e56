/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A model of the semaphore and its queue for Spin, as they are implemented. See "The model" in
 * docs/architecture.md for the correspondence with the C code, and tests/model/run for how to run
 * it.
 *
 * A stripe's word is loaded and exchanged in separate steps, so a loaded value may be stale. All
 * other shared state is guarded by the mutex, so a locked section is split only where it accesses a
 * stripe: each atomic block has at most one such access. Where the C code tries its fast path
 * twice, the model tries once, because a try that fails has no effect.
 *
 * A thread may use either stripe each time. This covers every numbering of the threads, every move
 * to another stripe, and a stale mask. The count in the word is left out: only the bytes decide
 * whether nothing is outstanding.
 *
 * Time is not a number here. Timed events may happen at any moment: a promise ends, the oldest
 * waiter is owed because it was overtaken for too long, a caller that serves others leaves the rest
 * to the watcher. For liveness, a thread that is owed is late at most LATES times in one wait,
 * because its patience grows.
 *
 * These exist only in the model, to check the code: n_spurious, n_lost, n_going_on, in_use, passed,
 * lates, starving, gone, freed, owner_is_through, unprotected. */

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
#define HELD 0 /* outstanding from the start, until it is released */
#endif
#ifndef PINNED
#define PINNED 0 /* the same, and pinned */
#endif
#ifndef SHARED
#define SHARED 0 /* the same, but plain, and a transfer holds them in addition to the user */
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
#define MAX_SIGNALS 8 /* or 1: the others are signaled under the mutex */
#endif
#ifndef MAX_SPURIOUS
#define MAX_SPURIOUS 0 /* how many times a thread may wake up spuriously */
#endif
#ifndef MAX_OVERTAKEN
#define MAX_OVERTAKEN 2
#endif
#ifndef BATCH
#define BATCH 0 /* how many waiters one section serves at most; 0: any number */
#endif
#ifndef PROMISES
#define PROMISES 1 /* or 0: there is no watcher */
#endif
#ifndef PATIENCE_ENDS
#define PATIENCE_ENDS 0 /* whether threads that were woken may become late */
#endif
#ifndef TIME_ENDS
#define TIME_ENDS 0 /* whether the oldest may be owed because of the time */
#endif
#ifndef LATES
#define LATES 1
#endif
#ifndef MAX_LOST
#define MAX_LOST 0 /* how many signals never come, because the signaling thread is preempted */
#endif
#ifndef STARVED
#define STARVED 0 /* a set: threads that may never run again after they were woken */
#endif
#define WATCHED (PROMISES && (PATIENCE_ENDS || TIME_ENDS || BATCH)) /* whether there is a watcher */
#define MIN_UNITS 2
#define OUT (HELD + PINNED + SHARED)

/* The other processes. */
#ifndef N_CLOSERS
#define N_CLOSERS 0
#endif
#ifndef N_DRAINERS
#define N_DRAINERS 0
#endif
#ifdef LOWERED /* the value of the maximum for a while */
#define N_CHANGERS 1
#else
#define N_CHANGERS 0
#endif
#ifndef DISPOSED
#define DISPOSED 0
#endif
#ifndef CONSUMER
#define CONSUMER 0 /* 1: the holder of HELD has a task, and drops it first; 2: it makes one, and
                    * drops it last */
#endif
#ifndef NEEDS_OWNER
#define NEEDS_OWNER 0 /* whether the transfer needs the main loop of the owner's thread */
#endif
#ifndef LOGS
#define LOGS 0 /* whether threads log a finished wait */
#endif

/* Sets, in which bit w is waiter w: which request, which of them are tasks, which may time out,
 * which have a cancellable, and which never end. */
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
#ifndef FOREVER
#define FOREVER 0 /* which request repeatedly, instead of ROUNDS times */
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

/* Waiters: three requesters, one drainer, and dispose. */
#define N_REQUESTERS 3
#define DRAIN        3
#define DISPOSE      4
#define N_WAITERS    5

#define ASLEEP 0 /* a waiter's state */
#define WOKEN  1
#define LATE   2

#define NEVER 0 /* when the watcher has to look */
#define LATER 1
#define NOW   2

#define PENDING   0
#define GRANTED   1
#define TIMED_OUT 2
#define CANCELLED 3
#define TOO_LARGE 4
#define CLOSED    5

/* BufSemaphore */
#ifdef NO_STRIPES            /* they stay revoked, as in a semaphore that is always short of
                              * bytes */
short stripe[2] = REVOKED;
#else
short stripe[2];             /* stripes[i].word: credit, or REVOKED */
#endif
byte mask = 1;               /* mask */
byte mark = MAXIMUM / 4;     /* mark */
bit mutex;                   /* mutex: whether it is locked */
short free = MAXIMUM - OUT;  /* queue.free */
short pinned = PINNED;       /* queue.pinned */
byte maximum = MAXIMUM;      /* maximum */
byte calm;                   /* calm */
#ifdef NO_STRIPES
bit revoked = 1;
#else
bit revoked;                 /* revoked */
#endif
bit closed;                  /* closed */
byte n_inside;               /* n_inside */
bit abandoned;               /* abandoned */
byte ready;                  /* ready.tasks: a set of tasks */
short signals;               /* ready.wakeups: a set of wake-ups */

/* BufWaitQueue */
byte line[N_REQUESTERS + 1]; /* queue.waiters; one more for the shift in remove() */
byte n_line;                 /* queue.waiters.length */
byte n_woken;                /* queue.woken.length */
short promised;              /* queue.promised */
bit has_impossible;          /* queue.suspect */
bit drains[N_WAITERS];       /* queue.drainers */
bit drained[N_WAITERS];      /* queue.drained */

/* BufWaiter */
byte outcome[N_WAITERS];     /* outcome */
byte state[N_REQUESTERS];    /* state */
byte overtaken[N_REQUESTERS];/* overtaken */
bit owed[N_REQUESTERS];      /* owed */

/* BufWatch */
byte watch;                  /* due */
bit looking;                 /* looked_at */

/* BufWakeup */
bit asleep[N_WAITERS];       /* cond: whether its thread sleeps there */
#ifdef FAULT_SIGNAL_ONCE_PER_WAIT
bit expects[N_WAITERS] = 1;
#else
bit expects[N_WAITERS];      /* asleep: and no thread is about to signal it */
#endif
bit latest[N_WAITERS];       /* each wait has a separate wake-up, because a signal may come after
                              * it */

/* Around the semaphore */
byte references;             /* of the GObject */
bit disposing;               /* a thread is in g_object_unref(), with the last reference */
bit by_library;              /* current_drop: and it drops the library's reference */
bit kept;                    /* current_drop->kept */
bit revived;                 /* others have taken references while dispose ran */
bit handed;                  /* hand_over: a thread has the reference that was kept */
byte users = 1;              /* word of the allocation of SHARED: references */
byte holds = 1;              /* and holds */
byte settled;                /* tasks whose deliver_source was attached */
byte cancelled;              /* cancellables that were cancelled */
byte connected;              /* whose handler is connected */
byte link_budget;            /* CancelLink: whose budget is not NULL */
byte link_mutex;             /* CancelLink: whose mutex is locked */
byte alive;                  /* waiters that are initialized, and not cleared yet */

/* Only in the model */
byte n_spurious;             /* spurious wake-ups */
byte n_lost;                 /* signals that never come */
byte n_going_on;             /* callers that continue to serve in further sections */
byte in_use = OUT;           /* outstanding bytes */
byte passed[N_REQUESTERS];   /* how many times each was overtaken as the oldest, counted
                              * separately */
byte lates[N_REQUESTERS];    /* how many times each was late while it was owed */
byte starving;               /* threads that never run again */
bit gone;                    /* the GObject is gone */
bit freed;                   /* the memory is gone */
bit owner_is_through;        /* its g_object_unref() has returned */
byte unprotected;            /* threads that still rely on another thread's reference */

hidden byte i, k, next, oldest, n_served;
hidden short unpromised;
hidden byte taken, overtakes, zero, no_plain;

#define TOUCH      assert (!freed)
#define TOUCH_POOL assert (!gone)
#define BALANCE assert (free + CREDIT (0) + CREDIT (1) + in_use == maximum)

#ifdef FAIR_MUTEX
/* A process that requests the mutex gets it in its turn: that a lock starves no thread is not
 * checked here. */
chan turns = [N_WAITERS + 3] of { byte };
#define QUEUE_UP turns ! _pid;
#define LOCK     (!mutex && turns ? [eval (_pid)]); turns ? eval (_pid); TOUCH; mutex = 1
#else
#define QUEUE_UP
#define LOCK     !mutex; TOUCH; mutex = 1
#endif
#define UNLOCK   check_queue (); TOUCH; mutex = 0

/* Takes bytes. The limit is checked here. */
#define TAKE(n) \
  in_use = in_use + n; \
  assert (in_use <= maximum)

#include "wait-queue.pml"
#include "stripe.pml"
#include "serve.pml"
#include "semaphore.pml"
#include "watcher.pml"
#include "ends.pml"
#include "pool.pml"
