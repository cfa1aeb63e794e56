/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* BufPoolAllocation: its buffers and views, and that its contents do not change. */

#include <string.h>

#include "testing.h"

static void
test_first_example (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUF_BUFFER_SIZE_S16, 64);
  g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 48);
  BufPoolAllocationIter iter;
  guint8 *expected = buf_pool_allocation_get_first (allocation);
  gpointer buffer;
  guint n = 0;

  g_test_summary ("48 of 64 buffers of 16 bytes are 48 distinct blocks, 16 bytes apart, each "
                  "writable over its whole size");
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, 48);
  g_assert_cmpuint (buf_pool_allocation_get_buffer_size (allocation), ==, 16);
  g_assert_cmpuint (buf_pool_allocation_get_allocated_bytes (allocation), ==, 48 * 16);
  g_assert_nonnull (expected);
  g_assert_cmpuint ((gsize) expected % 16, ==, 0);

  buf_pool_allocation_iter_init (&iter, allocation);
  while (buf_pool_allocation_iter_next (&iter, &buffer))
    {
      g_assert_true (buffer == expected);
      g_assert_true (buffer == buf_pool_allocation_get_buffer (allocation, n));
      memset (buffer, n, 16);
      expected += 16;
      n++;
    }
  g_assert_cmpuint (n, ==, 48);
  g_assert_false (buf_pool_allocation_iter_next (&iter, &buffer));

  for (n = 0; n < 48 * 16; n++)
    g_assert_cmpuint (buf_pool_allocation_get_data (allocation, NULL)[n], ==, n / 16);
}

static void
test_accounting (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUF_BUFFER_SIZE_S16, 64);
  BufPoolAllocation *a, *b, *c;

  g_test_summary ("Allocated memory, available memory and counts are exact after every step");
  test_assert_figures (pool, 0, 0);
  a = test_allocate (pool, 48);
  test_assert_figures (pool, 48, 1);
  b = test_allocate (pool, 1);
  test_assert_figures (pool, 49, 2);
  c = test_allocate (pool, 15);
  test_assert_figures (pool, 64, 3);

  buf_pool_allocation_unref (b);
  test_assert_figures (pool, 63, 2);
  buf_pool_allocation_unref (a);
  test_assert_figures (pool, 15, 1);
  b = test_allocate (pool, 49);
  test_assert_figures (pool, 64, 2);
  buf_pool_allocation_unref (b);
  buf_pool_allocation_unref (c);
  test_assert_figures (pool, 0, 0);
}

static void
test_references (void)
{
  g_autoptr (BufPool) pool = test_pool_new (64, 10);
  BufPoolAllocation *allocation = test_allocate (pool, 3);
  BufPoolAllocation *copy;

  g_test_summary ("Only the last reference frees; copies of the boxed type are references");
  g_assert_true (buf_pool_allocation_ref (allocation) == allocation);
  buf_pool_allocation_unref (allocation);
  test_assert_figures (pool, 3, 1);

  copy = g_boxed_copy (BUF_TYPE_POOL_ALLOCATION, allocation);
  g_assert_true (copy == allocation);
  buf_pool_allocation_unref (allocation);
  test_assert_figures (pool, 3, 1);
  memset (buf_pool_allocation_get_first (copy), 1, 192);

  g_boxed_free (BUF_TYPE_POOL_ALLOCATION, copy);
  test_assert_figures (pool, 0, 0);
}

static gpointer
drop (gpointer data)
{
  buf_pool_allocation_unref (data);
  return NULL;
}

static void
test_other_thread (void)
{
  g_autoptr (BufPool) pool = test_pool_new (64, 8);

  g_test_summary ("An allocation may be dropped in a thread that never allocated, repeatedly");
  /* More often than the limit or the credit of any stripe allows. */
  for (guint i = 0; i < test_scale (200); i++)
    {
      BufPoolAllocation *allocation = test_allocate (pool, 1 + i % 8);

      g_thread_join (g_thread_new ("drop", drop, allocation));
      test_assert_figures (pool, 0, 0);
    }
}

static gpointer
ref_and_unref (gpointer data)
{
  BufPoolAllocation *allocation = data;

  for (guint i = 0; i < test_scale (100000); i++)
    buf_pool_allocation_unref (buf_pool_allocation_ref (allocation));
  buf_pool_allocation_unref (allocation);
  return NULL;
}

static void
test_references_race (void)
{
  g_autoptr (BufPool) pool = test_pool_new (64, 8);
  BufPoolAllocation *allocation = test_allocate (pool, 8);
  GThread *threads[4];

  g_test_summary ("Many threads at once count references correctly");
  for (guint i = 0; i < 4; i++)
    threads[i] = g_thread_new ("ref", ref_and_unref, buf_pool_allocation_ref (allocation));
  buf_pool_allocation_unref (allocation);
  for (guint i = 0; i < 4; i++)
    g_thread_join (threads[i]);
  test_assert_figures (pool, 0, 0);
}

static void
test_contents (void)
{
  g_autoptr (BufPool) pool = test_pool_new (24, 1000);
  g_autoptr (GRand) rand = g_rand_new_with_seed (17);
  BufPoolAllocation *live[20] = { NULL };
  guint8 marks[20] = { 0 };

  g_test_summary ("Other threads never change the contents of a live allocation");
  for (guint i = 0; i < test_scale (5000); i++)
    {
      guint slot = g_rand_int_range (rand, 0, 20);
      gsize size;

      if (live[slot] != NULL)
        {
          const guint8 *data = buf_pool_allocation_get_data (live[slot], &size);

          for (gsize k = 0; k < size; k++)
            g_assert_cmpuint (data[k], ==, marks[slot]);
          buf_pool_allocation_unref (live[slot]);
        }

      live[slot] = test_allocate (pool, g_rand_int_range (rand, 1, 50));
      marks[slot] = i;
      memset (buf_pool_allocation_get_first (live[slot]),
              marks[slot],
              buf_pool_allocation_get_allocated_bytes (live[slot]));
    }

  for (guint slot = 0; slot < 20; slot++)
    g_clear_pointer (&live[slot], buf_pool_allocation_unref);
  test_assert_figures (pool, 0, 0);
}

static void
test_views (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 4);
  BufPoolAllocation *allocation = test_allocate (pool, 4);
  guint8 *first = buf_pool_allocation_get_first (allocation);
  GBytes *all = buf_pool_allocation_get_bytes (allocation);
  GBytes *third = buf_pool_allocation_get_buffer_bytes (allocation, 2);

  g_test_summary ("Views show the memory itself, and count until the last one is dropped");
  memset (first + 32, 3, 16);
  g_assert_cmpuint (g_bytes_get_size (all), ==, 64);
  g_assert_true (g_bytes_get_data (all, NULL) == first);
  g_assert_cmpuint (g_bytes_get_size (third), ==, 16);
  g_assert_true (g_bytes_get_data (third, NULL) == first + 32);

  buf_pool_allocation_unref (allocation);
  test_assert_figures (pool, 4, 1);
  g_bytes_unref (all);
  test_assert_figures (pool, 4, 1);
  g_assert_cmpuint (((const guint8 *) g_bytes_get_data (third, NULL))[15], ==, 3);
  g_bytes_unref (third);
  test_assert_figures (pool, 0, 0);
}

static void
test_fill_and_extract (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 4);
  g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 3);
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) middle = NULL;
  g_autoptr (GBytes) nothing = NULL;
  const guint8 text[] = "Twelve bytes";

  g_test_summary ("Data is copied in and out across buffer boundaries");
  g_assert_true (buf_pool_allocation_fill (allocation, 0, text, 12, &error));
  g_assert_no_error (error);
  g_assert_cmpmem (buf_pool_allocation_get_first (allocation), 12, text, 12);

  /* Across a buffer boundary. */
  g_assert_true (buf_pool_allocation_fill (allocation, 3, (const guint8 *) "LVE B", 5, &error));
  middle = buf_pool_allocation_extract (allocation, 2, 7, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (g_bytes_get_data (middle, NULL), g_bytes_get_size (middle), "eLVE By", 7);

  g_assert_true (buf_pool_allocation_fill (allocation, 12, NULL, 0, &error));
  nothing = buf_pool_allocation_extract (allocation, 12, 0, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (g_bytes_get_size (nothing), ==, 0);
}

static void
test_out_of_range (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 4);
  g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 3);
  const struct
  {
    gsize offset, size;
  } ranges[] = { { 0, 13 },        { 12, 1 },        { 13, 0 },
                 { 1, G_MAXSIZE }, { G_MAXSIZE, 1 }, { G_MAXSIZE, G_MAXSIZE } };

  g_test_summary (
      "A range outside the allocation is an error that contains the figures, and changes nothing");
  memset (buf_pool_allocation_get_first (allocation), 7, 12);
  for (guint i = 0; i < G_N_ELEMENTS (ranges); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autofree gchar *offset = g_strdup_printf ("%" G_GSIZE_FORMAT, ranges[i].offset);
      g_autofree gchar *size = g_strdup_printf ("%" G_GSIZE_FORMAT, ranges[i].size);

      g_assert_false (buf_pool_allocation_fill (allocation,
                                                ranges[i].offset,
                                                (const guint8 *) "",
                                                ranges[i].size,
                                                &error));
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OUT_OF_RANGE);
      g_assert_nonnull (strstr (error->message, offset));
      g_assert_nonnull (strstr (error->message, size));
      g_assert_nonnull (strstr (error->message, "12"));
      g_clear_error (&error);
      g_assert_null (
          buf_pool_allocation_extract (allocation, ranges[i].offset, ranges[i].size, &error));
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_OUT_OF_RANGE);
    }
  for (guint i = 0; i < 12; i++)
    g_assert_cmpuint (buf_pool_allocation_get_data (allocation, NULL)[i], ==, 7);
}

static void
test_bad_index (void)
{
  g_autoptr (BufPool) pool = test_pool_new (4, 4);
  g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 3);

  g_test_summary ("An index out of range is reported as a programming error");
  g_test_expect_message ("BufPool",
                         G_LOG_LEVEL_CRITICAL,
                         "*get_buffer: buffer index 3 is out of range 0 to 2");
  g_assert_null (buf_pool_allocation_get_buffer (allocation, 3));
  g_test_assert_expected_messages ();
  g_test_expect_message ("BufPool",
                         G_LOG_LEVEL_CRITICAL,
                         "*get_buffer_bytes: buffer index * is out of range 0 to 2");
  g_assert_null (buf_pool_allocation_get_buffer_bytes (allocation, G_MAXSIZE));
  g_test_assert_expected_messages ();
}

static void
assert_aligned (guint alignment, gsize buffer_size, gboolean zero_fill)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BufPool) pool = g_initable_new (BUF_TYPE_POOL,
                                             NULL,
                                             &error,
                                             "buffer-size",
                                             (guint64) buffer_size,
                                             "max-memory",
                                             (guint64) buffer_size * 4,
                                             "alignment",
                                             alignment,
                                             "zero-fill",
                                             zero_fill,
                                             NULL);
  g_assert_no_error (error);

  for (guint round = 0; round < 3; round++)
    {
      g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 4);
      BufPoolAllocationIter iter;
      gpointer buffer;
      gsize size;
      guint8 *data = buf_pool_allocation_get_data (allocation, &size);

      g_assert_cmpuint (size, ==, buffer_size * 4);
      buf_pool_allocation_iter_init (&iter, allocation);
      while (buf_pool_allocation_iter_next (&iter, &buffer))
        g_assert_cmpuint ((gsize) buffer % MAX (alignment, 1), ==, 0);
      if (zero_fill)
        for (gsize i = 0; i < size; i++)
          g_assert_cmpuint (data[i], ==, 0);
      memset (data, 0xa5, size);
    }
  test_assert_figures (pool, 0, 0);
}

static void
test_alignment (void)
{
  g_test_summary ("Every buffer is aligned, for every power of two up to 1 MiB");

  for (guint alignment = 1; alignment <= 1 << 20; alignment *= 2)
    for (guint factor = 1; factor <= 3; factor++)
      {
        assert_aligned (alignment, alignment * factor, FALSE);
        assert_aligned (alignment, alignment * factor, TRUE);
      }
}

static void
test_zero_fill (void)
{
  g_test_summary ("New memory is zeroed, even if it was used before");

  assert_aligned (0, 1, TRUE);
  assert_aligned (0, 4096, TRUE);
  assert_aligned (0, 1 << 20, TRUE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/allocation/first-example", test_first_example);
  g_test_add_func ("/allocation/accounting", test_accounting);
  g_test_add_func ("/allocation/references", test_references);
  g_test_add_func ("/allocation/other-thread", test_other_thread);
  g_test_add_func ("/allocation/references-race", test_references_race);
  g_test_add_func ("/allocation/contents", test_contents);
  g_test_add_func ("/allocation/views", test_views);
  g_test_add_func ("/allocation/fill-and-extract", test_fill_and_extract);
  g_test_add_func ("/allocation/out-of-range", test_out_of_range);
  g_test_add_func ("/allocation/bad-index", test_bad_index);
  g_test_add_func ("/allocation/alignment", test_alignment);
  g_test_add_func ("/allocation/zero-fill", test_zero_fill);
  return g_test_run ();
}
