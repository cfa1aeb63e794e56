/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a budget costs that thousands of pools share. Each pool has room for all its requests, so a
 * request that waits is short of bytes at the budget only. */

#include <bufpool/bufpool.h>

#include "harness.h"

#define BUFFER_SIZE 4096
#define POOL_LIMIT  (64 << 20)
#define TIME_LIMIT  60
#define N_RUNS      11

typedef struct
{
  guint n_pools;
  BufBudget *budget;
  BufPool **pools;
  BufPool *other;
  BufPoolAllocation *granted;
  guint n_settled;
} Many;

static BufPool *
new_pool (BufBudget *budget, gint64 max_cached)
{
  return g_initable_new (BUF_TYPE_POOL,
                         NULL,
                         NULL,
                         "buffer-size",
                         (guint64) BUFFER_SIZE,
                         "max-memory",
                         (guint64) POOL_LIMIT,
                         "max-cached-memory",
                         max_cached,
                         "budget",
                         budget,
                         NULL);
}

static void
begin (Many *self, gsize max_memory)
{
  self->budget = buf_budget_new (max_memory);
  self->pools = g_new (BufPool *, self->n_pools);
  for (guint i = 0; i < self->n_pools; i++)
    self->pools[i] = new_pool (self->budget, -1);
  self->other = new_pool (self->budget, 0);
  self->n_settled = 0;
}

static void
end (Many *self)
{
  for (guint i = 0; i < self->n_pools; i++)
    g_object_unref (self->pools[i]);
  g_free (self->pools);
  g_object_unref (self->other);
  g_object_unref (self->budget);
}

static void
on_settled (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Many *self = user_data;

  self->granted = buf_pool_allocate_finish (BUF_POOL (pool), result, NULL);
  self->n_settled++;
}

static void
request (Many *self, guint pool, gsize n_buffers)
{
  buf_pool_allocate_async (self->pools[pool % self->n_pools],
                           n_buffers,
                           G_PRIORITY_DEFAULT,
                           NULL,
                           on_settled,
                           self);
}

static void
settle (Many *self, guint n)
{
  while (self->n_settled < n)
    g_main_context_iteration (NULL, TRUE);
}

static BufPermit *
acquire (Many *self, gsize bytes)
{
  return buf_budget_acquire (self->budget, bytes, NULL, NULL);
}

static void
record (Harness *harness, gint64 began, guint n)
{
  harness_record (harness, "time", "µs", (double) (harness_get_nanoseconds () - began) / n / 1000);
}

/* A release grants the request of one pool, which then makes another one. */
static void
measure_grants (Harness *harness, gpointer data)
{
  Many *self = data;
  guint n = harness_choose (harness, 2000, 10);
  BufPermit *permit;
  gint64 began;

  begin (self, BUFFER_SIZE);
  permit = acquire (self, BUFFER_SIZE);
  for (guint i = 0; i < self->n_pools; i++)
    request (self, i, 1);
  buf_permit_unref (permit);
  settle (self, 1);

  began = harness_get_nanoseconds ();
  for (guint i = 0; i < n; i++)
    {
      buf_pool_allocation_unref (g_steal_pointer (&self->granted));
      request (self, i, 1);
      settle (self, i + 2);
    }
  record (harness, began, n);

  for (guint i = n + 2; i <= n + self->n_pools; i++)
    {
      buf_pool_allocation_unref (g_steal_pointer (&self->granted));
      settle (self, i);
    }
  buf_pool_allocation_unref (g_steal_pointer (&self->granted));
  end (self);
}

/* The requests of all pools wait for more than there is after each release. */
static void
measure_nothing_fits (Harness *harness, gpointer data)
{
  Many *self = data;
  guint n = harness_choose (harness, 1000, 10);
  gsize bytes = n * (gsize) BUFFER_SIZE;
  g_autoptr (BufPermit) shrinks = NULL;
  g_autoptr (BufPermit) rest = NULL;
  gint64 began;

  begin (self, 2 * bytes);
  shrinks = acquire (self, bytes);
  rest = acquire (self, bytes);
  for (guint i = 0; i < self->n_pools; i++)
    request (self, i, 2 * n);

  began = harness_get_nanoseconds ();
  for (guint i = 1; i <= n; i++)
    buf_permit_shrink (shrinks, bytes - i * (gsize) BUFFER_SIZE, NULL);
  record (harness, began, n);

  buf_permit_release (rest);
  for (guint i = 1; i <= self->n_pools; i++)
    {
      settle (self, i);
      buf_pool_allocation_unref (g_steal_pointer (&self->granted));
    }
  end (self);
}

/* Each pool has cached a block, and another one needs the bytes of one of them. */
static void
measure_evictions (Harness *harness, gpointer data)
{
  Many *self = data;
  guint n = harness_choose (harness, 2000, 10);
  gint64 began;

  begin (self, (gsize) self->n_pools * BUFFER_SIZE);
  for (guint i = 0; i < self->n_pools; i++)
    buf_pool_allocation_unref (buf_pool_allocate (self->pools[i], 1, NULL, NULL));

  began = harness_get_nanoseconds ();
  for (guint i = 0; i < n; i++)
    {
      buf_pool_allocation_unref (buf_pool_allocate (self->other, 1, NULL, NULL));
      for (guint j = 0; j < 1 + i % 2; j++) /* two pools with something to evict, or one */
        buf_pool_allocation_unref (
            buf_pool_allocate (self->pools[(i + j) % self->n_pools], 1, NULL, NULL));
    }
  record (harness, began, n);
  end (self);
}

/* A single request waits, and all pools have to close their caches; then none waits for a while,
 * and they may open them again. */
static void
measure_waits (Harness *harness, gpointer data)
{
  Many *self = data;
  guint n = harness_choose (harness, 50, 2);
  gint64 took = 0;

  begin (self, POOL_LIMIT);
  for (guint i = 0; i < n; i++)
    {
      BufPermit *permit = acquire (self, POOL_LIMIT);
      gint64 began = harness_get_nanoseconds ();

      request (self, i, 1);
      buf_permit_unref (permit);
      settle (self, i + 1);
      buf_pool_allocation_unref (g_steal_pointer (&self->granted));
      for (guint j = 0; j < 100; j++)
        buf_pool_allocation_unref (
            buf_pool_allocate (self->pools[j % self->n_pools], 1, NULL, NULL));
      took += harness_get_nanoseconds () - began;
    }
  harness_record (harness, "time", "µs", took / 1000.0 / n);
  end (self);
}

static void
add (Harness *harness, const gchar *name, HarnessFunc func)
{
  static const struct
  {
    const gchar *name;
    guint n_pools;
  } cases[] = {
    { "10 pools", 10 },
    { "1,000 pools", 1000 },
    { "10,000 pools", 10000 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      Many many = { .n_pools = cases[i].n_pools };

      harness_isolate_next (harness, TIME_LIMIT);
      harness_add (harness, cases[i].name, name, func, g_memdup2 (&many, sizeof many), g_free);
    }
}

int
main (int argc, char **argv)
{
  Harness *harness = harness_new (argc, argv, "many-pools");

  harness_set_runs (harness, N_RUNS);
  add (harness, "a release grants a request", measure_grants);
  add (harness, "a release grants nothing", measure_nothing_fits);
  add (harness, "cached blocks are evicted", measure_evictions);
  add (harness, "a request waits, 100 others do not", measure_waits);
  harness_measure (harness);
  return harness_finish (harness);
}
