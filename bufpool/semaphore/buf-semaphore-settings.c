/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * Settings that can change while a semaphore is in use.
 */

/* Returns whether the maximum has changed. */
gboolean
buf_semaphore_set_maximum (BufSemaphore *self, gint64 maximum)
{
  gboolean changed;

  g_assert (maximum >= 0);

  g_mutex_lock (&self->tree->mutex);
  changed = maximum != self->level.maximum;
  if (changed)
    {
      /* Kept bytes may exceed what a lower maximum leaves. */
      buf_semaphore_reclaim_locked (self);
      buf_semaphore_revoke_locked (self);
      buf_wait_queue_set_maximum_locked (&self->level, maximum);
      buf_semaphore_set_geometry_locked (self);
    }
  buf_semaphore_serve_and_unlock (self);
  return changed;
}

/* Returns whether the reserve has changed. */
gboolean
buf_semaphore_set_reserved (BufSemaphore *self, gint64 reserved)
{
  gboolean changed;

  g_assert (reserved >= 0);

  /* The watcher empties the keepers when the reserve is used, even if no request has waited yet. */
  if (reserved > 0)
    buf_watcher_start ();

  g_mutex_lock (&self->tree->mutex);
  changed = reserved != self->level.reserved;
  if (changed)
    {
      /* Kept bytes may be part of the reserve. */
      buf_semaphore_reclaim_locked (self);
      buf_semaphore_revoke_locked (self);
      buf_wait_queue_set_reserved_locked (&self->level, reserved);
    }
  buf_semaphore_serve_and_unlock (self);
  return changed;
}

/* Requests that are already waiting continue to wait. */
gboolean
buf_semaphore_set_max_waiting (BufSemaphore *self, gint max_waiting)
{
  gboolean changed;

  g_mutex_lock (&self->tree->mutex);
  changed = max_waiting != self->level.max_waiting;
  self->level.max_waiting = max_waiting;
  g_mutex_unlock (&self->tree->mutex);
  return changed;
}

gint
buf_semaphore_get_max_waiting (BufSemaphore *self)
{
  gint max_waiting;

  g_mutex_lock (&self->tree->mutex);
  max_waiting = self->level.max_waiting;
  g_mutex_unlock (&self->tree->mutex);
  return max_waiting;
}
