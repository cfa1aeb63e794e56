/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define BUF_DEBUG_MAX_FRAMES 24

/* The call stack of a thread. */
typedef struct
{
  guint n_frames;
  gpointer frames[BUF_DEBUG_MAX_FRAMES]; /* return addresses, innermost first */
} BufDebugStack;

/* The names of addresses: a table of strings, so that each address is looked up once. */
typedef GHashTable BufDebugNames;

void buf_debug_stack_capture (BufDebugStack *self);
guint buf_debug_stack_hash (const BufDebugStack *self, guint n_skipped);
gboolean buf_debug_stack_equal (const BufDebugStack *self,
                                guint n_skipped,
                                const BufDebugStack *other,
                                guint other_n_skipped);
guint buf_debug_stack_count_own (const BufDebugStack *self, BufDebugNames *names);
void buf_debug_stack_add_names (const BufDebugStack *self, BufDebugNames *names);
void
buf_debug_stack_append_to (const BufDebugStack *self, BufDebugNames *names, GString *description);

BufDebugNames *buf_debug_names_new (void);
void buf_debug_names_look_up (BufDebugNames *self);

G_END_DECLS
