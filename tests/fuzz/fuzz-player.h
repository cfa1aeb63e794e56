/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Plays a sequence with the library and with the model at the same time. */

#pragma once

#include <bufpool/bufpool.h>

#include "bufpool/pool/buf-pool-private.h"
#include "fuzz-model.h"
#include "fuzz-sequence.h"

G_BEGIN_DECLS

/* A burst ends when the model has so many states that a step takes long. */
#define FUZZ_MANY_STATES 100

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

/* What a sequence holds: an allocation and a copy of its expected contents, or a permit. */
typedef struct
{
  BufPoolAllocation *allocation; /* NULL: none */
  BufPermit *permit;             /* NULL: none */
  guint level;
  gsize n_buffers; /* of the allocation */
  gint64 n_bytes;  /* of the permit */
  guint n_references;
  gboolean pinned;
  gboolean released;
  GPtrArray *views; /* of GBytes */
  guint8 *expected;
} FuzzHolding;

/* A request that a thread or the main loop runs, and its result. */
typedef struct _FuzzPlayer FuzzPlayer;

typedef struct
{
  FuzzPlayer *player;
  guint level;
  BufPool *pool;     /* NULL: for a permit of @budget */
  BufBudget *budget; /* NULL: for an allocation of @pool */
  gboolean active;   /* from its start until its outcome is compared */
  gsize n_buffers;   /* 0: a drain */
  gsize max_buffers;
  gint64 n_bytes; /* of the permit */
  gint64 timeout;
  gint priority;
  gboolean pinned;
  gboolean dropped;
  guint cancellable; /* the index; FUZZ_N_CANCELLABLES: none */
  GCancellable *token;
  guint thread_number;
  BufPoolAllocation *allocation;
  BufPermit *permit;
  FuzzOutcome outcome;
  gint done; /* atomic */
} FuzzRequest;

/* A level of the tree: a pool or a budget. */
typedef struct
{
  BufPool *pool;
  BufBudget *budget;
  BufSemaphore *semaphore;
  gint64 initial; /* the first maximum */
  gboolean unlimited;
} FuzzNode;

struct _FuzzPlayer
{
  FuzzNode nodes[FUZZ_N_LEVELS];
  guint n_levels;
  BufTree *tree;
  FuzzModel *model;
  GMainContext *context;
  guint step;
  const gchar *step_name;
  gsize buffer_size;
  gsize n_buffers;
  gboolean zero_fill;
  gboolean impatient;
  gboolean allows_ranges;
  guint alignment;
  GCancellable *cancellables[FUZZ_N_CANCELLABLES];
  FuzzRequest requests[FUZZ_N_REQUESTS]; /* of the threads, followed by those of the tasks */
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

/* fuzz-tree.c */
void fuzz_tree_init (FuzzPlayer *self, const FuzzSequence *sequence, FuzzTree *tree);
void fuzz_tree_clear (FuzzPlayer *self);
guint fuzz_tree_choose (FuzzPlayer *self, const FuzzStep *step, gboolean is_pool);
gboolean fuzz_tree_is_unlimited (FuzzPlayer *self);
void fuzz_tree_get_figures (FuzzPlayer *self, guint level, FuzzLevelFigures *figures);
FuzzBypass fuzz_tree_get_bypass (FuzzPlayer *self, guint level, gint64 bytes);
void fuzz_tree_note_kept (FuzzPlayer *self, gboolean begins);
void fuzz_tree_release (FuzzPlayer *self, guint level, gint64 n_bytes, guint n_allocations);
void fuzz_tree_set_maximum (FuzzPlayer *self, const FuzzStep *step);
void fuzz_tree_set_reserved (FuzzPlayer *self, const FuzzStep *step);
void fuzz_tree_set_max_waiting (FuzzPlayer *self, const FuzzStep *step);
void fuzz_tree_owe (FuzzPlayer *self);

/* fuzz-try.c */
gsize fuzz_choose_n_buffers (FuzzPlayer *self, const FuzzStep *step);
gint64 fuzz_choose_n_bytes (FuzzPlayer *self, const FuzzStep *step, guint level);
void fuzz_try (FuzzPlayer *self, const FuzzStep *step);
void fuzz_churn (FuzzPlayer *self, const FuzzStep *step);
void fuzz_request_absurdly (FuzzPlayer *self, const FuzzStep *step);

/* fuzz-keeper.c */
void fuzz_keeper_hesitate (BufPool *pool);

/* fuzz-request.c */
FuzzOutcome fuzz_outcome_from_error (FuzzPlayer *self, const GError *error);
void fuzz_request_begin (FuzzPlayer *self, guint slot);
void fuzz_request_run_here (FuzzPlayer *self, guint slot);
void fuzz_wait (FuzzPlayer *self, gboolean arrived_only);

/* fuzz-holding.c */
FuzzHolding *fuzz_holding_add (FuzzPlayer *self,
                               guint level,
                               BufPoolAllocation *allocation,
                               gsize n_buffers,
                               gboolean pinned);
FuzzHolding *fuzz_holding_find (FuzzPlayer *self, guint target);
FuzzHolding *fuzz_holding_find_free (FuzzPlayer *self);
gboolean fuzz_holding_has_room (FuzzPlayer *self);
void fuzz_holding_step (FuzzPlayer *self, FuzzHolding *holding, const FuzzStep *step);
void fuzz_holding_drop (FuzzPlayer *self, FuzzHolding *holding);

/* fuzz-permit.c */
void fuzz_permit_add (FuzzPlayer *self, BufPermit *permit, guint level, gint64 n_bytes);
void fuzz_permit_step (FuzzPlayer *self, FuzzHolding *holding, const FuzzStep *step);
void fuzz_permit_drop (FuzzPlayer *self, FuzzHolding *holding);

G_END_DECLS
