/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The memory limit of the process, from simulated trees of files and from the real one. */

#include <glib/gstdio.h>

#include "budget/buf-memory-limit-private.h"
#include "testing.h"

#define MACHINE (G_GUINT64_CONSTANT (8) << 30)

/* Removes a directory that has only directories and files. */
static void
remove_tree (const gchar *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const gchar *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree gchar *child = g_build_filename (path, name, NULL);

      remove_tree (child);
    }
  g_assert_cmpint (g_remove (path), ==, 0);
}

typedef struct
{
  const gchar *name;
  const gchar *summary;
  const gchar *files[12]; /* Paths, each followed by the content. */
  guint64 limit;
} Case;

static const Case cases[] = {
  { "nothing", "Without any file, the limit is the memory of the machine", { NULL }, MACHINE },
  { "v2",
    "Version 2: the smallest limit from the group of the process up to the root",
    { "proc/self/cgroup",
      "0::/a/b\n",
      "sys/fs/cgroup/a/b/memory.max",
      "max\n",
      "sys/fs/cgroup/a/memory.max",
      "1000000\n" },
    1000000 },
  { "v2-inner",
    "An inner group may have the smaller limit",
    { "proc/self/cgroup",
      "0::/a/b\n",
      "sys/fs/cgroup/a/b/memory.max",
      "500\n",
      "sys/fs/cgroup/a/memory.max",
      "1000000\n" },
    500 },
  { "v2-container",
    "In a container, the root of the mount has a limit, and the path does not exist",
    { "proc/self/cgroup", "0::/docker/abc\n", "sys/fs/cgroup/memory.max", "123456\n" },
    123456 },
  { "v2-root",
    "In a group namespace, the path is the root",
    { "proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "123456\n" },
    123456 },
  { "v1",
    "Version 1: the controller has a separate hierarchy",
    { "proc/self/cgroup",
      "5:cpu,cpuacct:/x\n4:memory:/a/b\n0::/y\n",
      "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
      "9223372036854771712\n",
      "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
      "777\n" },
    777 },
  { "v1-container",
    "The same in a container",
    { "proc/self/cgroup",
      "4:memory:/docker/abc\n",
      "sys/fs/cgroup/memory/memory.limit_in_bytes",
      "888\n" },
    888 },
  { "v1-others",
    "The limits of other controllers do not count",
    { "proc/self/cgroup", "4:pids:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1\n" },
    MACHINE },
  { "hybrid",
    "With both versions, the smaller limit counts",
    { "proc/self/cgroup",
      "4:memory:/a\n0::/b\n",
      "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
      "2000\n",
      "sys/fs/cgroup/unified/b/memory.max",
      "1000\n" },
    1000 },
  { "no-proc",
    "Without /proc, the root of the mount counts",
    { "sys/fs/cgroup/memory.max", "4242\n" },
    4242 },
  { "garbage",
    "A value that is not a number means no limit",
    { "proc/self/cgroup",
      "nonsense\n\n0:/a\n0::/a\n",
      "sys/fs/cgroup/a/memory.max",
      "-5\n",
      "sys/fs/cgroup/memory.max",
      "12 apples\n" },
    MACHINE },
  { "more-than-the-machine",
    "A limit above the memory of the machine means no limit",
    { "proc/self/cgroup", "0::/a\n", "sys/fs/cgroup/a/memory.max", "99999999999999\n" },
    MACHINE },
};

static void
make_file (const gchar *root, const gchar *name, const gchar *content)
{
  g_autofree gchar *path = g_build_filename (root, name, NULL);
  g_autofree gchar *directory = g_path_get_dirname (path);
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (g_mkdir_with_parents (directory, 0700), ==, 0);
  g_file_set_contents (path, content, -1, &error);
  g_assert_no_error (error);
}

static void
test_case (gconstpointer data)
{
  const Case *self = data;
  g_autofree gchar *root = g_dir_make_tmp ("bufpool-limit-XXXXXX", NULL);

  g_test_summary (self->summary);

  for (guint i = 0; self->files[i] != NULL; i += 2)
    make_file (root, self->files[i], self->files[i + 1]);
  g_assert_cmpuint (buf_memory_limit_read (root, MACHINE), ==, self->limit);
  remove_tree (root);
}

static void
test_real (void)
{
  g_test_summary ("The real limit is between 1 MiB and BUF_POOL_UNLIMITED");

  g_assert_cmpuint (buf_get_memory_limit (), >, 1 << 20);
  g_assert_cmpuint (buf_get_memory_limit (), <=, BUF_POOL_UNLIMITED);
  g_assert_cmpuint (buf_memory_limit_read ("/does/not/exist", G_MAXUINT64),
                    ==,
                    G_GUINT64_CONSTANT (9007199254740991));
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree gchar *path = g_strdup_printf ("/memory-limit/%s", cases[i].name);

      g_test_add_data_func (path, &cases[i], test_case);
    }
  g_test_add_func ("/memory-limit/real", test_real);
  return g_test_run ();
}
