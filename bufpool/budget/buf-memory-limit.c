/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <unistd.h>
#endif

#include "budget/buf-budget-private.h"
#include "budget/buf-memory-limit-private.h"
#include "debug/buf-number-private.h"

/*
 * The memory limit of this process: the smallest limit of its control groups, and the memory of the
 * machine.
 *
 * A limit applies to a group and to all groups below it, so the files of all groups from the group
 * of the process up to the root count. In a container, the path in /proc/self/cgroup may not exist,
 * because the root of the mounted hierarchy is a group further down. Missing files are skipped, and
 * the root of the mount is always read.
 */

/* Reads a number from a file. "max", an unreadable file, and anything that is not a number mean no
 * limit. */
static guint64
read_number (const gchar *directory, const gchar *name)
{
  g_autofree gchar *path = g_build_filename (directory, name, NULL);
  g_autofree gchar *content = NULL;
  guint64 number = G_MAXUINT64;

  if (!g_file_get_contents (path, &content, NULL, NULL))
    return G_MAXUINT64;

  buf_number_parse (g_strchomp (content), G_MAXUINT64, &number);
  return number;
}

/* Returns the smallest limit of the group at @path, below @mount, and of the groups above it. */
static guint64
read_groups (const gchar *mount, const gchar *path, const gchar *name)
{
  g_autofree gchar *rest = g_strdup (path);
  guint64 limit = read_number (mount, name);
  gchar *slash;

  while ((slash = strrchr (rest, '/')) != NULL)
    {
      g_autofree gchar *directory = g_build_filename (mount, rest, NULL);

      if (slash[1] != '\0')
        limit = MIN (limit, read_number (directory, name));
      *slash = '\0';
    }
  return limit;
}

static gboolean
has_controller (const gchar *controllers, const gchar *name)
{
  g_auto (GStrv) names = g_strsplit (controllers, ",", -1);

  return g_strv_contains ((const gchar *const *) names, name);
}

/* Evaluates a line of /proc/self/cgroup, such as "0::/user.slice" (version 2) or
 * "4:memory:/user.slice". */
static guint64
read_line (const gchar *mount, const gchar *line)
{
  g_auto (GStrv) fields = g_strsplit (line, ":", 3);
  g_autofree gchar *unified = g_build_filename (mount, "unified", NULL);
  g_autofree gchar *memory = g_build_filename (mount, "memory", NULL);

  if (g_strv_length (fields) != 3)
    return G_MAXUINT64;
  if (fields[1][0] == '\0')
    return MIN (read_groups (mount, fields[2], "memory.max"),
                read_groups (unified, fields[2], "memory.max"));
  if (has_controller (fields[1], "memory"))
    return read_groups (memory, fields[2], "memory.limit_in_bytes");
  return G_MAXUINT64;
}

/* Returns the limit according to the files below @root, on a machine with @machine bytes of
 * memory. */
guint64
buf_memory_limit_read (const gchar *root, guint64 machine)
{
  g_autofree gchar *mount = g_build_filename (root, "sys", "fs", "cgroup", NULL);
  g_autofree gchar *groups = g_build_filename (root, "proc", "self", "cgroup", NULL);
  g_autofree gchar *content = NULL;
  g_auto (GStrv) lines = NULL;
  guint64 limit = machine;

  /* Without /proc, only the root of the mount is known. */
  if (!g_file_get_contents (groups, &content, NULL, NULL))
    content = g_strdup ("0::/\n1:memory:/\n");

  lines = g_strsplit (content, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    limit = MIN (limit, read_line (mount, lines[i]));
  return MIN (limit, BUF_BUDGET_UNLIMITED);
}

/* Returns G_MAXUINT64 if the size is unknown. */
static guint64
get_machine_memory (void)
{
#if defined(G_OS_WIN32)
  MEMORYSTATUSEX status = { .dwLength = sizeof status };

  if (GlobalMemoryStatusEx (&status))
    return status.ullTotalPhys;
#elif defined(_SC_PHYS_PAGES) && defined(_SC_PAGESIZE)
  long n_pages = sysconf (_SC_PHYS_PAGES);
  long page_size = sysconf (_SC_PAGESIZE);

  if (n_pages > 0 && page_size > 0)
    return (guint64) n_pages * (guint64) page_size;
#endif
  return G_MAXUINT64;
}

/**
 * buf_get_memory_limit:
 *
 * Gets the amount of memory that this process may use: the smallest limit of its control groups
 * (version 1 and 2), or the memory of the machine if that is less. The result is at most
 * %BUF_POOL_UNLIMITED.
 *
 * Use a fraction of it for a budget that fits large machines, small machines and containers:
 *
 * ```c
 * BufBudget *total = buf_budget_new (buf_get_memory_limit () / 4);
 * ```
 *
 * The function reads some small files each time that you call it. Other processes may use a part of
 * the memory. This function can be called from any thread.
 *
 * Returns: the limit, in bytes
 *
 * Since: 1.0
 */
gsize
buf_get_memory_limit (void)
{
  return buf_budget_to_size (buf_memory_limit_read ("/", get_machine_memory ()));
}
