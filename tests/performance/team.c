/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "team.h"

#include <pthread.h>
#include <stdatomic.h>

#include "harness.h"
#include "machine.h"

typedef struct
{
  Team *team;
  guint number;
  gint64 begin;
  gint64 end;
} Member;

struct _Team
{
  TeamFunc func;
  gpointer data;
  pthread_barrier_t start;
  _Atomic gboolean over;
};

static gpointer
run_member (gpointer data)
{
  Member *self = data;

  machine_pin_thread (self->number);
  pthread_barrier_wait (&self->team->start);
  self->begin = harness_get_nanoseconds ();
  self->team->func (self->team, self->number, self->team->data);
  self->end = harness_get_nanoseconds ();
  return NULL;
}

gint64
team_run_for (guint n_members, guint microseconds, TeamFunc func, gpointer data)
{
  Team team = { .func = func, .data = data };
  g_autofree Member *members = g_new0 (Member, n_members);
  g_autofree GThread **threads = g_new (GThread *, n_members);
  gint64 begin = G_MAXINT64, end = 0;

  pthread_barrier_init (&team.start, NULL, n_members + 1);
  for (guint i = 0; i < n_members; i++)
    {
      members[i] = (Member){ .team = &team, .number = i };
      threads[i] = g_thread_new ("member", run_member, &members[i]);
    }
  pthread_barrier_wait (&team.start);
  if (microseconds > 0)
    {
      g_usleep (microseconds);
      team_end (&team);
    }

  for (guint i = 0; i < n_members; i++)
    {
      g_thread_join (threads[i]);
      begin = MIN (begin, members[i].begin);
      end = MAX (end, members[i].end);
    }
  pthread_barrier_destroy (&team.start);
  return end - begin;
}

gint64
team_run (guint n_members, TeamFunc func, gpointer data)
{
  return team_run_for (n_members, 0, func, data);
}

gboolean
team_is_over (Team *self)
{
  return atomic_load_explicit (&self->over, memory_order_relaxed);
}

void
team_end (Team *self)
{
  atomic_store_explicit (&self->over, TRUE, memory_order_relaxed);
}
