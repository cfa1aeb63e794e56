/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "machine.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/utsname.h>

#ifdef __GLIBC__
#include <gnu/libc-version.h>
#define C_LIBRARY gnu_get_libc_version ()
#else
#define C_LIBRARY "unknown"
#endif
#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif
#ifndef COMPILER_FLAGS
#define COMPILER_FLAGS "unknown"
#endif

static cpu_set_t processors; /* const after the first lookup */

static void
look_for_processors (void)
{
  static gsize looked;

  if (!g_once_init_enter (&looked))
    return;

  if (sched_getaffinity (0, sizeof processors, &processors) != 0)
    CPU_ZERO (&processors);
  g_once_init_leave (&looked, 1);
}

guint
machine_get_n_processors (void)
{
  look_for_processors ();
  return MAX (CPU_COUNT (&processors), 1);
}

void
machine_pin_thread (guint processor)
{
  guint wanted = processor % machine_get_n_processors ();
  cpu_set_t one;

  for (guint i = 0; i < CPU_SETSIZE; i++)
    {
      if (!CPU_ISSET (i, &processors) || wanted-- > 0)
        continue;
      CPU_ZERO (&one);
      CPU_SET (i, &one);
      pthread_setaffinity_np (pthread_self (), sizeof one, &one);
      return;
    }
}

static gchar *
get_processor_model (void)
{
  g_autofree gchar *text = NULL;
  g_auto (GStrv) lines = NULL;

  if (!g_file_get_contents ("/proc/cpuinfo", &text, NULL, NULL))
    return g_strdup ("unknown");

  lines = g_strsplit (text, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    if (g_str_has_prefix (lines[i], "model name") && strchr (lines[i], ':') != NULL)
      return g_strdup (g_strstrip (strchr (lines[i], ':') + 1));
  return g_strdup ("unknown");
}

typedef int (
    *JemallocControl) (const char *name, void *old, size_t *size, void *new, size_t new_size);
typedef int (*MimallocVersion) (void);

/* The library of the preloaded malloc(), if any. */
static gchar *
get_allocator (void)
{
  JemallocControl control = (JemallocControl) dlsym (RTLD_DEFAULT, "mallctl");
  MimallocVersion get_version = (MimallocVersion) dlsym (RTLD_DEFAULT, "mi_version");
  const char *version = NULL;
  size_t size = sizeof version;

  if (control != NULL && control ("version", &version, &size, NULL, 0) == 0)
    return g_strdup_printf ("jemalloc %.*s", (int) strcspn (version, "-"), version);
  if (get_version != NULL)
    return g_strdup_printf ("mimalloc %d.%d.%d",
                            get_version () / 100,
                            get_version () / 10 % 10,
                            get_version () % 10);
  return g_strdup ("C library");
}

void
machine_describe (MachineFunc tell, gpointer data)
{
  g_autofree gchar *model = get_processor_model ();
  g_autofree gchar *n_processors = g_strdup_printf ("%u", machine_get_n_processors ());
  g_autofree gchar *allocator = get_allocator ();
  g_autofree gchar *kernel = NULL;
  g_autofree gchar *glib = NULL;
  struct utsname system;

  tell (data, "processor", model);
  tell (data, "processors", n_processors);
  if (uname (&system) == 0)
    {
      kernel = g_strdup_printf ("%s %s %s", system.sysname, system.release, system.machine);
      tell (data, "kernel", kernel);
    }
  tell (data, "compiler", COMPILER);
  tell (data, "compiler flags", COMPILER_FLAGS);
  tell (data, "C library", C_LIBRARY);
  tell (data, "allocator", allocator);
  glib = g_strdup_printf ("%u.%u.%u", glib_major_version, glib_minor_version, glib_micro_version);
  tell (data, "GLib", glib);
}
