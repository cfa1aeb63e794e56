/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#ifdef HAVE_MALLOC_TRIM
#include <malloc.h>
#endif

#include "pool/buf-pool-private.h"

/*
 * Giving memory that the pools keep back to the system.
 */

/* No memory ends while it is entered. */
static void
collect_memory (BufMemory *memory, gpointer data)
{
  if (buf_semaphore_enter_if_open (&memory->semaphore))
    g_ptr_array_add (data, memory);
}

/* Frees the cached blocks of all pools, and asks the C library to give free memory back to the
 * system. Returns how many bytes of blocks were freed. */
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
 * @target: how many bytes of free blocks the pool may keep
 *
 * Frees blocks that the pool keeps, until there are at most @target bytes of them. The pool goes on
 * to keep blocks that are dropped after this, see [property@Pool:max-cached-memory].
 *
 * This function can be called from any thread.
 *
 * Returns: how many bytes were freed
 *
 * Since: 1.0
 */
gsize
buf_pool_trim (BufPool *self, gsize target)
{
  g_return_val_if_fail (BUF_IS_POOL (self), 0);

  /* No pool can have more than that. */
  if (target > (gsize) G_MAXSSIZE)
    return 0;

  return buf_memory_trim (self->memory, (gint64) target);
}

/**
 * buf_pool_trim_all:
 *
 * Frees all blocks that the pools of the program keep, and asks the C library to return its free
 * memory to the system, if it can. A program calls this when memory is short, as in a handler of
 * [signal@Gio.MemoryMonitor::low-memory-warning].
 *
 * This function can be called from any thread.
 *
 * Returns: how many bytes of blocks were freed
 *
 * Since: 1.0
 */
gsize
buf_pool_trim_all (void)
{
  return trim_all ();
}
