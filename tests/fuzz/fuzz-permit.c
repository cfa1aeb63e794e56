/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz-player.h"

/*
 * What a sequence does with permits. A permit keeps its bytes until it shrinks, is released, or its
 * last reference is dropped.
 */

/* A permit that has no bytes left is no longer counted as an allocation. */
static void
give_back_bytes (FuzzPlayer *self, FuzzHolding *holding, gint64 bytes)
{
  if (bytes == 0)
    return;

  holding->n_bytes -= bytes;
  fuzz_tree_release (self, holding->level, bytes, holding->n_bytes == 0 ? 1 : 0);
}

static void
drop_permit (FuzzPlayer *self, FuzzHolding *holding)
{
  buf_permit_unref (holding->permit);
  if (--holding->n_references > 0)
    return;

  give_back_bytes (self, holding, holding->n_bytes);
  *holding = (FuzzHolding){ 0 };
}

static void
release_permit (FuzzPlayer *self, FuzzHolding *holding)
{
  buf_permit_release (holding->permit);
  fuzz_check (self, buf_permit_is_released (holding->permit));
  holding->released = TRUE;
  give_back_bytes (self, holding, holding->n_bytes);
}

static void
shrink_permit (FuzzPlayer *self, FuzzHolding *holding, const FuzzStep *step)
{
  g_autoptr (GError) error = NULL;
  gint64 bytes = step->amount % (holding->n_bytes + 2);
  gboolean within = bytes <= holding->n_bytes;
  gboolean shrunk = buf_permit_shrink (holding->permit, bytes, &error);

  fuzz_check (self, shrunk == (within && !holding->released));
  fuzz_check (self, shrunk == (error == NULL));
  if (shrunk)
    give_back_bytes (self, holding, holding->n_bytes - bytes);
  else
    fuzz_check (self,
                g_error_matches (error,
                                 BUF_POOL_ERROR,
                                 holding->released ? BUF_POOL_ERROR_RELEASED
                                                   : BUF_POOL_ERROR_OUT_OF_RANGE));
}

static void
look_at_permit (FuzzPlayer *self, FuzzHolding *holding)
{
  fuzz_check (self, buf_permit_is_released (holding->permit) == holding->released);
  fuzz_check (self, (gint64) buf_permit_get_size (holding->permit) == holding->n_bytes);
}

void
fuzz_permit_add (FuzzPlayer *self, BufPermit *permit, guint level, gint64 n_bytes)
{
  FuzzHolding *holding = fuzz_holding_find_free (self);

  *holding = (FuzzHolding){
    .permit = permit,
    .level = level,
    .n_bytes = n_bytes,
    .n_references = 1,
  };
  look_at_permit (self, holding);
}

void
fuzz_permit_step (FuzzPlayer *self, FuzzHolding *holding, const FuzzStep *step)
{
  look_at_permit (self, holding);
  if (step->operation == FUZZ_UNREF)
    drop_permit (self, holding);
  else if (step->operation == FUZZ_RELEASE)
    release_permit (self, holding);
  else if (step->operation == FUZZ_SHRINK)
    shrink_permit (self, holding, step);
  else if (step->operation == FUZZ_REF && holding->n_references < 200)
    {
      buf_permit_ref (holding->permit);
      holding->n_references++;
    }
}

/* All of it. */
void
fuzz_permit_drop (FuzzPlayer *self, FuzzHolding *holding)
{
  while (holding->permit != NULL)
    drop_permit (self, holding);
}
