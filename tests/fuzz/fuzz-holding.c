/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "fuzz-player.h"

/*
 * What a sequence does with allocations. A plain allocation keeps its bytes until its last
 * reference and its last view are dropped. A pinned one keeps them until it is released or has no
 * references, and its last view is dropped.
 */

static gsize
get_size (FuzzPlayer *self, FuzzHolding *holding)
{
  return holding->n_buffers * self->buffer_size;
}

static gboolean
has_data (FuzzHolding *holding)
{
  if (holding->pinned)
    return holding->views->len > 0 || (!holding->released && holding->n_references > 0);
  return holding->views->len > 0 || holding->n_references > 0;
}

static gboolean
is_used (const FuzzHolding *holding)
{
  return holding->allocation != NULL || holding->permit != NULL;
}

FuzzHolding *
fuzz_holding_find_free (FuzzPlayer *self)
{
  FuzzHolding *holding = self->holdings;

  while (is_used (holding))
    holding++;
  g_assert_true (holding < self->holdings + FUZZ_N_HOLDINGS);
  return holding;
}

FuzzHolding *
fuzz_holding_find (FuzzPlayer *self, guint target)
{
  guint found[FUZZ_N_HOLDINGS];
  guint n = 0;

  for (guint i = 0; i < FUZZ_N_HOLDINGS; i++)
    if (is_used (&self->holdings[i]))
      found[n++] = i;
  return n > 0 ? &self->holdings[found[target % n]] : NULL;
}

/* Room for one more, in addition to those that tasks and threads may still be granted. */
gboolean
fuzz_holding_has_room (FuzzPlayer *self)
{
  guint n = 0;

  for (guint i = 0; i < FUZZ_N_HOLDINGS; i++)
    n += !is_used (&self->holdings[i]);
  return n > FUZZ_N_REQUESTS;
}

static void
check_zero (FuzzPlayer *self, const guint8 *data, gsize size)
{
  for (gsize i = 0; i < size; i++)
    fuzz_check (self, data[i] == 0);
}

FuzzHolding *
fuzz_holding_add (FuzzPlayer *self,
                  guint level,
                  BufPoolAllocation *allocation,
                  gsize n_buffers,
                  gboolean pinned)
{
  FuzzHolding *holding = fuzz_holding_find_free (self);
  gsize size = 0;
  guint8 *data = buf_pool_allocation_get_data (allocation, &size);

  *holding = (FuzzHolding){
    .allocation = allocation,
    .level = level,
    .n_buffers = n_buffers,
    .n_references = 1,
    .pinned = pinned,
    .views = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref),
    .expected = g_malloc (n_buffers * self->buffer_size),
  };
  fuzz_check (self, size == get_size (self, holding));
  if (self->zero_fill)
    check_zero (self, data, size);
  memset (data, 0xa0 + self->step % 64, size);
  memset (holding->expected, 0xa0 + self->step % 64, size);
  return holding;
}

static void
check_data (FuzzPlayer *self, FuzzHolding *holding)
{
  guint8 *data = buf_pool_allocation_get_data (holding->allocation, NULL);

  if (holding->released)
    fuzz_check (self, data == NULL);
  else
    fuzz_check (self, memcmp (data, holding->expected, get_size (self, holding)) == 0);
}

/* Recognizes the range of a view by its size and its position in the data. */
static void
check_view (FuzzPlayer *self, FuzzHolding *holding, GBytes *view)
{
  gsize size;
  const guint8 *data = g_bytes_get_data (view, &size);
  gsize whole = get_size (self, holding);

  fuzz_check (self, size == whole || size == self->buffer_size);
  if (size == whole)
    fuzz_check (self, memcmp (data, holding->expected, size) == 0);
  else if (!holding->released && holding->n_references > 0)
    {
      gsize offset = data - (guint8 *) buf_pool_allocation_get_first (holding->allocation);

      fuzz_check (self, offset < whole && offset % self->buffer_size == 0);
      fuzz_check (self, memcmp (data, holding->expected + offset, size) == 0);
    }
}

/* Called after something was dropped. The library may already have served other requests. */
static void
account (FuzzPlayer *self, FuzzHolding *holding, gboolean had_data)
{
  if (had_data && !has_data (holding))
    fuzz_tree_release (self, holding->level, get_size (self, holding), 1);
  if (holding->n_references > 0 || holding->views->len > 0)
    return;

  g_ptr_array_unref (holding->views);
  g_free (holding->expected);
  *holding = (FuzzHolding){ 0 };
}

static void
drop_reference (FuzzPlayer *self, FuzzHolding *holding)
{
  gboolean had_data = has_data (holding);

  if (holding->n_references == 0)
    return;

  check_data (self, holding);
  buf_pool_allocation_unref (holding->allocation);
  holding->n_references--;
  account (self, holding, had_data);
}

static void
drop_view (FuzzPlayer *self, FuzzHolding *holding, guint which)
{
  gboolean had_data = has_data (holding);

  if (holding->views->len == 0)
    return;

  which %= holding->views->len;
  check_view (self, holding, holding->views->pdata[which]);
  g_ptr_array_remove_index_fast (holding->views, which);
  account (self, holding, had_data);
}

static void
release (FuzzPlayer *self, FuzzHolding *holding)
{
  gboolean had_data = has_data (holding);

  check_data (self, holding);
  buf_pool_allocation_release (holding->allocation);
  fuzz_check (self, buf_pool_allocation_is_released (holding->allocation));
  holding->released = TRUE;
  account (self, holding, had_data);
}

static void
take_view (FuzzPlayer *self, FuzzHolding *holding, const FuzzStep *step)
{
  GBytes *view;

  if (step->flags & FUZZ_FLAG_LARGE)
    view = buf_pool_allocation_get_bytes (holding->allocation);
  else
    view = buf_pool_allocation_get_buffer_bytes (holding->allocation,
                                                 step->amount % holding->n_buffers);

  fuzz_check (self, (view == NULL) == holding->released);
  if (view == NULL)
    return;
  check_view (self, holding, view);
  g_ptr_array_add (holding->views, view);
}

/* Sometimes the end is outside the allocation, and sometimes the sum of offset and size
 * overflows. */
static void
choose_range (FuzzPlayer *self,
              FuzzHolding *holding,
              const FuzzStep *step,
              gsize *offset,
              gsize *size)
{
  gsize whole = get_size (self, holding);

  *offset = (step->amount >> 8) * (whole + 4) / 256;
  *size = (step->amount & 255) * (whole + 4) / 256;
  if (!(step->flags & FUZZ_FLAG_LARGE) && *offset <= whole)
    *size = MIN (*size, whole - *offset);
  if ((step->flags & FUZZ_FLAG_UNUSUAL) && step->amount % 16 == 0)
    *size = G_MAXSIZE - *offset + (step->amount & 1);
}

static gboolean
check_range_error (FuzzPlayer *self,
                   FuzzHolding *holding,
                   gboolean success,
                   gboolean within,
                   const GError *error)
{
  fuzz_check (self, success == (within && !holding->released));
  fuzz_check (self, success == (error == NULL));
  if (!success)
    fuzz_check (self,
                g_error_matches (error,
                                 BUF_POOL_ERROR,
                                 holding->released ? BUF_POOL_ERROR_RELEASED
                                                   : BUF_POOL_ERROR_OUT_OF_RANGE));
  return success;
}

static void
fill (FuzzPlayer *self, FuzzHolding *holding, const FuzzStep *step)
{
  g_autoptr (GError) error = NULL;
  g_autofree guint8 *data = NULL;
  gsize whole = get_size (self, holding);
  gsize offset, size;
  gboolean within, filled;

  choose_range (self, holding, step, &offset, &size);
  within = offset <= whole && size <= whole - offset;
  data = g_malloc (whole + 1);
  for (gsize i = 0; i < whole; i++)
    data[i] = step->amount + i * 7;
  filled = buf_pool_allocation_fill (holding->allocation, offset, data, size, &error);
  if (check_range_error (self, holding, filled, within, error))
    memcpy (holding->expected + offset, data, size);
}

static void
extract (FuzzPlayer *self, FuzzHolding *holding, const FuzzStep *step)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) copy = NULL;
  gsize whole = get_size (self, holding);
  gsize offset, size;
  gboolean within;

  choose_range (self, holding, step, &offset, &size);
  within = offset <= whole && size <= whole - offset;
  copy = buf_pool_allocation_extract (holding->allocation, offset, size, &error);
  if (!check_range_error (self, holding, copy != NULL, within, error))
    return;
  fuzz_check (self, g_bytes_get_size (copy) == size);
  fuzz_check (self,
              size == 0 ||
                  memcmp (g_bytes_get_data (copy, NULL), holding->expected + offset, size) == 0);
}

static void
look_at (FuzzPlayer *self, FuzzHolding *holding)
{
  BufPoolAllocation *allocation = holding->allocation;
  gsize n_buffers = holding->released ? 0 : holding->n_buffers;
  gsize n = 0;
  BufPoolAllocationIter iter;
  gpointer buffer;

  fuzz_check (self, buf_pool_allocation_is_released (allocation) == holding->released);
  fuzz_check (self, buf_pool_allocation_get_length (allocation) == n_buffers);
  fuzz_check (self,
              buf_pool_allocation_get_buffer_size (allocation) ==
                  (holding->released ? 0 : self->buffer_size));
  fuzz_check (self,
              buf_pool_allocation_get_allocated_bytes (allocation) ==
                  n_buffers * self->buffer_size);
  buf_pool_allocation_iter_init (&iter, allocation);
  for (; buf_pool_allocation_iter_next (&iter, &buffer); n++)
    fuzz_check (self, buffer == buf_pool_allocation_get_buffer (allocation, n));
  fuzz_check (self, n == n_buffers);
}

static void
check_shrink_error (FuzzPlayer *self, FuzzHolding *holding, gsize n_buffers, const GError *error)
{
  gint code = BUF_POOL_ERROR_IN_USE;

  if (holding->released)
    code = BUF_POOL_ERROR_RELEASED;
  else if (n_buffers < 1 || n_buffers > holding->n_buffers)
    code = BUF_POOL_ERROR_OUT_OF_RANGE;
  else if (holding->n_references == 1 && holding->views->len == 0)
    {
      fuzz_check (self,
                  g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK) ||
                      g_error_matches (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED));
      return;
    }
  fuzz_check (self, g_error_matches (error, BUF_POOL_ERROR, code));
}

/* Buffers that are kept in addition to the requested ones may be in pages that were freed. */
static void
forget_rest (FuzzPlayer *self, FuzzHolding *holding, gsize n_buffers)
{
  guint8 *data = buf_pool_allocation_get_data (holding->allocation, NULL);
  gsize from = n_buffers * self->buffer_size;

  memset (data + from, 0x5f, get_size (self, holding) - from);
  memset (holding->expected + from, 0x5f, get_size (self, holding) - from);
}

/* Either a part of the block is freed, in whole pages only, or the block is exchanged for a smaller
 * one, which is taken first. */
static void
shrink_allocation (FuzzPlayer *self, FuzzHolding *holding, const FuzzStep *step)
{
  g_autoptr (GError) error = NULL;
  gsize n_buffers = step->amount % (holding->n_buffers + 2);
  gsize before = get_size (self, holding);
  gboolean exchanges = holding->pinned || self->alignment > 0;
  FuzzRequestKind kind = { .level = (gint) holding->level,
                           .bytes = n_buffers * self->buffer_size,
                           .most = n_buffers * self->buffer_size };
  gboolean shrunk;

  kind.bypass = fuzz_tree_get_bypass (self, holding->level, kind.bytes);
  shrunk = buf_pool_allocation_shrink (holding->allocation, n_buffers, &error);
  fuzz_check (self, shrunk == (error == NULL));
  if (!shrunk)
    {
      check_shrink_error (self, holding, n_buffers, error);
      return;
    }

  fuzz_check (self, n_buffers >= 1 && n_buffers <= holding->n_buffers);
  fuzz_check (self, holding->n_references == 1 && holding->views->len == 0 && !holding->released);
  if (n_buffers == holding->n_buffers)
    return;

  holding->n_buffers = buf_pool_allocation_get_length (holding->allocation);
  fuzz_check (self, holding->n_buffers >= n_buffers && get_size (self, holding) < before);
  fuzz_check (self, !exchanges || holding->n_buffers == n_buffers);
  if (exchanges)
    {
      fuzz_check (self, fuzz_model_try (self->model, &kind, FUZZ_GRANTED));
      fuzz_tree_release (self, holding->level, before, 1);
    }
  else
    fuzz_tree_release (self, holding->level, before - get_size (self, holding), 0);
  forget_rest (self, holding, n_buffers);
  check_data (self, holding);
}

void
fuzz_holding_step (FuzzPlayer *self, FuzzHolding *holding, const FuzzStep *step)
{
  if (holding->permit != NULL)
    fuzz_permit_step (self, holding, step);
  else if (step->operation == FUZZ_DROP_VIEW)
    drop_view (self, holding, step->amount);
  else if (holding->n_references == 0)
    return; /* only views are left */
  else if (step->operation == FUZZ_UNREF)
    drop_reference (self, holding);
  else if (step->operation == FUZZ_RELEASE)
    release (self, holding);
  else if (step->operation == FUZZ_VIEW && holding->views->len < 20)
    take_view (self, holding, step);
  else if (step->operation == FUZZ_FILL)
    fill (self, holding, step);
  else if (step->operation == FUZZ_EXTRACT)
    extract (self, holding, step);
  else if (step->operation == FUZZ_SHRINK)
    shrink_allocation (self, holding, step);
  else if (step->operation == FUZZ_LOOK)
    look_at (self, holding);
  else if (step->operation == FUZZ_REF && holding->n_references < 200)
    {
      buf_pool_allocation_ref (holding->allocation);
      holding->n_references++;
    }
}

/* All of it. */
void
fuzz_holding_drop (FuzzPlayer *self, FuzzHolding *holding)
{
  fuzz_permit_drop (self, holding);
  while (holding->allocation != NULL && holding->views->len > 0)
    drop_view (self, holding, 0);
  while (holding->allocation != NULL)
    drop_reference (self, holding);
}
