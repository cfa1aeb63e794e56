/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The environment has no effect on a program that runs with more privileges than its user has. This
 * program copies itself, lets the kernel give the copies such privileges, and runs them as another
 * user, in an environment that would make an ordinary copy print debugging information. */

#define _GNU_SOURCE /* for ST_NOEXEC */

#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "debug/buf-debug-private.h"
#include "memory/buf-biased-lock-private.h"
#include "pool/buf-pool-private.h"
#include "testing.h"

/* A user and a group without privileges on all systems. */
#define NOBODY 65534

/* The output of a copy that ignores the environment. */
#define NO_EFFECT "debug 0, drain 5000 ms, stall 10000 ms, biased 0\n"

static const gchar *own_path;

/* LeakSanitizer cannot examine a process with more privileges, and cannot be disabled by a variable
 * there. */
int __lsan_is_turned_off (void);

int
__lsan_is_turned_off (void)
{
  return 1;
}

/* Whether a lock becomes biased when it is first used. */
static gboolean
is_biased_early (void)
{
  static BufBiasedLock lock;

  buf_biased_lock_choose ();
  buf_lock_owner_register ();
  buf_biased_lock_init_held (&lock);
  buf_biased_lock_open (&lock);
  g_assert_true (buf_biased_lock_try (&lock));
  buf_biased_lock_unlock (&lock);
  return atomic_load (&lock.state) != BUF_LOCK_OPEN;
}

/* Runs in the copies: a correct program that still has a block when it ends. */
static int
run_victim (void)
{
  static BufPoolAllocation *volatile kept;
  BufPool *pool = test_pool_new (4096, 4);

  kept = test_allocate (pool, 1);
  g_print ("secure %lu\n", getauxval (AT_SECURE));
  g_print ("debug %d, drain %" G_GUINT64_FORMAT " ms, stall %" G_GINT64_FORMAT " ms, biased %d\n",
           (int) buf_debug_get_flags (),
           buf_debug_get_milliseconds ("BUFPOOL_DRAIN_WARNING", 5000),
           pool->memory->semaphore.tree->stall.time / 1000,
           is_biased_early ());
  return kept == NULL;
}

/* What "setcap cap_chown=ep" sets. */
static gboolean
set_capability (const gchar *path)
{
  struct vfs_cap_data capability = { 0 };

  capability.magic_etc = GUINT32_TO_LE (VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE);
  capability.data[0].permitted = GUINT32_TO_LE (1u << CAP_CHOWN);
  return setxattr (path, "security.capability", &capability, XATTR_CAPS_SZ_2, 0) == 0;
}

/* As root: gives a file to root, with the privileges in @kind. Not for users who run such a
 * copy. */
static int
run_installer (const gchar *kind, const gchar *path)
{
  mode_t mode = g_str_equal (kind, "setuid") ? 04755 : g_str_equal (kind, "setgid") ? 02755 : 0755;

  if (getauxval (AT_SECURE) != 0)
    return 1;
  if (chown (path, 0, 0) != 0 || chmod (path, mode) != 0)
    return 1;
  return g_str_equal (kind, "capability") && !set_capability (path);
}

/* Directly, or with sudo. */
static gboolean
install (const gchar *kind, const gchar *path)
{
  const gchar *argv[] = { "sudo", "-n", own_path, "--install", kind, path, NULL };
  int status;

  if (geteuid () == 0)
    return run_installer (kind, path) == 0;
  return g_spawn_sync (NULL,
                       (gchar **) argv,
                       NULL,
                       G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL |
                           G_SPAWN_STDERR_TO_DEV_NULL,
                       NULL,
                       NULL,
                       NULL,
                       NULL,
                       &status,
                       NULL) &&
         g_spawn_check_wait_status (status, NULL);
}

/* A folder in which programs may have more privileges, and that all users can read. */
static gchar *
make_folder (void)
{
  const gchar *const places[] = { g_get_tmp_dir (), "/var/tmp", "/dev/shm", "/run" };

  for (guint i = 0; i < G_N_ELEMENTS (places); i++)
    {
      g_autofree gchar *folder = g_build_filename (places[i], "test-secure-mode-XXXXXX", NULL);
      struct statvfs place;

      if (statvfs (places[i], &place) == 0 && (place.f_flag & (ST_NOSUID | ST_NOEXEC)) == 0 &&
          g_mkdtemp_full (folder, 0755) != NULL)
        return g_steal_pointer (&folder);
    }
  return NULL;
}

static void
remove_folder (gchar *folder)
{
  const gchar *const names[] = { "ran", "addr2line", "program" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree gchar *path = g_build_filename (folder, names[i], NULL);

      (void) unlink (path);
    }
  g_assert_cmpint (rmdir (folder), ==, 0);
  g_free (folder);
}

/* A program that a user wants another user to run. */
static void
make_fake_addr2line (const gchar *folder)
{
  g_autofree gchar *path = g_build_filename (folder, "addr2line", NULL);
  g_autofree gchar *mark = g_build_filename (folder, "ran", NULL);
  g_autofree gchar *script = g_strdup_printf ("#!/bin/sh\necho ran >>'%s'\n", mark);

  g_assert_true (g_file_set_contents (path, script, -1, NULL));
  g_assert_cmpint (chmod (path, 0755), ==, 0);
  g_assert_true (g_file_set_contents (mark, "", 0, NULL));
  g_assert_cmpint (chmod (mark, 0666), ==, 0);
}

static gchar *
copy_program (const gchar *folder)
{
  g_autofree gchar *path = g_build_filename (folder, "program", NULL);
  g_autofree gchar *contents = NULL;
  gsize size;

  g_assert_true (g_file_get_contents (own_path, &contents, &size, NULL));
  g_assert_true (
      g_file_set_contents_full (path, contents, size, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
  return g_steal_pointer (&path);
}

static void
become_nobody (gpointer user_data)
{
  if (geteuid () == 0 && (setgroups (0, NULL) != 0 || setgid (NOBODY) != 0 || setuid (NOBODY) != 0))
    _exit (99);
}

/* With every variable that the library reads. */
static gchar **
make_environment (const gchar *folder, int control_fd)
{
  g_autoptr (GStrvBuilder) builder = g_strv_builder_new ();
  g_autofree gchar *search = g_strdup_printf ("PATH=%s:/usr/bin:/bin", folder);
  g_autofree gchar *control = g_strdup_printf ("SYSPROF_CONTROL_FD=%d", control_fd);

  g_strv_builder_add_many (builder,
                           search,
                           control,
                           "SYSPROF_TRACE_FD=2",
                           "BUFPOOL_DEBUG=leaks,waits,fill,guard,exit",
                           "BUFPOOL_DRAIN_WARNING=7",
                           "BUFPOOL_WAIT_THRESHOLD=0",
                           "BUFPOOL_STALL_WARNING=11",
                           "BUFPOOL_BIAS=always",
                           NULL);
  return g_strv_builder_end (builder);
}

/* What a copy has done. */
typedef struct
{
  gboolean installed;
  gboolean passed;
  gchar *out;
  gchar *err;
  gboolean ran_addr2line;
  gboolean asked_sysprof; /* a socket that never answers */
} Run;

static void
run_clear (Run *self)
{
  g_free (self->out);
  g_free (self->err);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Run, run_clear)

static void
run_as_nobody (Run *self, const gchar *folder, const gchar *path)
{
  const gchar *const argv[] = { path, "--victim", NULL };
  g_auto (GStrv) environment = NULL;
  g_autoptr (GError) error = NULL;
  int sockets[2], status;
  gchar request[16];

  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM, 0, sockets), ==, 0);
  g_assert_cmpint (shutdown (sockets[0], SHUT_WR), ==, 0);
  environment = make_environment (folder, sockets[1]);
  (void) g_spawn_sync (NULL,
                       (gchar **) argv,
                       environment,
                       G_SPAWN_LEAVE_DESCRIPTORS_OPEN,
                       become_nobody,
                       NULL,
                       &self->out,
                       &self->err,
                       &status,
                       &error);
  g_assert_no_error (error);
  self->passed = status == 0;
  self->asked_sysprof = recv (sockets[0], request, sizeof request, MSG_DONTWAIT) > 0;
  (void) close (sockets[0]);
  (void) close (sockets[1]);
}

static gboolean
has_run_addr2line (const gchar *folder)
{
  g_autofree gchar *mark = g_build_filename (folder, "ran", NULL);
  struct stat status;

  g_assert_cmpint (stat (mark, &status), ==, 0);
  return status.st_size > 0;
}

/* Makes a copy, runs it, and removes everything. */
static void
run_copy (Run *self, const gchar *folder, const gchar *kind)
{
  g_autofree gchar *program = copy_program (folder);

  make_fake_addr2line (folder);
  self->installed = kind == NULL || install (kind, program);
  if (!self->installed)
    return;

  run_as_nobody (self, folder, program);
  self->ran_addr2line = has_run_addr2line (folder);
}

static void
assert_passed (Run *self)
{
  if (!self->passed)
    g_error ("%s", self->err);
}

static void
test_ordinary (void)
{
  gchar *folder = make_folder ();
  g_auto (Run) run = { 0 };

  g_test_summary ("An ordinary program obeys its environment");

  if (folder == NULL)
    g_error ("There is no folder for the program");
  run_copy (&run, folder, NULL);
  remove_folder (folder);

  assert_passed (&run);
  g_assert_true (
      g_str_has_prefix (run.out, "secure 0\ndebug 31, drain 7 ms, stall 11 ms, biased "));
  g_assert_nonnull (strstr (run.err, "At exit: "));
  g_assert_true (run.ran_addr2line);
  g_test_message ("%s", run.out); /* not every system can bias locks */
  g_test_message ("%s for Sysprof", run.asked_sysprof ? "built" : "not built");
}

static void
test_secure (gconstpointer kind)
{
  gchar *folder = make_folder ();
  g_auto (Run) run = { 0 };

  g_test_summary ("A program with more privileges than its user ignores the environment");

  if (folder == NULL)
    {
      g_test_skip ("no folder allows programs with more rights than their user has");
      return;
    }
  run_copy (&run, folder, kind);
  remove_folder (folder);
  if (!run.installed)
    {
      g_test_skip ("neither root nor sudo could prepare the program");
      return;
    }
  assert_passed (&run);
  if (g_str_has_prefix (run.out, "secure 0\n"))
    {
      g_test_skip ("this system gives no program more rights than its user has");
      return;
    }

  g_assert_cmpstr (run.out, ==, "secure 1\n" NO_EFFECT);
  /* A coverage build must not write its data here. */
  if (!g_str_has_prefix (run.err, "profiling:"))
    g_assert_cmpstr (run.err, ==, "");
  g_assert_false (run.ran_addr2line);
  g_assert_false (run.asked_sysprof);
}

int
main (int argc, char **argv)
{
  g_autofree gchar *path = g_file_read_link ("/proc/self/exe", NULL);

  own_path = path;
  if (argc == 2 && g_str_equal (argv[1], "--victim"))
    return run_victim ();
  if (argc == 4 && g_str_equal (argv[1], "--install"))
    return run_installer (argv[2], argv[3]);

  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/secure-mode/ordinary", test_ordinary);
  g_test_add_data_func ("/secure-mode/setuid", "setuid", test_secure);
  g_test_add_data_func ("/secure-mode/setgid", "setgid", test_secure);
  g_test_add_data_func ("/secure-mode/capability", "capability", test_secure);
  return g_test_run ();
}
