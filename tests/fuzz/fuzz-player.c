/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz-player.h"

/*
 * Plays a sequence step by step. One real thread runs all steps except those that block. For each
 * step, it uses the number of another thread, and with it the stripe of that thread. The results of
 * the library are passed to the model, which checks whether the rules allow them.
 *
 * Normally, the library settles between two steps: no request is in transit. In a *burst*, it need
 * not settle: the actions of the threads then interleave with the steps.
 */

static gint
find_slot (FuzzPlayer *self, guint from, guint to, guint preferred)
{
  for (guint i = 0; i < to - from; i++)
    {
      guint slot = from + (preferred + i) % (to - from);

      if (!self->requests[slot].active)
        return slot;
    }
  return -1;
}

static void
prepare_request (FuzzPlayer *self, guint slot, const FuzzStep *step, gboolean drains)
{
  guint level = fuzz_tree_choose (self, step, drains);
  gsize n_buffers = fuzz_choose_n_buffers (self, step);
  gint64 n_bytes = fuzz_choose_n_bytes (self, step, level);
  guint which = step->target % FUZZ_N_CANCELLABLES;
  gboolean cancellable = (step->flags & FUZZ_FLAG_CANCEL) != 0;

  self->requests[slot] = (FuzzRequest){
    .player = self,
    .level = level,
    .pool = self->nodes[level].pool,
    .budget = self->nodes[level].budget,
    .active = TRUE,
    .n_buffers = n_buffers,
    .max_buffers = n_buffers,
    .n_bytes = n_bytes,
    .timeout = -1,
    .priority = step->flags & FUZZ_FLAG_UNUSUAL ? (gint) (step->amount >> 8) - 128 : 0,
    .pinned = (step->flags & FUZZ_FLAG_PINNED) != 0,
    .cancellable = cancellable ? which : FUZZ_N_CANCELLABLES,
    .token = cancellable ? g_object_ref (self->cancellables[which]) : NULL,
    .thread_number = 1 + step->thread,
  };
  if (drains)
    self->requests[slot].n_buffers = 0;
  else if ((step->flags & FUZZ_FLAG_RANGE) && self->allows_ranges)
    self->requests[slot].max_buffers += step->amount / 7 % (self->n_buffers + 2);
}

/* Tells the model what is requested. */
static void
announce_request (FuzzPlayer *self, guint slot, gboolean is_task)
{
  FuzzRequest *request = &self->requests[slot];
  FuzzRequestKind kind = {
    .level = (gint) request->level,
    .bytes = request->n_buffers > 0 ? request->n_bytes : 0,
    .most = request->n_bytes,
    .step = self->buffer_size,
    .priority = request->priority,
    .is_task = is_task,
    .expires = request->timeout >= 0,
    .is_dropped = request->dropped,
  };

  if (request->pool != NULL)
    kind.most = request->max_buffers * self->buffer_size;
  kind.bypass = fuzz_tree_get_bypass (self, request->level, kind.most);

  self->statistics->n_operations++;
  if (g_cancellable_is_cancelled (request->token))
    fuzz_model_request_cancelled (self->model, slot);
  else
    fuzz_model_request (self->model, slot, &kind);
}

static void
request_in_thread (FuzzPlayer *self, const FuzzStep *step, gboolean drains)
{
  gint slot = find_slot (self, 0, FUZZ_N_THREADS, step->thread);

  fuzz_settle (self);
  if (slot < 0)
    return;

  prepare_request (self, slot, step, drains);
  if (step->operation == FUZZ_ALLOCATE || step->operation == FUZZ_DRAIN)
    self->requests[slot].timeout = 0;
  else if (step->operation == FUZZ_EXPIRE)
    self->requests[slot].timeout = step->amount % 400;
  announce_request (self, slot, FALSE);

  if (self->requests[slot].timeout == 0)
    fuzz_request_run_here (self, slot);
  else
    {
      fuzz_request_begin (self, slot);
      fuzz_wait (self, TRUE);
      self->statistics->n_waits += !g_atomic_int_get (&self->requests[slot].done);
    }
}

static void
request_in_task (FuzzPlayer *self, const FuzzStep *step, gboolean drains)
{
  gint slot = find_slot (self, FUZZ_N_THREADS, FUZZ_N_REQUESTS, step->amount);

  if (slot < 0)
    return;

  prepare_request (self, slot, step, drains);
  if (!drains)
    self->requests[slot].dropped = (step->flags & FUZZ_FLAG_DROPPED) && step->amount % 4 == 0;
  announce_request (self, slot, TRUE);
  fuzz_request_begin (self, slot);
  self->statistics->n_waits += !g_atomic_int_get (&self->requests[slot].done);
}

/* A cancelled cancellable is replaced before the next call. */
static void
cancel (FuzzPlayer *self, const FuzzStep *step)
{
  guint which = step->target % FUZZ_N_CANCELLABLES;
  guint slots = 0;

  if (g_cancellable_is_cancelled (self->cancellables[which]))
    {
      g_object_unref (self->cancellables[which]);
      self->cancellables[which] = g_cancellable_new ();
      return;
    }

  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    if (self->requests[slot].active && self->requests[slot].cancellable == which)
      slots |= 1u << slot;
  fuzz_model_cancel (self->model, slots);
  g_cancellable_cancel (self->cancellables[which]);
  fuzz_check (self, fuzz_model_have_cancelled (self->model));
}

static void
look_at_figure (FuzzPlayer *self, const FuzzStep *step)
{
  static const struct
  {
    const gchar *name;
    goffset offset;
  } figures[] = {
    { "allocated", G_STRUCT_OFFSET (FuzzLevelFigures, allocated) },
    { "available", G_STRUCT_OFFSET (FuzzLevelFigures, available) },
    { "waiting", G_STRUCT_OFFSET (FuzzLevelFigures, n_waiting) },
    { "active", G_STRUCT_OFFSET (FuzzLevelFigures, n_allocations) },
  };
  guint which = step->amount % G_N_ELEMENTS (figures);
  guint level = fuzz_tree_choose (self, step, FALSE);
  FuzzLevelFigures seen;
  gint64 value;

  fuzz_tree_get_figures (self, level, &seen);
  value = G_STRUCT_MEMBER (gint64, &seen, figures[which].offset);
  if (!fuzz_model_observe (self->model, (gint) level, figures[which].offset, value))
    {
      g_autofree gchar *text = g_strdup_printf ("%s of level %u is %" G_GINT64_FORMAT,
                                                figures[which].name,
                                                level,
                                                value);

      fuzz_fail_with_states (self, text);
    }
}

static void
close_pool (FuzzPlayer *self, const FuzzStep *step)
{
  guint level = fuzz_tree_choose (self, step, TRUE);

  fuzz_model_close (self->model, (gint) level);
  buf_pool_close (self->nodes[level].pool);
}

static void
play_pool_step (FuzzPlayer *self, const FuzzStep *step)
{
  switch (step->operation)
    {
    case FUZZ_TRY:
      fuzz_try (self, step);
      break;
    case FUZZ_ALLOCATE:
    case FUZZ_BLOCK:
    case FUZZ_EXPIRE:
      request_in_thread (self, step, FALSE);
      break;
    case FUZZ_DRAIN:
    case FUZZ_DRAIN_BLOCK:
      request_in_thread (self, step, TRUE);
      break;
    case FUZZ_ASYNC:
      request_in_task (self, step, FALSE);
      break;
    case FUZZ_DRAIN_ASYNC:
      request_in_task (self, step, TRUE);
      break;
    case FUZZ_CANCEL:
      cancel (self, step);
      break;
    case FUZZ_SET_MAXIMUM:
      fuzz_tree_set_maximum (self, step);
      break;
    case FUZZ_SET_RESERVED:
      fuzz_tree_set_reserved (self, step);
      break;
    case FUZZ_SET_MAX_WAITING:
      fuzz_tree_set_max_waiting (self, step);
      break;
    case FUZZ_OWE:
      fuzz_tree_owe (self);
      break;
    case FUZZ_CLOSE:
      close_pool (self, step);
      break;
    case FUZZ_FIGURE:
      look_at_figure (self, step);
      break;
    case FUZZ_CHURN:
      fuzz_churn (self, step);
      break;
    case FUZZ_ABSURD:
      fuzz_request_absurdly (self, step);
      break;
    default:
      fuzz_settle (self);
    }
}

static gboolean
is_request (guint operation)
{
  return operation <= FUZZ_ASYNC;
}

static void
play_step (FuzzPlayer *self, const FuzzStep *step)
{
  FuzzHolding *holding;

  buf_semaphore_thread_number = 1 + step->thread;
  self->step_name = fuzz_operation_get_name (step->operation);
  self->statistics->n_operations++;
  fuzz_tree_note_kept (self, TRUE);

  if (step->operation >= FUZZ_REF && step->operation <= FUZZ_LOOK)
    {
      holding = fuzz_holding_find (self, step->target);
      if (holding != NULL)
        fuzz_holding_step (self, holding, step);
    }
  else if (!is_request (step->operation) || fuzz_holding_has_room (self))
    play_pool_step (self, step);

  fuzz_wait (self, TRUE);
  self->statistics->most_states =
      MAX (self->statistics->most_states, fuzz_model_get_n_states (self->model));
  if (!(step->flags & FUZZ_FLAG_BURST) || fuzz_model_get_n_states (self->model) > FUZZ_MANY_STATES)
    fuzz_settle (self);
}

static void
drop_all (FuzzPlayer *self)
{
  for (guint i = 0; i < FUZZ_N_HOLDINGS; i++)
    {
      fuzz_holding_drop (self, &self->holdings[i]);
      if (fuzz_model_get_n_states (self->model) > FUZZ_MANY_STATES)
        fuzz_settle (self);
    }
}

static gboolean
is_request_left (FuzzPlayer *self)
{
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    if (self->requests[slot].active)
      return TRUE;
  return FALSE;
}

/* All waiting requests are served, because each of them fits into the whole budget. */
static void
play_end (FuzzPlayer *self)
{
  self->step_name = "end";
  fuzz_settle (self);
  for (guint round = 0; round <= FUZZ_N_REQUESTS; round++)
    {
      drop_all (self);
      fuzz_settle (self);
    }
  fuzz_check (self, !is_request_left (self));
  for (guint level = 0; level < self->n_levels; level++)
    {
      const BufLevel *at = &self->nodes[level].semaphore->level;
      FuzzLevelFigures figures;

      fuzz_tree_get_figures (self, level, &figures);
      fuzz_check (self, figures.allocated == 0);
      fuzz_check (self, at->history.most_overtaken <= BUF_WAIT_QUEUE_MAX_OVERTAKEN);
      self->statistics->most_overtaken =
          MAX (self->statistics->most_overtaken, at->history.most_overtaken);
    }
}

static void
player_init (FuzzPlayer *self, FuzzSequence *sequence, FuzzStatistics *statistics)
{
  static const gsize sizes[] = { 8, 1, 64, 24, 16, 64 };
  guint which = sequence->buffer_size % G_N_ELEMENTS (sizes);
  FuzzTree tree;

  *self = (FuzzPlayer){
    .buffer_size = sizes[which],
    .n_buffers = sequence->n_buffers,
    .alignment = which == 2 ? 64 : 0,
    .zero_fill = sequence->zero_fill,
    .impatient = sequence->impatient && sequence->steps->len < FUZZ_MAX_OVERTAKEN,
    .statistics = statistics,
    .context = g_main_context_new (),
  };
  fuzz_tree_init (self, sequence, &tree);
  if (self->impatient)
    self->tree->queue.patience = 0;
  self->model = fuzz_model_new (&tree, self->impatient);
  for (guint i = 0; i < FUZZ_N_CANCELLABLES; i++)
    self->cancellables[i] = g_cancellable_new ();
}

static void
player_clear (FuzzPlayer *self)
{
  fuzz_tree_clear (self);
  for (guint i = 0; i < FUZZ_N_CANCELLABLES; i++)
    g_object_unref (self->cancellables[i]);
  fuzz_model_free (self->model);
}

void
fuzz_play (FuzzSequence *sequence, FuzzStatistics *statistics)
{
  FuzzPlayer self;

  player_init (&self, sequence, statistics);
  g_main_context_push_thread_default (self.context);
  for (self.step = 0; self.step < sequence->steps->len; self.step++)
    play_step (&self, &g_array_index (sequence->steps, FuzzStep, self.step));
  play_end (&self);
  player_clear (&self);
  g_main_context_pop_thread_default (self.context);
  g_main_context_unref (self.context);
  statistics->n_sequences++;
}
