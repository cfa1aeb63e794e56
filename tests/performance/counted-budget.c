/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "counted-budget.h"

#include <stdatomic.h>

BudgetCounts budget_counts;

/* The operations themselves, which the macros below hide. Not GCC's built-in functions, because
 * clang does not accept an _Atomic variable there. */
static inline gboolean
exchange_if (_Atomic gint64 *word,
             gint64 *old,
             gint64 next,
             memory_order success,
             memory_order failure)
{
  return atomic_compare_exchange_strong_explicit (word, old, next, success, failure);
}

static inline gint64
exchange (_Atomic gint64 *word, gint64 next, memory_order order)
{
  return atomic_exchange_explicit (word, next, order);
}

/* Counts what the budget does with other processors or under its lock. */
static inline void count_collection (gint64 mark);

#define g_mutex_lock(mutex) (budget_counts.sections++, (g_mutex_lock) (mutex))

#undef atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_strong_explicit(word, old, next, success, failure)                 \
  (budget_counts.exchanges++,                                                                      \
   exchange_if (word, old, next, success, failure) || (budget_counts.failed++, FALSE))

#undef atomic_exchange_explicit
#define atomic_exchange_explicit(word, mark, order)                                                \
  (count_collection (mark), exchange (word, mark, order))

#include "semaphore/buf-level.c"
#include "semaphore/buf-semaphore.c"
#include "semaphore/buf-semaphore-evict.c"
#include "semaphore/buf-semaphore-figures.c"
#include "semaphore/buf-semaphore-idle.c"
#include "semaphore/buf-semaphore-inside.c"
#include "semaphore/buf-semaphore-keeper.c"
#include "semaphore/buf-semaphore-keeping.c"
#include "semaphore/buf-semaphore-serve.c"
#include "semaphore/buf-semaphore-settings.c"
#include "semaphore/buf-semaphore-stripes.c"
#include "semaphore/buf-semaphore-tree.c"
#include "semaphore/buf-semaphore-watch.c"
#include "semaphore/buf-wait-queue.c"
#include "semaphore/buf-wait-queue-take.c"
#include "semaphore/buf-wait-queue-time.c"
#include "semaphore/buf-waiter-tree.c"
#include "semaphore/buf-waiter.c"

static inline void
count_collection (gint64 mark)
{
  if (mark == BUF_STRIPE_REVOKED)
    budget_counts.revocations++;
  else
    budget_counts.collections++;
}

gpointer
counted_budget_new (gsize buffers, guint n_processors)
{
  BufSemaphore *self = g_aligned_alloc0 (1, sizeof (BufSemaphore) + BUF_CACHE_LINE, BUF_CACHE_LINE);

  buf_semaphore_init (self, NULL, buffers, 1, n_processors);
  return self;
}

void
counted_budget_free (gpointer budget)
{
  buf_semaphore_close (budget);
  buf_semaphore_clear (budget);
  g_aligned_free (budget);
}

guint
counted_budget_get_n_stripes (gpointer budget)
{
  return atomic_load_explicit (&((BufSemaphore *) budget)->mask, memory_order_relaxed) + 1;
}

gboolean
counted_budget_take (gpointer budget, guint thread, gsize buffers)
{
  BufSemaphoreFigures figures;

  buf_semaphore_thread_number = thread + 1;
  return buf_semaphore_take_credit (budget, buffers) ||
         buf_semaphore_acquire (budget, &BUF_WANT (buffers), FALSE, &figures) ==
             BUF_OUTCOME_GRANTED;
}

void
counted_budget_give (gpointer budget, guint thread, gsize buffers)
{
  buf_semaphore_thread_number = thread + 1;
  if (!buf_semaphore_give_credit (budget, buf_semaphore_get_stripe (budget), buffers))
    buf_semaphore_release (budget, buffers);
}
