/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Prints what BUFPOOL_DEBUG=leaks knows: run by test-stripped.py. The program exports its functions
 * that are not static. */

#include <bufpool/bufpool.h>

#define N_VISIBLE 6

BufPoolAllocation *visible_place (BufPool *pool);
void visible_neighbor (void);

static BufPoolAllocation *visible[N_VISIBLE];
static gint n_calls;

G_GNUC_NO_INLINE BufPoolAllocation *
visible_place (BufPool *pool)
{
  BufPoolAllocation *allocation = buf_pool_allocate (pool, 2, NULL, NULL);

  g_assert_nonnull (allocation);
  return allocation;
}

/* In a program without a symbol table, this is the nearest name that is known of the next function.
 */
G_GNUC_NO_INLINE void
visible_neighbor (void)
{
  g_atomic_int_inc (&n_calls);
}

static G_GNUC_NO_INLINE BufPoolAllocation *
hidden_place (BufPool *pool)
{
  BufPoolAllocation *allocation = buf_pool_allocate (pool, 1, NULL, NULL);

  visible_neighbor ();
  g_assert_nonnull (allocation);
  return allocation;
}

int
main (void)
{
  g_autoptr (BufPool) pool = buf_pool_new (16, 16000, NULL);
  BufPoolAllocation *hidden;
  g_autofree gchar *description = NULL;

  /* The first request finds no credit, the others do. The number is not known when the loop is
   * compiled, so that there is one place. */
  for (gint i = 0; i < N_VISIBLE + g_atomic_int_get (&n_calls); i++)
    visible[i % N_VISIBLE] = visible_place (pool);
  hidden = hidden_place (pool);

  description = buf_pool_describe_outstanding (pool);
  g_print ("%s", description);

  buf_pool_allocation_unref (hidden);
  for (guint i = 0; i < N_VISIBLE; i++)
    buf_pool_allocation_unref (visible[i]);
  return 0;
}
