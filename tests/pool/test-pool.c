/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* BufPool: its properties, and its errors. Nothing here waits. */

#include <string.h>

#include "testing.h"

static BufPool *
new_unchecked (guint64 buffer_size, guint64 max_memory, guint alignment)
{
  return g_object_new (BUF_TYPE_POOL,
                       "buffer-size",
                       buffer_size,
                       "max-memory",
                       max_memory,
                       "alignment",
                       alignment,
                       NULL);
}

static void
assert_refused (BufPool *pool, gsize n_buffers, GQuark domain, gint code, const gchar *figure)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (buf_pool_try_allocate (pool, n_buffers, &error));
  g_assert_error (error, domain, code);
  g_assert_nonnull (strstr (error->message, figure));
  g_clear_error (&error);

  g_assert_null (buf_pool_allocate_timeout (pool, n_buffers, 0, NULL, &error));
  g_assert_true (error->domain == domain);
  g_assert_true (error->code == code ||
                 (domain == G_IO_ERROR && error->code == G_IO_ERROR_TIMED_OUT));
  g_assert_nonnull (strstr (error->message, figure));
  g_clear_error (&error);

  if (domain == BUF_POOL_ERROR)
    {
      g_assert_null (buf_pool_allocate (pool, n_buffers, NULL, &error));
      g_assert_error (error, domain, code);
      g_assert_nonnull (strstr (error->message, figure));
    }
}

static void
test_properties (void)
{
  g_autoptr (BufPool) pool = g_object_new (BUF_TYPE_POOL, NULL);
  g_autoptr (BufPool) other = NULL;
  guint64 buffer_size, max_memory, allocated, available, active, waiting;
  gboolean zero_fill, closed;
  guint alignment;
  g_autofree gchar *name = NULL;

  g_test_summary ("Every property has its default and its getter, and accepts valid values");

  g_object_get (pool, "buffer-size", &buffer_size, "max-memory", &max_memory, NULL);
  g_assert_cmpuint (buffer_size, ==, 4096);
  g_assert_cmpuint (max_memory, ==, G_GUINT64_CONSTANT (9007199254740991));
  g_assert_cmpuint (buf_pool_get_max_memory (pool), ==, BUF_POOL_UNLIMITED);
  g_assert_cmpuint (buf_pool_get_available_memory (pool), ==, BUF_POOL_UNLIMITED);
  g_assert_cmpuint (buf_pool_get_alignment (pool), ==, 0);
  g_assert_false (buf_pool_get_zero_fill (pool));
  g_assert_null (buf_pool_get_name (pool));
  g_assert_false (buf_pool_is_closed (pool));

  other = g_object_new (BUF_TYPE_POOL,
                        "buffer-size",
                        (guint64) 64,
                        "max-memory",
                        (guint64) 640,
                        "alignment",
                        32,
                        "zero-fill",
                        TRUE,
                        "name",
                        "other",
                        NULL);
  {
    G_GNUC_UNUSED g_autoptr (BufPoolAllocation) allocation = test_allocate (other, 3);

    g_object_get (other,
                  "alignment",
                  &alignment,
                  "zero-fill",
                  &zero_fill,
                  "name",
                  &name,
                  "allocated-memory",
                  &allocated,
                  "available-memory",
                  &available,
                  "active-allocations",
                  &active,
                  "waiting",
                  &waiting,
                  "closed",
                  &closed,
                  NULL);
  }
  g_assert_cmpuint (alignment, ==, 32);
  g_assert_true (zero_fill);
  g_assert_cmpstr (name, ==, "other");
  g_assert_cmpuint (allocated, ==, 192);
  g_assert_cmpuint (available, ==, 448);
  g_assert_cmpuint (active, ==, 1);
  g_assert_cmpuint (waiting, ==, 0);
  g_assert_false (closed);
}

static void
test_buffer_sizes (void)
{
  g_autoptr (GEnumClass) sizes = g_type_class_ref (BUF_TYPE_BUFFER_SIZE);

  g_test_summary ("The enumerators have the values that they name; any other size works, too");

  g_assert_cmpuint (sizes->n_values, ==, 12);
  for (guint i = 0; i < sizes->n_values; i++)
    {
      g_autoptr (BufPool) pool = test_pool_new (sizes->values[i].value, 2);
      g_autofree gchar *nick = g_strdup_printf ("s%d", sizes->values[i].value);

      g_assert_cmpint (sizes->values[i].value, ==, 8 << i);
      g_assert_cmpstr (sizes->values[i].value_nick, ==, nick);
      g_assert_cmpuint (buf_pool_get_buffer_size (pool), ==, sizes->values[i].value);
    }

  for (gsize size = 1; size < 2000; size += 37)
    {
      g_autoptr (BufPool) pool = test_pool_new (size, 3);
      g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 3);

      g_assert_cmpuint (buf_pool_allocation_get_allocated_bytes (allocation), ==, size * 3);
      memset (buf_pool_allocation_get_first (allocation), 1, size * 3);
    }
}

static void
test_invalid_config (void)
{
  const struct
  {
    guint64 buffer_size, max_memory;
    guint alignment;
    const gchar *figures[2];
  } configs[] = {
    { 0, 100, 0, { "0", "1" } },
    { 64, 63, 0, { "63", "64" } },
    { 64, 0, 0, { "limit of 0", "64" } },
    { 64, 640, 3, { "3", "power of two" } },
    { 64, 640, 48, { "48", "power of two" } },
    { 96, 960, 64, { "96", "64" } },
    { 24, 240, 16, { "24", "16" } },
    { 8, 80, 16, { "8", "16" } },
    { 20, 200, 8, { "20", "8" } },
    { 1, 10, 2, { "1", "2" } },
    { G_MAXUINT64, G_MAXUINT64, 0, { "18446744073709551615", "1" } },
  };

  g_test_summary (
      "Properties that contradict each other cause an error that names them, however the pool was "
      "constructed, and every request on such a pool fails with it immediately");

  for (guint i = 0; i < G_N_ELEMENTS (configs); i++)
    {
      g_autoptr (BufPool) pool =
          new_unchecked (configs[i].buffer_size, configs[i].max_memory, configs[i].alignment);
      g_autoptr (GError) error = NULL;

      for (guint round = 0; round < 2; round++)
        {
          g_assert_false (g_initable_init (G_INITABLE (pool), NULL, &error));
          g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_CONFIG);
          g_clear_error (&error);
        }
      for (guint k = 0; k < 2; k++)
        {
          assert_refused (pool,
                          1,
                          BUF_POOL_ERROR,
                          BUF_POOL_ERROR_INVALID_CONFIG,
                          configs[i].figures[k]);
          assert_refused (pool,
                          0,
                          BUF_POOL_ERROR,
                          BUF_POOL_ERROR_INVALID_CONFIG,
                          configs[i].figures[k]);
        }
      buf_pool_set_max_memory (pool, 1 << 20);
      assert_refused (pool, 1, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_CONFIG, "");
      g_assert_true (buf_pool_drain (pool, NULL, &error));
      g_assert_false (buf_pool_is_closed (pool));
      buf_pool_close (pool);
      g_assert_true (buf_pool_is_closed (pool));

      if (configs[i].alignment == 0 && configs[i].buffer_size != G_MAXUINT64)
        {
          g_assert_null (buf_pool_new (configs[i].buffer_size, configs[i].max_memory, &error));
          g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_CONFIG);
          g_assert_nonnull (strstr (error->message, configs[i].figures[0]));
        }
    }
}

static void
test_initable (void)
{
  g_autoptr (BufPool) pool = new_unchecked (64, 640, 0);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  g_test_summary ("A valid pool works before g_initable_init(), after it, and after a second call");

  buf_pool_allocation_unref (test_allocate (pool, 10));
  g_assert_true (g_initable_init (G_INITABLE (pool), NULL, &error));
  g_assert_true (g_initable_init (G_INITABLE (pool), NULL, &error));
  g_assert_no_error (error);
  buf_pool_allocation_unref (test_allocate (pool, 10));

  g_cancellable_cancel (cancellable);
  g_assert_false (g_initable_init (G_INITABLE (pool), cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static void
test_invalid_count (void)
{
  g_autoptr (BufPool) pool = test_pool_new (1, 70000);

  g_test_summary ("A request for no buffers, or for more than 65535, is refused, whether or not it "
                  "would fit");

  assert_refused (pool, 0, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_COUNT, "0 buffers");
  assert_refused (pool, 65536, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_COUNT, "65536");
  assert_refused (pool, G_MAXSIZE, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_COUNT, "65535");
  buf_pool_allocation_unref (test_allocate (pool, 65535));
  test_assert_figures (pool, 0, 0);
}

static void
test_too_large (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 64);
  g_autoptr (BufPool) huge = new_unchecked (G_GUINT64_CONSTANT (1) << 52, G_MAXUINT64, 0);
  g_autoptr (BufPoolAllocation) all = NULL;

  g_test_summary (
      "A request for more than the maximum fails immediately, whether the pool is empty or full");

  assert_refused (pool, 65, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE, "1024");
  assert_refused (pool, 65535, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE, "65535");
  all = test_allocate (pool, 64);
  g_assert_cmpuint (buf_pool_allocation_get_length (all), ==, 64);
  assert_refused (pool, 65, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE, "1040");
  test_assert_figures (pool, 64, 1);

  /* 2^52 * 65535 is more than 64 bits can hold. */
  if (sizeof (gsize) == 8)
    assert_refused (huge, 65535, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE, "65535");
}

static void
test_would_block (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 64);
  G_GNUC_UNUSED g_autoptr (BufPoolAllocation) most = test_allocate (pool, 60);

  g_test_summary ("A request that cannot wait fails with an error that contains the figures");

  assert_refused (pool, 5, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK, "(80 bytes)");
  assert_refused (pool, 5, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK, "64 of 1024 bytes");
  buf_pool_allocation_unref (test_allocate (pool, 4));
  test_assert_figures (pool, 60, 1);
}

static void
test_no_such_memory (void)
{
  const guint64 size = G_GUINT64_CONSTANT (1) << 50;
  g_autoptr (BufPool) pool = NULL;

  g_test_summary (
      "A request within the limit for which there is no memory fails, and its bytes return");

  if (sizeof (gsize) < 8)
    {
      g_test_skip ("A size that never exists needs 64 bits");
      return;
    }

  pool = new_unchecked (size, G_MAXUINT64, 0);
  for (guint i = 0; i < 20; i++)
    assert_refused (pool, 5, BUF_POOL_ERROR, BUF_POOL_ERROR_NO_MEMORY, "1125899906842624");
  test_assert_figures (pool, 0, 0);
}

static void
test_already_cancelled (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 64);
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  g_autoptr (GError) error = NULL;

  g_test_summary (
      "A cancelled request fails although memory is available, with precedence over other errors");

  g_cancellable_cancel (cancellable);
  g_assert_null (buf_pool_allocate (pool, 1, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_null (buf_pool_allocate_timeout (pool, 0, 1000, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_false (buf_pool_drain (pool, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  test_assert_figures (pool, 0, 0);
}

static void
test_closed (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 64);
  g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 2);

  g_test_summary ("After close, requests fail in the order of precedence, and allocations stay "
                  "valid");

  buf_pool_close (pool);
  buf_pool_close (pool);
  g_assert_true (buf_pool_is_closed (pool));
  assert_refused (pool, 1, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED, "closed");
  assert_refused (pool, 65, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE, "1024");
  assert_refused (pool, 0, BUF_POOL_ERROR, BUF_POOL_ERROR_INVALID_COUNT, "65535");

  memset (buf_pool_allocation_get_first (allocation), 1, 32);
  buf_pool_allocation_ref (allocation);
  buf_pool_allocation_unref (allocation);
  test_assert_figures (pool, 2, 1);
}

static void
count_notify (GObject *object, GParamSpec *pspec, gpointer user_data)
{
  (*(guint *) user_data)++;
}

static void
test_notify (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 64);
  guint any = 0, maximum = 0, closed = 0;

  g_test_summary ("max-memory and closed notify when they change; no other property ever does");

  g_signal_connect (pool, "notify", G_CALLBACK (count_notify), &any);
  g_signal_connect (pool, "notify::max-memory", G_CALLBACK (count_notify), &maximum);
  g_signal_connect (pool, "notify::closed", G_CALLBACK (count_notify), &closed);

  buf_pool_allocation_unref (test_allocate (pool, 64));
  g_assert_cmpuint (any, ==, 0);
  buf_pool_set_max_memory (pool, 1024);
  g_assert_cmpuint (maximum, ==, 0);
  buf_pool_set_max_memory (pool, 2048);
  g_assert_cmpuint (maximum, ==, 1);
  g_object_set (pool, "max-memory", (guint64) 4096, NULL);
  g_assert_cmpuint (maximum, ==, 2);
  buf_pool_close (pool);
  buf_pool_close (pool);
  g_assert_cmpuint (closed, ==, 1);
  g_assert_cmpuint (any, ==, 3);
}

static void
test_saturation (void)
{
  g_autoptr (BufPool) pool = NULL;

  g_test_summary ("A maximum above 2^53 - 1 saturates, without a warning");

  pool = new_unchecked (16, G_MAXUINT64, 0);
  g_assert_cmpuint (buf_pool_get_max_memory (pool), ==, BUF_POOL_UNLIMITED);
  buf_pool_set_max_memory (pool, 1000);
  g_assert_cmpuint (buf_pool_get_max_memory (pool), ==, 1000);
  buf_pool_set_max_memory (pool, G_MAXSIZE);
  g_assert_cmpuint (buf_pool_get_max_memory (pool), ==, BUF_POOL_UNLIMITED);
  buf_pool_set_max_memory (pool, 1000);
  g_object_set (pool, "max-memory", G_MAXUINT64, NULL);
  g_assert_cmpuint (buf_pool_get_max_memory (pool), ==, BUF_POOL_UNLIMITED);
  buf_pool_allocation_unref (test_allocate (pool, 1000));
  test_assert_figures (pool, 0, 0);
}

static void
test_maximum (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 64);
  BufPoolAllocation *a = test_allocate (pool, 40);

  g_test_summary ("The maximum can be lower than what is outstanding, and than one buffer, and be "
                  "raised again");

  buf_pool_set_max_memory (pool, 16 * 10);
  g_assert_cmpuint (buf_pool_get_allocated_memory (pool), ==, 640);
  g_assert_cmpuint (buf_pool_get_available_memory (pool), ==, 0);
  assert_refused (pool, 11, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE, "160");
  assert_refused (pool, 1, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK, "0 of 160");
  buf_pool_set_max_memory (pool, 0);
  assert_refused (pool, 1, BUF_POOL_ERROR, BUF_POOL_ERROR_TOO_LARGE, "than 0 bytes");
  buf_pool_set_max_memory (pool, 16 * 41);
  buf_pool_allocation_unref (test_allocate (pool, 1));
  assert_refused (pool, 2, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK, "16 of 656");
  buf_pool_allocation_unref (a);
  test_assert_figures (pool, 0, 0);
}

static void
test_programming_errors (void)
{
  g_autoptr (GObject) object = g_object_new (G_TYPE_OBJECT, NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) earlier = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_FAILED, "earlier");
  g_autoptr (BufPool) pool = test_pool_new (16, 1);
  g_autoptr (BufPoolAllocation) all G_GNUC_UNUSED = test_allocate (pool, 1);

  g_test_summary ("An object that is not a pool is detected, and the critical names the called "
                  "function");

  g_test_expect_message ("BufPool",
                         G_LOG_LEVEL_CRITICAL,
                         "buf_pool_allocate: assertion*BUF_IS_POOL*");
  g_assert_null (buf_pool_allocate ((BufPool *) object, 1, NULL, &error));
  g_test_expect_message ("BufPool",
                         G_LOG_LEVEL_CRITICAL,
                         "buf_pool_try_allocate: assertion*BUF_IS_POOL*");
  g_assert_null (buf_pool_try_allocate (NULL, 1, &error));
  g_test_expect_message ("BufPool", G_LOG_LEVEL_CRITICAL, "buf_pool_close: assertion*BUF_IS_POOL*");
  buf_pool_close (NULL);
  g_test_expect_message ("BufPool",
                         G_LOG_LEVEL_CRITICAL,
                         "buf_pool_allocate: assertion*G_IS_CANCELLABLE*");
  g_assert_null (buf_pool_allocate (pool, 1, (GCancellable *) object, &error));
  g_test_expect_message ("BufPool",
                         G_LOG_LEVEL_CRITICAL,
                         "buf_pool_allocate_timeout: assertion*error == NULL*");
  g_assert_null (buf_pool_allocate_timeout (pool, 1, 0, NULL, &earlier));
  test_assert_figures (pool, 1, 1);
  g_test_assert_expected_messages ();
  g_assert_no_error (error);
}

static void
test_version (void)
{
  g_test_summary ("The macros contain the version");

  g_assert_true (BUF_CHECK_VERSION (BUF_MAJOR_VERSION, BUF_MINOR_VERSION, BUF_MICRO_VERSION));
  g_assert_true (BUF_CHECK_VERSION (BUF_MAJOR_VERSION - 1, 99, 99));
  g_assert_false (BUF_CHECK_VERSION (BUF_MAJOR_VERSION, BUF_MINOR_VERSION, BUF_MICRO_VERSION + 1));
  g_assert_false (BUF_CHECK_VERSION (BUF_MAJOR_VERSION + 1, 0, 0));
  g_assert_cmpstr (BUF_VERSION_S, ==, EXPECTED_VERSION);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/pool/properties", test_properties);
  g_test_add_func ("/pool/buffer-sizes", test_buffer_sizes);
  g_test_add_func ("/pool/invalid-config", test_invalid_config);
  g_test_add_func ("/pool/initable", test_initable);
  g_test_add_func ("/pool/invalid-count", test_invalid_count);
  g_test_add_func ("/pool/too-large", test_too_large);
  g_test_add_func ("/pool/would-block", test_would_block);
  g_test_add_func ("/pool/no-such-memory", test_no_such_memory);
  g_test_add_func ("/pool/already-cancelled", test_already_cancelled);
  g_test_add_func ("/pool/closed", test_closed);
  g_test_add_func ("/pool/notify", test_notify);
  g_test_add_func ("/pool/saturation", test_saturation);
  g_test_add_func ("/pool/maximum", test_maximum);
  g_test_add_func ("/pool/programming-errors", test_programming_errors);
  g_test_add_func ("/pool/version", test_version);
  return g_test_run ();
}
