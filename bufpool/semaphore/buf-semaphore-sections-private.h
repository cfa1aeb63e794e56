/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

/* Parts that the sections of a semaphore share. Only the files of the semaphore use them. */

static inline gint64
buf_stripe_get_count (gint64 word)
{
  return word >> BUF_STRIPE_CREDIT_BITS;
}

/* Returns whether @self is @other or a descendant of it. */
static inline gboolean
buf_semaphore_is_below (const BufSemaphore *self, const BufSemaphore *other)
{
  while (self != NULL && self != other)
    self = self->parent;
  return self != NULL;
}

static inline BufSemaphore *
buf_semaphore_get_root (BufSemaphore *self)
{
  while (self->parent != NULL)
    self = self->parent;
  return self;
}

void buf_semaphore_number_thread (void);
guint buf_semaphore_choose_n_stripes (guint n_processors);
void buf_semaphore_set_geometry_locked (BufSemaphore *self);
void buf_semaphore_collect_locked (BufSemaphore *self, BufStripe *stripe, gint64 mark);
void buf_semaphore_revoke_locked (BufSemaphore *self);
void buf_semaphore_restore_locked (BufSemaphore *self);
void buf_semaphore_settle_locked (BufSemaphore *self, BufStripe *stripe);
void buf_semaphore_settle_path_locked (BufSemaphore *self);

void buf_semaphore_join_tree (BufSemaphore *self,
                              BufSemaphore *parent,
                              void (*look) (BufWatch *watch, gint64 now));
void buf_semaphore_leave_tree (BufSemaphore *self);
BufSemaphore *buf_semaphore_take_path_credit (BufSemaphore *self, gint64 bytes);
BufSemaphore *buf_semaphore_give_path_credit (BufSemaphore *self, gint64 bytes);

void buf_semaphore_reopen_below_locked (BufSemaphore *self);
void buf_semaphore_reopen_if_live_locked (BufSemaphore *self);
BufSemaphore *buf_semaphore_ask_next_locked (BufSemaphore *top, gboolean wanted, guint64 round);
guint64 buf_semaphore_begin_round (BufSemaphore *self);
BufSemaphore *buf_semaphore_ask_next (BufSemaphore *top, gboolean wanted, guint64 round);
void buf_semaphore_ask_and_leave (BufSemaphore *self, gboolean complete);
void buf_semaphore_reclaim (BufSemaphore *self, gboolean complete);
void buf_semaphore_reclaim_locked (BufSemaphore *self);

gint64 buf_semaphore_get_outstanding_locked (BufSemaphore *self);
void buf_semaphore_get_refusal_locked (BufSemaphore *self,
                                       const BufWant *want,
                                       const BufWaiter *waiter,
                                       BufOutcome outcome,
                                       BufSemaphoreFigures *figures);

gboolean buf_semaphore_ends_locked (BufSemaphore *self);

gboolean buf_semaphore_is_drained_locked (BufSemaphore *self, gint64 pinned);
gboolean buf_semaphore_is_wanted_locked (BufSemaphore *self);
void buf_semaphore_begin_quiet_time_locked (BufTree *tree, gint64 now);
void buf_semaphore_set_watch_locked (BufTree *tree);
void buf_semaphore_revoke_level_locked (BufLevel *level);
void buf_semaphore_claim_level_locked (BufLevel *level, BufWant *want);
void buf_semaphore_free_idle (BufSemaphore *self);
void buf_semaphore_unlock (BufSemaphore *self);
void buf_semaphore_reclaim_later_locked (BufTree *tree);
void buf_semaphore_restore_if_unwanted_locked (BufSemaphore *self);
void buf_semaphore_serve_and_unlock (BufSemaphore *self);
void buf_semaphore_look (BufWatch *watch, gint64 now);

G_END_DECLS
