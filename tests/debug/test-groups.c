/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Allocations of one thread from the same place are reported as one group. */

#include <string.h>

#include "debug/buf-debug-groups-private.h"
#include "testing.h"

/* The addresses in the call stacks of this test. */
static gchar here[2];

/* A stack for each number, from its bits; the lowest bit is the innermost frame. */
static BufDebugOrigin
make_origin (guint number, guint thread_id, gint64 since)
{
  BufDebugOrigin origin = { .since = since, .thread_id = thread_id, .thread = "test" };

  origin.stack.n_frames = 20;
  for (guint i = 0; i < origin.stack.n_frames; i++)
    origin.stack.frames[i] = &here[number >> i & 1];
  return origin;
}

static gchar *
describe (BufDebugGroups *groups)
{
  GString *description = g_string_new (NULL);

  buf_debug_groups_append_to (groups, description);
  return g_string_free (description, FALSE);
}

/* Not strstr(), because AddressSanitizer makes it check the whole text each time. */
static guint
count (const gchar *description, const gchar *what)
{
  guint n = 0;

  for (; *description != '\0'; description++)
    n += *description == *what && strncmp (description, what, strlen (what)) == 0;
  return n;
}

static void
test_many (void)
{
  g_autoptr (GHashTable) groups = buf_debug_groups_new ();
  g_autofree gchar *description = NULL;
  guint n = test_scale (100000);

  g_test_summary ("With as many places as allocations, the time is still proportional");

  for (guint i = 0; i < n; i++)
    {
      const BufDebugOrigin origin = make_origin (i, 1, 0);

      buf_debug_groups_add (groups, &origin, 16);
    }
  description = describe (groups);
  g_assert_cmpuint (count (description, "the oldest"), ==, n);
}

static void
test_threads (void)
{
  g_autoptr (GHashTable) groups = buf_debug_groups_new ();
  g_autofree gchar *description = NULL;

  g_test_summary ("The same place in another thread is another group");

  for (guint i = 0; i < 6; i++)
    {
      const BufDebugOrigin origin = make_origin (7, i % 2, 0);

      buf_debug_groups_add (groups, &origin, 16);
    }
  description = describe (groups);
  g_assert_cmpuint (count (description, "  3 allocations (48 bytes) by thread 0 "), ==, 1);
  g_assert_cmpuint (count (description, "  3 allocations (48 bytes) by thread 1 "), ==, 1);
}

static void
test_order (void)
{
  g_autoptr (GHashTable) groups = buf_debug_groups_new ();
  g_autofree gchar *description = NULL;
  gint64 now = g_get_monotonic_time ();

  g_test_summary (
      "Groups are ordered by bytes, then by age; a group is as old as its oldest allocation");

  for (guint i = 1; i <= 5; i++)
    {
      const BufDebugOrigin young = make_origin (i, i, now - 1000000);
      const BufDebugOrigin old = make_origin (i, i, now - 1000000 * (gint64) i * 100);

      buf_debug_groups_add (groups, &young, i == 2 ? 100 : 10);
      buf_debug_groups_add (groups, &old, 10);
    }
  description = describe (groups);
  g_assert_true (g_pattern_match_simple ("*by thread 2 \"test\", the oldest 200.*"
                                         "*by thread 5 \"test\", the oldest 500.*"
                                         "*by thread 4 \"test\", the oldest 400.*"
                                         "*by thread 3 \"test\", the oldest 300.*"
                                         "*by thread 1 \"test\", the oldest 100.*",
                                         description));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/groups/many", test_many);
  g_test_add_func ("/groups/threads", test_threads);
  g_test_add_func ("/groups/order", test_order);
  return g_test_run ();
}
