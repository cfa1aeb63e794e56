/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A sequence of steps: generated at random, read from bytes or from a file, and written as text. A
 * sequence can be played whatever its numbers are. */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum
{
  FUZZ_TRY,         /* a request that does not wait */
  FUZZ_ALLOCATE,    /* one with a timeout of 0 */
  FUZZ_BLOCK,       /* one that blocks a thread */
  FUZZ_EXPIRE,      /* one that blocks a thread for a moment */
  FUZZ_ASYNC,       /* one for the main loop */
  FUZZ_DRAIN,       /* with a timeout of 0 */
  FUZZ_DRAIN_BLOCK, /* blocks a thread */
  FUZZ_DRAIN_ASYNC,
  FUZZ_REF,
  FUZZ_UNREF,
  FUZZ_RELEASE,
  FUZZ_VIEW,
  FUZZ_DROP_VIEW,
  FUZZ_FILL,
  FUZZ_EXTRACT,
  FUZZ_SHRINK,
  FUZZ_LOOK, /* at an allocation */
  FUZZ_CANCEL,
  FUZZ_SET_MAXIMUM,
  FUZZ_SET_RESERVED,
  FUZZ_SET_MAX_WAITING,
  FUZZ_OWE, /* the time of the oldest runs out */
  FUZZ_CLOSE,
  FUZZ_FIGURE, /* one getter of the pool */
  FUZZ_CHURN,  /* many small requests and releases */
  FUZZ_ABSURD, /* a request that can never be granted */
  FUZZ_SETTLE,
  FUZZ_N_OPERATIONS
} FuzzOperation;

#define FUZZ_FLAG_BURST   (1 << 0) /* the next step does not wait until the library has settled */
#define FUZZ_FLAG_PINNED  (1 << 1)
#define FUZZ_FLAG_CANCEL  (1 << 2) /* with a cancellable */
#define FUZZ_FLAG_LARGE   (1 << 3)
#define FUZZ_FLAG_DROPPED (1 << 4) /* the result of a task is not fetched */
#define FUZZ_FLAG_UNUSUAL (1 << 5)
#define FUZZ_FLAG_RANGE   (1 << 6) /* as many as are available */

#define FUZZ_SEQUENCE_MAX_STEPS 2000

typedef struct
{
  guint8 operation;
  guint8 thread;
  guint8 target;
  guint8 flags;
  guint16 amount;
} FuzzStep;

typedef struct
{
  guint8 buffer_size; /* which */
  guint8 zero_fill;
  guint8 impatient; /* promises to threads end immediately */
  guint8 hesitant;  /* threads pause before they empty the cache */
  guint8 shape;     /* of the tree */
  guint8 caps;      /* the limits of the children, two bits for each */
  guint16 n_buffers;
  GArray *steps;
} FuzzSequence;

FuzzSequence *fuzz_sequence_new_random (guint64 seed, gboolean with_tasks);
FuzzSequence *fuzz_sequence_new_from_bytes (const guint8 *bytes, gsize size);
FuzzSequence *fuzz_sequence_new_from_text (const gchar *text, GError **error);
FuzzSequence *fuzz_sequence_new_part (FuzzSequence *self, guint without_from, guint without_to);
void fuzz_sequence_free (FuzzSequence *self);
gchar *fuzz_sequence_to_text (FuzzSequence *self);
const gchar *fuzz_operation_get_name (guint operation);

/* */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FuzzSequence, fuzz_sequence_free)

G_END_DECLS
