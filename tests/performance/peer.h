/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

#include "harness.h"

G_BEGIN_DECLS

/* The allocators that libbufpool is compared with. Each peer is a file with these few functions,
 * and says what it lacks.
 *
 * A block is what the peer returns for @n_buffers buffers. The measured loop is compiled in the
 * file of the peer (see PEER_DEFINE_SPIN), so that no call through a pointer is measured. */

typedef enum
{
  PEER_HAS_BUDGET = 1 << 0, /* never exceeds its budget */
  PEER_WAITS = 1 << 1,      /* a request that does not fit sleeps */
  PEER_IS_FAIR = 1 << 2,    /* no request starves */
  PEER_ANY_SIZE = 1 << 3,   /* each request chooses its size */
} PeerFeatures;

typedef struct
{
  const gchar *name;
  PeerFeatures features;
  const gchar *remark;

  /* @n_buffers is the largest request that will follow; @budget is in bytes. */
  gpointer (*create) (gsize buffer_size, gsize n_buffers, gsize budget);
  void (*destroy) (gpointer pool);
  gpointer (*allocate) (gpointer pool, gsize n_buffers);
  void (*drop) (gpointer pool, gpointer block);

  /* @n times: allocates, writes to each page of the first @touched bytes, drops. */
  void (*spin) (gpointer pool, gsize n_buffers, gsize touched, guint n);

  /* NULL, or what each thread does at its beginning and end. */
  void (*enter_thread) (void);
  void (*leave_thread) (void);

  /* NULL, or the version of the library. */
  const gchar *(*get_version) (void);
} Peer;

extern const Peer peer_libbufpool, peer_malloc, peer_floor, peer_counter, peer_careful, peer_naive,
    peer_bytes, peer_async_queue;
#ifdef HAVE_GSTREAMER
extern const Peer peer_gstreamer;
#endif
#ifdef HAVE_DPDK
extern const Peer peer_dpdk, peer_dpdk_uncached;
#endif

/* All peers, NULL-terminated; libbufpool is the first. */
extern const Peer *const peers[];

void peer_describe_all (Harness *harness);
void peer_enter_thread (const Peer *self);
void peer_leave_thread (const Peer *self);

/* How many iterations take about @milliseconds. */
guint peer_calibrate (const Peer *self,
                      gpointer pool,
                      gsize n_buffers,
                      gsize touched,
                      guint milliseconds);

#define PEER_PAGE 4096

static inline void
peer_touch (gpointer data, gsize size)
{
  for (gsize i = 0; i < size; i += PEER_PAGE)
    ((volatile guint8 *) data)[i] = 1;
}

#define PEER_DEFINE_SPIN(allocate, drop, touch)                                                    \
  static void spin (gpointer pool, gsize n_buffers, gsize touched, guint n)                        \
  {                                                                                                \
    for (guint i = 0; i < n; i++)                                                                  \
      {                                                                                            \
        gpointer block = allocate (pool, n_buffers);                                               \
                                                                                                   \
        __asm__ volatile("" : : "r"(block) : "memory");                                            \
        if (touched > 0)                                                                           \
          touch (block, touched);                                                                  \
        drop (pool, block);                                                                        \
      }                                                                                            \
  }

G_END_DECLS
