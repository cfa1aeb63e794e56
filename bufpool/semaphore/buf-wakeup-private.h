/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What a thread sleeps on. It is reference counted, because it is signaled without the lock. By
 * then, the thread may have continued. */
typedef struct
{
  gint ref_count;  /* atomic */
  gboolean asleep; /* LOCK: the one that the thread sleeps with; no signal has been under way since
                    * then */
  GCond cond;
} BufWakeup;

/* How many threads one section signals after it has unlocked the lock. Any others are signaled
 * immediately. */
#define BUF_WAKEUPS_MAX 8

typedef struct
{
  BufWakeup *items[BUF_WAKEUPS_MAX];
  guint n;
} BufWakeups;

BufWakeup *buf_wakeup_new (void);
void buf_wakeup_unref (BufWakeup *self);
gboolean buf_wakeup_wait_until (GCond *cond, GMutex *mutex, gint64 deadline);
gboolean buf_wakeup_sleep_locked (BufWakeup *self, GMutex *mutex, gint64 deadline);

void buf_wakeups_add_locked (BufWakeups *self, BufWakeup *wakeup);
void buf_wakeups_add_again_locked (BufWakeups *self, BufWakeup *wakeup);
void buf_wakeups_signal_all (BufWakeups *self);

G_END_DECLS
