/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdatomic.h>

#include "soak.h"

/* The load: threads that use every kind of request, main loops with many requests in progress, one
 * thread that drops what others pass to it, one that cancels, and one that changes the maximum and
 * replaces the pool. No thread waits without a limit while it holds something. */

#define N_HELD      12
#define N_IN_FLIGHT 16

static gint stopped; /* atomic */
static GMutex passing;
static GCond passed;
static GQueue passed_on = G_QUEUE_INIT; /* LOCK: passing */
static gboolean no_more;                /* LOCK: passing */
static GMutex mutex;
static GCancellable *cancellable; /* LOCK: mutex */

_Atomic guint64 soak_figures[SOAK_N_FIGURES];

void
soak_count (SoakFigure figure)
{
  atomic_fetch_add_explicit (&soak_figures[figure], 1, memory_order_relaxed);
}

gboolean
soak_is_over (void)
{
  return g_atomic_int_get (&stopped);
}

void
soak_count_error (const GError *error)
{
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    soak_count (SOAK_WOULD_BLOCK);
  else if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
    soak_count (SOAK_TIMED_OUT);
  else if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    soak_count (SOAK_CANCELLED);
  else if (g_error_matches (error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE))
    soak_count (SOAK_TOO_LARGE);
  else if (g_error_matches (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED))
    soak_count (SOAK_CLOSED);
  else
    g_assert_no_error (error);
}

GCancellable *
soak_get_cancellable (void)
{
  GCancellable *reference;

  g_mutex_lock (&mutex);
  if (cancellable == NULL)
    cancellable = g_cancellable_new ();
  reference = g_object_ref (cancellable);
  g_mutex_unlock (&mutex);
  return reference;
}

static gpointer
cancel (gpointer data)
{
  while (!soak_is_over ())
    {
      g_autoptr (GCancellable) old = soak_get_cancellable ();

      g_mutex_lock (&mutex);
      g_clear_object (&cancellable);
      g_mutex_unlock (&mutex);
      g_cancellable_cancel (old);
      g_usleep (700);
    }
  return NULL;
}

/* The limit is raised before the maximum is raised, and lowered after usage has decreased. */
static void
change_maximum (SoakGeneration *generation, GRand *rand)
{
  guint64 maximum = g_rand_int_range (rand, 0, 5) == 0 ? g_rand_int_range (rand, 1, 9)
                                                       : g_rand_int_range (rand, 1, SOAK_MOST);
  guint patience = 200;

  soak_generation_set_limit (generation, maximum, TRUE);
  buf_pool_set_max_memory (generation->pool, maximum * SOAK_BUFFER_SIZE);
  soak_count (SOAK_CHANGES);
  while (patience-- > 0)
    {
      if (buf_pool_get_allocated_memory (generation->pool) <= maximum * SOAK_BUFFER_SIZE)
        {
          soak_generation_set_limit (generation, maximum, FALSE);
          return;
        }
      g_usleep (20);
    }
}

static gpointer
change (gpointer data)
{
  g_autoptr (GRand) rand = g_rand_new ();

  for (guint round = 1; !soak_is_over (); round++)
    {
      SoakGeneration *generation = soak_generation_get ();

      change_maximum (generation, rand);
      soak_generation_unref (generation);
      if (round % 64 == 0)
        soak_generation_replace ();
      g_usleep (2000);
    }
  return NULL;
}

/* Not a GAsyncQueue, because ThreadSanitizer does not see the lock inside it. Returns NULL when
 * nothing is left and nothing will follow. */
static SoakHolding *
pop_passed_on (void)
{
  SoakHolding *holding;

  g_mutex_lock (&passing);
  while ((holding = g_queue_pop_head (&passed_on)) == NULL && !no_more)
    g_cond_wait (&passed, &passing);
  g_mutex_unlock (&passing);
  return holding;
}

static gpointer
drop (gpointer data)
{
  SoakHolding *holding;

  while ((holding = pop_passed_on ()) != NULL)
    {
      soak_drop (holding);
      g_free (holding);
    }
  return NULL;
}

void
soak_pass_on (SoakHolding *self)
{
  g_mutex_lock (&passing);
  g_queue_push_tail (&passed_on, g_memdup2 (self, sizeof *self));
  g_cond_signal (&passed);
  g_mutex_unlock (&passing);
}

typedef struct
{
  GRand *rand;
  SoakHolding held[N_HELD];
  guint n_held;
} Worker;

static void
drop_one (Worker *self)
{
  SoakHolding *holding;
  guint which;

  if (self->n_held == 0)
    return;

  which = g_rand_int_range (self->rand, 0, self->n_held);
  holding = &self->held[which];
  if (g_rand_int_range (self->rand, 0, 4) == 0)
    soak_pass_on (holding);
  else
    soak_drop (holding);
  *holding = self->held[--self->n_held];
}

static gsize
choose_n_buffers (GRand *rand)
{
  if (g_rand_int_range (rand, 0, 16) == 0)
    return g_rand_int_range (rand, 1, SOAK_N_BUFFERS + 1);
  return g_rand_int_range (rand, 1, 8);
}

static BufPoolAllocation *
wait_for_some (Worker *self, BufPool *pool, gsize n, gboolean pinned, GError **error)
{
  gboolean short_time = self->n_held > 0 || g_rand_boolean (self->rand);
  gint64 timeout = short_time ? (gint64) g_rand_int_range (self->rand, 0, 3000) : -1;
  g_autoptr (GCancellable) token = NULL;

  if (g_rand_boolean (self->rand))
    token = soak_get_cancellable ();
  soak_count (SOAK_WAITS);
  if (pinned)
    return buf_pool_allocate_timeout_pinned (pool, n, timeout, token, error);
  return buf_pool_allocate_timeout (pool, n, timeout, token, error);
}

static void
request (Worker *self)
{
  SoakGeneration *generation = soak_generation_get ();
  gsize n = choose_n_buffers (self->rand);
  gboolean pinned = g_rand_int_range (self->rand, 0, 4) == 0;
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation;

  soak_count (SOAK_REQUESTS);
  if (pinned)
    allocation = buf_pool_try_allocate_pinned (generation->pool, n, &error);
  else
    allocation = buf_pool_try_allocate (generation->pool, n, &error);
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK) && g_rand_boolean (self->rand))
    {
      g_clear_error (&error);
      allocation = wait_for_some (self, generation->pool, n, pinned, &error);
    }

  if (allocation != NULL)
    {
      soak_count (SOAK_SERVED);
      soak_hold (&self->held[self->n_held++], generation, allocation, n);
      return;
    }
  soak_count_error (error);
  soak_generation_unref (generation);
}

static gpointer
work (gpointer data)
{
  Worker self = { .rand = g_rand_new_with_seed (GPOINTER_TO_UINT (data)) };

  while (!soak_is_over ())
    {
      gboolean full = self.n_held == N_HELD;

      if (!full && g_rand_int_range (self.rand, 0, 5) < 3)
        request (&self);
      else if (!full && self.n_held > 0 && g_rand_boolean (self.rand))
        soak_check (&self.held[0]);
      else
        drop_one (&self);
    }
  while (self.n_held > 0)
    drop_one (&self);
  g_rand_free (self.rand);
  return NULL;
}

/* A main loop. A granted allocation is held until another request returns. */
typedef struct
{
  GMainContext *context;
  GRand *rand;
  guint n_in_flight;
  SoakHolding held;
} Loop;

typedef struct
{
  Loop *loop;
  SoakGeneration *generation;
  gsize n_buffers;
} Flight;

static void
let_go (Loop *self)
{
  if (self->held.allocation == NULL)
    return;
  if (g_rand_boolean (self->rand))
    soak_drop (&self->held);
  else
    soak_pass_on (&self->held);
  self->held.allocation = NULL;
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Flight *flight = user_data;
  Loop *self = flight->loop;
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation = buf_pool_allocate_finish (BUF_POOL (pool), result, &error);

  self->n_in_flight--;
  let_go (self);
  if (allocation != NULL)
    {
      soak_count (SOAK_SERVED);
      soak_hold (&self->held, flight->generation, allocation, flight->n_buffers);
    }
  else
    {
      soak_count_error (error);
      soak_generation_unref (flight->generation);
    }
  g_free (flight);
}

static void
launch (Loop *self)
{
  Flight *flight = g_new0 (Flight, 1);
  g_autoptr (GCancellable) token = NULL;
  gint priority = g_rand_int_range (self->rand, -10, 10);

  if (g_rand_boolean (self->rand))
    token = soak_get_cancellable ();
  flight->loop = self;
  flight->generation = soak_generation_get ();
  flight->n_buffers = choose_n_buffers (self->rand);
  self->n_in_flight++;
  soak_count (SOAK_REQUESTS);
  soak_count (SOAK_TASKS);
  if (g_rand_boolean (self->rand))
    buf_pool_allocate_async (flight->generation->pool,
                             flight->n_buffers,
                             priority,
                             token,
                             on_allocated,
                             flight);
  else
    buf_pool_allocate_pinned_async (flight->generation->pool,
                                    flight->n_buffers,
                                    priority,
                                    token,
                                    on_allocated,
                                    flight);
}

/* A loop that holds something must iterate to drop it, so it does not sleep then. */
static gpointer
loop (gpointer data)
{
  Loop self = { .context = g_main_context_new (),
                .rand = g_rand_new_with_seed (GPOINTER_TO_UINT (data)) };

  g_main_context_push_thread_default (self.context);
  while (!soak_is_over () || self.n_in_flight > 0)
    {
      while (!soak_is_over () && self.n_in_flight < N_IN_FLIGHT)
        launch (&self);
      if (!g_main_context_iteration (self.context, FALSE))
        {
          let_go (&self);
          if (self.n_in_flight > 0)
            g_main_context_iteration (self.context, TRUE);
        }
    }
  let_go (&self);
  g_main_context_pop_thread_default (self.context);
  g_main_context_unref (self.context);
  g_rand_free (self.rand);
  return NULL;
}

GThread *
soak_worker_start (guint number)
{
  return g_thread_new ("worker", work, GUINT_TO_POINTER (number));
}

GThread *
soak_loop_start (guint number)
{
  return g_thread_new ("loop", loop, GUINT_TO_POINTER (number));
}

GThread *
soak_dropper_start (void)
{
  return g_thread_new ("dropper", drop, NULL);
}

GThread *
soak_canceller_start (void)
{
  return g_thread_new ("canceller", cancel, NULL);
}

GThread *
soak_changer_start (void)
{
  return g_thread_new ("changer", change, NULL);
}

void
soak_stop (void)
{
  g_atomic_int_set (&stopped, TRUE);
}

/* The dropper ends when it has dropped everything. */
void
soak_end (void)
{
  g_mutex_lock (&passing);
  no_more = TRUE;
  g_cond_signal (&passed);
  g_mutex_unlock (&passing);
}
