/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

/* What the sections of a semaphore are made of. Only its own files use these. */

static inline gint64
buf_stripe_get_count (gint64 word)
{
  return word >> BUF_STRIPE_CREDIT_BITS;
}

guint buf_semaphore_choose_n_stripes (guint n_processors);
void buf_semaphore_set_geometry_locked (BufSemaphore *self);
void buf_semaphore_collect_locked (BufSemaphore *self, BufStripe *stripe, gint64 mark);
void buf_semaphore_revoke_locked (BufSemaphore *self);
void buf_semaphore_restore_locked (BufSemaphore *self);
void buf_semaphore_settle_locked (BufSemaphore *self, BufStripe *stripe);

void buf_semaphore_reclaim (BufSemaphore *self, gboolean complete);
void buf_semaphore_reclaim_locked (BufSemaphore *self);

gboolean buf_semaphore_ends_locked (BufSemaphore *self);

gboolean buf_semaphore_is_drained_locked (BufSemaphore *self, gint64 pinned);
void buf_semaphore_begin_quiet_time_locked (BufSemaphore *self, gint64 now);
void buf_semaphore_set_watch_locked (BufSemaphore *self);
void buf_semaphore_restore_if_unwanted_locked (BufSemaphore *self);
void buf_semaphore_serve_and_unlock (BufSemaphore *self);
void buf_semaphore_look (BufWatch *watch, gint64 now);

G_END_DECLS
