/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "program.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static gboolean
set_number (const gchar *option, const gchar *value, gpointer data, GError **error)
{
  static const gchar units[] = "KMG";
  const NumberOption *self = data;
  gsize length = strlen (value);
  const gchar *unit = length > 0 ? strchr (units, value[length - 1]) : NULL;
  guint shift = unit != NULL ? 10 * (unit - units + 1) : 0;
  g_autofree gchar *digits = g_strndup (value, length - (unit != NULL));
  guint64 least;

  while (!g_str_equal (self->name, option + strlen ("--")))
    self++;

  least = self->least > 0 ? ((self->least - 1) >> shift) + 1 : 0;
  least = MIN (least, self->most >> shift);
  if (!g_ascii_string_to_unsigned (digits, 10, least, self->most >> shift, self->number, error))
    {
      g_prefix_error (error, "%s %s: ", option, value);
      return FALSE;
    }
  *self->number <<= shift;
  return TRUE;
}

static gboolean
print_version (const gchar *option, const gchar *value, gpointer data, GError **error)
{
  g_print ("%s (libbufpool) %s\n", g_get_prgname (), BUF_VERSION_S);
  exit (EXIT_SUCCESS);
}

static void
add_number (GOptionGroup *group, const NumberOption *number)
{
  const GOptionEntry entries[] = {
    { number->name,
      0,
      0,
      G_OPTION_ARG_CALLBACK,
      set_number,
      number->description,
      number->argument },
    G_OPTION_ENTRY_NULL,
  };

  g_option_group_add_entries (group, entries);
}

static GOptionGroup *
create_group (const NumberOption *numbers, const GOptionEntry *entries)
{
  GOptionGroup *group = g_option_group_new (NULL, NULL, NULL, (gpointer) numbers, NULL);
  const GOptionEntry version[] = {
    { "version",
      0,
      G_OPTION_FLAG_NO_ARG,
      G_OPTION_ARG_CALLBACK,
      print_version,
      "Print the version",
      NULL },
    G_OPTION_ENTRY_NULL,
  };

  for (; numbers->name != NULL; numbers++)
    add_number (group, numbers);
  if (entries != NULL)
    g_option_group_add_entries (group, entries);
  g_option_group_add_entries (group, version);
  return group;
}

gboolean
program_parse (gint *argc,
               gchar ***argv,
               const gchar *parameters,
               const gchar *summary,
               const gchar *description,
               const NumberOption *numbers,
               const GOptionEntry *entries,
               GError **error)
{
  g_autoptr (GOptionContext) context = g_option_context_new (parameters);

  setlocale (LC_ALL, "");
  g_option_context_set_main_group (context, create_group (numbers, entries));
  g_option_context_set_summary (context, summary);
  g_option_context_set_description (context, description);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (parameters != NULL || *argc == 1)
    return TRUE;

  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "“%s” is not an option", (*argv)[1]);
  return FALSE;
}

BufPool *
program_create_pool (gsize buffer_size, guint64 max_memory, gsize n_buffers, GError **error)
{
  g_autoptr (BufPool) pool = buf_pool_new (buffer_size, max_memory, error);
  g_autoptr (BufPoolAllocation) first = NULL;

  if (pool != NULL)
    first = buf_pool_try_allocate (pool, n_buffers, error);
  return first != NULL ? g_steal_pointer (&pool) : NULL;
}

static void
allow_descriptors (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) != 0)
    return;

  limit.rlim_cur = limit.rlim_max;
  setrlimit (RLIMIT_NOFILE, &limit);
}

GSocket *
program_listen (guint16 port, gint backlog, GError **error)
{
  g_autoptr (GSocket) socket =
      g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, error);
  g_autoptr (GInetAddress) loopback = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);
  g_autoptr (GSocketAddress) address = g_inet_socket_address_new (loopback, port);
  g_autoptr (GSocketAddress) bound = NULL;

  allow_descriptors ();
  if (socket == NULL || !g_socket_bind (socket, address, TRUE, error))
    return NULL;

  g_socket_set_listen_backlog (socket, backlog);
  if (g_socket_listen (socket, error))
    bound = g_socket_get_local_address (socket, error);
  if (bound == NULL)
    return NULL;

  g_print ("Listening on port %u\n",
           g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (bound)));
  return g_steal_pointer (&socket);
}

void
program_warn (const gchar *program, guint n, const gchar *one, const gchar *many)
{
  if (n > 0)
    g_printerr ("%s: WARNING: %u %s\n", program, n, n == 1 ? one : many);
}

static const gchar *
plural_ending (guint64 n)
{
  return n == 1 ? "" : "s";
}

void
program_report (BufPool *pool,
                const gchar *what,
                guint n,
                guint n_failed,
                guint64 n_bytes,
                gsize most_out)
{
  g_autoptr (BufPoolStats) stats = buf_pool_get_stats (pool);

  g_print ("%u %s%s (%u failed), %" G_GUINT64_FORMAT " byte%s, at most %" G_GSIZE_FORMAT
           " of %" G_GSIZE_FORMAT " bytes out, %" G_GUINT64_FORMAT
           " request%s waited, %" G_GUINT64_FORMAT " used a cached block, %" G_GSIZE_FORMAT
           " bytes cached\n",
           n,
           what,
           plural_ending (n),
           n_failed,
           n_bytes,
           plural_ending (n_bytes),
           most_out,
           buf_pool_get_max_memory (pool),
           stats->n_waits,
           plural_ending (stats->n_waits),
           stats->n_hits,
           buf_pool_get_cached_memory (pool));
}
