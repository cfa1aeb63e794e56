/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "semaphore/buf-waiter-tree-private.h"

G_BEGIN_DECLS

typedef struct _BufWaitQueue BufWaitQueue;

/* Waiters that are asleep are grouped by whether they may use the reserve, and by whether they have
 * to be woken. */
typedef enum
{
  BUF_WAITERS_URGENT_THREADS,
  BUF_WAITERS_URGENT_TASKS,
  BUF_WAITERS_THREADS,
  BUF_WAITERS_TASKS,
  BUF_WAITERS_N_KINDS
} BufWaiterKind;

/* Statistics of a level. The fast paths count nothing. */
typedef struct
{
  guint64 n_waits;         /* of requests, not of drainers */
  guint64 total_wait_time; /* microseconds */
  guint64 longest_wait;    /* microseconds */
  guint64 n_overtakings;
  guint64 most_overtaken; /* of any one waiter */
  guint64 n_revocations;
  guint64 n_refills;
} BufHistory;

/* The bytes of one semaphore that are in no stripe, and the requests that wait for it. */
struct _BufLevel
{
  BufWaitQueue *queue; /* const; of all levels of the tree */
  BufLevel *parent;    /* const; NULL for the root */

  gint64 free;          /* LOCK: mutex; bytes, negative after the maximum is lowered */
  gint64 maximum;       /* LOCK: mutex */
  gint64 reserved;      /* LOCK: mutex; bytes that only urgent requests may use */
  gint64 promised;      /* LOCK: mutex; to woken threads, at this level or below */
  gint64 pinned;        /* LOCK: mutex; bytes in use that the end of the level does not wait for */
  gint64 idle;          /* LOCK: mutex; those of @free that the keeper still has memory for */
  gint64 n_allocations; /* LOCK: mutex; less what the stripes count */
  gboolean revoked;     /* LOCK: mutex; the stripes are empty, so @free is exact */
  gboolean closed;      /* LOCK: mutex */

  GQueue waiters;                            /* LOCK: mutex; for bytes, at this level, by age */
  BufWaiterTree asleep[BUF_WAITERS_N_KINDS]; /* LOCK: mutex; those of @waiters that are asleep */
  BufWaiterTree below[BUF_WAITERS_N_KINDS];  /* LOCK: mutex; children that have such waiters */
  BufWaiterNode nodes[BUF_WAITERS_N_KINDS];  /* LOCK: mutex; in @below of the parent */
  GQueue drainers;                           /* LOCK: mutex; until nothing is outstanding */
  guint n_waiting;                           /* LOCK: mutex; for bytes, at this level or below */
  gint max_waiting;  /* LOCK: mutex; limits @n_waiting; negative: no limit */
  GQueue active;     /* LOCK: mutex; children with waiters at or below them */
  GQueue stuck;      /* LOCK: mutex; children with waiters that cannot be served for now */
  gboolean is_stuck; /* LOCK: mutex; in @stuck of the parent */
  GList link;        /* LOCK: mutex; in @active or @stuck of the parent */

  guint64 n_taken;    /* LOCK: mutex; by any request */
  gint64 sum_since;   /* LOCK: mutex; sum over @waiters, modulo 2⁶⁴ */
  BufHistory history; /* LOCK: mutex; of finished waits */
};

void buf_level_init (BufLevel *self, BufWaitQueue *queue, BufLevel *parent, gint64 maximum);

void buf_level_add_waiter_locked (BufLevel *self, BufWaiter *waiter);
void buf_level_remove_waiter_locked (BufLevel *self, BufWaiter *waiter);
void buf_level_add_asleep_locked (BufLevel *self, BufWaiter *waiter);
void buf_level_remove_asleep_locked (BufLevel *self, BufWaiter *waiter);
void buf_level_add_free_locked (BufLevel *self, gint64 bytes);
void buf_level_stir_locked (BufLevel *self);
void buf_level_check_stuck_locked (BufLevel *self);

/* Returns the child that @node of the tree @below of its parent stands for. */
static inline BufLevel *
buf_level_get_for_node (BufWaiterNode *node, guint kind)
{
  return (BufLevel *) ((guint8 *) (node - kind) - G_STRUCT_OFFSET (BufLevel, nodes));
}

gint64 buf_level_get_limit_locked (BufLevel *self, gboolean urgent, const BufWaiter *owed);
gint64 buf_level_get_ceiling_locked (const BufLevel *self, gboolean urgent);
gboolean buf_level_is_short_locked (BufLevel *self, const BufWaiter *owed);
BufWaiter *buf_level_find_oldest_locked (BufLevel *self);
void buf_level_get_history_locked (BufLevel *self, BufHistory *history);

G_END_DECLS
