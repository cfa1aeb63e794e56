/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdlib.h>

#include "memory/buf-memory-private.h"

G_BEGIN_DECLS

/* The word of an allocation, from its lowest bit on: references (32 bits), the number of buffers
 * (16 bits), flags (3 bits), and holds (13 bits). */
#define BUF_WORD_REFERENCE     G_GUINT64_CONSTANT (1)
#define BUF_WORD_REFERENCES    G_GUINT64_CONSTANT (0xffffffff)
#define BUF_WORD_BUFFERS_SHIFT 32
#define BUF_WORD_BUFFERS       (G_GUINT64_CONSTANT (0xffff) << BUF_WORD_BUFFERS_SHIFT)
#define BUF_WORD_DETACHED      (G_GUINT64_CONSTANT (1) << 48) /* const; the buffers lie elsewhere */
#define BUF_WORD_PINNED        (G_GUINT64_CONSTANT (1) << 49) /* const; detached, and pinned */
#define BUF_WORD_RELEASED      (G_GUINT64_CONSTANT (1) << 50) /* of a plain one */
#define BUF_WORD_FLAGS         (BUF_WORD_DETACHED | BUF_WORD_PINNED | BUF_WORD_RELEASED)
#define BUF_WORD_HOLD          (G_GUINT64_CONSTANT (1) << 51)
#define BUF_WORD_HOLDS         (~G_GUINT64_CONSTANT (0) << 51)

struct _BufPoolAllocation
{
  BufMemory *memory;    /* const; outlives the allocation, or the data of a pinned one */
  _Atomic guint64 word; /* atomic */
};

/* An allocation whose buffers do not follow its header. */
typedef struct
{
  BufPoolAllocation header;
  guint8 *data;            /* const, until nobody holds it */
  gsize buffer_size;       /* const */
  _Atomic guint32 holders; /* atomic; pinned: whether it is released, and how many hold the data */
  _Atomic guint32 parts;   /* atomic; pinned: one each for the references and the data */
  BufDebugRecord *record;  /* const; NULL unless BUFPOOL_DEBUG asks for it */
} BufDetachedAllocation;

/* What the library itself has of an allocation. */
typedef struct
{
  BufPoolAllocation *allocation; /* NULL: nothing */
  gboolean is_view;
} BufHold;

static inline guint64
buf_pool_allocation_get_word (BufPoolAllocation *self)
{
  return atomic_load_explicit (&self->word, memory_order_relaxed);
}

static inline gboolean
buf_pool_allocation_has_flag (BufPoolAllocation *self, guint64 flag)
{
  return (buf_pool_allocation_get_word (self) & flag) != 0;
}

/* Whether it is what nearly all are: plain, inline, and not released. Looked at once, since another
 * thread may be releasing it. */
static inline gboolean
buf_pool_allocation_is_simple (BufPoolAllocation *self)
{
  return G_LIKELY (!buf_pool_allocation_has_flag (self, BUF_WORD_FLAGS));
}

static inline gsize
buf_pool_allocation_get_n_buffers (BufPoolAllocation *self)
{
  return (buf_pool_allocation_get_word (self) & BUF_WORD_BUFFERS) >> BUF_WORD_BUFFERS_SHIFT;
}

static inline BufDetachedAllocation *
buf_pool_allocation_get_detached (BufPoolAllocation *self)
{
  g_assert (buf_pool_allocation_has_flag (self, BUF_WORD_DETACHED));

  return (BufDetachedAllocation *) self;
}

static inline guint8 *
buf_pool_allocation_get_inline_data (BufPoolAllocation *self)
{
  return (guint8 *) self + BUF_ALLOCATION_INLINE_OFFSET;
}

/* The caller may look at it only while it has a reference on a plain allocation, a view or a hold.
 */
static inline guint8 *
buf_pool_allocation_peek_data (BufPoolAllocation *self)
{
  if (G_UNLIKELY (buf_pool_allocation_has_flag (self, BUF_WORD_DETACHED)))
    return buf_pool_allocation_get_detached (self)->data;
  return buf_pool_allocation_get_inline_data (self);
}

/* A pinned allocation that was released may have outlived the memory. */
static inline gsize
buf_pool_allocation_peek_buffer_size (BufPoolAllocation *self)
{
  if (G_UNLIKELY (buf_pool_allocation_has_flag (self, BUF_WORD_DETACHED)))
    return buf_pool_allocation_get_detached (self)->buffer_size;
  return self->memory->buffer_size;
}

static inline gint64
buf_pool_allocation_get_size (BufPoolAllocation *self)
{
  return (gint64) buf_pool_allocation_get_n_buffers (self) *
         (gint64) buf_pool_allocation_peek_buffer_size (self);
}

static inline void
buf_pool_allocation_init (BufPoolAllocation *self,
                          BufMemory *memory,
                          gsize n_buffers,
                          guint64 flags)
{
  self->memory = memory;
  atomic_init (&self->word,
               (guint64) n_buffers << BUF_WORD_BUFFERS_SHIFT | flags | BUF_WORD_REFERENCE);
}

/* Blocks. */

BufPoolAllocation *
buf_pool_allocation_new_unusual (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error);
BufPoolAllocation *
buf_pool_allocation_new_pinned (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error);
BufPoolAllocation *buf_pool_allocation_refuse (BufMemory *memory,
                                               gsize n_buffers,
                                               gint64 bytes,
                                               gboolean pinned,
                                               GError **error);
void buf_pool_allocation_set_origin (BufPoolAllocation *self, const BufDebugStack *origin);
BufDebugRecord *buf_detached_allocation_free_data (BufDetachedAllocation *self);
void buf_detached_allocation_free_part (BufDetachedAllocation *self);

/* Turns @bytes, which the caller has taken, into an allocation, or gives them back. */
static inline BufPoolAllocation *
buf_pool_allocation_new (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error)
{
  BufPoolAllocation *self;

  if (G_UNLIKELY (memory->unusual))
    return buf_pool_allocation_new_unusual (memory, n_buffers, bytes, error);

  self = malloc (BUF_ALLOCATION_INLINE_OFFSET + bytes);
  if (G_UNLIKELY (self == NULL))
    return buf_pool_allocation_refuse (memory, n_buffers, bytes, FALSE, error);

  buf_pool_allocation_init (self, memory, n_buffers, 0);
  return self;
}

/* References, views and holds. */

gboolean buf_pool_allocation_take_view (BufPoolAllocation *self);
void buf_pool_allocation_drop_view (BufPoolAllocation *self);
gboolean buf_pool_allocation_take_hold (BufPoolAllocation *self, BufHold *hold);
void buf_hold_drop (BufHold *self);

/* What the public functions check. */

void buf_pool_allocation_set_released_error (BufPoolAllocation *self, GError **error);
gboolean
buf_pool_allocation_check_range (BufPoolAllocation *self, gsize offset, gsize size, GError **error);
gboolean
buf_pool_allocation_view_range (BufPoolAllocation *self, gsize offset, gsize size, GError **error);

G_END_DECLS
