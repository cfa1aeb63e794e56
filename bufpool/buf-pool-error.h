/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#if !defined(BUF_INSIDE) && !defined(BUF_COMPILATION)
#error "Only <bufpool/bufpool.h> can be included directly."
#endif

#include <bufpool/buf-pool-enums.h>
#include <bufpool/buf-version-macros.h>

G_BEGIN_DECLS

/**
 * BUF_POOL_ERROR:
 *
 * The error domain of pools, budgets, allocations and permits. [enum@PoolError] lists the error
 * codes.
 *
 * Since: 1.0
 */
#define BUF_POOL_ERROR (buf_pool_error_quark ())

BUF_AVAILABLE_IN_1_0
GQuark buf_pool_error_quark (void);

G_END_DECLS
