/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <unistd.h>

#include "budget/buf-watch-report-private.h"
#include "memory/buf-memory-private.h"

/*
 * The state that a pool shares with its allocations, and how it ends.
 *
 * A BufPool has a BufMemory, and each allocation points to the BufMemory, not to the pool. So an
 * allocation needs no reference on the GObject, and its end runs no foreign code: no dispose and no
 * weak notifies. It may end in any thread, under any lock of the program.
 *
 * A BufMemory has no reference count, because the semaphore already knows its users: it counts the
 * bytes in use and the threads that are inside. The pool abandons the BufMemory when it is
 * finalized. If it is unused by then, it is freed immediately. Otherwise, the last user frees it:
 * the function that released the last bytes, or the last thread that left. For why there is exactly
 * one such user, and why nothing accesses the memory afterwards, see buf-semaphore-inside.c.
 */

static GMutex all_memories_mutex;
static GQueue all_memories; /* LOCK: all_memories_mutex */

/* The sizes and the name have not been set yet. */
BufMemory *
buf_memory_new (gpointer owner)
{
  BufMemory *self = g_aligned_alloc0 (1, sizeof *self, BUF_CACHE_LINE);

  G_STATIC_ASSERT (G_STRUCT_OFFSET (BufMemory, semaphore.padding) <= BUF_CACHE_LINE);

  self->link.data = self;
  atomic_init (&self->owner, owner);
  return self;
}

static void
end_memory (BufSemaphore *semaphore)
{
  BufMemory *self = buf_memory_get_for_semaphore (semaphore);

  g_mutex_lock (&all_memories_mutex);
  g_queue_unlink (&all_memories, &self->link);
  g_mutex_unlock (&all_memories_mutex);

  /* From here on, nothing asks the cache. */
  buf_semaphore_remove_keeper (&self->semaphore);
  buf_cache_clear (self);
  buf_semaphore_clear (&self->semaphore);
  buf_debug_ledger_free (self->ledger);
  g_free (self->name);
  g_aligned_free (self);
}

/* With a ledger, nothing is cached, so that uses of freed memory are detected. */
void
buf_memory_append_outstanding (BufMemory *self, GString *description)
{
  if (self->ledger != NULL && self->ledger->flags & BUF_DEBUG_LEAKS)
    buf_debug_ledger_describe (self->ledger, description);
  else
    buf_debug_append_hint (description);
}

static void
append_outstanding_of (BufSemaphore *semaphore, GString *description)
{
  buf_memory_append_outstanding (buf_memory_get_for_semaphore (semaphore), description);
}

static void
begin_cache (BufMemory *self, guint n_processors, gint64 max_cached, gboolean enabled)
{
  buf_cache_init (self, n_processors, !enabled);
  buf_semaphore_set_keeper (&self->semaphore, &buf_cache_keeper);
  g_mutex_lock (&self->semaphore.tree->mutex);
  buf_cache_set_limit_locked (self, max_cached);
  if (buf_semaphore_may_keep_locked (&self->semaphore))
    buf_cache_open_locked (self);
  g_mutex_unlock (&self->semaphore.tree->mutex);
}

/* If @valid is FALSE, it grants nothing. @parent may be NULL. */
void
buf_memory_begin (BufMemory *self,
                  BufSemaphore *parent,
                  gint64 maximum,
                  gint64 max_cached,
                  gboolean valid)
{
  guint n_processors = g_get_num_processors ();

  self->unit = (gint64) MIN (self->buffer_size, BUF_STRIPE_MAX_CREDIT + 1);
  if (buf_debug_get_flags () & BUF_DEBUG_NEEDS_LEDGER)
    self->ledger = buf_debug_ledger_new ();
  self->hides = buf_block_is_checked ();
  self->unusual = self->ledger != NULL || self->zero_fill || self->hides ||
                  self->alignment > BUF_NATURAL_ALIGNMENT ||
                  self->buffer_size > BUF_ALLOCATION_MAX_SIZE / BUF_POOL_MAX_BUFFERS;
  self->n_large = buf_block_get_n_large (self, valid && self->ledger == NULL && max_cached != 0);
  buf_semaphore_init (&self->semaphore,
                      parent,
                      maximum,
                      valid ? (gint64) self->buffer_size : 1,
                      n_processors);
  self->semaphore.kind = "pool";
  self->semaphore.name = self->name;
  self->semaphore.end = end_memory;
  self->trace_counter = buf_trace_add_counter (self->name);
  self->semaphore.is_traced = self->trace_counter != 0;
  self->semaphore.append_outstanding = append_outstanding_of;
  buf_watch_report_begin (&self->semaphore);
  if (!valid)
    buf_semaphore_close (&self->semaphore);
  begin_cache (self, n_processors, max_cached, valid && self->ledger == NULL);

  self->process = getpid ();
  g_mutex_lock (&all_memories_mutex);
  g_queue_push_tail_link (&all_memories, &self->link);
  g_mutex_unlock (&all_memories_mutex);
}

/* The pool is gone, and has closed the semaphore before. */
void
buf_memory_abandon (BufMemory *self)
{
  atomic_store (&self->owner, NULL);
  buf_semaphore_abandon (&self->semaphore);
}

/* At most once per millisecond, because it locks the mutex. */
void
buf_memory_trace_change (BufMemory *self, gint64 change)
{
  gint64 now = g_get_monotonic_time ();
  BufSemaphoreFigures figures;

  if (now - atomic_load_explicit (&self->traced, memory_order_relaxed) < 1000)
    return;

  atomic_store_explicit (&self->traced, now, memory_order_relaxed);
  buf_semaphore_get_figures (&self->semaphore, &figures, NULL);
  buf_trace_set_counter (self->trace_counter, figures.allocated + change);
}

/* No memory ends while @function looks at it. */
void
buf_memory_for_each (void (*function) (BufMemory *memory, gpointer data), gpointer data)
{
  g_mutex_lock (&all_memories_mutex);
  for (GList *link = all_memories.head; link != NULL; link = link->next)
    function (link->data, data);
  g_mutex_unlock (&all_memories_mutex);
}
