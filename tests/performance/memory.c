/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The memory that an allocation uses beyond its bytes, and the resident memory of a process that
 * works with blocks of all sizes for a long time, compared with its budget. */

#include <bufpool/bufpool.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "peer.h"

#define BUDGET      (64 << 20)
#define BUFFER_SIZE 64
#define MAX_BUFFERS 4096
#define TIME_LIMIT  120

typedef struct
{
  const gchar *subject;
  gsize size;
} Block;

static double
get_usable (gpointer memory)
{
  return malloc_usable_size (memory);
}

static void
measure_malloc (Harness *harness, gpointer data)
{
  Block *self = data;
  gpointer memory = malloc (self->size);

  harness_record (harness, "overhead", "bytes", get_usable (memory) - self->size);
  free (memory);
}

static void
measure_bytes (Harness *harness, gpointer data)
{
  Block *self = data;
  gpointer plain = malloc (self->size);
  gpointer memory = g_malloc (self->size);
  GBytes *bytes = g_bytes_new_take (memory, self->size);

  harness_record (harness,
                  "overhead",
                  "bytes",
                  get_usable (memory) + get_usable (bytes) - get_usable (plain));
  g_bytes_unref (bytes);
  free (plain);
}

/* The header and the buffers are one block of malloc(). */
static void
measure_pool (Harness *harness, gpointer data)
{
  Block *self = data;
  g_autoptr (BufPool) pool = buf_pool_new (self->size, BUF_POOL_UNLIMITED, NULL);
  gpointer plain = malloc (self->size);
  g_autoptr (BufPoolAllocation) allocation = buf_pool_allocate (pool, 1, NULL, NULL);
  gsize header = (guint8 *) buf_pool_allocation_get_first (allocation) - (guint8 *) allocation;

  harness_record (harness, "header", "bytes", header);
  harness_record (harness, "overhead", "bytes", get_usable (allocation) - get_usable (plain));
  free (plain);
}

static void
add_block (Harness *harness, const gchar *name, const gchar *subject, gsize size, HarnessFunc func)
{
  Block *block;

  if (!harness_wants (harness, subject))
    return;
  block = g_new0 (Block, 1);
  block->size = size;
  harness_add (harness, name, subject, func, block, g_free);
}

static double
read_status (const gchar *key)
{
  g_autofree gchar *text = NULL;
  const gchar *line;

  if (!g_file_get_contents ("/proc/self/status", &text, NULL, NULL))
    return 0;
  line = strstr (text, key);
  return line != NULL ? g_ascii_strtod (line + strlen (key), NULL) / 1024 : 0;
}

/* Small blocks are much more frequent than large ones. */
static guint
choose_n_buffers (GRand *rand)
{
  double n = MAX_BUFFERS;

  for (guint i = 0; i < 4; i++)
    n *= g_rand_double (rand);
  return 1 + (guint) n;
}

typedef struct
{
  GPtrArray *blocks;
  GArray *sizes; /* of guint, in buffers */
  gsize n_out;   /* buffers */
} Outstanding;

static guint
take_any (Outstanding *self, GRand *rand, gpointer *block)
{
  guint i = g_rand_int_range (rand, 0, self->blocks->len);
  guint n = g_array_index (self->sizes, guint, i);

  *block = g_ptr_array_steal_index_fast (self->blocks, i);
  g_array_remove_index_fast (self->sizes, i);
  self->n_out -= n;
  return n;
}

/* Fills the budget, and then drops blocks at random whenever the next one does not fit; the same
 * blocks for each peer. */
static void
measure_peak (Harness *harness, gpointer data)
{
  const Peer *peer = data;
  gpointer pool = peer->create (BUFFER_SIZE, 1, BUDGET);
  g_autoptr (GRand) rand = g_rand_new_with_seed (1);
  g_autoptr (GPtrArray) blocks = g_ptr_array_sized_new (BUDGET / BUFFER_SIZE);
  g_autoptr (GArray) sizes = g_array_sized_new (FALSE, TRUE, sizeof (guint), BUDGET / BUFFER_SIZE);
  Outstanding out = { blocks, sizes, 0 };
  double before = read_status ("VmRSS:");
  guint n = harness_choose (harness, 1000000, 2000);
  gpointer block;

  for (guint i = 0; i < n; i++)
    {
      guint n_buffers = choose_n_buffers (rand);

      while ((out.n_out + n_buffers) * BUFFER_SIZE > BUDGET)
        {
          take_any (&out, rand, &block);
          peer->drop (pool, block);
        }
      block = peer->allocate (pool, n_buffers);
      memset (peer == &peer_libbufpool ? buf_pool_allocation_get_first (block) : block,
              1,
              n_buffers * BUFFER_SIZE);
      g_ptr_array_add (blocks, block);
      g_array_append_val (sizes, n_buffers);
      out.n_out += n_buffers;
    }
  harness_record (harness,
                  "peak beyond the limit",
                  "MiB",
                  read_status ("VmHWM:") - before - BUDGET / 1048576.0);
  while (blocks->len > 0)
    {
      take_any (&out, rand, &block);
      peer->drop (pool, block);
    }
  harness_record (harness, "left when all is dropped", "MiB", read_status ("VmRSS:") - before);
  peer->destroy (pool);
}

static void
add_peak (Harness *harness, const Peer *peer)
{
  if (!harness_wants (harness, peer->name))
    return;
  harness_isolate_next (harness, TIME_LIMIT);
  harness_add (harness, "long random run", peer->name, measure_peak, (gpointer) peer, NULL);
}

int
main (int argc, char **argv)
{
  static const gsize sizes[] = { 8, 16, 64, 256, 1024, 4096, 16384, 65536 };
  Harness *harness = harness_new (argc, argv, "memory");

  harness_set_runs (harness, 3);
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    {
      g_autofree gchar *name = g_strdup_printf ("%" G_GSIZE_FORMAT " B", sizes[i]);

      add_block (harness, name, "libbufpool", sizes[i], measure_pool);
      add_block (harness, name, "malloc", sizes[i], measure_malloc);
      add_block (harness, name, "GBytes", sizes[i], measure_bytes);
    }
  add_peak (harness, &peer_libbufpool);
  add_peak (harness, &peer_malloc);
  harness_measure (harness);
  return harness_finish (harness);
}
