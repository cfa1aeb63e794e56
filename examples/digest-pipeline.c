/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#define _DEFAULT_SOURCE 1 /* O_CLOEXEC, which strict C11 hides */

#include <bufpool/bufpool.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gio/gunixinputstream.h>

#include "digest-pipeline.h"

/*
 * Reads and hashes files, many at once, within the budget of one pool.
 *
 * Words: a *chunk* is an allocation with a piece of a file in it. A *lane* is two threads: its
 * *reader* takes the next file, reads it chunk by chunk to its end, and goes on with the next; its
 * *worker* hashes the chunks in the order in which they were read, and gives their memory back. So
 * a file is hashed by one worker, in order, and different files are hashed at the same time.
 * Readers are faster than workers: what holds them back is the budget.
 *
 * Why this never gets stuck, even if the budget is one allocation: a reader asks for memory only
 * when it has none, and only when its file has something to read, so that nobody holds memory while
 * waiting for the pool, or for another program at the far end of a pipe. Hence an allocation that
 * is out is either being filled, by reads that do not wait, or it is on its way to a worker, which
 * needs no memory in order to hash it. So each of them comes back soon; and as the pool starves no
 * request, the file whose result is needed next gets its turn, however much was read ahead of those
 * behind it. A reader also waits for room among the results, but then it holds no memory, nor a
 * file: all files before that one are with other readers, or done.
 *
 * Results are kept in a ring until they are taken in order, so that a large file holds up only so
 * many small ones, and the memory for them is bounded as well.
 */

#define MAX_RESULTS 1024

typedef struct
{
  DigestPipeline *pipeline;      /* const */
  guint file;                    /* const; its place among the names */
  BufPoolAllocation *allocation; /* NULL only if there is an error */
  gsize length;                  /* bytes that were read into it */
  GError *error;
  gboolean last;
} Chunk;

typedef struct
{
  DigestPipeline *pipeline; /* const */
  GAsyncQueue *chunks;      /* from the reader to the worker; after the last file &no_more_files */
  GThread *reader;
  GThread *worker;
} Lane;

struct _DigestPipeline
{
  BufPool *pool;             /* const; the caller's */
  gsize n_buffers;           /* const; in each allocation */
  const gchar *const *names; /* const; the caller's */
  guint n_files;             /* const */
  Lane *lanes;               /* const */
  guint n_lanes;             /* const */

  GMutex mutex;
  GCond result_added;
  GCond result_taken;
  DigestResult results[MAX_RESULTS]; /* LOCK: mutex; a file's place is its number modulo size */
  guint n_started;                   /* LOCK: mutex; files that the readers have taken on */
  guint n_taken;                     /* LOCK: mutex; results that the caller has taken */

  _Atomic guint64 hashed;
  _Atomic guint64 memory;
  _Atomic guint64 most_memory;
  _Atomic guint64 n_requests;
  _Atomic guint64 n_waits;
  _Atomic guint64 waited;
  _Atomic guint64 longest_wait;
};

static Chunk no_more_files;

static void
raise_to (_Atomic guint64 *greatest, guint64 value)
{
  guint64 seen = atomic_load (greatest);

  while (seen < value && !atomic_compare_exchange_weak (greatest, &seen, value))
    ;
}

static BufPoolAllocation *
wait_for_memory (DigestPipeline *self, GError **error)
{
  gint64 start = g_get_monotonic_time ();
  BufPoolAllocation *allocation = buf_pool_allocate (self->pool, self->n_buffers, NULL, error);
  gint64 waited = g_get_monotonic_time () - start;

  atomic_fetch_add (&self->n_waits, 1);
  atomic_fetch_add (&self->waited, waited);
  raise_to (&self->longest_wait, waited);
  return allocation;
}

/* A program that does not care how often it waits just calls buf_pool_allocate(). */
static BufPoolAllocation *
take_memory (DigestPipeline *self, GError **error)
{
  g_autoptr (GError) refusal = NULL;
  BufPoolAllocation *allocation = buf_pool_try_allocate (self->pool, self->n_buffers, &refusal);
  gsize size;

  atomic_fetch_add (&self->n_requests, 1);
  if (g_error_matches (refusal, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK))
    allocation = wait_for_memory (self, error);
  else if (allocation == NULL)
    g_propagate_error (error, g_steal_pointer (&refusal));

  if (allocation != NULL)
    {
      size = buf_pool_allocation_get_allocated_bytes (allocation);
      raise_to (&self->most_memory, atomic_fetch_add (&self->memory, size) + size);
    }
  return allocation;
}

static void
give_memory_back (DigestPipeline *self, BufPoolAllocation *allocation)
{
  /* First the count: another thread may have the memory as soon as it is back. */
  atomic_fetch_sub (&self->memory, buf_pool_allocation_get_allocated_bytes (allocation));
  buf_pool_allocation_unref (allocation);
}

static Chunk *
chunk_new (DigestPipeline *pipeline, guint file)
{
  Chunk *self = g_new0 (Chunk, 1);

  self->pipeline = pipeline;
  self->file = file;
  return self;
}

static void
chunk_free (Chunk *self)
{
  if (self->allocation != NULL)
    give_memory_back (self->pipeline, self->allocation);
  g_clear_error (&self->error);
  g_free (self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Chunk, chunk_free)

/* Waits for so many milliseconds, or for ever if negative. */
static gboolean
is_readable (GInputStream *stream, gint timeout)
{
  GPollFD poll = {
    .fd = g_unix_input_stream_get_fd (G_UNIX_INPUT_STREAM (stream)),
    .events = G_IO_IN,
  };
  gint n_readable;

  do
    n_readable = g_poll (&poll, 1, timeout);
  while (n_readable < 0 && errno == EINTR);
  return n_readable > 0;
}

/* Reads until the chunk is full, or the file is at its end, or would have to be waited for. */
static void
chunk_fill (Chunk *self, GInputStream *stream)
{
  gsize size;
  guint8 *data = buf_pool_allocation_get_data (self->allocation, &size);

  do
    {
      gssize n_read = g_input_stream_read (stream,
                                           data + self->length,
                                           size - self->length,
                                           NULL,
                                           &self->error);

      if (n_read <= 0)
        self->last = TRUE;
      else
        self->length += n_read;
    }
  while (!self->last && self->length < size && is_readable (stream, 0));
}

static Chunk *
read_chunk (DigestPipeline *pipeline, guint file, GInputStream *stream)
{
  Chunk *chunk = chunk_new (pipeline, file);

  /* First the data, then the memory: see above. */
  is_readable (stream, -1);
  chunk->allocation = take_memory (pipeline, &chunk->error);
  if (chunk->allocation != NULL)
    chunk_fill (chunk, stream);
  else
    chunk->last = TRUE;
  return chunk;
}

static void
set_error_from_errno (GError **error, gint code)
{
  g_set_error_literal (error, G_IO_ERROR, g_io_error_from_errno (code), g_strerror (code));
}

/* Not by way of GFile, which takes the name apart by itself, and opens another file than the system
 * would when there is a “..” behind a symbolic link. */
static GInputStream *
open_file (const gchar *name, GError **error)
{
  gint fd =
      g_str_equal (name, "-") ? dup (STDIN_FILENO) : open (name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  struct stat status;

  if (fd < 0)
    {
      set_error_from_errno (error, errno);
      return NULL;
    }
  if (fstat (fd, &status) == 0 && S_ISDIR (status.st_mode))
    {
      set_error_from_errno (error, EISDIR);
      close (fd);
      return NULL;
    }
  return g_unix_input_stream_new (fd, TRUE);
}

static void
read_file (Lane *lane, guint file)
{
  DigestPipeline *pipeline = lane->pipeline;
  g_autoptr (GError) error = NULL;
  g_autoptr (GInputStream) stream = open_file (pipeline->names[file], &error);
  Chunk *chunk;
  gboolean last;

  if (stream == NULL)
    {
      chunk = chunk_new (pipeline, file);
      chunk->error = g_steal_pointer (&error);
      chunk->last = TRUE;
      g_async_queue_push (lane->chunks, chunk);
      return;
    }

  do
    {
      chunk = read_chunk (pipeline, file, stream);
      last = chunk->last;
      g_async_queue_push (lane->chunks, chunk);
    }
  while (!last);
}

/* Takes on the next file, as soon as there will be room for its result. */
static gboolean
start_file (DigestPipeline *self, guint *file)
{
  gboolean started;

  g_mutex_lock (&self->mutex);
  while (self->n_started < self->n_files && self->n_started - self->n_taken >= MAX_RESULTS)
    g_cond_wait (&self->result_taken, &self->mutex);
  started = self->n_started < self->n_files;
  if (started)
    *file = self->n_started++;
  g_mutex_unlock (&self->mutex);

  return started;
}

static gpointer
reader_thread (gpointer data)
{
  Lane *lane = data;
  guint file;

  while (start_file (lane->pipeline, &file))
    read_file (lane, file);
  g_async_queue_push (lane->chunks, &no_more_files);
  return NULL;
}

static void
add_result (DigestPipeline *self, guint file, GChecksum *checksum, GError *error)
{
  DigestResult result = { .error = error };

  if (error == NULL)
    result.digest = g_strdup (g_checksum_get_string (checksum));

  g_mutex_lock (&self->mutex);
  self->results[file % MAX_RESULTS] = result;
  if (file == self->n_taken)
    g_cond_signal (&self->result_added);
  g_mutex_unlock (&self->mutex);
}

static void
hash_chunk (Chunk *chunk, GChecksum *checksum)
{
  if (chunk->length > 0)
    g_checksum_update (checksum, buf_pool_allocation_get_first (chunk->allocation), chunk->length);
  atomic_fetch_add (&chunk->pipeline->hashed, chunk->length);

  if (chunk->last)
    {
      add_result (chunk->pipeline, chunk->file, checksum, g_steal_pointer (&chunk->error));
      g_checksum_reset (checksum);
    }
}

static gpointer
worker_thread (gpointer data)
{
  Lane *lane = data;
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  Chunk *next;

  while ((next = g_async_queue_pop (lane->chunks)) != &no_more_files)
    {
      g_autoptr (Chunk) chunk = next;

      hash_chunk (chunk, checksum);
    }
  return NULL;
}

static void
lane_start (Lane *self, DigestPipeline *pipeline)
{
  self->pipeline = pipeline;
  self->chunks = g_async_queue_new ();
  self->reader = g_thread_new ("reader", reader_thread, self);
  self->worker = g_thread_new ("worker", worker_thread, self);
}

static void
lane_end (Lane *self)
{
  g_thread_join (self->reader);
  g_thread_join (self->worker);
  g_async_queue_unref (self->chunks);
}

/* Starts to hash the files. The pool and the names have to outlive the pipeline. */
DigestPipeline *
digest_pipeline_new (BufPool *pool, gsize n_buffers, guint n_workers, const gchar *const *names)
{
  DigestPipeline *self = g_new0 (DigestPipeline, 1);

  self->pool = pool;
  self->n_buffers = n_buffers;
  self->names = names;
  self->n_files = g_strv_length ((GStrv) names);
  self->n_lanes = n_workers;
  self->lanes = g_new0 (Lane, n_workers);
  g_mutex_init (&self->mutex);
  g_cond_init (&self->result_added);
  g_cond_init (&self->result_taken);

  for (guint i = 0; i < n_workers; i++)
    lane_start (&self->lanes[i], self);
  return self;
}

/* To be called when all results have been taken. */
void
digest_pipeline_free (DigestPipeline *self)
{
  for (guint i = 0; i < self->n_lanes; i++)
    lane_end (&self->lanes[i]);
  g_cond_clear (&self->result_taken);
  g_cond_clear (&self->result_added);
  g_mutex_clear (&self->mutex);
  g_free (self->lanes);
  g_free (self);
}

static gboolean
is_done (const DigestResult *result)
{
  return result->digest != NULL || result->error != NULL;
}

/* Takes the result of the next file, in the order of the names. FALSE: it is still not there after
 * so many microseconds. */
gboolean
digest_pipeline_next (DigestPipeline *self, gint64 timeout, DigestResult *result)
{
  gint64 deadline = g_get_monotonic_time () + timeout;
  DigestResult *next;
  gboolean in_time = TRUE;
  gboolean done;

  g_mutex_lock (&self->mutex);
  next = &self->results[self->n_taken % MAX_RESULTS];
  while (!is_done (next) && in_time)
    in_time = g_cond_wait_until (&self->result_added, &self->mutex, deadline);
  done = is_done (next);
  if (done)
    {
      *result = *next;
      *next = (DigestResult){ NULL, NULL };
      self->n_taken++;
      g_cond_broadcast (&self->result_taken);
    }
  g_mutex_unlock (&self->mutex);

  return done;
}

void
digest_pipeline_get_figures (DigestPipeline *self, DigestFigures *figures)
{
  figures->hashed = atomic_load (&self->hashed);
  figures->memory = atomic_load (&self->memory);
  figures->most_memory = atomic_load (&self->most_memory);
  figures->n_requests = atomic_load (&self->n_requests);
  figures->n_waits = atomic_load (&self->n_waits);
  figures->waited = atomic_load (&self->waited);
  figures->longest_wait = atomic_load (&self->longest_wait);
}

void
digest_result_clear (DigestResult *self)
{
  g_free (self->digest);
  g_clear_error (&self->error);
}
