/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <bufpool/bufpool.h>

G_BEGIN_DECLS

typedef struct _DigestPipeline DigestPipeline;

/* What became of a file: one of the two is set. */
typedef struct
{
  gchar *digest; /* hexadecimal */
  GError *error;
} DigestResult;

/* Sizes in bytes, times in microseconds. */
typedef struct
{
  guint64 hashed;
  guint64 memory;      /* that is out now */
  guint64 most_memory; /* that was out at once */
  guint64 n_requests;
  guint64 n_waits;
  guint64 waited;
  guint64 longest_wait;
} DigestFigures;

DigestPipeline *
digest_pipeline_new (BufPool *pool, gsize n_buffers, guint n_workers, const gchar *const *names);
void digest_pipeline_free (DigestPipeline *self);

gboolean digest_pipeline_next (DigestPipeline *self, gint64 timeout, DigestResult *result);
void digest_pipeline_get_figures (DigestPipeline *self, DigestFigures *figures);

void digest_result_clear (DigestResult *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (DigestPipeline, digest_pipeline_free)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (DigestResult, digest_result_clear)

G_END_DECLS
