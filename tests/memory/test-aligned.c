/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Aligned memory, zeroed memory, or both: its contents and its cost. */

#include <stdio.h>
#include <string.h>

#include "memory/buf-aligned-private.h"
#include "testing.h"

#define MEBIBYTE (1024 * 1024)

static void
assert_usable (gsize size, gsize alignment, gboolean zero_fill)
{
  for (guint round = 0; round < 3; round++)
    {
      guint8 *data = buf_aligned_alloc (size, alignment, zero_fill);

      g_assert_nonnull (data);
      g_assert_cmpuint ((guintptr) data % MAX (alignment, 1), ==, 0);
      if (zero_fill)
        g_assert_true (data[0] == 0 && memcmp (data, data + 1, size - 1) == 0);
      memset (data, 0xa5, size);
      buf_aligned_free (data, size, alignment, zero_fill);
    }
}

static void
test_usable (void)
{
  const gsize sizes[] = { 1, 24, 4096, 128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1, 3 * MEBIBYTE };

  g_test_summary ("Memory has its alignment, is zero if requested, and is writable up to the last "
                  "byte, below and above the large size");

  for (gsize alignment = 1; alignment <= MEBIBYTE; alignment *= 2)
    for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
      {
        assert_usable (sizes[i], alignment == 1 ? 0 : alignment, FALSE);
        assert_usable (sizes[i], alignment == 1 ? 0 : alignment, TRUE);
      }
}

static void
test_wrapping (void)
{
  g_test_summary ("A size that overflows when the alignment is added fails");

  g_assert_null (buf_aligned_alloc (G_MAXSIZE - 4095, 4096, TRUE));
  g_assert_null (buf_aligned_alloc (G_MAXSIZE, 4096, TRUE));
}

/* In KiB; negative if the system does not report it. */
static glong
get_resident_memory (void)
{
  glong pages = -1;
  FILE *statm = fopen ("/proc/self/statm", "r");

  if (statm == NULL)
    return -1;
  if (fscanf (statm, "%*d %ld", &pages) != 1)
    pages = -1;
  fclose (statm);
  return pages * 4;
}

/* Returns the resident size of an untouched allocation of 64 MiB. Only a pool that was created with
 * a cache maps it. */
static glong
measure_unused_memory (guint alignment, gboolean caches)
{
  g_autoptr (BufPool) pool = g_object_new (BUF_TYPE_POOL,
                                           "buffer-size",
                                           (guint64) 4096,
                                           "max-memory",
                                           (guint64) 64 * MEBIBYTE,
                                           "alignment",
                                           alignment,
                                           "zero-fill",
                                           TRUE,
                                           "max-cached-memory",
                                           (gint64) (caches ? -1 : 0),
                                           NULL);
  glong before = get_resident_memory ();
  g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 16384);
  glong after = get_resident_memory ();

  g_assert_cmpint (*(guint8 *) buf_pool_allocation_get_buffer (allocation, 16383), ==, 0);
  return after - before;
}

static void
test_unused (void)
{
  g_test_summary ("Untouched zeroed memory uses no more resident memory when it is aligned");

  if (get_resident_memory () < 0)
    {
      g_test_skip ("This system does not report resident memory");
      return;
    }

  for (guint caches = 0; caches < 2; caches++)
    {
      glong natural = measure_unused_memory (0, caches);
      glong aligned = measure_unused_memory (4096, caches);

      g_test_message ("resident: %ld KiB, aligned %ld KiB", natural, aligned);
      g_assert_cmpint (aligned, <, natural + 1024);
    }
}

#ifdef __SANITIZE_ADDRESS__
static const gint neighbours[] = { -1, -8, -9, 0, 1, 8 };

static void
touch_neighbour (gconstpointer user_data)
{
  const gint *neighbour = user_data;
  gsize size = 128 * 1024;
  volatile guint8 *data = buf_aligned_alloc (size, 4096, TRUE);

  data[*neighbour < 0 ? (gssize) *neighbour : (gssize) size + *neighbour] = 1;
}

static void
test_neighbours (void)
{
  g_test_summary ("AddressSanitizer detects accesses to the memory around an aligned block");

  for (guint i = 0; i < G_N_ELEMENTS (neighbours); i++)
    {
      g_autofree gchar *path = g_strdup_printf ("/aligned/neighbours/subprocess/%u", i);

      g_test_trap_subprocess (path, 0, 0);
      g_test_trap_assert_failed ();
      g_test_trap_assert_stderr ("*AddressSanitizer: use-after-poison*");
    }
}
#endif

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/aligned/usable", test_usable);
  g_test_add_func ("/aligned/wrapping", test_wrapping);
  g_test_add_func ("/aligned/unused", test_unused);
#ifdef __SANITIZE_ADDRESS__
  g_test_add_func ("/aligned/neighbours", test_neighbours);
  for (guint i = 0; i < G_N_ELEMENTS (neighbours); i++)
    {
      g_autofree gchar *path = g_strdup_printf ("/aligned/neighbours/subprocess/%u", i);

      g_test_add_data_func (path, &neighbours[i], touch_neighbour);
    }
#endif
  return g_test_run ();
}
