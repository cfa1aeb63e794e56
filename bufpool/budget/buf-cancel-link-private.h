/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gio/gio.h>

#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

typedef struct _BufCancelLink BufCancelLink;

BufCancelLink *buf_cancel_link_new (GCancellable *cancellable);
BufCancelLink *buf_cancel_link_ref (BufCancelLink *self);
void buf_cancel_link_unref (BufCancelLink *self);

void buf_cancel_link_begin (BufCancelLink *self, BufSemaphore *semaphore, BufWaiter *waiter);
void buf_cancel_link_set_timeout (BufCancelLink *self, gint64 timeout_us, GMainContext *context);
void buf_cancel_link_end (BufCancelLink *self);

G_END_DECLS
