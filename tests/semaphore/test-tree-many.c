/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A tree with many children, whose requests wait for bytes of the root, or of their own level. The
 * order in which they are granted is compared with a walk over all of them. Everything happens in
 * one thread. */

#include "semaphore/buf-semaphore-sections-private.h"
#include "testing.h"

#define N_CHILDREN 200
#define N_REQUESTS 300
#define MAXIMUM    1000
#define SMALL      60 /* the maximum of every third child */
#define LARGEST    50

typedef struct _Many Many;

typedef struct
{
  BufWaiter base;
  Many *many;
  guint child;
} Request;

struct _Many
{
  BufSemaphore root;
  BufSemaphore children[N_CHILDREN];
  gint64 root_free;
  gint64 free[N_CHILDREN];
  Request requests[N_REQUESTS];
  GPtrArray *waiting; /* of requests, in the order in which they are made */
  GPtrArray *granted; /* in their order */
  guint n_failed;
};

static void
on_settled (BufWaiter *waiter)
{
  Request *self = (Request *) waiter;

  if (waiter->outcome == BUF_OUTCOME_GRANTED)
    g_ptr_array_add (self->many->granted, self);
  else
    self->many->n_failed++;
}

static void
end_nothing (BufSemaphore *semaphore)
{
}

static void
set_up (Many *self, gconstpointer data)
{
  buf_semaphore_init (&self->root, NULL, MAXIMUM, 1, 2);
  self->root.end = end_nothing;
  self->root_free = MAXIMUM;
  self->root.tree->queue.overtaken_time = G_MAXINT64 / 2;
  for (guint i = 0; i < N_CHILDREN; i++)
    {
      self->free[i] = i % 3 == 0 ? SMALL : MAXIMUM;
      buf_semaphore_init (&self->children[i], &self->root, self->free[i], 1, 2);
      self->children[i].end = end_nothing;
    }
  self->waiting = g_ptr_array_new ();
  self->granted = g_ptr_array_new ();
}

static void
tear_down (Many *self, gconstpointer data)
{
  for (guint i = 0; i < N_CHILDREN; i++)
    {
      buf_semaphore_close (&self->children[i]);
      buf_semaphore_clear (&self->children[i]);
    }
  buf_semaphore_close (&self->root);
  buf_semaphore_clear (&self->root);
  g_ptr_array_unref (self->waiting);
  g_ptr_array_unref (self->granted);
}

/* No other thread continues what a section has left, so all are served when it returns. */
static void
serve_alone (Many *self)
{
  g_mutex_lock (&self->root.tree->mutex);
  buf_wait_queue_set_promises_locked (&self->root.tree->queue, FALSE);
  g_mutex_unlock (&self->root.tree->mutex);
}

static void
request (Many *self, guint i, guint child, gint64 bytes, gint priority)
{
  Request *made = &self->requests[i];

  made->many = self;
  made->child = child;
  buf_waiter_init (&made->base, bytes, on_settled);
  made->base.want.priority = priority;
  buf_semaphore_enqueue (&self->children[child], &made->base);
  serve_alone (self);
}

static void
take_all (Many *self)
{
  BufWant want = BUF_WANT (MAXIMUM);
  BufSemaphoreFigures figures;

  g_assert_cmpint (buf_semaphore_acquire (&self->root, &want, FALSE, &figures),
                   ==,
                   BUF_OUTCOME_GRANTED);
  self->root_free = 0;
}

static gboolean
comes_first (const Request *self, const Request *other)
{
  if (other == NULL || self->base.want.priority != other->base.want.priority)
    return other == NULL || self->base.want.priority < other->base.want.priority;
  return self->base.number < other->base.number;
}

/* Takes the next one that has to be granted out of those that wait, or returns NULL. */
static Request *
walk_to_next (Many *self)
{
  Request *next = NULL;

  for (guint i = 0; i < self->waiting->len; i++)
    {
      Request *each = self->waiting->pdata[i];

      if (each->base.want.bytes <= MIN (self->root_free, self->free[each->child]) &&
          comes_first (each, next))
        next = each;
    }
  if (next == NULL)
    return NULL;

  g_ptr_array_remove (self->waiting, next);
  self->root_free -= next->base.want.bytes;
  self->free[next->child] -= next->base.want.bytes;
  return next;
}

static void
assert_granted_in_order (Many *self, guint *n)
{
  Request *next;

  while ((next = walk_to_next (self)) != NULL)
    {
      g_assert_cmpuint (*n, <, self->granted->len);
      g_assert_true (self->granted->pdata[(*n)++] == next);
    }
  g_assert_cmpuint (*n, ==, self->granted->len);
}

static void
give_back (Many *self, Request *request)
{
  self->root_free += request->base.want.bytes;
  self->free[request->child] += request->base.want.bytes;
  buf_semaphore_release (&self->children[request->child], request->base.want.bytes);
}

static void
test_order (Many *self, gconstpointer data)
{
  static const gint priorities[] = { G_PRIORITY_DEFAULT, G_PRIORITY_HIGH, G_PRIORITY_LOW };
  guint n = 0;

  g_test_summary ("Of all children, the first that fits is granted: by priority, then by age");

  take_all (self);
  for (guint i = 0; i < N_REQUESTS; i++)
    {
      request (self,
               i,
               (guint) g_test_rand_int_range (0, N_CHILDREN),
               g_test_rand_int_range (1, LARGEST),
               priorities[g_test_rand_int_range (0, G_N_ELEMENTS (priorities))]);
      g_ptr_array_add (self->waiting, &self->requests[i]);
    }

  for (gint64 bytes = 0; bytes < MAXIMUM; bytes += MAXIMUM / 50)
    {
      self->root_free += MAXIMUM / 50;
      buf_semaphore_release_part (&self->root, MAXIMUM / 50, FALSE);
      assert_granted_in_order (self, &n);
    }
  for (guint i = 0; i < N_REQUESTS; i++)
    {
      g_assert_cmpuint (i, <, self->granted->len);
      give_back (self, self->granted->pdata[i]);
      assert_granted_in_order (self, &n);
    }
  g_assert_cmpuint (n, ==, N_REQUESTS);
}

static void
test_smaller_one_further_back (Many *self, gconstpointer data)
{
  g_test_summary ("A child whose first request does not fit has another one that does");

  take_all (self);
  request (self, 0, 1, 40, G_PRIORITY_DEFAULT);
  request (self, 1, 2, 30, G_PRIORITY_DEFAULT);
  request (self, 2, 1, 5, G_PRIORITY_DEFAULT);
  request (self, 3, 2, 5, G_PRIORITY_DEFAULT);
  buf_semaphore_release_part (&self->root, 5, FALSE);
  g_assert_cmpuint (self->granted->len, ==, 1);
  g_assert_true (self->granted->pdata[0] == &self->requests[2]);

  /* What is left of that child is larger than what is free, until that changes. */
  buf_semaphore_release_part (&self->root, 5, FALSE);
  g_assert_true (self->granted->len == 2 && self->granted->pdata[1] == &self->requests[3]);
  buf_semaphore_release_part (&self->root, MAXIMUM - 10, FALSE);
  g_assert_true (self->granted->len == 4 && self->granted->pdata[2] == &self->requests[0]);
  for (guint i = 0; i < 4; i++)
    give_back (self, self->granted->pdata[i]);
}

static void
test_impossible_in_two_places (Many *self, gconstpointer data)
{
  g_test_summary ("Two children change before a section ends: the requests of both are refused");

  take_all (self);
  for (guint i = 0; i < 6; i++)
    request (self, i, i, 40, G_PRIORITY_DEFAULT);

  g_mutex_lock (&self->root.tree->mutex);
  buf_wait_queue_close_locked (&self->children[1].level);
  buf_wait_queue_set_maximum_locked (&self->children[4].level, 30);
  buf_wait_queue_close_locked (&self->children[3].level);
  buf_semaphore_serve_and_unlock (&self->root);
  g_assert_cmpuint (self->n_failed, ==, 3);
  g_assert_cmpint (self->requests[1].base.outcome, ==, BUF_OUTCOME_CLOSED);
  g_assert_cmpint (self->requests[3].base.outcome, ==, BUF_OUTCOME_CLOSED);
  g_assert_cmpint (self->requests[4].base.outcome, ==, BUF_OUTCOME_TOO_LARGE);

  buf_semaphore_release_part (&self->root, MAXIMUM, FALSE);
  g_assert_cmpuint (self->granted->len, ==, 3);
  for (guint i = 0; i < 3; i++)
    give_back (self, self->granted->pdata[i]);
}

static void
test_suspect_is_over (Many *self, gconstpointer data)
{
  BufSemaphore *child = g_new0 (BufSemaphore, 1);

  g_test_summary ("A level ends before a section looks for those whom its end refuses");

  buf_semaphore_init (child, &self->root, MAXIMUM, 1, 2);
  g_mutex_lock (&self->root.tree->mutex);
  buf_wait_queue_close_locked (&child->level);
  g_mutex_unlock (&self->root.tree->mutex);
  buf_semaphore_clear (child);
  g_free (child);

  request (self, 0, 0, 1, G_PRIORITY_DEFAULT);
  g_assert_cmpuint (self->granted->len, ==, 1);
  give_back (self, self->granted->pdata[0]);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

#define ADD(name, function)                                                                        \
  g_test_add ("/semaphore-tree/many/" name, Many, NULL, set_up, function, tear_down)
  ADD ("order", test_order);
  ADD ("smaller-one-further-back", test_smaller_one_further_back);
  ADD ("impossible-in-two-places", test_impossible_in_two_places);
  ADD ("suspect-is-over", test_suspect_is_over);

  return g_test_run ();
}
