/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

typedef struct _BufCancelWatch BufCancelWatch;

/* Called in the thread that cancels. It must not run user code. */
typedef void (*BufCancelWatchFunc) (gpointer data);

BufCancelWatch *
buf_cancel_watch_new (GCancellable *cancellable, BufCancelWatchFunc function, gpointer data);
void buf_cancel_watch_lock (BufCancelWatch *self);
void buf_cancel_watch_unlock (BufCancelWatch *self);
void buf_cancel_watch_end (BufCancelWatch *self);

G_END_DECLS
