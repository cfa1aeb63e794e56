/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "budget/buf-holders-private.h"
#include "budget/buf-request-private.h"
#include "debug/buf-debug-private.h"
#include "debug/buf-words-private.h"

/*
 * Who holds the bytes of a semaphore: allocations of pools, at it or below, and permits of budgets.
 *
 * A permit has no record of its own. The permits of a budget are what its children do not hold. The
 * figures of the levels are taken one after the other, so they may disagree if requests are granted
 * in the meantime.
 *
 * All these semaphores are entered, so they continue to exist although their owners may drop them.
 * Entering takes no reference on an owner, and leaving does not block.
 */

/* A tree may have thousands of pools. The largest holders matter. */
#define MAX_DESCRIBED 16

typedef struct
{
  BufSemaphore *semaphore;
  gint64 allocated; /* including the levels below */
  gint64 n_allocations;
  gint64 own_bytes; /* without them */
  gint64 n_own;
} Holder;

struct _BufHolders
{
  BufSemaphore *top;
  GPtrArray *holders; /* of Holder; each after its parent until they are sorted */
  gint64 n_allocations;
  gint64 n_permits;
};

static gboolean
is_pool (const Holder *self)
{
  return self->semaphore->append_outstanding != NULL;
}

static Holder *
holder_new (BufSemaphore *semaphore)
{
  Holder *self = g_new0 (Holder, 1);
  BufSemaphoreFigures figures;

  buf_semaphore_get_figures (semaphore, &figures, NULL);
  self->semaphore = semaphore;
  self->allocated = self->own_bytes = figures.allocated;
  self->n_allocations = self->n_own = figures.n_allocations;
  return self;
}

/* On return, the semaphore may be gone. */
static void
holder_free (gpointer data)
{
  Holder *self = data;

  buf_semaphore_leave (self->semaphore);
  g_free (self);
}

static void
collect (BufHolders *self)
{
  g_autoptr (GHashTable) holders = g_hash_table_new (NULL, NULL);
  BufSemaphore *semaphore = NULL;

  while ((semaphore = buf_semaphore_enter_next (self->top, semaphore)) != NULL)
    {
      Holder *holder = holder_new (semaphore);
      Holder *parent = g_hash_table_lookup (holders, semaphore->parent);

      g_ptr_array_add (self->holders, holder);
      g_hash_table_insert (holders, semaphore, holder);
      if (parent == NULL)
        continue;
      parent->own_bytes -= holder->allocated;
      parent->n_own -= holder->n_allocations;
    }
}

static void
count (BufHolders *self)
{
  for (guint i = 0; i < self->holders->len; i++)
    {
      Holder *holder = g_ptr_array_index (self->holders, i);

      holder->own_bytes = MAX (holder->own_bytes, 0);
      holder->n_own = MAX (holder->n_own, 0);
      if (is_pool (holder))
        self->n_allocations += holder->n_own;
      else
        self->n_permits += holder->n_own;
    }
}

/* Those with the most bytes come first. */
static int
compare_holders (gconstpointer a, gconstpointer b)
{
  const Holder *one = *(const Holder *const *) a;
  const Holder *other = *(const Holder *const *) b;

  return (one->own_bytes < other->own_bytes) - (one->own_bytes > other->own_bytes);
}

/* The caller holds no lock, and has entered the semaphore. */
BufHolders *
buf_holders_new (BufSemaphore *semaphore)
{
  BufHolders *self = g_new0 (BufHolders, 1);

  self->top = semaphore;
  self->holders = g_ptr_array_new_with_free_func (holder_free);
  collect (self);
  count (self);
  g_ptr_array_sort (self->holders, compare_holders);
  return self;
}

void
buf_holders_free (BufHolders *self)
{
  g_ptr_array_unref (self->holders);
  g_free (self);
}

static gchar *
count_allocations (gint64 n)
{
  return g_strdup_printf ("%" G_GINT64_FORMAT " %s",
                          n,
                          buf_words_choose (n, "allocation", "allocations"));
}

static gchar *
count_permits (gint64 n)
{
  return g_strdup_printf ("%" G_GINT64_FORMAT " %s", n, buf_words_choose (n, "permit", "permits"));
}

/* Returns a phrase such as: 2 allocations and 1 permit are outstanding. */
gchar *
buf_holders_get_summary (BufHolders *self)
{
  g_autofree gchar *allocations = count_allocations (self->n_allocations);
  g_autofree gchar *permits = count_permits (self->n_permits);

  if (self->n_permits == 0)
    return g_strdup_printf ("%s %s outstanding",
                            allocations,
                            buf_words_choose (self->n_allocations, "is", "are"));
  if (self->n_allocations == 0)
    return g_strdup_printf ("%s %s outstanding",
                            permits,
                            buf_words_choose (self->n_permits, "is", "are"));
  return g_strdup_printf ("%s and %s are outstanding", allocations, permits);
}

static void
append_holder (const Holder *self, gboolean leaks, GString *description)
{
  g_autofree gchar *title = buf_request_get_title (self->semaphore, "The");
  g_autofree gchar *what =
      is_pool (self) ? count_allocations (self->n_own) : count_permits (self->n_own);
  gboolean continues = leaks && is_pool (self);

  g_string_append_printf (description,
                          "  %s holds %s (%" G_GINT64_FORMAT " %s)%s\n",
                          title,
                          what,
                          self->own_bytes,
                          buf_words_choose (self->own_bytes, "byte", "bytes"),
                          continues ? ":" : ".");
  if (continues)
    self->semaphore->append_outstanding (self->semaphore, description);
}

static void
append_others (gint64 bytes, GString *description)
{
  g_string_append_printf (description,
                          "  Other pools and budgets hold %" G_GINT64_FORMAT " %s.\n",
                          bytes,
                          buf_words_choose (bytes, "byte", "bytes"));
}

static void
append_all (BufHolders *self, GString *description)
{
  gboolean leaks = (buf_debug_get_flags () & BUF_DEBUG_LEAKS) != 0;
  gint64 rest = 0;

  for (guint i = 0; i < self->holders->len; i++)
    {
      const Holder *holder = g_ptr_array_index (self->holders, i);

      if (holder->own_bytes > 0 && i < MAX_DESCRIBED)
        append_holder (holder, leaks, description);
      else
        rest += holder->own_bytes;
    }
  if (rest > 0)
    append_others (rest, description);
  if (!leaks && self->n_allocations > 0)
    buf_debug_append_hint (description);
}

/* Appends lines that describe the holders, with the most bytes first. */
void
buf_holders_append_to (BufHolders *self, GString *description)
{
  if (self->top->append_outstanding != NULL)
    self->top->append_outstanding (self->top, description);
  else
    append_all (self, description);
}
