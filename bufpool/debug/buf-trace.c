/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <sysprof-capture.h>
#include <unistd.h>

#include "debug/buf-debug-private.h"
#include "debug/buf-trace-private.h"
#include "debug/buf-words-private.h"

/*
 * What Sysprof shows: each wait as a span, and for each pool a graph of the memory that is out.
 *
 * Sysprof tells a program by its environment that it is recorded. So the library looks there first,
 * once for each pool: to ask the collector would make each thread allocate memory for it, and in
 * secure mode the collector must not be asked at all.
 */

#define GROUP "BufPool"

/*
 * Identifiers of counters have 24 bits. sysprof_collector_request_counters() takes the lowest bits
 * of the process's number as the upper 16, and counts in the lower 8; but each thread, and each
 * library that has Sysprof's collector linked into it, as GIO has, counts from the beginning. So
 * ours count from the end, in all threads together. The pool after the last one has the first
 * one's.
 */
#define N_IDS      256
#define N_COUNTERS 192

/* How many there are; atomic. */
static gint n_counters = 0;

static guint
new_counter_id (void)
{
  const guint n = (guint) g_atomic_int_add (&n_counters, 1) % N_COUNTERS;

  return (guint) (getpid () & 0xffff) * N_IDS + N_IDS - 1 - n;
}

/* 0 when nobody records. */
guint
buf_trace_add_counter (const gchar *pool_name)
{
  SysprofCaptureCounter counter = { .type = SYSPROF_CAPTURE_COUNTER_INT64 };

  if (buf_debug_get_variable ("SYSPROF_CONTROL_FD") == NULL &&
      buf_debug_get_variable ("SYSPROF_TRACE_FD") == NULL)
    return 0;
  if (!sysprof_collector_is_active ())
    return 0;

  counter.id = new_counter_id ();
  g_strlcpy (counter.category, GROUP, sizeof counter.category);
  g_strlcpy (counter.name, pool_name != NULL ? pool_name : "a pool", sizeof counter.name);
  g_strlcpy (counter.description, "Bytes allocated", sizeof counter.description);
  sysprof_collector_define_counters (&counter, 1);
  return counter.id;
}

void
buf_trace_set_counter (guint counter, gint64 bytes)
{
  SysprofCaptureCounterValue value = { .v64 = bytes };

  sysprof_collector_set_counters (&counter, &value, 1);
}

/* Times are monotonic microseconds. */
void
buf_trace_wait (const gchar *pool_name, gint64 since, gint64 waited, gint64 bytes)
{
  sysprof_collector_mark_printf (since * 1000,
                                 waited * 1000,
                                 GROUP,
                                 bytes > 0 ? "wait" : "drain",
                                 "%s: %" G_GINT64_FORMAT " %s",
                                 pool_name != NULL ? pool_name : "a pool",
                                 bytes,
                                 buf_words_choose (bytes, "byte", "bytes"));
}
