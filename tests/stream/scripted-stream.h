/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A stream that does what a test has told it: it breaks, blocks, and lies. */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

G_DECLARE_FINAL_TYPE (ScriptedStream, scripted_stream, SCRIPTED, STREAM, GInputStream)

/* With @pollable it always says that there is something to read. */
ScriptedStream *scripted_stream_new (gboolean pollable);

/* What the next reads do, in this order; at the end of the script is the end of the stream. */
void scripted_stream_add_data (ScriptedStream *self, const gchar *text);
void scripted_stream_add_error (ScriptedStream *self, GIOErrorEnum code);
void scripted_stream_add_silent_error (ScriptedStream *self);
void scripted_stream_add_overlong (ScriptedStream *self);
/* A read blocks here until the gate is opened, and does not look at its cancellable. */
void scripted_stream_add_gate (ScriptedStream *self);

/* Once for each gate. */
void scripted_stream_open_gate (ScriptedStream *self);
gboolean scripted_stream_is_at_gate (ScriptedStream *self);
guint scripted_stream_get_n_reads (ScriptedStream *self);

G_END_DECLS
