/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef void (*MachineFunc) (gpointer data, const gchar *what, const gchar *text);

/* What the figures depend on: processor, kernel, compiler, libraries. */
void machine_describe (MachineFunc tell, gpointer data);

guint machine_get_n_processors (void);

/* Restricts the calling thread to one processor, if possible. */
void machine_pin_thread (guint processor);

G_END_DECLS
