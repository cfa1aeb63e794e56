/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* An option whose value is a number, optionally followed by K, M or G. */
typedef struct
{
  const gchar *name;
  guint64 *number;
  guint64 least;
  guint64 most;
} NumberOption;

gboolean number_option_set (const NumberOption *options,
                            const gchar *name,
                            const gchar *value,
                            GError **error);

G_END_DECLS
