/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the tests of readers share: each function in its two forms, and streams. */

#pragma once

#include "testing.h"

G_BEGIN_DECLS

/* A text of @size bytes in which all blocks differ. */
GBytes *test_make_text (gsize size);

/* The same bytes as a stream of each kind: memory, a file, buffered, converted, a pipe. */
#define TEST_N_STREAMS 5
GInputStream *test_make_stream (guint kind, GBytes *text);
GInputStream *test_make_file_stream (GBytes *text);
GInputStream *test_make_pipe (GOutputStream **writer);

/* With @async, they run the default main context until the operation is done. */
GBytes *
test_next_block (gboolean async, BufReader *reader, GCancellable *cancellable, GError **error);
gboolean test_splice (gboolean async,
                      BufReader *reader,
                      GOutputStream *target,
                      GOutputStreamSpliceFlags flags,
                      GCancellable *cancellable,
                      GError **error);

void test_assert_next_is (gboolean async, BufReader *reader, const gchar *text);
void test_assert_end (gboolean async, BufReader *reader);

/* For a thread, with an array of a stream and a cancellable. */
gpointer test_cancel_when_pending (gpointer data);

/* Waits until no thread reads ahead, and none is about to. */
void test_wait_until_calm (BufReader *reader);

/* Waits until it is about to close its stream. */
void test_wait_until_stopped (BufReader *reader);

G_END_DECLS
