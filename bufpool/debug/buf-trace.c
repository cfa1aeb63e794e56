/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <sysprof-capture.h>
#include <unistd.h>

#include "debug/buf-debug-private.h"
#include "debug/buf-trace-private.h"
#include "debug/buf-words-private.h"

/*
 * What Sysprof shows: each wait as a mark, and a graph of the outstanding memory of each pool.
 *
 * Sysprof announces a recording in the environment of the program. So the library checks the
 * environment first, once for each pool. If it asked the collector, each thread would allocate
 * memory for it, and in secure mode the collector must not be asked at all.
 */

#define GROUP "BufPool"

/*
 * Identifiers of counters have 24 bits. sysprof_collector_request_counters() uses the lowest bits
 * of the process ID for the upper 16 bits, and counts in the lower 8. But each thread, and each
 * library with its own copy of the collector, such as GIO, counts from the beginning. So this
 * library counts from the end, in all threads together. When the identifiers run out, the next pool
 * reuses the first one.
 */
#define N_IDS      256
#define N_COUNTERS 192

/* atomic; the number of counters */
static gint n_counters = 0;

static guint
new_counter_id (void)
{
  const guint n = (guint) g_atomic_int_add (&n_counters, 1) % N_COUNTERS;

  return (guint) (getpid () & 0xffff) * N_IDS + N_IDS - 1 - n;
}

/* Returns 0 if there is no recording. */
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

/* Times are in monotonic microseconds. */
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
