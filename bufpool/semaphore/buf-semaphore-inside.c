/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * Who is inside of a budget.
 *
 * Whoever has bytes out keeps the budget, since its end waits for them. A thread that waits, or has
 * been refused and still has to say so, has none. It is counted between entering and leaving, and
 * the end of the budget waits for the last one to leave. A request that goes on to wait enters in
 * the same section in which it was refused, see buf_semaphore_acquire().
 */

void
buf_semaphore_enter (BufSemaphore *self)
{
  g_mutex_lock (&self->mutex);
  self->n_inside++;
  g_mutex_unlock (&self->mutex);
}

void
buf_semaphore_leave_locked (BufSemaphore *self)
{
  if (--self->n_inside == 0 && self->awaits_leavers)
    g_cond_broadcast (&self->nobody_inside);
}

void
buf_semaphore_leave (BufSemaphore *self)
{
  g_mutex_lock (&self->mutex);
  buf_semaphore_leave_locked (self);
  g_mutex_unlock (&self->mutex);
}

void
buf_semaphore_wait_for_leavers (BufSemaphore *self)
{
  g_mutex_lock (&self->mutex);
  self->awaits_leavers = TRUE;
  while (self->n_inside > 0)
    g_cond_wait (&self->nobody_inside, &self->mutex);
  g_mutex_unlock (&self->mutex);
}
