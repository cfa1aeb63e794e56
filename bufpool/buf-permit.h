/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#if !defined(BUF_INSIDE) && !defined(BUF_COMPILATION)
#error "Only <bufpool/bufpool.h> can be included directly."
#endif

#include <glib-object.h>

#include <bufpool/buf-version-macros.h>

G_BEGIN_DECLS

#define BUF_TYPE_PERMIT (buf_permit_get_type ())

typedef struct _BufPermit BufPermit;

BUF_AVAILABLE_IN_1_0
GType buf_permit_get_type (void) G_GNUC_CONST;

BUF_AVAILABLE_IN_1_0
BufPermit *buf_permit_ref (BufPermit *self);
BUF_AVAILABLE_IN_1_0
void buf_permit_unref (BufPermit *self);

BUF_AVAILABLE_IN_1_0
gsize buf_permit_get_size (BufPermit *self);
BUF_AVAILABLE_IN_1_0
gboolean buf_permit_shrink (BufPermit *self, gsize n_bytes, GError **error);
BUF_AVAILABLE_IN_1_0
void buf_permit_release (BufPermit *self);
BUF_AVAILABLE_IN_1_0
gboolean buf_permit_is_released (BufPermit *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BufPermit, buf_permit_unref)

G_END_DECLS
