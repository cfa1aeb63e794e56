/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-cache-private.h"

/*
 * The magazines of one stripe. The caller holds the lock of the stripe, or tries to get it.
 *
 * The magazines are ordered by use: a magazine that is used changes places with the one before it.
 * So the last one has a size that is rarely or no longer requested.
 */

/* How many times a lock is tried under the mutex. */
#define BUF_CACHE_N_TRIES 3

/* For use under the mutex, where no thread waits for the lock of a stripe. */
gboolean
buf_cache_stripe_try_locked (BufCacheStripe *self)
{
  if (self->closed)
    return FALSE;
  for (guint i = 0; i < BUF_CACHE_N_TRIES; i++)
    if (buf_cache_stripe_try (self))
      return TRUE;
  return FALSE;
}

static guint
get_count (BufMagazine *self)
{
  return atomic_load_explicit (&self->count, memory_order_relaxed);
}

static void
swap (BufMagazine *self, BufMagazine *other)
{
  const BufMagazine copy = { .n_buffers = self->n_buffers, .head = self->head };
  guint count = get_count (self);

  self->n_buffers = other->n_buffers;
  self->head = other->head;
  atomic_store_explicit (&self->count, get_count (other), memory_order_relaxed);
  other->n_buffers = copy.n_buffers;
  other->head = copy.head;
  atomic_store_explicit (&other->count, count, memory_order_relaxed);
}

static BufMagazine *
move_forward (BufCacheStripe *self, BufMagazine *magazine)
{
  if (magazine == self->magazines)
    return magazine;

  swap (magazine, magazine - 1);
  return magazine - 1;
}

/* Returns the magazine of that size, which may be empty, or NULL. */
BufMagazine *
buf_cache_stripe_find_held (BufCacheStripe *self, guint n_buffers)
{
  for (guint i = 0; i < BUF_CACHE_N_MAGAZINES; i++)
    if (self->magazines[i].n_buffers == n_buffers)
      return move_forward (self, &self->magazines[i]);
  return NULL;
}

/* Returns the magazine of that size, or an empty one, which becomes one of that size. */
BufMagazine *
buf_cache_stripe_use_held (BufCacheStripe *self, guint n_buffers)
{
  BufMagazine *magazine = buf_cache_stripe_find_held (self, n_buffers);

  for (guint i = 0; i < BUF_CACHE_N_MAGAZINES && magazine == NULL; i++)
    if (self->magazines[i].head == NULL)
      {
        magazine = &self->magazines[i];
        magazine->n_buffers = n_buffers;
      }
  return magazine;
}

/* Returns the nonempty magazine that makes room for others first, or NULL. It is never @spare,
 * which may be NULL. */
BufMagazine *
buf_cache_stripe_find_least_used_held (BufCacheStripe *self, BufMagazine *spare)
{
  for (guint i = BUF_CACHE_N_MAGAZINES; i-- > 0;)
    if (self->magazines[i].head != NULL && &self->magazines[i] != spare)
      return &self->magazines[i];
  return NULL;
}

/* Returns whether there is no room for that magazine itself. */
gboolean
buf_cache_stripe_is_filled_by_held (BufCacheStripe *self, BufMagazine *magazine, gint64 block_bytes)
{
  guint count = get_count (magazine);

  return count == BUF_CACHE_ROUNDS ||
         (count > 0 && (gint64) count * 2 * block_bytes >= self->max_bytes);
}

/* Takes all blocks as a bundle. */
BufPoolAllocation *
buf_cache_stripe_empty_held (BufCacheStripe *self,
                             BufMagazine *magazine,
                             gint64 block_bytes,
                             guint *n_blocks)
{
  BufPoolAllocation *bundle = magazine->head;

  *n_blocks = get_count (magazine);
  magazine->head = NULL;
  atomic_store_explicit (&magazine->count, 0, memory_order_relaxed);
  BUF_CACHE_ADD (self->bytes, -(*n_blocks * block_bytes));
  return bundle;
}

static void
evict_magazine_held (BufCacheStripe *self,
                     BufMagazine *magazine,
                     gint64 enough,
                     gint64 buffer_size,
                     BufHaul *haul)
{
  gint64 block_bytes = magazine->n_buffers * buffer_size;
  guint n_blocks = get_count (magazine);

  if (n_blocks > 0 && n_blocks * block_bytes <= enough - haul->bytes)
    {
      BufPoolAllocation *bundle =
          buf_cache_stripe_empty_held (self, magazine, block_bytes, &n_blocks);

      buf_haul_add (haul, magazine->n_buffers, bundle, n_blocks, n_blocks * block_bytes);
      return;
    }

  while (magazine->head != NULL && haul->bytes < enough)
    {
      BufPoolAllocation *block = buf_cache_stripe_pop_held (self, magazine, block_bytes);

      buf_block_set_next (block, NULL);
      buf_haul_add (haul, magazine->n_buffers, block, 1, block_bytes);
    }
}

/* Moves blocks into @haul until it has @bytes, or until it has no room for more. */
void
buf_cache_stripe_evict_held (BufCacheStripe *self, gint64 bytes, gint64 buffer_size, BufHaul *haul)
{
  gint64 enough = haul->bytes + bytes;

  for (guint i = BUF_CACHE_N_MAGAZINES; i-- > 0;)
    if (haul->n_sizes < BUF_HAUL_N_SIZES)
      evict_magazine_held (self, &self->magazines[i], enough, buffer_size, haul);
}
