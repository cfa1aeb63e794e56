/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include <stdlib.h>

#include "debug/buf-debug-groups-private.h"
#include "debug/buf-words-private.h"

/*
 * Reports allocations that one thread has made in one place as one group.
 *
 * There may be as many places as allocations, so a hash table finds the groups. This is done twice:
 * first by whole call stacks, which compares only addresses and is possible under a lock, and then,
 * once the functions have names, without the frames of the library itself, because its internal
 * call paths differ.
 */

/* What the members of a group have in common. */
typedef struct
{
  const BufDebugOrigin *origin;
  guint n_own; /* the number of innermost frames that do not count */
} Key;

typedef struct
{
  Key key; /* contains the address of @origin */
  BufDebugOrigin origin;
  guint n_allocations;
  gsize bytes;
} Group;

static guint
key_hash (gconstpointer data)
{
  const Key *self = data;

  return buf_debug_stack_hash (&self->origin->stack, self->n_own) ^ self->origin->thread_id;
}

static gboolean
key_equal (gconstpointer one, gconstpointer other)
{
  const Key *a = one;
  const Key *b = other;

  return a->origin->thread_id == b->origin->thread_id &&
         buf_debug_stack_equal (&a->origin->stack, a->n_own, &b->origin->stack, b->n_own);
}

static Group *
group_new (const Key *key)
{
  Group *self = g_new0 (Group, 1);

  self->origin = *key->origin;
  self->key.origin = &self->origin;
  self->key.n_own = key->n_own;
  return self;
}

BufDebugGroups *
buf_debug_groups_new (void)
{
  return g_hash_table_new_full (key_hash, key_equal, NULL, g_free);
}

static void
add_to_group (BufDebugGroups *self, const Key *key, guint n_allocations, gsize bytes)
{
  Group *group = g_hash_table_lookup (self, key);

  if (group == NULL)
    {
      group = group_new (key);
      g_hash_table_insert (self, &group->key, group);
    }
  group->origin.since = MIN (group->origin.since, key->origin->since);
  group->n_allocations += n_allocations;
  group->bytes += bytes;
}

void
buf_debug_groups_add (BufDebugGroups *self, const BufDebugOrigin *origin, gsize bytes)
{
  const Key key = { .origin = origin };

  add_to_group (self, &key, 1, bytes);
}

static BufDebugNames *
look_up_names (BufDebugGroups *self)
{
  BufDebugNames *names = buf_debug_names_new ();
  GHashTableIter iter;
  gpointer group;

  g_hash_table_iter_init (&iter, self);
  while (g_hash_table_iter_next (&iter, NULL, &group))
    buf_debug_stack_add_names (&((Group *) group)->origin.stack, names);
  buf_debug_names_look_up (names);
  return names;
}

/* Merges groups that differ only in the library's own frames. */
static BufDebugGroups *
merge (BufDebugGroups *self, BufDebugNames *names)
{
  BufDebugGroups *merged = buf_debug_groups_new ();
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, self);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      const Group *group = value;
      const Key key = { &group->origin, buf_debug_stack_count_own (&group->origin.stack, names) };

      add_to_group (merged, &key, group->n_allocations, group->bytes);
    }
  return merged;
}

/* The groups with the most bytes come first, then the oldest. */
static int
compare_groups (gconstpointer a, gconstpointer b)
{
  const Group *one = *(const Group *const *) a;
  const Group *other = *(const Group *const *) b;

  if (one->bytes != other->bytes)
    return one->bytes < other->bytes ? 1 : -1;
  return (one->origin.since > other->origin.since) - (one->origin.since < other->origin.since);
}

static void
append_group (const Group *self, gint64 now, BufDebugNames *names, GString *description)
{
  g_string_append_printf (description,
                          "  %u %s (%" G_GSIZE_FORMAT
                          " %s) by thread %u \"%s\", the oldest %.3f s ago:\n",
                          self->n_allocations,
                          buf_words_choose (self->n_allocations, "allocation", "allocations"),
                          self->bytes,
                          buf_words_choose (self->bytes, "byte", "bytes"),
                          self->origin.thread_id,
                          self->origin.thread,
                          (gdouble) (now - self->origin.since) / G_USEC_PER_SEC);
  buf_debug_stack_append_to (&self->origin.stack, names, description);
}

/* Appends a description of all groups. */
void
buf_debug_groups_append_to (BufDebugGroups *self, GString *description)
{
  g_autoptr (GHashTable) names = look_up_names (self);
  g_autoptr (GHashTable) merged = merge (self, names);
  guint n_groups;
  /* The key is the first member. */
  g_autofree Group **groups = (Group **) g_hash_table_get_keys_as_array (merged, &n_groups);
  gint64 now = g_get_monotonic_time ();

  qsort (groups, n_groups, sizeof *groups, compare_groups);
  for (guint i = 0; i < n_groups; i++)
    append_group (groups[i], now, names, description);
}
