/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "pool/buf-pool-private.h"

/*
 * References on a pool that the library holds.
 *
 * The last reference on a pool may belong to the library: a task holds one, and GObject holds one
 * while it notifies. The thread that drops it may not know the pool: a consumer can hold a plain
 * allocation and no reference, because the pool outlives its plain allocations. That thread must
 * not wait for its own allocation. So the library drops its references only here: with no lock
 * held, not while the thread is inside, and without an access to the pool afterwards.
 *
 * The thread is marked during the drop. If plain allocations are outstanding, dispose finds the
 * mark, and takes a reference instead of waiting. A new thread gets this reference, drops it, and
 * waits as any owner does. Nothing else could end the pool. The release of the last allocation
 * cannot: the end of a GObject runs user code, such as destroy notifies of
 * g_object_set_data_full(), and a release may happen anywhere, under any lock.
 *
 * The new thread gets the reference only after g_object_unref() has returned. Until then,
 * g_object_unref() has not decided whether its own reference is the last. If another thread dropped
 * the new reference immediately, it would become the last one.
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
    g_warning ("A pool leaks because no thread could be created to wait for its allocations: %s",
               error->message);
}

void
buf_pool_drop_library_reference (gpointer self)
{
  LibraryDrop drop = { .pool = self };
  LibraryDrop *outer = current_drop; /* a weak notify may drop another reference */

  current_drop = &drop;
  g_object_unref (self);
  current_drop = outer;

  if (drop.kept)
    hand_over (self);
}

/* Called by dispose when plain allocations are outstanding. Returns whether another thread will
 * wait for them. */
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
 * Called at the end of dispose. Other threads may have taken references in the meantime. Then
 * g_object_unref() only drops its own reference. Before GLib 2.80, it accesses the pool again, to
 * dispatch the frozen notifications, although another thread may have dropped the last reference.
 * So the pool keeps a reference, which the dispatch of a notification drops.
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

/* On return, the pool may be gone. */
void
buf_pool_drop_after_dispatch (BufPool *self)
{
  for (guint n = atomic_exchange (&self->n_until_dispatch, 0); n > 0; n--)
    buf_pool_drop_library_reference (self);
}

/* A handler may drop the reference that the caller depends on. */
void
buf_pool_notify (BufPool *self, const gchar *property)
{
  g_object_ref (self);
  g_object_notify (G_OBJECT (self), property);
  buf_pool_drop_library_reference (self);
}
