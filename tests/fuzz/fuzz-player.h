/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Plays a sequence, with the library and with the model at the same time. */

#pragma once

#include <bufpool/bufpool.h>

#include "bufpool/pool/buf-pool-private.h"
#include "fuzz-model.h"
#include "fuzz-sequence.h"

G_BEGIN_DECLS

#define FUZZ_N_CANCELLABLES 4
#define FUZZ_N_HOLDINGS     48

typedef struct
{
  guint64 n_operations;
  guint64 n_sequences;
  guint64 n_outcomes[FUZZ_GONE + 1]; /* of requests */
  guint64 n_waits;
  guint most_states;
  guint most_overtaken;
} FuzzStatistics;

/* What a sequence holds of the pool: an allocation, and a copy of what has to be in it. */
typedef struct
{
  BufPoolAllocation *allocation; /* NULL: none */
  gsize n_buffers;
  guint n_references;
  gboolean pinned;
  gboolean released;
  GPtrArray *views; /* of GBytes */
  guint8 *expected;
} FuzzHolding;

/* A request in the hands of a thread or of the main loop, and what came of it. */
typedef struct _FuzzPlayer FuzzPlayer;

typedef struct
{
  FuzzPlayer *player;
  BufPool *pool;
  gboolean active; /* from its start until it was looked at */
  gsize n_buffers; /* none: to drain */
  gint64 timeout;
  gint priority;
  gboolean pinned;
  gboolean dropped;
  guint cancellable; /* which; FUZZ_N_CANCELLABLES: none */
  GCancellable *token;
  guint thread_number;
  BufPoolAllocation *allocation;
  FuzzOutcome outcome;
  gint done; /* atomic */
} FuzzRequest;

struct _FuzzPlayer
{
  BufPool *pool;
  FuzzModel *model;
  GMainContext *context;
  guint step;
  const gchar *step_name;
  gsize buffer_size;
  gsize n_buffers;
  gboolean zero_fill;
  gboolean impatient;
  gboolean unlimited;
  gboolean closed;
  GCancellable *cancellables[FUZZ_N_CANCELLABLES];
  FuzzRequest requests[FUZZ_N_REQUESTS]; /* of the threads, then of tasks */
  FuzzHolding holdings[FUZZ_N_HOLDINGS];
  FuzzStatistics *statistics;
};

void fuzz_play (FuzzSequence *sequence, FuzzStatistics *statistics);

void fuzz_fail (FuzzPlayer *self, const gchar *format, ...) G_GNUC_PRINTF (2, 3) G_GNUC_NORETURN;
#define fuzz_check(player, condition)                                                              \
  G_STMT_START                                                                                     \
  {                                                                                                \
    if (!(condition))                                                                              \
      fuzz_fail (player, "%s: not true: %s", G_STRLOC, #condition);                                \
  }                                                                                                \
  G_STMT_END

/* fuzz-compare.c */
void fuzz_fail_with_states (FuzzPlayer *self, const gchar *what) G_GNUC_NORETURN;
void fuzz_settle (FuzzPlayer *self);

/* fuzz-request.c */
FuzzOutcome fuzz_outcome_from_error (FuzzPlayer *self, const GError *error);
void fuzz_request_begin (FuzzPlayer *self, guint slot);
void fuzz_request_run_here (FuzzPlayer *self, guint slot);
void fuzz_wait (FuzzPlayer *self, gboolean arrived_only);

/* fuzz-holding.c */
FuzzHolding *fuzz_holding_add (FuzzPlayer *self,
                               BufPoolAllocation *allocation,
                               gsize n_buffers,
                               gboolean pinned);
FuzzHolding *fuzz_holding_find (FuzzPlayer *self, guint target);
gboolean fuzz_holding_has_room (FuzzPlayer *self);
void fuzz_holding_step (FuzzPlayer *self, FuzzHolding *holding, const FuzzStep *step);
void fuzz_holding_drop (FuzzPlayer *self, FuzzHolding *holding);

G_END_DECLS
