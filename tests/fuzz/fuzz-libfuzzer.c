/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The same interpreter with input from libFuzzer, which looks for sequences that reach more of the
 * code. */

#include "fuzz-player.h"

int LLVMFuzzerTestOneInput (const guint8 *bytes, gsize size);

int
LLVMFuzzerTestOneInput (const guint8 *bytes, gsize size)
{
  static FuzzStatistics statistics;
  g_autoptr (FuzzSequence) sequence = fuzz_sequence_new_from_bytes (bytes, size);

  fuzz_play (sequence, &statistics);
  return 0;
}
