/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "stream/buf-cancel-watch-private.h"

G_BEGIN_DECLS

/* A source that waits for a stream. */
typedef struct
{
  GSource *source; /* NULL while there is no wait */
  BufCancelWatch *watch;
} BufPoll;

void buf_poll_begin (BufPoll *self,
                     GSource *source,
                     GTask *task,
                     GPollableSourceFunc function,
                     GCancellable *cancellable);
void buf_poll_end (BufPoll *self);
void buf_poll_input (GPollableInputStream *stream, gint descriptor, GCancellable *cancellable);
void buf_poll_output (GPollableOutputStream *stream, gint descriptor, GCancellable *cancellable);

G_END_DECLS
