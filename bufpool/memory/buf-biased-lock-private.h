/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdatomic.h>

#include "semaphore/buf-semaphore-private.h"

/* Where a test interrupts a thread. */
#ifndef BUF_LOCK_PAUSE
#define BUF_LOCK_PAUSE() ((void) 0)
#endif

G_BEGIN_DECLS

/* A thread that locks can be biased toward. It is never freed. After the thread has ended, another
 * thread uses it. */
typedef struct _BufLockOwner BufLockOwner;
struct _BufLockOwner
{
  _Alignas(BUF_CACHE_LINE) _Atomic gpointer inside; /* thread to write; what it holds by bias */
  gpointer spare;     /* thread only; a handle that it may use, or NULL */
  guint32 number;     /* const; not 0 */
  BufLockOwner *next; /* LOCK: owners_mutex */
};

/* A lock that no thread waits for. For its states, see buf-biased-lock.c. */
typedef struct
{
  _Atomic guintptr state; /* atomic */
  guint32 user;           /* HELD; the number of the last thread that used it without bias */
  guint16 n_uses;         /* HELD; how often in a row */
  guint16 n_revoked;      /* HELD; how often a bias was revoked */
} BufBiasedLock;

#define BUF_LOCK_OPEN ((guintptr) 1)
#define BUF_LOCK_HELD ((guintptr) 2)

/* No lock is biased toward it. */
extern BufLockOwner buf_lock_owner_none;

/* This thread; &buf_lock_owner_none until it has used a lock; NULL if no lock can be biased toward
 * it. */
extern _Thread_local BufLockOwner *buf_lock_owner_self BUF_TLS_MODEL;

void buf_lock_owner_register (void);

void buf_biased_lock_choose (void);
void buf_biased_lock_init_held (BufBiasedLock *self);
void buf_biased_lock_unlock_unbiased (BufBiasedLock *self, BufLockOwner *me);

BufLockOwner *buf_biased_lock_begin_revoke (BufBiasedLock *self);
void buf_biased_lock_barrier (const BufLockOwner *other);
void buf_biased_lock_end_revoke (BufBiasedLock *self, BufLockOwner *owner);
gboolean buf_biased_lock_revoke (BufBiasedLock *self);

/* Returns whether the caller is inside now, because the lock is biased toward it. @me is the
 * calling thread; if it is NULL, this fails. The store is a release because it may follow that of a
 * leave: a thread that revokes the bias of the lock before reads either. */
static inline gboolean
buf_biased_lock_enter (BufBiasedLock *self, BufLockOwner *me)
{
  if (atomic_load_explicit (&self->state, memory_order_relaxed) != (guintptr) me)
    return FALSE;

  BUF_LOCK_PAUSE ();
  atomic_store_explicit (&me->inside, self, memory_order_release);
  atomic_signal_fence (memory_order_seq_cst); /* the other half is buf_biased_lock_barrier() */
  BUF_LOCK_PAUSE ();
  if (G_LIKELY (atomic_load_explicit (&self->state, memory_order_relaxed) == (guintptr) me))
    return TRUE;

  atomic_store_explicit (&me->inside, NULL, memory_order_release);
  return FALSE;
}

static inline void
buf_biased_lock_leave (BufLockOwner *me)
{
  atomic_store_explicit (&me->inside, NULL, memory_order_release);
}

static inline gboolean
buf_biased_lock_take (BufBiasedLock *self)
{
  guintptr open = BUF_LOCK_OPEN;

  return atomic_compare_exchange_strong_explicit (&self->state,
                                                  &open,
                                                  BUF_LOCK_HELD,
                                                  memory_order_acquire,
                                                  memory_order_relaxed);
}

/* Opens a lock that was held without bias, perhaps by another thread. */
static inline void
buf_biased_lock_open (BufBiasedLock *self)
{
  atomic_store_explicit (&self->state, BUF_LOCK_OPEN, memory_order_release);
}

/* Returns whether the caller holds the lock now. */
static inline gboolean
buf_biased_lock_try (BufBiasedLock *self)
{
  return buf_biased_lock_enter (self, buf_lock_owner_self) || buf_biased_lock_take (self);
}

/* On return, the memory of the lock may be gone. */
static inline void
buf_biased_lock_unlock (BufBiasedLock *self)
{
  BufLockOwner *me = buf_lock_owner_self;

  BUF_LOCK_PAUSE ();
  if (me == NULL)
    buf_biased_lock_open (self);
  else if (atomic_load_explicit (&me->inside, memory_order_relaxed) == self)
    buf_biased_lock_leave (me);
  else
    buf_biased_lock_unlock_unbiased (self, me);
}

/* Like the two above, without calls. A thread that is an owner only tries locks that are biased
 * toward it. */

static inline gboolean
buf_biased_lock_try_quickly (BufBiasedLock *self, BufLockOwner *me)
{
  return me != NULL ? buf_biased_lock_enter (self, me) : buf_biased_lock_take (self);
}

static inline void
buf_biased_lock_unlock_quickly (BufBiasedLock *self, BufLockOwner *me)
{
  if (me != NULL)
    buf_biased_lock_leave (me);
  else
    buf_biased_lock_open (self);
}

G_END_DECLS
