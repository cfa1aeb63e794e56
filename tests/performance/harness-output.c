/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "harness-private.h"

static int
compare_doubles (gconstpointer a, gconstpointer b)
{
  double x = *(const double *) a;
  double y = *(const double *) b;

  return (x > y) - (x < y);
}

static double
get_median (const double *sorted, guint n)
{
  return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static void
print_string (const gchar *text)
{
  printf ("\"");
  for (; *text != '\0'; text++)
    if (*text == '"' || *text == '\\')
      printf ("\\%c", *text);
    else if ((guchar) *text < ' ')
      printf ("\\u%04x", *text);
    else
      printf ("%c", *text);
  printf ("\"");
}

static void
print_member (const gchar *key, const gchar *text)
{
  print_string (key);
  printf (": ");
  print_string (text);
}

static void
print_number (const gchar *before, double value)
{
  gchar text[G_ASCII_DTOSTR_BUF_SIZE];

  printf ("%s%s", before, g_ascii_formatd (text, sizeof text, "%.6g", value));
}

static void
print_figure_as_json (Figure *figure)
{
  g_autoptr (GArray) sorted = g_array_copy (figure->samples);
  const double *values = (gpointer) sorted->data;

  g_array_sort (sorted, compare_doubles);
  printf ("    {");
  print_member ("case", figure->name);
  printf (", ");
  print_member ("subject", figure->subject);
  printf (", ");
  print_member ("quantity", figure->quantity);
  printf (", ");
  print_member ("unit", figure->unit);
  print_number (",\n     \"median\": ", get_median (values, sorted->len));
  print_number (", \"minimum\": ", values[0]);
  print_number (", \"maximum\": ", values[sorted->len - 1]);
  for (guint i = 0; i < figure->samples->len; i++)
    print_number (i == 0 ? ",\n     \"samples\": [" : ", ",
                  g_array_index (figure->samples, double, i));
  printf ("]}");
}

void
harness_print_json (Harness *self)
{
  printf ("{\n  ");
  print_member ("program", self->program);
  printf (",\n  \"quick\": %s,\n  \"runs\": %d", self->quick ? "true" : "false", self->n_runs);

  for (guint i = 0; i < self->descriptions->len; i++)
    {
      Description *description = &g_array_index (self->descriptions, Description, i);

      printf (i == 0 ? ",\n  \"machine\": {\n    " : ",\n    ");
      print_member (description->what, description->text);
    }
  printf ("\n  },\n  \"unfinished\": [");
  for (guint i = 0; i < self->unfinished->len; i++)
    {
      Entry *entry = self->unfinished->pdata[i];

      printf (i == 0 ? "\n    {" : ",\n    {");
      print_member ("case", entry->name);
      printf (", ");
      print_member ("subject", entry->subject);
      printf (", \"times\": %u, \"seconds\": %u}", entry->n_unfinished, entry->limit);
    }
  printf ("],\n  \"figures\": [\n");
  for (guint i = 0; i < self->figures->len; i++)
    {
      print_figure_as_json (self->figures->pdata[i]);
      printf (i + 1 < self->figures->len ? ",\n" : "\n");
    }
  printf ("  ]\n}\n");
}

void
harness_print_table (Harness *self)
{
  for (guint i = 0; i < self->figures->len; i++)
    {
      Figure *figure = self->figures->pdata[i];
      g_autoptr (GArray) sorted = g_array_copy (figure->samples);
      const double *values = (gpointer) sorted->data;

      g_array_sort (sorted, compare_doubles);
      printf ("%-40s %-24s %-20s %12.5g %s (%.5g to %.5g)\n",
              figure->name,
              figure->subject,
              figure->quantity,
              get_median (values, sorted->len),
              figure->unit,
              values[0],
              values[sorted->len - 1]);
    }
}
