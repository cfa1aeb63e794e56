/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "fuzz-player.h"

/*
 * What a sequence does with allocations. A plain one keeps its bytes until its last reference and
 * its last view are dropped; a pinned one until it was released, or has no references, and its last
 * view is dropped.
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

FuzzHolding *
fuzz_holding_find (FuzzPlayer *self, guint target)
{
  guint found[FUZZ_N_HOLDINGS];
  guint n = 0;

  for (guint i = 0; i < FUZZ_N_HOLDINGS; i++)
    if (self->holdings[i].allocation != NULL)
      found[n++] = i;
  return n > 0 ? &self->holdings[found[target % n]] : NULL;
}

/* For one more than those whom the tasks and threads may still bring. */
gboolean
fuzz_holding_has_room (FuzzPlayer *self)
{
  guint n = 0;

  for (guint i = 0; i < FUZZ_N_HOLDINGS; i++)
    n += self->holdings[i].allocation == NULL;
  return n > FUZZ_N_REQUESTS;
}

static void
check_zero (FuzzPlayer *self, const guint8 *data, gsize size)
{
  for (gsize i = 0; i < size; i++)
    fuzz_check (self, data[i] == 0);
}

FuzzHolding *
fuzz_holding_add (FuzzPlayer *self, BufPoolAllocation *allocation, gsize n_buffers, gboolean pinned)
{
  FuzzHolding *holding = self->holdings;
  gsize size = 0;
  guint8 *data = buf_pool_allocation_get_data (allocation, &size);

  while (holding->allocation != NULL)
    holding++;
  g_assert_true (holding < self->holdings + FUZZ_N_HOLDINGS);

  *holding = (FuzzHolding){
    .allocation = allocation,
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

/* The range of a view is told by its hash table of one: its size and place in the data. */
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

/* After something was dropped. The library may have served others already. */
static void
account (FuzzPlayer *self, FuzzHolding *holding, gboolean had_data)
{
  if (had_data && !has_data (holding))
    fuzz_model_release (self->model, get_size (self, holding));
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

/* Sometimes the end lies outside, and sometimes offset and size do not even have a sum. */
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

void
fuzz_holding_step (FuzzPlayer *self, FuzzHolding *holding, const FuzzStep *step)
{
  if (step->operation == FUZZ_DROP_VIEW)
    drop_view (self, holding, step->amount);
  else if (holding->n_references == 0)
    return; /* there are only views left */
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
  while (holding->allocation != NULL && holding->views->len > 0)
    drop_view (self, holding, 0);
  while (holding->allocation != NULL)
    drop_reference (self, holding);
}
