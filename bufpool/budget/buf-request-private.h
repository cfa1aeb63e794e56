/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gio/gio.h>

#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

/* Functions for the blocking requests of pools and budgets, and for their errors. */

BufOutcome buf_request_wait (BufSemaphore *semaphore,
                             BufWaiter *waiter,
                             gint64 timeout_us,
                             GCancellable *cancellable,
                             BufSemaphoreFigures *figures);

gchar *buf_request_get_title (const BufSemaphore *semaphore, const gchar *article);
void buf_request_set_error (const BufSemaphore *own,
                            const gchar *asked,
                            BufOutcome outcome,
                            const BufSemaphoreFigures *figures,
                            GError **error);

G_END_DECLS
