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
#include "debug/buf-number-private.h"
#include "debug/buf-words-private.h"

/*
 * BUFPOOL_DEBUG: information about allocations for debugging.
 *
 * The ledger of a pool has a record of each outstanding allocation: which thread made it, when, and
 * where. A pool that needs no records has no ledger, and the fast paths do not check for one.
 *
 * A record begins when the memory has been allocated, and ends before the memory is freed. No other
 * lock is locked under its lock, which guards only the list.
 */

/* The bytes that fill new memory, freed memory, and the guard after the buffers. */
#define FRESH_BYTE 0xCD
#define FREED_BYTE 0xDD
#define GUARD_BYTE 0xFD
#define GUARD_SIZE 64

struct _BufDebugRecord
{
  GList link;            /* LOCK: mutex of the ledger */
  guint8 *data;          /* const */
  gsize size;            /* const; bytes, without the guard */
  gsize n_overwritten;   /* const after the end of the record; bytes of the guard */
  BufDebugOrigin origin; /* LOCK: mutex of the ledger */
};

static const GDebugKey debug_keys[] = {
  { "leaks", BUF_DEBUG_LEAKS }, { "waits", BUF_DEBUG_WAITS }, { "fill", BUF_DEBUG_FILL },
  { "guard", BUF_DEBUG_GUARD }, { "exit", BUF_DEBUG_EXIT },
};

/* The format is that of GLib's own variables: names separated by commas, "all", or "help", which
 * lists them. */
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

/* Returns the number in an environment variable. */
guint64
buf_debug_get_milliseconds (const gchar *variable, guint64 fallback)
{
  const gchar *value = buf_debug_get_variable (variable);
  guint64 milliseconds = fallback;

  if (value != NULL && !buf_number_parse (value, G_MAXUINT, &milliseconds))
    g_warning ("%s must be a number of milliseconds from 0 to %u, not \"%s\"; the default, "
               "%" G_GUINT64_FORMAT ", is used",
               variable,
               G_MAXUINT,
               value,
               fallback);
  return milliseconds;
}

#ifdef __linux__
static _Thread_local guint own_thread_id; /* cached, because getting it needs a system call */

/* Runs after a fork, in the only thread of the child. */
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

/* The number that debuggers show. */
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

/* Returns how many extra bytes each allocation needs after its buffers. */
gsize
buf_debug_ledger_get_tail (BufDebugLedger *self)
{
  return self->flags & BUF_DEBUG_GUARD ? GUARD_SIZE : 0;
}

/* Returns NULL if there is no memory. */
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

/* Sets where the request began, which matters more than where it was delivered. */
void
buf_debug_record_set_origin (BufDebugRecord *self,
                             BufDebugLedger *ledger,
                             const BufDebugStack *origin)
{
  g_mutex_lock (&ledger->mutex);
  self->origin.stack = *origin;
  g_mutex_unlock (&ledger->mutex);
}

/* Appends a description of the outstanding allocations, with the most bytes first. */
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

/* Appends what to do to get such a description. */
void
buf_debug_append_hint (GString *description)
{
  g_string_append (description,
                   "  Run the program with BUFPOOL_DEBUG=leaks to see where they come from.\n");
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

/* Called before the memory is freed. Returns the record if there is an error to report after the
 * bytes are released: a log writer is user code, and may drop the pool. */
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

/* Also frees the record. The ledger and the memory may be gone. */
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
