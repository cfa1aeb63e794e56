/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "memory/buf-depot-private.h"

/*
 * The depot of a cache: whole magazines, as bundles, by the size of their blocks. The mutex of the
 * semaphore guards all of it, so no function here visits more than one bundle.
 *
 * The depot allocates nothing: a bundle is linked through its blocks. While a block is the first in
 * its bundle, its field @memory points to the next bundle. While it is the second, that field holds
 * the number of blocks in the bundle. A block that becomes an allocation again gets a new header
 * anyway.
 */

static void
set_link (BufPoolAllocation *block, gpointer link)
{
  block->memory = link;
}

static guint
get_length (BufPoolAllocation *bundle)
{
  BufPoolAllocation *second = buf_block_get_next (bundle);

  return second != NULL ? GPOINTER_TO_UINT ((gpointer) second->memory) : 1;
}

static void
set_length (BufPoolAllocation *bundle, guint n_blocks)
{
  BufPoolAllocation *second = buf_block_get_next (bundle);

  g_assert ((second != NULL) == (n_blocks > 1));
  if (second != NULL)
    set_link (second, GUINT_TO_POINTER (n_blocks));
}

static void
push_bundle (BufBundles *self, BufPoolAllocation *bundle, gint64 n_blocks, gint64 bytes)
{
  set_link (bundle, self->head);
  self->head = bundle;
  self->n_blocks += n_blocks;
  self->bytes += bytes;
}

/* Adds a bundle, or several linked bundles of one size. Returns FALSE if there is no room for
 * another size. */
gboolean
buf_haul_add (BufHaul *self,
              guint n_buffers,
              BufPoolAllocation *bundle,
              gint64 n_blocks,
              gint64 bytes)
{
  BufBundles *bundles = NULL;

  for (guint i = 0; i < self->n_sizes && bundles == NULL; i++)
    if (self->sizes[i].n_buffers == n_buffers)
      bundles = &self->sizes[i];

  if (bundles == NULL)
    {
      if (self->n_sizes == BUF_HAUL_N_SIZES)
        return FALSE;
      bundles = &self->sizes[self->n_sizes++];
      *bundles = (BufBundles){ .n_buffers = n_buffers };
    }

  push_bundle (bundles, bundle, n_blocks, bytes);
  self->n_blocks += n_blocks;
  self->bytes += bytes;
  return TRUE;
}

static void
update_hints_locked (BufDepot *self)
{
  guint32 filter = 0;

  for (guint i = 0; i < BUF_DEPOT_N_SIZES; i++)
    if (self->sizes[i].head != NULL)
      filter |= buf_depot_get_bit (self->sizes[i].n_buffers);

  atomic_store_explicit (&self->filter, filter, memory_order_relaxed);
  atomic_store_explicit (&self->room, self->max_bytes - self->bytes, memory_order_relaxed);
  atomic_store_explicit (&self->room_alone,
                         self->n_blocks == 0 ? self->max_alone : 0,
                         memory_order_relaxed);
}

static void
count_locked (BufDepot *self, gint64 n_blocks, gint64 bytes)
{
  self->n_blocks += n_blocks;
  self->bytes += bytes;
  update_hints_locked (self);
}

/* A block that is larger than @alone_above but not larger than @max_alone may be in the depot
 * alone, although it is larger than @max_bytes. */
void
buf_depot_set_max_locked (BufDepot *self, gint64 max_bytes, gint64 max_alone, gint64 alone_above)
{
  self->max_bytes = max_bytes;
  self->max_alone = max_alone;
  atomic_store_explicit (&self->alone_above, alone_above, memory_order_relaxed);
  update_hints_locked (self);
}

/* Returns the place of a size in the depot, or an unused place, and moves it to the front. Returns
 * NULL if there is neither. */
static BufBundles *
find_locked (BufDepot *self, guint n_buffers, gboolean or_unused)
{
  guint found = BUF_DEPOT_N_SIZES;
  BufBundles bundles;

  for (guint i = 0; i < BUF_DEPOT_N_SIZES; i++)
    if (self->sizes[i].head == NULL ? or_unused && found == BUF_DEPOT_N_SIZES
                                    : self->sizes[i].n_buffers == n_buffers)
      {
        found = i;
        if (self->sizes[i].head != NULL)
          break;
      }
  if (found == BUF_DEPOT_N_SIZES)
    return NULL;

  bundles = self->sizes[found];
  for (; found > 0; found--)
    self->sizes[found] = self->sizes[found - 1];
  self->sizes[0] = bundles;
  return &self->sizes[0];
}

static gboolean
put_locked (BufDepot *self,
            guint n_buffers,
            BufPoolAllocation *bundle,
            guint n_blocks,
            gint64 bytes)
{
  BufBundles *bundles = find_locked (self, n_buffers, TRUE);

  if (bundles == NULL)
    return FALSE;

  set_length (bundle, n_blocks);
  bundles->n_buffers = n_buffers;
  push_bundle (bundles, bundle, n_blocks, bytes);
  count_locked (self, n_blocks, bytes);
  return TRUE;
}

/* Returns FALSE if there is no room. */
gboolean
buf_depot_put_locked (BufDepot *self,
                      guint n_buffers,
                      BufPoolAllocation *bundle,
                      guint n_blocks,
                      gint64 bytes)
{
  return bytes <= self->max_bytes - self->bytes &&
         put_locked (self, n_buffers, bundle, n_blocks, bytes);
}

/* Returns FALSE if there is no room. */
gboolean
buf_depot_put_alone_locked (BufDepot *self, guint n_buffers, BufPoolAllocation *block, gint64 bytes)
{
  return self->n_blocks == 0 && bytes <= self->max_alone &&
         put_locked (self, n_buffers, block, 1, bytes);
}

/* Takes the first bundle. */
static BufPoolAllocation *
pop_bundle_locked (BufDepot *self, BufBundles *bundles, gint64 block_bytes, guint *n_blocks)
{
  BufPoolAllocation *bundle = bundles->head;

  *n_blocks = get_length (bundle);
  bundles->head = (gpointer) bundle->memory;
  bundles->n_blocks -= *n_blocks;
  bundles->bytes -= *n_blocks * block_bytes;
  count_locked (self, -(gint64) *n_blocks, -(*n_blocks * block_bytes));

  return bundle;
}

/* Takes one block of the first bundle; the others stay. */
static BufPoolAllocation *
pop_block_locked (BufDepot *self, BufBundles *bundles, gint64 block_bytes)
{
  BufPoolAllocation *block = bundles->head;
  BufPoolAllocation *second = buf_block_get_next (block);
  guint n_blocks = get_length (block);

  if (second == NULL)
    return pop_bundle_locked (self, bundles, block_bytes, &n_blocks);

  set_link (second, (gpointer) block->memory);
  set_length (second, n_blocks - 1);
  bundles->head = second;
  bundles->n_blocks--;
  bundles->bytes -= block_bytes;
  count_locked (self, -1, -block_bytes);
  return block;
}

/* Takes the first bundle if it has at most @max_blocks. */
BufPoolAllocation *
buf_depot_take_locked (BufDepot *self,
                       guint n_buffers,
                       gint64 block_bytes,
                       gint64 max_blocks,
                       guint *n_blocks)
{
  BufBundles *bundles = find_locked (self, n_buffers, FALSE);

  if (bundles == NULL || get_length (bundles->head) > max_blocks)
    return NULL;
  return pop_bundle_locked (self, bundles, block_bytes, n_blocks);
}

BufPoolAllocation *
buf_depot_take_one_locked (BufDepot *self, guint n_buffers, gint64 block_bytes)
{
  BufBundles *bundles = find_locked (self, n_buffers, FALSE);

  return bundles != NULL ? pop_block_locked (self, bundles, block_bytes) : NULL;
}

static void
evict_block_locked (BufDepot *self, BufBundles *bundles, gint64 block_bytes, BufHaul *haul)
{
  BufPoolAllocation *block = pop_block_locked (self, bundles, block_bytes);

  buf_block_set_next (block, NULL);
  buf_haul_add (haul, bundles->n_buffers, block, 1, block_bytes);
}

/* Moves blocks of one size into @haul until it has @bytes, or all of them. */
static void
evict_size_locked (BufDepot *self,
                   BufBundles *bundles,
                   gint64 bytes,
                   gint64 buffer_size,
                   BufHaul *haul)
{
  gint64 block_bytes = bundles->n_buffers * buffer_size;
  gint64 enough = haul->bytes + bytes;

  while (bundles->head != NULL && haul->bytes < enough)
    {
      guint n_blocks = get_length (bundles->head);
      BufPoolAllocation *bundle;

      if (n_blocks * block_bytes > enough - haul->bytes)
        {
          evict_block_locked (self, bundles, block_bytes, haul);
          continue;
        }
      bundle = pop_bundle_locked (self, bundles, block_bytes, &n_blocks);
      buf_haul_add (haul, bundles->n_buffers, bundle, n_blocks, n_blocks * block_bytes);
    }
}

/* The least recently used sizes come first. */
void
buf_depot_evict_locked (BufDepot *self, gint64 bytes, gint64 buffer_size, BufHaul *haul)
{
  gint64 enough = haul->bytes + bytes;

  for (guint i = BUF_DEPOT_N_SIZES; i-- > 0 && haul->bytes < enough;)
    if (haul->n_sizes < BUF_HAUL_N_SIZES)
      evict_size_locked (self, &self->sizes[i], enough - haul->bytes, buffer_size, haul);
}

/* Moves blocks into @haul as long as it gets no more than @bytes. */
void
buf_depot_evict_at_most_locked (BufDepot *self, gint64 bytes, gint64 buffer_size, BufHaul *haul)
{
  gint64 most = haul->bytes + bytes;

  for (guint i = BUF_DEPOT_N_SIZES; i-- > 0;)
    {
      BufBundles *bundles = &self->sizes[i];
      gint64 block_bytes = bundles->n_buffers * buffer_size;

      while (bundles->head != NULL && block_bytes <= most - haul->bytes)
        evict_block_locked (self, bundles, block_bytes, haul);
    }
}

/* Makes room for a bundle of that size at the cost of less recently used sizes. */
void
buf_depot_make_room_locked (BufDepot *self,
                            guint n_buffers,
                            gint64 bytes,
                            gint64 buffer_size,
                            BufHaul *haul)
{
  gboolean has_place = find_locked (self, n_buffers, TRUE) != NULL;

  for (guint i = BUF_DEPOT_N_SIZES; i-- > 0;)
    {
      BufBundles *bundles = &self->sizes[i];
      gint64 missing = bytes - (self->max_bytes - self->bytes);

      if (missing <= 0 && has_place)
        return;
      if (bundles->head == NULL || bundles->n_buffers == n_buffers)
        continue;

      evict_size_locked (self, bundles, has_place ? missing : bundles->bytes, buffer_size, haul);
      has_place |= bundles->head == NULL;
    }
}
