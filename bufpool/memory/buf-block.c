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
 * The memory of an allocation: its layout, where it comes from, and where it goes.
 *
 * Inline: the buffers follow the header in one block of malloc(). Detached: the header is a
 * separate block with a pointer to the buffers. An allocation is detached if its alignment exceeds
 * that of malloc(), if it is pinned, or if BUFPOOL_DEBUG needs a record of it.
 *
 * A block is *large* from BUF_LARGE_MIN_SIZE on, if the pool was created with a cache. Its buffers
 * are in separate pages, with the header right before them. So it is inline, whatever the
 * alignment, and only pinned allocations are detached. Whether a block is large follows from its
 * size. A block that is cut to a smaller size gets a flag, and is freed and never cached.
 *
 * Tools such as AddressSanitizer see more details of memory from malloc(). With them, no block is
 * large.
 */

G_STATIC_ASSERT (sizeof (BufPoolAllocation) <= BUF_ALLOCATION_INLINE_OFFSET);
G_STATIC_ASSERT (BUF_ALLOCATION_INLINE_OFFSET % BUF_NATURAL_ALIGNMENT == 0);
G_STATIC_ASSERT (BUF_LARGE_ROOM == BUF_ALLOCATION_INLINE_OFFSET);
G_STATIC_ASSERT (BUF_POOL_MAX_BUFFERS <= BUF_WORD_BUFFERS >> BUF_WORD_BUFFERS_SHIFT);

/* The number of buffers from which on a block of this memory is large. */
guint
buf_block_get_n_large (BufMemory *memory, gboolean may_map)
{
  if (!may_map || !buf_large_is_available () || buf_block_is_checked ())
    return G_MAXUINT;
  return (guint) MAX ((BUF_LARGE_MIN_SIZE + memory->buffer_size - 1) / memory->buffer_size, 1);
}

gboolean
buf_block_is_large (BufMemory *memory, gint64 bytes, guint64 flags)
{
  return (flags & BUF_WORD_CUT) != 0 || (guint64) bytes / memory->buffer_size >= memory->n_large;
}

static gpointer
new_data (BufMemory *memory, gint64 bytes)
{
  if (buf_block_is_large (memory, bytes, 0))
    return buf_large_alloc (bytes, memory->alignment, memory->zero_fill);
  return buf_aligned_alloc (bytes, memory->alignment, memory->zero_fill);
}

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

/* A header without buffers. */
BufDetachedAllocation *
buf_block_new_handle (BufMemory *memory)
{
  BufLockOwner *me = buf_lock_owner_self;
  BufDetachedAllocation *self;

  if (me != NULL && me->spare != NULL)
    {
      self = me->spare;
      me->spare = NULL;
    }
  else
    self = malloc (sizeof *self);
  if (self == NULL)
    return NULL;

  self->data = NULL;
  self->buffer_size = memory->buffer_size;
  self->record = NULL;
  self->block = NULL;
  atomic_init (&self->holders, 1);
  atomic_init (&self->transferred, 0);
  atomic_init (&self->parts, 2);
  return self;
}

/* A thread keeps one handle. No tool checks accesses to it. */
void
buf_block_free_handle (BufDetachedAllocation *self)
{
  BufLockOwner *me = buf_lock_owner_self;

  if (me != NULL && me->spare == NULL)
    me->spare = self;
  else
    free (self);
}

static BufPoolAllocation *
new_detached (BufMemory *memory, gint64 bytes)
{
  BufDetachedAllocation *self = buf_block_new_handle (memory);

  if (self == NULL)
    return NULL;

  if (memory->ledger != NULL)
    self->data = new_recorded_data (memory, bytes, &self->record);
  else
    self->data = new_data (memory, bytes);
  if (self->data == NULL)
    {
      free (self);
      return NULL;
    }
  return &self->header;
}

/* Returns the flags of a plain allocation of this memory if it is not large. */
guint64
buf_block_get_flags (BufMemory *memory)
{
  gboolean detached = memory->alignment > BUF_NATURAL_ALIGNMENT || memory->ledger != NULL;

  return detached ? BUF_WORD_DETACHED : 0;
}

guint64
buf_block_get_flags_for (BufMemory *memory, gint64 bytes)
{
  return buf_block_is_large (memory, bytes, 0) ? 0 : buf_block_get_flags (memory);
}

static guint8 *
get_inline_data (BufPoolAllocation *self)
{
  return (guint8 *) self + BUF_ALLOCATION_INLINE_OFFSET;
}

static BufPoolAllocation *
get_inline_block (guint8 *data)
{
  return (BufPoolAllocation *) (data - BUF_ALLOCATION_INLINE_OFFSET);
}

/* For an allocation that is not pinned. */
static guint8 *
get_data (BufMemory *memory, BufPoolAllocation *self, gint64 bytes)
{
  if (buf_block_get_flags_for (memory, bytes) & BUF_WORD_DETACHED)
    return ((BufDetachedAllocation *) self)->data;
  return get_inline_data (self);
}

/* The buffers of @self are those of a plain block. */
void
buf_block_set_inner (BufMemory *memory,
                     BufDetachedAllocation *self,
                     BufPoolAllocation *block,
                     gint64 bytes)
{
  self->block = block;
  self->data = get_data (memory, block, bytes);
}

static BufPoolAllocation *
new_large (BufMemory *memory, gint64 bytes)
{
  guint8 *data = new_data (memory, bytes);

  return data != NULL ? get_inline_block (data) : NULL;
}

/* A handle, and a plain block, which may be cached when the buffers are freed. */
static BufPoolAllocation *
new_pinned (BufMemory *memory, gint64 bytes)
{
  BufDetachedAllocation *self = buf_block_new_handle (memory);
  BufPoolAllocation *block;

  if (self == NULL)
    return NULL;

  block = buf_block_new (memory, bytes, buf_block_get_flags_for (memory, bytes));
  if (block == NULL)
    {
      free (self);
      return NULL;
    }
  buf_block_set_inner (memory, self, block, bytes);
  return &self->header;
}

BufPoolAllocation *
buf_block_new (BufMemory *memory, gint64 bytes, guint64 flags)
{
  /* On 32-bit systems, a limit can exceed the address space. */
  if ((guint64) bytes > BUF_ALLOCATION_MAX_SIZE)
    return NULL;
  if (flags & BUF_WORD_PINNED && memory->ledger == NULL)
    return new_pinned (memory, bytes);
  if (flags & BUF_WORD_DETACHED)
    return new_detached (memory, bytes);
  if (buf_block_is_large (memory, bytes, 0))
    return new_large (memory, bytes);
  return buf_aligned_alloc (BUF_ALLOCATION_INLINE_OFFSET + bytes, 0, memory->zero_fill);
}

/* For the block of a pinned allocation that has @flags. */
static guint64
get_inner_flags (BufMemory *memory, gint64 bytes, guint64 flags)
{
  if (flags & BUF_WORD_CUT)
    return BUF_WORD_CUT;
  return buf_block_get_flags_for (memory, bytes);
}

/* The bytes are still in use, which keeps the memory alive. Returns the argument for
 * buf_debug_record_complain(), which has to be called after the bytes are released. */
BufDebugRecord *
buf_block_free_data (BufMemory *memory, BufDetachedAllocation *self, gint64 bytes, guint64 flags)
{
  gsize size = bytes;
  BufDebugRecord *record = NULL;

  if (self->block != NULL)
    return buf_block_free (memory, self->block, bytes, get_inner_flags (memory, bytes, flags));

  if (self->record != NULL)
    {
      size += buf_debug_ledger_get_tail (memory->ledger);
      record = buf_debug_record_end (self->record, memory->ledger);
    }
  buf_aligned_free (self->data, size, memory->alignment, memory->zero_fill);
  return record;
}

/* See buf_block_free() for the bytes and the return value. */
BufDebugRecord *
buf_block_free (BufMemory *memory, BufPoolAllocation *self, gint64 bytes, guint64 flags)
{
  BufDebugRecord *record = NULL;

  if (!(flags & BUF_WORD_PINNED) && buf_block_is_large (memory, bytes, flags))
    {
      buf_large_free (get_inline_data (self));
      return NULL;
    }
  if (flags & BUF_WORD_DETACHED)
    record = buf_block_free_data (memory, (BufDetachedAllocation *) self, bytes, flags);
  free (self);
  return record;
}

/* Returns whether a tool checks accesses to free memory. */
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

/* From now on, the buffers must not be accessed. The tool reports accesses. */
void
buf_block_hide (BufMemory *memory, BufPoolAllocation *self, gint64 bytes)
{
  guint8 *data G_GNUC_UNUSED = get_data (memory, self, bytes);

  ASAN_POISON_MEMORY_REGION (data, bytes);
#ifdef HAVE_VALGRIND
  VALGRIND_MAKE_MEM_NOACCESS (data, bytes);
#endif
}

/* Makes the buffers look like new ones. */
void
buf_block_show (BufMemory *memory, BufPoolAllocation *self, gint64 bytes)
{
  guint8 *data = get_data (memory, self, bytes);

  ASAN_UNPOISON_MEMORY_REGION (data, bytes);
#ifdef HAVE_VALGRIND
  VALGRIND_MAKE_MEM_UNDEFINED (data, bytes);
#endif
  if (memory->zero_fill && buf_block_is_large (memory, bytes, 0))
    buf_large_clear (data, bytes);
  else if (memory->zero_fill)
    memset (data, 0, bytes);
}

/* Returns how many bytes remain when @size bytes are needed. */
static gsize
cut_data (BufPoolAllocation *self, guint64 word, gsize size)
{
  if (word & BUF_WORD_DETACHED)
    return buf_large_cut (((BufDetachedAllocation *) self)->data, size);
  return buf_large_cut (get_inline_data (self), size);
}

static void
set_n_left (BufMemory *memory, BufPoolAllocation *self, guint64 word, gsize n_buffers)
{
  guint64 changed = (word & ~BUF_WORD_BUFFERS) | (guint64) n_buffers << BUF_WORD_BUFFERS_SHIFT;

  if (n_buffers < memory->n_large)
    changed |= BUF_WORD_CUT;
  atomic_store_explicit (&self->word, changed, memory_order_relaxed);
}

/* Returns to the system the pages of a large block that its first @n_buffers do not need. Returns
 * how many buffers the allocation has lost: those that are not entirely in the remaining pages,
 * possibly none. Their bytes are in use until the caller releases them. The caller has the only
 * reference, and there are no views and no holds. */
gsize
buf_block_cut (BufMemory *memory, BufPoolAllocation *self, gsize n_buffers)
{
  guint64 word = atomic_load_explicit (&self->word, memory_order_relaxed);
  gsize n_before = (word & BUF_WORD_BUFFERS) >> BUF_WORD_BUFFERS_SHIFT;
  gsize left, n_left;

  g_assert (n_buffers > 0 && n_buffers <= n_before);

  if (!buf_block_is_large (memory, (gint64) n_before * (gint64) memory->buffer_size, word))
    return 0;
  left = cut_data (self, word, n_buffers * memory->buffer_size);
  n_left = MIN (left / memory->buffer_size, n_before);
  if (n_left < n_before)
    set_n_left (memory, self, word, n_left);
  return n_before - n_left;
}
