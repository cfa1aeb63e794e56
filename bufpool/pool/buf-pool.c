/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "debug/buf-words-private.h"
#include "buf-pool-error.h"
#include "pool/buf-pool-private.h"

/*
 * The end of a pool.
 *
 * The pool outlives its plain allocations: dispose closes the pool and waits until none is
 * outstanding, unless the thread is dropping a reference of the library, see buf-pool-instance.c.
 * It does not wait for pinned allocations, nor for threads that are inside. These keep the
 * BufMemory alive, which finalize abandons.
 */

/**
 * BufPool:
 *
 * A buffer pool with a strict memory limit.
 *
 * You choose the size of a buffer, and the maximum size of all buffers together. The program can
 * then never hold more, no matter how fast its producers are: when the limit is reached, requests
 * wait until other threads free memory.
 *
 * ```c
 * #include <bufpool/bufpool.h>
 * #include <string.h>
 *
 * int
 * main (void)
 * {
 *   g_autoptr (GError) error = NULL;
 *   g_autoptr (BufPool) pool = buf_pool_new (BUF_BUFFER_SIZE_S4096, 1024 * 1024, &error);
 *   g_autoptr (BufPoolAllocation) allocation = NULL;
 *
 *   if (pool == NULL)
 *     g_error ("%s", error->message);
 *
 *   allocation = buf_pool_allocate (pool, 4, NULL, &error);
 *   if (allocation == NULL)
 *     g_error ("%s", error->message);
 *
 *   memset (buf_pool_allocation_get_first (allocation), 0x55,
 *           buf_pool_allocation_get_allocated_bytes (allocation));
 *   return 0;
 * }
 * ```
 *
 * The memory comes from the allocator of the C library, and that of blocks of 128 KiB or more from
 * mmap(), if the system has it and the pool caches blocks. When you drop the last reference to a
 * [struct@PoolAllocation], the pool caches the block for the next request of that size, or frees
 * it, see [property@Pool:max-cached-memory]. The limit counts the bytes of the buffers, not the few
 * bytes of bookkeeping for each allocation.
 *
 * When you drop the last reference to a pool, it closes, and then waits until all its allocations
 * are freed. In C, declare the pool before its allocations, so that g_autoptr() frees them in the
 * right order.
 *
 * The pool therefore never ends if an allocation would be freed only after the pool. This happens
 * in these cases:
 *
 * - The allocation is object data of the pool itself (g_object_set_data_full()): object data is
 *   freed when the pool is finalized.
 * - A class clears its pool in dispose and its allocation in finalize. Clear the allocation first,
 *   in the same function.
 * - The program calls g_object_run_dispose() on a pool in a thread whose main loop still has to
 *   deliver a granted request: nothing delivers the request while the thread waits. Drop your
 *   references instead, because a request holds a reference itself.
 *
 * All functions can be called from any thread.
 *
 * After fork(), the child process may call exec() or _exit(). It must not use or free an inherited
 * pool or allocation: the threads of the parent do not exist in the child, so a lock that one of
 * them held stays locked, and memory that one of them would have freed is never freed. The child of
 * a single-threaded program is the only exception: it may continue, with pools that it creates
 * itself. The library never does anything in a child on its own.
 *
 * Since: 1.0
 */

/* How long dispose waits before it logs a warning, in milliseconds. */
#define DEFAULT_DRAIN_WARNING 5000

static void buf_pool_initable_iface_init (GInitableIface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (BufPool,
                               buf_pool,
                               G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (G_TYPE_INITABLE,
                                                      buf_pool_initable_iface_init))

static gboolean
is_power_of_two (guint number)
{
  return number != 0 && (number & (number - 1)) == 0;
}

/* Returns whether the properties are valid together. */
static gboolean
check_config (BufMemory *memory, guint64 max_memory, GError **error)
{
  if (memory->buffer_size < 1 || memory->buffer_size > MIN (BUF_POOL_UNLIMITED, G_MAXSSIZE))
    g_set_error (error,
                 BUF_POOL_ERROR,
                 BUF_POOL_ERROR_INVALID_CONFIG,
                 "A buffer size of %" G_GUINT64_FORMAT
                 " bytes is not in the range from 1 to %" G_GUINT64_FORMAT,
                 memory->buffer_size,
                 (guint64) MIN (BUF_POOL_UNLIMITED, G_MAXSSIZE));
  else if (max_memory < memory->buffer_size)
    g_set_error (error,
                 BUF_POOL_ERROR,
                 BUF_POOL_ERROR_INVALID_CONFIG,
                 "A limit of %" G_GUINT64_FORMAT
                 " %s is too small for one buffer of %" G_GUINT64_FORMAT " %s",
                 max_memory,
                 buf_words_choose (max_memory, "byte", "bytes"),
                 memory->buffer_size,
                 buf_words_choose (memory->buffer_size, "byte", "bytes"));
  else if (memory->alignment != 0 && !is_power_of_two (memory->alignment))
    g_set_error (error,
                 BUF_POOL_ERROR,
                 BUF_POOL_ERROR_INVALID_CONFIG,
                 "An alignment of %u bytes is not a power of two",
                 memory->alignment);
  else if (memory->alignment != 0 && memory->buffer_size % memory->alignment != 0)
    g_set_error (error,
                 BUF_POOL_ERROR,
                 BUF_POOL_ERROR_INVALID_CONFIG,
                 "A buffer size of %" G_GUINT64_FORMAT
                 " %s is not a multiple of the alignment of %u bytes",
                 memory->buffer_size,
                 buf_words_choose (memory->buffer_size, "byte", "bytes"),
                 memory->alignment);
  else
    return TRUE;

  return FALSE;
}

static void
buf_pool_constructed (GObject *object)
{
  BufPool *self = BUF_POOL (object);
  gboolean valid = check_config (self->memory, self->max_memory, &self->config_error);

  G_OBJECT_CLASS (buf_pool_parent_class)->constructed (object);

  if (buf_debug_get_flags () & BUF_DEBUG_EXIT)
    buf_memory_describe_all_at_exit ();
  buf_memory_begin (self->memory,
                    self->budget != NULL ? buf_budget_get_semaphore (self->budget) : NULL,
                    (gint64) self->max_memory,
                    self->max_cached_memory,
                    valid);
  buf_semaphore_set_reserved (&self->memory->semaphore, (gint64) self->reserved_memory);
  buf_semaphore_set_max_waiting (&self->memory->semaphore, self->max_waiting);
}

static gboolean
buf_pool_initable_init (GInitable *initable, GCancellable *cancellable, GError **error)
{
  BufPool *self = BUF_POOL (initable);

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;
  if (self->config_error == NULL)
    return TRUE;

  g_propagate_error (error, g_error_copy (self->config_error));
  return FALSE;
}

static void
buf_pool_initable_iface_init (GInitableIface *iface)
{
  iface->init = buf_pool_initable_init;
}

static gboolean
wait_until_drained (BufMemory *memory, gint64 deadline, BufSemaphoreFigures *figures)
{
  BufWaiter waiter;
  BufOutcome outcome;

  buf_waiter_init (&waiter, 0, NULL);
  waiter.spares_pinned = TRUE;
  outcome = buf_semaphore_wait (&memory->semaphore, &waiter, deadline, figures);
  buf_waiter_clear (&waiter);
  return outcome == BUF_OUTCOME_GRANTED;
}

/* Called while plain allocations are outstanding. */
static void
wait_for_the_last (BufMemory *memory)
{
  guint64 warning = buf_debug_get_milliseconds ("BUFPOOL_DRAIN_WARNING", DEFAULT_DRAIN_WARNING);
  BufSemaphoreFigures figures;

  if (warning > 0 &&
      !wait_until_drained (memory, g_get_monotonic_time () + (gint64) warning * 1000, &figures))
    buf_pool_warn_of_drain (memory, warning, &figures);
  wait_until_drained (memory, -1, &figures);
}

/* Chaining up comes before the wait, because it runs the weak notifies, which may free
 * allocations. */
static void
buf_pool_dispose (GObject *object)
{
  BufPool *self = BUF_POOL (object);

  buf_pool_close (self);

  G_OBJECT_CLASS (buf_pool_parent_class)->dispose (object);

  if (buf_semaphore_has_plain (&self->memory->semaphore) && !buf_pool_leave_to_thread (self))
    wait_for_the_last (self->memory);
  buf_pool_keep_until_dispatch (self);
}

static void
buf_pool_dispatch_properties_changed (GObject *object, guint n_pspecs, GParamSpec **pspecs)
{
  G_OBJECT_CLASS (buf_pool_parent_class)->dispatch_properties_changed (object, n_pspecs, pspecs);
  buf_pool_drop_after_dispatch (BUF_POOL (object));
}

static void
buf_pool_finalize (GObject *object)
{
  BufPool *self = BUF_POOL (object);

  g_clear_error (&self->config_error);
  buf_memory_abandon (self->memory);
  g_clear_object (&self->budget);

  G_OBJECT_CLASS (buf_pool_parent_class)->finalize (object);
}

static void
buf_pool_class_init (BufPoolClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->constructed = buf_pool_constructed;
  object_class->dispose = buf_pool_dispose;
  object_class->finalize = buf_pool_finalize;
  object_class->dispatch_properties_changed = buf_pool_dispatch_properties_changed;

  buf_pool_install_properties (object_class);

  buf_pool_class = klass;
}

static void
buf_pool_init (BufPool *self)
{
  self->memory = buf_memory_new (self);
}

/**
 * buf_pool_new:
 * @buffer_size: the size of one buffer, in bytes, at least 1, see [property@Pool:buffer-size]
 * @max_memory: the limit, in bytes, at least @buffer_size, see [property@Pool:max-memory]
 * @error: return location for an error, or %NULL
 *
 * Creates a pool. Fails with %BUF_POOL_ERROR_INVALID_CONFIG if the values are invalid.
 *
 * Returns: (transfer full): a new pool, or %NULL with an error
 *
 * Since: 1.0
 */
BufPool *
buf_pool_new (gsize buffer_size, gsize max_memory, GError **error)
{
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_initable_new (BUF_TYPE_POOL,
                         NULL,
                         error,
                         "buffer-size",
                         (guint64) buffer_size,
                         "max-memory",
                         max_memory == G_MAXSIZE ? G_MAXUINT64 : (guint64) max_memory,
                         NULL);
}

/**
 * buf_pool_new_with_budget:
 * @buffer_size: the size of one buffer, in bytes, at least 1, see [property@Pool:buffer-size]
 * @budget: the budget that the pool shares with others
 * @error: return location for an error, or %NULL
 *
 * Creates a pool whose allocations count against a budget that other pools and permits share. The
 * pool has no limit of its own unless you set [property@Pool:max-memory].
 *
 * Returns: (transfer full): a new pool, or %NULL with an error
 *
 * Since: 1.0
 */
BufPool *
buf_pool_new_with_budget (gsize buffer_size, BufBudget *budget, GError **error)
{
  g_return_val_if_fail (BUF_IS_BUDGET (budget), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return g_initable_new (BUF_TYPE_POOL,
                         NULL,
                         error,
                         "buffer-size",
                         (guint64) buffer_size,
                         "budget",
                         budget,
                         NULL);
}

/**
 * buf_pool_close:
 * @self: a pool
 *
 * Closes the pool permanently. New and waiting requests fail with %BUF_POOL_ERROR_CLOSED. Existing
 * allocations stay valid, and this function does not wait for them. If the pool is already closed,
 * this function does nothing.
 *
 * This function can be called from any thread. [property@Pool:closed] notifies in the calling
 * thread.
 *
 * Since: 1.0
 */
void
buf_pool_close (BufPool *self)
{
  g_return_if_fail (BUF_IS_POOL (self));

  buf_semaphore_close (&self->memory->semaphore);
  if (!atomic_exchange (&self->has_closed, TRUE))
    buf_pool_notify (self, "closed");
}
