/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A bounded queue between threads that costs little, so that it does not hide the cost of the
 * blocks that pass through it. It takes no lock; a thread that has to wait yields. */

typedef struct _Ring Ring;

Ring *ring_new (guint capacity); /* a power of two */
void ring_free (Ring *self);
void ring_push (Ring *self, gpointer item);
gpointer ring_pop (Ring *self);

G_END_DECLS
