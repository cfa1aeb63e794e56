/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* One state of the model, and where the rules lead from it. */

#pragma once

#include "fuzz-model.h"

G_BEGIN_DECLS

typedef struct
{
  guint16 overtaken;
  guint8 slot;
  guint8 woken;
  guint8 late; /* was woken, and is promised nothing any more */
  guint8 cancelled;
} FuzzWaiter;

/* Compared and copied as a whole: what is not used is zero. */
typedef struct
{
  gint64 maximum;
  gint64 free;
  gint64 n_allocations;
  guint8 closed;
  guint8 n_waiters;
  guint8 n_drainers;
  guint8 reserved;
  guint32 hash; /* of all the rest */
  guint8 outcomes[FUZZ_N_REQUESTS];
  FuzzWaiter waiters[FUZZ_N_REQUESTS];
  FuzzWaiter drainers[FUZZ_N_REQUESTS];
} FuzzState;

struct _FuzzModel
{
  gboolean impatient; /* whether threads may be late */
  FuzzRequestKind kinds[FUZZ_N_REQUESTS];
  GArray *states;
};

/* What the rules do in one section. */
FuzzOutcome fuzz_rules_begin (FuzzModel *self, FuzzState *state, const FuzzRequestKind *kind);
void fuzz_rules_serve (FuzzModel *self, FuzzState *state);
void fuzz_rules_give_back (FuzzModel *self, FuzzState *state, gint64 bytes);
void fuzz_rules_fail_above (FuzzModel *self, FuzzState *state, gint64 maximum, FuzzOutcome outcome);

/* What may happen by itself. */
void fuzz_rules_let_happen (FuzzModel *self, gboolean settled);

GArray *fuzz_states_new (void);
void fuzz_states_add (GArray *states, const FuzzState *added);

G_END_DECLS
