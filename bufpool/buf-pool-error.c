/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "buf-pool-error.h"

/* The error domain. */

/* clang-format off */
G_DEFINE_QUARK (buf-pool-error-quark, buf_pool_error)
/* clang-format on */
