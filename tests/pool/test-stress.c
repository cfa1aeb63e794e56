/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Many threads, for a long time: nothing hangs, no limit is exceeded, all bytes return. */

#include "testing.h"

#define N_THREADS   8
#define N_REQUESTS  50000
#define N_BUFFERS   5
#define BUFFER_SIZE 64
#define N_HAND_OFFS 1000000
#define PATIENCE    (20 * G_USEC_PER_SEC)

/* Reports the round, and ends the program, when there was no progress for PATIENCE. */
typedef struct
{
  gint round; /* atomic */
  gint stop;  /* atomic */
  GThread *thread;
} Watchdog;

static gpointer
watch (gpointer data)
{
  Watchdog *self = data;
  gint last = -1;
  gint64 since = 0;

  while (!g_atomic_int_get (&self->stop))
    {
      gint round = g_atomic_int_get (&self->round);

      if (round != last)
        {
          last = round;
          since = g_get_monotonic_time ();
        }
      else if (g_get_monotonic_time () - since > PATIENCE)
        g_error ("hangs in round %d", round);
      g_usleep (10000);
    }
  return NULL;
}

static void
watchdog_start (Watchdog *self)
{
  self->round = 0;
  self->stop = FALSE;
  self->thread = g_thread_new ("watchdog", watch, self);
}

static void
watchdog_end (Watchdog *self)
{
  g_atomic_int_set (&self->stop, TRUE);
  g_thread_join (self->thread);
}

typedef struct
{
  BufPool *pool;
  Watchdog watchdog;
  gint out;     /* atomic; buffers */
  gint maximum; /* atomic; buffers */
  gint n_failed[3];
} Stress;

static gpointer
hand_off (gpointer data)
{
  Stress *stress = data;
  guint n_rounds = test_scale (N_HAND_OFFS);

  for (guint i = 0; i < n_rounds; i++)
    {
      BufPoolAllocation *whole = buf_pool_allocate (stress->pool, N_BUFFERS, NULL, NULL);

      g_assert_cmpint (g_atomic_int_add (&stress->out, 1), ==, 0);
      g_atomic_int_add (&stress->out, -1);
      g_atomic_int_inc (&stress->watchdog.round);
      buf_pool_allocation_unref (whole);
    }
  return NULL;
}

static void
run_threads (Stress *stress, GThreadFunc func, guint n_threads)
{
  GThread *threads[N_THREADS];

  stress->pool = test_pool_new_timed (BUFFER_SIZE, N_BUFFERS);
  stress->maximum = N_BUFFERS;
  watchdog_start (&stress->watchdog);
  for (guint i = 0; i < n_threads; i++)
    threads[i] = g_thread_new ("stress", func, stress);
  for (guint i = 0; i < n_threads; i++)
    g_thread_join (threads[i]);
  watchdog_end (&stress->watchdog);
  test_assert_figures (stress->pool, 0, 0);
  g_assert_cmpuint (buf_pool_get_waiting (stress->pool), ==, 0);
  g_object_unref (stress->pool);
}

static void
test_hand_off (void)
{
  Stress stress = { 0 };

  g_test_summary ("Two threads pass the whole budget back and forth, a million times each");

  run_threads (&stress, hand_off, 2);
  g_assert_cmpint (stress.watchdog.round, ==, 2 * test_scale (N_HAND_OFFS));
}

/* The count is at most what the pool has outstanding: it is increased after the allocation, and
 * decreased before the release. */
static void
hold (Stress *stress, BufPoolAllocation *allocation, gint n)
{
  gint out = g_atomic_int_add (&stress->out, n) + n;

  g_assert_cmpint (out, <=, g_atomic_int_get (&stress->maximum));
  *(guint8 *) buf_pool_allocation_get_buffer (allocation, n - 1) = n;
  if (out % 3 == 0)
    g_thread_yield ();
  g_atomic_int_add (&stress->out, -n);
}

static gpointer
request_and_drop (gpointer data)
{
  Stress *stress = data;
  g_autoptr (GRand) rand = g_rand_new ();
  guint n_rounds = test_scale (N_REQUESTS);

  for (guint i = 0; i < n_rounds; i++)
    {
      gint n = g_rand_int_range (rand, 1, N_BUFFERS + 1);
      BufPoolAllocation *allocation = buf_pool_allocate (stress->pool, n, NULL, NULL);

      hold (stress, allocation, n);
      buf_pool_allocation_unref (allocation);
      g_atomic_int_inc (&stress->watchdog.round);
    }
  return NULL;
}

static void
test_random_sizes (void)
{
  Stress stress = { 0 };

  g_test_summary ("8 threads with 50,000 requests each, of random sizes, share a budget of 5 "
                  "buffers");

  run_threads (&stress, request_and_drop, N_THREADS);
}

typedef struct
{
  GMutex mutex;
  GCancellable *current; /* LOCK: mutex */
} Canceller;

static Canceller canceller;

static GCancellable *
get_cancellable (void)
{
  GCancellable *cancellable;

  g_mutex_lock (&canceller.mutex);
  cancellable = g_object_ref (canceller.current);
  g_mutex_unlock (&canceller.mutex);
  return cancellable;
}

static void
cancel_and_renew (void)
{
  g_autoptr (GCancellable) old = NULL;

  g_mutex_lock (&canceller.mutex);
  old = g_steal_pointer (&canceller.current);
  canceller.current = g_cancellable_new ();
  g_mutex_unlock (&canceller.mutex);
  g_cancellable_cancel (old);
}

/* A smaller maximum counts only after usage has decreased to it. */
static void
change_maximum (Stress *stress, GRand *rand)
{
  gint maximum = g_rand_int_range (rand, 1, 2 * N_BUFFERS);

  g_atomic_int_set (&stress->maximum, 2 * N_BUFFERS);
  buf_pool_set_max_memory (stress->pool, maximum * BUFFER_SIZE);
}

static gpointer
request_and_disturb (gpointer data)
{
  Stress *stress = data;
  g_autoptr (GRand) rand = g_rand_new ();
  guint n_rounds = test_scale (N_REQUESTS);

  for (guint i = 0; i < n_rounds; i++)
    {
      gint n = g_rand_int_range (rand, 1, N_BUFFERS + 1);
      g_autoptr (GCancellable) cancellable = get_cancellable ();
      g_autoptr (GError) error = NULL;
      BufPoolAllocation *allocation = buf_pool_allocate_timeout (stress->pool,
                                                                 n,
                                                                 g_rand_int_range (rand, 0, 2000),
                                                                 cancellable,
                                                                 &error);

      if (allocation != NULL)
        {
          hold (stress, allocation, n);
          buf_pool_allocation_unref (allocation);
        }
      else if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
        g_atomic_int_inc (&stress->n_failed[0]);
      else if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        g_atomic_int_inc (&stress->n_failed[1]);
      else if (g_error_matches (error, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE))
        g_atomic_int_inc (&stress->n_failed[2]);
      else
        g_assert_no_error (error);

      if (i % 50 == 0)
        cancel_and_renew ();
      if (i % 100 == 0)
        change_maximum (stress, rand);
      g_atomic_int_inc (&stress->watchdog.round);
    }
  return NULL;
}

static void
test_disturbed (void)
{
  Stress stress = { 0 };

  g_test_summary ("The same with random timeouts, cancellations and changes of the maximum");

  canceller.current = g_cancellable_new ();
  run_threads (&stress, request_and_disturb, N_THREADS);
  g_clear_object (&canceller.current);
  g_test_message ("%d timed out, %d cancelled, %d too large",
                  stress.n_failed[0],
                  stress.n_failed[1],
                  stress.n_failed[2]);

  /* In a short run, it may happen that no request waits. */
  if (test_scale (N_REQUESTS) < N_REQUESTS)
    return;
  g_assert_cmpint (stress.n_failed[0], >, 0);
  g_assert_cmpint (stress.n_failed[1], >, 0);
  g_assert_cmpint (stress.n_failed[2], >, 0);
}

/* Counts outstanding buffers: increased after the allocation, and decreased before the release, so
 * it is never too large. */
typedef struct
{
  BufPool *pool;
  GMutex mutex;
  gint64 limit; /* LOCK: mutex; buffers */
  gint64 out;   /* LOCK: mutex; buffers */
  gint stop;    /* atomic */
} Ledger;

static void
ledger_add (Ledger *self, gint64 n)
{
  g_mutex_lock (&self->mutex);
  self->out += n;
  g_assert_cmpint (self->out, <=, self->limit);
  g_mutex_unlock (&self->mutex);
}

static void
ledger_set_limit (Ledger *self, gint64 limit)
{
  g_mutex_lock (&self->mutex);
  self->limit = limit;
  g_assert_cmpint (self->out, <=, self->limit);
  g_mutex_unlock (&self->mutex);
}

static gpointer
collect_and_drop (gpointer data)
{
  Ledger *ledger = data;
  BufPoolAllocation *held[60];
  guint n_held = 0;

  while (!g_atomic_int_get (&ledger->stop) || n_held > 0)
    {
      BufPoolAllocation *allocation = NULL;

      if (n_held < G_N_ELEMENTS (held) && !g_atomic_int_get (&ledger->stop))
        allocation = buf_pool_try_allocate (ledger->pool, 1, NULL);
      if (allocation != NULL)
        {
          ledger_add (ledger, 1);
          held[n_held++] = allocation;
        }
      else
        while (n_held > 0)
          {
            ledger_add (ledger, -1);
            buf_pool_allocation_unref (held[--n_held]);
          }
    }
  return NULL;
}

static void
test_maximum_in_force (void)
{
  static const gint64 maxima[] = { 400, 2, 300, 0, 50, 100 };
  Ledger ledger = { .limit = 400, .pool = test_pool_new_timed (BUFFER_SIZE, 400) };
  GThread *threads[4];
  gint64 before = 400;

  g_test_summary (
      "The maximum is raised, lowered below usage, and raised again under load: usage never "
      "exceeds the old or the new one, nor the new one once usage has decreased to it");

  for (guint i = 0; i < 4; i++)
    threads[i] = g_thread_new ("ledger", collect_and_drop, &ledger);

  for (guint round = 0; round < test_scale (3000); round++)
    {
      gint64 maximum = maxima[round % G_N_ELEMENTS (maxima)];

      ledger_set_limit (&ledger, MAX (before, maximum));
      buf_pool_set_max_memory (ledger.pool, maximum * BUFFER_SIZE);
      test_wait_until (buf_pool_get_allocated_memory (ledger.pool) <=
                       (gsize) maximum * BUFFER_SIZE);
      ledger_set_limit (&ledger, maximum);
      before = maximum;
    }

  g_atomic_int_set (&ledger.stop, TRUE);
  for (guint i = 0; i < 4; i++)
    g_thread_join (threads[i]);
  test_assert_figures (ledger.pool, 0, 0);
  g_object_unref (ledger.pool);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/stress/hand-off", test_hand_off);
  g_test_add_func ("/stress/random-sizes", test_random_sizes);
  g_test_add_func ("/stress/disturbed", test_disturbed);
  g_test_add_func ("/stress/maximum-in-force", test_maximum_in_force);
  return g_test_run ();
}
