/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a pool has to do, told in plain numbers and one list. See fuzz-model.c. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

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
  FUZZ_WOULD_BLOCK,
  FUZZ_INVALID_COUNT,
  FUZZ_GIVES_BACK, /* was granted, and has yet to give it back, since nobody wants it any more */
  FUZZ_GONE,       /* has given it back */
} FuzzOutcome;

/* A request, as far as it does not change. */
typedef struct
{
  gint64 bytes;        /* none: until nothing is outstanding */
  gint priority;       /* a lower number is more urgent */
  gboolean is_task;    /* is granted, and never woken */
  gboolean expires;    /* may time out at any moment */
  gboolean is_dropped; /* whatever it is granted goes back at once */
} FuzzRequestKind;

typedef struct
{
  gint64 maximum;
  gint64 allocated;
  gint64 available;
  gint64 n_allocations;
  gint64 n_waiting;
  gboolean closed;
  guint8 outcomes[FUZZ_N_REQUESTS];
} FuzzFigures;

typedef struct _FuzzModel FuzzModel;

FuzzModel *fuzz_model_new (gint64 maximum, gboolean impatient);
void fuzz_model_free (FuzzModel *self);

void fuzz_model_request (FuzzModel *self, guint slot, const FuzzRequestKind *kind);
void fuzz_model_request_cancelled (FuzzModel *self, guint slot);
gboolean fuzz_model_try (FuzzModel *self, gint64 bytes, FuzzOutcome observed);
void fuzz_model_release (FuzzModel *self, gint64 bytes);
void fuzz_model_cancel (FuzzModel *self, guint slots);
gboolean fuzz_model_have_cancelled (FuzzModel *self);
void fuzz_model_set_maximum (FuzzModel *self, gint64 maximum);
void fuzz_model_close (FuzzModel *self);
void fuzz_model_forget (FuzzModel *self, guint slot);

gboolean fuzz_model_observe (FuzzModel *self, goffset figure, gint64 value);
gboolean fuzz_model_settle (FuzzModel *self, const FuzzFigures *observed, guint unknown);
gchar *fuzz_model_describe (FuzzModel *self);
guint fuzz_model_get_n_states (FuzzModel *self);
const gchar *fuzz_outcome_get_name (FuzzOutcome outcome);

G_END_DECLS
