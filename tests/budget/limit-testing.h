/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Checks that the bytes of a level never exceed its limit, although the limit changes.
 *
 * After a grant, a level has at most its limit in use, and then the bytes in use only decrease
 * until the next grant. Each thread counts its bytes from when they were granted until before it
 * returns them, so at least as many are in use as are counted. The last grant is not before that of
 * the counting thread. So the count is at most the largest limit that was in force since the
 * request of this thread began. */

#pragma once

#include "testing.h"

G_BEGIN_DECLS

/* The limits of a level, in the order in which they were set. */
#define N_LIMITS 65536

typedef struct
{
  gint limits[N_LIMITS]; /* atomic; a ring */
  gint n_limits;         /* atomic; only one thread writes */
  gint in_use;           /* atomic; the bytes that the threads hold */
} Level;

static inline void
level_append (Level *self, gint limit)
{
  gint n = g_atomic_int_get (&self->n_limits);

  g_atomic_int_set (&self->limits[n % N_LIMITS], limit);
  g_atomic_int_set (&self->n_limits, n + 1);
}

static inline Level *
level_new (gint limit)
{
  Level *self = g_new0 (Level, 1);

  level_append (self, limit);
  return self;
}

/* While a limit changes, the old one and the new one may be in force. */
static inline void
level_begin_change (Level *self, gint limit)
{
  gint last = g_atomic_int_get (&self->n_limits) - 1;

  level_append (self, MAX (limit, g_atomic_int_get (&self->limits[last % N_LIMITS])));
}

static inline void
level_end_change (Level *self, gint limit)
{
  level_append (self, limit);
}

/* Returns a moment for level_count(). */
static inline gint
level_now (Level *self)
{
  return g_atomic_int_get (&self->n_limits) - 1;
}

static inline gint
level_get_largest (Level *self, gint since)
{
  gint n = g_atomic_int_get (&self->n_limits);
  gint largest = 0;

  if (n - since > N_LIMITS / 2)
    return G_MAXINT; /* too long ago */
  for (gint i = since; i < n; i++)
    largest = MAX (largest, g_atomic_int_get (&self->limits[i % N_LIMITS]));
  return largest;
}

/* Counts bytes of a request that began at the moment @since. */
static inline void
level_count (Level *self, gint bytes, gint since)
{
  gint in_use = g_atomic_int_add (&self->in_use, bytes) + bytes;

  g_assert_cmpint (in_use, <=, level_get_largest (self, since));
}

/* Called before the bytes are returned. */
static inline void
level_discount (Level *self, gint bytes)
{
  g_atomic_int_add (&self->in_use, -bytes);
}

G_END_DECLS
