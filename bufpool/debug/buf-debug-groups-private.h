/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "debug/buf-debug-stack-private.h"

G_BEGIN_DECLS

/* Which thread requested an allocation, when, and where. */
typedef struct
{
  gint64 since; /* monotonic microseconds */
  guint thread_id;
  gchar thread[16]; /* its name */
  BufDebugStack stack;
} BufDebugOrigin;

/* Allocations, grouped by thread and place. */
typedef GHashTable BufDebugGroups;

BufDebugGroups *buf_debug_groups_new (void);
void buf_debug_groups_add (BufDebugGroups *self, const BufDebugOrigin *origin, gsize bytes);
void buf_debug_groups_append_to (BufDebugGroups *self, GString *description);

G_END_DECLS
