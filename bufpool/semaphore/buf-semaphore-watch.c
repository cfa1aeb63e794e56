/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "config.h"

#include "semaphore/buf-semaphore-sections-private.h"

/*
 * What the watcher does when it looks at a semaphore: it ends promises that were not kept, serves
 * the waiters that a section has left, asks the keepers again, and checks whether there is
 * something to report. This file, and each section, tell it when to look next, see
 * buf-semaphore-serve.c.
 */

/* How many keepers are asked at one look. */
#define BUF_SEMAPHORE_MAX_ASKED 32

/* Returns the level of a stall: the lowest one at which the oldest waiter is short. */
static BufLevel *
get_level_of_stall_locked (BufTree *tree)
{
  BufWaiter *oldest = g_queue_peek_head (&tree->queue.waiters);
  BufLevel *level;

  if (oldest == NULL)
    return NULL;

  level = buf_wait_queue_find_short_locked (oldest->level, &oldest->want);
  return level != NULL ? level : oldest->level;
}

/* Returns when the time without a grant becomes a stall, or G_MAXINT64 if no request waits. */
static gint64
get_time_of_stall_locked (BufTree *tree)
{
  BufWaiter *oldest = g_queue_peek_head (&tree->queue.waiters);

  if (oldest == NULL || tree->stall.time == 0)
    return G_MAXINT64;
  return MAX (tree->stall.quiet_since, oldest->since) + tree->stall.time;
}

/* Returns the level for which the watcher has to report a stall, or NULL. */
static BufLevel *
check_stall_locked (BufTree *tree, gint64 now)
{
  BufLevel *level = get_level_of_stall_locked (tree);

  if (level == NULL)
    return NULL;
  if (tree->stall.level != level || tree->stall.n_taken != level->n_taken)
    {
      tree->stall.level = level;
      tree->stall.n_taken = level->n_taken;
      buf_semaphore_begin_quiet_time_locked (tree, now);
    }
  if (tree->stall.reported || now < get_time_of_stall_locked (tree))
    return NULL;

  tree->stall.reported = TRUE;
  return level;
}

/* Returns when the watcher looks again if nothing happens: soon if threads were woken since the
 * last look, so that it need not be told of each one, and before a stall. */
static gint64
get_next_look_locked (BufTree *tree, gint64 now)
{
  gint64 next = get_time_of_stall_locked (tree);

  if (tree->stall.n_woken != tree->queue.n_woken)
    {
      tree->stall.n_woken = tree->queue.n_woken;
      return now + tree->queue.patience;
    }
  if (tree->queue.waiters.length == 0)
    return G_MAXINT64;

  if (tree->stall.reported)
    next = now + tree->stall.time;
  if (tree->stall.wait_threshold > 0)
    next = MIN (next, now + tree->stall.wait_threshold);
  return next;
}

/* Finds long waits, all at one level. Returns that level, or NULL. */
static BufLevel *
find_long_waits_locked (BufTree *tree, gint64 now, BufWatchNews *news)
{
  gint64 threshold = tree->stall.wait_threshold;
  BufLevel *level = NULL;

  news->n_waits = 0;
  while (threshold > 0 && news->n_waits < BUF_LONG_WAITS_MAX &&
         buf_wait_queue_find_long_wait_locked (&tree->queue,
                                               level,
                                               threshold,
                                               now,
                                               &news->waits[news->n_waits]))
    level = news->waits[news->n_waits++].level;
  return level;
}

/* Collects what to report, and returns the semaphore to report it to, if any. The semaphore is then
 * entered. */
static BufSemaphore *
gather_news_locked (BufTree *tree, gint64 now, BufWatchNews *news)
{
  BufLevel *level = check_stall_locked (tree, now);
  BufSemaphore *semaphore;

  news->stalled = level != NULL;
  news->n_waits = 0;
  if (level == NULL)
    level = find_long_waits_locked (tree, now, news);
  if (level == NULL)
    return NULL;

  semaphore = buf_semaphore_get_for_level (level);
  if (semaphore->report == NULL)
    return NULL;
  semaphore->n_inside++;
  return semaphore;
}

/* Chooses the keepers to ask. Their semaphores are entered. */
static guint
choose_keepers_locked (BufTree *tree, BufSemaphore **semaphores)
{
  BufSemaphore *root = buf_semaphore_get_for_level (tree->queue.root);
  guint64 round;
  guint n = 0;

  if (!tree->unfinished)
    return 0;

  tree->unfinished = FALSE;
  round = ++tree->n_rounds;
  while (n < BUF_SEMAPHORE_MAX_ASKED &&
         (semaphores[n] = buf_semaphore_ask_next_locked (root, TRUE, round)) != NULL)
    semaphores[n++]->n_inside++;
  return n;
}

/* The look of the watcher. Sections that end here check whether the keepers have to be asked
 * again. */
void
buf_semaphore_look (BufWatch *watch, gint64 now)
{
  BufTree *tree = (gpointer) ((guint8 *) watch - G_STRUCT_OFFSET (BufTree, watch));
  BufSemaphore *keepers[BUF_SEMAPHORE_MAX_ASKED];
  BufSemaphore *semaphore;
  BufWatchNews news;
  guint n_keepers;

  g_mutex_lock (&tree->mutex);
  buf_wait_queue_expire_locked (&tree->queue, now, &tree->ready);
  semaphore = gather_news_locked (tree, now, &news);
  n_keepers = choose_keepers_locked (tree, keepers);
  buf_watch_set_due_locked (&tree->watch, get_next_look_locked (tree, now));
  tree->queue.sooner = TRUE;
  buf_semaphore_serve_and_unlock (buf_semaphore_get_for_level (tree->queue.root));

  if (semaphore != NULL)
    semaphore->report (semaphore, &news);
  for (guint i = 0; i < n_keepers; i++)
    buf_semaphore_ask_and_leave (keepers[i], FALSE);
}
