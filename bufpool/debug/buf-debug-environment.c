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
 * The environment, of which every variable that the library reads is read here.
 *
 * A program that is setuid, setgid or has file capabilities runs with rights that its user does not
 * have, but in an environment that its user has made. Such a program is in secure mode. There no
 * variable has an effect: with BUFPOOL_DEBUG the library would write to the standard error output,
 * and run an addr2line that the user has put into PATH.
 */

/* Whether the program is in secure mode, since it was started. */
static gboolean
is_secure (void)
{
#if defined(HAVE_GETAUXVAL)
  return getauxval (AT_SECURE) != 0;
#elif defined(HAVE_ISSETUGID)
  return issetugid () != 0;
#elif defined(G_OS_UNIX)
  /* Such a system does not tell, so a program that has given up its rights is trusted. */
  return getuid () != geteuid () || getgid () != getegid ();
#else
  return FALSE;
#endif
}

/* NULL when it is not set, and in secure mode. */
const gchar *
buf_debug_get_variable (const gchar *variable)
{
  return is_secure () ? NULL : g_getenv (variable);
}
