/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a request and its release cost, beside the floor of a strict budget that is shared: malloc()
 * and free() of the same size, and two compare-and-swaps that nobody contends. And what two threads
 * do together, and an asynchronous request beside a bare GTask. Prints nanoseconds and ratios: the
 * median of several interleaved runs, and their range. It judges nothing. */

#include <bufpool/bufpool.h>

#include <stdatomic.h>
#include <stdlib.h>

#define N_RUNS     11
#define N_REQUESTS 2000000
#define N_TASKS    100000
#define SIZE       64
#define HEADER     16

typedef double (*Measurement) (BufPool *pool, gsize n_buffers);

static double
nanoseconds_each (gint64 begin, guint n)
{
  return (g_get_monotonic_time () - begin) * 1000.0 / n;
}

static double
measure_floor (BufPool *pool, gsize n_buffers)
{
  static _Alignas(64) _Atomic gint64 word = G_MAXINT32;
  gint64 begin = g_get_monotonic_time ();
  gint64 bytes = n_buffers * SIZE;

  for (guint i = 0; i < N_REQUESTS; i++)
    {
      gint64 old = atomic_load_explicit (&word, memory_order_relaxed);
      gpointer memory;

      while (!atomic_compare_exchange_weak (&word, &old, old - bytes))
        continue;
      memory = malloc (bytes + HEADER);
      __asm__ volatile("" : : "r"(memory) : "memory");
      free (memory);
      old = atomic_load_explicit (&word, memory_order_relaxed);
      while (!atomic_compare_exchange_weak (&word, &old, old + bytes))
        continue;
    }
  return nanoseconds_each (begin, N_REQUESTS);
}

static double
measure_pool (BufPool *pool, gsize n_buffers)
{
  gint64 begin = g_get_monotonic_time ();

  for (guint i = 0; i < N_REQUESTS; i++)
    buf_pool_allocation_unref (buf_pool_allocate (pool, n_buffers, NULL, NULL));
  return nanoseconds_each (begin, N_REQUESTS);
}

static gpointer
run_thread (gpointer data)
{
  measure_pool (data, 1);
  return NULL;
}

static double
measure_two_threads (BufPool *pool, gsize n_buffers)
{
  gint64 begin = g_get_monotonic_time ();
  GThread *first = g_thread_new ("first", run_thread, pool);
  GThread *second = g_thread_new ("second", run_thread, pool);

  g_thread_join (first);
  g_thread_join (second);
  return nanoseconds_each (begin, 2 * N_REQUESTS);
}

static guint n_done;

static void
on_returned (GObject *object, GAsyncResult *result, gpointer user_data)
{
  free (g_task_propagate_pointer (G_TASK (result), NULL));
  n_done++;
}

static double
measure_bare_task (BufPool *pool, gsize n_buffers)
{
  gint64 begin = g_get_monotonic_time ();

  for (n_done = 0; n_done < N_TASKS;)
    {
      g_autoptr (GTask) task = g_task_new (pool, NULL, on_returned, NULL);

      g_task_return_pointer (task, malloc (n_buffers * SIZE + HEADER), free);
      g_main_context_iteration (NULL, FALSE);
    }
  return nanoseconds_each (begin, N_TASKS);
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  buf_pool_allocation_unref (buf_pool_allocate_finish (BUF_POOL (pool), result, NULL));
  n_done++;
}

static double
measure_async (BufPool *pool, gsize n_buffers)
{
  gint64 begin = g_get_monotonic_time ();

  for (n_done = 0; n_done < N_TASKS;)
    {
      buf_pool_allocate_async (pool, n_buffers, G_PRIORITY_DEFAULT, NULL, on_allocated, NULL);
      g_main_context_iteration (NULL, FALSE);
    }
  return nanoseconds_each (begin, N_TASKS);
}

static int
compare (gconstpointer a, gconstpointer b)
{
  double x = *(const double *) a;
  double y = *(const double *) b;

  return (x > y) - (x < y);
}

static void
report (const gchar *name,
        BufPool *pool,
        gsize n_buffers,
        Measurement baseline,
        Measurement subject)
{
  double base[N_RUNS], ours[N_RUNS], ratio[N_RUNS];

  for (guint i = 0; i < N_RUNS; i++)
    {
      base[i] = baseline (pool, n_buffers);
      ours[i] = subject (pool, n_buffers);
      ratio[i] = ours[i] / base[i];
    }
  qsort (base, N_RUNS, sizeof (double), compare);
  qsort (ours, N_RUNS, sizeof (double), compare);
  qsort (ratio, N_RUNS, sizeof (double), compare);
  g_print ("%-44s %8.2f %8.2f ns   ratio %.3f (%.3f to %.3f)\n",
           name,
           base[N_RUNS / 2],
           ours[N_RUNS / 2],
           ratio[N_RUNS / 2],
           ratio[0],
           ratio[N_RUNS - 1]);
}

int
main (void)
{
  g_autoptr (BufPool) pool = buf_pool_new (SIZE, 64 << 20, NULL);

  g_print ("%-44s %8s %8s\n", "", "baseline", "pool");
  report ("1 buffer, against the floor", pool, 1, measure_floor, measure_pool);
  report ("16 buffers, against the floor", pool, 16, measure_floor, measure_pool);
  report ("1024 buffers, against the floor", pool, 1024, measure_floor, measure_pool);
  report ("2 threads, against 1, for each request", pool, 1, measure_pool, measure_two_threads);
  report ("asynchronous, against a bare GTask", pool, 1, measure_bare_task, measure_async);
  return 0;
}
