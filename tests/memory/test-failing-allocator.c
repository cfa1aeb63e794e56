/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each allocation of memory fails in turn. The linker replaces functions of the C library by those
 * below, in this program and in the library under test, but not in GLib. So they see only the
 * allocations of buffers and of their headers. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "memory/wrapped-mmap.h"
#include "testing.h"

#define BUFFER_SIZE 64
#define N_BUFFERS   10

/* So that a few of these buffers are already a large block. */
#define LARGE_BUFFER_SIZE 65536

/* Which allocation fails, and whether all later ones fail as well. */
static gint first_failure = -1; /* atomic; negative: none */
static gint goes_on_failing;    /* atomic */
static gint one_in;             /* atomic; one in this many fails at random; 0: none */

static gint n_allocations; /* atomic; allocations that were requested */
static gint n_failures;    /* atomic */
static gint n_live;        /* atomic; blocks that were not freed */

static gboolean
is_unlucky (guint n)
{
  guint32 hash = (n + 1) * 2654435761u;
  gint in = g_atomic_int_get (&one_in);

  return in > 0 && (hash >> 8) % in == 0;
}

static gboolean
is_to_fail (void)
{
  gint n = g_atomic_int_add (&n_allocations, 1);
  gint first = g_atomic_int_get (&first_failure);
  gboolean fails = n == first || is_unlucky (n) ||
                   (first >= 0 && n > first && g_atomic_int_get (&goes_on_failing));

  g_atomic_int_add (fails ? &n_failures : &n_live, 1);
  return fails;
}

void *__real_malloc (size_t size);
void *__real_calloc (size_t n, size_t size);
int __real_posix_memalign (void **memory, size_t alignment, size_t size);
void __real_free (void *memory);
void *__wrap_malloc (size_t size);
void *__wrap_calloc (size_t n, size_t size);
int __wrap_posix_memalign (void **memory, size_t alignment, size_t size);
void __wrap_free (void *memory);

void *
__wrap_malloc (size_t size)
{
  return is_to_fail () ? NULL : __real_malloc (size);
}

void *
__wrap_calloc (size_t n, size_t size)
{
  return is_to_fail () ? NULL : __real_calloc (n, size);
}

int
__wrap_posix_memalign (void **memory, size_t alignment, size_t size)
{
  return is_to_fail () ? ENOMEM : __real_posix_memalign (memory, alignment, size);
}

void
__wrap_free (void *memory)
{
  if (memory != NULL)
    g_atomic_int_add (&n_live, -1);
  __real_free (memory);
}

#ifndef G_OS_WIN32
/* So large blocks come from malloc(), too. */
void *
__wrap_mmap (void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
  return MAP_FAILED;
}
#endif

static void
reset_allocator (gint first, gboolean on, gint in)
{
  g_assert_cmpint (g_atomic_int_get (&n_live), ==, 0);
  g_atomic_int_set (&n_allocations, 0);
  g_atomic_int_set (&n_failures, 0);
  g_atomic_int_set (&first_failure, first);
  g_atomic_int_set (&goes_on_failing, on);
  g_atomic_int_set (&one_in, in);
}

/* A run of all operations, with one kind of pool. */
typedef struct
{
  BufPool *pool;
  gint n_served;  /* atomic */
  gint n_refused; /* atomic */
  guint n_in_flight;
} Script;

/* Returns whether the request was granted; if not, there is only one possible reason. */
static gboolean
judge (Script *self, BufPoolAllocation *allocation, GError *error)
{
  g_autoptr (GError) owned = error;

  if (allocation != NULL)
    {
      g_assert_no_error (owned);
      g_atomic_int_inc (&self->n_served);
      return TRUE;
    }
  g_assert_error (owned, BUF_POOL_ERROR, BUF_POOL_ERROR_NO_MEMORY);
  g_atomic_int_inc (&self->n_refused);
  return FALSE;
}

typedef enum
{
  KIND_BLOCKING,
  KIND_TRY,
  KIND_TIMEOUT,
  KIND_PINNED,
  KIND_TRY_PINNED,
  KIND_TIMEOUT_PINNED,
  N_KINDS
} Kind;

static BufPoolAllocation *
request (Script *self, Kind kind, gsize n)
{
  GError *error = NULL;
  BufPoolAllocation *allocation = NULL;

  if (kind == KIND_BLOCKING)
    allocation = buf_pool_allocate (self->pool, n, NULL, &error);
  else if (kind == KIND_TRY)
    allocation = buf_pool_try_allocate (self->pool, n, &error);
  else if (kind == KIND_TIMEOUT)
    allocation = buf_pool_allocate_timeout (self->pool, n, G_MAXINT64, NULL, &error);
  else if (kind == KIND_PINNED)
    allocation = buf_pool_allocate_pinned (self->pool, n, NULL, &error);
  else if (kind == KIND_TRY_PINNED)
    allocation = buf_pool_try_allocate_pinned (self->pool, n, &error);
  else
    allocation = buf_pool_allocate_timeout_pinned (self->pool, n, G_MAXINT64, NULL, &error);

  judge (self, allocation, error);
  return allocation;
}

static void
drop (BufPoolAllocation *allocation)
{
  if (allocation == NULL)
    return;
  memset (buf_pool_allocation_get_first (allocation),
          0xee,
          buf_pool_allocation_get_allocated_bytes (allocation));
  buf_pool_allocation_unref (allocation);
}

static void
script_requests (Script *self)
{
  for (Kind kind = 0; kind < N_KINDS; kind++)
    {
      BufPoolAllocation *some = request (self, kind, 3);
      BufPoolAllocation *others = request (self, kind, N_BUFFERS - 3);

      test_assert_figures (self->pool,
                           (some != NULL ? 3 : 0) + (others != NULL ? N_BUFFERS - 3 : 0),
                           (some != NULL) + (others != NULL));
      drop (some);
      drop (others);
      test_assert_figures (self->pool, 0, 0);
    }
}

static void
script_views (Script *self)
{
  BufPoolAllocation *allocation = request (self, KIND_PINNED, 4);
  g_autoptr (GBytes) view = NULL;

  if (allocation == NULL)
    return;
  view = buf_pool_allocation_get_buffer_bytes (allocation, 2);
  buf_pool_allocation_release (allocation);
  test_assert_figures (self->pool, 4, 1);
  g_clear_pointer (&view, g_bytes_unref);
  test_assert_figures (self->pool, 0, 0);
  buf_pool_allocation_unref (allocation);
}

static void
script_streams (Script *self)
{
  static const gchar text[] = "what is read from a stream and written to another";
  g_autoptr (GInputStream) input = g_memory_input_stream_new_from_data (text, sizeof text, NULL);
  g_autoptr (GOutputStream) output = g_memory_output_stream_new_resizable ();
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation = request (self, KIND_BLOCKING, 2);
  gsize n = 0;

  if (allocation == NULL)
    return;
  buf_pool_allocation_fill_from_stream (allocation, input, 7, sizeof text, &n, NULL, &error);
  g_assert_no_error (error);
  buf_pool_allocation_write_to_stream (allocation, output, 7, sizeof text, &n, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (g_memory_output_stream_get_data (G_MEMORY_OUTPUT_STREAM (output)),
                   n,
                   text,
                   sizeof text);
  drop (allocation);
}

static void
on_filled (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Script *self = user_data;

  self->n_in_flight--;
}

/* The stream holds the only reference. */
static void
script_stream_in_flight (Script *self)
{
  g_autoptr (GInputStream) input = g_memory_input_stream_new_from_data ("0123456789", 10, NULL);
  BufPoolAllocation *allocation = request (self, KIND_TRY_PINNED, 1);

  if (allocation == NULL)
    return;
  self->n_in_flight = 1;
  buf_pool_allocation_fill_from_stream_async (allocation,
                                              input,
                                              0,
                                              10,
                                              G_PRIORITY_DEFAULT,
                                              NULL,
                                              on_filled,
                                              self);
  buf_pool_allocation_unref (allocation);
  test_assert_figures (self->pool, 1, 1);
  test_wait_until ((g_main_context_iteration (NULL, FALSE), self->n_in_flight == 0));
  test_wait_until (buf_pool_get_allocated_memory (self->pool) == 0);
}

typedef struct
{
  Script *script;
  Kind kind;
  gsize n_buffers;
  gint repeat;
  gint done; /* atomic */
} Requester;

static gpointer
request_and_drop (gpointer data)
{
  Requester *self = data;

  for (gint i = 0; i < self->repeat; i++)
    drop (request (self->script, self->kind, self->n_buffers));
  g_atomic_int_set (&self->done, TRUE);
  return NULL;
}

/* Each waits for those before it, so a thread that is refused has to let the next one pass. */
static void
script_waiting_threads (Script *self)
{
  static const Kind kinds[] = { KIND_BLOCKING, KIND_PINNED, KIND_TIMEOUT };
  BufPoolAllocation *all = request (self, KIND_TRY, N_BUFFERS);
  Requester requesters[3];
  GThread *threads[3];

  for (guint i = 0; i < 3; i++)
    {
      requesters[i] = (Requester){ self, kinds[i], N_BUFFERS - i, 1, FALSE };
      threads[i] = g_thread_new ("requester", request_and_drop, &requesters[i]);
      test_wait_until (g_atomic_int_get (&requesters[i].done) ||
                       (all != NULL && buf_pool_get_waiting (self->pool) == i + 1));
    }
  drop (all);
  for (guint i = 0; i < 3; i++)
    g_thread_join (threads[i]);
  test_assert_figures (self->pool, 0, 0);
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Script *self = user_data;
  GError *error = NULL;
  BufPoolAllocation *allocation = buf_pool_allocate_finish (BUF_POOL (pool), result, &error);

  self->n_in_flight--;
  judge (self, allocation, error);
  drop (allocation);
}

static void
launch (Script *self, gsize n_buffers, gboolean pinned)
{
  self->n_in_flight++;
  if (pinned)
    buf_pool_allocate_pinned_async (self->pool,
                                    n_buffers,
                                    G_PRIORITY_DEFAULT,
                                    NULL,
                                    on_allocated,
                                    self);
  else
    buf_pool_allocate_async (self->pool, n_buffers, G_PRIORITY_DEFAULT, NULL, on_allocated, self);
}

static void
land (Script *self)
{
  test_wait_until ((g_main_context_iteration (NULL, FALSE), self->n_in_flight == 0));
}

/* One is granted immediately, the others wait. */
static void
script_tasks (Script *self)
{
  BufPoolAllocation *all;

  launch (self, 2, FALSE);
  launch (self, 2, TRUE);
  land (self);

  all = request (self, KIND_TRY, N_BUFFERS);
  for (guint i = 0; i < 4; i++)
    launch (self, N_BUFFERS - i, i % 2 == 1);
  drop (all);
  land (self);
  test_assert_figures (self->pool, 0, 0);
}

static BufPool *
new_pool (guint64 buffer_size, gboolean zero_fill, guint alignment)
{
  return g_object_new (BUF_TYPE_POOL,
                       "buffer-size",
                       buffer_size,
                       "max-memory",
                       buffer_size * N_BUFFERS,
                       "zero-fill",
                       zero_fill,
                       "alignment",
                       alignment,
                       NULL);
}

/* Runs every operation, and returns how many allocations of memory that took. */
static gint
run_script (guint64 buffer_size, gboolean zero_fill, guint alignment, gint first, gboolean on)
{
  Script self = { .pool = new_pool (buffer_size, zero_fill, alignment) };

  reset_allocator (first, on, 0);
  script_requests (&self);
  script_views (&self);
  script_streams (&self);
  script_stream_in_flight (&self);
  script_waiting_threads (&self);
  script_tasks (&self);
  test_assert_figures (self.pool, 0, 0);
  g_assert_cmpuint (buf_pool_get_waiting (self.pool), ==, 0);
  g_object_unref (self.pool);

  g_assert_cmpint (self.n_refused, ==, g_atomic_int_get (&n_failures));
  g_assert_cmpint (g_atomic_int_get (&n_live), ==, 0);
  return g_atomic_int_get (&n_allocations);
}

static void
test_kind (guint64 buffer_size, gboolean zero_fill, guint alignment)
{
  gint n = run_script (buffer_size, zero_fill, alignment, -1, FALSE);

  g_assert_cmpint (g_atomic_int_get (&n_failures), ==, 0);
  for (gint first = 0; first < n; first++)
    {
      run_script (buffer_size, zero_fill, alignment, first, FALSE);
      g_assert_cmpint (g_atomic_int_get (&n_failures), ==, 1);
      run_script (buffer_size, zero_fill, alignment, first, TRUE);
      g_assert_cmpint (g_atomic_int_get (&n_failures), >=, 1);
    }
  g_test_message ("each of %d allocations failed, alone and with all later ones", n);
  reset_allocator (-1, FALSE, 0);
}

static void
test_every_allocation (void)
{
  g_test_summary ("Each allocation fails in turn: one request is refused, and all bytes return");

  test_kind (BUFFER_SIZE, FALSE, 0);
}

static void
test_every_zeroed_allocation (void)
{
  g_test_summary ("The same, with zeroed memory");

  test_kind (BUFFER_SIZE, TRUE, 0);
}

static void
test_every_aligned_allocation (void)
{
  g_test_summary ("The same, with aligned memory, which consists of a header and a block");

  test_kind (BUFFER_SIZE, FALSE, BUFFER_SIZE);
}

static void
test_every_aligned_zeroed_allocation (void)
{
  g_test_summary ("The same, with memory that is zeroed and aligned");

  test_kind (BUFFER_SIZE, TRUE, BUFFER_SIZE);
}

static void
test_every_large_allocation (void)
{
  g_test_summary ("The same, also with large memory");

  test_kind (LARGE_BUFFER_SIZE, TRUE, 4096);
}

/* The allocation needs a header and its data, and so does the smaller one. */
static void
fail_to_shrink (gint first_failure_after)
{
  BufPool *pool = new_pool (BUFFER_SIZE, FALSE, 0);
  BufPoolAllocation *allocation;
  g_autoptr (GError) error = NULL;
  gpointer first;

  reset_allocator (2 + first_failure_after, FALSE, 0);
  allocation = buf_pool_try_allocate_pinned (pool, 6, NULL);
  first = buf_pool_allocation_get_first (allocation);

  g_assert_false (buf_pool_allocation_shrink (allocation, 2, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_NO_MEMORY);
  g_assert_cmpint (g_atomic_int_get (&n_failures), ==, 1);
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, 6);
  g_assert_true (buf_pool_allocation_get_first (allocation) == first);
  test_assert_figures (pool, 6, 1);

  g_assert_true (buf_pool_allocation_shrink (allocation, 2, NULL));
  test_assert_figures (pool, 2, 1);
  buf_pool_allocation_unref (allocation);
  g_object_unref (pool);
  reset_allocator (-1, FALSE, 0);
}

static void
test_shrink (void)
{
  g_test_summary ("An allocation that cannot be exchanged because memory is short does not change, "
                  "and returns the bytes taken for the exchange");

  fail_to_shrink (0);
  fail_to_shrink (1);
}

/* Without a cache, each failure is one refusal. With one, there may be no memory for the handle of
 * a cached block, and then the request tries again without the cache. */
static void
run_load (guint alignment, gint in, gboolean caches)
{
  Script self = { .pool = new_pool (BUFFER_SIZE, FALSE, alignment) };
  Requester requesters[N_KINDS + 1];
  GThread *threads[N_KINDS + 1];
  guint n_threads = 0;
  gint repeat = test_scale (4000);

  if (!caches)
    buf_pool_set_max_cached_memory (self.pool, 0);
  reset_allocator (-1, FALSE, in);
  for (Kind kind = 0; kind < N_KINDS; kind++)
    if (kind != KIND_TRY && kind != KIND_TRY_PINNED)
      {
        requesters[n_threads] = (Requester){ &self, kind, 2 + kind, repeat, FALSE };
        threads[n_threads] = g_thread_new ("requester", request_and_drop, &requesters[n_threads]);
        n_threads++;
      }
  for (gint i = 0; i < repeat / 8; i++)
    {
      for (guint j = 0; j < 8; j++)
        launch (&self, 1 + j, j % 2 == 1);
      land (&self);
    }
  for (guint i = 0; i < n_threads; i++)
    g_thread_join (threads[i]);

  test_assert_figures (self.pool, 0, 0);
  g_assert_cmpuint (buf_pool_get_waiting (self.pool), ==, 0);
  if (caches)
    g_assert_cmpint (self.n_refused, <=, g_atomic_int_get (&n_failures));
  else
    g_assert_cmpint (self.n_refused, ==, g_atomic_int_get (&n_failures));
  g_assert_cmpint (self.n_refused, >, 0);
  g_assert_cmpint (self.n_served, >, 0);
  g_object_unref (self.pool);
  g_test_message ("%d served, %d refused, %d failures", self.n_served, self.n_refused, n_failures);
  reset_allocator (-1, FALSE, 0);
}

static void
test_under_load (void)
{
  g_test_summary ("Threads and tasks wait for each other, and one allocation in 2, 3, 7 or 50 "
                  "fails: the refusals match, and all bytes return");

  for (guint caches = 0; caches < 2; caches++)
    {
      run_load (0, 2, caches);
      run_load (0, 50, caches);
      run_load (BUFFER_SIZE, 3, caches);
      run_load (BUFFER_SIZE, 7, caches);
    }
}

/* Repeatedly, so that the pool tries to make room for them. */
static void
test_not_kept (void)
{
  Script self = { .pool = new_pool (BUFFER_SIZE, FALSE, BUFFER_SIZE) };

  g_test_summary ("Both parts of an aligned block that finds no room in the cache are freed");

  reset_allocator (-1, FALSE, 0);
  for (guint i = 0; i < 100; i++)
    drop (request (&self, KIND_TRY, N_BUFFERS));
  g_object_unref (self.pool);
  reset_allocator (-1, FALSE, 0);
}

static void
test_no_handle (void)
{
  Script self = { .pool = new_pool (BUFFER_SIZE, FALSE, 0) };

  g_test_summary (
      "If there is no memory for the handle of a cached block, the request tries without the cache "
      "before it fails");

  reset_allocator (-1, FALSE, 0);
  for (guint i = 0; i < 2; i++)
    {
      drop (request (&self, KIND_TRY_PINNED, 1));
      g_assert_cmpuint (buf_pool_get_cached_memory (self.pool), ==, BUFFER_SIZE);
      g_atomic_int_set (&first_failure, g_atomic_int_get (&n_allocations));
      g_atomic_int_set (&goes_on_failing, i == 1);
      drop (request (&self, KIND_TRY_PINNED, 1));
      g_assert_cmpint (self.n_refused, ==, i);
      test_assert_figures (self.pool, 0, 0);
      g_atomic_int_set (&first_failure, -1);
    }
  g_object_unref (self.pool);
  reset_allocator (-1, FALSE, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/failing-allocator/every", test_every_allocation);
  g_test_add_func ("/failing-allocator/every-zeroed", test_every_zeroed_allocation);
  g_test_add_func ("/failing-allocator/every-aligned", test_every_aligned_allocation);
  g_test_add_func ("/failing-allocator/every-aligned-zeroed", test_every_aligned_zeroed_allocation);
  g_test_add_func ("/failing-allocator/every-large", test_every_large_allocation);
  g_test_add_func ("/failing-allocator/shrink", test_shrink);
  g_test_add_func ("/failing-allocator/not-kept", test_not_kept);
  g_test_add_func ("/failing-allocator/no-handle", test_no_handle);
  g_test_add_func ("/failing-allocator/under-load", test_under_load);
  return g_test_run ();
}
