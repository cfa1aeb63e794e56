/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lock that is cheap for the thread that uses it most, with several threads, at full speed.
 * Each use without bias biases it at once. */

#include <glib.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "memory/biased-lock-testing.h"

#define N_THREADS 4
#define N_LOCKS   2

/* Plain memory that a lock guards. */
typedef struct
{
  BufBiasedLock lock;
  guint n_inside;
  guint64 n_uses;
  guint64 copy; /* of @n_uses */
} Guarded;

typedef struct
{
  Guarded *guarded;
  _Atomic guint *n_revoked; /* by all threads */
  guint enough;             /* revocations */
  guint64 n_uses[N_LOCKS];  /* by this thread */
  gboolean registers;
  gint ended; /* atomic */
} Storm;

static void
use_held (Guarded *guarded)
{
  g_assert_cmpuint (guarded->n_inside++, ==, 0);
  g_assert_cmpuint (guarded->n_uses, ==, guarded->copy);
  guarded->n_uses++;
  guarded->copy++;
  g_assert_cmpuint (--guarded->n_inside, ==, 0);
}

static gboolean
use_quickly (Guarded *guarded)
{
  BufLockOwner *me = buf_lock_owner_self;

  if (!buf_biased_lock_try_quickly (&guarded->lock, me))
    return FALSE;

  use_held (guarded);
  buf_biased_lock_unlock_quickly (&guarded->lock, me);
  return TRUE;
}

static gboolean
use (Guarded *guarded)
{
  if (!buf_biased_lock_try (&guarded->lock))
    return FALSE;

  use_held (guarded);
  buf_biased_lock_unlock (&guarded->lock);
  return TRUE;
}

static gpointer
run_storm (gpointer data)
{
  Storm *storm = data;

  if (storm->registers)
    buf_lock_owner_register ();
  for (guint i = 0; atomic_load (storm->n_revoked) < storm->enough; i++)
    {
      guint n = i / 64 % N_LOCKS;
      Guarded *guarded = &storm->guarded[n];

      if (use_quickly (guarded) || use (guarded))
        storm->n_uses[n]++;
      else if (buf_biased_lock_revoke (&guarded->lock))
        (*storm->n_revoked)++;
      if (i % 256 == 0)
        sched_yield ();
    }
  g_atomic_int_set (&storm->ended, TRUE);
  return NULL;
}

/* Interrupts a thread wherever it is. */
static void
yield (int number)
{
  (void) number;
  sched_yield (); /* NOLINT(bugprone-signal-handler,cert-sig30-c): a system call, and nothing else
                   */
}

static void
storm (guint enough, gboolean all_register, gboolean with_signals)
{
  Guarded *guarded = g_aligned_alloc0 (N_LOCKS, sizeof (Guarded), BUF_CACHE_LINE);
  Storm storms[N_THREADS] = { 0 };
  pthread_t threads[N_THREADS];
  _Atomic guint n_revoked = 0;

  for (guint i = 0; i < N_LOCKS; i++)
    init_open (&guarded[i].lock);
  for (guint i = 0; i < N_THREADS; i++)
    {
      storms[i].guarded = guarded;
      storms[i].n_revoked = &n_revoked;
      storms[i].enough = enough;
      storms[i].registers = all_register || i % 2 == 0;
      g_assert_cmpint (pthread_create (&threads[i], NULL, run_storm, &storms[i]), ==, 0);
    }

  for (guint i = 0; i < N_THREADS; i++)
    while (!g_atomic_int_get (&storms[i].ended))
      {
        if (with_signals)
          pthread_kill (threads[i], SIGUSR1);
        g_usleep (20);
      }
  for (guint i = 0; i < N_THREADS; i++)
    pthread_join (threads[i], NULL);

  for (guint n = 0; n < N_LOCKS; n++)
    {
      guint64 n_uses = 0;

      for (guint i = 0; i < N_THREADS; i++)
        n_uses += storms[i].n_uses[n];
      g_assert_cmpuint (guarded[n].n_uses, ==, n_uses);
    }
  g_aligned_free (guarded);
}

static guint
get_n_revocations (void)
{
  const gchar *scale = g_getenv ("TEST_SCALE");

  return scale == NULL ? 5000 : 50 * (guint) g_ascii_strtoull (scale, NULL, 10);
}

static void
test_storm (void)
{
  g_test_summary (
      "Threads that use, bias and revoke two locks at random are never inside together");

  if (!can_bias ())
    return;
  storm (get_n_revocations (), TRUE, FALSE);
}

static void
test_storm_with_signals (void)
{
  const struct sigaction action = { .sa_handler = yield };

  g_test_summary ("The same, while signals preempt the threads at any instruction");

  if (!can_bias ())
    return;
  g_assert_cmpint (sigaction (SIGUSR1, &action, NULL), ==, 0);
  storm (get_n_revocations (), TRUE, TRUE);
  storm (get_n_revocations (), FALSE, TRUE);
}

/* A pool that ends frees its locks as soon as it has them. */
static gpointer
run_free (gpointer data)
{
  BufBiasedLock *lock = data;

  while (!buf_biased_lock_try (lock))
    buf_biased_lock_revoke (lock);
  g_free (lock);
  return NULL;
}

static void
test_freed (void)
{
  g_test_summary ("Once another thread has got the lock, the owner does not touch its memory");

  if (!can_bias ())
    return;
  for (guint i = 0; i < 300; i++)
    {
      BufBiasedLock *lock = g_new0 (BufBiasedLock, 1);
      GThread *thread;

      init_open (lock);
      g_assert_true (buf_biased_lock_try (lock));
      buf_biased_lock_unlock (lock);
      g_assert_true (buf_biased_lock_try (lock));
      thread = g_thread_new ("free", run_free, lock);
      if (i % 2 == 0)
        g_thread_yield ();
      buf_biased_lock_unlock (lock);
      g_thread_join (thread);
    }
}

int
main (int argc, char **argv)
{
  g_setenv ("BUFPOOL_BIAS", "always", TRUE);
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/biased-lock/storm", test_storm);
  g_test_add_func ("/biased-lock/storm-with-signals", test_storm_with_signals);
  g_test_add_func ("/biased-lock/freed", test_freed);

  return g_test_run ();
}
