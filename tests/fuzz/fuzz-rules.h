/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* One state of the model, and the states to which the rules lead from it. */

#pragma once

#include "fuzz-model.h"

G_BEGIN_DECLS

typedef struct
{
  guint16 overtaken;
  guint8 slot;
  guint8 woken;
  guint8 late; /* was woken, and is no longer promised anything */
  guint8 cancelled;
} FuzzWaiter;

typedef struct
{
  gint64 maximum;
  gint64 free;
  gint64 reserved;
  gint64 n_allocations;
  gint32 max_waiting; /* negative: any number */
  guint32 closed;
} FuzzLevel;

/* Compared and copied as a whole, so unused bytes are zero. */
typedef struct
{
  FuzzLevel levels[FUZZ_N_LEVELS];
  gint64 taken[FUZZ_N_REQUESTS]; /* of the requests that were granted */
  guint8 n_waiters;
  guint8 n_drainers;
  guint8 reserved[2];
  guint32 hash; /* of everything else */
  guint8 outcomes[FUZZ_N_REQUESTS];
  FuzzWaiter waiters[FUZZ_N_REQUESTS];
  FuzzWaiter drainers[FUZZ_N_REQUESTS];
  guint8 padding[4];
} FuzzState;

struct _FuzzModel
{
  guint n_levels;
  gint parents[FUZZ_N_LEVELS];
  gboolean impatient; /* whether threads can be late */
  gboolean uncounted; /* whether overtakings are not counted */

  gint64 kept[FUZZ_N_LEVELS]; /* the most that was cached during this step */
  guint32 choices;            /* see fuzz-choices.c */
  guint n_choices;
  guint n_chosen;
  gboolean is_first_choice;

  FuzzRequestKind kinds[FUZZ_N_REQUESTS];
  GArray *states;
};

/* fuzz-model.c */
typedef gboolean (*FuzzSectionFunc) (FuzzModel *self, FuzzState *state, gpointer data);
gboolean fuzz_model_run_section (FuzzModel *self, FuzzSectionFunc func, gpointer data);

/* fuzz-choices.c */
void fuzz_choices_begin (FuzzModel *self);
gboolean fuzz_choices_next (FuzzModel *self);
gboolean fuzz_choices_choose (FuzzModel *self);
#define FUZZ_FOR_EACH_CHOICE(self) for (fuzz_choices_begin (self); fuzz_choices_next (self);)

/* fuzz-rules.c: what the rules do in one section. */
gboolean fuzz_rules_is_below (FuzzModel *self, gint level, gint top);
guint fuzz_rules_count_waiters (FuzzModel *self, const FuzzState *state, gint level);
gint fuzz_rules_get_oldest (const FuzzState *state);
gboolean fuzz_rules_take (FuzzModel *self,
                          FuzzState *state,
                          gint waiter,
                          const FuzzRequestKind *kind,
                          gint64 *taken);
gboolean fuzz_rules_bypass (FuzzModel *self, FuzzState *state, const FuzzRequestKind *kind);
gboolean
fuzz_rules_is_too_large (FuzzModel *self, const FuzzState *state, const FuzzRequestKind *kind);
void fuzz_rules_finish_waiter (FuzzModel *self, FuzzState *state, guint i, FuzzOutcome outcome);
void fuzz_rules_finish_drainer (FuzzState *state, guint i, FuzzOutcome outcome);
FuzzOutcome
fuzz_rules_begin (FuzzModel *self, FuzzState *state, const FuzzRequestKind *kind, gint64 *taken);
gboolean fuzz_rules_is_overloaded (FuzzModel *self, const FuzzState *state, gint level);
gboolean fuzz_rules_misses_kept (FuzzModel *self, const FuzzState *state, gint waiter);
void fuzz_rules_serve (FuzzModel *self, FuzzState *state);
gboolean fuzz_rules_has_to_serve (FuzzModel *self, const FuzzState *state);
void fuzz_rules_give_back (FuzzModel *self,
                           FuzzState *state,
                           gint level,
                           gint64 bytes,
                           guint n_allocations);
void fuzz_rules_fail_impossible (FuzzModel *self, FuzzState *state);

/* fuzz-moves.c: events that can happen at any moment. */
void fuzz_rules_let_happen (FuzzModel *self, gboolean settled);
GArray *fuzz_states_new (void);
void fuzz_states_add (GArray *states, const FuzzState *added);

G_END_DECLS
