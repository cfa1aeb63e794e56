/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Holds: the library's own references to an allocation, and the bytes that they pin. */

#include <string.h>

#include "memory/buf-pool-allocation-private.h"
#include "pool/buf-pool-private.h"
#include "testing.h"

static gint64
get_pinned (BufPool *pool)
{
  gint64 pinned;

  g_mutex_lock (&pool->memory->semaphore.tree->mutex);
  pinned = pool->memory->semaphore.level.pinned;
  g_mutex_unlock (&pool->memory->semaphore.tree->mutex);
  return pinned;
}

static void
take (BufPoolAllocation *allocation, BufHold *hold)
{
  *hold = (BufHold){ NULL };
  g_assert_true (buf_pool_allocation_take_hold (allocation, hold));
}

static void
test_pins (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *allocation = test_allocate (pool, 3);
  BufHold first, second;

  g_test_summary ("The last user pins a held allocation, and the last hold frees it");

  take (allocation, &first);
  take (allocation, &second);
  buf_pool_allocation_ref (allocation);
  buf_pool_allocation_unref (allocation);
  g_assert_cmpint (get_pinned (pool), ==, 0);
  buf_hold_drop (&second);
  buf_hold_drop (&second);
  take (allocation, &second);
  buf_pool_allocation_unref (allocation);
  g_assert_cmpint (get_pinned (pool), ==, 48);
  test_assert_figures (pool, 3, 1);
  buf_hold_drop (&first);
  g_assert_cmpint (get_pinned (pool), ==, 48);
  buf_hold_drop (&second);
  g_assert_cmpint (get_pinned (pool), ==, 0);
  test_assert_figures (pool, 0, 0);
}

static void
test_plain_end (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *allocation = test_allocate (pool, 3);
  BufHold hold;

  g_test_summary ("If the holds end before the last user, nothing is pinned");

  take (allocation, &hold);
  buf_hold_drop (&hold);
  buf_pool_allocation_unref (allocation);
  g_assert_cmpint (get_pinned (pool), ==, 0);
  test_assert_figures (pool, 0, 0);
}

static void
test_released (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *plain = test_allocate (pool, 3);
  BufPoolAllocation *pinned = buf_pool_try_allocate_pinned (pool, 3, NULL);
  BufHold plain_hold, pinned_hold, none = { NULL };

  g_test_summary ("A released allocation cannot be held, but an existing hold stays until it is "
                  "dropped");

  take (plain, &plain_hold);
  take (pinned, &pinned_hold);
  buf_pool_allocation_release (plain);
  buf_pool_allocation_release (pinned);
  g_assert_false (buf_pool_allocation_take_hold (plain, &none));
  g_assert_false (buf_pool_allocation_take_hold (pinned, &none));
  buf_hold_drop (&none);
  test_assert_figures (pool, 6, 2);
  buf_hold_drop (&pinned_hold);
  test_assert_figures (pool, 3, 1);
  buf_pool_allocation_unref (pinned);
  buf_pool_allocation_unref (plain);
  test_assert_figures (pool, 3, 1);
  buf_hold_drop (&plain_hold);
  test_assert_figures (pool, 0, 0);
}

static void
test_limit (void)
{
  const guint n = BUF_WORD_HOLDS / BUF_WORD_HOLD + 2;
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *allocation = test_allocate (pool, 3);
  g_autofree BufHold *holds = g_new (BufHold, n);

  g_test_summary ("If there is no room for more holds, views replace them");

  for (guint i = 0; i < n; i++)
    take (allocation, &holds[i]);
  g_assert_false (holds[n - 3].is_view);
  g_assert_true (holds[n - 2].is_view && holds[n - 1].is_view);
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, 3);
  buf_pool_allocation_unref (allocation);
  g_assert_cmpint (get_pinned (pool), ==, 0);
  for (guint i = n; i-- > 0;)
    {
      test_assert_figures (pool, 3, 1);
      buf_hold_drop (&holds[i]);
    }
  g_assert_cmpint (get_pinned (pool), ==, 0);
  test_assert_figures (pool, 0, 0);
}

static void
test_drain (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  BufPoolAllocation *allocation = test_allocate (pool, 3);
  BufHold hold;

  g_test_summary ("A drain waits for held allocations");

  take (allocation, &hold);
  buf_pool_allocation_unref (allocation);
  g_assert_false (buf_pool_drain_timeout (pool, 1000, NULL, NULL));
  buf_hold_drop (&hold);
  g_assert_true (buf_pool_drain_timeout (pool, 0, NULL, NULL));
}

/* Two threads that drop their holds at the same time. */
typedef struct
{
  gint round; /* atomic; the round that may begin */
  gint ended; /* atomic; the last round that has ended */
  BufHold hold;
} Race;

static void
spin_until (gint *value, gint expected)
{
  for (guint i = 1; g_atomic_int_get (value) < expected; i++)
    if (i % 1000 == 0)
      g_thread_yield ();
}

static gpointer
drop_in_each_round (gpointer data)
{
  Race *race = data;

  for (gint round = 1; round <= (gint) test_scale (100000); round++)
    {
      spin_until (&race->round, round);
      for (gint i = 0; i < round / 10 % 60; i++)
        g_atomic_int_get (&race->round);
      memset (buf_pool_allocation_peek_data (race->hold.allocation), round, 48);
      buf_hold_drop (&race->hold);
      g_atomic_int_set (&race->ended, round);
    }
  return NULL;
}

static void
test_race (void)
{
  g_autoptr (BufPool) pool = test_pool_new (16, 10);
  Race race = { 0 };
  GThread *thread = g_thread_new ("drop", drop_in_each_round, &race);

  g_test_summary (
      "The last reference and the last hold end at the same time: the allocation is freed once, "
      "and nothing stays pinned");

  for (gint round = 1; round <= (gint) test_scale (100000); round++)
    {
      BufPoolAllocation *allocation = test_allocate (pool, 3);

      take (allocation, &race.hold);
      g_atomic_int_set (&race.round, round);
      for (gint i = 0; i < round / 600 % 60; i++)
        g_atomic_int_get (&race.ended);
      buf_pool_allocation_unref (allocation);
      spin_until (&race.ended, round);
      g_assert_cmpint (get_pinned (pool), ==, 0);
    }
  g_thread_join (thread);
  test_assert_figures (pool, 0, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/holds/pins", test_pins);
  g_test_add_func ("/holds/plain-end", test_plain_end);
  g_test_add_func ("/holds/released", test_released);
  g_test_add_func ("/holds/limit", test_limit);
  g_test_add_func ("/holds/drain", test_drain);
  g_test_add_func ("/holds/race", test_race);
  return g_test_run ();
}
