/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "number-option.h"

#include <string.h>

/* Sets the number of the option of this name in @options. */
gboolean
number_option_set (const NumberOption *options,
                   const gchar *name,
                   const gchar *value,
                   GError **error)
{
  static const gchar units[] = "KMG";
  gsize length = strlen (value);
  const gchar *unit = length > 0 ? strchr (units, value[length - 1]) : NULL;
  guint shift = unit != NULL ? 10 * (unit - units + 1) : 0;
  g_autofree gchar *digits = g_strndup (value, length - (unit != NULL));
  guint64 least;

  while (!g_str_equal (options->name, name))
    options++;

  least = options->least > 0 ? ((options->least - 1) >> shift) + 1 : 0;
  least = MIN (least, options->most >> shift);
  if (!g_ascii_string_to_unsigned (digits,
                                   10,
                                   least,
                                   options->most >> shift,
                                   options->number,
                                   error))
    {
      g_prefix_error (error, "%s %s: ", name, value);
      return FALSE;
    }
  *options->number <<= shift;
  return TRUE;
}
