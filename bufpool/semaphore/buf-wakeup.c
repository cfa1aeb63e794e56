/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-wakeup-private.h"

/*
 * How a thread sleeps until another one has something for it.
 *
 * A thread that is woken wants the lock first of all. If it were signalled under the lock, it would
 * run into it, sleep once more, and have to be woken once more; on one processor nearly each time.
 * So what has to be signalled is collected under the lock, and signalled after it was dropped.
 *
 * Nothing is lost by that. The thread looks at what it waits for under the lock, and g_cond_wait()
 * drops the lock and begins to sleep in one step. So a change is made either before the thread has
 * looked, or when it sleeps already; and the signal comes after the change.
 *
 * A sleep is signalled once: a thread that is on its way looks at everything anyway. But the one
 * that has to signal may be interrupted before it does, by a thread that waits for the lock, and
 * not run again for long. So a thread that does not come is signalled again, by the watcher.
 *
 * A signal may come late, when its thread has gone on for another reason, such as its deadline. The
 * one who signals has a reference, so the memory is still there. A thread that has meanwhile gone
 * to sleep again, in the same wait, may be woken by it for nothing; it looks, and sleeps on.
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

/* Like g_cond_wait_until(), and for deadlines that are far away, too: where a time_t has 32 bits,
 * that one may take them for the past. May return TRUE for no reason. */
gboolean
buf_wakeup_wait_until (GCond *cond, GMutex *mutex, gint64 deadline)
{
  const gint64 latest = g_get_monotonic_time () + LONGEST_SLEEP;

  if (deadline <= latest)
    return g_cond_wait_until (cond, mutex, deadline);

  g_cond_wait_until (cond, mutex, latest);
  return TRUE;
}

/* Returns FALSE when the deadline has passed (monotonic microseconds, negative: none). May return
 * for no reason. */
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

/* The same for a thread that was to be signalled before, and may not have been. */
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
