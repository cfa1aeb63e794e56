/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _BufWatch BufWatch;

/* Called in the watcher thread, with no lock held, when the watch is due. Sets when it is due
 * next. */
typedef void (*BufWatchFunc) (BufWatch *watch, gint64 now);

/* Something to look at later, unless it is over by then. */
struct _BufWatch
{
  GList link;        /* LOCK: the watcher's; in its list, unless @due is G_MAXINT64 */
  BufWatchFunc look; /* const */
  gint64 due;        /* LOCK: the watcher's and the owner's to write, either to read */
};

gboolean buf_watcher_start (void);

void buf_watch_init (BufWatch *self, BufWatchFunc look);
void buf_watch_set_due_locked (BufWatch *self, gint64 due);
void buf_watch_end (BufWatch *self);

G_END_DECLS
