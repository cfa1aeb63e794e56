/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#if !defined(BUF_INSIDE) && !defined(BUF_COMPILATION)
#error "Only <bufpool/bufpool.h> can be included directly."
#endif

#include <glib.h>

G_BEGIN_DECLS

/**
 * BufBufferSize:
 * @BUF_BUFFER_SIZE_S8: 8 bytes
 * @BUF_BUFFER_SIZE_S16: 16 bytes
 * @BUF_BUFFER_SIZE_S32: 32 bytes
 * @BUF_BUFFER_SIZE_S64: 64 bytes
 * @BUF_BUFFER_SIZE_S128: 128 bytes
 * @BUF_BUFFER_SIZE_S256: 256 bytes
 * @BUF_BUFFER_SIZE_S512: 512 bytes
 * @BUF_BUFFER_SIZE_S1024: 1 KiB
 * @BUF_BUFFER_SIZE_S2048: 2 KiB
 * @BUF_BUFFER_SIZE_S4096: 4 KiB
 * @BUF_BUFFER_SIZE_S8192: 8 KiB
 * @BUF_BUFFER_SIZE_S16384: 16 KiB
 *
 * Common buffer sizes. Each value is the size in bytes. A pool also accepts any other size.
 *
 * Since: 1.0
 */
typedef enum
{
  BUF_BUFFER_SIZE_S8 = 8,
  BUF_BUFFER_SIZE_S16 = 16,
  BUF_BUFFER_SIZE_S32 = 32,
  BUF_BUFFER_SIZE_S64 = 64,
  BUF_BUFFER_SIZE_S128 = 128,
  BUF_BUFFER_SIZE_S256 = 256,
  BUF_BUFFER_SIZE_S512 = 512,
  BUF_BUFFER_SIZE_S1024 = 1024,
  BUF_BUFFER_SIZE_S2048 = 2048,
  BUF_BUFFER_SIZE_S4096 = 4096,
  BUF_BUFFER_SIZE_S8192 = 8192,
  BUF_BUFFER_SIZE_S16384 = 16384,
} BufBufferSize;

/**
 * BufPoolError:
 * @BUF_POOL_ERROR_INVALID_CONFIG: the properties of the pool contradict each other, so no request
 *   can succeed
 * @BUF_POOL_ERROR_INVALID_COUNT: the request was for no buffers, or for more than
 *   %BUF_POOL_MAX_BUFFERS
 * @BUF_POOL_ERROR_TOO_LARGE: the request exceeds what the pool or budget can ever grant, such as
 *   [property@Pool:max-memory]
 * @BUF_POOL_ERROR_NO_MEMORY: the request was within the limit, but the system is out of memory; the
 *   request no longer counts against the limit
 * @BUF_POOL_ERROR_CLOSED: the pool is closed
 * @BUF_POOL_ERROR_OUT_OF_RANGE: an offset, a size or an index is outside the allocation
 * @BUF_POOL_ERROR_RELEASED: the allocation or the permit has already been released
 * @BUF_POOL_ERROR_OVERLOADED: the request would have to wait, but the maximum number of requests is
 *   already waiting
 * @BUF_POOL_ERROR_IN_USE: the allocation cannot shrink because it has another reference, a view or
 *   a transfer
 *
 * Error codes of pools, budgets, allocations and permits, in the domain %BUF_POOL_ERROR.
 *
 * Since: 1.0
 */
typedef enum
{
  BUF_POOL_ERROR_INVALID_CONFIG,
  BUF_POOL_ERROR_INVALID_COUNT,
  BUF_POOL_ERROR_TOO_LARGE,
  BUF_POOL_ERROR_NO_MEMORY,
  BUF_POOL_ERROR_CLOSED,
  BUF_POOL_ERROR_OUT_OF_RANGE,
  BUF_POOL_ERROR_RELEASED,
  BUF_POOL_ERROR_OVERLOADED,
  BUF_POOL_ERROR_IN_USE,
} BufPoolError;

G_END_DECLS
