/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the two programs that test the biased lock share. */

#pragma once

#include "memory/buf-biased-lock-private.h"

static inline gboolean
can_bias (void)
{
  buf_biased_lock_choose ();
  buf_lock_owner_register ();
  if (buf_lock_owner_self != NULL)
    return TRUE;

  g_test_skip ("This system has no membarrier()");
  return FALSE;
}

static inline void
init_open (BufBiasedLock *lock)
{
  *lock = (BufBiasedLock){ 0 };
  buf_biased_lock_init_held (lock);
  buf_biased_lock_open (lock);
}
