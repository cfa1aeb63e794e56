/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#if !defined(BUF_INSIDE) && !defined(BUF_COMPILATION)
#error "Only <bufpool/bufpool.h> can be included directly."
#endif

#include <glib.h>

#include <bufpool/buf-version.h>

#ifndef _BUF_EXTERN
#define _BUF_EXTERN extern
#endif

/**
 * SECTION:buf-version
 * @Title: Versions
 * @Short_description: version checks
 *
 * The version of the library that a program is compiled against, and the range of versions that the
 * program supports.
 */

/**
 * BUF_VERSION_1_0:
 *
 * The version 1.0, for use with `BUF_VERSION_MIN_REQUIRED` and `BUF_VERSION_MAX_ALLOWED`.
 *
 * Since: 1.0
 */
#define BUF_VERSION_1_0 (G_ENCODE_VERSION (1, 0))

#define BUF_VERSION_CUR_STABLE (G_ENCODE_VERSION (BUF_MAJOR_VERSION, BUF_MINOR_VERSION))

/**
 * BUF_VERSION_MIN_REQUIRED:
 *
 * The oldest version of the library that the program supports. Define it before you include the
 * header. The compiler then warns about symbols that were deprecated in that version or earlier.
 *
 * Since: 1.0
 */
#ifndef BUF_VERSION_MIN_REQUIRED
#define BUF_VERSION_MIN_REQUIRED (BUF_VERSION_CUR_STABLE)
#endif

/**
 * BUF_VERSION_MAX_ALLOWED:
 *
 * The newest version of the library whose symbols the program may use. Define it before you include
 * the header. The compiler then warns about symbols that were added later.
 *
 * Since: 1.0
 */
#ifndef BUF_VERSION_MAX_ALLOWED
#define BUF_VERSION_MAX_ALLOWED (BUF_VERSION_CUR_STABLE)
#endif

#if BUF_VERSION_MAX_ALLOWED < BUF_VERSION_MIN_REQUIRED
#error "BUF_VERSION_MAX_ALLOWED must be at least BUF_VERSION_MIN_REQUIRED"
#endif
#if BUF_VERSION_MIN_REQUIRED < BUF_VERSION_1_0
#error "BUF_VERSION_MIN_REQUIRED must be at least BUF_VERSION_1_0"
#endif

#define BUF_AVAILABLE_IN_1_0 _BUF_EXTERN
