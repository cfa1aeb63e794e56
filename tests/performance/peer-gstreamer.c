/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <gst/gst.h>

#include "peer.h"

/* GstBufferPool keeps its buffers, which are all of one size, and counts them: its budget is a
 * number of buffers. In GStreamer 1.22, a waiting request may spin forever if several threads wait.
 * So there is a time limit, and runs that do not finish are reported. */

static void
set_up (void)
{
  static gsize done;

  if (!g_once_init_enter (&done))
    return;

  gst_registry_fork_set_enabled (FALSE);
  g_setenv ("GST_REGISTRY_DISABLE", "yes", TRUE);
  g_setenv ("GST_REGISTRY_UPDATE", "no", TRUE);
  g_setenv ("GST_PLUGIN_SYSTEM_PATH", "", TRUE);
  gst_init (NULL, NULL);
  g_once_init_leave (&done, 1);
}

static gpointer
create (gsize buffer_size, gsize n_buffers, gsize budget)
{
  gsize block = buffer_size * n_buffers;
  GstBufferPool *self;
  GstStructure *config;

  set_up ();
  self = gst_buffer_pool_new ();
  config = gst_buffer_pool_get_config (self);
  gst_buffer_pool_config_set_params (config, NULL, block, 0, MIN (budget / block, G_MAXINT));
  if (!gst_buffer_pool_set_config (self, config) || !gst_buffer_pool_set_active (self, TRUE))
    g_error ("No GstBufferPool");
  return self;
}

static void
destroy (gpointer pool)
{
  gst_buffer_pool_set_active (pool, FALSE);
  gst_object_unref (pool);
}

static gpointer
allocate (gpointer pool, gsize n_buffers)
{
  GstBuffer *buffer = NULL;

  gst_buffer_pool_acquire_buffer (pool, &buffer, NULL);
  return buffer;
}

static void
drop (gpointer pool, gpointer block)
{
  gst_buffer_unref (block);
}

static void
touch (gpointer block, gsize size)
{
  GstMapInfo info;

  if (!gst_buffer_map (block, &info, GST_MAP_WRITE))
    g_error ("A GstBuffer has no memory");
  peer_touch (info.data, size);
  gst_buffer_unmap (block, &info);
}

PEER_DEFINE_SPIN (allocate, drop, touch)

static const gchar *
get_version (void)
{
  static gchar text[32];
  guint major, minor, micro, nano;

  gst_version (&major, &minor, &micro, &nano);
  g_snprintf (text, sizeof text, "%u.%u.%u", major, minor, micro);
  return text;
}

const Peer peer_gstreamer = {
  .name = "GstBufferPool",
  .features = PEER_HAS_BUDGET | PEER_WAITS,
  .remark = "keeps its buffers; may spin forever with several threads, so it has a time limit",
  .create = create,
  .destroy = destroy,
  .allocate = allocate,
  .drop = drop,
  .spin = spin,
  .get_version = get_version,
};
