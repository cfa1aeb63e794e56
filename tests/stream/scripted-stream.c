/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "scripted-stream.h"

typedef enum
{
  STEP_DATA,
  STEP_ERROR,
  STEP_SILENT_ERROR,
  STEP_OVERLONG,
  STEP_GATE
} StepKind;

typedef struct
{
  StepKind kind;
  gchar *text;
  gsize offset;
  GIOErrorEnum code;
} Step;

struct _ScriptedStream
{
  GInputStream parent_instance;

  gboolean pollable; /* constant */
  GMutex mutex;
  GCond opened;
  GQueue steps;     /* LOCK: mutex */
  guint n_open;     /* LOCK: mutex; gates that were opened but not passed */
  gboolean at_gate; /* LOCK: mutex */
  gint n_reads;     /* atomic */
};

static void scripted_stream_init_pollable (GPollableInputStreamInterface *interface);

G_DEFINE_FINAL_TYPE_WITH_CODE (ScriptedStream,
                               scripted_stream,
                               G_TYPE_INPUT_STREAM,
                               G_IMPLEMENT_INTERFACE (G_TYPE_POLLABLE_INPUT_STREAM,
                                                      scripted_stream_init_pollable))

static void
step_free (gpointer data)
{
  Step *self = data;

  g_free (self->text);
  g_free (self);
}

static void
add_step (ScriptedStream *self, StepKind kind, const gchar *text, GIOErrorEnum code)
{
  Step *step = g_new0 (Step, 1);

  step->kind = kind;
  step->text = g_strdup (text);
  step->code = code;
  g_mutex_lock (&self->mutex);
  g_queue_push_tail (&self->steps, step);
  g_mutex_unlock (&self->mutex);
}

static void
pass_gate_locked (ScriptedStream *self)
{
  self->at_gate = TRUE;
  while (self->n_open == 0)
    g_cond_wait (&self->opened, &self->mutex);
  self->at_gate = FALSE;
  self->n_open--;
}

static gssize
read_data_locked (ScriptedStream *self, Step *step, gpointer buffer, gsize count)
{
  gsize n = MIN (count, strlen (step->text + step->offset));

  memcpy (buffer, step->text + step->offset, n);
  step->offset += n;
  if (step->text[step->offset] == 0)
    step_free (g_queue_pop_head (&self->steps));
  return n;
}

static gssize
read_locked (ScriptedStream *self, gpointer buffer, gsize count, GError **error)
{
  Step *step = g_queue_peek_head (&self->steps);
  gssize n_read = -1;

  while (step != NULL && step->kind == STEP_GATE)
    {
      pass_gate_locked (self);
      step_free (g_queue_pop_head (&self->steps));
      step = g_queue_peek_head (&self->steps);
    }
  if (step == NULL)
    return 0;
  if (step->kind == STEP_DATA)
    return read_data_locked (self, step, buffer, count);

  if (step->kind == STEP_OVERLONG)
    n_read = count + 1;
  else if (step->kind == STEP_ERROR)
    g_set_error_literal (error, G_IO_ERROR, step->code, "As scripted");
  step_free (g_queue_pop_head (&self->steps));
  return n_read;
}

static gssize
scripted_stream_read (GInputStream *stream,
                      void *buffer,
                      gsize count,
                      GCancellable *cancellable,
                      GError **error)
{
  ScriptedStream *self = SCRIPTED_STREAM (stream);
  gssize n_read;

  g_atomic_int_inc (&self->n_reads);
  g_mutex_lock (&self->mutex);
  n_read = read_locked (self, buffer, count, error);
  g_mutex_unlock (&self->mutex);
  return n_read;
}

static gboolean
scripted_stream_can_poll (GPollableInputStream *stream)
{
  return SCRIPTED_STREAM (stream)->pollable;
}

static gboolean
scripted_stream_is_readable (GPollableInputStream *stream)
{
  return TRUE;
}

static void
scripted_stream_init_pollable (GPollableInputStreamInterface *interface)
{
  interface->can_poll = scripted_stream_can_poll;
  interface->is_readable = scripted_stream_is_readable;
}

static void
scripted_stream_finalize (GObject *object)
{
  ScriptedStream *self = SCRIPTED_STREAM (object);

  g_queue_clear_full (&self->steps, step_free);
  g_mutex_clear (&self->mutex);
  g_cond_clear (&self->opened);
  G_OBJECT_CLASS (scripted_stream_parent_class)->finalize (object);
}

static void
scripted_stream_class_init (ScriptedStreamClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = scripted_stream_finalize;
  G_INPUT_STREAM_CLASS (klass)->read_fn = scripted_stream_read;
}

static void
scripted_stream_init (ScriptedStream *self)
{
  g_mutex_init (&self->mutex);
  g_cond_init (&self->opened);
  g_queue_init (&self->steps);
}

ScriptedStream *
scripted_stream_new (gboolean pollable)
{
  ScriptedStream *self = g_object_new (scripted_stream_get_type (), NULL);

  self->pollable = pollable;
  return self;
}

void
scripted_stream_add_data (ScriptedStream *self, const gchar *text)
{
  add_step (self, STEP_DATA, text, 0);
}

void
scripted_stream_add_error (ScriptedStream *self, GIOErrorEnum code)
{
  add_step (self, STEP_ERROR, NULL, code);
}

void
scripted_stream_add_silent_error (ScriptedStream *self)
{
  add_step (self, STEP_SILENT_ERROR, NULL, 0);
}

void
scripted_stream_add_overlong (ScriptedStream *self)
{
  add_step (self, STEP_OVERLONG, NULL, 0);
}

void
scripted_stream_add_gate (ScriptedStream *self)
{
  add_step (self, STEP_GATE, NULL, 0);
}

void
scripted_stream_open_gate (ScriptedStream *self)
{
  g_mutex_lock (&self->mutex);
  self->n_open++;
  g_cond_broadcast (&self->opened);
  g_mutex_unlock (&self->mutex);
}

gboolean
scripted_stream_is_at_gate (ScriptedStream *self)
{
  gboolean at_gate;

  g_mutex_lock (&self->mutex);
  at_gate = self->at_gate;
  g_mutex_unlock (&self->mutex);
  return at_gate;
}

guint
scripted_stream_get_n_reads (ScriptedStream *self)
{
  return g_atomic_int_get (&self->n_reads);
}
