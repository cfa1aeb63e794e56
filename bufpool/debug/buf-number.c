/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "debug/buf-number-private.h"

/*
 * Numbers in the environment and in files of the system.
 *
 * g_ascii_string_to_unsigned() also checks errno. Its first call in a process takes a lock of GLib,
 * and if another thread holds that lock, errno is set, and a valid number is rejected.
 */

/* Parses a decimal number without a sign. Returns FALSE, and does not change @number, if @text is
 * something else or exceeds @most. */
gboolean
buf_number_parse (const gchar *text, guint64 most, guint64 *number)
{
  gchar *end;
  guint64 parsed = g_ascii_strtoull (text, &end, 10);

  /* Too large a number is parsed as the largest one. */
  if (!g_ascii_isdigit (text[0]) || *end != '\0' || parsed > most)
    return FALSE;

  *number = parsed;
  return TRUE;
}
