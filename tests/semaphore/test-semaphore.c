/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* BufSemaphore, white box: stripes, how they are revoked and restored, and the contents of their
 * words. */

#include "semaphore/buf-semaphore-private.h"
#include "testing.h"

#define N_STRIPES 4

static void
acquire (BufSemaphore *self, gint64 bytes)
{
  BufSemaphoreFigures figures;

  if (!buf_semaphore_take_credit (self, bytes))
    g_assert_cmpint (buf_semaphore_acquire (self, &BUF_WANT (bytes), FALSE, &figures),
                     ==,
                     BUF_OUTCOME_GRANTED);
}

static void
release (BufSemaphore *self, gint64 bytes)
{
  if (!buf_semaphore_give_credit (self, buf_semaphore_get_stripe (self), bytes))
    buf_semaphore_release (self, bytes);
}

static void
assert_refused (BufSemaphore *self, gint64 bytes)
{
  BufSemaphoreFigures figures;

  g_assert_false (buf_semaphore_take_credit (self, bytes));
  g_assert_cmpint (buf_semaphore_acquire (self, &BUF_WANT (bytes), FALSE, &figures),
                   ==,
                   BUF_OUTCOME_PENDING);
  g_assert_cmpint (figures.available, <, bytes);
}

static void
assert_figures (BufSemaphore *self, gint64 allocated, gint64 n_allocations)
{
  BufSemaphoreFigures figures;

  buf_semaphore_get_figures (self, &figures, NULL);
  g_assert_cmpint (figures.allocated, ==, allocated);
  g_assert_cmpint (figures.available, ==, MAX (figures.maximum - allocated, 0));
  g_assert_cmpint (figures.n_allocations, ==, n_allocations);
}

/* From now on, the calling thread uses this stripe. */
static void
use_stripe (guint i)
{
  buf_semaphore_thread_number = N_STRIPES + i;
}

/* Leaves credit in every stripe. */
static void
spread_credit (BufSemaphore *self, gint64 bytes)
{
  for (guint i = 0; i < N_STRIPES; i++)
    {
      use_stripe (i);
      acquire (self, bytes);
      release (self, bytes);
      g_assert_false (self->level.revoked);
      g_assert_cmpint (buf_stripe_get_credit (self->stripes[i].word), >, 0);
    }
}

/* Runs as many calm sections as it takes to restore the stripes. */
static void
calm_down (BufSemaphore *self)
{
  for (guint i = 0; i < 1000 && self->level.revoked; i++)
    {
      acquire (self, 1);
      release (self, 1);
    }
}

static void
semaphore_end (BufSemaphore *self)
{
  buf_semaphore_close (self);
  assert_figures (self, 0, 0);
  buf_semaphore_clear (self);
}

static void
test_geometry (void)
{
  const struct
  {
    gint64 maximum, unit;
    guint n_processors, n_live;
  } cases[] = {
    { 1, 1, 8, 1 },
    { 64, 16, 8, 1 },
    { 1024, 16, 8, 4 },
    { 1 << 20, 16, 8, 8 },
    { 1 << 20, 16, 5, 8 },
    { 1 << 20, 16, 1, 1 },
    { 1 << 20, 16, 1000, 64 },
    { BUF_POOL_UNLIMITED, 1, 2, 2 },
    { BUF_POOL_UNLIMITED, BUF_POOL_UNLIMITED, 64, 1 },
  };

  g_test_summary ("There are as many stripes as processors, fewer in a tiny semaphore");

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      BufSemaphore semaphore;
      gint64 mark;

      buf_semaphore_init (&semaphore, NULL, cases[i].maximum, cases[i].unit, cases[i].n_processors);
      mark = semaphore.mark;
      g_assert_cmpuint (semaphore.mask + 1, ==, cases[i].n_live);
      g_assert_cmpint (mark, <=, BUF_STRIPE_MAX_CREDIT);
      g_assert_cmpint (mark * cases[i].n_live, <=, cases[i].maximum);
      acquire (&semaphore, cases[i].unit);
      release (&semaphore, cases[i].unit);
      semaphore_end (&semaphore);
    }
}

static void
test_refused_means_used_up (void)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (3);
  BufSemaphore semaphore;
  gint64 out[50] = { 0 };
  gint64 sum = 0;
  guint n = 0;

  g_test_summary ("A request is refused if, and only if, it would exceed the maximum, wherever the "
                  "credit is; and the figures are exact after every step");

  buf_semaphore_init (&semaphore, NULL, 1000, 1, N_STRIPES);
  for (guint i = 0; i < test_scale (100000); i++)
    {
      guint slot = g_rand_int_range (rand, 0, G_N_ELEMENTS (out));

      use_stripe (g_rand_int_range (rand, 0, N_STRIPES));
      if (out[slot] != 0)
        {
          release (&semaphore, out[slot]);
          sum -= out[slot];
          out[slot] = 0;
          n--;
        }
      else
        {
          gint64 bytes = g_rand_int_range (rand, 1, i % 2 == 0 ? 10 : 200);

          if (sum + bytes > 1000)
            assert_refused (&semaphore, bytes);
          else
            {
              acquire (&semaphore, bytes);
              out[slot] = bytes;
              sum += bytes;
              n++;
            }
        }
      assert_figures (&semaphore, sum, n);
    }
  for (guint slot = 0; slot < G_N_ELEMENTS (out); slot++)
    if (out[slot] != 0)
      release (&semaphore, out[slot]);
  semaphore_end (&semaphore);
}

static void
test_credit_is_collected (void)
{
  BufSemaphore semaphore;

  g_test_summary ("A request that needs the credit of other stripes gets it");

  buf_semaphore_init (&semaphore, NULL, 100000, 1, N_STRIPES);
  spread_credit (&semaphore, 10);
  acquire (&semaphore, 100000);
  g_assert_true (semaphore.level.revoked);
  assert_refused (&semaphore, 1);
  release (&semaphore, 100000);
  semaphore_end (&semaphore);
}

static void
test_lowered_maximum (void)
{
  BufSemaphore semaphore;

  g_test_summary ("When the maximum is lowered, the credit of the stripes is collected "
                  "immediately");

  for (gint64 lower = 0; lower < 2000; lower += 111)
    {
      buf_semaphore_init (&semaphore, NULL, 100000, 1, N_STRIPES);
      spread_credit (&semaphore, 10);
      acquire (&semaphore, 1000);
      g_assert_true (buf_semaphore_set_maximum (&semaphore, lower));
      for (guint i = 0; i < N_STRIPES; i++)
        {
          use_stripe (i);
          g_assert_false (buf_semaphore_take_credit (&semaphore, 1));
        }
      if (lower > 1000)
        acquire (&semaphore, lower - 1000);
      if (lower > 0)
        assert_refused (&semaphore, 1);
      assert_figures (&semaphore, MAX (lower, 1000), lower > 1000 ? 2 : 1);

      release (&semaphore, 1000);
      if (lower > 1000)
        release (&semaphore, lower - 1000);
      semaphore_end (&semaphore);
    }
}

static void
test_stripes_come_back (void)
{
  BufSemaphore semaphore;

  g_test_summary ("Stripes are restored after calm, but not while free is negative, nor after "
                  "close");

  buf_semaphore_init (&semaphore, NULL, 100000, 1, N_STRIPES);
  spread_credit (&semaphore, 10);
  acquire (&semaphore, 100000);
  g_assert_true (semaphore.level.revoked);
  release (&semaphore, 100000);
  g_assert_true (semaphore.level.revoked);
  calm_down (&semaphore);
  g_assert_false (semaphore.level.revoked);
  spread_credit (&semaphore, 10);

  acquire (&semaphore, 5000);
  acquire (&semaphore, 5000);
  buf_semaphore_set_maximum (&semaphore, 4000);
  for (guint i = 0; i < 1000; i++)
    {
      assert_refused (&semaphore, 1);
      g_assert_true (semaphore.level.revoked);
    }
  release (&semaphore, 5000);
  g_assert_true (semaphore.level.revoked);
  buf_semaphore_set_maximum (&semaphore, 100000);
  calm_down (&semaphore);
  g_assert_false (semaphore.level.revoked);
  release (&semaphore, 5000);

  buf_semaphore_close (&semaphore);
  for (guint i = 0; i < 1000; i++)
    {
      BufSemaphoreFigures figures;

      g_assert_false (buf_semaphore_take_credit (&semaphore, 1));
      g_assert_cmpint (buf_semaphore_acquire (&semaphore, &BUF_WANT (1), FALSE, &figures),
                       ==,
                       BUF_OUTCOME_CLOSED);
    }
  g_assert_true (semaphore.level.revoked);
  semaphore_end (&semaphore);
}

static void
test_words (void)
{
  BufSemaphore semaphore;
  BufStripe *stripe;

  g_test_summary ("A revoked stripe takes and gives nothing, not even zero bytes or very many");

  buf_semaphore_init (&semaphore, NULL, BUF_POOL_UNLIMITED, 1, 1);
  stripe = &semaphore.stripes[0];
  acquire (&semaphore, 1);
  buf_semaphore_close (&semaphore);
  g_assert_cmpint (stripe->word, ==, BUF_STRIPE_REVOKED);
  for (guint bits = 0; bits < 63; bits++)
    {
      gint64 bytes = (G_GINT64_CONSTANT (1) << bits) - 1;

      g_assert_false (buf_semaphore_take_credit (&semaphore, bytes));
      g_assert_false (buf_semaphore_give_credit (&semaphore, stripe, bytes));
    }
  g_assert_cmpint (stripe->word, ==, BUF_STRIPE_REVOKED);
  release (&semaphore, 1);
  semaphore_end (&semaphore);
}

static void
test_count_does_not_wrap (void)
{
  const gint64 most = (G_GINT64_CONSTANT (1) << (63 - BUF_STRIPE_CREDIT_BITS)) - 1;
  BufSemaphore semaphore;
  BufStripe *stripe;

  g_test_summary (
      "A stripe whose count is full uses the slow path, which folds it, in both directions");

  buf_semaphore_init (&semaphore, NULL, 1 << 30, 1, 1);
  stripe = &semaphore.stripes[0];
  acquire (&semaphore, 1);
  assert_figures (&semaphore, 1, 1);

  /* As if allocations had been taken here and released elsewhere. */
  stripe->word += (most - 1) * BUF_STRIPE_ONE;
  semaphore.level.n_allocations -= most - 1;
  acquire (&semaphore, 1);
  g_assert_false (buf_semaphore_take_credit (&semaphore, 1));
  assert_figures (&semaphore, 2, 2);
  acquire (&semaphore, 1);
  assert_figures (&semaphore, 3, 3);
  g_assert_cmpint (stripe->word >> BUF_STRIPE_CREDIT_BITS, <, most / 2);

  stripe->word = buf_stripe_get_credit (stripe->word) + G_MININT64;
  semaphore.level.n_allocations = 3 + most + 1;
  assert_figures (&semaphore, 3, 3);
  g_assert_false (buf_semaphore_give_credit (&semaphore, stripe, 1));
  release (&semaphore, 1);
  assert_figures (&semaphore, 2, 2);
  release (&semaphore, 1);
  release (&semaphore, 1);
  semaphore_end (&semaphore);
}

static void
test_moves_on (void)
{
  BufSemaphore semaphore;
  BufStripe *stripe;
  gint64 word;

  g_test_summary ("A thread that meets another one on its stripe moves to the next");

  buf_semaphore_init (&semaphore, NULL, 1 << 30, 1, N_STRIPES);
  use_stripe (1);
  acquire (&semaphore, 1);
  stripe = buf_semaphore_get_stripe (&semaphore);
  g_assert_true (stripe == &semaphore.stripes[1]);
  word = stripe->word;
  g_assert_false (buf_stripe_exchange (stripe, word + 1, 0, memory_order_acquire));
  g_assert_cmpint (stripe->word, ==, word);
  g_assert_true (buf_semaphore_get_stripe (&semaphore) == &semaphore.stripes[2]);
  release (&semaphore, 1);
  semaphore_end (&semaphore);
}

static void
test_spill_and_refill (void)
{
  BufSemaphore semaphore;
  guint n_slow = 0;

  g_test_summary ("Bytes that one thread takes and another releases move through free, in batches");

  buf_semaphore_init (&semaphore, NULL, 100000, 1, N_STRIPES);
  for (guint i = 0; i < 100000; i++)
    {
      use_stripe (0);
      if (!buf_semaphore_take_credit (&semaphore, 1))
        {
          acquire (&semaphore, 1);
          n_slow++;
        }
      use_stripe (1);
      if (!buf_semaphore_give_credit (&semaphore, &semaphore.stripes[1], 1))
        {
          buf_semaphore_release (&semaphore, 1);
          n_slow++;
        }
    }
  g_assert_false (semaphore.level.revoked);
  g_assert_cmpuint (n_slow, >, 10);
  g_assert_cmpuint (n_slow, <, 100);
  semaphore_end (&semaphore);
}

/* Waits for bytes; for zero bytes, until nothing is outstanding. */
typedef struct
{
  BufSemaphore *semaphore;
  gint64 bytes;
  gint64 timeout;
  BufOutcome outcome;
  gint done; /* atomic */
} Wait;

static gpointer
wait_in_thread (gpointer data)
{
  Wait *self = data;
  BufSemaphoreFigures figures;
  BufWaiter waiter;
  gint64 deadline = g_get_monotonic_time () + self->timeout;

  buf_waiter_init (&waiter, self->bytes, NULL);
  self->outcome = buf_semaphore_wait (self->semaphore, &waiter, deadline, &figures);
  buf_waiter_clear (&waiter);
  g_atomic_int_set (&self->done, TRUE);
  return NULL;
}

/* As in a section that has served its maximum. Returns whether there was a drainer. */
static gboolean
note_drained (BufSemaphore *self)
{
  gboolean drains;

  g_mutex_lock (&self->tree->mutex);
  drains = !g_queue_is_empty (&self->level.drainers);
  buf_wait_queue_note_drained_locked (&self->level);
  g_mutex_unlock (&self->tree->mutex);
  return drains;
}

static void
test_drained_before_the_deadline (void)
{
  BufSemaphore semaphore;
  gboolean noted = FALSE;

  g_test_summary ("A drainer that is about to be notified is notified, even if it times out "
                  "before");

  buf_semaphore_init (&semaphore, NULL, 1000, 1, N_STRIPES);
  acquire (&semaphore, 1000);
  for (gint64 timeout = 1000; !noted; timeout *= 2)
    {
      Wait drain = { .semaphore = &semaphore, .timeout = timeout };
      GThread *thread = g_thread_new ("drains", wait_in_thread, &drain);

      while (!noted && !g_atomic_int_get (&drain.done))
        noted = note_drained (&semaphore);
      g_thread_join (thread);
      g_assert_cmpuint (drain.outcome, ==, noted ? BUF_OUTCOME_GRANTED : BUF_OUTCOME_TIMED_OUT);
    }
  release (&semaphore, 1000);
  semaphore_end (&semaphore);
}

static gint is_completing; /* atomic */
static gint may_go_on;     /* atomic */
static gint n_ended;       /* atomic */

static void
on_end (BufSemaphore *semaphore)
{
  g_atomic_int_inc (&n_ended);
}

/* Holds up the releaser, which still has to serve others. */
static void
on_settled (BufWaiter *waiter)
{
  if (waiter->outcome != BUF_OUTCOME_GRANTED)
    return;

  g_atomic_int_set (&is_completing, TRUE);
  test_wait_until (g_atomic_int_get (&may_go_on));
}

static gpointer
release_all (gpointer semaphore)
{
  buf_semaphore_release (semaphore, BUF_WAIT_QUEUE_BATCH + 1);
  return NULL;
}

static void
test_goes_on_inside (void)
{
  BufSemaphore semaphore;
  BufWaiter tasks[BUF_WAIT_QUEUE_BATCH + 1];
  GThread *thread;

  g_test_summary ("A releaser that continues to serve others keeps the semaphore alive until it is "
                  "done");

  buf_semaphore_init (&semaphore, NULL, G_N_ELEMENTS (tasks), 1, N_STRIPES);
  semaphore.end = on_end;
  acquire (&semaphore, G_N_ELEMENTS (tasks));
  for (guint i = 0; i < G_N_ELEMENTS (tasks); i++)
    {
      buf_waiter_init (&tasks[i], 1, on_settled);
      buf_semaphore_enqueue (&semaphore, &tasks[i]);
    }
  thread = g_thread_new ("releases", release_all, &semaphore);
  test_wait_until (g_atomic_int_get (&is_completing));

  /* While it is held up, the other requests are refused, and the granted bytes return. */
  buf_semaphore_close (&semaphore);
  for (guint i = 0; i < BUF_WAIT_QUEUE_BATCH; i++)
    buf_semaphore_release (&semaphore, 1);
  buf_semaphore_abandon (&semaphore);
  g_assert_cmpint (g_atomic_int_get (&n_ended), ==, 0);

  g_atomic_int_set (&may_go_on, TRUE);
  g_thread_join (thread);
  g_assert_cmpint (g_atomic_int_get (&n_ended), ==, 1);
  for (guint i = 0; i < G_N_ELEMENTS (tasks); i++)
    buf_waiter_clear (&tasks[i]);
  buf_semaphore_clear (&semaphore);
}

/* As if the bytes had been promised to another thread. Returns whether a request waits. */
static gboolean
free_for_waiter (BufSemaphore *self, gint64 bytes)
{
  gboolean waits;

  g_mutex_lock (&self->tree->mutex);
  waits = self->level.n_waiting > 0;
  if (waits)
    {
      self->level.free += bytes;
      self->level.n_allocations--;
    }
  g_mutex_unlock (&self->tree->mutex);
  return waits;
}

static void
test_freed_before_the_deadline (void)
{
  BufSemaphore semaphore;
  gboolean freed = FALSE;

  g_test_summary ("A thread that has timed out takes its bytes if they are available by then");

  buf_semaphore_init (&semaphore, NULL, 1000, 1, N_STRIPES);
  acquire (&semaphore, 1000);
  for (gint64 timeout = 1000; !freed; timeout *= 2)
    {
      Wait wait = { .semaphore = &semaphore, .bytes = 1000, .timeout = timeout };
      GThread *thread = g_thread_new ("waits", wait_in_thread, &wait);

      while (!freed && !g_atomic_int_get (&wait.done))
        freed = free_for_waiter (&semaphore, 1000);
      g_thread_join (thread);
      g_assert_cmpuint (wait.outcome, ==, freed ? BUF_OUTCOME_GRANTED : BUF_OUTCOME_TIMED_OUT);
    }

  buf_semaphore_release (&semaphore, 1000);
  semaphore_end (&semaphore);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/semaphore/geometry", test_geometry);
  g_test_add_func ("/semaphore/refused-means-used-up", test_refused_means_used_up);
  g_test_add_func ("/semaphore/credit-is-collected", test_credit_is_collected);
  g_test_add_func ("/semaphore/lowered-maximum", test_lowered_maximum);
  g_test_add_func ("/semaphore/stripes-come-back", test_stripes_come_back);
  g_test_add_func ("/semaphore/words", test_words);
  g_test_add_func ("/semaphore/count-does-not-wrap", test_count_does_not_wrap);
  g_test_add_func ("/semaphore/moves-on", test_moves_on);
  g_test_add_func ("/semaphore/spill-and-refill", test_spill_and_refill);
  g_test_add_func ("/semaphore/goes-on-inside", test_goes_on_inside);
  g_test_add_func ("/semaphore/drained-before-the-deadline", test_drained_before_the_deadline);
  g_test_add_func ("/semaphore/freed-before-the-deadline", test_freed_before_the_deadline);
  return g_test_run ();
}
