/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _Team Team;

/* The work of each thread of a team: @member counts from 0. */
typedef void (*TeamFunc) (Team *team, guint member, gpointer data);

/* Runs @n_members threads, pinned to processors in turn, which start together. Returns the
 * nanoseconds from the first start to the last end. */
gint64 team_run (guint n_members, TeamFunc func, gpointer data);

/* The same, but makes team_is_over() return TRUE after a time. */
gint64 team_run_for (guint n_members, guint microseconds, TeamFunc func, gpointer data);

gboolean team_is_over (Team *self);

/* Ends the team now. */
void team_end (Team *self);

G_END_DECLS
