/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The cache with many threads. A counting allocator replaces that of the C library: at no time may
 * there be more bytes of buffers than the maximum. */

#include <errno.h>
#include <stdlib.h>
#include "memory/buf-pool-allocation-private.h"
#include "pool/buf-pool-private.h"
#include "memory/wrapped-mmap.h"
#include "testing.h"

#define BUFFER_SIZE 256
#define N_BUFFERS   256

/* Stored before each block: its size. */
#define PREFIX 16

/* Only the beginning of larger blocks exists: no test writes further. */
#define HUGE_SIZE ((gsize) 1 << 30)
#define BEGINNING 1024

static _Atomic gint64 live;   /* bytes of buffers */
static _Atomic gint64 most;   /* how many are allowed; 0: not checked */
static _Atomic gint n_blocks; /* blocks that were not freed */
static _Atomic guint fails;   /* one allocation in this many fails; 0: none */
static _Atomic guint n_asked;
static _Atomic gint n_mapped;   /* blocks in total */
static _Atomic gint n_too_many; /* how often there were too many bytes */

void *__real_malloc (size_t size);
void *__real_calloc (size_t n, size_t size);
int __real_posix_memalign (void **memory, size_t alignment, size_t size);
void __real_free (void *memory);
void *__wrap_malloc (size_t size);
void *__wrap_calloc (size_t n, size_t size);
int __wrap_posix_memalign (void **memory, size_t alignment, size_t size);
void __wrap_free (void *memory);

static gboolean
is_to_fail (void)
{
  guint in = fails;
  guint32 hash = (atomic_fetch_add (&n_asked, 1) + 1) * 2654435761u;

  return in > 0 && (hash >> 8) % in == 0;
}

/* The bytes are counted before they exist, and until they no longer exist; headers are not
 * counted. */
static void
count (gint64 bytes)
{
  if (atomic_fetch_add (&live, bytes) + bytes > most && most > 0)
    n_too_many++;
}

void *
__wrap_malloc (size_t size)
{
  gint64 bytes = (gint64) size / BUFFER_SIZE * BUFFER_SIZE;
  guint8 *block;

  if (is_to_fail ())
    return NULL;
  count (bytes);
  block = __real_malloc ((size > HUGE_SIZE ? BEGINNING : size) + PREFIX);
  *(gint64 *) block = bytes;
  n_blocks++;
  return block + PREFIX;
}

/* No pool of this program is zeroed or aligned. */
void *
__wrap_calloc (size_t n, size_t size)
{
  g_assert_not_reached ();
}

int
__wrap_posix_memalign (void **memory, size_t alignment, size_t size)
{
  return ENOMEM;
}

void
__wrap_free (void *memory)
{
  guint8 *block;
  gint64 bytes;

  if (memory == NULL)
    return;

  block = (guint8 *) memory - PREFIX;
  bytes = *(gint64 *) block;
  __real_free (block);
  live -= bytes;
  n_blocks--;
}

#ifndef G_OS_WIN32

/* Whole pages, and one for the header. */
static gint64
get_mapped_bytes (gsize size)
{
  return (gint64) size - sysconf (_SC_PAGESIZE);
}

void *
__wrap_mmap (void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
  if (size > HUGE_SIZE || is_to_fail ())
    return MAP_FAILED;

  count (get_mapped_bytes (size));
  n_blocks++;
  n_mapped++;
  return __real_mmap (address, size, protection, flags, fd, offset);
}

int
__wrap_munmap (void *address, size_t size)
{
  int result = __real_munmap (address, size);

  live -= get_mapped_bytes (size);
  n_blocks--;
  return result;
}
#endif

static void
use_one_stripe (BufPool *pool, gint64 limit)
{
  buf_pool_set_max_cached_memory (pool, 0);
  pool->memory->control.n_stripes = 1;
  buf_pool_set_max_cached_memory (pool, limit);
}

/* A pool with one stripe that caches @n of its N_BUFFERS buffers. */
static BufPool *
new_pool_that_keeps (guint n)
{
  BufPool *pool = test_pool_new (BUFFER_SIZE, N_BUFFERS);
  BufPoolAllocation *blocks[BUF_CACHE_ROUNDS];

  g_assert_cmpuint (n, <=, BUF_CACHE_ROUNDS);
  use_one_stripe (pool, N_BUFFERS * BUFFER_SIZE);
  for (guint i = 0; i < n; i++)
    blocks[i] = test_allocate (pool, 1);
  for (guint i = 0; i < n; i++)
    buf_pool_allocation_unref (blocks[i]);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, n * BUFFER_SIZE);
  return pool;
}

static BufCacheStripe *
get_stripe (BufPool *pool)
{
  return &pool->memory->cache.stripes[0];
}

/* Whether a block may be cached. */
static gboolean
keeps (BufPool *pool)
{
  gboolean may;

  g_mutex_lock (&pool->memory->semaphore.tree->mutex);
  may = pool->memory->semaphore.keeps;
  g_mutex_unlock (&pool->memory->semaphore.tree->mutex);
  return may;
}

static guint64
get_n_rounds (BufPool *pool)
{
  BufTree *tree = pool->memory->semaphore.tree;
  guint64 n;

  g_mutex_lock (&tree->mutex);
  n = tree->n_rounds;
  g_mutex_unlock (&tree->mutex);
  return n;
}

/* The waiting request asks once, and then the watcher asks. When it asks a second time, the first
 * time is over. */
static void
wait_until_watcher_has_asked (BufPool *pool)
{
  guint64 n = get_n_rounds (pool);

  test_wait_until (get_n_rounds (pool) >= n + 3);
}

static gint is_looking;   /* atomic */
static gint may_go_on;    /* atomic */
static BufWatch occupier; /* blocks the watcher */

static void
look_until_told (BufWatch *watch, gint64 now)
{
  static GMutex owner;

  g_atomic_int_set (&is_looking, TRUE);
  while (!g_atomic_int_get (&may_go_on))
    g_usleep (100);
  g_mutex_lock (&owner);
  buf_watch_set_due_locked (watch, G_MAXINT64);
  g_mutex_unlock (&owner);
}

static void
occupy_watcher (void)
{
  g_atomic_int_set (&is_looking, FALSE);
  g_atomic_int_set (&may_go_on, FALSE);
  g_assert_true (buf_watcher_start ());
  buf_watch_init (&occupier, look_until_told);
  buf_watch_set_due_locked (&occupier, 0);
  test_wait_until (g_atomic_int_get (&is_looking));
}

static void
let_watcher_go (void)
{
  g_atomic_int_set (&may_go_on, TRUE);
  buf_watch_end (&occupier);
}

static void
test_waiting_thread (void)
{
  g_autoptr (BufPool) pool = new_pool_that_keeps (20);
  BufPoolAllocation *last = test_allocate (pool, 2);
  TestRequester *requester;

  g_test_summary ("A waiting thread gets the cached bytes without the help of the watcher");

  occupy_watcher ();
  requester = test_requester_start (pool, N_BUFFERS);
  test_wait_until (buf_pool_get_waiting (pool) == 1);
  test_wait_until (buf_pool_get_cached_memory (pool) == 0);
  let_watcher_go ();
  g_assert_false (test_requester_is_done (requester));
  buf_pool_allocation_unref (last);
  test_requester_end_served (requester);
}

static void
on_allocated (GObject *source, GAsyncResult *result, gpointer user_data)
{
  BufPoolAllocation **allocation = user_data;

  *allocation = buf_pool_allocate_finish (BUF_POOL (source), result, NULL);
}

static void
test_waiting_task (void)
{
  g_autoptr (BufPool) pool = new_pool_that_keeps (20);
  BufPoolAllocation *last = test_allocate (pool, 2);
  g_autoptr (BufPoolAllocation) allocation = NULL;

  g_test_summary ("A waiting task gets the cached bytes");

  buf_pool_allocate_async (pool, N_BUFFERS, G_PRIORITY_DEFAULT, NULL, on_allocated, &allocation);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 0);
  buf_pool_allocation_unref (last);
  while (allocation == NULL)
    g_main_context_iteration (NULL, TRUE);
}

static void
test_nothing_is_kept_from_waiters (void)
{
  g_autoptr (BufPool) pool = new_pool_that_keeps (1);
  BufPoolAllocation *small = test_allocate (pool, 1);
  BufPoolAllocation *large = test_allocate (pool, N_BUFFERS - 1);
  TestRequester *requester;

  g_test_summary ("While a request waits, nothing is cached; afterwards, blocks are cached again");

  requester = test_requester_start (pool, N_BUFFERS);
  test_wait_until (buf_pool_get_waiting (pool) == 1);
  test_wait_until (!keeps (pool));
  g_assert_false (buf_cache_stripe_try (get_stripe (pool)));
  buf_pool_allocation_unref (small);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 0);
  buf_pool_allocation_unref (large);
  test_requester_end_served (requester);

  for (guint i = 0; i < 100; i++)
    buf_pool_allocation_unref (test_allocate (pool, 1));
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, BUFFER_SIZE);
}

/* As another thread would. */
static void
hold (BufCacheStripe *stripe)
{
  buf_biased_lock_revoke (&stripe->lock);
  g_assert_true (buf_biased_lock_take (&stripe->lock));
}

static void
test_interrupted_holder (void)
{
  g_autoptr (BufPool) pool = new_pool_that_keeps (20);
  g_autoptr (GError) error = NULL;
  TestRequester *requester;

  g_test_summary ("A waiter gets the cached bytes when the thread that holds the bit continues");

  hold (get_stripe (pool));
  requester = test_requester_start (pool, N_BUFFERS);
  test_wait_until (buf_pool_get_waiting (pool) == 1);
  g_assert_null (buf_pool_try_allocate (pool, N_BUFFERS, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
  wait_until_watcher_has_asked (pool);
  g_assert_false (test_requester_is_done (requester));

  buf_biased_lock_open (&get_stripe (pool)->lock);
  test_requester_end_served (requester);
}

static void
test_interrupted_put (void)
{
  g_autoptr (BufPool) pool = new_pool_that_keeps (0);
  BufPoolAllocation *block = test_allocate (pool, 1);
  BufCacheStripe *stripe = get_stripe (pool);
  TestRequester *requester;

  g_test_summary ("A waiter also gets a block that is put while it waits");

  hold (stripe);
  requester = test_requester_start (pool, N_BUFFERS);
  test_wait_until (buf_pool_get_waiting (pool) == 1);
  wait_until_watcher_has_asked (pool);
  buf_cache_stripe_push_held (stripe, buf_cache_stripe_use_held (stripe, 1), block, BUFFER_SIZE);
  buf_biased_lock_open (&stripe->lock);
  test_requester_end_served (requester);
}

static void
test_interrupted_holder_and_task (void)
{
  g_autoptr (BufPool) pool = new_pool_that_keeps (20);
  g_autoptr (BufPoolAllocation) allocation = NULL;

  g_test_summary ("The same for a task, which enqueues without waiting for the holder of the bit");

  hold (get_stripe (pool));
  buf_pool_allocate_async (pool, N_BUFFERS, G_PRIORITY_DEFAULT, NULL, on_allocated, &allocation);
  g_assert_cmpuint (buf_pool_get_waiting (pool), ==, 1);
  buf_biased_lock_open (&get_stripe (pool)->lock);
  while (allocation == NULL)
    g_main_context_iteration (NULL, TRUE);
}

typedef struct
{
  BufPool *pool;
  gint n_sleeps; /* atomic; how many times the thread has slept before it tried again */
  gint done;     /* atomic */
} Ender;

static _Thread_local Ender *own_ender;

void __real_g_usleep (gulong microseconds);
void __wrap_g_usleep (gulong microseconds);

void
__wrap_g_usleep (gulong microseconds)
{
  if (own_ender != NULL)
    g_atomic_int_inc (&own_ender->n_sleeps);
  __real_g_usleep (microseconds);
}

static gpointer
close_pool (gpointer data)
{
  Ender *self = data;

  own_ender = self;
  buf_pool_close (self->pool);
  g_atomic_int_set (&self->done, TRUE);
  return NULL;
}

static BufMemory *ending; /* whose stripes are about to be freed */

void __real_g_aligned_free (gpointer memory);
void __wrap_g_aligned_free (gpointer memory);

/* While other threads find the keeper, they access the stripes. */
void
__wrap_g_aligned_free (gpointer memory)
{
  if (ending != NULL && memory == ending->cache.stripes)
    {
      g_assert_cmpuint (ending->semaphore.n_keepers, ==, 0);
      ending = NULL;
    }
  __real_g_aligned_free (memory);
}

static void
test_end (void)
{
  BufPool *pool = new_pool_that_keeps (20);

  g_test_summary ("When a pool ends, no thread finds its cache after it is freed");

  ending = pool->memory;
  g_object_unref (pool);
  g_assert_null (ending);
}

static gpointer
lower_maximum (gpointer data)
{
  Ender *self = data;

  own_ender = self;
  buf_pool_set_max_memory (self->pool, BUFFER_SIZE);
  g_atomic_int_set (&self->done, TRUE);
  return NULL;
}

static void
test_close_waits_for_holder (gconstpointer function)
{
  g_autoptr (BufPool) pool = new_pool_that_keeps (20);
  Ender ender = { .pool = pool };
  GThread *thread;

  g_test_summary ("Closing a pool, and lowering its maximum, wait for the holder of a bit");

  hold (get_stripe (pool));
  thread = g_thread_new ("ender", (GThreadFunc) function, &ender);
  test_wait_until (g_atomic_int_get (&ender.n_sleeps) >= 2 || g_atomic_int_get (&ender.done));
  g_assert_false (g_atomic_int_get (&ender.done));
  buf_biased_lock_open (&get_stripe (pool)->lock);
  g_thread_join (thread);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 0);
  g_assert_true (get_stripe (pool)->closed);
}

static void
test_failing_allocator (void)
{
  g_autoptr (BufPool) pool = new_pool_that_keeps (20);
  g_autoptr (GError) error = NULL;

  g_test_summary ("If the system is out of memory, cached blocks are freed before the request "
                  "fails");

  fails = 1;
  g_assert_null (buf_pool_try_allocate (pool, 2, &error));
  fails = 0;
  g_assert_error (error, BUF_POOL_ERROR, BUF_POOL_ERROR_NO_MEMORY);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 0);
  test_assert_figures (pool, 0, 0);
}

static void
test_huge_buffers (void)
{
#if GLIB_SIZEOF_SIZE_T > 4
  const gsize buffer_size = (gsize) BUF_STRIPE_MAX_CREDIT * 2;
  g_autoptr (BufPool) pool = test_pool_new (buffer_size, 8);

  g_test_summary ("Blocks that are larger than any stripe of the semaphore are counted in full");

  if (buf_block_is_checked ())
    {
      g_test_skip ("Memory checkers would mark more memory than exists");
      return;
    }
  use_one_stripe (pool, 4 * buffer_size);
  for (guint i = 0; i < 3; i++)
    {
      buf_pool_allocation_unref (test_allocate (pool, 2));
      g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 2 * buffer_size);
    }
  buf_pool_close (pool);
  g_assert_cmpuint (buf_pool_get_cached_memory (pool), ==, 0);
#else
  g_test_skip ("the address space is too small");
#endif
}

/* All threads together, until they have done enough. */
typedef struct
{
  BufPool *pool;
  guint n;
  guint seed;
  gint *ends; /* atomic */
} Worker;

/* What all workers use at a time. The one that disturbs cancels it. */
static struct
{
  GMutex mutex;
  GCancellable *current;
} canceller;

static GCancellable *
ref_cancellable (void)
{
  GCancellable *cancellable;

  g_mutex_lock (&canceller.mutex);
  if (canceller.current == NULL)
    canceller.current = g_cancellable_new ();
  cancellable = g_object_ref (canceller.current);
  g_mutex_unlock (&canceller.mutex);
  return cancellable;
}

static void
cancel (void)
{
  g_autoptr (GCancellable) cancellable = ref_cancellable ();

  g_mutex_lock (&canceller.mutex);
  g_clear_object (&canceller.current);
  g_mutex_unlock (&canceller.mutex);
  g_cancellable_cancel (cancellable);
}

static BufPoolAllocation *
request_cancellable (Worker *self, gsize n)
{
  g_autoptr (GCancellable) cancellable = ref_cancellable ();

  return buf_pool_allocate_timeout (self->pool, n, 2000, cancellable, NULL);
}

static BufPoolAllocation *
request_task (Worker *self, gsize n)
{
  g_autoptr (GMainContext) context = g_main_context_new ();
  g_autoptr (GCancellable) cancellable = ref_cancellable ();
  g_autoptr (GAsyncResult) result = NULL;

  g_main_context_push_thread_default (context);
  buf_pool_allocate_async (self->pool,
                           n,
                           G_PRIORITY_DEFAULT,
                           cancellable,
                           test_keep_result,
                           &result);
  while (result == NULL)
    g_main_context_iteration (context, TRUE);
  g_main_context_pop_thread_default (context);
  return buf_pool_allocate_finish (self->pool, result, NULL);
}

static BufPoolAllocation *
request (Worker *self, GRand *random)
{
  gsize n = g_rand_boolean (random) ? (gsize) g_rand_int_range (random, 1, 4)
                                    : (gsize) g_rand_int_range (random, 1, 32);

  switch (g_rand_int_range (random, 0, 8))
    {
    case 0:
    case 1:
      return buf_pool_try_allocate (self->pool, n, NULL);
    case 2:
    case 3:
      return buf_pool_allocate_timeout_pinned (self->pool, n, 200, NULL, NULL);
    case 4:
      return request_cancellable (self, n);
    case 5:
      return request_task (self, n);
    default:
      return buf_pool_allocate_timeout (self->pool, n, 2000, NULL, NULL);
    }
}

static gpointer
work (gpointer data)
{
  Worker *self = data;
  g_autoptr (GRand) random = g_rand_new_with_seed (self->seed);
  BufPoolAllocation *held[4] = { NULL };

  for (guint i = 0; i < self->n; i++)
    {
      BufPoolAllocation **slot = &held[g_rand_int_range (random, 0, G_N_ELEMENTS (held))];

      g_clear_pointer (slot, buf_pool_allocation_unref);
      if (g_rand_int_range (random, 0, 3) > 0)
        *slot = request (self, random);
      if (*slot != NULL)
        *(volatile guint8 *) buf_pool_allocation_get_first (*slot) = 1;
    }
  for (guint i = 0; i < G_N_ELEMENTS (held); i++)
    g_clear_pointer (&held[i], buf_pool_allocation_unref);
  return NULL;
}

static gpointer
disturb (gpointer data)
{
  Worker *self = data;
  gsize buffer_size = buf_pool_get_buffer_size (self->pool);
  g_autoptr (GRand) random = g_rand_new_with_seed (self->seed);

  while (!g_atomic_int_get (self->ends))
    {
      switch (g_rand_int_range (random, 0, 6))
        {
        case 0:
          buf_pool_set_max_memory (self->pool,
                                   g_rand_int_range (random, 64, N_BUFFERS) * buffer_size);
          buf_pool_set_max_memory (self->pool, N_BUFFERS * buffer_size);
          break;
        case 1:
          buf_pool_set_max_cached_memory (self->pool,
                                          g_rand_int_range (random, -1, N_BUFFERS) * buffer_size);
          break;
        case 2:
          buf_pool_set_max_cached_memory (self->pool, N_BUFFERS * buffer_size);
          break;
        case 3:
          buf_pool_trim (self->pool, g_rand_int_range (random, 0, N_BUFFERS) * buffer_size);
          break;
        case 4:
          buf_pool_trim_all ();
          break;
        default:
          buf_pool_drain_timeout (self->pool, 50, NULL, NULL);
        }
      cancel ();
      g_usleep (g_rand_int_range (random, 0, 2000));
    }
  return NULL;
}

static void
run_strict (gsize buffer_size, guint one_in)
{
  g_autoptr (BufPool) pool = test_pool_new (buffer_size, N_BUFFERS);
  Worker workers[9];
  GThread *threads[9];
  gint ends = FALSE;

  most = (gint64) N_BUFFERS * buffer_size;
  fails = one_in;
  for (guint i = 0; i < G_N_ELEMENTS (workers); i++)
    {
      workers[i] = (Worker){ .pool = pool, .n = test_scale (20000), .seed = i, .ends = &ends };
      threads[i] = g_thread_new ("worker", i == 0 ? disturb : work, &workers[i]);
    }
  for (guint i = 1; i < G_N_ELEMENTS (workers); i++)
    g_thread_join (threads[i]);
  g_atomic_int_set (&ends, TRUE);
  g_thread_join (threads[0]);
  fails = 0;
  g_clear_object (&canceller.current);

  g_assert_cmpint (n_too_many, ==, 0);
  test_assert_figures (pool, 0, 0);
  g_assert_cmpint (live, ==, buf_pool_get_cached_memory (pool));
  buf_pool_allocation_unref (test_allocate (pool, N_BUFFERS));
  g_assert_cmpint (n_too_many, ==, 0);
  buf_pool_close (pool);
  g_assert_cmpint (pool->memory->semaphore.level.pinned, ==, 0);
  g_clear_object (&pool);
  g_assert_cmpint (n_blocks, ==, 0);
  g_assert_cmpint (live, ==, 0);
  most = 0;
}

static void
test_strict (gconstpointer one_in)
{
  g_test_summary ("There are never more buffers than the maximum, including cached ones");

  run_strict (BUFFER_SIZE, GPOINTER_TO_UINT (one_in));
}

/* From 8 buffers on, blocks are large. */
static void
test_strict_large (gconstpointer one_in)
{
  g_autoptr (BufPool) pool = test_pool_new (64 * BUFFER_SIZE, N_BUFFERS);

  g_test_summary ("The same with mapped blocks");

  run_strict (64 * BUFFER_SIZE, GPOINTER_TO_UINT (one_in));
  if (pool->memory->n_large < G_MAXUINT)
    g_assert_cmpint (n_mapped, >, 0);
}

/* Drops allocations of a pool that ends in the meantime. */
typedef struct
{
  BufPoolAllocation *blocks[8];
  gint *start; /* atomic */
} Dropper;

static gpointer
drop_all (gpointer data)
{
  Dropper *self = data;

  while (!g_atomic_int_get (self->start))
    g_thread_yield ();
  for (guint i = 0; i < G_N_ELEMENTS (self->blocks); i++)
    buf_pool_allocation_unref (self->blocks[i]);
  return NULL;
}

static void
test_ends_storm (void)
{
  g_test_summary ("A pool ends while its last blocks are dropped, and nothing remains");

  for (guint round = 0; round < test_scale (2000); round++)
    {
      BufPool *pool = test_pool_new (BUFFER_SIZE, N_BUFFERS);
      Dropper droppers[3];
      GThread *threads[3];
      gint start = FALSE;

      for (guint i = 0; i < G_N_ELEMENTS (droppers); i++)
        {
          for (guint j = 0; j < G_N_ELEMENTS (droppers[i].blocks); j++)
            droppers[i].blocks[j] = test_allocate (pool, 1 + j % 3);
          droppers[i].start = &start;
          threads[i] = g_thread_new ("dropper", drop_all, &droppers[i]);
        }
      g_atomic_int_set (&start, TRUE);
      g_object_unref (pool);
      test_wait_for_the_end ();
      for (guint i = 0; i < G_N_ELEMENTS (droppers); i++)
        g_thread_join (threads[i]);
    }
  g_assert_cmpint (n_blocks, ==, 0);
}

/* This needs locks that are biased at the first use. */
static void
test_close_by_bias (void)
{
  g_autoptr (BufPool) pool = test_pool_new (BUFFER_SIZE, N_BUFFERS);
  BufCacheStripe *stripe;
  BufLockOwner *me;
  BufHaul haul;

  g_test_summary ("If the bias of its own stripe cannot be revoked, a thread does not close it");

  for (guint i = 0; i < 2; i++)
    buf_pool_allocation_unref (test_allocate (pool, 1));
  buf_pool_trim (pool, 0);
  stripe = buf_cache_get_stripe (pool->memory, pool->memory->cache.n_live);
  me = buf_lock_owner_self;
  if (me == NULL || atomic_load (&stripe->lock.state) != (guintptr) me)
    {
      g_test_skip ("The stripe is not biased");
      return;
    }

  /* As a thread sees it that has begun to revoke the bias before this thread left. */
  atomic_store (&me->inside, &stripe->lock);
  buf_haul_init (&haul);
  g_mutex_lock (&pool->memory->semaphore.tree->mutex);
  g_assert_false (buf_cache_close_locked (pool->memory, &haul));
  g_assert_false (stripe->closed);
  g_mutex_unlock (&pool->memory->semaphore.tree->mutex);
  g_assert_cmpint (haul.n_blocks, ==, 0);
  atomic_store (&me->inside, NULL);

  buf_pool_set_max_cached_memory (pool, 0);
  g_assert_true (stripe->closed);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/cache-threads/waiting-thread", test_waiting_thread);
  g_test_add_func ("/cache-threads/waiting-task", test_waiting_task);
  g_test_add_func ("/cache-threads/nothing-is-kept-from-waiters",
                   test_nothing_is_kept_from_waiters);
  g_test_add_func ("/cache-threads/interrupted-holder", test_interrupted_holder);
  g_test_add_func ("/cache-threads/interrupted-put", test_interrupted_put);
  g_test_add_func ("/cache-threads/interrupted-holder-and-task", test_interrupted_holder_and_task);
  g_test_add_data_func ("/cache-threads/close-waits-for-holder",
                        close_pool,
                        test_close_waits_for_holder);
  g_test_add_data_func ("/cache-threads/lower-maximum-waits-for-holder",
                        lower_maximum,
                        test_close_waits_for_holder);
  g_test_add_func ("/cache-threads/end", test_end);
  g_test_add_func ("/cache-threads/failing-allocator", test_failing_allocator);
  g_test_add_func ("/cache-threads/huge-buffers", test_huge_buffers);
  g_test_add_data_func ("/cache-threads/strict", NULL, test_strict);
  g_test_add_data_func ("/cache-threads/strict-failing-allocator",
                        GUINT_TO_POINTER (50),
                        test_strict);
  g_test_add_data_func ("/cache-threads/strict-large", NULL, test_strict_large);
  g_test_add_data_func ("/cache-threads/strict-large-failing-allocator",
                        GUINT_TO_POINTER (50),
                        test_strict_large);
  g_test_add_func ("/cache-threads/ends-storm", test_ends_storm);
  g_test_add_func ("/cache-threads/close-by-bias", test_close_by_bias);

  return g_test_run ();
}
