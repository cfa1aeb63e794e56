/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz-player.h"

/*
 * Requests in progress: in threads that live as long as the program, and in the main loop of the
 * player. No code here sleeps to let something happen. Instead, it looks at the queue of the
 * library, under its lock, to find out which requests have arrived there, and which are still in
 * transit.
 */

#define PATIENCE (20 * G_USEC_PER_SEC)

typedef struct
{
  GMutex mutex;
  GCond cond;
  FuzzRequest *request; /* LOCK: mutex */
  FuzzPlayer *player;   /* LOCK: mutex */
} Worker;

static Worker workers[FUZZ_N_THREADS];

FuzzOutcome
fuzz_outcome_from_error (FuzzPlayer *self, const GError *error)
{
  if (error == NULL)
    return FUZZ_GRANTED;
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
    return FUZZ_TIMED_OUT;
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return FUZZ_CANCELLED;
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    return FUZZ_WOULD_BLOCK;
  if (g_error_matches (error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE))
    return FUZZ_TOO_LARGE;
  if (g_error_matches (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED))
    return FUZZ_CLOSED;
  if (g_error_matches (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OVERLOADED))
    return FUZZ_OVERLOADED;
  if (g_error_matches (error, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_COUNT))
    return FUZZ_INVALID_COUNT;
  fuzz_fail (self, "an error that cannot be: %s", error->message);
}

static void
allocate (FuzzRequest *request, GError **error)
{
  if (request->pinned)
    request->allocation = buf_pool_allocate_full_pinned (request->pool,
                                                         request->n_buffers,
                                                         request->max_buffers,
                                                         request->timeout,
                                                         request->priority,
                                                         request->token,
                                                         error);
  else if (request->priority != G_PRIORITY_DEFAULT || request->max_buffers > request->n_buffers)
    request->allocation = buf_pool_allocate_full (request->pool,
                                                  request->n_buffers,
                                                  request->max_buffers,
                                                  request->timeout,
                                                  request->priority,
                                                  request->token,
                                                  error);
  else
    request->allocation = buf_pool_allocate_timeout (request->pool,
                                                     request->n_buffers,
                                                     request->timeout,
                                                     request->token,
                                                     error);
}

static void
run (FuzzPlayer *player, FuzzRequest *request)
{
  g_autoptr (GError) error = NULL;
  gboolean drained = FALSE;

  buf_semaphore_thread_number = request->thread_number;
  if (request->n_buffers == 0)
    drained = buf_pool_drain_timeout (request->pool, request->timeout, request->token, &error);
  else if (request->pool != NULL)
    allocate (request, &error);
  else
    request->permit = buf_budget_acquire_full (request->budget,
                                               (gsize) request->n_bytes,
                                               request->timeout,
                                               request->priority,
                                               request->token,
                                               &error);

  fuzz_check (player,
              (request->allocation != NULL || request->permit != NULL || drained) ==
                  (error == NULL));
  request->outcome = fuzz_outcome_from_error (player, error);
  g_atomic_int_set (&request->done, TRUE);
}

static gpointer
work (gpointer data)
{
  Worker *self = data;

  g_mutex_lock (&self->mutex);
  while (TRUE)
    {
      FuzzRequest *request = self->request;
      FuzzPlayer *player = self->player;

      self->request = NULL;
      g_mutex_unlock (&self->mutex);
      if (request != NULL)
        run (player, request);
      g_mutex_lock (&self->mutex);
      while (self->request == NULL)
        g_cond_wait (&self->cond, &self->mutex);
    }
  return NULL;
}

static void
start_in_worker (FuzzPlayer *self, guint slot)
{
  static gboolean started[FUZZ_N_THREADS];
  Worker *worker = &workers[slot];

  g_mutex_lock (&worker->mutex);
  worker->request = &self->requests[slot];
  worker->player = self;
  g_cond_signal (&worker->cond);
  g_mutex_unlock (&worker->mutex);
  if (!started[slot])
    g_thread_unref (g_thread_new ("fuzz", work, worker));
  started[slot] = TRUE;
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  FuzzRequest *request = user_data;
  g_autoptr (GError) error = NULL;

  if (!request->dropped)
    {
      request->allocation = buf_pool_allocate_finish (BUF_POOL (pool), result, &error);
      request->outcome = fuzz_outcome_from_error (request->player, error);
      fuzz_check (request->player, (request->allocation != NULL) == (error == NULL));
    }
  g_atomic_int_set (&request->done, TRUE);
}

static void
on_acquired (GObject *budget, GAsyncResult *result, gpointer user_data)
{
  FuzzRequest *request = user_data;
  g_autoptr (GError) error = NULL;

  if (!request->dropped)
    {
      request->permit = buf_budget_acquire_finish (BUF_BUDGET (budget), result, &error);
      request->outcome = fuzz_outcome_from_error (request->player, error);
      fuzz_check (request->player, (request->permit != NULL) == (error == NULL));
    }
  g_atomic_int_set (&request->done, TRUE);
}

static void
on_drained (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  FuzzRequest *request = user_data;
  g_autoptr (GError) error = NULL;
  gboolean drained = buf_pool_drain_finish (BUF_POOL (pool), result, &error);

  request->outcome = fuzz_outcome_from_error (request->player, error);
  fuzz_check (request->player, drained == (error == NULL));
  g_atomic_int_set (&request->done, TRUE);
}

static void
start_range (FuzzRequest *request)
{
  void (*start) (BufPool *,
                 gsize,
                 gsize,
                 gint64,
                 int,
                 GCancellable *,
                 GAsyncReadyCallback,
                 gpointer) =
      request->pinned ? buf_pool_allocate_full_pinned_async : buf_pool_allocate_full_async;

  start (request->pool,
         request->n_buffers,
         request->max_buffers,
         -1,
         request->priority,
         request->token,
         on_allocated,
         request);
}

static void
start_task (FuzzRequest *request)
{
  if (request->pool == NULL)
    buf_budget_acquire_async (request->budget,
                              (gsize) request->n_bytes,
                              request->priority,
                              request->token,
                              on_acquired,
                              request);
  else if (request->n_buffers == 0)
    buf_pool_drain_async (request->pool, request->priority, request->token, on_drained, request);
  else if (request->max_buffers > request->n_buffers)
    start_range (request);
  else if (request->pinned)
    buf_pool_allocate_pinned_async (request->pool,
                                    request->n_buffers,
                                    request->priority,
                                    request->token,
                                    on_allocated,
                                    request);
  else
    buf_pool_allocate_async (request->pool,
                             request->n_buffers,
                             request->priority,
                             request->token,
                             on_allocated,
                             request);
}

/* Passes the request to a thread, or to the main loop. */
void
fuzz_request_begin (FuzzPlayer *self, guint slot)
{
  if (slot >= FUZZ_N_THREADS)
    start_task (&self->requests[slot]);
  else
    start_in_worker (self, slot);
}

void
fuzz_request_run_here (FuzzPlayer *self, guint slot)
{
  run (self, &self->requests[slot]);
}

static void
count_waiters (GQueue *waiters, guint *n_threads, guint *n_tasks, guint *n_woken)
{
  for (GList *link = waiters->head; link != NULL; link = link->next)
    {
      BufWaiter *waiter = link->data;

      if (waiter->complete == NULL)
        (*n_threads)++;
      else
        (*n_tasks)++;
      if (waiter->state != BUF_WAITER_ASLEEP)
        (*n_woken)++;
    }
}

static guint
count_pending (FuzzPlayer *self, guint first, guint end)
{
  guint n = 0;

  for (guint slot = first; slot < end; slot++)
    n += self->requests[slot].active && !g_atomic_int_get (&self->requests[slot].done);
  return n;
}

static gboolean
has_timeouts (FuzzPlayer *self)
{
  for (guint slot = 0; slot < FUZZ_N_THREADS; slot++)
    {
      FuzzRequest *request = &self->requests[slot];

      if (request->active && !g_atomic_int_get (&request->done) && request->timeout >= 0)
        return TRUE;
    }
  return FALSE;
}

/* Returns whether each thread's request that has not ended has arrived: it is in the queue, and has
 * received the cached bytes. A thread enters the queue first, and then empties the cache. In
 * between, a block that is freed can be cached, and a request can get a cached block, and the queue
 * sees neither. So a drainer may miss that nothing is outstanding, and a hit does not count as
 * overtaking. The model has no cache, and one step for both.
 *
 * Unless @arrived_only is set, also checks that no request has any work left.
 *
 * The set of requests that have not ended only shrinks here, and a request leaves the queue before
 * it ends. So if their number is the same before the look at the queue, in the queue, and after the
 * look, the sets are the same. */
static gboolean
is_settled (FuzzPlayer *self, gboolean arrived_only)
{
  guint n_threads = count_pending (self, 0, FUZZ_N_THREADS);
  guint n_threads_queued = 0, n_tasks_queued = 0, n_woken = 0;
  gboolean may_expire = has_timeouts (self);
  gboolean reclaims = FALSE;

  g_mutex_lock (&self->tree->mutex);
  for (guint level = 0; level < self->n_levels; level++)
    {
      BufSemaphore *semaphore = self->nodes[level].semaphore;

      count_waiters (&semaphore->level.waiters, &n_threads_queued, &n_tasks_queued, &n_woken);
      count_waiters (&semaphore->level.drainers, &n_threads_queued, &n_tasks_queued, &n_woken);
      reclaims |= semaphore->n_returning > 0 ||
                  (semaphore->keeps && !buf_semaphore_may_keep_locked (semaphore));
    }
  g_mutex_unlock (&self->tree->mutex);

  if (reclaims || n_threads != n_threads_queued ||
      n_threads != count_pending (self, 0, FUZZ_N_THREADS))
    return FALSE;
  return arrived_only || (!may_expire && n_woken == 0 &&
                          n_tasks_queued == count_pending (self, FUZZ_N_THREADS, FUZZ_N_REQUESTS));
}

void
fuzz_wait (FuzzPlayer *self, gboolean arrived_only)
{
  gint64 deadline = g_get_monotonic_time () + PATIENCE;
  guint n = 0;

  do
    {
      while (!arrived_only && g_main_context_iteration (self->context, FALSE))
        ;
      if (n > 0)
        g_thread_yield ();
      if (++n % 64 == 0)
        g_usleep (50);
      if (g_get_monotonic_time () > deadline)
        fuzz_fail (self, "it hangs: a request is neither over nor in the queue");
    }
  while (!is_settled (self, arrived_only));
}
