/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The plugin that test-plugin.c loads and unloads: it uses the library, and its host does not. */

#include <bufpool/bufpool.h>
#include <gmodule.h>

G_MODULE_EXPORT gboolean work (void);

/* Returns whether each kind of request works. */
G_MODULE_EXPORT gboolean
work (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BufPool) pool = buf_pool_new (4096, 4096, &error);
  g_autoptr (BufPoolAllocation) allocation = NULL;

  g_assert_no_error (error);
  allocation = buf_pool_allocate (pool, 1, NULL, &error);
  g_assert_no_error (error);
  g_assert_nonnull (allocation);
  g_assert_null (buf_pool_allocate_timeout (pool, 1, 1, NULL, &error));
  return allocation != NULL && g_error_matches (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
}
