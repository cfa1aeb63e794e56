/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "debug/buf-debug-stack-private.h"
#include "pool/buf-pool-private.h"
#include "testing.h"

static gpointer
requester_run (gpointer data)
{
  TestRequester *self = data;

  if (self->timeout < 0)
    self->allocation =
        buf_pool_allocate (self->pool, self->n_buffers, self->cancellable, &self->error);
  else
    self->allocation = buf_pool_allocate_timeout (self->pool,
                                                  self->n_buffers,
                                                  self->timeout,
                                                  self->cancellable,
                                                  &self->error);
  g_atomic_int_set (&self->done, TRUE);
  return NULL;
}

TestRequester *
test_requester_start_full (BufPool *pool,
                           gsize n_buffers,
                           gint64 timeout,
                           GCancellable *cancellable)
{
  TestRequester *self = g_new0 (TestRequester, 1);

  self->pool = pool;
  self->n_buffers = n_buffers;
  self->timeout = timeout;
  self->cancellable = cancellable;
  self->thread = g_thread_new ("requester", requester_run, self);
  return self;
}

TestRequester *
test_requester_start (BufPool *pool, gsize n_buffers)
{
  return test_requester_start_full (pool, n_buffers, -1, NULL);
}

gboolean
test_requester_is_done (TestRequester *self)
{
  return g_atomic_int_get (&self->done);
}

/* Joins the thread and frees @self. Returns the allocation. */
BufPoolAllocation *
test_requester_end (TestRequester *self, GError **error)
{
  BufPoolAllocation *allocation;

  g_thread_join (self->thread);
  allocation = self->allocation;
  if (self->error != NULL)
    g_propagate_error (error, self->error);
  g_free (self);
  return allocation;
}

/* Joins the thread, which has got its allocation, and drops that. */
void
test_requester_end_served (TestRequester *self)
{
  gsize n_buffers = self->n_buffers;
  g_autoptr (GError) error = NULL;
  g_autoptr (BufPoolAllocation) allocation = test_requester_end (self, &error);

  g_assert_no_error (error);
  g_assert_nonnull (allocation);
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, n_buffers);
}

/* Disables all time limits in this pool: only counts matter. */
void
test_pool_stop_clock (BufPool *pool)
{
  pool->memory->semaphore.tree->queue.overtaken_time = G_MAXINT64 / 2;
  pool->memory->semaphore.tree->queue.patience = G_MAXINT64 / 2;
}

gboolean
test_is_waiting (BufPool *pool, guint n)
{
  BufSemaphore *semaphore = &pool->memory->semaphore;
  gboolean keeps;

  g_mutex_lock (&semaphore->tree->mutex);
  keeps = semaphore->keeps;
  g_mutex_unlock (&semaphore->tree->mutex);
  return buf_pool_get_waiting (pool) == n && (n == 0 || !keeps);
}

BufPool *
test_pool_new_timed (gsize buffer_size, gsize n_buffers)
{
  g_autoptr (GError) error = NULL;
  BufPool *pool = buf_pool_new (buffer_size, buffer_size * n_buffers, &error);

  g_assert_no_error (error);
  g_assert_true (BUF_IS_POOL (pool));
  return pool;
}

/* Without time limits, so that the order in which requests are served does not depend on the load
 * of the machine. */
BufPool *
test_pool_new (gsize buffer_size, gsize n_buffers)
{
  BufPool *pool = test_pool_new_timed (buffer_size, n_buffers);

  test_pool_stop_clock (pool);
  return pool;
}

BufPoolAllocation *
test_allocate (BufPool *pool, gsize n_buffers)
{
  g_autoptr (GError) error = NULL;
  BufPoolAllocation *allocation = buf_pool_try_allocate (pool, n_buffers, &error);

  g_assert_no_error (error);
  g_assert_nonnull (allocation);
  return allocation;
}

void
test_assert_figures (BufPool *pool, gsize allocated_buffers, gsize n_allocations)
{
  gsize allocated = allocated_buffers * buf_pool_get_buffer_size (pool);

  g_assert_cmpuint (buf_pool_get_allocated_memory (pool), ==, allocated);
  g_assert_cmpuint (buf_pool_get_available_memory (pool),
                    ==,
                    buf_pool_get_max_memory (pool) - allocated);
  g_assert_cmpuint (buf_pool_get_active_allocations (pool), ==, n_allocations);
}

guint
test_get_n_drainers (BufPool *pool)
{
  BufSemaphore *semaphore = &pool->memory->semaphore;
  guint n;

  g_mutex_lock (&semaphore->tree->mutex);
  n = semaphore->level.drainers.length;
  g_mutex_unlock (&semaphore->tree->mutex);
  return n;
}

static void
count (BufMemory *memory, gpointer data)
{
  guint *n = data;

  (*n)++;
}

guint
test_count_memories (void)
{
  guint n = 0;

  buf_memory_for_each (count, &n);
  return n;
}

void
test_yield (gint64 deadline, const gchar *where, const gchar *condition)
{
  if (g_get_monotonic_time () > deadline)
    g_error ("%s: still not true: %s", where, condition);
  g_usleep (50);
}

guint
test_scale (guint n)
{
  const gchar *scale = g_getenv ("TEST_SCALE");
  guint64 percent = scale != NULL ? g_ascii_strtoull (scale, NULL, 10) : 100;

  return MAX ((guint) (n * percent / 100), 1);
}

/* For tests of BUFPOOL_DEBUG: whether this is the process that has these settings. In the parent,
 * this returns after that process has passed. */
gboolean
test_run_with (const gchar *keys, const gchar *variable, const gchar *value)
{
  if (g_test_subprocess ())
    {
      g_log_set_always_fatal (G_LOG_LEVEL_ERROR | G_LOG_FLAG_FATAL);
      return TRUE;
    }

  g_setenv ("BUFPOOL_DEBUG", keys, TRUE);
  if (variable != NULL)
    g_setenv (variable, value, TRUE);
  g_unsetenv ("G_DEBUG");
  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_passed ();
  g_unsetenv ("BUFPOOL_DEBUG");
  if (variable != NULL)
    g_unsetenv (variable);
  return FALSE;
}

static gint n_warnings; /* atomic */

static GLogWriterOutput
count_warning (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  const GLogWriterOutput output = g_log_writer_default (level, fields, n_fields, user_data);

  if (level & G_LOG_LEVEL_WARNING)
    g_atomic_int_inc (&n_warnings);
  return output;
}

void
test_begin_to_count_warnings (void)
{
  g_log_set_writer_func (count_warning, NULL, NULL);
}

guint
test_get_n_warnings (void)
{
  return (guint) g_atomic_int_get (&n_warnings);
}

const gchar *
test_get_log_message (const GLogField *fields, gsize n_fields)
{
  for (gsize i = 0; i < n_fields; i++)
    if (g_str_equal (fields[i].key, "MESSAGE"))
      return fields[i].value;
  g_assert_not_reached ();
}

gboolean
test_skip_without_stacks (void)
{
  BufDebugStack stack;

  buf_debug_stack_capture (&stack);
  if (stack.n_frames > 0)
    return FALSE;

  g_test_skip ("This C library does not provide call stacks");
  return TRUE;
}

static gpointer
drop_pool (gpointer data)
{
  TestOwner *self = data;

  g_object_unref (self->pool);
  g_atomic_int_set (&self->done, TRUE);
  return NULL;
}

void
test_owner_start (TestOwner *self, BufPool *pool)
{
  *self = (TestOwner){ .pool = pool };
  self->thread = g_thread_new ("owner", drop_pool, self);
}

/* Its reference is the last, and it waits. */
void
test_owner_start_waiting (TestOwner *self, BufPool *pool)
{
  test_owner_start (self, pool);
  test_wait_until (test_get_n_drainers (pool) == 1);
}

void
test_owner_assert_waits (TestOwner *self)
{
  g_assert_cmpuint (test_get_n_drainers (self->pool), ==, 1);
  g_assert_false (g_atomic_int_get (&self->done));
}

void
test_owner_end (TestOwner *self)
{
  g_thread_join (self->thread);
}

/* Its reference is not the last. */
void
test_owner_run (BufPool *pool)
{
  TestOwner owner;

  test_owner_start (&owner, pool);
  test_owner_end (&owner);
}

/* The pool has been disposed of, but a plain allocation keeps it alive. */
void
test_assert_still_there (BufPool *pool)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (buf_pool_allocate (pool, 1, NULL, &error));
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_CLOSED);
}

/* The pool may still be ending in another thread, and the watcher and a thread that logs a wait may
 * still be inside. */
void
test_wait_for_the_end (void)
{
  test_wait_until (test_count_memories () == 0);
}

/* A callback that keeps the result, and does not fetch it. */
void
test_keep_result (GObject *source, GAsyncResult *result, gpointer user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

/* Waits until the main loop has dropped it, too. */
void
test_iterate_until (GAsyncResult **result)
{
  while (*result == NULL)
    g_main_context_iteration (NULL, TRUE);
  test_iterate_all ();
}

void
test_iterate_all (void)
{
  while (g_main_context_iteration (NULL, FALSE))
    continue;
}
