/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "pool/buf-pool-private.h"

/*
 * References on a pool that the library holds, and not the program.
 *
 * The last reference on a pool may be one of these: a task has one, and GObject takes one while it
 * notifies. The thread that drops it need not know of the pool: a consumer may have a plain
 * allocation and no reference, since the pool outlives its plain allocations. It must not wait for
 * its own allocation. So the library drops its references here, and nowhere else: with no lock
 * held, not while the thread is inside, and without touching the pool afterwards.
 *
 * The thread is marked meanwhile. If something plain is outstanding, dispose finds the mark and
 * takes a reference instead of waiting. That is handed to a thread which is created for this
 * purpose, drops it, and waits as any owner does. Nobody else could end the pool: not the release
 * of the last allocation, since the end of a GObject runs code of the program, such as what was set
 * with g_object_set_data_full(), and a release may come from anywhere, under any lock.
 *
 * It is handed over only when g_object_unref() has returned. Until then that has not decided
 * whether its own reference is the last, and a thread that drops the other one at once would make
 * it so.
 */

gpointer buf_pool_class;

typedef struct
{
  BufPool *pool;
  gboolean kept; /* dispose has taken a reference */
} LibraryDrop;

static _Thread_local LibraryDrop *current_drop;

static gpointer
drop_in_thread (gpointer data)
{
  g_object_unref (data);
  return NULL;
}

static void
hand_over (BufPool *self)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GThread) thread = g_thread_try_new ("bufpool-end", drop_in_thread, self, &error);

  if (thread == NULL)
    g_warning ("A pool leaks, since there is no thread to wait for its allocations: %s",
               error->message);
}

void
buf_pool_drop_library_reference (gpointer self)
{
  LibraryDrop drop = { .pool = self };
  LibraryDrop *outer = current_drop; /* a weak notify may drop another one */

  current_drop = &drop;
  g_object_unref (self);
  current_drop = outer;

  if (drop.kept)
    hand_over (self);
}

/* Called by dispose, when something plain is outstanding. Returns whether another thread will wait
 * for it. */
gboolean
buf_pool_leave_to_thread (BufPool *self)
{
  if (current_drop == NULL || current_drop->pool != self)
    return FALSE;

  if (!current_drop->kept)
    g_object_ref (self);
  current_drop->kept = TRUE;
  return TRUE;
}

/*
 * Called at the end of dispose. Others may have taken references meanwhile. Then g_object_unref()
 * only drops its own, and before GLib 2.80 it goes on to touch the pool: it dispatches the
 * notifications that it has held back. Another thread may have dropped the last reference by then.
 * So the pool is kept until that is over: it is the dispatch of a notification that drops this
 * reference.
 */
void
buf_pool_keep_until_dispatch (BufPool *self)
{
  if (g_atomic_int_get (&self->parent_instance.ref_count) == 1)
    return;

  g_object_ref (self);
  atomic_fetch_add (&self->n_until_dispatch, 1);
  g_object_notify (G_OBJECT (self), "closed");
}

/* After this the pool may be gone. */
void
buf_pool_drop_after_dispatch (BufPool *self)
{
  for (guint n = atomic_exchange (&self->n_until_dispatch, 0); n > 0; n--)
    buf_pool_drop_library_reference (self);
}

/* A handler may drop the reference that the caller relies on. */
void
buf_pool_notify (BufPool *self, const gchar *property)
{
  g_object_ref (self);
  g_object_notify (G_OBJECT (self), property);
  buf_pool_drop_library_reference (self);
}
