/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdlib.h>
#include <string.h>
#ifdef HAVE_VALGRIND
#include <valgrind/memcheck.h>
#endif

#include "memory/buf-memory-private.h"

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
  atomic_init (&self->transferred, 0);
  atomic_init (&self->parts, 2);
  return &self->header;
}

BufPoolAllocation *
buf_block_new (BufMemory *memory, gint64 bytes, guint64 flags)
{
  /* With 32 bits a budget can allow more than there are addresses. */
  if ((guint64) bytes > BUF_ALLOCATION_MAX_SIZE)
    return NULL;
  if (flags & BUF_WORD_DETACHED)
    return new_detached (memory, bytes);
  return buf_aligned_alloc (BUF_ALLOCATION_INLINE_OFFSET + bytes, 0, memory->zero_fill);
}

/* What a plain allocation of this memory is. */
guint64
buf_block_get_flags (BufMemory *memory)
{
  gboolean detached = memory->alignment > BUF_NATURAL_ALIGNMENT || memory->ledger != NULL;

  return detached ? BUF_WORD_DETACHED : 0;
}

/* The bytes are still in use: they keep the memory. Returns what buf_debug_record_complain() has to
 * be called with when they have gone back. */
BufDebugRecord *
buf_block_free_data (BufMemory *memory, BufDetachedAllocation *self, gint64 bytes)
{
  gsize size = bytes;
  BufDebugRecord *record = NULL;

  if (self->record != NULL)
    {
      size += buf_debug_ledger_get_tail (memory->ledger);
      record = buf_debug_record_end (self->record, memory->ledger);
    }
  buf_aligned_free (self->data, size, memory->alignment, memory->zero_fill);
  return record;
}

/* Likewise. */
BufDebugRecord *
buf_block_free (BufMemory *memory, BufPoolAllocation *self, gint64 bytes, guint64 flags)
{
  BufDebugRecord *record = NULL;

  if (flags & BUF_WORD_DETACHED)
    record = buf_block_free_data (memory, (BufDetachedAllocation *) self, bytes);
  free (self);
  return record;
}

static guint8 *
get_data (BufMemory *memory, BufPoolAllocation *self)
{
  if (buf_block_get_flags (memory) & BUF_WORD_DETACHED)
    return ((BufDetachedAllocation *) self)->data;
  return (guint8 *) self + BUF_ALLOCATION_INLINE_OFFSET;
}

/* Whether a tool watches who uses free memory. */
gboolean
buf_block_is_checked (void)
{
#if defined(BUF_HAVE_ADDRESS_SANITIZER)
  return TRUE;
#elif defined(HAVE_VALGRIND)
  return RUNNING_ON_VALGRIND;
#else
  return FALSE;
#endif
}

/* From now on nobody may use the buffers: the tool tells who does. */
void
buf_block_hide (BufMemory *memory, BufPoolAllocation *self, gint64 bytes)
{
  guint8 *data G_GNUC_UNUSED = get_data (memory, self);

  ASAN_POISON_MEMORY_REGION (data, bytes);
#ifdef HAVE_VALGRIND
  VALGRIND_MAKE_MEM_NOACCESS (data, bytes);
#endif
}

/* Makes the buffers what new ones are. */
void
buf_block_show (BufMemory *memory, BufPoolAllocation *self, gint64 bytes)
{
  guint8 *data = get_data (memory, self);

  ASAN_UNPOISON_MEMORY_REGION (data, bytes);
#ifdef HAVE_VALGRIND
  VALGRIND_MAKE_MEM_UNDEFINED (data, bytes);
#endif
  if (memory->zero_fill)
    memset (data, 0, bytes);
}
