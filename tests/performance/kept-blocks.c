/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The benefit of cached blocks: all kinds of requests, random sizes, large blocks that are filled,
 * and how much memory the process then uses. */

#include <bufpool/bufpool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "machine.h"
#include "peer.h"

#define BUDGET     (64 << 20)
#define MEBIBYTE   1048576.0
#define TIME_LIMIT 120

/* A kind of request, or another allocator of such memory. */
typedef struct
{
  const gchar *subject;
  gboolean is_pool;
  gboolean keeps;
  gboolean pinned;
  guint alignment;
  gboolean zero_fill;
} Kind;

static const Kind kinds[] = {
  { .subject = "plain", .is_pool = TRUE, .keeps = TRUE },
  { .subject = "plain, nothing kept", .is_pool = TRUE },
  { .subject = "pinned", .is_pool = TRUE, .keeps = TRUE, .pinned = TRUE },
  { .subject = "aligned", .is_pool = TRUE, .keeps = TRUE, .alignment = 4096 },
  { .subject = "zeroed", .is_pool = TRUE, .keeps = TRUE, .zero_fill = TRUE },
  { .subject = "malloc" },
  { .subject = "posix_memalign", .alignment = 4096 },
  { .subject = "calloc", .zero_fill = TRUE },
};

static BufPool *
create_pool (const Kind *kind, gsize buffer_size)
{
  return g_object_new (BUF_TYPE_POOL,
                       "buffer-size",
                       (guint64) buffer_size,
                       "max-memory",
                       (guint64) BUDGET,
                       "max-cached-memory",
                       (gint64) (kind->keeps ? -1 : 0),
                       "alignment",
                       kind->alignment,
                       "zero-fill",
                       kind->zero_fill,
                       NULL);
}

static void
spin_pool (BufPool *pool, guint n)
{
  for (guint i = 0; i < n; i++)
    buf_pool_allocation_unref (buf_pool_allocate (pool, 1, NULL, NULL));
}

static void
spin_pinned (BufPool *pool, guint n)
{
  for (guint i = 0; i < n; i++)
    buf_pool_allocation_unref (buf_pool_allocate_pinned (pool, 1, NULL, NULL));
}

static void
spin_allocator (const Kind *kind, gsize size, guint n)
{
  for (guint i = 0; i < n; i++)
    {
      gpointer block = NULL;

      if (kind->alignment > 0 && posix_memalign (&block, kind->alignment, size) != 0)
        g_error ("No memory");
      else if (kind->alignment == 0)
        block = kind->zero_fill ? calloc (1, size) : malloc (size);
      __asm__ volatile("" : : "r"(block) : "memory");
      free (block);
    }
}

typedef struct
{
  const Kind *kind;
  gsize size;
} Latency;

static void
measure_latency (Harness *harness, gpointer data)
{
  const Latency *self = data;
  BufPool *pool = self->kind->is_pool ? create_pool (self->kind, self->size) : NULL;
  guint n =
      harness_choose (harness, self->kind->zero_fill && self->size > 4096 ? 2000 : 500000, 100);
  gint64 begin = harness_get_nanoseconds ();

  if (pool == NULL)
    spin_allocator (self->kind, self->size, n);
  else if (self->kind->pinned)
    spin_pinned (pool, n);
  else
    spin_pool (pool, n);
  harness_record (harness, "time", "ns", (double) (harness_get_nanoseconds () - begin) / n);
  g_clear_object (&pool);
}

static void
add_latency (Harness *harness, const gchar *name, gsize size)
{
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      Latency *latency;

      if (!harness_wants (harness, kinds[i].subject) || size % MAX (kinds[i].alignment, 1) != 0)
        continue;
      latency = g_new (Latency, 1);
      *latency = (Latency){ &kinds[i], size };
      harness_add (harness, name, kinds[i].subject, measure_latency, latency, g_free);
    }
  harness_measure (harness);
}

/* Random sizes: a thread has some blocks outstanding, and replaces them one after the other. */

#define N_OUT 16

static void
measure_random (Harness *harness, gpointer data)
{
  const Kind *kind = data;
  BufPool *pool = kind->is_pool ? create_pool (kind, 64) : NULL;
  g_autoptr (GRand) rand = g_rand_new_with_seed (1);
  guint n = harness_choose (harness, 1 << 20, 1 << 8);
  g_autofree guint8 *sizes = g_malloc (n);
  gpointer out[N_OUT] = { NULL };
  gint64 begin;

  for (guint i = 0; i < n; i++)
    sizes[i] = g_rand_int_range (rand, 1, 65);
  begin = harness_get_nanoseconds ();
  for (guint i = 0; i < n; i++)
    {
      gpointer *slot = &out[i % N_OUT];

      if (pool != NULL)
        {
          g_clear_pointer ((BufPoolAllocation **) slot, buf_pool_allocation_unref);
          *slot = buf_pool_allocate (pool, sizes[i], NULL, NULL);
        }
      else
        {
          free (*slot);
          *slot = malloc (sizes[i] * 64);
        }
    }
  harness_record (harness, "time", "ns", (double) (harness_get_nanoseconds () - begin) / n);
  for (guint i = 0; i < N_OUT; i++)
    if (pool != NULL)
      buf_pool_allocation_unref (out[i]);
    else
      free (out[i]);
  g_clear_object (&pool);
}

/* Video frames, one after the other. */

#define FRAME (49766400 / 4096 * 4096)

typedef enum
{
  FRAME_OF_POOL,
  FRAME_OF_MALLOC,
  FRAME_KEPT
} FrameSource;

static void
measure_frames (Harness *harness, gpointer data)
{
  FrameSource source = GPOINTER_TO_INT (data);
  g_autoptr (BufPool) pool = buf_pool_new (4096, (gsize) 3 << 30, NULL);
  gpointer kept = source == FRAME_KEPT ? malloc (FRAME) : NULL;
  guint n = harness_choose (harness, 20, 1);
  gint64 begin = 0;

  /* The first one is not counted. */
  for (guint i = 0; i <= n; i++)
    {
      BufPoolAllocation *allocation = NULL;
      gpointer frame = kept;

      if (i == 1)
        begin = harness_get_nanoseconds ();
      if (source == FRAME_OF_POOL)
        frame = buf_pool_allocation_get_first (
            allocation = buf_pool_allocate (pool, FRAME / 4096, NULL, NULL));
      else if (source == FRAME_OF_MALLOC)
        frame = malloc (FRAME);
      memset (frame, (gint) i, FRAME);
      __asm__ volatile("" : : "r"(frame) : "memory");
      if (source == FRAME_OF_POOL)
        buf_pool_allocation_unref (allocation);
      else if (source == FRAME_OF_MALLOC)
        free (frame);
    }
  harness_record (harness, "time", "ns", (double) (harness_get_nanoseconds () - begin) / n);
  free (kept);
}

/* Eight threads that produce blocks of all sizes, and eight that keep some of them for a while. */

#define N_PRODUCERS 8
#define N_CONSUMERS 8
#define N_KEPT      20

typedef struct
{
  BufPool *pool; /* or NULL: a semaphore of bytes in front of malloc() */
  GMutex mutex;
  GCond cond;
  gsize n_out; /* LOCK: mutex */
  GAsyncQueue *queue;
  guint n;
} Crowd;

typedef struct
{
  gsize size;
} Header;

static gpointer
produce_one (Crowd *self, gsize size)
{
  Header *block;

  if (self->pool != NULL)
    {
      BufPoolAllocation *allocation = buf_pool_allocate (self->pool, size / 4096, NULL, NULL);

      memset (buf_pool_allocation_get_first (allocation), 1, size);
      return allocation;
    }
  g_mutex_lock (&self->mutex);
  while (self->n_out + size > BUDGET)
    g_cond_wait (&self->cond, &self->mutex);
  self->n_out += size;
  g_mutex_unlock (&self->mutex);
  block = malloc (sizeof *block + size);
  block->size = size;
  memset (block + 1, 1, size);
  return block;
}

static void
drop_one (Crowd *self, gpointer block)
{
  gsize size;

  if (self->pool != NULL)
    {
      buf_pool_allocation_unref (block);
      return;
    }
  size = ((Header *) block)->size;
  free (block);
  g_mutex_lock (&self->mutex);
  self->n_out -= size;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->mutex);
}

static gpointer
produce (gpointer data)
{
  Crowd *self = data;
  g_autoptr (GRand) rand = g_rand_new_with_seed (GPOINTER_TO_UINT (g_thread_self ()));

  for (guint i = 0; i < self->n; i++)
    g_async_queue_push (self->queue, produce_one (self, 4096 << g_rand_int_range (rand, 0, 9)));
  return NULL;
}

/* Until it gets the queue itself. */
static gpointer
consume (gpointer data)
{
  Crowd *self = data;
  gpointer kept[N_KEPT] = { NULL };
  gpointer block;

  for (guint i = 0; (block = g_async_queue_pop (self->queue)) != self->queue; i++)
    {
      gpointer last = kept[i % N_KEPT];

      kept[i % N_KEPT] = block;
      if (last != NULL)
        drop_one (self, last);
      /* So that threads that wait for more do not hold the whole budget. */
      if (g_async_queue_length (self->queue) < 0 && kept[(i + 1) % N_KEPT] != NULL)
        drop_one (self, g_steal_pointer (&kept[(i + 1) % N_KEPT]));
    }
  for (guint i = 0; i < N_KEPT; i++)
    if (kept[i] != NULL)
      drop_one (self, kept[i]);
  return NULL;
}

static double
read_status (const gchar *key)
{
  g_autofree gchar *text = NULL;
  const gchar *line;

  if (!g_file_get_contents ("/proc/self/status", &text, NULL, NULL))
    return 0;
  line = strstr (text, key);
  return line != NULL ? g_ascii_strtod (line + strlen (key), NULL) * 1024 : 0;
}

static void
measure_resident (Harness *harness, gpointer data)
{
  Crowd crowd = { .pool = data != NULL ? buf_pool_new (4096, BUDGET, NULL) : NULL };
  GThread *threads[N_PRODUCERS + N_CONSUMERS];

  crowd.queue = g_async_queue_new ();
  crowd.n = harness_choose (harness, 3000, 20);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("crowd", i < N_PRODUCERS ? produce : consume, &crowd);
  for (guint i = 0; i < N_PRODUCERS; i++)
    g_thread_join (threads[i]);
  for (guint i = 0; i < N_CONSUMERS; i++)
    g_async_queue_push (crowd.queue, crowd.queue);
  for (guint i = N_PRODUCERS; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);

  harness_record (harness, "peak", "MiB", read_status ("VmHWM:") / MEBIBYTE);
  harness_record (harness, "left when all is dropped", "MiB", read_status ("VmRSS:") / MEBIBYTE);
  buf_pool_trim_all ();
  harness_record (harness,
                  "left after buf_pool_trim_all()",
                  "MiB",
                  read_status ("VmRSS:") / MEBIBYTE);
  g_async_queue_unref (crowd.queue);
  g_clear_object (&crowd.pool);
}

static void
add (Harness *harness, const gchar *name, const gchar *subject, HarnessFunc func, gpointer data)
{
  if (!harness_wants (harness, subject))
    return;
  harness_isolate_next (harness, TIME_LIMIT);
  harness_add (harness, name, subject, func, data, NULL);
}

int
main (int argc, char **argv)
{
  Harness *harness = harness_new (argc, argv, "kept-blocks");

  add (harness, "resident memory", "plain", measure_resident, (gpointer) &kinds[0]);
  add (harness, "resident memory", "malloc", measure_resident, NULL);
  harness_measure (harness);

  machine_pin_thread (0);
  add_latency (harness, "64 B", 64);
  add_latency (harness, "4 KiB", 4096);
  add_latency (harness, "64 KiB", 64 << 10);
  add_latency (harness, "1 MiB", 1 << 20);

  add (harness, "sizes at random", "plain", measure_random, (gpointer) &kinds[0]);
  add (harness, "sizes at random", "plain, nothing kept", measure_random, (gpointer) &kinds[1]);
  add (harness, "sizes at random", "malloc", measure_random, (gpointer) &kinds[5]);
  add (harness, "frames", "plain", measure_frames, GINT_TO_POINTER (FRAME_OF_POOL));
  add (harness, "frames", "malloc", measure_frames, GINT_TO_POINTER (FRAME_OF_MALLOC));
  add (harness, "frames", "a kept buffer", measure_frames, GINT_TO_POINTER (FRAME_KEPT));
  harness_measure (harness);
  return harness_finish (harness);
}
