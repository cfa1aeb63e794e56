/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdatomic.h>

#include "semaphore/buf-wait-queue-private.h"
#include "semaphore/buf-watcher-private.h"

G_BEGIN_DECLS

#define BUF_CACHE_LINE 64

/* The word of a stripe: the low 40 bits are the credit in bytes, and the rest is a signed count of
 * allocations taken from the stripe minus allocations released to it. A revoked stripe reads as a
 * negative credit, so that neither a request nor a release can succeed on it. */
#define BUF_STRIPE_CREDIT_BITS 40
#define BUF_STRIPE_ONE         (G_GINT64_CONSTANT (1) << BUF_STRIPE_CREDIT_BITS)
#define BUF_STRIPE_REVOKED     (G_GINT64_CONSTANT (1) << (BUF_STRIPE_CREDIT_BITS - 1))
#define BUF_STRIPE_MAX_CREDIT  (G_GINT64_CONSTANT (1) << (BUF_STRIPE_CREDIT_BITS - 2))

typedef struct
{
  _Alignas(BUF_CACHE_LINE) _Atomic gint64 word;
} BufStripe;

typedef struct _BufSemaphore BufSemaphore;

/* How many long waits the watcher reports at once. */
#define BUF_LONG_WAITS_MAX 4

/* What the watcher reports. @waits are copies of waiters that are still waiting. */
typedef struct
{
  gboolean stalled;
  BufWaiter waits[BUF_LONG_WAITS_MAX];
  guint n_waits;
} BufWatchNews;

/* What the watcher has observed, to detect that nothing has been granted for a long time. */
typedef struct
{
  gint64 time;           /* microseconds without a grant that make a stall; 0 for never */
  gint64 wait_threshold; /* microseconds that make a wait long; 0 for never */
  const BufLevel *level; /* the lowest level at which the oldest waiter was short */
  guint64 n_taken;       /* the number of requests that had been served there at the last look */
  gint64 quiet_since;    /* since when that number has not changed */
  gboolean reported;     /* whether this stall has been reported */
  guint64 n_woken;       /* the number of threads that had been woken at the last look */
} BufStallWatch;

/* A user of the semaphore that keeps bytes it has taken but does not need, see
 * buf-semaphore-keeper.c. */
typedef struct
{
  /* Releases all kept bytes, and keeps nothing anymore. Called with no lock held while the
   * semaphore is entered. Returns whether everything was released. If @complete is set, it waits
   * until it is. */
  gboolean (*reclaim) (BufSemaphore *semaphore, gboolean complete);

  /* Releases kept bytes until it has released @bytes or everything that is available immediately.
   * Returns how many bytes it released. Called like @reclaim. */
  gint64 (*evict) (BufSemaphore *semaphore, gint64 bytes);

  /* Allows bytes to be kept from now on. */
  void (*reopen_locked) (BufSemaphore *semaphore);

  /* Adds the kept bytes. */
  void (*count_locked) (BufSemaphore *semaphore, gint64 *bytes, gint64 *n_allocations);

  /* For idle bytes, see buf-semaphore-idle.c. */

  /* The bytes in @want were taken. Sets @idle of @want. Frees memory or sets it aside until the
   * idle bytes are no more than the free bytes. */
  void (*claim_locked) (BufSemaphore *semaphore, BufWant *want);

  /* Frees the memory that was set aside, after unlocking the mutex. */
  void (*unlock_and_free) (BufSemaphore *semaphore);

  /* Frees the memory of all idle bytes. Called like @reclaim. */
  void (*free_idle) (BufSemaphore *semaphore);
} BufSemaphoreKeeper;

/* The state that all semaphores of a tree share. The root ends last, and this state with it. */
typedef struct
{
  GMutex mutex;
  BufWaitQueue queue;  /* LOCK: mutex */
  BufReady ready;      /* LOCK: mutex; what to do after the unlock */
  BufWatch watch;      /* LOCK: mutex */
  BufStallWatch stall; /* LOCK: mutex */
  GQueue members;      /* LOCK: mutex; semaphores that reports find, each after its parent */
  GQueue keeping;      /* LOCK: mutex; semaphores whose keeper may keep bytes */
  GQueue resting;      /* LOCK: mutex; semaphores whose keeper keeps nothing */
  gboolean unfinished; /* LOCK: mutex; the watcher has to ask the keepers again */
  guint64 n_rounds;    /* LOCK: mutex; how many times the keepers were asked */
} BufTree;

struct _BufSemaphore
{
  /* Read by every request and rarely written. */
  BufStripe *stripes;  /* const */
  _Atomic guint mask;  /* LOCK: mutex to write; number of live stripes minus 1 */
  gboolean is_child;   /* const; whether there are levels above it */
  _Atomic gint64 mark; /* LOCK: mutex to write; most bytes in a stripe after a release */

  gchar padding[BUF_CACHE_LINE]; /* keeps what changes on another cache line */

  BufTree *tree;          /* const */
  BufSemaphore *parent;   /* const; NULL for the root */
  const gchar *kind;      /* const; the kind of the owner, for messages */
  const gchar *name;      /* const; the name of the owner; may be NULL */
  gint64 unit;            /* const; size of the smallest request, in bytes */
  guint n_stripes;        /* const; a power of two */
  _Atomic gboolean rests; /* LOCK: mutex to write; whether its keeper is closed until it is used */
  BufLevel level;         /* LOCK: mutex */
  guint calm;             /* LOCK: mutex; sections since a request last had to revoke or wait */
  guint n_inside;         /* LOCK: mutex; threads between enter and leave, and children */
  guint n_reclaims;       /* LOCK: mutex; threads that need all bytes until they are finished */
  guint n_keepers;        /* LOCK: mutex; at this level or below */
  guint n_keeping;        /* LOCK: mutex; the number of those that may keep bytes */
  gboolean keeps;         /* LOCK: mutex; whether its own keeper may keep bytes */
  GList member_link;      /* LOCK: mutex; in @members of the tree; no data: not there */
  GList keeper_link;      /* LOCK: mutex; in @keeping or @resting of the tree */
  guint64 round;          /* LOCK: mutex; the round in which the keeper was last asked */
  gboolean set_aside;     /* LOCK: mutex; the keeper has memory to free after the unlock */
  gint64 returning;       /* LOCK: mutex; bytes that keepers at it or below are about to release */
  gint64 n_returning;     /* LOCK: mutex; the number of their allocations */
  gboolean abandoned;     /* LOCK: mutex; until the semaphore is over, see buf-semaphore-inside.c */

  /* Called once, with no lock held, by the last user of an abandoned semaphore. */
  void (*end) (BufSemaphore *semaphore); /* const */

  gint64 wait_threshold; /* const; microseconds; negative unless BUFPOOL_DEBUG=waits */
  gboolean is_traced;    /* const; whether Sysprof is recording */

  /* Appends lines that describe who holds the bytes. */
  void (*append_outstanding) (BufSemaphore *semaphore, GString *description); /* const; or NULL */

  /* Called by the watcher with no lock held. The semaphore is entered, and the function, or a
   * thread that it starts, has to leave it. NULL if there is nothing to report to. */
  void (*report) (BufSemaphore *semaphore, const BufWatchNews *news); /* const */

  const BufSemaphoreKeeper *keeper; /* LOCK: mutex to write; may be NULL */
};

/* The state of a semaphore when a request was refused, for its message, or at any moment, for a
 * getter. */
typedef struct
{
  BufSemaphore *semaphore; /* the semaphore of these figures: the level that refused */
  gint64 maximum;          /* for a refusal: the most that could be granted there */
  gint64 reserved;
  gboolean keeps_reserve; /* @maximum is less than the limit because of the reserve */
  gint64 available;       /* never negative */
  gint64 owed;            /* of a refusal: what is left to a request that waits; 0: nothing */
  gint64 allocated;
  gint64 n_allocations;
  guint n_waiting;
  gint64 oldest_bytes; /* what the oldest waiter waits for, or 0 if there is none */
} BufSemaphoreFigures;

/* There are as many stripes as processors, but at most this many. */
#define BUF_SEMAPHORE_MAX_STRIPES 64

/* The stripe that a thread uses in every semaphore. Loading the library with dlopen() works,
 * because the C library reserves room for small variables of this model. */
#ifdef __GLIBC__
#define BUF_TLS_MODEL __attribute__ ((tls_model ("initial-exec")))
#else
#define BUF_TLS_MODEL
#endif
extern _Thread_local guint buf_semaphore_thread_number BUF_TLS_MODEL;

static inline gint64
buf_stripe_get_credit (gint64 word)
{
  return (gint64) ((guint64) word << (64 - BUF_STRIPE_CREDIT_BITS)) >>
         (64 - BUF_STRIPE_CREDIT_BITS);
}

static inline BufStripe *
buf_semaphore_get_stripe (BufSemaphore *self)
{
  guint mask = atomic_load_explicit (&self->mask, memory_order_relaxed);

  return &self->stripes[buf_semaphore_thread_number & mask];
}

/* Replaces the word. If another thread is using the same stripe, it fails, and this thread moves to
 * another stripe. */
static inline gboolean
buf_stripe_exchange (BufStripe *self, gint64 word, gint64 next, memory_order order)
{
  if (G_LIKELY (atomic_compare_exchange_strong_explicit (&self->word,
                                                         &word,
                                                         next,
                                                         order,
                                                         memory_order_relaxed)))
    return TRUE;

  buf_semaphore_thread_number++;
  return FALSE;
}

/* The fast path of a request at this level. */
static inline gboolean
buf_semaphore_take_own_credit (BufSemaphore *self, gint64 bytes)
{
  BufStripe *stripe = buf_semaphore_get_stripe (self);
  gint64 word = atomic_load_explicit (&stripe->word, memory_order_relaxed);
  gint64 next;

  return G_LIKELY (buf_stripe_get_credit (word) >= bytes &&
                   !__builtin_add_overflow (word, BUF_STRIPE_ONE - bytes, &next)) &&
         buf_stripe_exchange (stripe, word, next, memory_order_acquire);
}

/* The fast path of a request. On FALSE, call buf_semaphore_acquire(). */
static inline gboolean
buf_semaphore_take_credit (BufSemaphore *self, gint64 bytes)
{
  return G_LIKELY (!self->is_child) && buf_semaphore_take_own_credit (self, bytes);
}

/* The fast path of a release to @stripe at this level. */
static inline gboolean
buf_semaphore_give_own_credit (BufSemaphore *self, BufStripe *stripe, gint64 bytes)
{
  gint64 mark = atomic_load_explicit (&self->mark, memory_order_relaxed);
  gint64 word = atomic_load_explicit (&stripe->word, memory_order_relaxed);
  gint64 credit = buf_stripe_get_credit (word);
  gint64 next;

  return G_LIKELY (credit >= 0 && bytes <= mark - credit &&
                   !__builtin_sub_overflow (word, BUF_STRIPE_ONE - bytes, &next)) &&
         buf_stripe_exchange (stripe, word, next, memory_order_release);
}

/* The fast path of a release to @stripe, which the caller has looked up. On FALSE, call
 * buf_semaphore_release(). After TRUE, the semaphore may be gone. */
static inline gboolean
buf_semaphore_give_credit (BufSemaphore *self, BufStripe *stripe, gint64 bytes)
{
  return G_LIKELY (!self->is_child) && buf_semaphore_give_own_credit (self, stripe, bytes);
}

static inline BufSemaphore *
buf_semaphore_get_for_level (const BufLevel *level)
{
  return (BufSemaphore *) ((const guint8 *) level - G_STRUCT_OFFSET (BufSemaphore, level));
}

void buf_semaphore_init (BufSemaphore *self,
                         BufSemaphore *parent,
                         gint64 maximum,
                         gint64 unit,
                         guint n_processors);
void buf_semaphore_clear (BufSemaphore *self);
void buf_semaphore_set_keeper (BufSemaphore *self, const BufSemaphoreKeeper *keeper);
void buf_semaphore_remove_keeper (BufSemaphore *self);

BufOutcome buf_semaphore_acquire (BufSemaphore *self,
                                  BufWant *want,
                                  gboolean enters,
                                  BufSemaphoreFigures *figures);
BufOutcome buf_semaphore_wait (BufSemaphore *self,
                               BufWaiter *waiter,
                               gint64 deadline,
                               BufSemaphoreFigures *figures);
void buf_semaphore_enqueue (BufSemaphore *self, BufWaiter *waiter);
void buf_semaphore_release (BufSemaphore *self, gint64 bytes);
void buf_semaphore_release_several (BufSemaphore *self, gint64 bytes, gint64 n_allocations);
void buf_semaphore_release_part (BufSemaphore *self, gint64 bytes, gboolean pinned);
BufOutcome buf_semaphore_exchange (BufSemaphore *self,
                                   gint64 own_bytes,
                                   gint64 n_own,
                                   BufWant *want,
                                   gboolean leaves,
                                   BufSemaphoreFigures *figures);
void buf_semaphore_pin (BufSemaphore *self, gint64 bytes);
void buf_semaphore_release_pinned (BufSemaphore *self, gint64 bytes);
void buf_semaphore_withdraw (BufSemaphore *self, BufWaiter *waiter, BufOutcome outcome);

gboolean buf_semaphore_set_maximum (BufSemaphore *self, gint64 maximum);
gboolean buf_semaphore_set_reserved (BufSemaphore *self, gint64 reserved);
gboolean buf_semaphore_set_max_waiting (BufSemaphore *self, gint max_waiting);
gint buf_semaphore_get_max_waiting (BufSemaphore *self);
void buf_semaphore_close (BufSemaphore *self);
gboolean buf_semaphore_has_plain (BufSemaphore *self);
gboolean buf_semaphore_is_closed (BufSemaphore *self);

gboolean buf_semaphore_may_idle_locked (BufSemaphore *self);
void buf_semaphore_release_idle_and_unlock (BufSemaphore *self, gint64 bytes);

void buf_semaphore_note_keeping_locked (BufSemaphore *self, gboolean keeps);
void buf_semaphore_note_returning_locked (BufSemaphore *self, gint64 bytes, gint64 n_allocations);
gboolean buf_semaphore_may_keep_locked (BufSemaphore *self);
BufOutcome buf_semaphore_acquire_after_others (BufSemaphore *self,
                                               BufWant *want,
                                               gboolean enters,
                                               BufSemaphoreFigures *figures);
void buf_semaphore_reclaim_and_lock (BufSemaphore *self);
void buf_semaphore_reopen_and_unlock (BufSemaphore *self);

void buf_semaphore_enter (BufSemaphore *self);
gboolean buf_semaphore_enter_if_open (BufSemaphore *self);
void buf_semaphore_join_reports (BufSemaphore *self);
BufSemaphore *buf_semaphore_enter_next (BufSemaphore *top, BufSemaphore *previous);
void buf_semaphore_leave (BufSemaphore *self);
void buf_semaphore_abandon (BufSemaphore *self);

void
buf_semaphore_get_figures (BufSemaphore *self, BufSemaphoreFigures *figures, BufHistory *history);
void buf_semaphore_get_refusal (BufSemaphore *self,
                                const BufWaiter *waiter,
                                BufSemaphoreFigures *figures);
void buf_semaphore_watch_waits (BufSemaphore *self,
                                gint64 stall_time,
                                gint64 wait_threshold,
                                gboolean watched);

G_END_DECLS
