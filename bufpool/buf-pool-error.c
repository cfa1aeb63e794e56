/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "buf-pool-error.h"

/* The error domain. */

/**
 * buf_pool_error_quark:
 *
 * The domain of the errors of a pool and of its allocations, for %BUF_POOL_ERROR.
 *
 * Returns: the quark of the domain
 *
 * Since: 1.0
 */
GQuark
buf_pool_error_quark (void)
{
  return g_quark_from_static_string ("buf-pool-error-quark");
}
