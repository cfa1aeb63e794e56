/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#ifdef HAVE_MALLOC_TRIM
#include <malloc.h>
#endif

#include "pool/buf-pool-private.h"

/*
 * Returning cached memory to the system.
 */

/* No memory is freed while it is entered. */
static void
collect_memory (BufMemory *memory, gpointer data)
{
  if (buf_semaphore_enter_if_open (&memory->semaphore))
    g_ptr_array_add (data, memory);
}

/* Frees the cached blocks of all pools, and lets the C library return free memory to the system.
 * Returns the number of bytes of the blocks that were freed. */
static gint64
trim_all (void)
{
  g_autoptr (GPtrArray) memories = g_ptr_array_new ();
  gint64 freed = 0;

  buf_memory_for_each (collect_memory, memories);
  for (guint i = 0; i < memories->len; i++)
    {
      BufMemory *memory = memories->pdata[i];

      freed += buf_memory_trim (memory, 0);
      buf_semaphore_leave (&memory->semaphore);
    }
#ifdef HAVE_MALLOC_TRIM
  malloc_trim (0);
#endif
  return freed;
}

/**
 * buf_pool_trim:
 * @self: a pool
 * @target: the size of the cached blocks to keep, in bytes
 *
 * Frees cached blocks until at most @target bytes of them remain. The pool continues to cache
 * blocks that are freed later, see [property@Pool:max-cached-memory].
 *
 * This function can be called from any thread.
 *
 * Returns: the number of bytes that were freed
 *
 * Since: 1.0
 */
gsize
buf_pool_trim (BufPool *self, gsize target)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  /* A pool cannot have more than that. */
  if (target > (gsize) G_MAXSSIZE)
    return 0;

  return buf_memory_trim (self->memory, (gint64) target);
}

/**
 * buf_pool_trim_all:
 *
 * Frees the cached blocks of all pools in the process, and lets the C library return free memory to
 * the system, if it can. Call this function when memory is low, for example in a handler of
 * [signal@Gio.MemoryMonitor::low-memory-warning].
 *
 * This function can be called from any thread.
 *
 * Returns: the number of bytes of the blocks that were freed
 *
 * Since: 1.0
 */
gsize
buf_pool_trim_all (void)
{
  return trim_all ();
}
