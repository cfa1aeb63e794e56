/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz-player.h"
#include "testing.h"

/*
 * Plays a sequence step by step. All steps but those that block are done in one real thread, which
 * takes the number of another thread for each, and with it the stripe of that thread. What the
 * library answers is told to the model, which says whether the rules allow it.
 *
 * Normally the library has settled between two steps: no thread is on its way. In a *burst* it need
 * not: then what the threads do mixes with the steps.
 */

/* A burst ends when so much is possible that it takes long to think of it all. */
#define MANY_STATES 100

static gsize
choose_n_buffers (FuzzPlayer *self, const FuzzStep *step)
{
  gsize most = step->flags & FUZZ_FLAG_LARGE ? self->n_buffers + 2 : 3;

  return 1 + step->amount % most;
}

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
prepare_request (FuzzPlayer *self, guint slot, const FuzzStep *step)
{
  guint which = step->target % FUZZ_N_CANCELLABLES;
  gboolean cancellable = (step->flags & FUZZ_FLAG_CANCEL) != 0;

  self->requests[slot] = (FuzzRequest){
    .player = self,
    .pool = self->pool,
    .active = TRUE,
    .n_buffers = choose_n_buffers (self, step),
    .timeout = -1,
    .priority = step->flags & FUZZ_FLAG_UNUSUAL ? (gint) (step->amount >> 8) - 128 : 0,
    .pinned = (step->flags & FUZZ_FLAG_PINNED) != 0,
    .cancellable = cancellable ? which : FUZZ_N_CANCELLABLES,
    .token = cancellable ? g_object_ref (self->cancellables[which]) : NULL,
    .thread_number = 1 + step->thread,
  };
}

/* Tells the model what is asked for. */
static void
announce_request (FuzzPlayer *self, guint slot, gboolean is_task)
{
  FuzzRequest *request = &self->requests[slot];
  const FuzzRequestKind kind = {
    .bytes = request->n_buffers * self->buffer_size,
    .priority = request->priority,
    .is_task = is_task,
    .expires = request->timeout >= 0,
    .is_dropped = request->dropped,
  };

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

  prepare_request (self, slot, step);
  if (drains)
    self->requests[slot].n_buffers = 0;
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

  prepare_request (self, slot, step);
  if (drains)
    self->requests[slot].n_buffers = 0;
  else
    self->requests[slot].dropped = (step->flags & FUZZ_FLAG_DROPPED) && step->amount % 4 == 0;
  announce_request (self, slot, TRUE);
  fuzz_request_begin (self, slot);
  self->statistics->n_waits += buf_pool_get_waiting (self->pool) > 0;
}

static FuzzOutcome
try_with (FuzzPlayer *self, gsize n_buffers, gboolean pinned, BufPoolAllocation **allocation)
{
  g_autoptr (GError) error = NULL;

  self->statistics->n_operations++;
  if (pinned)
    *allocation = buf_pool_try_allocate_pinned (self->pool, n_buffers, &error);
  else
    *allocation = buf_pool_try_allocate (self->pool, n_buffers, &error);
  fuzz_check (self, (*allocation != NULL) == (error == NULL));
  return fuzz_outcome_from_error (self, error);
}

static FuzzOutcome
try_and_compare (FuzzPlayer *self, gsize n_buffers, gboolean pinned, BufPoolAllocation **allocation)
{
  FuzzOutcome outcome = try_with (self, n_buffers, pinned, allocation);

  self->statistics->n_outcomes[outcome]++;
  if (!fuzz_model_try (self->model, n_buffers * self->buffer_size, outcome))
    {
      g_autofree gchar *text = g_strdup_printf ("a try for %" G_GSIZE_FORMAT " bytes is \"%s\"",
                                                n_buffers * self->buffer_size,
                                                fuzz_outcome_get_name (outcome));

      fuzz_fail_with_states (self, text);
    }
  return outcome;
}

static void
try_once (FuzzPlayer *self, const FuzzStep *step)
{
  gboolean pinned = (step->flags & FUZZ_FLAG_PINNED) != 0;
  gsize n_buffers = choose_n_buffers (self, step);
  BufPoolAllocation *allocation;

  if (try_and_compare (self, n_buffers, pinned, &allocation) == FUZZ_GRANTED)
    fuzz_holding_add (self, allocation, n_buffers, pinned);
}

/* Small requests without end: they overtake whoever waits for more, until they may not any more. */
static void
churn (FuzzPlayer *self, const FuzzStep *step)
{
  gsize n_buffers = 1 + step->amount % 2;

  if (self->impatient)
    return;
  for (guint i = 0; i < 1u + step->target % 160; i++)
    {
      BufPoolAllocation *allocation;

      buf_semaphore_thread_number = 1 + (step->thread + i / 3) % 8;
      if (try_and_compare (self, n_buffers, FALSE, &allocation) != FUZZ_GRANTED)
        return;
      self->statistics->n_operations++;
      buf_pool_allocation_unref (allocation);
      fuzz_model_release (self->model, n_buffers * self->buffer_size);
      if (fuzz_model_get_n_states (self->model) > MANY_STATES)
        fuzz_settle (self);
    }
}

static void
request_absurdly (FuzzPlayer *self, const FuzzStep *step)
{
  static const gsize counts[] = { 0,
                                  BUF_POOL_MAX_BUFFERS + 1,
                                  G_MAXSIZE,
                                  G_MAXSIZE / 2 + 1,
                                  G_MAXUINT };
  gsize count = counts[step->amount % G_N_ELEMENTS (counts)];
  BufPoolAllocation *allocation;

  fuzz_check (self,
              try_with (self, count, step->flags & FUZZ_FLAG_PINNED, &allocation) ==
                  FUZZ_INVALID_COUNT);
  if (!self->unlimited)
    try_and_compare (self, BUF_POOL_MAX_BUFFERS, FALSE, &allocation);
}

/* A cancelled cancellable is replaced at the next call. */
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
set_maximum (FuzzPlayer *self, const FuzzStep *step)
{
  gsize initial = self->n_buffers * self->buffer_size;
  gint64 maximum = step->amount % (2 * initial + self->buffer_size);

  self->unlimited = (step->flags & FUZZ_FLAG_UNUSUAL) && step->amount % 8 == 0;
  if (self->unlimited)
    maximum = MIN (BUF_POOL_UNLIMITED, G_MAXSIZE - 1); /* with 32 bits, that size is no limit */
  else if (step->flags & FUZZ_FLAG_LARGE)
    maximum = initial;
  fuzz_model_set_maximum (self->model, maximum);
  buf_pool_set_max_memory (self->pool, maximum);
}

static void
look_at_figure (FuzzPlayer *self, const FuzzStep *step)
{
  static const struct
  {
    const gchar *name;
    gsize (*get) (BufPool *pool);
    goffset figure;
  } figures[] = {
    { "allocated", buf_pool_get_allocated_memory, G_STRUCT_OFFSET (FuzzFigures, allocated) },
    { "available", buf_pool_get_available_memory, G_STRUCT_OFFSET (FuzzFigures, available) },
    { "waiting", buf_pool_get_waiting, G_STRUCT_OFFSET (FuzzFigures, n_waiting) },
    { "active", buf_pool_get_active_allocations, G_STRUCT_OFFSET (FuzzFigures, n_allocations) },
  };
  guint which = step->amount % G_N_ELEMENTS (figures);
  gint64 value = figures[which].get (self->pool);

  if (!fuzz_model_observe (self->model, figures[which].figure, value))
    {
      g_autofree gchar *text =
          g_strdup_printf ("%s is %" G_GINT64_FORMAT, figures[which].name, value);

      fuzz_fail_with_states (self, text);
    }
}

static void
play_pool_step (FuzzPlayer *self, const FuzzStep *step)
{
  switch (step->operation)
    {
    case FUZZ_TRY:
      try_once (self, step);
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
      set_maximum (self, step);
      break;
    case FUZZ_CLOSE:
      fuzz_model_close (self->model);
      buf_pool_close (self->pool);
      break;
    case FUZZ_FIGURE:
      look_at_figure (self, step);
      break;
    case FUZZ_CHURN:
      churn (self, step);
      break;
    case FUZZ_ABSURD:
      request_absurdly (self, step);
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

  if (step->operation >= FUZZ_REF && step->operation <= FUZZ_LOOK)
    {
      holding = fuzz_holding_find (self, step->target);
      if (holding != NULL)
        fuzz_holding_step (self, holding, step);
    }
  else if (!is_request (step->operation) || fuzz_holding_has_room (self))
    play_pool_step (self, step);

  self->statistics->most_states =
      MAX (self->statistics->most_states, fuzz_model_get_n_states (self->model));
  if (!(step->flags & FUZZ_FLAG_BURST) || fuzz_model_get_n_states (self->model) > MANY_STATES)
    fuzz_settle (self);
}

static void
drop_all (FuzzPlayer *self)
{
  for (guint i = 0; i < FUZZ_N_HOLDINGS; i++)
    if (self->holdings[i].allocation != NULL)
      fuzz_holding_drop (self, &self->holdings[i]);
}

static gboolean
is_request_left (FuzzPlayer *self)
{
  for (guint slot = 0; slot < FUZZ_N_REQUESTS; slot++)
    if (self->requests[slot].active)
      return TRUE;
  return FALSE;
}

/* Everybody who still waits is served, since each of them fits into the whole budget. */
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
  fuzz_check (self, buf_pool_get_allocated_memory (self->pool) == 0);
  self->statistics->most_overtaken =
      MAX (self->statistics->most_overtaken,
           self->pool->memory->semaphore.level.history.most_overtaken);
  fuzz_check (self,
              self->pool->memory->semaphore.level.history.most_overtaken <=
                  BUF_WAIT_QUEUE_MAX_OVERTAKEN);
}

static void
player_init (FuzzPlayer *self, FuzzSequence *sequence, FuzzStatistics *statistics)
{
  static const gsize sizes[] = { 8, 1, 64, 24, 16, 64 };
  static const gint64 max_cached[] = { -1, 0, G_MAXINT64 };
  guint which = sequence->buffer_size % G_N_ELEMENTS (sizes);

  *self = (FuzzPlayer){
    .buffer_size = sizes[which],
    .n_buffers = sequence->n_buffers,
    .zero_fill = sequence->zero_fill,
    .impatient = sequence->impatient && sequence->steps->len < FUZZ_MAX_OVERTAKEN,
    .statistics = statistics,
    .context = g_main_context_new (),
  };
  self->pool = g_object_new (BUF_TYPE_POOL,
                             "buffer-size",
                             (guint64) self->buffer_size,
                             "max-memory",
                             (guint64) self->buffer_size * self->n_buffers,
                             "zero-fill",
                             self->zero_fill,
                             "alignment",
                             which == 2 ? 64 : 0,
                             "max-cached-memory",
                             max_cached[sequence->n_buffers % G_N_ELEMENTS (max_cached)],
                             NULL);
  test_pool_stop_clock (self->pool);
  if (self->impatient)
    self->pool->memory->semaphore.tree->queue.patience = 0;
  self->model = fuzz_model_new (self->buffer_size * self->n_buffers, self->impatient);
  for (guint i = 0; i < FUZZ_N_CANCELLABLES; i++)
    self->cancellables[i] = g_cancellable_new ();
}

static void
player_clear (FuzzPlayer *self)
{
  GWeakRef pool;

  g_weak_ref_init (&pool, self->pool);
  g_object_unref (self->pool);
  self->pool = g_weak_ref_get (&pool);
  fuzz_check (self, self->pool == NULL);
  g_weak_ref_clear (&pool);
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
