/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The behavior of pools and budgets, with plain numbers and one list. See fuzz-model.c. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define FUZZ_N_LEVELS      4
#define FUZZ_N_THREADS     4
#define FUZZ_N_TASKS       8
#define FUZZ_N_REQUESTS    (FUZZ_N_THREADS + FUZZ_N_TASKS)
#define FUZZ_MAX_OVERTAKEN 512

typedef enum
{
  FUZZ_NONE,
  FUZZ_PENDING,
  FUZZ_GRANTED,
  FUZZ_TIMED_OUT,
  FUZZ_CANCELLED,
  FUZZ_TOO_LARGE,
  FUZZ_CLOSED,
  FUZZ_OVERLOADED,
  FUZZ_WOULD_BLOCK,
  FUZZ_INVALID_COUNT,
  FUZZ_GIVES_BACK, /* was granted bytes that no caller wants, and has not released them yet */
  FUZZ_GONE,       /* has released them */
} FuzzOutcome;

/* A tree of levels. A parent comes before its children. */
typedef struct
{
  guint n_levels;
  gint parents[FUZZ_N_LEVELS]; /* -1 for the root */
  gint64 maxima[FUZZ_N_LEVELS];
} FuzzTree;

/* How a request may bypass the queue. */
typedef enum
{
  FUZZ_BYPASS_NONE,
  FUZZ_BYPASS_CREDIT, /* the stripes of all its levels are live */
  FUZZ_BYPASS_CACHE,  /* its pool has enough cached bytes */
} FuzzBypass;

/* The constant part of a request. */
typedef struct
{
  gint level;
  gint64 bytes; /* 0: waits until nothing is outstanding */
  gint64 most;  /* the maximum, in steps of @step beyond @bytes */
  gint64 step;
  gint priority;       /* a lower number is more urgent */
  gboolean is_task;    /* is granted its bytes, and never woken */
  gboolean expires;    /* can time out at any moment */
  gboolean is_dropped; /* releases immediately what it is granted */
  FuzzBypass bypass;
} FuzzRequestKind;

typedef struct
{
  gint64 maximum;
  gint64 allocated;
  gint64 available;
  gint64 n_allocations;
  gint64 n_waiting; /* here or below */
  gboolean closed;
} FuzzLevelFigures;

typedef struct
{
  FuzzLevelFigures levels[FUZZ_N_LEVELS];
  guint8 outcomes[FUZZ_N_REQUESTS];
  gint64 taken[FUZZ_N_REQUESTS]; /* of the requests that were granted */
} FuzzFigures;

typedef struct _FuzzModel FuzzModel;

FuzzModel *fuzz_model_new (const FuzzTree *tree, gboolean impatient);
void fuzz_model_free (FuzzModel *self);

void fuzz_model_request (FuzzModel *self, guint slot, const FuzzRequestKind *kind);
void fuzz_model_request_cancelled (FuzzModel *self, guint slot);
gboolean fuzz_model_try (FuzzModel *self, const FuzzRequestKind *kind, FuzzOutcome observed);
void fuzz_model_release (FuzzModel *self, gint level, gint64 bytes, guint n_allocations);
void fuzz_model_cancel (FuzzModel *self, guint slots);
gboolean fuzz_model_have_cancelled (FuzzModel *self);
void fuzz_model_set_maximum (FuzzModel *self, gint level, gint64 maximum);
void fuzz_model_set_reserved (FuzzModel *self, gint level, gint64 reserved);
void fuzz_model_set_max_waiting (FuzzModel *self, gint level, gint max_waiting);
void fuzz_model_owe (FuzzModel *self);
void fuzz_model_close (FuzzModel *self, gint level);
void fuzz_model_forget (FuzzModel *self, guint slot);

void fuzz_model_note_kept (FuzzModel *self, gint level, gint64 kept, gboolean begins);

gboolean fuzz_model_observe (FuzzModel *self, gint level, goffset figure, gint64 value);
gboolean fuzz_model_settle (FuzzModel *self, const FuzzFigures *observed, guint unknown);
gchar *fuzz_model_describe (FuzzModel *self);
guint fuzz_model_get_n_states (FuzzModel *self);
const gchar *fuzz_outcome_get_name (FuzzOutcome outcome);

G_END_DECLS
