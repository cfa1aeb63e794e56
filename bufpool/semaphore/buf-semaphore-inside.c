/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * The users of a semaphore, and its end.
 *
 * Two things keep a semaphore alive: bytes in use, and threads that are *inside*. A thread that
 * waits, or has been refused and still has to report it, holds no bytes. So it is counted between
 * entering and leaving. A request that is going to wait enters in the section that refused it, see
 * buf_semaphore_acquire().
 *
 * The owner of the semaphore *abandons* it, and does not use it afterwards. The semaphore is *over*
 * when nothing is in use and no thread is inside. The thread whose section makes this true calls
 * @end after it has unlocked the mutex. It is the owner itself, or the last user.
 *
 * That happens exactly once. An abandoned semaphore is closed, so its stripes stay revoked, and
 * every release takes the mutex. From then on, "in use" and "inside" only decrease, because nothing
 * is granted anymore, and only a thread that is inside or has bytes can come here. The watcher is
 * neither, but does not change them. The first thread that sees that the semaphore is over clears
 * @abandoned.
 *
 * Nothing is accessed too late. A thread that calls @end has locked the mutex after all other users
 * unlocked it, and buf_semaphore_clear() waits for the watcher. After that, a thread in
 * g_mutex_unlock() can only be in a system call that wakes up no thread.
 */

void
buf_semaphore_enter (BufSemaphore *self)
{
  g_mutex_lock (&self->tree->mutex);
  self->n_inside++;
  g_mutex_unlock (&self->tree->mutex);
}

/* For a thread that does not know whether the owner still uses the semaphore. Returns FALSE if it
 * is closed. */
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

/* The owner has set all constant fields. From now on, buf_semaphore_enter_next() finds it. */
void
buf_semaphore_join_reports (BufSemaphore *self)
{
  g_mutex_lock (&self->tree->mutex);
  self->member_link.data = self;
  g_queue_push_tail_link (&self->tree->members, &self->member_link);
  g_mutex_unlock (&self->tree->mutex);
}

/* Bytes in use keep the semaphore alive, and so does an owner that has not closed it. */
static gboolean
is_alive_locked (const BufSemaphore *self)
{
  return !self->level.closed || self->level.free < self->level.maximum;
}

/* Goes through the semaphores at @top or below it, each after its parent, and enters them one by
 * one. Leaves out those that may be over: they have nothing in use. The caller has entered @top and
 * @previous, which is the last result, or NULL to begin. Returns NULL at the end. */
BufSemaphore *
buf_semaphore_enter_next (BufSemaphore *top, BufSemaphore *previous)
{
  BufSemaphore *next = NULL;
  GList *link;

  g_mutex_lock (&top->tree->mutex);
  link = previous != NULL ? previous->member_link.next : &top->member_link;
  for (; link != NULL && next == NULL; link = link->next)
    if (buf_semaphore_is_below (link->data, top) && is_alive_locked (link->data))
      next = link->data;
  if (next != NULL)
    next->n_inside++;
  g_mutex_unlock (&top->tree->mutex);
  return next;
}

/* Returns whether the semaphore is over. If so, the caller has to call @end without the lock. */
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

/* On return, the semaphore may be gone. */
void
buf_semaphore_leave (BufSemaphore *self)
{
  g_mutex_lock (&self->tree->mutex);
  self->n_inside--;
  unlock_and_end (self);
}

/* On return, the semaphore may be gone. The owner has closed it. */
void
buf_semaphore_abandon (BufSemaphore *self)
{
  g_mutex_lock (&self->tree->mutex);
  g_assert (self->level.closed && self->level.revoked);
  self->abandoned = TRUE;
  unlock_and_end (self);
}
