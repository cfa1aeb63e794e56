/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A tree of semaphores under a random sequence of requests, releases, withdrawals and changes of
 * limits. After each step, all figures are compared with the bytes that are held, and no waiter
 * is left that the rule would serve: each is short at a level whose stripes are revoked, because
 * only a release to such a level serves it. At the end, the tree becomes calm, and the same must
 * hold. */

#include "semaphore/buf-semaphore-private.h"
#include "testing.h"

#define N_LEVELS  8
#define N_STEPS   80000
#define N_WAITING 24
#define LARGEST   250
#define CALM      70

/* In microseconds: requests become owed often. */
#define OVERTAKEN_TIME 20

static const gint parents[N_LEVELS] = { -1, 0, 0, 0, 1, 1, 2, 2 };
static const gint maxima[N_LEVELS] = { 1500, 800, 800, 500, 500, 500, 500, 500 };

typedef struct _Tree Tree;

/* A request, which waits or holds its bytes. */
typedef struct
{
  BufWaiter base;
  Tree *tree;
  guint level;
} Request;

struct _Tree
{
  BufSemaphore levels[N_LEVELS];
  GMutex mutex;
  GPtrArray *waiting; /* LOCK: mutex */
  GPtrArray *held;    /* LOCK: mutex */
};

/* Possibly in the watcher. */
static void
on_settled (BufWaiter *waiter)
{
  Request *self = (Request *) waiter;
  Tree *tree = self->tree;

  g_mutex_lock (&tree->mutex);
  g_ptr_array_remove_fast (tree->waiting, self);
  if (waiter->outcome == BUF_OUTCOME_GRANTED)
    g_ptr_array_add (tree->held, self);
  else
    g_free (self);
  g_mutex_unlock (&tree->mutex);
}

static void
end_nothing (BufSemaphore *semaphore)
{
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
  self->levels[0].tree->queue.overtaken_time = OVERTAKEN_TIME;
  self->waiting = g_ptr_array_new ();
  self->held = g_ptr_array_new ();
  g_mutex_init (&self->mutex);
}

static void
request (Tree *self)
{
  static const gint priorities[] = { G_PRIORITY_DEFAULT,
                                     G_PRIORITY_DEFAULT,
                                     G_PRIORITY_HIGH,
                                     G_PRIORITY_LOW };
  guint level = (guint) g_test_rand_int_range (0, N_LEVELS);
  Request *made = g_new0 (Request, 1);
  BufSemaphoreFigures figures;
  BufOutcome outcome;

  buf_waiter_init (&made->base, g_test_rand_int_range (1, LARGEST), on_settled);
  made->base.want.priority = priorities[g_test_rand_int_range (0, G_N_ELEMENTS (priorities))];
  made->tree = self;
  made->level = level;
  outcome = buf_semaphore_acquire (&self->levels[level], &made->base.want, FALSE, &figures);

  g_mutex_lock (&self->mutex);
  if (outcome == BUF_OUTCOME_GRANTED)
    g_ptr_array_add (self->held, made);
  else if (outcome == BUF_OUTCOME_PENDING && self->waiting->len < N_WAITING)
    g_ptr_array_add (self->waiting, made);
  else
    g_clear_pointer (&made, g_free);
  g_mutex_unlock (&self->mutex);

  if (outcome == BUF_OUTCOME_PENDING && made != NULL)
    buf_semaphore_enqueue (&self->levels[level], &made->base);
}

/* Removes one, if there is any. */
static Request *
choose (Tree *self, GPtrArray *requests)
{
  Request *chosen = NULL;

  g_mutex_lock (&self->mutex);
  if (requests->len > 0)
    chosen = requests->pdata[(guint) g_test_rand_int_range (0, (gint) requests->len)];
  if (chosen != NULL && requests == self->held)
    g_ptr_array_remove_fast (requests, chosen);
  g_mutex_unlock (&self->mutex);
  return chosen;
}

static void
release (Tree *self)
{
  Request *chosen = choose (self, self->held);

  if (chosen == NULL)
    return;
  buf_semaphore_release (&self->levels[chosen->level], chosen->base.want.taken);
  g_free (chosen);
}

/* Only this thread withdraws requests, but another may grant them. */
static void
withdraw (Tree *self, guint i)
{
  BufSemaphore *root = &self->levels[0];
  BufWaiter *waiter;

  g_mutex_lock (&root->tree->mutex);
  waiter = g_queue_peek_nth (&root->tree->queue.waiters, i);
  if (waiter != NULL)
    buf_wait_queue_finish_locked (waiter, BUF_OUTCOME_CANCELLED, &root->tree->ready);
  g_mutex_unlock (&root->tree->mutex);
  buf_semaphore_pin (root, 0);
}

static void
step (Tree *self)
{
  guint level = (guint) g_test_rand_int_range (0, N_LEVELS);
  gint what = g_test_rand_int_range (0, 100);

  if (what < 45)
    request (self);
  else if (what < 90)
    release (self);
  else if (what < 94)
    withdraw (self, (guint) g_test_rand_int_range (0, N_WAITING));
  else if (what < 97)
    buf_semaphore_set_maximum (&self->levels[level],
                               g_test_rand_int_range (LARGEST, 2 * maxima[level]));
  else
    buf_semaphore_set_reserved (&self->levels[level], g_test_rand_int_range (0, maxima[level] / 2));
}

static void
assert_short_locked (const BufWaiter *waiter, const BufWaiter *owed)
{
  gboolean urgent = buf_want_is_urgent (&waiter->want);
  BufLevel *level = waiter->level;

  if (waiter == owed)
    owed = NULL;
  while (level != NULL &&
         !(level->revoked && waiter->want.bytes > buf_level_get_limit_locked (level, urgent, owed)))
    level = level->parent;
  g_assert_nonnull (level);
}

static void
assert_nobody_fits (Tree *self)
{
  BufTree *tree = self->levels[0].tree;

  g_mutex_lock (&tree->mutex);
  for (GList *link = tree->queue.waiters.head; link != NULL; link = link->next)
    assert_short_locked (link->data, buf_wait_queue_get_owed_locked (&tree->queue));
  g_assert_cmpint (tree->watch.due, <=, buf_wait_queue_get_next_time_locked (&tree->queue));
  g_mutex_unlock (&tree->mutex);
}

static gboolean
is_below (guint level, guint other)
{
  gint i = (gint) level;

  while (i >= 0 && i != (gint) other)
    i = parents[i];
  return i >= 0;
}

static gint64
add_held (Tree *self, guint level)
{
  gint64 bytes = 0;

  g_mutex_lock (&self->mutex);
  for (guint i = 0; i < self->held->len; i++)
    {
      const Request *held = self->held->pdata[i];

      if (is_below (held->level, level))
        bytes += held->base.want.taken;
    }
  g_mutex_unlock (&self->mutex);
  return bytes;
}

static void
assert_figures (Tree *self)
{
  for (guint i = 0; i < N_LEVELS; i++)
    {
      BufSemaphoreFigures figures;

      buf_semaphore_get_figures (&self->levels[i], &figures, NULL);
      g_assert_cmpint (figures.allocated, ==, add_held (self, i));
    }
}

/* Sections that change nothing, after some of which stripes are restored that no request seems to
 * need revoked. */
static void
calm_down (Tree *self)
{
  for (guint i = 0; i < CALM * N_LEVELS; i++)
    {
      buf_semaphore_pin (&self->levels[i % N_LEVELS], 0);
      assert_nobody_fits (self);
    }
}

static void
tree_tear_down (Tree *self, gconstpointer data)
{
  while (self->levels[0].level.n_waiting > 0)
    withdraw (self, 0);
  while (self->held->len > 0)
    release (self);
  assert_figures (self);
  for (guint i = N_LEVELS; i-- > 0;)
    {
      g_assert_null (self->levels[i].level.active.head);
      g_assert_null (self->levels[i].level.stuck.head);
      buf_semaphore_close (&self->levels[i]);
      buf_semaphore_clear (&self->levels[i]);
    }
  g_ptr_array_unref (self->waiting);
  g_ptr_array_unref (self->held);
  g_mutex_clear (&self->mutex);
}

static void
test_random (Tree *self, gconstpointer data)
{
  g_test_summary ("Whatever happens in a tree, no request that could be served waits");

  for (guint i = 0; i < test_scale (N_STEPS); i++)
    {
      step (self);
      assert_nobody_fits (self);
      assert_figures (self); /* the watcher serves no requests, because no section leaves so many */
      if (i % 64 == 0)
        calm_down (self);
    }
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add ("/semaphore-tree/random", Tree, NULL, tree_set_up, test_random, tree_tear_down);

  return g_test_run ();
}
