/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "debug/buf-debug-private.h"

#ifdef G_OS_UNIX
#include <unistd.h>
#endif
#ifdef HAVE_GETAUXVAL
#include <sys/auxv.h>
#endif

/*
 * The environment: all variables that the library reads are read here.
 *
 * A program that is setuid, setgid or has file capabilities runs with privileges that its user does
 * not have, but in an environment that the user controls. Such a program is in secure mode, and
 * ignores all variables: with BUFPOOL_DEBUG, the library would write to the standard error output,
 * and run an addr2line that the user has put into PATH.
 */

/* Returns whether the program has been in secure mode since it started. */
static gboolean
is_secure (void)
{
#if defined(HAVE_GETAUXVAL)
  return getauxval (AT_SECURE) != 0;
#elif defined(HAVE_ISSETUGID)
  return issetugid () != 0;
#elif defined(G_OS_UNIX)
  /* This system does not report secure mode, so a program that has dropped its privileges is
   * trusted. */
  return getuid () != geteuid () || getgid () != getegid ();
#else
  return FALSE;
#endif
}

/* Returns NULL if the variable is not set, and in secure mode. */
const gchar *
buf_debug_get_variable (const gchar *variable)
{
  return is_secure () ? NULL : g_getenv (variable);
}
