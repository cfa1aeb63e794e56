/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the example programs share: their options, and their pool. */

#pragma once

#include <bufpool/bufpool.h>

G_BEGIN_DECLS

#define EXIT_USAGE 2

/* An option whose value is a number, optionally followed by K, M or G. */
typedef struct
{
  const gchar *name;
  guint64 *number;
  guint64 least;
  guint64 most;
  const gchar *description;
  const gchar *argument;
} NumberOption;

/* Sets the locale, parses the command line, and handles --version. The last element of @numbers has
 * no name. Without @parameters, the program has only options. */
gboolean program_parse (gint *argc,
                        gchar ***argv,
                        const gchar *parameters,
                        const gchar *summary,
                        const gchar *description,
                        const NumberOption *numbers,
                        const GOptionEntry *entries,
                        GError **error);

/* Fails now, not with the first request, if the pool can never grant @n_buffers. */
BufPool *
program_create_pool (gsize buffer_size, guint64 max_memory, gsize n_buffers, GError **error);

/* Listens on the loopback address, with as many file descriptors as possible, and prints the port.
 */
GSocket *program_listen (guint16 port, gint backlog, GError **error);

/* Prints a warning about @n things, if there are any: @one if it is one thing, @many otherwise. */
void program_warn (const gchar *program, guint n, const gchar *one, const gchar *many);

/* Prints what a server has done with its pool. @what is one of its tasks, @most_out is the most
 * memory that was allocated at once. */
void program_report (BufPool *pool,
                     const gchar *what,
                     guint n,
                     guint n_failed,
                     guint64 n_bytes,
                     gsize most_out);

G_END_DECLS
