/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

#ifdef HAVE_SYSTEMTAP
#include <sys/sdt.h>
#endif

G_BEGIN_DECLS

/*
 * What external tools can observe: probes for perf, bpftrace and SystemTap, and marks and counters
 * for Sysprof. Without these tools, a probe is one instruction that does nothing.
 *
 *   wait__begin (waiter, bytes)                    no bytes: until nothing is outstanding
 *   wait__end (waiter, bytes, outcome, microseconds)
 *   grant (waiter, bytes, free)                    by a releaser
 *   revoke (semaphore, free)
 *   close (semaphore)
 *   drain (semaphore, outstanding bytes)           without cached blocks
 *   evict (semaphore, bytes, blocks)               cached blocks that are freed
 *   trim (semaphore, bytes to keep, bytes freed)
 */
#ifdef HAVE_SYSTEMTAP
#define BUF_PROBE1(name, a)          DTRACE_PROBE1 (bufpool, name, a)
#define BUF_PROBE2(name, a, b)       DTRACE_PROBE2 (bufpool, name, a, b)
#define BUF_PROBE3(name, a, b, c)    DTRACE_PROBE3 (bufpool, name, a, b, c)
#define BUF_PROBE4(name, a, b, c, d) DTRACE_PROBE4 (bufpool, name, a, b, c, d)
#else
#define BUF_PROBE1(name, a)          ((void) 0)
#define BUF_PROBE2(name, a, b)       ((void) 0)
#define BUF_PROBE3(name, a, b, c)    ((void) 0)
#define BUF_PROBE4(name, a, b, c, d) ((void) 0)
#endif

#ifdef HAVE_SYSPROF
guint buf_trace_add_counter (const gchar *pool_name);
void buf_trace_set_counter (guint counter, gint64 bytes);
void buf_trace_wait (const gchar *pool_name, gint64 since, gint64 waited, gint64 bytes);
#else
static inline guint
buf_trace_add_counter (const gchar *pool_name)
{
  return 0;
}

static inline void
buf_trace_set_counter (guint counter, gint64 bytes)
{
}

static inline void
buf_trace_wait (const gchar *pool_name, gint64 since, gint64 waited, gint64 bytes)
{
}
#endif

G_END_DECLS
