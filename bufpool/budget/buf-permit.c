/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdatomic.h>

#include "budget/buf-budget-private.h"
#include "buf-pool-error.h"
#include "debug/buf-words-private.h"

/**
 * BufPermit:
 *
 * Bytes acquired from a [class@Budget], for memory that comes from another allocator.
 *
 * The bytes return to the budget when you release the permit or drop its last reference, whichever
 * comes first. So they are never lost, even if a callback fails, a task is cancelled, or the permit
 * is garbage collected. Attach the permit to the memory that it covers, for example as the user
 * data of a [struct@GLib.Bytes].
 *
 * A permit holds a reference on its budget. All functions can be called from any thread.
 *
 * Since: 1.0
 */
struct _BufPermit
{
  gatomicrefcount ref_count;
  BufBudget *budget;     /* const */
  _Atomic gint64 size;   /* atomic; bytes */
  _Atomic gint released; /* atomic */
};

G_DEFINE_BOXED_TYPE (BufPermit, buf_permit, buf_permit_ref, buf_permit_unref)

/* Creates a permit for @bytes, which the caller has taken. If @bytes is 0, nothing was taken. */
BufPermit *
buf_permit_new (BufBudget *budget, gint64 bytes)
{
  BufPermit *self = g_new (BufPermit, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->budget = g_object_ref (budget);
  atomic_init (&self->size, bytes);
  atomic_init (&self->released, FALSE);
  return self;
}

/**
 * buf_permit_ref: (skip)
 * @self: a permit
 *
 * Adds a reference.
 *
 * Returns: (transfer full): @self
 *
 * Since: 1.0
 */
BufPermit *
buf_permit_ref (BufPermit *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

static void
give_back (BufPermit *self, gint64 bytes)
{
  if (bytes > 0)
    buf_semaphore_release (buf_budget_get_semaphore (self->budget), bytes);
}

/**
 * buf_permit_unref: (skip)
 * @self: (transfer full): a permit
 *
 * Drops a reference. When the last reference is dropped, the bytes return to the budget.
 *
 * Since: 1.0
 */
void
buf_permit_unref (BufPermit *self)
{
  g_return_if_fail (self != NULL);

  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  give_back (self, atomic_load_explicit (&self->size, memory_order_relaxed));
  g_object_unref (self->budget);
  g_free (self);
}

/**
 * buf_permit_get_size:
 * @self: a permit
 *
 * Gets the number of bytes of the permit.
 *
 * Returns: the number of bytes, or 0 after the permit is released
 *
 * Since: 1.0
 */
gsize
buf_permit_get_size (BufPermit *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return (gsize) atomic_load_explicit (&self->size, memory_order_relaxed);
}

static void
set_shrink_error (BufPermit *self, gint64 size, gsize n_bytes, GError **error)
{
  if (buf_permit_is_released (self))
    g_set_error (error,
                 BUF_POOL_ERROR,
                 BUF_POOL_ERROR_RELEASED,
                 "The permit cannot shrink to %" G_GSIZE_FORMAT " %s: it has been released",
                 n_bytes,
                 buf_words_choose (n_bytes, "byte", "bytes"));
  else
    g_set_error (error,
                 BUF_POOL_ERROR,
                 BUF_POOL_ERROR_OUT_OF_RANGE,
                 "A permit for %" G_GINT64_FORMAT " %s cannot shrink to %" G_GSIZE_FORMAT " %s",
                 size,
                 buf_words_choose (size, "byte", "bytes"),
                 n_bytes,
                 buf_words_choose (n_bytes, "byte", "bytes"));
}

/**
 * buf_permit_shrink:
 * @self: a permit
 * @n_bytes: the number of bytes to keep, from 0 to [method@Permit.get_size]
 * @error: return location for an error, or %NULL
 *
 * Returns a part of the bytes to the budget. Use this function if you acquired the largest size
 * that could be needed, and the size turns out to be smaller.
 *
 * Fails with %BUF_POOL_ERROR_OUT_OF_RANGE if the permit has fewer bytes, and with
 * %BUF_POOL_ERROR_RELEASED if the permit has been released. The permit then does not change.
 *
 * Returns: %TRUE if the permit now has @n_bytes bytes, %FALSE with an error otherwise
 *
 * Since: 1.0
 */
gboolean
buf_permit_shrink (BufPermit *self, gsize n_bytes, GError **error)
{
  BufSemaphore *semaphore;
  gint64 size;

  g_return_val_if_fail (self != NULL, FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  size = atomic_load_explicit (&self->size, memory_order_relaxed);
  do
    if (n_bytes > (guint64) size || buf_permit_is_released (self))
      {
        set_shrink_error (self, size, n_bytes, error);
        return FALSE;
      }
  while (!atomic_compare_exchange_weak_explicit (&self->size,
                                                 &size,
                                                 (gint64) n_bytes,
                                                 memory_order_acq_rel,
                                                 memory_order_relaxed));

  semaphore = buf_budget_get_semaphore (self->budget);
  if (n_bytes == 0)
    give_back (self, size);
  else if (size > (gint64) n_bytes)
    buf_semaphore_release_part (semaphore, size - (gint64) n_bytes, FALSE);
  return TRUE;
}

/**
 * buf_permit_release:
 * @self: a permit
 *
 * Returns the bytes to the budget before the last reference is dropped. This function does not drop
 * a reference. If the permit is already released, this function does nothing.
 *
 * Since: 1.0
 */
void
buf_permit_release (BufPermit *self)
{
  g_return_if_fail (self != NULL);

  atomic_store (&self->released, TRUE);
  give_back (self, atomic_exchange (&self->size, 0));
}

/**
 * buf_permit_is_released:
 * @self: a permit
 *
 * Gets whether the permit has been released.
 *
 * Returns: %TRUE after [method@Permit.release]
 *
 * Since: 1.0
 */
gboolean
buf_permit_is_released (BufPermit *self)
{
  g_return_val_if_fail (self != NULL, FALSE);

  return atomic_load (&self->released);
}
