/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-biased-lock-private.h"

#include <errno.h>
#include <stdlib.h>

#ifdef HAVE_MEMBARRIER
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "debug/buf-debug-private.h"

/*
 * A lock that no thread waits for, and that is cheap for the thread that uses it most.
 *
 * States: a lock is *open*, *held*, or *biased* toward a thread, its *owner*. A thread gets an open
 * lock with a compare-and-swap. A thread that has used a lock many times in a row stores itself as
 * the owner when it unlocks. From then on, the owner enters and leaves without a locked
 * instruction. To use a biased lock, any other thread has to *revoke* the bias first.
 *
 *   enter:   me->inside = lock; [compiler barrier]; state == me? if not, me->inside = NULL, failed
 *   leave:   me->inside = NULL
 *   revoke:  state: owner -> held; [membarrier()]; owner->inside == lock?
 *            no: state = open; yes: state = owner, the bias stays
 *
 * Invariant: at most one thread holds the lock. Between the store and the load of "enter" there is
 * no fence of the processor. membarrier() runs one on each processor that runs a thread of this
 * process. If it runs before the load, the load finds "held", and the owner backs off. If it runs
 * after the load, it also runs after the store, and the revoking thread finds the owner inside. A
 * thread that does not run has passed a fence when it was preempted.
 *
 * Only the thread itself writes @inside, and it is inside of at most one lock: no function that
 * uses a lock may be called by a signal handler. Only the thread that has changed the state to
 * "held" changes it back. So no thread writes the state while the owner is inside, except for a
 * moment: held, and the owner again. Unlocking therefore looks at @inside to find out how the lock
 * was taken. Leaving does not touch the lock: its memory may be gone.
 *
 * Memory orders: leaving is a release, and a revoking thread acquires it. The owner acquired the
 * lock before it became the owner, in the same thread.
 *
 * Cost: a revocation takes some microseconds. Each one doubles the number of uses in a row that the
 * next bias needs. So a lock that threads share is not biased, and its threads pay for a few
 * revocations only. If the owner is seen inside, perhaps because it does not run, a revocation
 * fails before it costs anything. A thread that revokes its own bias needs no barrier.
 *
 * A thread is registered after it has used a lock for the first time. Without membarrier(), no
 * thread is registered, and no lock is ever biased.
 */

#define BUF_LOCK_MIN_USES    256
#define BUF_LOCK_MAX_DOUBLED 7

BufLockOwner buf_lock_owner_none;
_Thread_local BufLockOwner *buf_lock_owner_self BUF_TLS_MODEL = &buf_lock_owner_none;

/* How many uses in a row bias a lock at first; 0: no lock is biased. */
static _Atomic guint min_uses;

static GMutex owners_mutex;
static BufLockOwner *unused_owners; /* LOCK: owners_mutex */
static guint32 n_owners;            /* LOCK: owners_mutex */

#ifdef HAVE_MEMBARRIER
static gboolean
register_process (void)
{
  glong commands = syscall (__NR_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

  return commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0 &&
         syscall (__NR_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/* Registering takes 5 µs while the process has one thread, but 10 ms once it has more. */
static gboolean is_registered;

static void __attribute__ ((constructor)) register_early (void)
{
  is_registered = register_process ();
}

/* When a page loses its permissions, x86 interrupts each processor that runs a thread of this
 * process, so that it forgets the page. */
static gboolean
run_barrier_by_protection (void)
{
#if defined(__x86_64__) || defined(__i386__)
  gsize size = sysconf (_SC_PAGESIZE);
  gpointer page = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  gboolean done;

  if (page == MAP_FAILED)
    return FALSE;
  *(volatile gchar *) page = 1;
  done = mprotect (page, size, PROT_NONE) == 0;
  munmap (page, size);
  return done;
#else
  return FALSE;
#endif
}

static gboolean
run_barrier (void)
{
  return syscall (__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}
#else
static const gboolean is_registered = FALSE;

static gboolean
run_barrier (void)
{
  return FALSE;
}

static gboolean
register_process (void)
{
  return FALSE;
}

static gboolean
run_barrier_by_protection (void)
{
  return FALSE;
}
#endif

/* Runs a fence on each processor, if there is an owner that is not this thread. A program may
 * forbid system calls after it has started, and the child of a fork may have to register again. */
void
buf_biased_lock_barrier (const BufLockOwner *other)
{
  if (other == NULL || other == buf_lock_owner_self || run_barrier ())
    return;
  if (register_process () && run_barrier ())
    return;

  atomic_store_explicit (&min_uses, 0, memory_order_relaxed);
  if (!run_barrier_by_protection ())
    g_error ("membarrier() worked when the program started, but fails now: %s. Allow this system "
             "call, or set BUFPOOL_BIAS=never.",
             g_strerror (errno));
}

/* BUFPOOL_BIAS: "never", or "always" to bias at the first use, for tests. */
static guint
choose_min_uses (void)
{
  const gchar *variable = buf_debug_get_variable ("BUFPOOL_BIAS");

  if (g_strcmp0 (variable, "never") == 0 || !is_registered)
    return 0;
  return g_strcmp0 (variable, "always") == 0 ? 1 : BUF_LOCK_MIN_USES;
}

/* Chooses, once for the process, whether locks are biased. */
void
buf_biased_lock_choose (void)
{
  static gsize chosen;

  if (g_once_init_enter (&chosen))
    {
      atomic_store_explicit (&min_uses, choose_min_uses (), memory_order_relaxed);
      g_once_init_leave (&chosen, 1);
    }
}

/* The thread ends. Other functions that run at its end may still use locks, without bias. */
static void
unregister (gpointer data)
{
  BufLockOwner *owner = data;

  buf_lock_owner_self = NULL;
  free (owner->spare);
  owner->spare = NULL;
  g_mutex_lock (&owners_mutex);
  owner->next = unused_owners;
  unused_owners = owner;
  g_mutex_unlock (&owners_mutex);
}

static BufLockOwner *
get_owner_locked (void)
{
  BufLockOwner *owner = unused_owners;

  if (owner != NULL)
    {
      unused_owners = owner->next;
      return owner;
    }

  owner = g_aligned_alloc0 (1, sizeof (BufLockOwner), BUF_CACHE_LINE);
  atomic_init (&owner->inside, NULL);
  owner->number = ++n_owners;
  return owner;
}

/* Lets locks be biased toward this thread, if that is possible. The thread does not hold a lock. */
void
buf_lock_owner_register (void)
{
  static GPrivate own = G_PRIVATE_INIT (unregister);

  if (buf_lock_owner_self != &buf_lock_owner_none)
    return;

  buf_lock_owner_self = NULL;
  if (atomic_load_explicit (&min_uses, memory_order_relaxed) == 0)
    return;

  g_mutex_lock (&owners_mutex);
  buf_lock_owner_self = get_owner_locked ();
  g_mutex_unlock (&owners_mutex);
  g_private_set (&own, buf_lock_owner_self);
}

void
buf_biased_lock_init_held (BufBiasedLock *self)
{
  atomic_init (&self->state, BUF_LOCK_HELD);
}

void
buf_biased_lock_unlock_unbiased (BufBiasedLock *self, BufLockOwner *me)
{
  guint enough = atomic_load_explicit (&min_uses, memory_order_relaxed);
  guintptr next = BUF_LOCK_OPEN;

  if (me == &buf_lock_owner_none)
    {
      buf_biased_lock_open (self);
      buf_lock_owner_register ();
      return;
    }

  if (self->user != me->number)
    {
      self->user = me->number;
      self->n_uses = 0;
    }
  if (enough > 1)
    enough <<= self->n_revoked;
  if (++self->n_uses >= enough && enough > 0)
    {
      self->n_uses = 0;
      next = (guintptr) me;
    }
  atomic_store_explicit (&self->state, next, memory_order_release);
}

/* Returns the owner, or NULL if the lock is not biased, or its owner is inside. After an owner was
 * returned, the lock is held until buf_biased_lock_end_revoke(), before which the caller needs a
 * barrier. */
BufLockOwner *
buf_biased_lock_begin_revoke (BufBiasedLock *self)
{
  guintptr owner = atomic_load_explicit (&self->state, memory_order_acquire);

  if (owner == BUF_LOCK_OPEN || owner == BUF_LOCK_HELD ||
      atomic_load_explicit (&((BufLockOwner *) owner)->inside, memory_order_relaxed) == self ||
      !atomic_compare_exchange_strong_explicit (&self->state,
                                                &owner,
                                                BUF_LOCK_HELD,
                                                memory_order_acquire,
                                                memory_order_relaxed))
    return NULL;
  return (BufLockOwner *) owner;
}

/* If the owner is inside, the lock stays biased. */
void
buf_biased_lock_end_revoke (BufBiasedLock *self, BufLockOwner *owner)
{
  if (atomic_load_explicit (&owner->inside, memory_order_acquire) == self)
    {
      atomic_store_explicit (&self->state, (guintptr) owner, memory_order_release);
      return;
    }

  self->n_revoked = MIN (self->n_revoked + 1, BUF_LOCK_MAX_DOUBLED);
  buf_biased_lock_open (self);
}

/* Returns whether the lock was biased, and its owner was not seen inside. The lock need not be open
 * now. */
gboolean
buf_biased_lock_revoke (BufBiasedLock *self)
{
  BufLockOwner *owner = buf_biased_lock_begin_revoke (self);

  if (owner == NULL)
    return FALSE;

  buf_biased_lock_barrier (owner);
  buf_biased_lock_end_revoke (self, owner);
  return TRUE;
}
