/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "buf-pool-error.h"

/**
 * SECTION:buf-pool-error
 * @Title: Errors
 * @Short_description: error codes of the library
 *
 * Pools, budgets, allocations and permits have an error domain of their own. Requests that do not
 * wait, time out or are cancelled fail with the usual GIO errors: %G_IO_ERROR_WOULD_BLOCK,
 * %G_IO_ERROR_TIMED_OUT and %G_IO_ERROR_CANCELLED.
 *
 * If several errors apply, the first of these is reported: cancelled, invalid configuration,
 * invalid count, too large, closed.
 */

/**
 * buf_pool_error_quark:
 *
 * Gets the error domain of %BUF_POOL_ERROR.
 *
 * Returns: the error domain
 *
 * Since: 1.0
 */
GQuark
buf_pool_error_quark (void)
{
  return g_quark_from_static_string ("buf-pool-error-quark");
}
