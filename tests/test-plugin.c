/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A host that uses GLib but not this library, and a plugin that uses it. */

#include <gio/gio.h>
#include <gmodule.h>

static gboolean
load_work_and_unload (const gchar *path)
{
  GModule *plugin = g_module_open (path, G_MODULE_BIND_LOCAL);
  gboolean (*work) (void);
  gpointer symbol;
  gboolean result;

  if (plugin == NULL)
    g_error ("%s", g_module_error ());

  g_assert_true (g_module_symbol (plugin, "work", &symbol));
  work = symbol;
  result = work ();
  g_assert_true (g_module_close (plugin));
  return result;
}

static void
test_reload (void)
{
  g_autofree gchar *path = g_test_build_filename (G_TEST_BUILT, PLUGIN, NULL);

  g_test_summary ("A plugin that uses the library can be unloaded and loaded again");

  g_type_ensure (G_TYPE_CANCELLABLE);
  g_assert_cmpuint (g_type_from_name ("BufPool"), ==, G_TYPE_INVALID);
  for (guint i = 0; i < 3; i++)
    g_assert_true (load_work_and_unload (path));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/plugin/reload", test_reload);
  return g_test_run ();
}
