/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bufpool/budget/buf-budget-private.h"
#include "bufpool/semaphore/buf-semaphore-sections-private.h"
#include "fuzz-player.h"
#include "testing.h"

/*
 * The pools and budgets of a sequence, as a tree of levels, and the changes of a level. Requests
 * for permits are made at the levels that are budgets.
 */

static const struct
{
  guint n_levels;
  gint parents[FUZZ_N_LEVELS];
  gboolean is_pool[FUZZ_N_LEVELS];
} shapes[] = {
  { 1, { -1 }, { TRUE } },
  { 2, { -1, 0 }, { FALSE, TRUE } },
  { 3, { -1, 0, 0 }, { FALSE, TRUE, TRUE } },
  { 4, { -1, 0, 1, 0 }, { FALSE, FALSE, TRUE, TRUE } },
};

static const gint64 max_cached[] = { -1, 0, G_MAXINT64 };

static gint64
choose_maximum (FuzzPlayer *self, const FuzzSequence *sequence, guint level)
{
  guint quarters = level > 0 ? 2 + (sequence->caps >> (2 * level) & 3) : 4;

  return MAX (self->n_buffers * quarters / 4, 1) * (gint64) self->buffer_size;
}

static void
add_pool (FuzzPlayer *self, const FuzzSequence *sequence, FuzzNode *node, BufBudget *budget)
{
  node->pool = g_object_new (BUF_TYPE_POOL,
                             "buffer-size",
                             (guint64) self->buffer_size,
                             "max-memory",
                             (guint64) node->initial,
                             "zero-fill",
                             self->zero_fill,
                             "alignment",
                             self->alignment,
                             "max-cached-memory",
                             max_cached[sequence->n_buffers % G_N_ELEMENTS (max_cached)],
                             "budget",
                             budget,
                             NULL);
  node->semaphore = &node->pool->memory->semaphore;
  test_pool_stop_clock (node->pool);
  if (sequence->hesitant)
    fuzz_keeper_hesitate (node->pool);
}

static void
add_budget (FuzzNode *node, BufBudget *parent)
{
  if (parent == NULL)
    node->budget = buf_budget_new ((gsize) node->initial);
  else
    node->budget = buf_budget_new_child (parent, (gsize) node->initial);
  node->semaphore = buf_budget_get_semaphore (node->budget);
}

/* The number of bytes that a request for a range gets depends on what other pools have cached. */
static gboolean
allows_ranges (const FuzzSequence *sequence, guint n_pools)
{
  return n_pools == 1 || max_cached[sequence->n_buffers % G_N_ELEMENTS (max_cached)] == 0;
}

void
fuzz_tree_init (FuzzPlayer *self, const FuzzSequence *sequence, FuzzTree *tree)
{
  guint shape = sequence->steps->len < FUZZ_MAX_OVERTAKEN ? sequence->shape : 0;
  guint n_pools = 0;

  *tree = (FuzzTree){ .n_levels = shapes[shape].n_levels };
  self->n_levels = tree->n_levels;
  for (guint i = 0; i < tree->n_levels; i++)
    {
      FuzzNode *node = &self->nodes[i];
      gint parent = shapes[shape].parents[i];
      BufBudget *budget = parent >= 0 ? self->nodes[parent].budget : NULL;

      node->initial = choose_maximum (self, sequence, i);
      if (shapes[shape].is_pool[i])
        add_pool (self, sequence, node, budget);
      else
        add_budget (node, budget);
      n_pools += shapes[shape].is_pool[i];
      tree->parents[i] = parent;
      tree->maxima[i] = node->initial;
    }
  self->allows_ranges = allows_ranges (sequence, n_pools);
  self->tree = self->nodes[0].semaphore->tree;
}

void
fuzz_tree_clear (FuzzPlayer *self)
{
  for (guint i = self->n_levels; i-- > 0;)
    {
      GWeakRef weak;
      gpointer object = self->nodes[i].pool;

      if (object == NULL)
        object = self->nodes[i].budget;
      g_weak_ref_init (&weak, object);
      g_object_unref (object);
      object = g_weak_ref_get (&weak);
      fuzz_check (self, object == NULL);
      g_weak_ref_clear (&weak);
    }
}

/* Returns the level of a step: any level, or the level of a pool if @is_pool is set. */
guint
fuzz_tree_choose (FuzzPlayer *self, const FuzzStep *step, gboolean is_pool)
{
  guint level = (step->target >> 2) % self->n_levels;

  while (is_pool && self->nodes[level].pool == NULL)
    level = (level + 1) % self->n_levels;
  return level;
}

gboolean
fuzz_tree_is_unlimited (FuzzPlayer *self)
{
  for (guint i = 0; i < self->n_levels; i++)
    if (self->nodes[i].unlimited)
      return TRUE;
  return FALSE;
}

void
fuzz_tree_get_figures (FuzzPlayer *self, guint level, FuzzLevelFigures *figures)
{
  FuzzNode *node = &self->nodes[level];
  BufSemaphoreFigures inside;

  if (node->pool != NULL)
    {
      *figures = (FuzzLevelFigures){
        .maximum = buf_pool_get_max_memory (node->pool),
        .allocated = buf_pool_get_allocated_memory (node->pool),
        .available = buf_pool_get_available_memory (node->pool),
        .n_allocations = buf_pool_get_active_allocations (node->pool),
        .n_waiting = buf_pool_get_waiting (node->pool),
        .closed = buf_pool_is_closed (node->pool),
      };
      return;
    }

  buf_semaphore_get_figures (node->semaphore, &inside, NULL);
  *figures = (FuzzLevelFigures){
    .maximum = buf_budget_get_max_memory (node->budget),
    .allocated = buf_budget_get_allocated_memory (node->budget),
    .available = buf_budget_get_available_memory (node->budget),
    .n_allocations = inside.n_allocations,
    .n_waiting = buf_budget_get_waiting (node->budget),
  };
}

/* Returns how a request for @bytes at @level can bypass the queue now. */
FuzzBypass
fuzz_tree_get_bypass (FuzzPlayer *self, guint level, gint64 bytes)
{
  FuzzNode *node = &self->nodes[level];
  FuzzBypass bypass = FUZZ_BYPASS_CREDIT;
  gint64 cached = 0, n_cached = 0;

  g_mutex_lock (&self->tree->mutex);
  for (BufSemaphore *each = node->semaphore; each != NULL; each = each->parent)
    if (each->level.revoked)
      bypass = FUZZ_BYPASS_NONE;
  if (node->pool != NULL)
    buf_cache_count_locked (node->pool->memory, &cached, &n_cached);
  if (cached >= bytes)
    bypass = FUZZ_BYPASS_CACHE;
  g_mutex_unlock (&self->tree->mutex);
  return bypass;
}

/* Notes what the pools have cached now. Unless a step @begins, earlier notes of this step still
 * count. */
void
fuzz_tree_note_kept (FuzzPlayer *self, gboolean begins)
{
  gint64 kept[FUZZ_N_LEVELS] = { 0 };
  gint64 n_kept = 0;

  if (self->n_levels == 1)
    return;

  g_mutex_lock (&self->tree->mutex);
  for (guint level = 0; level < self->n_levels; level++)
    if (self->nodes[level].pool != NULL)
      self->nodes[level].semaphore->keeper->count_locked (self->nodes[level].semaphore,
                                                          &kept[level],
                                                          &n_kept);
  g_mutex_unlock (&self->tree->mutex);
  for (guint level = 0; level < self->n_levels; level++)
    fuzz_model_note_kept (self->model, (gint) level, kept[level], begins);
}

void
fuzz_tree_release (FuzzPlayer *self, guint level, gint64 n_bytes, guint n_allocations)
{
  fuzz_tree_note_kept (self, FALSE);
  fuzz_model_release (self->model, (gint) level, n_bytes, n_allocations);
}

void
fuzz_tree_set_maximum (FuzzPlayer *self, const FuzzStep *step)
{
  guint level = fuzz_tree_choose (self, step, FALSE);
  FuzzNode *node = &self->nodes[level];
  gint64 maximum = step->amount % (2 * node->initial + (gint64) self->buffer_size);

  node->unlimited = (step->flags & FUZZ_FLAG_UNUSUAL) && step->amount % 8 == 0;
  if (node->unlimited)
    maximum = MIN (BUF_POOL_UNLIMITED, G_MAXSIZE - 1); /* with 32 bits, this size means no limit */
  else if (step->flags & FUZZ_FLAG_LARGE)
    maximum = node->initial;
  fuzz_model_set_maximum (self->model, level, maximum);
  if (node->pool != NULL)
    buf_pool_set_max_memory (node->pool, maximum);
  else
    buf_budget_set_max_memory (node->budget, maximum);
}

void
fuzz_tree_set_reserved (FuzzPlayer *self, const FuzzStep *step)
{
  guint level = fuzz_tree_choose (self, step, FALSE);
  FuzzNode *node = &self->nodes[level];
  gint64 reserved = step->amount % (node->initial / 2 + (gint64) self->buffer_size);

  if (step->flags & FUZZ_FLAG_LARGE)
    reserved = 0;
  fuzz_model_set_reserved (self->model, level, reserved);
  if (node->pool != NULL)
    buf_pool_set_reserved_memory (node->pool, reserved);
  else
    buf_budget_set_reserved_memory (node->budget, reserved);
}

void
fuzz_tree_set_max_waiting (FuzzPlayer *self, const FuzzStep *step)
{
  guint level = fuzz_tree_choose (self, step, FALSE);
  FuzzNode *node = &self->nodes[level];
  gint max_waiting = step->flags & FUZZ_FLAG_LARGE ? -1 : step->amount % 6 - 1;

  fuzz_model_set_max_waiting (self->model, level, max_waiting);
  if (node->pool != NULL)
    buf_pool_set_max_waiting (node->pool, max_waiting);
  else
    buf_budget_set_max_waiting (node->budget, max_waiting);
}

/* The watcher does this when the oldest has been overtaken for too long. Here, time stands still,
 * and with several levels, the number of overtakings depends on the stripes. */
void
fuzz_tree_owe (FuzzPlayer *self)
{
  BufWaiter *oldest;

  if (self->impatient)
    return;

  fuzz_settle (self);
  fuzz_model_owe (self->model);
  g_mutex_lock (&self->tree->mutex);
  oldest = self->tree->queue.oldest;
  if (oldest != NULL)
    buf_wait_queue_make_owed (oldest);
  buf_semaphore_serve_and_unlock (self->nodes[0].semaphore);
}
