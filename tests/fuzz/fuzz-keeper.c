/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz-player.h"

/*
 * A cache whose threads pause after they enter the queue and before they empty the cache. Without
 * the pause, a thread would have to be preempted there.
 */

#define PAUSE 150 /* microseconds; enough for a few steps */

static BufSemaphoreKeeper hesitant;

static gboolean
reclaim_after_pause (BufSemaphore *semaphore, gboolean complete)
{
  g_usleep (PAUSE);
  return buf_cache_keeper.reclaim (semaphore, complete);
}

void
fuzz_keeper_hesitate (BufPool *pool)
{
  BufSemaphore *semaphore = &pool->memory->semaphore;

  hesitant = buf_cache_keeper;
  hesitant.reclaim = reclaim_after_pause;
  g_mutex_lock (&semaphore->tree->mutex);
  if (semaphore->keeper != NULL)
    semaphore->keeper = &hesitant;
  g_mutex_unlock (&semaphore->tree->mutex);
}
