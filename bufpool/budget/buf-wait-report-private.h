/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

/* What is logged about a wait. */
typedef struct _BufWaitReport BufWaitReport;

BufWaitReport *buf_wait_report_new (const BufSemaphore *semaphore, const BufWaiter *waiter);
void buf_wait_report_log (BufWaitReport *self);

G_END_DECLS
