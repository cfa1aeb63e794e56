/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the parts of the soak test share: the current pool, and the ledger that checks it. */

#pragma once

#include <bufpool/bufpool.h>

G_BEGIN_DECLS

#define SOAK_BUFFER_SIZE 64
#define SOAK_N_BUFFERS   96
#define SOAK_MOST        (2 * SOAK_N_BUFFERS)

typedef enum
{
  SOAK_REQUESTS,
  SOAK_TASKS, /* those made by a main loop */
  SOAK_SERVED,
  SOAK_WAITS, /* of threads */
  SOAK_WOULD_BLOCK,
  SOAK_TIMED_OUT,
  SOAK_CANCELLED,
  SOAK_TOO_LARGE,
  SOAK_CLOSED,
  SOAK_CHANGES,
  SOAK_POOLS,
  SOAK_N_FIGURES
} SoakFigure;

/* A pool, and what all threads together hold of it. The word contains both the limit in force and
 * what is held, so that they are always read together. What is held is increased after the
 * allocation, and decreased before the release, so it can never exceed the limit. */
typedef struct
{
  BufPool *pool;
  gint ref_count;       /* atomic */
  _Atomic guint64 word; /* buffers: the limit above, what is held below */
} SoakGeneration;

typedef struct
{
  SoakGeneration *generation;
  BufPoolAllocation *allocation;
  gsize n_buffers;
  guint64 pattern;
} SoakHolding;

SoakGeneration *soak_generation_get (void);
void soak_generation_unref (SoakGeneration *self);
void soak_generation_replace (void);
void soak_generation_end (void);
void soak_generation_set_limit (SoakGeneration *self, guint64 limit, gboolean at_least);

void soak_hold (SoakHolding *self,
                SoakGeneration *generation,
                BufPoolAllocation *allocation,
                gsize n_buffers);
void soak_check (SoakHolding *self);
void soak_drop (SoakHolding *self);
void soak_pass_on (SoakHolding *self);

GCancellable *soak_get_cancellable (void);
void soak_count (SoakFigure figure);
void soak_count_error (const GError *error);
gboolean soak_is_over (void);

extern _Atomic guint64 soak_figures[SOAK_N_FIGURES];
extern guint soak_most_overtaken; /* at the end */

GThread *soak_worker_start (guint number);
GThread *soak_loop_start (guint number);
GThread *soak_dropper_start (void);
GThread *soak_canceller_start (void);
GThread *soak_changer_start (void);
void soak_stop (void);
void soak_end (void);

G_END_DECLS
