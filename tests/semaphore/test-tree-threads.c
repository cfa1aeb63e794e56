/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A tree of semaphores in which threads and tasks wait, in a random sequence, but without threads:
 * each step of a waiting thread is explicit, and the test does what the watcher does. After each
 * step, the queue remembers what a search would find, the watcher looks before something expires,
 * the promises are those of the woken threads, and no waiter is left that the rule would serve. */

#include "semaphore/buf-semaphore-sections-private.h"
#include "semaphore/wait-queue-fixture.h"

#define N_LEVELS  6
#define N_WAITING 14
#define N_HELD    200
#define N_STEPS   60000
#define LARGEST   50

static const gint parents[N_LEVELS] = { -1, 0, 0, 1, 1, 2 };
static const guint maxima[N_LEVELS] = { 120, 100, 80, 60, 70, 60 };

typedef struct
{
  gboolean used;
  guint level;
  BufWaiter base;
} Waiting;

typedef struct
{
  guint level;
  gint64 bytes;
} Held;

typedef struct
{
  BufSemaphore levels[N_LEVELS];
  BufTree *tree;
  Waiting waiting[N_WAITING];
  Held held[N_HELD];
  guint n_held;
} Tree;

/* The linker redirects the calls of the library to this function, so that there is no watcher. */
GThread *
__wrap_g_thread_try_new (const gchar *name, GThreadFunc func, gpointer data, GError **error);

GThread *
__wrap_g_thread_try_new (const gchar *name, GThreadFunc func, gpointer data, GError **error)
{
  g_set_error_literal (error, G_THREAD_ERROR, G_THREAD_ERROR_AGAIN, "the test is the watcher");
  return NULL;
}

static void
ignore (BufWaiter *waiter)
{
}

static void
end_nothing (BufSemaphore *semaphore)
{
}

static guint
choose (guint n)
{
  return (guint) g_test_rand_int_range (0, (gint32) n);
}

static gint64
choose_bytes (void)
{
  return g_test_rand_int_range (1, LARGEST);
}

static gint
choose_priority (void)
{
  static const gint priorities[] = { G_PRIORITY_DEFAULT,
                                     G_PRIORITY_DEFAULT,
                                     G_PRIORITY_HIGH,
                                     G_PRIORITY_LOW };

  return priorities[choose (G_N_ELEMENTS (priorities))];
}

static void
hold (Tree *self, guint level, gint64 bytes)
{
  self->held[self->n_held++] = (Held){ level, bytes };
}

static void
request (Tree *self)
{
  guint level = choose (N_LEVELS);
  gint64 bytes = choose_bytes ();
  BufWant want = BUF_WANT (bytes);
  BufSemaphoreFigures figures;

  want.priority = choose_priority ();
  if (self->n_held < N_HELD - N_WAITING &&
      buf_semaphore_acquire (&self->levels[level], &want, FALSE, &figures) == BUF_OUTCOME_GRANTED)
    hold (self, level, want.taken);
}

static void
release (Tree *self)
{
  guint i;
  Held held;

  if (self->n_held == 0)
    return;

  i = choose (self->n_held);
  held = self->held[i];
  self->held[i] = self->held[--self->n_held];
  buf_semaphore_release (&self->levels[held.level], held.bytes);
}

/* A waiter begins to wait, whether there is room for it or not. */
static void
begin (Tree *self, Waiting *waiting)
{
  BufSemaphore *semaphore;

  if (waiting->used || self->n_held >= N_HELD - N_WAITING)
    return;

  waiting->used = TRUE;
  waiting->level = choose (N_LEVELS);
  semaphore = &self->levels[waiting->level];
  buf_waiter_init (&waiting->base, choose_bytes (), choose (3) == 0 ? ignore : NULL);
  waiting->base.want.priority = choose_priority ();
  g_mutex_lock (&self->tree->mutex);
  if (buf_wait_queue_find_too_small_locked (&semaphore->level, &waiting->base.want) != NULL)
    waiting->base.outcome = BUF_OUTCOME_TOO_LARGE;
  else
    buf_wait_queue_push_locked (&semaphore->level, &waiting->base);
  buf_semaphore_serve_and_unlock (semaphore);
}

/* If it is a thread that was woken, it runs. */
static void
run (Tree *self, Waiting *waiting)
{
  BufSemaphore *semaphore = &self->levels[waiting->level];
  BufWaiter *waiter = &waiting->base;

  if (!waiting->used || waiter->state == BUF_WAITER_ASLEEP)
    return;

  g_mutex_lock (&self->tree->mutex);
  if (buf_wait_queue_take_locked (&semaphore->level, waiter, &waiter->want))
    buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_GRANTED, &self->tree->ready);
  else
    buf_wait_queue_rejoin_locked (waiter);
  buf_semaphore_serve_and_unlock (semaphore);
}

static void
look_if_due (Tree *self)
{
  gint64 now = fixture_pass (g_test_rand_int_range (0, BUF_WAIT_QUEUE_PATIENCE));

  if (self->tree->watch.due <= now)
    buf_semaphore_look (&self->tree->watch, now);
}

static void
owe (Tree *self)
{
  g_mutex_lock (&self->tree->mutex);
  if (self->tree->queue.oldest != NULL)
    buf_wait_queue_make_owed (self->tree->queue.oldest);
  buf_semaphore_serve_and_unlock (&self->levels[0]);
}

static void
collect_finished (Tree *self)
{
  for (guint i = 0; i < N_WAITING; i++)
    {
      Waiting *waiting = &self->waiting[i];

      if (!waiting->used || waiting->base.outcome == BUF_OUTCOME_PENDING)
        continue;
      if (waiting->base.outcome == BUF_OUTCOME_GRANTED)
        hold (self, waiting->level, waiting->base.want.taken);
      buf_waiter_clear (&waiting->base);
      waiting->used = FALSE;
    }
}

static void
step (Tree *self)
{
  Waiting *waiting = &self->waiting[choose (N_WAITING)];
  guint level = choose (N_LEVELS);
  guint what = choose (100);

  if (what < 25)
    request (self);
  else if (what < 50)
    release (self);
  else if (what < 70)
    begin (self, waiting);
  else if (what < 85)
    run (self, waiting);
  else if (what < 87 && waiting->used)
    buf_semaphore_withdraw (&self->levels[waiting->level], &waiting->base, BUF_OUTCOME_CANCELLED);
  else if (what < 89)
    buf_semaphore_set_maximum (&self->levels[level],
                               choose (3) == 0 ? choose (maxima[level]) : maxima[level]);
  else if (what < 90)
    buf_semaphore_set_reserved (&self->levels[level], choose (2) * choose (30));
  else if (what < 91)
    owe (self);
  else
    look_if_due (self);
  collect_finished (self);
}

static void
assert_promises (Tree *self)
{
  gint64 promised[N_LEVELS] = { 0 };

  for (guint i = 0; i < N_WAITING; i++)
    if (self->waiting[i].used && self->waiting[i].base.state == BUF_WAITER_WOKEN)
      for (gint level = (gint) self->waiting[i].level; level >= 0; level = parents[level])
        promised[level] += self->waiting[i].base.want.bytes;
  for (guint i = 0; i < N_LEVELS; i++)
    g_assert_cmpint (self->levels[i].level.promised, ==, promised[i]);
}

/* At a level whose stripes are revoked, because only a release to such a level serves it. */
static gboolean
is_short_locked (const BufWaiter *waiter, const BufWaiter *owed)
{
  gboolean urgent = buf_want_is_urgent (&waiter->want);
  BufLevel *level = waiter->level;

  while (level != NULL &&
         !(level->revoked &&
           buf_level_get_limit_locked (level, urgent, owed) - level->promised < waiter->want.bytes))
    level = level->parent;
  return level != NULL;
}

static void
assert_nobody_fits (Tree *self)
{
  const BufWaitQueue *queue = &self->tree->queue;
  const BufWaiter *owed = queue->oldest;

  if (owed != NULL && (!owed->owed || owed->state == BUF_WAITER_WOKEN))
    owed = NULL;
  for (guint i = 0; i < N_WAITING; i++)
    {
      const BufWaiter *waiter = &self->waiting[i].base;
      gboolean has_turn =
          waiter->complete != NULL || queue->woken.length < BUF_WAIT_QUEUE_MAX_WOKEN;

      if (self->waiting[i].used && waiter->state == BUF_WAITER_ASLEEP && has_turn)
        g_assert_true (is_short_locked (waiter, waiter != owed ? owed : NULL));
    }
}

static void
check (Tree *self)
{
  g_mutex_lock (&self->tree->mutex);
  fixture_assert_oldest (&self->tree->queue);
  g_assert_cmpint (self->tree->watch.due,
                   <=,
                   buf_wait_queue_get_next_time_locked (&self->tree->queue));
  assert_promises (self);
  assert_nobody_fits (self);
  g_mutex_unlock (&self->tree->mutex);
}

static void
tree_set_up (Tree *self, gconstpointer data)
{
  for (guint i = 0; i < N_LEVELS; i++)
    {
      BufSemaphore *parent = parents[i] >= 0 ? &self->levels[parents[i]] : NULL;

      buf_semaphore_init (&self->levels[i], parent, maxima[i], 1, 2);
      self->levels[i].end = end_nothing;
    }
  self->tree = self->levels[0].tree;
  fixture_pass (G_TIME_SPAN_DAY);
  g_mutex_lock (&self->tree->mutex);
  buf_wait_queue_set_promises_locked (&self->tree->queue, TRUE);
  g_mutex_unlock (&self->tree->mutex);
}

static void
tree_tear_down (Tree *self, gconstpointer data)
{
  for (guint i = 0; i < N_WAITING; i++)
    if (self->waiting[i].used)
      buf_semaphore_withdraw (&self->levels[self->waiting[i].level],
                              &self->waiting[i].base,
                              BUF_OUTCOME_CANCELLED);
  collect_finished (self);
  while (self->n_held > 0)
    release (self);
  for (guint i = N_LEVELS; i-- > 0;)
    {
      buf_semaphore_close (&self->levels[i]);
      buf_semaphore_clear (&self->levels[i]);
    }
}

static void
test_random (Tree *self, gconstpointer data)
{
  g_test_summary (
      "Whatever happens in a tree in which threads wait, no waiter that could be served "
      "is left, and the watcher knows when to look");

  for (guint i = 0; i < test_scale (N_STEPS); i++)
    {
      step (self);
      check (self);
    }
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add ("/tree-threads/random", Tree, NULL, tree_set_up, test_random, tree_tear_down);

  return g_test_run ();
}
