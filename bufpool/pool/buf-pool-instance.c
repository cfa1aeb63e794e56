/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "pool/buf-pool-private.h"

/*
 * References on a pool that the library holds, and not the program.
 *
 * The last reference on a pool may be one of these: a task has one, and GObject takes one while it
 * notifies. The thread that drops it need not know of the pool: a consumer may have a plain
 * allocation and no reference, since the pool outlives its allocations. It must not wait for its
 * own allocation. So the library drops its references here, and nowhere else: with no lock held,
 * not while the thread is inside, and without touching the pool afterwards. The thread is marked
 * meanwhile, and buf_pool_dispose() sees the mark.
 */

gpointer buf_pool_class;

static _Thread_local BufPool *dropped; /* by the library, in this thread, at this moment */

void
buf_pool_drop_library_reference (gpointer self)
{
  BufPool *outer = dropped; /* a weak notify may drop another one */

  dropped = self;
  g_object_unref (self);
  dropped = outer;
}

gboolean
buf_pool_is_dropped_by_library (BufPool *self)
{
  return dropped == self;
}

/* A handler may drop the reference that the caller relies on. */
void
buf_pool_notify (BufPool *self, const gchar *property)
{
  g_object_ref (self);
  g_object_notify (G_OBJECT (self), property);
  buf_pool_drop_library_reference (self);
}
