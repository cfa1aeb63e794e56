/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

#include "fuzz-sequence.h"

static const gchar *const names[FUZZ_N_OPERATIONS] = {
  "try",         "allocate", "block",  "expire",  "async",   "drain",     "drain-block",
  "drain-async", "ref",      "unref",  "release", "view",    "drop-view", "fill",
  "extract",     "shrink",   "look",   "cancel",  "maximum", "reserve",   "max-waiting",
  "owe",         "close",    "figure", "churn",   "absurd",  "settle",
};

/* How often each step occurs on average. */
static const guint8 weights[FUZZ_N_OPERATIONS] = {
  [FUZZ_TRY] = 24,        [FUZZ_ALLOCATE] = 12,    [FUZZ_BLOCK] = 10,
  [FUZZ_EXPIRE] = 2,      [FUZZ_ASYNC] = 14,       [FUZZ_DRAIN] = 2,
  [FUZZ_DRAIN_BLOCK] = 1, [FUZZ_DRAIN_ASYNC] = 2,  [FUZZ_REF] = 4,
  [FUZZ_UNREF] = 56,      [FUZZ_RELEASE] = 6,      [FUZZ_VIEW] = 6,
  [FUZZ_DROP_VIEW] = 7,   [FUZZ_FILL] = 4,         [FUZZ_EXTRACT] = 4,
  [FUZZ_SHRINK] = 4,      [FUZZ_LOOK] = 4,         [FUZZ_CANCEL] = 4,
  [FUZZ_SET_MAXIMUM] = 3, [FUZZ_SET_RESERVED] = 2, [FUZZ_SET_MAX_WAITING] = 1,
  [FUZZ_OWE] = 1,         [FUZZ_CLOSE] = 0,        [FUZZ_FIGURE] = 6,
  [FUZZ_CHURN] = 3,       [FUZZ_ABSURD] = 1,       [FUZZ_SETTLE] = 1,
};

static FuzzSequence *
sequence_new (void)
{
  FuzzSequence *self = g_new0 (FuzzSequence, 1);

  self->steps = g_array_new (FALSE, TRUE, sizeof (FuzzStep));
  return self;
}

void
fuzz_sequence_free (FuzzSequence *self)
{
  g_array_unref (self->steps);
  g_free (self);
}

const gchar *
fuzz_operation_get_name (guint operation)
{
  return names[operation];
}

/* Each sequence prefers some steps and omits others. So in some sequences, small requests overtake
 * a large one continually, and others only test the end of a pool. */
static void
choose_weights (GRand *rand, guint *chosen, gboolean with_tasks)
{
  static const guint factors[] = { 0, 1, 1, 1, 2, 6 };

  for (guint i = 0; i < FUZZ_N_OPERATIONS; i++)
    chosen[i] = weights[i] * factors[g_rand_int_range (rand, 0, G_N_ELEMENTS (factors))];
  chosen[FUZZ_TRY] = MAX (chosen[FUZZ_TRY], 4);
  chosen[FUZZ_UNREF] = MAX (chosen[FUZZ_UNREF], 20);
  chosen[FUZZ_CLOSE] = g_rand_int_range (rand, 0, 8) == 0;
  if (!with_tasks)
    chosen[FUZZ_ASYNC] = chosen[FUZZ_DRAIN_ASYNC] = 0;
}

static guint8
choose_operation (GRand *rand, const guint *chosen)
{
  guint sum = 0;
  guint i = 0;
  guint left;

  for (guint j = 0; j < FUZZ_N_OPERATIONS; j++)
    sum += chosen[j];
  left = g_rand_int_range (rand, 0, sum);
  while (left >= chosen[i])
    left -= chosen[i++];
  return i;
}

FuzzSequence *
fuzz_sequence_new_random (guint64 seed, gboolean with_tasks)
{
  const guint32 seeds[] = { (guint32) seed, (guint32) (seed >> 32) };
  g_autoptr (GRand) rand = g_rand_new_with_seed_array (seeds, G_N_ELEMENTS (seeds));
  FuzzSequence *self = sequence_new ();
  guint n_steps = g_rand_int_range (rand, 10, 600);
  guint never = g_rand_int_range (rand, 0, 256);
  guint chosen[FUZZ_N_OPERATIONS];

  choose_weights (rand, chosen, with_tasks);
  self->buffer_size = g_rand_int_range (rand, 0, 256);
  self->zero_fill = g_rand_int_range (rand, 0, 4) == 0;
  self->n_buffers =
      g_rand_boolean (rand) ? g_rand_int_range (rand, 1, 9) : g_rand_int_range (rand, 9, 300);
  for (guint i = 0; i < n_steps; i++)
    {
      FuzzStep step = {
        .operation = choose_operation (rand, chosen),
        .thread = g_rand_int_range (rand, 0, 4),
        .target = g_rand_int_range (rand, 0, 256),
        .flags = g_rand_int_range (rand, 0, 256) & ~never,
        .amount = g_rand_int_range (rand, 0, 65536),
      };

      g_array_append_val (self->steps, step);
    }
  self->impatient = g_rand_int_range (rand, 0, 4) == 0;
  self->hesitant = g_rand_int_range (rand, 0, 8) == 0;
  self->shape = g_rand_boolean (rand) ? g_rand_int_range (rand, 1, 4) : 0;
  self->caps = g_rand_int_range (rand, 0, 256);
  return self;
}

FuzzSequence *
fuzz_sequence_new_from_bytes (const guint8 *bytes, gsize size)
{
  FuzzSequence *self = sequence_new ();

  self->n_buffers = 1;
  if (size < 6)
    return self;

  self->buffer_size = bytes[0];
  self->zero_fill = bytes[1] & 1;
  self->impatient = bytes[1] >> 1 & 1;
  self->hesitant = (bytes[1] >> 2) % 8 == 1;
  self->n_buffers = 1 + bytes[2] + (bytes[3] & 1) * 256;
  self->shape = bytes[4] % 4;
  self->caps = bytes[5];
  for (gsize at = 6; at + 6 <= size && self->steps->len < FUZZ_SEQUENCE_MAX_STEPS; at += 6)
    {
      FuzzStep step = {
        .operation = bytes[at] % FUZZ_N_OPERATIONS,
        .thread = bytes[at + 1] % 4,
        .target = bytes[at + 2],
        .flags = bytes[at + 3],
        .amount = bytes[at + 4] | bytes[at + 5] << 8,
      };

      g_array_append_val (self->steps, step);
    }
  return self;
}

gchar *
fuzz_sequence_to_text (FuzzSequence *self)
{
  GString *text = g_string_new (NULL);

  g_string_printf (text,
                   "pool %u %u %u %u %u %u %u\n",
                   self->buffer_size,
                   self->zero_fill,
                   self->n_buffers,
                   self->impatient,
                   self->hesitant,
                   self->shape,
                   self->caps);
  for (guint i = 0; i < self->steps->len; i++)
    {
      const FuzzStep *step = &g_array_index (self->steps, FuzzStep, i);

      g_string_append_printf (text,
                              "%s %u %u %u %u\n",
                              names[step->operation],
                              step->thread,
                              step->target,
                              step->flags,
                              step->amount);
    }
  return g_string_free (text, FALSE);
}

static gboolean
parse_line (FuzzSequence *self, const gchar *line)
{
  gchar name[20];
  guint numbers[7] = { 0 };
  FuzzStep step;

  if (line[0] == '#' || line[0] == '\0')
    return TRUE;
  if (sscanf (line,
              "%19s %u %u %u %u %u %u %u",
              name,
              &numbers[0],
              &numbers[1],
              &numbers[2],
              &numbers[3],
              &numbers[4],
              &numbers[5],
              &numbers[6]) < 4)
    return FALSE;

  if (strcmp (name, "pool") == 0)
    {
      self->buffer_size = numbers[0];
      self->zero_fill = numbers[1];
      self->n_buffers = numbers[2];
      self->impatient = numbers[3];
      self->hesitant = numbers[4];
      self->shape = numbers[5] % 4;
      self->caps = numbers[6];
      return numbers[2] > 0;
    }

  step = (FuzzStep){ .thread = numbers[0] % 4,
                     .target = numbers[1],
                     .flags = numbers[2],
                     .amount = numbers[3] };
  while (strcmp (name, names[step.operation]) != 0)
    if (++step.operation == FUZZ_N_OPERATIONS)
      return FALSE;
  g_array_append_val (self->steps, step);
  return TRUE;
}

FuzzSequence *
fuzz_sequence_new_from_text (const gchar *text, GError **error)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  g_autoptr (FuzzSequence) self = sequence_new ();

  for (guint i = 0; lines[i] != NULL; i++)
    if (!parse_line (self, lines[i]))
      {
        g_set_error (error,
                     G_IO_ERROR,
                     G_IO_ERROR_INVALID_DATA,
                     "Line %u is not understood: %s",
                     i + 1,
                     lines[i]);
        return NULL;
      }

  if (self->n_buffers == 0)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "There is no line for the pool");
      return NULL;
    }
  return g_steal_pointer (&self);
}

/* Returns the sequence without some of its steps. */
FuzzSequence *
fuzz_sequence_new_part (FuzzSequence *self, guint without_from, guint without_to)
{
  FuzzSequence *part = sequence_new ();

  part->buffer_size = self->buffer_size;
  part->zero_fill = self->zero_fill;
  part->impatient = self->impatient;
  part->hesitant = self->hesitant;
  part->shape = self->shape;
  part->caps = self->caps;
  part->n_buffers = self->n_buffers;
  for (guint i = 0; i < self->steps->len; i++)
    if (i < without_from || i >= without_to)
      g_array_append_val (part->steps, g_array_index (self->steps, FuzzStep, i));
  return part;
}
