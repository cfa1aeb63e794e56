/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

/* The pools and budgets that hold bytes of a semaphore. */
typedef struct _BufHolders BufHolders;

BufHolders *buf_holders_new (BufSemaphore *semaphore);
void buf_holders_free (BufHolders *self);
gchar *buf_holders_get_summary (BufHolders *self);
void buf_holders_append_to (BufHolders *self, GString *description);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BufHolders, buf_holders_free)

G_END_DECLS
