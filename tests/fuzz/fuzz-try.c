/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz-player.h"

/*
 * The sizes of requests, and requests that do not wait.
 */

gsize
fuzz_choose_n_buffers (FuzzPlayer *self, const FuzzStep *step)
{
  gsize most = step->flags & FUZZ_FLAG_LARGE ? self->n_buffers + 2 : 3;

  return 1 + step->amount % most;
}

/* A permit need not contain whole buffers. */
gint64
fuzz_choose_n_bytes (FuzzPlayer *self, const FuzzStep *step, guint level)
{
  gsize n_bytes = fuzz_choose_n_buffers (self, step) * self->buffer_size;

  if (self->nodes[level].pool == NULL)
    n_bytes -= step->amount / 128 % self->buffer_size;
  return (gint64) n_bytes;
}

/* What a try was granted. */
typedef struct
{
  BufPoolAllocation *allocation;
  BufPermit *permit;
} Got;

static FuzzOutcome
try_at (FuzzPlayer *self, guint level, gsize n_buffers, gint64 n_bytes, gboolean pinned, Got *got)
{
  g_autoptr (GError) error = NULL;
  FuzzNode *node = &self->nodes[level];

  *got = (Got){ 0 };
  self->statistics->n_operations++;
  if (node->pool == NULL)
    got->permit = buf_budget_try_acquire (node->budget, (gsize) n_bytes, &error);
  else if (pinned)
    got->allocation = buf_pool_try_allocate_pinned (node->pool, n_buffers, &error);
  else
    got->allocation = buf_pool_try_allocate (node->pool, n_buffers, &error);
  fuzz_check (self, (got->allocation != NULL || got->permit != NULL) == (error == NULL));
  return fuzz_outcome_from_error (self, error);
}

static FuzzOutcome
try_and_compare (FuzzPlayer *self,
                 guint level,
                 gsize n_buffers,
                 gint64 n_bytes,
                 gboolean pinned,
                 Got *got)
{
  FuzzRequestKind kind = { .level = (gint) level, .bytes = n_bytes, .most = n_bytes };
  FuzzOutcome outcome;

  kind.bypass = fuzz_tree_get_bypass (self, level, n_bytes);
  outcome = try_at (self, level, n_buffers, n_bytes, pinned, got);
  self->statistics->n_outcomes[outcome]++;
  if (!fuzz_model_try (self->model, &kind, outcome))
    {
      g_autofree gchar *text =
          g_strdup_printf ("a try for %" G_GINT64_FORMAT " bytes at level %u is \"%s\"",
                           n_bytes,
                           level,
                           fuzz_outcome_get_name (outcome));

      fuzz_fail_with_states (self, text);
    }
  return outcome;
}

void
fuzz_try (FuzzPlayer *self, const FuzzStep *step)
{
  gboolean pinned = (step->flags & FUZZ_FLAG_PINNED) != 0;
  guint level = fuzz_tree_choose (self, step, FALSE);
  gsize n_buffers = fuzz_choose_n_buffers (self, step);
  gint64 n_bytes = fuzz_choose_n_bytes (self, step, level);
  Got got;

  if (try_and_compare (self, level, n_buffers, n_bytes, pinned, &got) != FUZZ_GRANTED)
    return;
  if (got.permit != NULL)
    fuzz_permit_add (self, got.permit, level, n_bytes);
  else
    fuzz_holding_add (self, level, got.allocation, n_buffers, pinned);
}

/* Many small requests in a row: they overtake a waiter that wants more, until the bound is
 * reached. */
void
fuzz_churn (FuzzPlayer *self, const FuzzStep *step)
{
  gsize n_buffers = 1 + step->amount % 2;
  gint64 n_bytes = n_buffers * self->buffer_size;

  if (self->impatient || self->n_levels > 1)
    return;
  for (guint i = 0; i < 1u + step->target % 160; i++)
    {
      Got got;

      buf_semaphore_thread_number = 1 + (step->thread + i / 3) % 8;
      if (try_and_compare (self, 0, n_buffers, n_bytes, FALSE, &got) != FUZZ_GRANTED)
        return;
      self->statistics->n_operations++;
      buf_pool_allocation_unref (got.allocation);
      fuzz_tree_release (self, 0, n_bytes, 1);
      if (fuzz_model_get_n_states (self->model) > FUZZ_MANY_STATES)
        fuzz_settle (self);
    }
}

void
fuzz_request_absurdly (FuzzPlayer *self, const FuzzStep *step)
{
  static const gsize counts[] = { 0,
                                  BUF_POOL_MAX_BUFFERS + 1,
                                  G_MAXSIZE,
                                  G_MAXSIZE / 2 + 1,
                                  G_MAXUINT };
  gsize count = counts[step->amount % G_N_ELEMENTS (counts)];
  guint level = fuzz_tree_choose (self, step, TRUE);
  Got got;

  fuzz_check (self,
              try_at (self, level, count, 0, step->flags & FUZZ_FLAG_PINNED, &got) ==
                  FUZZ_INVALID_COUNT);
  if (!fuzz_tree_is_unlimited (self))
    try_and_compare (self,
                     level,
                     BUF_POOL_MAX_BUFFERS,
                     BUF_POOL_MAX_BUFFERS * (gint64) self->buffer_size,
                     FALSE,
                     &got);
}
