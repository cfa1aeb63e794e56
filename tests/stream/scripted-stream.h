/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A stream that follows the script of a test: it fails, blocks, and returns wrong results. */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

G_DECLARE_FINAL_TYPE (ScriptedStream, scripted_stream, SCRIPTED, STREAM, GInputStream)

/* With @pollable, it always reports that it is readable. */
ScriptedStream *scripted_stream_new (gboolean pollable);

/* What the next reads do, in this order; after the script, the stream ends. */
void scripted_stream_add_data (ScriptedStream *self, const gchar *text);
void scripted_stream_add_error (ScriptedStream *self, GIOErrorEnum code);
void scripted_stream_add_silent_error (ScriptedStream *self);
void scripted_stream_add_overlong (ScriptedStream *self);
/* A read blocks here until the gate is opened, and ignores its cancellable. */
void scripted_stream_add_gate (ScriptedStream *self);

/* Once for each gate. */
void scripted_stream_open_gate (ScriptedStream *self);
gboolean scripted_stream_is_at_gate (ScriptedStream *self);
guint scripted_stream_get_n_reads (ScriptedStream *self);

G_END_DECLS
