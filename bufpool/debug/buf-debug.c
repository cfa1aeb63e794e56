/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <pthread.h>
#include <unistd.h>
#endif

#include "debug/buf-debug-groups-private.h"
#include "debug/buf-debug-private.h"
#include "debug/buf-words-private.h"

/*
 * BUFPOOL_DEBUG: what a program is told about its allocations when it asks.
 *
 * The ledger of a pool has a record of each allocation that is outstanding: who took it, when, and
 * from where. A pool without one of the keys that need it has no ledger, and its allocations have
 * no records; nothing on the fast paths asks.
 *
 * A record begins when the memory is there, and ends before it is freed. Its lock is taken alone,
 * and nothing but the list is touched under it.
 */

/* What fresh memory, freed memory, and the guard behind the buffers are filled with. */
#define FRESH_BYTE 0xCD
#define FREED_BYTE 0xDD
#define GUARD_BYTE 0xFD
#define GUARD_SIZE 64

struct _BufDebugRecord
{
  GList link;            /* LOCK: mutex of the ledger */
  guint8 *data;          /* const */
  gsize size;            /* const; bytes, without the guard */
  gsize n_overwritten;   /* const, once it has ended; bytes of the guard */
  BufDebugOrigin origin; /* LOCK: mutex of the ledger */
};

static const GDebugKey debug_keys[] = {
  { "leaks", BUF_DEBUG_LEAKS }, { "waits", BUF_DEBUG_WAITS }, { "fill", BUF_DEBUG_FILL },
  { "guard", BUF_DEBUG_GUARD }, { "exit", BUF_DEBUG_EXIT },
};

/* As GLib reads its own: names apart by commas, "all", and "help", which lists them. */
BufDebugFlags
buf_debug_get_flags (void)
{
  static gsize initialized;
  static BufDebugFlags flags;

  if (g_once_init_enter (&initialized))
    {
      flags = g_parse_debug_string (buf_debug_get_variable ("BUFPOOL_DEBUG"),
                                    debug_keys,
                                    G_N_ELEMENTS (debug_keys));
      g_once_init_leave (&initialized, 1);
    }
  return flags;
}

/* The number in an environment variable. */
guint64
buf_debug_get_milliseconds (const gchar *variable, guint64 fallback)
{
  const gchar *value = buf_debug_get_variable (variable);
  guint64 milliseconds = fallback;
  g_autoptr (GError) error = NULL;

  if (value != NULL && !g_ascii_string_to_unsigned (value, 10, 0, G_MAXUINT, &milliseconds, &error))
    {
      g_warning ("%s must be a number of milliseconds: %s", variable, error->message);
      return fallback;
    }
  return milliseconds;
}

#ifdef __linux__
static _Thread_local guint own_thread_id; /* asking for it takes a system call */

/* After a fork, in the only thread of the child. */
static void
forget_thread_id (void)
{
  own_thread_id = 0;
}

static guint
ask_for_thread_id (void)
{
  static gsize forgets = 0;

  if (g_once_init_enter (&forgets))
    {
      pthread_atfork (NULL, NULL, forget_thread_id);
      g_once_init_leave (&forgets, 1);
    }
  own_thread_id = gettid ();
  return own_thread_id;
}
#endif

/* As debuggers show it. */
guint
buf_debug_get_thread_id (void)
{
#ifdef __linux__
  return own_thread_id != 0 ? own_thread_id : ask_for_thread_id ();
#else
  return 0;
#endif
}

BufDebugLedger *
buf_debug_ledger_new (void)
{
  BufDebugLedger *self = g_new0 (BufDebugLedger, 1);

  self->flags = buf_debug_get_flags ();
  g_mutex_init (&self->mutex);
  g_queue_init (&self->records);
  return self;
}

void
buf_debug_ledger_free (BufDebugLedger *self)
{
  if (self == NULL)
    return;

  g_assert (g_queue_is_empty (&self->records));
  g_mutex_clear (&self->mutex);
  g_free (self);
}

/* How many bytes are needed behind each allocation. */
gsize
buf_debug_ledger_get_tail (BufDebugLedger *self)
{
  return self->flags & BUF_DEBUG_GUARD ? GUARD_SIZE : 0;
}

/* NULL when there is no memory. */
BufDebugRecord *
buf_debug_record_new (BufDebugLedger *ledger, gsize size)
{
  BufDebugRecord *self = calloc (1, sizeof *self);

  if (self == NULL)
    return NULL;

  self->link.data = self;
  self->size = size;
  self->origin.since = g_get_monotonic_time ();
  self->origin.thread_id = buf_debug_get_thread_id ();
#ifdef __linux__
  pthread_getname_np (pthread_self (), self->origin.thread, sizeof self->origin.thread);
#endif
  if (ledger->flags & (BUF_DEBUG_LEAKS | BUF_DEBUG_GUARD))
    buf_debug_stack_capture (&self->origin.stack);
  return self;
}

void
buf_debug_record_begin (BufDebugRecord *self, BufDebugLedger *ledger, guint8 *data, gboolean fill)
{
  self->data = data;
  if (fill && ledger->flags & BUF_DEBUG_FILL)
    memset (data, FRESH_BYTE, self->size);
  memset (data + self->size, GUARD_BYTE, buf_debug_ledger_get_tail (ledger));

  g_mutex_lock (&ledger->mutex);
  g_queue_push_tail_link (&ledger->records, &self->link);
  g_mutex_unlock (&ledger->mutex);
}

/* The place that counts is where the request began, not where it was delivered. */
void
buf_debug_record_set_origin (BufDebugRecord *self,
                             BufDebugLedger *ledger,
                             const BufDebugStack *origin)
{
  g_mutex_lock (&ledger->mutex);
  self->origin.stack = *origin;
  g_mutex_unlock (&ledger->mutex);
}

/* Appends who has what, the most bytes first. */
void
buf_debug_ledger_describe (BufDebugLedger *self, GString *description)
{
  g_autoptr (GHashTable) groups = buf_debug_groups_new ();

  g_mutex_lock (&self->mutex);
  for (GList *link = self->records.head; link != NULL; link = link->next)
    {
      const BufDebugRecord *record = link->data;

      buf_debug_groups_add (groups, &record->origin, record->size);
    }
  g_mutex_unlock (&self->mutex);

  buf_debug_groups_append_to (groups, description);
}

static gsize
count_overwritten (BufDebugRecord *self, BufDebugLedger *ledger)
{
  gsize n_overwritten = 0;

  for (gsize i = 0; i < buf_debug_ledger_get_tail (ledger); i++)
    if (self->data[self->size + i] != GUARD_BYTE)
      n_overwritten = i + 1;
  return n_overwritten;
}

/* The memory is about to be freed. Returns the record if there is something to complain of when its
 * bytes have gone back: a log writer is code of the program, and may drop the pool. */
BufDebugRecord *
buf_debug_record_end (BufDebugRecord *self, BufDebugLedger *ledger)
{
  self->n_overwritten = count_overwritten (self, ledger);

  g_mutex_lock (&ledger->mutex);
  g_queue_unlink (&ledger->records, &self->link);
  g_mutex_unlock (&ledger->mutex);

  if (ledger->flags & BUF_DEBUG_FILL)
    memset (self->data, FREED_BYTE, self->size);
  if (self->n_overwritten > 0)
    return self;
  free (self);
  return NULL;
}

/* Frees it, too. The ledger and the memory may be gone. */
void
buf_debug_record_complain (BufDebugRecord *self)
{
  g_autoptr (GHashTable) groups = NULL;
  g_autoptr (GString) description = NULL;

  if (G_LIKELY (self == NULL))
    return;

  groups = buf_debug_groups_new ();
  description = g_string_new (NULL);
  buf_debug_groups_add (groups, &self->origin, self->size);
  buf_debug_groups_append_to (groups, description);
  g_critical ("The program wrote up to %" G_GSIZE_FORMAT
              " %s past the end of the allocation at %p, which was made here:\n%s",
              self->n_overwritten,
              buf_words_choose (self->n_overwritten, "byte", "bytes"),
              self->data,
              description->str);
  free (self);
}
