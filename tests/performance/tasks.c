/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Asynchronous requests, compared with a bare GTask: requests that are granted immediately, and
 * requests that wait for each other because the budget has room for only one. */

#include <bufpool/bufpool.h>
#include <stdlib.h>

#include "harness.h"
#include "machine.h"

#define BUFFER_SIZE 64
#define N_WAITING   1000

static guint n_done;

static void
record (Harness *harness, gint64 begin, guint n)
{
  harness_record (harness, "time", "µs", (harness_get_nanoseconds () - begin) / 1000.0 / n);
}

static void
run_until_done (guint n)
{
  while (n_done < n)
    g_main_context_iteration (NULL, TRUE);
}

static void
on_returned (GObject *object, GAsyncResult *result, gpointer user_data)
{
  free (g_task_propagate_pointer (G_TASK (result), NULL));
  n_done++;
}

static void
measure_bare_at_once (Harness *harness, gpointer data)
{
  guint n = harness_choose (harness, 30000, 100);
  gint64 begin = harness_get_nanoseconds ();

  for (n_done = 0; n_done < n;)
    {
      g_autoptr (GTask) task = g_task_new (data, NULL, on_returned, NULL);
      guint next = n_done + 1;

      g_task_return_pointer (task, malloc (BUFFER_SIZE), free);
      run_until_done (next);
    }
  record (harness, begin, n);
}

static void
on_allocated (GObject *pool, GAsyncResult *result, gpointer user_data)
{
  buf_pool_allocation_unref (buf_pool_allocate_finish (BUF_POOL (pool), result, NULL));
  n_done++;
}

static void
measure_pool_at_once (Harness *harness, gpointer data)
{
  g_autoptr (BufPool) pool = buf_pool_new (BUFFER_SIZE, 64 << 20, NULL);
  guint n = harness_choose (harness, 30000, 100);
  gint64 begin = harness_get_nanoseconds ();

  for (n_done = 0; n_done < n;)
    {
      guint next = n_done + 1;

      buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, on_allocated, NULL);
      run_until_done (next);
    }
  record (harness, begin, n);
}

static gboolean
return_task (gpointer data)
{
  g_task_return_pointer (data, malloc (BUFFER_SIZE), free);
  return G_SOURCE_REMOVE;
}

/* If another part of a program completes a task, it does so from a source in the task's context,
 * like the pool. */
static void
attach_return (GTask *task)
{
  g_autoptr (GSource) source = g_idle_source_new ();

  g_task_attach_source (task, source, return_task);
}

static void
on_returned_in_turn (GObject *object, GAsyncResult *result, gpointer user_data)
{
  GQueue *tasks = user_data;
  g_autoptr (GTask) next = g_queue_pop_head (tasks);

  on_returned (object, result, NULL);
  if (next != NULL)
    attach_return (next);
}

static void
measure_bare_in_turn (Harness *harness, gpointer data)
{
  guint rounds = harness_choose (harness, 20, 1);
  gint64 begin = harness_get_nanoseconds ();

  for (guint i = 0; i < rounds; i++)
    {
      GQueue tasks = G_QUEUE_INIT;
      g_autoptr (GTask) first = NULL;

      n_done = 0;
      for (guint j = 0; j < N_WAITING; j++)
        {
          GTask *task = g_task_new (data, NULL, on_returned_in_turn, &tasks);

          g_task_set_priority (task, G_PRIORITY_DEFAULT);
          g_queue_push_tail (&tasks, task);
        }
      first = g_queue_pop_head (&tasks);
      attach_return (first);
      run_until_done (N_WAITING);
    }
  record (harness, begin, rounds * N_WAITING);
}

static void
measure_pool_in_turn (Harness *harness, gpointer data)
{
  g_autoptr (BufPool) pool = buf_pool_new (BUFFER_SIZE, BUFFER_SIZE, NULL);
  guint rounds = harness_choose (harness, 20, 1);
  gint64 begin = harness_get_nanoseconds ();

  for (guint i = 0; i < rounds; i++)
    {
      n_done = 0;
      for (guint j = 0; j < N_WAITING; j++)
        buf_pool_allocate_async (pool, 1, G_PRIORITY_DEFAULT, NULL, on_allocated, NULL);
      run_until_done (N_WAITING);
    }
  record (harness, begin, rounds * N_WAITING);
}

int
main (int argc, char **argv)
{
  Harness *harness = harness_new (argc, argv, "tasks");
  g_autoptr (GObject) object = g_object_new (G_TYPE_OBJECT, NULL);

  machine_pin_thread (0);
  harness_add (harness, "granted at once", "libbufpool", measure_pool_at_once, NULL, NULL);
  harness_add (harness, "granted at once", "GTask", measure_bare_at_once, object, NULL);
  harness_add (harness, "granted in turn", "libbufpool", measure_pool_in_turn, NULL, NULL);
  harness_add (harness, "granted in turn", "GTask", measure_bare_in_turn, object, NULL);
  harness_measure (harness);
  return harness_finish (harness);
}
