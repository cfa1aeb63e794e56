/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#if !defined(BUF_INSIDE) && !defined(BUF_COMPILATION)
#error "Only <bufpool/bufpool.h> can be included directly."
#endif

#include <gio/gio.h>

#include <bufpool/buf-permit.h>
#include <bufpool/buf-version-macros.h>

G_BEGIN_DECLS

#define BUF_TYPE_BUDGET (buf_budget_get_type ())

BUF_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (BufBudget, buf_budget, BUF, BUDGET, GObject)

BUF_AVAILABLE_IN_1_0
BufBudget *buf_budget_new (gsize max_memory) G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
BufBudget *buf_budget_new_child (BufBudget *parent, gsize max_memory) G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
BufPermit *
buf_budget_acquire (BufBudget *self, gsize n_bytes, GCancellable *cancellable, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
BufPermit *buf_budget_acquire_full (BufBudget *self,
                                    gsize n_bytes,
                                    gint64 timeout_us,
                                    int io_priority,
                                    GCancellable *cancellable,
                                    GError **error) G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
BufPermit *buf_budget_try_acquire (BufBudget *self, gsize n_bytes, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;
BUF_AVAILABLE_IN_1_0
void buf_budget_acquire_async (BufBudget *self,
                               gsize n_bytes,
                               int io_priority,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data);
BUF_AVAILABLE_IN_1_0
BufPermit *buf_budget_acquire_finish (BufBudget *self, GAsyncResult *result, GError **error)
    G_GNUC_WARN_UNUSED_RESULT;

BUF_AVAILABLE_IN_1_0
gsize buf_budget_get_max_memory (BufBudget *self);
BUF_AVAILABLE_IN_1_0
void buf_budget_set_max_memory (BufBudget *self, gsize max_memory);
BUF_AVAILABLE_IN_1_0
gsize buf_budget_get_reserved_memory (BufBudget *self);
BUF_AVAILABLE_IN_1_0
void buf_budget_set_reserved_memory (BufBudget *self, gsize reserved_memory);
BUF_AVAILABLE_IN_1_0
int buf_budget_get_max_waiting (BufBudget *self);
BUF_AVAILABLE_IN_1_0
void buf_budget_set_max_waiting (BufBudget *self, int max_waiting);
BUF_AVAILABLE_IN_1_0
BufBudget *buf_budget_get_parent (BufBudget *self);
BUF_AVAILABLE_IN_1_0
const gchar *buf_budget_get_name (BufBudget *self);

BUF_AVAILABLE_IN_1_0
gsize buf_budget_get_allocated_memory (BufBudget *self);
BUF_AVAILABLE_IN_1_0
gsize buf_budget_get_available_memory (BufBudget *self);
BUF_AVAILABLE_IN_1_0
gsize buf_budget_get_waiting (BufBudget *self);

BUF_AVAILABLE_IN_1_0
gsize buf_get_memory_limit (void);

G_END_DECLS
