/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "debug/buf-debug-stack-private.h"

G_BEGIN_DECLS

/* The keys of BUFPOOL_DEBUG. */
typedef enum
{
  BUF_DEBUG_LEAKS = 1 << 0,
  BUF_DEBUG_WAITS = 1 << 1,
  BUF_DEBUG_FILL = 1 << 2,
  BUF_DEBUG_GUARD = 1 << 3,
  BUF_DEBUG_EXIT = 1 << 4,
} BufDebugFlags;

#define BUF_DEBUG_NEEDS_LEDGER (BUF_DEBUG_LEAKS | BUF_DEBUG_FILL | BUF_DEBUG_GUARD)

typedef struct _BufDebugRecord BufDebugRecord;

/* The outstanding allocations of one pool. */
typedef struct
{
  BufDebugFlags flags; /* const */
  GMutex mutex;
  GQueue records; /* LOCK: mutex */
} BufDebugLedger;

const gchar *buf_debug_get_variable (const gchar *variable);
BufDebugFlags buf_debug_get_flags (void);
guint64 buf_debug_get_milliseconds (const gchar *variable, guint64 fallback);
guint buf_debug_get_thread_id (void);

BufDebugLedger *buf_debug_ledger_new (void);
void buf_debug_ledger_free (BufDebugLedger *self);
gsize buf_debug_ledger_get_tail (BufDebugLedger *self);
void buf_debug_ledger_describe (BufDebugLedger *self, GString *description);
void buf_debug_append_hint (GString *description);

BufDebugRecord *buf_debug_record_new (BufDebugLedger *ledger, gsize size);
void
buf_debug_record_begin (BufDebugRecord *self, BufDebugLedger *ledger, guint8 *data, gboolean fill);
BufDebugRecord *buf_debug_record_end (BufDebugRecord *self, BufDebugLedger *ledger);
void buf_debug_record_complain (BufDebugRecord *self);
void buf_debug_record_set_origin (BufDebugRecord *self,
                                  BufDebugLedger *ledger,
                                  const BufDebugStack *origin);

G_END_DECLS
