/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stddef.h>

#include "buf-pool-allocation.h"
#include "buf-pool.h"

G_BEGIN_DECLS

/* What malloc() aligns to by itself. */
#define BUF_NATURAL_ALIGNMENT (_Alignof(max_align_t))

BufPoolAllocation *
buf_pool_allocation_new (BufPool *pool, gsize n_buffers, gint64 bytes, GError **error);

G_END_DECLS
