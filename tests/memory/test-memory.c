/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What happens when the allocator fails. The linker replaces functions of the C library by those
 * below, in this program and in the library under test, but not in GLib. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "pool/buf-pool-private.h"
#include "memory/wrapped-mmap.h"
#include "testing.h"

static gint fail_after = -1;           /* atomic; how many more allocations succeed; negative:
                                        * all */
static gsize refuse_above = G_MAXSIZE; /* written while there is one thread */
static gsize most_granted;             /* called during the next allocation */

static gboolean
is_to_fail (gsize size)
{
  if (size > refuse_above)
    return TRUE;
  if (refuse_above < G_MAXSIZE)
    most_granted = MAX (most_granted, size);
  return g_atomic_int_get (&fail_after) >= 0 && g_atomic_int_add (&fail_after, -1) == 0;
}

void *__real_malloc (size_t size);
void *__real_calloc (size_t n, size_t size);
int __real_posix_memalign (void **memory, size_t alignment, size_t size);
void *__wrap_malloc (size_t size);
void *__wrap_calloc (size_t n, size_t size);
int __wrap_posix_memalign (void **memory, size_t alignment, size_t size);

void *
__wrap_malloc (size_t size)
{
  return is_to_fail (size) ? NULL : __real_malloc (size);
}

void *
__wrap_calloc (size_t n, size_t size)
{
  return is_to_fail (n * size) ? NULL : __real_calloc (n, size);
}

int
__wrap_posix_memalign (void **memory, size_t alignment, size_t size)
{
  return is_to_fail (size) ? ENOMEM : __real_posix_memalign (memory, alignment, size);
}

#ifndef G_OS_WIN32
/* So large blocks come from malloc(), too. */
void *
__wrap_mmap (void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
  return MAP_FAILED;
}
#endif

/* Zeroed or not, aligned or not, small or large: ten buffers. */
#define N_KINDS 8

static BufPool *
new_kind (guint kind)
{
  guint64 buffer_size = kind & 4 ? 65536 : 4096;

  return g_object_new (BUF_TYPE_POOL,
                       "buffer-size",
                       buffer_size,
                       "max-memory",
                       10 * buffer_size,
                       "zero-fill",
                       (kind & 1) != 0,
                       "alignment",
                       kind & 2 ? 4096 : 0,
                       NULL);
}

/* A header and a block. */
static gboolean
has_two_parts (BufPool *pool, guint kind, gsize n_buffers)
{
  return (kind & 2) != 0 && n_buffers < pool->memory->n_large;
}

static void
test_every_allocation (void)
{
  g_test_summary ("Whichever allocation of memory fails, the request fails, and all bytes return");

  for (guint kind = 0; kind < N_KINDS; kind++)
    {
      g_autoptr (BufPool) pool = new_kind (kind);
      const gchar *figure = kind & 4 ? "655360 bytes" : "40960 bytes";
      guint n_failures = 0;

      for (guint n = 0;; n++)
        {
          g_autoptr (GError) error = NULL;
          g_autoptr (BufPoolAllocation) allocation = NULL;

          g_atomic_int_set (&fail_after, n);
          allocation = buf_pool_allocate (pool, 10, NULL, &error);
          g_atomic_int_set (&fail_after, -1);
          if (allocation != NULL)
            break;

          n_failures++;
          g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_NO_MEMORY);
          g_assert_nonnull (strstr (error->message, figure));
          test_assert_figures (pool, 0, 0);
        }
      g_assert_cmpuint (n_failures, ==, has_two_parts (pool, kind, 10) ? 2 : 1);
      test_assert_figures (pool, 0, 0);
    }
}

static void
test_each_buffer (void)
{
  g_test_summary ("Each buffer follows the previous one, aligned and zeroed if requested");

  for (guint kind = 0; kind < N_KINDS; kind++)
    {
      g_autoptr (BufPool) pool = new_kind (kind);
      g_autoptr (BufPoolAllocation) allocation = test_allocate (pool, 3);
      gsize size = buf_pool_get_buffer_size (pool);
      guint8 *first = buf_pool_allocation_get_first (allocation);

      for (guint i = 0; i < 3; i++)
        {
          guint8 *buffer = buf_pool_allocation_get_buffer (allocation, i);

          g_assert_true (buffer == first + i * size);
          if (kind & 2)
            g_assert_cmpuint ((guintptr) buffer % 4096, ==, 0);
          if (kind & 1)
            g_assert_true (buffer[0] == 0 && memcmp (buffer, buffer + 1, size - 1) == 0);
        }
    }
}

static void
test_waiter_is_served (void)
{
  g_test_summary ("If the allocator fails for one waiter, the next one is served");

  for (guint round = 0; round < test_scale (200); round++)
    {
      g_autoptr (BufPool) pool = new_kind (0);
      g_autoptr (GError) error = NULL;
      BufPoolAllocation *all = test_allocate (pool, 10);
      TestRequester *first = test_requester_start (pool, 10);
      TestRequester *second = test_requester_start (pool, 10);
      BufPoolAllocation *allocations[2];

      test_wait_for_waiting (pool, 2);
      g_atomic_int_set (&fail_after, 0);
      buf_pool_allocation_unref (all);

      /* One of them fails, the other is granted; each thread drops its own allocation when it
       * ends. */
      test_wait_until (test_requester_is_done (first) && test_requester_is_done (second));
      allocations[0] = test_requester_end (first, &error);
      allocations[1] = test_requester_end (second, error == NULL ? &error : NULL);
      g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_NO_MEMORY);
      g_assert_true ((allocations[0] == NULL) != (allocations[1] == NULL));
      test_assert_figures (pool, 10, 1);
      g_clear_pointer (&allocations[0], buf_pool_allocation_unref);
      g_clear_pointer (&allocations[1], buf_pool_allocation_unref);
      test_assert_figures (pool, 0, 0);
    }
  g_atomic_int_set (&fail_after, -1);
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  GError *error = NULL;
  BufPoolAllocation *allocation = buf_pool_allocate_finish (BUF_POOL (pool), result, &error);

  if (allocation != NULL)
    buf_pool_allocation_unref (allocation);
  else
    g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_NO_MEMORY);
  g_clear_error (&error);
  (*(guint *) user_data) += allocation != NULL ? 100 : 1;
}

static void
test_task_is_served (void)
{
  g_autoptr (BufPool) pool = new_kind (0);
  BufPoolAllocation *all = test_allocate (pool, 10);
  guint done = 0;

  g_test_summary ("If the allocator fails for tasks, the next ones are served, without recursion");

  for (guint i = 0; i < 50; i++)
    buf_pool_allocate_async (pool, 10, G_PRIORITY_DEFAULT, NULL, on_allocated, &done);
  buf_pool_allocation_unref (all);
  for (guint i = 0; i < 30; i++)
    {
      g_atomic_int_set (&fail_after, 0);
      test_wait_until ((g_main_context_iteration (NULL, FALSE), done == i + 1));
    }
  g_atomic_int_set (&fail_after, -1);
  test_wait_until ((g_main_context_iteration (NULL, FALSE), done == 30 + 20 * 100));
  test_assert_figures (pool, 0, 0);
}

typedef struct
{
  BufPool *pool;
  guint n_served, n_refused;
} Worker;

static gpointer
work (gpointer data)
{
  Worker *worker = data;

  for (guint i = 0; i < test_scale (20000); i++)
    {
      g_autoptr (GError) error = NULL;
      g_autoptr (BufPoolAllocation) allocation = NULL;

      if (i % 7 == 0)
        g_atomic_int_set (&fail_after, i % 3);
      allocation = buf_pool_allocate (worker->pool, 1 + i % 10, NULL, &error);
      if (allocation != NULL)
        worker->n_served++;
      else
        {
          g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_NO_MEMORY);
          worker->n_refused++;
        }
    }
  return NULL;
}

static void
test_under_load (void)
{
  g_autoptr (BufPool) pool = new_kind (0);
  Worker workers[4] = { 0 };
  GThread *threads[4];

  g_test_summary ("Failures under load lose no bytes, and no request keeps waiting");

  for (guint i = 0; i < 4; i++)
    {
      workers[i].pool = pool;
      threads[i] = g_thread_new ("work", work, &workers[i]);
    }
  for (guint i = 0; i < 4; i++)
    {
      g_thread_join (threads[i]);
      g_test_message ("%u served, %u refused", workers[i].n_served, workers[i].n_refused);
      g_assert_cmpuint (workers[i].n_served, >, 0);
    }
  g_assert_cmpuint (workers[0].n_refused + workers[1].n_refused, >, 0);
  g_atomic_int_set (&fail_after, -1);
  test_assert_figures (pool, 0, 0);
}

/* Sizes that would overflow to something small in 32 bits: alone, or with a header. */
static const struct
{
  guint64 buffer_size;
  gsize n_buffers;
} beyond_32_bits[] = {
  { 65537, 65535 }, /* 2^32 - 1 */
  { 65538, 65535 },
  { G_GUINT64_CONSTANT (1) << 30, 4 },
  { G_GUINT64_CONSTANT (1) << 30, 65532 },
  { G_MAXINT32 - 15, 1 },
  { G_MAXINT32 - 15, 2 },
};

static void
assert_no_memory (BufPool *pool, gsize n_buffers, gboolean pinned)
{
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation;
  guint64 bytes = n_buffers * (guint64) buf_pool_get_buffer_size (pool);
  g_autofree gchar *figure = g_strdup_printf (n_buffers == 1 ? "of %" G_GUINT64_FORMAT " bytes"
                                                             : "(%" G_GUINT64_FORMAT " bytes",
                                              bytes);

  most_granted = 0;
  refuse_above = G_MAXINT32 - 16;
  if (pinned)
    allocation = buf_pool_try_allocate_pinned (pool, n_buffers, &error);
  else
    allocation = buf_pool_try_allocate (pool, n_buffers, &error);
  g_assert_null (allocation);
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_NO_MEMORY);
  g_assert_nonnull (strstr (error->message, figure));
  g_assert_cmpuint (most_granted, <, 100);
  refuse_above = G_MAXSIZE;
  test_assert_figures (pool, 0, 0);
}

static void
test_beyond_32_bits (void)
{
  g_test_summary ("A size never overflows: an allocation has the requested size, or fails");

  for (guint kind = 0; kind < 5; kind++)
    for (guint i = 0; i < G_N_ELEMENTS (beyond_32_bits); i++)
      {
        guint64 size = beyond_32_bits[i].buffer_size;
        g_autoptr (BufPool) pool = g_object_new (BUF_TYPE_POOL,
                                                 "buffer-size",
                                                 size,
                                                 "zero-fill",
                                                 (kind & 1) != 0,
                                                 "alignment",
                                                 (guint) (kind >= 3 ? size & -size : 0),
                                                 NULL);

        assert_no_memory (pool, beyond_32_bits[i].n_buffers, kind == 2);
      }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/memory/every-allocation", test_every_allocation);
  g_test_add_func ("/memory/each-buffer", test_each_buffer);
  g_test_add_func ("/memory/waiter-is-served", test_waiter_is_served);
  g_test_add_func ("/memory/task-is-served", test_task_is_served);
  g_test_add_func ("/memory/under-load", test_under_load);
  g_test_add_func ("/memory/beyond-32-bits", test_beyond_32_bits);
  return g_test_run ();
}
