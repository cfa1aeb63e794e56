/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdlib.h>

#include "debug/buf-words-private.h"
#include "memory/buf-pool-allocation-private.h"
#include "buf-pool-error.h"

/*
 * The memory of an allocation: how it lies, where it comes from, and where it goes.
 *
 * Inline: the buffers follow the header in one block of malloc(). Detached: the header is a block
 * of its own, with a pointer to the buffers; when the alignment is more than malloc() gives, when
 * the allocation is pinned, and when BUFPOOL_DEBUG wants a record of it.
 */

G_STATIC_ASSERT (sizeof (BufPoolAllocation) <= BUF_ALLOCATION_INLINE_OFFSET);
G_STATIC_ASSERT (BUF_ALLOCATION_INLINE_OFFSET % BUF_NATURAL_ALIGNMENT == 0);
G_STATIC_ASSERT (BUF_POOL_MAX_BUFFERS <= BUF_WORD_BUFFERS >> BUF_WORD_BUFFERS_SHIFT);

/* Memory with a record in the ledger. */
static gpointer
new_recorded_data (BufMemory *memory, gsize size, BufDebugRecord **record)
{
  gsize whole = size + buf_debug_ledger_get_tail (memory->ledger);
  guint8 *data = buf_aligned_alloc (whole, memory->alignment, memory->zero_fill);

  if (data == NULL)
    return NULL;

  *record = buf_debug_record_new (memory->ledger, size);
  if (*record == NULL)
    {
      buf_aligned_free (data, whole, memory->alignment, memory->zero_fill);
      return NULL;
    }

  buf_debug_record_begin (*record, memory->ledger, data, !memory->zero_fill);
  return data;
}

static BufPoolAllocation *
new_detached (BufMemory *memory, gint64 bytes)
{
  BufDetachedAllocation *self = malloc (sizeof *self);

  if (self == NULL)
    return NULL;

  self->record = NULL;
  if (memory->ledger != NULL)
    self->data = new_recorded_data (memory, bytes, &self->record);
  else
    self->data = buf_aligned_alloc (bytes, memory->alignment, memory->zero_fill);
  if (self->data == NULL)
    {
      free (self);
      return NULL;
    }

  self->buffer_size = memory->buffer_size;
  atomic_init (&self->holders, 1);
  atomic_init (&self->parts, 2);
  return &self->header;
}

static BufPoolAllocation *
new_block (BufMemory *memory, gint64 bytes, guint64 flags)
{
  /* With 32 bits a budget can allow more than there are addresses. */
  if ((guint64) bytes > BUF_ALLOCATION_MAX_SIZE)
    return NULL;
  if (flags & BUF_WORD_DETACHED)
    return new_detached (memory, bytes);
  return buf_aligned_alloc (BUF_ALLOCATION_INLINE_OFFSET + bytes, 0, memory->zero_fill);
}

static BufPoolAllocation *
new_with_flags (BufMemory *memory, gsize n_buffers, gint64 bytes, guint64 flags, GError **error)
{
  BufPoolAllocation *self = new_block (memory, bytes, flags);

  if (self == NULL)
    return buf_pool_allocation_refuse (memory,
                                       n_buffers,
                                       bytes,
                                       (flags & BUF_WORD_PINNED) != 0,
                                       error);

  buf_pool_allocation_init (self, memory, n_buffers, flags);
  return self;
}

/* For memory that plain malloc() does not give: aligned, zeroed, recorded, or perhaps too large. */
BufPoolAllocation *
buf_pool_allocation_new_unusual (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error)
{
  gboolean detached = memory->alignment > BUF_NATURAL_ALIGNMENT || memory->ledger != NULL;

  return new_with_flags (memory, n_buffers, bytes, detached ? BUF_WORD_DETACHED : 0, error);
}

/* The caller has also pinned the bytes. */
BufPoolAllocation *
buf_pool_allocation_new_pinned (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error)
{
  return new_with_flags (memory, n_buffers, bytes, BUF_WORD_DETACHED | BUF_WORD_PINNED, error);
}

/* The allocator has no memory: gives @bytes back to the budget. */
BufPoolAllocation *
buf_pool_allocation_refuse (BufMemory *memory,
                            gsize n_buffers,
                            gint64 bytes,
                            gboolean pinned,
                            GError **error)
{
  g_autofree gchar *buffers = buf_words_buffers (n_buffers, memory->buffer_size, bytes);

  /* The bytes keep the memory: so, this comes first. */
  buf_memory_count_refusal (memory, BUF_REFUSAL_NO_MEMORY);
  g_set_error (error,
               BUF_POOL_ERROR,
               BUF_POOL_ERROR_NO_MEMORY,
               "The system has no memory for %s, though the budget allows %s",
               buffers,
               buf_words_choose (n_buffers, "it", "them"));
  if (pinned)
    buf_semaphore_release_pinned (&memory->semaphore, bytes);
  else
    buf_semaphore_release (&memory->semaphore, bytes);
  return NULL;
}

/* What BUFPOOL_DEBUG=leaks tells about the allocation: where it was asked for. */
void
buf_pool_allocation_set_origin (BufPoolAllocation *self, const BufDebugStack *origin)
{
  buf_debug_record_set_origin (buf_pool_allocation_get_detached (self)->record,
                               self->memory->ledger,
                               origin);
}

/* The bytes are still in use: they keep the memory. Returns what buf_debug_record_complain() has to
 * be called with when they have gone back. */
BufDebugRecord *
buf_detached_allocation_free_data (BufDetachedAllocation *self)
{
  BufMemory *memory = self->header.memory;
  gsize size = buf_pool_allocation_get_size (&self->header);
  BufDebugRecord *record = NULL;

  if (self->record != NULL)
    {
      size += buf_debug_ledger_get_tail (memory->ledger);
      record = buf_debug_record_end (self->record, memory->ledger);
    }
  buf_aligned_free (self->data, size, memory->alignment, memory->zero_fill);
  return record;
}

/* Of a pinned allocation, which is freed with the second part. */
void
buf_detached_allocation_free_part (BufDetachedAllocation *self)
{
  if (atomic_fetch_sub_explicit (&self->parts, 1, memory_order_acq_rel) == 1)
    free (self);
}
