/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "buf-pool-error.h"

/* The error domain. */

GQuark
buf_pool_error_quark (void)
{
  return g_quark_from_static_string ("buf-pool-error-quark");
}
