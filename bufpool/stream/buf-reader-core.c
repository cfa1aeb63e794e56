/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "pool/buf-pool-private.h"
#include "stream/buf-cancel-watch-private.h"
#include "stream/buf-descriptor-private.h"
#include "stream/buf-reader-core-private.h"

/*
 * The state that a reader shares with the thread that reads ahead: the blocks that were read, and
 * which thread is reading.
 *
 * Only one thread at a time reads from the stream: the one that has set @reading to BUSY. It is an
 * operation that found no item, or a thread of the pool below, which reads ahead. So the items are
 * in the order of the stream. An item that is an error or the end is the last one, and nothing is
 * read ahead after it. The next operation after it reads again, as with any stream.
 *
 * A thread that reads ahead never waits for memory, and ends when it has read enough. It leaves
 * room for another block, so that a program with several readers can read from each of them. It
 * never makes an operation wait needlessly: if a job is still queued because all threads are busy,
 * the operation reads itself, and the job finds nothing to do.
 *
 * There is at most one operation, so at most one thread waits for @changed, or there is at most one
 * @waiting source. An operation that wakes up checks again, so a spurious wakeup is harmless.
 *
 * No user code runs under the mutex: neither a stream's, nor the destruction of an object.
 */

#define MAX_THREADS 16

static GThreadPool *read_ahead_threads;

static BufReaderItem *
item_new (const BufReaderItem *item)
{
  return g_memdup2 (item, sizeof *item);
}

static void
item_free (gpointer data)
{
  BufReaderItem *self = data;

  g_clear_pointer (&self->bytes, g_bytes_unref);
  g_clear_error (&self->error);
  g_free (self);
}

void
buf_reader_core_drop_items (BufReaderCore *self)
{
  GQueue items;

  g_mutex_lock (&self->mutex);
  items = self->items;
  g_queue_init (&self->items);
  g_mutex_unlock (&self->mutex);

  g_queue_clear_full (&items, item_free);
}

BufReaderCore *
buf_reader_core_ref (BufReaderCore *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
buf_reader_core_unref (BufReaderCore *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  g_assert (self->waiting == NULL);

  buf_reader_core_drop_items (self);
  g_mutex_clear (&self->mutex);
  g_cond_clear (&self->changed);
  g_object_unref (self->stop);
  g_object_unref (self->stream);
  buf_pool_drop_library_reference (self->pool);
  g_free (self);
}

/* The caller attaches no source under the mutex that can run there. */
static void
wake_reader_locked (BufReaderCore *self)
{
  g_cond_broadcast (&self->changed);
  if (self->waiting == NULL)
    return;

  g_source_attach (self->waiting, self->waiting_where);
  g_clear_pointer (&self->waiting, g_source_unref);
  g_clear_pointer (&self->waiting_where, g_main_context_unref);
}

void
buf_reader_core_wake (gpointer data)
{
  BufReaderCore *self = data;

  g_mutex_lock (&self->mutex);
  wake_reader_locked (self);
  g_mutex_unlock (&self->mutex);
}

/* Returns whether another block is wanted after the existing items. */
static gboolean
wants_more_locked (BufReaderCore *self, guint n_wanted)
{
  BufReaderItem *last = g_queue_peek_tail (&self->items);

  return !self->stopped && g_queue_get_length (&self->items) < n_wanted &&
         (last == NULL || last->bytes != NULL);
}

/* Allocates a block to read ahead. Returns NULL if the limit has no room for it and for another
 * one. */
static BufPoolAllocation *
try_ahead (BufReaderCore *self)
{
  gsize size = self->n_buffers * buf_pool_get_buffer_size (self->pool);
  BufPoolAllocation *allocation;

  if (buf_pool_get_available_memory (self->pool) / 2 < size)
    return NULL;

  /* Other threads may have done the same. */
  allocation = buf_pool_try_allocate_pinned (self->pool, self->n_buffers, NULL);
  if (allocation != NULL && buf_pool_get_available_memory (self->pool) < size)
    g_clear_pointer (&allocation, buf_pool_allocation_unref);
  return allocation;
}

static void
end_reading (BufReaderCore *self)
{
  g_mutex_lock (&self->mutex);
  self->reading = BUF_READING_NONE;
  wake_reader_locked (self);
  g_mutex_unlock (&self->mutex);
}

/* Returns whether to continue. A read that the end of the reader cancelled is not an item. */
static gboolean
push_ahead (BufReaderCore *self, const BufReaderItem *item)
{
  gboolean is_dropped = item->error != NULL && g_cancellable_is_cancelled (self->stop);
  BufReaderItem *pushed = item_new (item);
  gboolean more;

  g_mutex_lock (&self->mutex);
  if (!is_dropped)
    g_queue_push_tail (&self->items, pushed);
  more = !is_dropped && wants_more_locked (self, atomic_load (&self->read_ahead));
  if (!more)
    self->reading = BUF_READING_NONE;
  wake_reader_locked (self);
  g_mutex_unlock (&self->mutex);

  if (is_dropped)
    item_free (pushed);
  return more;
}

static gboolean
read_ahead_once (BufReaderCore *self)
{
  BufPoolAllocation *allocation = try_ahead (self);
  BufReaderItem item;

  if (allocation == NULL)
    {
      end_reading (self);
      return FALSE;
    }

  buf_reader_core_read_once (self, allocation, FALSE, self->stop, &item);
  return push_ahead (self, &item);
}

/* Returns FALSE if an operation has begun to read in the meantime. */
static gboolean
begin_job (BufReaderCore *self)
{
  gboolean begins;

  g_mutex_lock (&self->mutex);
  self->has_job = FALSE;
  begins = self->reading == BUF_READING_QUEUED;
  if (begins)
    self->reading = BUF_READING_BUSY;
  g_mutex_unlock (&self->mutex);
  return begins;
}

static void
run_job (gpointer data, gpointer user_data)
{
  BufReaderCore *self = data;

  if (begin_job (self))
    while (read_ahead_once (self))
      continue;
  buf_reader_core_unref (self);
}

/* Lets a thread read when less than half is left, so that it need not be woken for each block. A
 * stream that can be polled is read ahead by the system. */
static void
read_ahead_locked (BufReaderCore *self)
{
  guint read_ahead = atomic_load (&self->read_ahead);

  if (self->pollable != NULL || read_ahead == 0 || self->reading != BUF_READING_NONE ||
      !wants_more_locked (self, read_ahead / 2 + read_ahead % 2))
    return;

  self->reading = BUF_READING_QUEUED;
  if (self->has_job)
    return;

  self->has_job = TRUE;
  g_thread_pool_push (read_ahead_threads, buf_reader_core_ref (self), NULL);
}

static gboolean
pop_locked (BufReaderCore *self, BufReaderItem *item)
{
  BufReaderItem *popped = g_queue_pop_head (&self->items);

  if (popped == NULL)
    return FALSE;

  *item = *popped;
  g_free (popped);
  if (item->bytes != NULL)
    read_ahead_locked (self);
  return TRUE;
}

static BufTake
take_item_locked (BufReaderCore *self, BufReaderItem *item)
{
  if (pop_locked (self, item))
    return BUF_TAKE_ITEM;
  if (self->reading == BUF_READING_BUSY)
    return BUF_TAKE_WAIT;

  self->reading = BUF_READING_BUSY;
  return BUF_TAKE_READ;
}

BufTake
buf_reader_core_take (BufReaderCore *self, BufReaderItem *item)
{
  BufTake take;

  g_mutex_lock (&self->mutex);
  take = take_item_locked (self, item);
  g_mutex_unlock (&self->mutex);
  return take;
}

/* Waits for the reading thread. Returns WAIT only if the wait was cancelled. */
BufTake
buf_reader_core_take_waiting (BufReaderCore *self, GCancellable *cancellable, BufReaderItem *item)
{
  BufTake take = buf_reader_core_take (self, item);
  BufCancelWatch *watch;

  if (take != BUF_TAKE_WAIT)
    return take;

  watch = buf_cancel_watch_new (cancellable, buf_reader_core_wake, self);
  g_mutex_lock (&self->mutex);
  while ((take = take_item_locked (self, item)) == BUF_TAKE_WAIT &&
         !g_cancellable_is_cancelled (cancellable))
    g_cond_wait (&self->changed, &self->mutex);
  g_mutex_unlock (&self->mutex);
  buf_cancel_watch_end (watch);
  return take;
}

/* Creates a source that calls @function with @task after a change. */
static void
attach_later_locked (BufReaderCore *self, GTask *task, GSource *source)
{
  g_assert (self->waiting == NULL);

  self->waiting = source;
  self->waiting_where = g_main_context_ref (g_task_get_context (task));
}

static GSource *
new_source (GTask *task, GSourceFunc function)
{
  GSource *source = g_idle_source_new ();

  g_source_set_priority (source, g_task_get_priority (task));
  g_source_set_callback (source, function, g_object_ref (task), g_object_unref);
  g_source_set_static_name (source, "[libbufpool] reader");
  return source;
}

/* On WAIT, @function is called later, or when the task is cancelled. */
BufTake
buf_reader_core_take_or_attach (BufReaderCore *self,
                                GTask *task,
                                GSourceFunc function,
                                BufReaderItem *item)
{
  GSource *source = new_source (task, function);
  BufTake take;

  g_mutex_lock (&self->mutex);
  take = take_item_locked (self, item);
  if (take == BUF_TAKE_WAIT)
    attach_later_locked (self, task, g_steal_pointer (&source));
  if (take == BUF_TAKE_WAIT && g_cancellable_is_cancelled (g_task_get_cancellable (task)))
    wake_reader_locked (self);
  g_mutex_unlock (&self->mutex);

  g_clear_pointer (&source, g_source_unref);
  return take;
}

/* Called after READ: the operation keeps the item that it has read. */
void
buf_reader_core_end_read (BufReaderCore *self, const BufReaderItem *item)
{
  g_mutex_lock (&self->mutex);
  self->reading = BUF_READING_NONE;
  if (item->bytes != NULL)
    read_ahead_locked (self);
  g_mutex_unlock (&self->mutex);
}

/* Puts back an item that an operation fetched but did not deliver. It comes next. Takes ownership
 * of @bytes. */
void
buf_reader_core_put_back (BufReaderCore *self, GBytes *bytes)
{
  BufReaderItem item = { bytes, NULL };

  g_mutex_lock (&self->mutex);
  g_queue_push_head (&self->items, item_new (&item));
  g_mutex_unlock (&self->mutex);
}

/* From now on, nothing is read ahead. A reading thread is told to stop. */
void
buf_reader_core_stop (BufReaderCore *self)
{
  g_mutex_lock (&self->mutex);
  self->stopped = TRUE;
  if (self->reading == BUF_READING_QUEUED)
    self->reading = BUF_READING_NONE;
  g_mutex_unlock (&self->mutex);

  g_cancellable_cancel (self->stop);
}

void
buf_reader_core_wait_until_stopped (BufReaderCore *self)
{
  g_mutex_lock (&self->mutex);
  while (self->reading != BUF_READING_NONE)
    g_cond_wait (&self->changed, &self->mutex);
  g_mutex_unlock (&self->mutex);
}

/* If a thread is still reading, @function is called with @task later. */
gboolean
buf_reader_core_is_stopped_or_attach (BufReaderCore *self, GTask *task, GSourceFunc function)
{
  GSource *source = new_source (task, function);
  gboolean stopped;

  g_mutex_lock (&self->mutex);
  stopped = self->reading == BUF_READING_NONE;
  if (!stopped)
    attach_later_locked (self, task, g_steal_pointer (&source));
  g_mutex_unlock (&self->mutex);

  g_clear_pointer (&source, g_source_unref);
  return stopped;
}

static gboolean
can_poll (GInputStream *stream)
{
  return G_IS_POLLABLE_INPUT_STREAM (stream) &&
         g_pollable_input_stream_can_poll (G_POLLABLE_INPUT_STREAM (stream));
}

BufReaderCore *
buf_reader_core_new (GInputStream *stream, BufPool *pool, gsize n_buffers)
{
  BufReaderCore *self = g_new0 (BufReaderCore, 1);
  static gsize once;

  if (g_once_init_enter (&once))
    {
      read_ahead_threads = g_thread_pool_new (run_job, NULL, MAX_THREADS, FALSE, NULL);
      g_once_init_leave (&once, 1);
    }

  g_atomic_ref_count_init (&self->ref_count);
  self->stream = g_object_ref (stream);
  self->pollable = can_poll (stream) ? G_POLLABLE_INPUT_STREAM (stream) : NULL;
  self->descriptor = buf_descriptor_get (stream);
  self->pool = g_object_ref (pool);
  self->n_buffers = n_buffers;
  self->stop = g_cancellable_new ();
  g_mutex_init (&self->mutex);
  g_cond_init (&self->changed);
  g_queue_init (&self->items);
  return self;
}
