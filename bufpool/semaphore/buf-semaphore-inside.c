/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * Who uses a semaphore, and its end.
 *
 * Two things keep a semaphore: bytes that are in use, and threads that are *inside*. A thread that
 * waits, or was refused and still has to report it, holds no bytes, so it is counted between
 * entering and leaving. A request that goes on to wait enters in the section in which it was
 * refused, see buf_semaphore_acquire().
 *
 * The owner of the semaphore *abandons* it, and then does not use it any more. The semaphore is
 * *over* when nothing is in use and nobody is inside. The thread in whose section that becomes true
 * calls @end after it has unlocked the mutex: the owner itself, or the last user.
 *
 * That happens exactly once. An abandoned semaphore is closed, so its stripes are revoked for good,
 * and every release comes to the mutex. From then on "in use" and "inside" only decrease, since
 * nothing is granted any more, and only a thread that is inside, or has bytes, can come here. The
 * watcher has neither, but does not change them; and @abandoned is cleared by the first that sees
 * that the semaphore is over.
 *
 * Nothing is touched too late: whoever calls @end has locked the mutex after all other users had
 * unlocked it, and buf_semaphore_clear() waits for the watcher. What a thread does in
 * g_mutex_unlock() after that is a system call that wakes up nobody.
 */

void
buf_semaphore_enter (BufSemaphore *self)
{
  g_mutex_lock (&self->tree->mutex);
  self->n_inside++;
  g_mutex_unlock (&self->tree->mutex);
}

/* For a thread that does not know whether the owner still uses it. Returns FALSE if it is closed.
 */
gboolean
buf_semaphore_enter_if_open (BufSemaphore *self)
{
  gboolean open;

  g_mutex_lock (&self->tree->mutex);
  open = !self->level.closed;
  self->n_inside += open ? 1 : 0;
  g_mutex_unlock (&self->tree->mutex);
  return open;
}

/* Whether the semaphore is over: then the caller has to call @end, without the lock. */
gboolean
buf_semaphore_ends_locked (BufSemaphore *self)
{
  if (G_LIKELY (!self->abandoned) || self->n_inside > 0 || self->level.free < self->level.maximum)
    return FALSE;

  self->abandoned = FALSE;
  return TRUE;
}

static void
unlock_and_end (BufSemaphore *self)
{
  gboolean ends = buf_semaphore_ends_locked (self);

  g_mutex_unlock (&self->tree->mutex);
  if (ends)
    self->end (self);
}

/* After this the semaphore may be gone. */
void
buf_semaphore_leave (BufSemaphore *self)
{
  g_mutex_lock (&self->tree->mutex);
  self->n_inside--;
  unlock_and_end (self);
}

/* Likewise. The owner has closed it. */
void
buf_semaphore_abandon (BufSemaphore *self)
{
  g_mutex_lock (&self->tree->mutex);
  g_assert (self->level.closed && self->level.revoked);
  self->abandoned = TRUE;
  unlock_and_end (self);
}
