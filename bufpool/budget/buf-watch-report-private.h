/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

void buf_watch_report_begin (BufSemaphore *semaphore);

G_END_DECLS
