/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdatomic.h>
#include <sys/types.h>

#include "memory/buf-cache-private.h"
#include "semaphore/buf-semaphore-private.h"

G_BEGIN_DECLS

/* Why a request failed, in the order of precedence. */
typedef enum
{
  BUF_REFUSAL_CANCELLED,
  BUF_REFUSAL_INVALID,
  BUF_REFUSAL_TOO_LARGE,
  BUF_REFUSAL_CLOSED,
  BUF_REFUSAL_OVERLOADED,
  BUF_REFUSAL_WOULD_BLOCK,
  BUF_REFUSAL_TIMED_OUT,
  BUF_REFUSAL_NO_MEMORY,
  BUF_N_REFUSALS
} BufRefusal;

/* The state of a pool that allocations and requests need, and which may outlive the pool. All
 * fields except the atomic ones are constant from buf_memory_begin() on. State that changes is in
 * the semaphore. */
struct _BufMemory
{
  /* Read by every request, and on one cache line with the beginning of the semaphore. */
  gint64 unit; /* @buffer_size, or less if it is so large that no stripe has room for it */
  guint64 buffer_size;
  BufCache cache;
  guint8 unusual; /* aligned, zeroed, checked, or possibly too large: not plain malloc() memory */
  guint8 hides;   /* a tool checks accesses to cached blocks */
  guint n_large;  /* the number of buffers from which on a block is large */
  BufSemaphore semaphore;

  BufCacheControl control;

  guint alignment;
  gboolean zero_fill;
  gchar *name; /* of the pool; may be NULL */

  GList link;             /* LOCK: all_memories_mutex; in the list of all memories */
  pid_t process;          /* the process that created it, not the child of a fork */
  _Atomic gpointer owner; /* atomic; the pool, for debuggers; NULL after it is gone */
  BufDebugLedger *ledger; /* NULL unless BUFPOOL_DEBUG enables it */
  _Atomic guint64 n_refused[BUF_N_REFUSALS]; /* atomic */
  guint trace_counter;                       /* for Sysprof; 0 if it is not recording */
  _Atomic gint64 traced;                     /* atomic; when that was last set, in microseconds */
};

BufMemory *buf_memory_new (gpointer owner);
void buf_memory_begin (BufMemory *self,
                       BufSemaphore *parent,
                       gint64 maximum,
                       gint64 max_cached,
                       gboolean valid);
void buf_memory_abandon (BufMemory *self);

BufOutcome
buf_memory_acquire (BufMemory *self, BufWant *want, gboolean enters, BufSemaphoreFigures *figures);
gboolean buf_memory_set_max_cached (BufMemory *self, gint64 max_cached);
gint64 buf_memory_get_max_cached (BufMemory *self);
gint64 buf_memory_get_cached (BufMemory *self);
gint64 buf_memory_trim (BufMemory *self, gint64 target);

void buf_memory_trace_change (BufMemory *self, gint64 change);

void buf_memory_for_each (void (*function) (BufMemory *memory, gpointer data), gpointer data);

void buf_memory_append_outstanding (BufMemory *self, GString *description);
void buf_memory_append_description (BufMemory *self, GString *description);
void buf_memory_describe_all_at_exit (void);

/* Returns FALSE while the properties of a new pool are set, before the semaphore counts. */
static inline gboolean
buf_memory_has_begun (BufMemory *self)
{
  return self->semaphore.stripes != NULL;
}

/* The size of a block that exists, or has existed. For one that cannot exist, any number. */
static inline gint64
buf_memory_get_block_bytes (BufMemory *self, gsize n_buffers)
{
  return (gint64) (n_buffers * self->buffer_size);
}

static inline BufMemory *
buf_memory_get_for_semaphore (BufSemaphore *semaphore)
{
  return (BufMemory *) ((guint8 *) semaphore - G_STRUCT_OFFSET (BufMemory, semaphore));
}

static inline void
buf_memory_count_refusal (BufMemory *self, BufRefusal refusal)
{
  atomic_fetch_add_explicit (&self->n_refused[refusal], 1, memory_order_relaxed);
}

/* Shows the outstanding memory, including a pending change, in the graph of Sysprof. */
static inline void
buf_memory_trace (BufMemory *self, gint64 change)
{
  if (G_UNLIKELY (self->trace_counter != 0))
    buf_memory_trace_change (self, change);
}

G_END_DECLS
