/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gio/gio.h>

#include "budget/buf-cancel-link-private.h"

G_BEGIN_DECLS

typedef struct _BufPendingTask BufPendingTask;

/* Called in the context of the task after its request is settled. Makes the result. */
typedef void (*BufPendingTaskFunc) (BufPendingTask *self, BufOutcome outcome);

/* A task whose request waits in a queue. Subtypes begin with this structure. */
struct _BufPendingTask
{
  BufWaiter waiter;
  GTask *task;
  BufPendingTaskFunc deliver;
  BufPendingTaskFunc clear; /* may be NULL; clears what a subtype adds */
  GSource *deliver_source;
  BufCancelLink *link; /* only if there is a cancellable or a timeout */
};

void buf_pending_task_init (BufPendingTask *self,
                            GTask *task,
                            const BufWant *want,
                            BufPendingTaskFunc deliver);
void buf_pending_task_wait (BufPendingTask *self, BufSemaphore *semaphore, gint64 timeout_us);

G_END_DECLS
