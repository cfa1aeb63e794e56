/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdatomic.h>

#include "buf-pool-allocation.h"
#include "debug/buf-debug-private.h"
#include "memory/buf-aligned-private.h"
#include "memory/buf-large-private.h"

G_BEGIN_DECLS

/* Where the buffers begin in an inline allocation, and the maximum size of an allocation, whatever
 * the limit is. */
#define BUF_ALLOCATION_INLINE_OFFSET 16
#define BUF_ALLOCATION_MAX_SIZE      ((guint64) (G_MAXSSIZE - BUF_ALLOCATION_INLINE_OFFSET))

/* The word of an allocation, from its lowest bit on: references (32 bits), the number of buffers
 * (16 bits), flags (4 bits), and holds (12 bits). */
#define BUF_WORD_REFERENCE     G_GUINT64_CONSTANT (1)
#define BUF_WORD_REFERENCES    G_GUINT64_CONSTANT (0xffffffff)
#define BUF_WORD_BUFFERS_SHIFT 32
#define BUF_WORD_BUFFERS       (G_GUINT64_CONSTANT (0xffff) << BUF_WORD_BUFFERS_SHIFT)
#define BUF_WORD_DETACHED      (G_GUINT64_CONSTANT (1) << 48) /* const; buffers in another block */
#define BUF_WORD_PINNED        (G_GUINT64_CONSTANT (1) << 49) /* const; detached, and pinned */
#define BUF_WORD_RELEASED      (G_GUINT64_CONSTANT (1) << 50) /* set on plain allocations only */
#define BUF_WORD_CUT           (G_GUINT64_CONSTANT (1) << 51) /* was large, but is not anymore */
#define BUF_WORD_FLAGS         (BUF_WORD_DETACHED | BUF_WORD_PINNED | BUF_WORD_RELEASED | BUF_WORD_CUT)
#define BUF_WORD_HOLD          (G_GUINT64_CONSTANT (1) << 52)
#define BUF_WORD_HOLDS         (~G_GUINT64_CONSTANT (0) << 52)

typedef struct _BufMemory BufMemory;

struct _BufPoolAllocation
{
  BufMemory *memory;    /* const; outlives the allocation, or the data of a pinned one */
  _Atomic guint64 word; /* atomic */
};

/* An allocation whose buffers do not follow its header. */
typedef struct
{
  BufPoolAllocation header;
  guint8 *data;              /* const until nothing holds it */
  gsize buffer_size;         /* const */
  _Atomic guint32 holders;   /* atomic; pinned: released flag and holders of the data */
  _Atomic guint32 parts;     /* atomic; pinned: one for the references, one for the data */
  BufPoolAllocation *block;  /* const until nothing holds it; pinned: the buffers, or NULL */
  BufDebugRecord *record;    /* const; NULL unless BUFPOOL_DEBUG enables it */
  _Atomic gsize transferred; /* atomic; pinned: how many bytes the last transfer moved */
} BufDetachedAllocation;

/* The word of a cached block is a link. */
static inline BufPoolAllocation *
buf_block_get_next (BufPoolAllocation *self)
{
  return (BufPoolAllocation *) (guintptr) atomic_load_explicit (&self->word, memory_order_relaxed);
}

static inline void
buf_block_set_next (BufPoolAllocation *self, BufPoolAllocation *next)
{
  atomic_store_explicit (&self->word, (guint64) (guintptr) next, memory_order_relaxed);
}

gboolean buf_block_is_large (BufMemory *memory, gint64 bytes, guint64 flags);
guint buf_block_get_n_large (BufMemory *memory, gboolean may_map);
BufDetachedAllocation *buf_block_new_handle (BufMemory *memory);
void buf_block_free_handle (BufDetachedAllocation *self);
void buf_block_set_inner (BufMemory *memory,
                          BufDetachedAllocation *self,
                          BufPoolAllocation *block,
                          gint64 bytes);
BufPoolAllocation *buf_block_new (BufMemory *memory, gint64 bytes, guint64 flags);
BufDebugRecord *
buf_block_free_data (BufMemory *memory, BufDetachedAllocation *self, gint64 bytes, guint64 flags);
BufDebugRecord *
buf_block_free (BufMemory *memory, BufPoolAllocation *self, gint64 bytes, guint64 flags);
guint64 buf_block_get_flags (BufMemory *memory);
guint64 buf_block_get_flags_for (BufMemory *memory, gint64 bytes);
gsize buf_block_cut (BufMemory *memory, BufPoolAllocation *self, gsize n_buffers);

gboolean buf_block_is_checked (void);
void buf_block_hide (BufMemory *memory, BufPoolAllocation *self, gint64 bytes);
void buf_block_show (BufMemory *memory, BufPoolAllocation *self, gint64 bytes);

G_END_DECLS
