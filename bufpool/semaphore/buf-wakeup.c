/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-wakeup-private.h"

/*
 * How a thread sleeps until another thread has something for it.
 *
 * A woken thread locks the lock first. If it were signaled under the lock, it would block on it,
 * sleep again, and have to be woken again; on one processor, nearly every time. So a section
 * collects the threads to signal under the lock, and signals them after it has unlocked it.
 *
 * No wake-up is lost. The thread checks its condition under the lock, and g_cond_wait() unlocks the
 * lock and begins to sleep in one step. So a change happens either before the thread has checked,
 * or while it sleeps; and the signal comes after the change.
 *
 * A sleep is signaled once, because a thread that is waking up checks everything anyway. But the
 * signaling thread may be preempted before it signals, by a thread that waits for the lock, and may
 * not run again for a long time. So the watcher signals a thread again if it does not come.
 *
 * A signal may come late, after its thread has continued for another reason, such as its deadline.
 * The signaling thread has a reference, so the memory still exists. If the thread has gone back to
 * sleep in the same wait, the signal may wake it up spuriously. It then checks, and sleeps again.
 */

#define LONGEST_SLEEP ((gint64) 24 * 60 * 60 * G_USEC_PER_SEC)

BufWakeup *
buf_wakeup_new (void)
{
  BufWakeup *self = g_new (BufWakeup, 1);

  self->ref_count = 1;
  self->asleep = FALSE;
  g_cond_init (&self->cond);
  return self;
}

void
buf_wakeup_unref (BufWakeup *self)
{
  if (!g_atomic_int_dec_and_test (&self->ref_count))
    return;

  g_cond_clear (&self->cond);
  g_free (self);
}

/* Like g_cond_wait_until(), but also for distant deadlines, which g_cond_wait_until() may mistake
 * for the past where time_t has 32 bits. May return TRUE spuriously. */
gboolean
buf_wakeup_wait_until (GCond *cond, GMutex *mutex, gint64 deadline)
{
  const gint64 latest = g_get_monotonic_time () + LONGEST_SLEEP;

  if (deadline <= latest)
    return g_cond_wait_until (cond, mutex, deadline);

  g_cond_wait_until (cond, mutex, latest);
  return TRUE;
}

/* Returns FALSE when the deadline has passed. @deadline is in monotonic microseconds; negative for
 * none. May return spuriously. */
gboolean
buf_wakeup_sleep_locked (BufWakeup *self, GMutex *mutex, gint64 deadline)
{
  gboolean in_time = TRUE;

  self->asleep = TRUE;
  if (deadline >= 0)
    in_time = buf_wakeup_wait_until (&self->cond, mutex, deadline);
  else
    g_cond_wait (&self->cond, mutex);
  self->asleep = FALSE;
  return in_time;
}

void
buf_wakeups_add_locked (BufWakeups *self, BufWakeup *wakeup)
{
  if (!wakeup->asleep)
    return;

  wakeup->asleep = FALSE;
  if (self->n == BUF_WAKEUPS_MAX)
    {
      g_cond_signal (&wakeup->cond);
      return;
    }

  g_atomic_int_inc (&wakeup->ref_count);
  self->items[self->n++] = wakeup;
}

/* Signals a thread that should have been signaled before, but possibly was not. */
void
buf_wakeups_add_again_locked (BufWakeups *self, BufWakeup *wakeup)
{
  wakeup->asleep = TRUE;
  buf_wakeups_add_locked (self, wakeup);
}

/* Called without the lock. */
void
buf_wakeups_signal_all (BufWakeups *self)
{
  for (guint i = 0; i < self->n; i++)
    {
      g_cond_signal (&self->items[i]->cond);
      buf_wakeup_unref (self->items[i]);
    }
}
