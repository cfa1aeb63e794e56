/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lock that is cheap for the thread that uses it most. In these tests, each use without bias
 * biases it at once, unless a test runs in a process of its own. */

#include <glib.h>

#if defined(__linux__) && defined(__x86_64__)
#define HAVE_SECCOMP
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

/* In this file, each step of a lock that is inline calls this first. */
static void pause_thread (void);
#define BUF_LOCK_PAUSE pause_thread

#include "memory/biased-lock-testing.h"

/* What this thread does when it pauses for the nth time: 1 is the next time. */
static _Thread_local void (*at_pause) (void);
static _Thread_local guint n_pauses;

static void
pause_thread (void)
{
  if (at_pause != NULL && --n_pauses == 0)
    at_pause ();
}

static gboolean
is_biased (BufBiasedLock *lock)
{
  return atomic_load (&lock->state) > BUF_LOCK_HELD;
}

/* Used once, by this thread. */
static void
init_biased (BufBiasedLock *lock)
{
  init_open (lock);
  g_assert_true (buf_biased_lock_try (lock));
  buf_biased_lock_unlock (lock);
  g_assert_true (is_biased (lock));
}

static gpointer
run_try (gpointer data)
{
  BufBiasedLock *lock = data;

  if (!buf_biased_lock_try (lock))
    return GINT_TO_POINTER (FALSE);

  buf_biased_lock_unlock (lock);
  return GINT_TO_POINTER (TRUE);
}

static gpointer
run_revoke (gpointer data)
{
  return GINT_TO_POINTER (buf_biased_lock_revoke (data));
}

static gboolean
in_thread (GThreadFunc function, BufBiasedLock *lock)
{
  return GPOINTER_TO_INT (g_thread_join (g_thread_new ("other", function, lock)));
}

static void
test_held (void)
{
  BufBiasedLock lock;

  g_test_summary ("A lock is held by one thread, biased or not");

  if (!can_bias ())
    return;
  init_open (&lock);
  g_assert_true (buf_biased_lock_try (&lock));
  g_assert_false (buf_biased_lock_try (&lock));
  g_assert_false (in_thread (run_try, &lock));
  g_assert_false (in_thread (run_revoke, &lock));
  buf_biased_lock_unlock (&lock);

  g_assert_true (is_biased (&lock));
  g_assert_false (in_thread (run_try, &lock));
  for (guint i = 0; i < 3; i++)
    {
      g_assert_true (buf_biased_lock_try (&lock));
      g_assert_true (atomic_load (&buf_lock_owner_self->inside) == &lock);
      buf_biased_lock_unlock (&lock);
      g_assert_null (atomic_load (&buf_lock_owner_self->inside));
    }
}

static void
test_revoked (void)
{
  BufBiasedLock lock;

  g_test_summary ("Another thread takes the bias away while the owner is not inside");

  if (!can_bias ())
    return;
  init_biased (&lock);
  g_assert_true (in_thread (run_revoke, &lock));
  g_assert_false (is_biased (&lock));
  g_assert_true (in_thread (run_try, &lock));
  g_assert_true (buf_biased_lock_try (&lock));
  buf_biased_lock_unlock (&lock);
  g_assert_true (is_biased (&lock));
}

static void
test_owner_inside (void)
{
  BufBiasedLock lock;

  g_test_summary ("While the owner is inside, the lock stays biased, and nobody else gets it");

  if (!can_bias ())
    return;
  init_biased (&lock);
  g_assert_true (buf_biased_lock_try (&lock));
  g_assert_false (in_thread (run_revoke, &lock));
  g_assert_true (is_biased (&lock));
  g_assert_false (in_thread (run_try, &lock));
  buf_biased_lock_unlock (&lock);

  g_assert_true (is_biased (&lock));
  g_assert_true (in_thread (run_revoke, &lock));
  g_assert_false (is_biased (&lock));
}

static void
test_during_revocation (void)
{
  BufLockOwner *owner;
  BufBiasedLock lock;

  g_test_summary ("While the bias is being taken away, neither the owner nor others get the lock");

  if (!can_bias ())
    return;
  init_biased (&lock);
  owner = buf_biased_lock_begin_revoke (&lock);
  g_assert_true (owner == buf_lock_owner_self);
  g_assert_false (buf_biased_lock_try (&lock));
  g_assert_false (buf_biased_lock_try_quickly (&lock, owner));
  g_assert_null (atomic_load (&owner->inside));
  g_assert_null (buf_biased_lock_begin_revoke (&lock));
  g_assert_false (in_thread (run_try, &lock));
  buf_biased_lock_barrier (owner);

  /* After the barrier, it turns out that the owner is inside. */
  atomic_store (&owner->inside, &lock);
  buf_biased_lock_end_revoke (&lock, owner);
  g_assert_true (is_biased (&lock));
  atomic_store (&owner->inside, NULL);

  g_assert_true (buf_biased_lock_begin_revoke (&lock) == owner);
  buf_biased_lock_barrier (owner);
  buf_biased_lock_end_revoke (&lock, owner);
  g_assert_false (is_biased (&lock));
}

static BufBiasedLock *paused_lock;
static gboolean revoked;

static void
revoke_paused (void)
{
  at_pause = NULL;
  revoked = in_thread (run_revoke, paused_lock);
}

/* The owner was not seen inside before. */
static void
begin_to_revoke_paused (void)
{
  at_pause = NULL;
  atomic_store (&paused_lock->state, BUF_LOCK_HELD);
}

static void
test_during_enter (void)
{
  BufBiasedLock lock;

  g_test_summary ("A revocation between the steps of the owner, who then has the lock or not");

  if (!can_bias ())
    return;
  init_biased (&lock);
  paused_lock = &lock;

  /* It has noted that it is inside. */
  at_pause = revoke_paused;
  n_pauses = 2;
  g_assert_true (buf_biased_lock_try_quickly (&lock, buf_lock_owner_self));
  g_assert_false (revoked);
  g_assert_true (is_biased (&lock));

  /* It is about to leave. */
  at_pause = revoke_paused;
  n_pauses = 1;
  buf_biased_lock_unlock (&lock);
  g_assert_false (revoked);
  g_assert_true (is_biased (&lock));

  /* The same, and the revocation fails later. */
  g_assert_true (buf_biased_lock_try (&lock));
  at_pause = begin_to_revoke_paused;
  n_pauses = 1;
  buf_biased_lock_unlock (&lock);
  g_assert_null (atomic_load (&buf_lock_owner_self->inside));
  g_assert_true (atomic_load (&lock.state) == BUF_LOCK_HELD);
  atomic_store (&lock.state, (guintptr) buf_lock_owner_self);

  /* It has only seen that the lock is biased. */
  at_pause = revoke_paused;
  n_pauses = 1;
  g_assert_false (buf_biased_lock_try_quickly (&lock, buf_lock_owner_self));
  g_assert_true (revoked);
  g_assert_null (atomic_load (&buf_lock_owner_self->inside));
  g_assert_false (is_biased (&lock));
  g_assert_true (in_thread (run_try, &lock));
}

static gpointer
run_bias (gpointer data)
{
  buf_lock_owner_register ();
  g_assert_true (buf_biased_lock_try (data));
  buf_biased_lock_unlock (data);
  g_assert_true (is_biased (data));
  return buf_lock_owner_self;
}

static void
test_thread_ends (void)
{
  gpointer owner, other;
  BufBiasedLock lock;

  g_test_summary (
      "The lock of a thread that has ended can be revoked, and the next thread owns it");

  if (!can_bias ())
    return;
  init_open (&lock);
  owner = g_thread_join (g_thread_new ("owner", run_bias, &lock));
  g_assert_true (atomic_load (&lock.state) == (guintptr) owner);

  /* This thread gets the record of the one that has ended. */
  other = g_thread_join (g_thread_new ("next", run_bias, &lock));
  g_assert_true (other == owner);

  g_assert_false (buf_biased_lock_try (&lock));
  g_assert_true (buf_biased_lock_revoke (&lock));
  g_assert_true (buf_biased_lock_try (&lock));
  buf_biased_lock_unlock (&lock);
}

/* Returns how many uses in a row bias the lock. */
static guint
count_uses (BufBiasedLock *lock)
{
  guint n = 0;

  while (!is_biased (lock))
    {
      g_assert_true (buf_biased_lock_try (lock));
      buf_biased_lock_unlock (lock);
      n++;
    }
  return n;
}

/* A subprocess that skips its test has not passed, so this process skips it. */
static void
run_in_subprocess (void)
{
  if (!can_bias ())
    return;
  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
  g_test_trap_assert_passed ();
}

static void
test_patience (void)
{
  BufBiasedLock lock;
  guint before = 0;

  g_test_summary ("Each revocation doubles the uses that the next bias needs, up to a limit");

  if (g_test_subprocess ())
    {
      g_unsetenv ("BUFPOOL_BIAS");
      if (!can_bias ())
        return;
      init_open (&lock);
      for (guint i = 0; i < 20; i++)
        {
          guint n = count_uses (&lock);

          g_assert_cmpuint (n, ==, i == 0 ? n : MIN (2 * before, 32768));
          g_assert_cmpuint (n, >, 1);
          g_assert_true (buf_biased_lock_revoke (&lock));
          before = n;
        }
      g_assert_cmpuint (before, ==, 32768);
      return;
    }

  run_in_subprocess ();
}

static void
test_shared (void)
{
  BufBiasedLock lock;

  g_test_summary ("A lock that two threads use in turn is not biased");

  if (g_test_subprocess ())
    {
      g_unsetenv ("BUFPOOL_BIAS");
      if (!can_bias ())
        return;
      init_open (&lock);
      for (guint i = 0; i < 300; i++)
        {
          g_assert_true (buf_biased_lock_try (&lock));
          buf_biased_lock_unlock (&lock);
          lock.user++; /* as another thread would leave it */
          g_assert_false (is_biased (&lock));
        }
      return;
    }

  run_in_subprocess ();
}

#ifdef HAVE_SECCOMP

/* Lets membarrier() fail in this thread, and in those that it starts. */
static void
forbid_membarrier (void)
{
  struct sock_filter instructions[] = {
    BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr)),
    BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, __NR_membarrier, 0, 1),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = { .len = G_N_ELEMENTS (instructions), .filter = instructions };

  g_assert_cmpint (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
  g_assert_cmpint (prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==, 0);
}

static void
test_forbidden (void)
{
  BufBiasedLock lock, other;

  g_test_summary ("If a program forbids membarrier() after it has started, locks can be revoked, "
                  "and are not biased anymore");

  if (g_test_subprocess ())
    {
      if (!can_bias ())
        return;
      init_biased (&lock);
      init_open (&other);
      forbid_membarrier ();
      g_assert_true (in_thread (run_revoke, &lock));
      g_assert_true (buf_biased_lock_try (&other));
      buf_biased_lock_unlock (&other);
      g_assert_false (is_biased (&other));
      return;
    }

  run_in_subprocess ();
}

#endif

static void
test_never (void)
{
  BufBiasedLock lock;

  g_test_summary ("With BUFPOOL_BIAS=never, no lock is biased");

  if (g_test_subprocess ())
    {
      g_setenv ("BUFPOOL_BIAS", "never", TRUE);
      buf_biased_lock_choose ();
      buf_lock_owner_register ();
      g_assert_null (buf_lock_owner_self);
      init_open (&lock);
      for (guint i = 0; i < 1000; i++)
        {
          g_assert_true (buf_biased_lock_try_quickly (&lock, NULL));
          g_assert_false (buf_biased_lock_try (&lock));
          buf_biased_lock_unlock_quickly (&lock, NULL);
        }
      g_assert_false (is_biased (&lock));
      return;
    }

  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
  g_test_trap_assert_passed ();
}

int
main (int argc, char **argv)
{
  g_setenv ("BUFPOOL_BIAS", "always", TRUE);
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/biased-lock/held", test_held);
  g_test_add_func ("/biased-lock/revoked", test_revoked);
  g_test_add_func ("/biased-lock/owner-inside", test_owner_inside);
  g_test_add_func ("/biased-lock/during-revocation", test_during_revocation);
  g_test_add_func ("/biased-lock/during-enter", test_during_enter);
  g_test_add_func ("/biased-lock/thread-ends", test_thread_ends);
  g_test_add_func ("/biased-lock/patience", test_patience);
  g_test_add_func ("/biased-lock/shared", test_shared);
  g_test_add_func ("/biased-lock/never", test_never);
#ifdef HAVE_SECCOMP
  g_test_add_func ("/biased-lock/forbidden", test_forbidden);
#endif

  return g_test_run ();
}
