/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdlib.h>

#include "debug/buf-words-private.h"
#include "memory/buf-pool-allocation-private.h"
#include "buf-pool-error.h"

/*
 * Turns bytes that were taken from the semaphore into an allocation, or releases them if the system
 * is out of memory.
 */

/* The allocator is out of memory: releases @bytes. */
static BufPoolAllocation *
refuse (BufMemory *memory, gsize n_buffers, gint64 bytes, gboolean pinned, GError **error)
{
  g_autofree gchar *buffers = buf_words_buffers (n_buffers, memory->buffer_size, bytes);

  /* The bytes keep the memory alive, so this comes first. */
  buf_memory_count_refusal (memory, BUF_REFUSAL_NO_MEMORY);
  g_set_error (error,
               BUF_POOL_ERROR,
               BUF_POOL_ERROR_NO_MEMORY,
               "Cannot allocate %s: the request is within the limit, but the system is out of "
               "memory",
               buffers);
  if (pinned)
    buf_semaphore_release_pinned (&memory->semaphore, bytes);
  else
    buf_semaphore_release (&memory->semaphore, bytes);
  return NULL;
}

/* Retries after the cached blocks are freed. */
static BufPoolAllocation *
new_again (BufMemory *memory, gsize n_buffers, gint64 bytes, guint64 flags, GError **error)
{
  BufPoolAllocation *self = NULL;

  if (buf_memory_trim (memory, 0) > 0)
    self = buf_block_new (memory, bytes, flags);
  if (self == NULL)
    return refuse (memory, n_buffers, bytes, (flags & BUF_WORD_PINNED) != 0, error);

  buf_pool_allocation_init (self, memory, n_buffers, flags);
  return self;
}

static BufPoolAllocation *
new_with_flags (BufMemory *memory, gsize n_buffers, gint64 bytes, guint64 flags, GError **error)
{
  BufPoolAllocation *self = buf_block_new (memory, bytes, flags);

  if (self == NULL)
    return new_again (memory, n_buffers, bytes, flags, error);

  buf_pool_allocation_init (self, memory, n_buffers, flags);
  return self;
}

/* Called when malloc() fails for an ordinary block. */
BufPoolAllocation *
buf_pool_allocation_new_again (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error)
{
  return new_again (memory, n_buffers, bytes, 0, error);
}

/* For memory that plain malloc() cannot provide: large, aligned, zeroed, checked, or possibly
 * larger than the address space. */
BufPoolAllocation *
buf_pool_allocation_new_unusual (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error)
{
  return new_with_flags (memory, n_buffers, bytes, buf_block_get_flags_for (memory, bytes), error);
}

/* A block from the cache that is not plain malloc() memory. */
BufPoolAllocation *
buf_pool_allocation_reuse_unusual (BufPoolAllocation *self, BufMemory *memory, gsize n_buffers)
{
  gint64 bytes = (gint64) n_buffers * (gint64) memory->buffer_size;

  if (memory->hides || memory->zero_fill)
    buf_block_show (memory, self, bytes);
  buf_pool_allocation_init (self, memory, n_buffers, buf_block_get_flags_for (memory, bytes));
  return self;
}

/* The caller has also pinned the bytes. */
BufPoolAllocation *
buf_pool_allocation_new_pinned (BufMemory *memory, gsize n_buffers, gint64 bytes, GError **error)
{
  return new_with_flags (memory, n_buffers, bytes, BUF_WORD_DETACHED | BUF_WORD_PINNED, error);
}

static void
free_block (BufMemory *memory, BufPoolAllocation *block, gint64 bytes)
{
  buf_block_free (memory, block, bytes, buf_block_get_flags_for (memory, bytes));
}

/* Makes a pinned allocation of a block that existed before. Returns NULL if there is no memory for
 * the handle. */
static BufPoolAllocation *
reuse_pinned (BufMemory *memory, BufPoolAllocation *block, gsize n_buffers)
{
  gint64 bytes = buf_memory_get_block_bytes (memory, n_buffers);
  BufDetachedAllocation *self = buf_block_new_handle (memory);

  if (self == NULL)
    return NULL;

  if (G_UNLIKELY (memory->unusual))
    buf_block_show (memory, block, bytes);
  buf_block_set_inner (memory, self, block, bytes);
  buf_pool_allocation_init (&self->header, memory, n_buffers, BUF_WORD_DETACHED | BUF_WORD_PINNED);
  return &self->header;
}

/* Makes a pinned allocation of a cached block, or returns NULL. From here on, the pool may be
 * gone. */
BufPoolAllocation *
buf_pool_allocation_new_cached_pinned (BufMemory *memory, gsize n_buffers)
{
  gint64 bytes = buf_memory_get_block_bytes (memory, n_buffers);
  BufPoolAllocation *block = buf_cache_take_quickly (memory, n_buffers, TRUE);
  BufPoolAllocation *self;

  if (G_UNLIKELY (block == NULL))
    block = buf_cache_take (memory, n_buffers, TRUE);
  if (block == NULL)
    return NULL;

  self = reuse_pinned (memory, block, n_buffers);
  if (self == NULL)
    {
      /* The caller tries without the cache. */
      free_block (memory, block, bytes);
      buf_semaphore_release_pinned (&memory->semaphore, bytes);
    }
  return self;
}

/* Like buf_pool_allocation_new_pinned(), for the bytes in @want. */
BufPoolAllocation *
buf_pool_allocation_new_pinned_for (BufMemory *memory,
                                    gsize n_buffers,
                                    const BufWant *want,
                                    GError **error)
{
  BufPoolAllocation *self;

  if (want->idle == NULL)
    return buf_pool_allocation_new_pinned (memory, n_buffers, want->taken, error);

  self = reuse_pinned (memory, want->idle, n_buffers);
  if (self != NULL)
    return self;

  free_block (memory, want->idle, want->taken);
  return refuse (memory, n_buffers, want->taken, TRUE, error);
}

/* Releases the bytes in @want, which are not pinned, without having used them. */
void
buf_pool_allocation_give_up (BufMemory *memory, const BufWant *want)
{
  if (want->idle != NULL)
    free_block (memory, want->idle, want->taken);
  buf_semaphore_release (&memory->semaphore, want->taken);
}

/* Sets where the allocation was requested, for BUFPOOL_DEBUG=leaks. */
void
buf_pool_allocation_set_origin (BufPoolAllocation *self, const BufDebugStack *origin)
{
  buf_debug_record_set_origin (buf_pool_allocation_get_detached (self)->record,
                               self->memory->ledger,
                               origin);
}

/* For a pinned allocation. The second part frees it. */
void
buf_detached_allocation_free_part (BufDetachedAllocation *self)
{
  if (atomic_fetch_sub_explicit (&self->parts, 1, memory_order_acq_rel) == 1)
    free (self);
}
