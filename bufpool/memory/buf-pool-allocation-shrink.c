/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <string.h>
#ifdef HAVE_MADVISE
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "buf-pool-error.h"
#include "debug/buf-words-private.h"
#include "memory/buf-pool-allocation-private.h"

/*
 * Shrinking: how an allocation releases its tail.
 *
 * realloc() is not an option: it may move the block, and then needs the memory of both blocks. So
 * the buffers of a detached allocation are exchanged for a smaller block, whose bytes are taken
 * first. The buffers of an inline allocation share a block with the header, which cannot move: the
 * whole pages of the tail are returned to the system, and the rest is kept. A large block, even of
 * a pinned allocation, is cut. In all cases, memory is freed before its bytes are released.
 */

static gboolean
is_sole_owner (BufPoolAllocation *self)
{
  guint64 word = atomic_load_explicit (&self->word, memory_order_acquire);

  if ((word & (BUF_WORD_REFERENCES | BUF_WORD_HOLDS)) != BUF_WORD_REFERENCE)
    return FALSE;
  if (!(word & BUF_WORD_PINNED))
    return TRUE;
  return atomic_load_explicit (&buf_pool_allocation_get_detached (self)->holders,
                               memory_order_acquire) == 1;
}

static gboolean
check_shrink (BufPoolAllocation *self, gsize n_buffers, GError **error)
{
  gsize length;

  if (buf_pool_allocation_is_released (self))
    {
      buf_pool_allocation_set_released_error (self, error);
      return FALSE;
    }

  length = buf_pool_allocation_get_n_buffers (self);
  if (n_buffers < 1 || n_buffers > length)
    {
      g_set_error (error,
                   BUF_POOL_ERROR,
                   BUF_POOL_ERROR_OUT_OF_RANGE,
                   "An allocation of %" G_GSIZE_FORMAT " %s cannot shrink to %" G_GSIZE_FORMAT
                   ": the valid range is from 1 to %" G_GSIZE_FORMAT,
                   length,
                   buf_words_choose (length, "buffer", "buffers"),
                   n_buffers,
                   length);
      return FALSE;
    }
  if (!is_sole_owner (self))
    {
      g_set_error (error,
                   BUF_POOL_ERROR,
                   BUF_POOL_ERROR_IN_USE,
                   "An allocation of %" G_GSIZE_FORMAT
                   " %s cannot shrink while it has another reference, a view or a transfer",
                   length,
                   buf_words_choose (length, "buffer", "buffers"));
      return FALSE;
    }
  return TRUE;
}

/* Only the sole owner is left, so no other thread reads the word. */
static void
set_n_buffers (BufPoolAllocation *self, gsize n_buffers)
{
  guint64 word = buf_pool_allocation_get_word (self) & ~(BUF_WORD_BUFFERS | BUF_WORD_CUT);

  atomic_store_explicit (&self->word,
                         word | (guint64) n_buffers << BUF_WORD_BUFFERS_SHIFT,
                         memory_order_relaxed);
}

static gboolean
is_large (BufPoolAllocation *self)
{
  return buf_block_is_large (self->memory,
                             buf_pool_allocation_get_size (self),
                             buf_pool_allocation_get_word (self));
}

/* Returns whether a large block was cut. */
static gboolean
shrink_large (BufPoolAllocation *self, gsize n_buffers)
{
  BufMemory *memory = self->memory;
  gsize n_lost = buf_block_cut (memory, self, n_buffers);

  if (n_lost == 0)
    return FALSE;

  buf_semaphore_release_part (&memory->semaphore,
                              buf_memory_get_block_bytes (memory, n_lost),
                              buf_pool_allocation_has_flag (self, BUF_WORD_PINNED));
  return TRUE;
}

/* Returns the whole pages from @begin to @end to the system. Returns their size in bytes. */
static gsize
discard_pages (guint8 *begin, guint8 *end)
{
#ifdef HAVE_MADVISE
  gsize page = (gsize) sysconf (_SC_PAGESIZE);
  guintptr first = ((guintptr) begin + page - 1) / page * page;
  guintptr last = (guintptr) end / page * page;

  if (last > first && madvise ((gpointer) first, last - first, MADV_DONTNEED) == 0)
    return last - first;
#endif
  return 0;
}

/* Returns the number of buffers that are kept. */
static gsize
discard_tail (BufPoolAllocation *self, gsize n_buffers)
{
  gsize size = self->memory->buffer_size;
  gsize length = buf_pool_allocation_get_n_buffers (self);
  guint8 *data = buf_pool_allocation_get_inline_data (self);
  gsize kept = length * size - discard_pages (data + n_buffers * size, data + length * size);

  return (kept + size - 1) / size;
}

static gboolean
shrink_inline (BufPoolAllocation *self, gsize n_buffers, GError **error)
{
  BufMemory *memory = self->memory;
  gsize length = buf_pool_allocation_get_n_buffers (self);
  gsize kept = is_large (self) ? length : discard_tail (self, n_buffers);

  if (kept == length)
    {
      g_set_error (error,
                   G_IO_ERROR,
                   G_IO_ERROR_NOT_SUPPORTED,
                   "An allocation of %" G_GSIZE_FORMAT " buffers cannot shrink to %" G_GSIZE_FORMAT
                   ", because the rest does not cover a whole page of memory",
                   length,
                   n_buffers);
      return FALSE;
    }

  set_n_buffers (self, kept);
  buf_semaphore_release_part (&memory->semaphore,
                              (gint64) (length - kept) * (gint64) memory->buffer_size,
                              FALSE);
  return TRUE;
}

static void
swap_data (BufDetachedAllocation *self, BufDetachedAllocation *other)
{
  guint8 *data = self->data;
  BufDebugRecord *record = self->record;
  BufPoolAllocation *block = self->block;

  self->data = other->data;
  self->record = other->record;
  self->block = other->block;
  other->data = data;
  other->record = record;
  other->block = block;
}

/* Exchanges the buffers for those of @smaller, whose bytes have been taken, and frees the rest. */
static void
exchange (BufPoolAllocation *self, BufPoolAllocation *smaller, gsize n_buffers)
{
  BufMemory *memory = self->memory;
  gboolean pinned = buf_pool_allocation_has_flag (self, BUF_WORD_PINNED);
  guint64 old_flags = buf_pool_allocation_get_word (self) & BUF_WORD_FLAGS;
  gint64 old_bytes = buf_pool_allocation_get_size (self);
  BufDebugRecord *record;

  memcpy (buf_pool_allocation_get_detached (smaller)->data,
          buf_pool_allocation_get_detached (self)->data,
          n_buffers * memory->buffer_size);
  swap_data (buf_pool_allocation_get_detached (self), buf_pool_allocation_get_detached (smaller));
  set_n_buffers (self, n_buffers);
  record = buf_block_free (memory, smaller, old_bytes, old_flags);
  if (pinned)
    buf_semaphore_release_pinned (&memory->semaphore, old_bytes);
  else
    buf_semaphore_release (&memory->semaphore, old_bytes);
  buf_debug_record_complain (record);
}

static gboolean
shrink_detached (BufPoolAllocation *self, gsize n_buffers, GError **error)
{
  BufMemory *memory = self->memory;
  gboolean pinned = buf_pool_allocation_has_flag (self, BUF_WORD_PINNED);
  BufWant want = BUF_WANT ((gint64) n_buffers * (gint64) memory->buffer_size);
  BufSemaphoreFigures figures;
  BufPoolAllocation *smaller;

  if (buf_memory_acquire (memory, &want, FALSE, &figures) != BUF_OUTCOME_GRANTED)
    {
      g_set_error (error,
                   G_IO_ERROR,
                   G_IO_ERROR_WOULD_BLOCK,
                   "An allocation of %" G_GSIZE_FORMAT " buffers cannot shrink to %" G_GSIZE_FORMAT
                   " (%" G_GINT64_FORMAT " %s), because only %" G_GINT64_FORMAT
                   " %s available for the exchange",
                   buf_pool_allocation_get_n_buffers (self),
                   n_buffers,
                   want.bytes,
                   buf_words_choose (want.bytes, "byte", "bytes"),
                   figures.available,
                   buf_words_choose (figures.available, "byte is", "bytes are"));
      return FALSE;
    }

  if (pinned)
    {
      buf_semaphore_pin (&memory->semaphore, want.taken);
      smaller = buf_pool_allocation_new_pinned_for (memory, n_buffers, &want, error);
    }
  else
    smaller = buf_pool_allocation_new_for (memory, n_buffers, &want, error);
  if (smaller == NULL)
    return FALSE;

  exchange (self, smaller, n_buffers);
  return TRUE;
}

/**
 * buf_pool_allocation_shrink:
 * @self: an allocation
 * @n_buffers: the number of buffers to keep, from 1 to [method@PoolAllocation.get_length]
 * @error: return location for an error, or %NULL
 *
 * Frees the buffers after the first @n_buffers. The contents of the remaining buffers do not
 * change.
 *
 * An allocation of 128 KiB or more does not move. It frees the buffers that lie in whole pages of
 * its tail. A smaller allocation that is pinned or aligned is exchanged for a smaller block, so
 * pointers to its buffers become invalid. The bytes of the new block have to be available before
 * those of the old one are freed; otherwise, the call fails with %G_IO_ERROR_WOULD_BLOCK. Any other
 * allocation does not move, and frees the buffers that lie in whole pages. It may keep more than
 * @n_buffers, see [method@PoolAllocation.get_length]; the contents of the additional buffers are
 * then undefined. If there is no whole page to free, the call fails with
 * %G_IO_ERROR_NOT_SUPPORTED.
 *
 * You must be the sole owner. If there is another reference, a view or a transfer, the call fails
 * with %BUF_POOL_ERROR_IN_USE. Other errors are %BUF_POOL_ERROR_OUT_OF_RANGE,
 * %BUF_POOL_ERROR_RELEASED and %BUF_POOL_ERROR_NO_MEMORY. If the call fails, the allocation does
 * not change.
 *
 * Returns: %TRUE if the allocation shrank or already had @n_buffers buffers, %FALSE with an error
 * otherwise
 *
 * Since: 1.0
 */
gboolean
buf_pool_allocation_shrink (BufPoolAllocation *self, gsize n_buffers, GError **error)
{
  g_return_val_if_fail (self != NULL, FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (!check_shrink (self, n_buffers, error))
    return FALSE;
  if (n_buffers == buf_pool_allocation_get_n_buffers (self))
    return TRUE;
  if (shrink_large (self, n_buffers))
    return TRUE;
  if (buf_pool_allocation_has_flag (self, BUF_WORD_DETACHED))
    return shrink_detached (self, n_buffers, error);
  return shrink_inline (self, n_buffers, error);
}
