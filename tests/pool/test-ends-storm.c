/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pools that end in random ways: owners and consumers in several threads, each with a separate main
 * context, with plain and pinned allocations, views, transfers, tasks that are fetched, cancelled,
 * kept or forgotten, and drains. They only do what a correct program may do:
 *
 * - A thread uses the pool only while something keeps it alive: a reference, a plain allocation, or
 * a task of its own that has not returned.
 * - It drops its reference on the pool when it has no plain allocation anymore.
 * - Each thread frees its memory without waiting for others. */

#include "testing.h"

#define N_THREADS   4
#define N_BUFFERS   8
#define N_STEPS     40
#define BUFFER_SIZE 16

typedef struct
{
  BufPool *pool; /* which others may keep */
  guint32 seed;
  gboolean owns;            /* a reference */
  BufPoolAllocation *first; /* what a consumer starts with */
} Role;

typedef struct
{
  BufPool *pool;
  gboolean owns;
  GRand *rand;
  GMainContext *context;
  GCancellable *cancellable; /* of the next requests */
  GPtrArray *plain;          /* of BufPoolAllocation */
  GPtrArray *pinned;         /* of BufPoolAllocation */
  GPtrArray *views;          /* of GBytes */
  GPtrArray *results;        /* of GAsyncResult: fetched, failed, or never fetched */
  guint n_pending;           /* asynchronous calls that have not returned */
  guint n_tasks;             /* how many of these keep the pool */
} Actor;

static guint
choose (Actor *self, guint n)
{
  return g_rand_int_range (self->rand, 0, n);
}

static gboolean
may_use_pool (Actor *self)
{
  return self->owns || self->plain->len > 0 || self->n_tasks > 0;
}

static void
keep (Actor *self, BufPoolAllocation *allocation, gboolean pinned)
{
  if (allocation != NULL)
    g_ptr_array_add (pinned ? self->pinned : self->plain, allocation);
}

/* Returns whether there is an element, and sets @index to one of them. */
static gboolean
choose_from (Actor *self, GPtrArray *array, guint *index)
{
  if (array->len == 0)
    return FALSE;

  *index = choose (self, array->len);
  return TRUE;
}

static BufPoolAllocation *
choose_allocation (Actor *self)
{
  GPtrArray *array = choose (self, 2) ? self->plain : self->pinned;
  guint index;

  return choose_from (self, array, &index) ? g_ptr_array_index (array, index) : NULL;
}

static void
drop_one (Actor *self, GPtrArray *array)
{
  guint index;

  if (choose_from (self, array, &index))
    g_ptr_array_remove_index_fast (array, index);
}

static void
renew_cancellable (Actor *self)
{
  g_clear_object (&self->cancellable);
  self->cancellable = g_cancellable_new ();
}

static void
allocate (Actor *self)
{
  guint n_buffers = 1 + choose (self, 3);
  gboolean pinned = choose (self, 2);

  if (choose (self, 4) > 0)
    keep (self,
          pinned ? buf_pool_try_allocate_pinned (self->pool, n_buffers, NULL)
                 : buf_pool_try_allocate (self->pool, n_buffers, NULL),
          pinned);
  else
    keep (self,
          pinned ? buf_pool_allocate_timeout_pinned (self->pool,
                                                     n_buffers,
                                                     choose (self, 300),
                                                     NULL,
                                                     NULL)
                 : buf_pool_allocate_timeout (self->pool,
                                              n_buffers,
                                              choose (self, 300),
                                              self->cancellable,
                                              NULL),
          pinned);
}

/* The task keeps the pool alive until here, and the result keeps it longer if it is kept. */
static void
on_returned (Actor *self, GAsyncResult *result)
{
  self->n_pending--;
  self->n_tasks--;
  if (choose (self, 4) == 0)
    g_ptr_array_add (self->results, g_object_ref (result));
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Actor *self = user_data;

  if (choose (self, 4) > 0)
    keep (self, buf_pool_allocate_finish (BUF_POOL (pool), result, NULL), FALSE);
  on_returned (self, result);
}

static void
on_allocated_pinned (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  Actor *self = user_data;

  if (choose (self, 4) > 0)
    keep (self, buf_pool_allocate_pinned_finish (BUF_POOL (pool), result, NULL), TRUE);
  on_returned (self, result);
}

static void
on_drained (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  buf_pool_drain_finish (BUF_POOL (pool), result, NULL);
  on_returned (user_data, result);
}

static void
start_task (Actor *self)
{
  GCancellable *cancellable = choose (self, 3) > 0 ? self->cancellable : NULL;
  guint n_buffers = 1 + choose (self, 3);
  guint kind = choose (self, 5);

  self->n_pending++;
  self->n_tasks++;
  if (kind < 2)
    buf_pool_allocate_async (self->pool,
                             n_buffers,
                             choose (self, 3),
                             cancellable,
                             on_allocated,
                             self);
  else if (kind < 4)
    buf_pool_allocate_pinned_async (self->pool,
                                    n_buffers,
                                    choose (self, 3),
                                    cancellable,
                                    on_allocated_pinned,
                                    self);
  else
    buf_pool_drain_async (self->pool, choose (self, 3), self->cancellable, on_drained, self);
}

static void
on_filled (GObject *source, GAsyncResult *result, gpointer user_data)
{
  Actor *self = user_data;

  self->n_pending--;
  if (choose (self, 4) == 0)
    g_ptr_array_add (self->results, g_object_ref (result));
}

static void
start_transfer (Actor *self)
{
  BufPoolAllocation *allocation = choose_allocation (self);
  g_autoptr (GInputStream) stream =
      g_memory_input_stream_new_from_data ("0123456789abcdef", BUFFER_SIZE, NULL);

  if (allocation == NULL)
    return;

  self->n_pending++;
  buf_pool_allocation_fill_from_stream_async (allocation,
                                              stream,
                                              0,
                                              BUFFER_SIZE,
                                              choose (self, 3),
                                              choose (self, 2) ? self->cancellable : NULL,
                                              on_filled,
                                              self);
}

static void
take_view (Actor *self)
{
  BufPoolAllocation *allocation = choose_allocation (self);
  GBytes *view = allocation != NULL ? buf_pool_allocation_get_bytes (allocation) : NULL;

  if (view != NULL)
    g_ptr_array_add (self->views, view);
}

static void
release (Actor *self)
{
  BufPoolAllocation *allocation = choose_allocation (self);

  if (allocation != NULL)
    buf_pool_allocation_release (allocation);
}

static gpointer
cancel (gpointer data)
{
  g_autoptr (GCancellable) cancellable = data;

  g_cancellable_cancel (cancellable);
  return NULL;
}

static void
cancel_somewhere (Actor *self)
{
  if (choose (self, 2))
    g_cancellable_cancel (self->cancellable);
  else
    g_thread_unref (g_thread_new ("cancel", cancel, g_object_ref (self->cancellable)));
  renew_cancellable (self);
}

/* A view of a plain allocation is a reference to it. */
static void
drop_everything_plain (Actor *self)
{
  g_ptr_array_set_size (self->plain, 0);
  g_ptr_array_set_size (self->views, 0);
}

static void
drop_pool (Actor *self)
{
  if (!self->owns)
    return;

  drop_everything_plain (self);
  self->owns = FALSE;
  g_object_unref (self->pool);
}

static void
step_with_pool (Actor *self)
{
  switch (choose (self, 20))
    {
    case 0:
      buf_pool_set_max_memory (self->pool, (1 + choose (self, N_BUFFERS)) * BUFFER_SIZE);
      break;
    case 1:
      if (choose (self, 4) == 0)
        buf_pool_close (self->pool);
      break;
    case 2:
      drop_pool (self);
      break;
    case 3:
      g_free (buf_pool_describe_outstanding (self->pool));
      break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
      start_task (self);
      break;
    default:
      allocate (self);
    }
}

static void
step (Actor *self)
{
  switch (choose (self, 16))
    {
    case 0:
    case 1:
      drop_one (self, self->plain);
      break;
    case 2:
      drop_one (self, self->pinned);
      break;
    case 3:
      drop_one (self, self->views);
      break;
    case 4:
      drop_one (self, self->results);
      break;
    case 5:
      take_view (self);
      break;
    case 6:
      start_transfer (self);
      break;
    case 7:
      release (self);
      break;
    case 8:
      cancel_somewhere (self);
      break;
    case 9:
    case 10:
      g_main_context_iteration (self->context, FALSE);
      break;
    default:
      if (may_use_pool (self))
        step_with_pool (self);
    }
}

/* In a random order, except that an owner leaves when it has no plain allocation. */
static void
drop_everything (Actor *self)
{
  GPtrArray *arrays[] = { self->plain, self->pinned, self->views, self->results };

  if (choose (self, 2))
    drop_pool (self);
  for (guint i = choose (self, G_N_ELEMENTS (arrays)), n = 0; n < G_N_ELEMENTS (arrays); i++, n++)
    g_ptr_array_set_size (arrays[i % G_N_ELEMENTS (arrays)], 0);
  drop_pool (self);
}

/* Tasks may wait for each other's allocations, in all threads, so they are cancelled. */
static void
finish (Actor *self)
{
  g_cancellable_cancel (self->cancellable);
  if (may_use_pool (self) && choose (self, 2))
    buf_pool_close (self->pool);
  while (self->n_pending > 0)
    {
      drop_everything (self);
      g_main_context_iteration (self->context, FALSE);
    }
  while (g_main_context_iteration (self->context, FALSE))
    continue;
  drop_everything (self);
}

static gpointer
act (gpointer data)
{
  Role *role = data;
  Actor self = {
    .pool = role->pool,
    .owns = role->owns,
    .rand = g_rand_new_with_seed (role->seed),
    .context = g_main_context_new (),
    .plain = g_ptr_array_new_with_free_func ((GDestroyNotify) buf_pool_allocation_unref),
    .pinned = g_ptr_array_new_with_free_func ((GDestroyNotify) buf_pool_allocation_unref),
    .views = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref),
    .results = g_ptr_array_new_with_free_func (g_object_unref),
  };

  g_main_context_push_thread_default (self.context);
  renew_cancellable (&self);
  keep (&self, role->first, FALSE);
  for (guint i = 0; i < N_STEPS; i++)
    step (&self);
  finish (&self);

  g_ptr_array_unref (self.results);
  g_ptr_array_unref (self.views);
  g_ptr_array_unref (self.pinned);
  g_ptr_array_unref (self.plain);
  g_object_unref (self.cancellable);
  g_main_context_pop_thread_default (self.context);
  g_main_context_unref (self.context);
  g_rand_free (self.rand);
  return NULL;
}

static void
run_round (void)
{
  BufPool *pool = test_pool_new_timed (BUFFER_SIZE, N_BUFFERS);
  Role roles[N_THREADS];
  GThread *threads[N_THREADS];

  for (guint i = 0; i < N_THREADS; i++)
    roles[i] = (Role){
      .pool = pool,
      .seed = g_test_rand_int (),
      .owns = i % 2 == 0,
      .first = i % 2 == 0 ? NULL : test_allocate (pool, 1),
    };
  for (guint i = 0; i < N_THREADS; i++)
    if (roles[i].owns)
      g_object_ref (pool);
  for (guint i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("actor", act, &roles[i]);
  g_object_unref (pool);
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);

  /* The last pool may still be ending in a thread of the library. */
  test_wait_until (test_count_memories () == 0);
}

static void
test_storm (void)
{
  g_test_summary ("No matter how a pool ends, no thread hangs, and nothing remains");

  for (guint round = 0; round < test_scale (2000); round++)
    run_round ();
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/ends-storm", test_storm);
  return g_test_run ();
}
