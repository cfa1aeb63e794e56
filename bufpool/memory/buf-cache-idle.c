/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-memory-private.h"

/*
 * Idle blocks: what the cache does while it is closed, see buf-semaphore-idle.c.
 *
 * The depot of a closed cache is *idle*: the bytes of its blocks are free. A release puts its block
 * there, and a request that takes its bytes from the free bytes gets a block of its size from
 * there. When the cache opens again, the bytes of the blocks are counted as in use, as those of all
 * cached blocks, and the depot continues with them.
 *
 * So a saturated pool, whose cache is closed most of the time, does not return each block to the
 * system and allocate it again. That is expensive for large blocks: their pages have to be mapped
 * and cleared.
 */

static gboolean
keep_locked (BufMemory *memory, BufPoolAllocation *block, guint n_buffers, gint64 bytes)
{
  BufDepot *depot = &memory->control.depot;

  if (memory->semaphore.keeps || !memory->control.depot_is_idle ||
      !buf_semaphore_may_idle_locked (&memory->semaphore))
    return FALSE;

  if (depot->n_blocks == 0)
    buf_cache_limit_idle_locked (memory);
  buf_block_set_next (block, NULL);
  return buf_depot_put_locked (depot, n_buffers, block, 1, bytes) ||
         buf_depot_put_alone_locked (depot, n_buffers, block, bytes);
}

/* Releases the bytes of a block that nothing holds anymore, and holds on to the block, if that is
 * allowed. If the bytes were @pinned, they no longer are. After TRUE, the memory may be gone. */
gboolean
buf_cache_put_idle (BufMemory *memory,
                    BufPoolAllocation *block,
                    guint n_buffers,
                    gint64 bytes,
                    gboolean pinned)
{
  BufSemaphore *semaphore = &memory->semaphore;

  if (memory->hides)
    buf_block_hide (memory, block, bytes);
  g_mutex_lock (&semaphore->tree->mutex);
  if (!keep_locked (memory, block, n_buffers, bytes))
    {
      g_mutex_unlock (&semaphore->tree->mutex);
      return FALSE;
    }

  if (pinned)
    semaphore->level.pinned -= bytes;
  buf_semaphore_release_idle_and_unlock (semaphore, bytes);
  return TRUE;
}

/* Moves idle blocks into @haul until it has @bytes, or all. Their bytes are in use from then on,
 * until the caller has freed the blocks. */
void
buf_cache_evict_idle_locked (BufMemory *memory, gint64 bytes, BufHaul *haul)
{
  gint64 before = haul->bytes, n_before = haul->n_blocks;

  buf_depot_evict_locked (&memory->control.depot,
                          bytes,
                          buf_memory_get_block_bytes (memory, 1),
                          haul);
  buf_cache_take_idle_bytes_locked (memory, haul->bytes - before, haul->n_blocks - n_before);
  buf_cache_note_returning_locked (memory, haul, before, n_before);
}

/* Takes out blocks of at least @bytes, which have a new owner. As the new owner has all bytes of
 * what is set aside, a block that has more bytes than are left is freed under the mutex. */
static void
make_room_locked (BufMemory *memory, gint64 bytes)
{
  BufCacheControl *control = &memory->control;
  gint64 buffer_size = buf_memory_get_block_bytes (memory, 1);
  gint64 enough = control->set_aside.bytes + bytes;
  BufHaul haul;

  buf_depot_evict_at_most_locked (&control->depot, bytes, buffer_size, &control->set_aside);
  memory->semaphore.set_aside = control->set_aside.n_blocks > 0;
  if (control->set_aside.bytes == enough)
    return;

  buf_haul_init (&haul);
  buf_depot_evict_locked (&control->depot, 1, buffer_size, &haul);
  buf_cache_free_haul (memory, &haul);
}

/* A request has taken its bytes from the free bytes. */
void
buf_cache_claim_locked (BufSemaphore *semaphore, BufWant *want)
{
  BufMemory *memory = buf_memory_get_for_semaphore (semaphore);
  BufDepot *depot = &memory->control.depot;
  guint n_buffers = want->taken / (gint64) memory->buffer_size;

  want->idle = buf_depot_take_one_locked (depot, n_buffers, want->taken);
  memory->control.n_reused += want->idle != NULL;
  if (depot->bytes > semaphore->level.free)
    make_room_locked (memory, depot->bytes - semaphore->level.free);
  semaphore->level.idle = depot->bytes;
}

/* The bytes of what is set aside belong to requests that were granted in this section. They keep
 * the BufMemory alive. */
void
buf_cache_unlock_and_free (BufSemaphore *semaphore)
{
  BufMemory *memory = buf_memory_get_for_semaphore (semaphore);
  BufHaul haul = memory->control.set_aside;

  buf_haul_init (&memory->control.set_aside);
  semaphore->set_aside = FALSE;
  g_mutex_unlock (&semaphore->tree->mutex);
  buf_cache_free_haul (memory, &haul);
}
