/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Measures subjects side by side: runs all of them in turn, several times, so that other load on
 * the machine affects all of them alike. Prints each figure with its median, minimum and
 * maximum, or writes it as JSON with all samples. It does not judge: with --quick, it only
 * checks that everything still works.
 *
 * A figure has a case ("2 threads"), a subject ("malloc"), and a quantity ("time") with its
 * unit. */

typedef struct _Harness Harness;

/* Does its work once, and records one or more figures. */
typedef void (*HarnessFunc) (Harness *harness, gpointer data);

Harness *harness_new (int argc, char **argv, const gchar *program);
int harness_finish (Harness *self);

gboolean harness_is_quick (Harness *self);
guint harness_choose (Harness *self, guint full, guint quick);
gboolean harness_wants (Harness *self, const gchar *subject);
void harness_set_runs (Harness *self, guint n_runs);

/* A fact about the machine or about a library that is measured. */
void harness_describe (Harness *self, const gchar *what, const gchar *text);

void harness_add (Harness *self,
                  const gchar *name,
                  const gchar *subject,
                  HarnessFunc func,
                  gpointer data,
                  GDestroyNotify destroy);

/* Runs the next subject in a separate process, a new one each time, and ends it after @seconds. A
 * subject that does not finish is counted, and is not a failure. So a subject that hangs does no
 * harm, and no subject inherits a heap or threads from the previous one. */
void harness_isolate_next (Harness *self, guint seconds);

/* Measures the subjects that were added, and removes them. */
void harness_measure (Harness *self);

/* Only within a HarnessFunc. */
void harness_record (Harness *self, const gchar *quantity, const gchar *unit, double value);

gint64 harness_get_nanoseconds (void);

G_END_DECLS
