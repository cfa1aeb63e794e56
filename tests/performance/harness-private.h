/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdio.h>

#include "harness.h"

G_BEGIN_DECLS

typedef struct
{
  gchar *name;
  gchar *subject;
  HarnessFunc func;
  gpointer data;
  GDestroyNotify destroy;
  guint limit; /* seconds; 0: not isolated */
  guint n_unfinished;
} Entry;

typedef struct
{
  gchar *name;
  gchar *subject;
  gchar *quantity;
  gchar *unit;
  GArray *samples; /* of double */
} Figure;

typedef struct
{
  gchar *what;
  gchar *text;
} Description;

struct _Harness
{
  gchar *program;
  gboolean as_json;
  gboolean quick;
  gint n_runs;
  gchar **only;

  GPtrArray *entries;
  GPtrArray *figures;
  GPtrArray *unfinished; /* of Entry: those that exceeded their time at least once */
  GArray *descriptions;
  guint next_limit;
  guint n_failures;

  Entry *current;
  FILE *to_parent; /* in an isolated process */
};

void harness_print_json (Harness *self);
void harness_print_table (Harness *self);

G_END_DECLS
