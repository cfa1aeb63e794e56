/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Messages of the library while requests wait. */

#pragma once

#include <string.h>

#include "pool/buf-pool-private.h"
#include "semaphore/buf-semaphore-sections-private.h"
#include "testing.h"

G_BEGIN_DECLS

static GMutex mutex;
static GCond logged;
static GString *messages; /* LOCK: mutex */
static BufPool *to_drop;  /* LOCK: mutex; dropped by the log writer */

/* On some systems, GIO logs messages, too. */
static inline gboolean
is_of_the_library (const GLogField *fields, gsize n_fields)
{
  for (gsize i = 0; i < n_fields; i++)
    if (g_str_equal (fields[i].key, "GLIB_DOMAIN"))
      return g_str_equal (fields[i].value, "BufPool");
  return FALSE;
}

static inline GLogWriterOutput
collect (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer user_data)
{
  BufPool *dropped = NULL;

  if (!is_of_the_library (fields, n_fields))
    return G_LOG_WRITER_HANDLED;

  g_mutex_lock (&mutex);
  g_string_append_printf (messages, "%s\n", test_get_log_message (fields, n_fields));
  g_cond_broadcast (&logged);
  dropped = g_steal_pointer (&to_drop);
  g_mutex_unlock (&mutex);
  if (dropped != NULL)
    g_object_unref (dropped);
  return G_LOG_WRITER_HANDLED;
}

static inline void
begin_to_collect (void)
{
  messages = g_string_new (NULL);
  g_log_set_writer_func (collect, NULL, NULL);
}

static inline guint
count_locked (const gchar *text)
{
  guint n = 0;

  for (const gchar *at = messages->str; (at = strstr (at, text)) != NULL; at++)
    n++;
  return n;
}

/* If this does not happen, the test times out. */
static inline void
wait_until_logged (const gchar *text, guint n)
{
  g_mutex_lock (&mutex);
  while (count_locked (text) < n)
    g_cond_wait (&logged, &mutex);
  g_mutex_unlock (&mutex);
}

static inline guint
count (const gchar *text)
{
  guint n;

  g_mutex_lock (&mutex);
  n = count_locked (text);
  g_mutex_unlock (&mutex);
  return n;
}

/* Does what the watcher would do at this time. */
static inline void
look_at (BufPool *pool, gint64 now)
{
  buf_semaphore_look (&pool->memory->semaphore.tree->watch, now);
}

G_END_DECLS
