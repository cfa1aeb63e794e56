/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "buf-pool-error.h"

/**
 * SECTION:buf-pool-error
 * @Title: Errors
 * @Short_description: what can go wrong
 *
 * The errors of a pool and of its allocations have a domain of their own. Waiting that ends without
 * a result, because it was cancelled, has lasted too long, or was not wanted at all, is reported as
 * elsewhere in GIO: with %G_IO_ERROR_CANCELLED, %G_IO_ERROR_TIMED_OUT and %G_IO_ERROR_WOULD_BLOCK.
 *
 * When several errors apply, the first of these is reported: cancelled, invalid configuration,
 * invalid count, too large, closed.
 */

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
