/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The one public include. */

#pragma once

#define BUF_INSIDE

#include <bufpool/buf-version.h>
#include <bufpool/buf-version-macros.h>

#include <bufpool/buf-pool-enums.h>
#include <bufpool/buf-pool-enum-types.h>
#include <bufpool/buf-pool-error.h>
#include <bufpool/buf-permit.h>
#include <bufpool/buf-budget.h>
#include <bufpool/buf-pool-allocation.h>
#include <bufpool/buf-pool-stats.h>
#include <bufpool/buf-pool.h>
#include <bufpool/buf-reader.h>

#undef BUF_INSIDE
