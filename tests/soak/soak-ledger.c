/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdatomic.h>
#include <string.h>

#include "bufpool/pool/buf-pool-private.h"
#include "soak.h"

/* The current pool. Its generation is shared by all holders of a part of it. When the last holder
 * drops it, nothing of the pool may be outstanding, and no request may wait for it. */

#define HELD_BITS 32
#define HELD_MASK ((G_GUINT64_CONSTANT (1) << HELD_BITS) - 1)

static GMutex mutex;
static SoakGeneration *current; /* LOCK: mutex */
guint soak_most_overtaken;      /* LOCK: mutex */

static SoakGeneration *
generation_new (void)
{
  SoakGeneration *self = g_new0 (SoakGeneration, 1);
  g_autoptr (GError) error = NULL;

  self->pool = buf_pool_new (SOAK_BUFFER_SIZE, SOAK_BUFFER_SIZE * SOAK_N_BUFFERS, &error);
  g_assert_no_error (error);
  self->ref_count = 1;
  atomic_init (&self->word, (guint64) SOAK_N_BUFFERS << HELD_BITS);
  soak_count (SOAK_POOLS);
  return self;
}

SoakGeneration *
soak_generation_get (void)
{
  SoakGeneration *self;

  g_mutex_lock (&mutex);
  if (current == NULL)
    current = generation_new ();
  self = current;
  g_atomic_int_inc (&self->ref_count);
  g_mutex_unlock (&mutex);
  return self;
}

/* There must be no drift. */
void
soak_generation_unref (SoakGeneration *self)
{
  if (!g_atomic_int_dec_and_test (&self->ref_count))
    return;

  g_assert_cmpuint (atomic_load (&self->word) & HELD_MASK, ==, 0);
  g_assert_cmpuint (buf_pool_get_allocated_memory (self->pool), ==, 0);
  g_assert_cmpuint (buf_pool_get_active_allocations (self->pool), ==, 0);
  g_assert_cmpuint (buf_pool_get_waiting (self->pool), ==, 0);

  g_mutex_lock (&mutex);
  soak_most_overtaken =
      MAX (soak_most_overtaken, self->pool->memory->semaphore.level.history.most_overtaken);
  g_mutex_unlock (&mutex);
  g_assert_cmpuint (self->pool->memory->semaphore.level.history.most_overtaken,
                    <=,
                    BUF_WAIT_QUEUE_MAX_OVERTAKEN);
  g_object_unref (self->pool);
  g_free (self);
}

/* Closes the pool while all others use it, and continues with a new one. */
void
soak_generation_replace (void)
{
  SoakGeneration *next = generation_new ();
  SoakGeneration *old;

  g_mutex_lock (&mutex);
  old = current;
  current = next;
  g_mutex_unlock (&mutex);
  buf_pool_close (old->pool);
  soak_generation_unref (old);
}

void
soak_generation_end (void)
{
  g_clear_pointer (&current, soak_generation_unref);
}

/* With @at_least, the limit does not decrease. */
void
soak_generation_set_limit (SoakGeneration *self, guint64 limit, gboolean at_least)
{
  guint64 word = atomic_load (&self->word);
  guint64 next;

  do
    {
      next = at_least ? MAX (limit, word >> HELD_BITS) : limit;
      g_assert_cmpuint (word & HELD_MASK, <=, next);
    }
  while (
      !atomic_compare_exchange_weak (&self->word, &word, next << HELD_BITS | (word & HELD_MASK)));
}

static guint64 *
get_words (SoakHolding *self)
{
  return buf_pool_allocation_get_first (self->allocation);
}

static gsize
get_n_words (SoakHolding *self)
{
  return self->n_buffers * SOAK_BUFFER_SIZE / sizeof (guint64);
}

/* Takes ownership of the references on both. */
void
soak_hold (SoakHolding *self,
           SoakGeneration *generation,
           BufPoolAllocation *allocation,
           gsize n_buffers)
{
  static _Atomic guint64 last;
  guint64 word = atomic_fetch_add (&generation->word, n_buffers) + n_buffers;

  g_assert_cmpuint (word & HELD_MASK, <=, word >> HELD_BITS);
  g_assert_cmpuint (buf_pool_allocation_get_length (allocation), ==, n_buffers);

  *self = (SoakHolding){ generation, allocation, n_buffers, atomic_fetch_add (&last, 1) << 8 };
  for (gsize i = 0; i < get_n_words (self); i++)
    get_words (self)[i] = self->pattern + i % 256;
}

void
soak_check (SoakHolding *self)
{
  for (gsize i = 0; i < get_n_words (self); i++)
    g_assert_cmpuint (get_words (self)[i], ==, self->pattern + i % 256);
}

void
soak_drop (SoakHolding *self)
{
  soak_check (self);
  memset (get_words (self), 0xdd, self->n_buffers * SOAK_BUFFER_SIZE);
  atomic_fetch_sub (&self->generation->word, self->n_buffers);
  buf_pool_allocation_unref (self->allocation);
  soak_generation_unref (self->generation);
}
