/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The queue: buf-wait-queue.c, and buf-wakeup.c. Everything is under the mutex, and inside one
 * step. */

/* ---- what the faults change -------------------------------------------------------------- */

#ifdef FAULT_ALL_AWAKE
#define HAS_TURN true
#elif defined FAULT_WAKE_ONLY_ONE
#define HAS_TURN false
#else
#define HAS_TURN (n_woken < MAX_WOKEN)
#endif
#ifdef FAULT_TASKS_WAIT_FOR_A_TURN
#define TASK_HAS_TURN HAS_TURN
#else
#define TASK_HAS_TURN true
#endif
#ifdef FAULT_LATE_IS_THE_OLDEST
#define IS_PASSED_OVER(w) false
#else
#define IS_PASSED_OVER(w) (PROMISES && state[w] == LATE)
#endif
#ifdef FAULT_OLDEST_WAITS_FOR_PROMISES
#define FREE_FOR_OLDEST (free - promised)
#else
#define FREE_FOR_OLDEST free
#endif

/* ---- wake-ups ---------------------------------------------------------------------------- */

inline add_wakeup (who)                                 /* buf_wakeups_add_locked */
{
  if
  :: expects[who] && MAX_SIGNALS == 1 && signals != 0 -> expects[who] = 0; asleep[who] = 0
  :: expects[who] && !(MAX_SIGNALS == 1 && signals != 0) -> expects[who] = 0; SET (signals, WAKEUP (who))
  :: else
  fi
}

inline add_wakeup_again (who)                           /* buf_wakeups_add_again_locked */
{
#ifndef FAULT_NO_SECOND_SIGNAL
  expects[who] = 1;
#endif
  add_wakeup (who)
}

inline signal (who)                                     /* g_cond_signal, without the lock */
{
  if
  :: HAS (to_signal, WAKEUP (who)) -> asleep[who] = 0       /* lost if no thread sleeps there */
  :: else
  fi;
  CLEAR (to_signal, who);
  CLEAR (to_signal, who + N_WAITERS)                    /* of a finished wait: wakes no thread */
}

/* ---- the oldest -------------------------------------------------------------------------- */

inline get_oldest ()                                    /* of note_change_locked; i is its place */
{
  i = 0;
  do
  :: i < n_line && IS_PASSED_OVER (line[i]) -> i++
  :: else -> break
  od;
  if
  :: i < n_line -> oldest = line[i]
  :: else -> oldest = NOBODY
  fi
}

inline find_place (who)                                 /* its number: k is the place in the line */
{
  k = 0;
  do
  :: k < n_line && line[k] != who -> k++
  :: else -> break
  od
}

/* ---- joining and leaving ----------------------------------------------------------------- */

inline push (who)                                       /* buf_wait_queue_push_locked */
{
  line[n_line] = who;
  n_line++
}

inline end_promise (who, how)                           /* end_promise_locked */
{
  if
  :: state[who] == WOKEN ->
#ifdef FAULT_LATE_KEEPS_ITS_TURN
     if
     :: how == LATE
     :: else -> n_woken--
     fi;
#else
     n_woken--;
#endif
#ifdef FAULT_LATE_KEEPS_ITS_BYTES
     if
     :: how == LATE
     :: else -> promised = promised - SIZE (who)
     fi
#else
     promised = promised - SIZE (who)
#endif
  :: else
  fi;
  state[who] = how
}

inline count_overtaken (who)                            /* count_overtaken_locked */
{
#ifdef FAULT_NO_BOUND
  skip
#else
  overtaken[who]++;
  owed[who] = (overtaken[who] >= MAX_OVERTAKEN)
#endif
}

inline rejoin (who)                                     /* buf_wait_queue_rejoin_locked */
{
#ifndef FAULT_LATE_IS_NOT_COUNTED
  if
  :: PROMISES && state[who] == LATE && !owed[who] -> count_overtaken (who)
  :: else
  fi;
#endif
  end_promise (who, ASLEEP);
#ifndef FAULT_REJOINS_WHEN_IMPOSSIBLE
  has_impossible = has_impossible || SIZE (who) > maximum
#endif
}

inline remove (who)                                     /* remove_locked */
{
  end_promise (who, ASLEEP);
  find_place (who);
  if
  :: k < n_line ->
     n_line--;
     do
     :: k < n_line -> line[k] = line[k + 1]; k++
     :: else -> break
     od;
     line[n_line] = 0
  :: else
  fi;
  overtaken[who] = 0;
  owed[who] = 0;
  passed[who] = 0;
  lates[who] = 0
}

inline finish (who, how)                                /* buf_wait_queue_finish_locked */
{
  assert (outcome[who] == PENDING && HAS (alive, who));
  outcome[who] = how;
  if
  :: who < N_REQUESTERS -> remove (who)
  :: else -> drains[who] = 0; drained[who] = 0
  fi;
  if
  :: IS_TASK (who) -> ready = ready | (1 << who)
  :: else -> add_wakeup (who)
  fi
}

/* ---- taking ------------------------------------------------------------------------------ */

/* A request takes n while others wait, and leaves this much. Once the oldest was overtaken as many
 * times as the bound allows, its bytes have to be left. Liveness has to do without the count. */
#ifdef LIVENESS
#define PASS(who, left) skip
#else
#define PASS(who, left) \
  if \
  :: passed[who] < MAX_OVERTAKEN -> passed[who]++ \
  :: else -> assert (left >= SIZE (who)) \
  fi
#endif

inline take_free (who, n)                               /* buf_wait_queue_take_locked */
{
  taken = 0;
  get_oldest ();
  find_place (who);
  overtakes = (oldest != NOBODY && oldest != who && k > i);
  if
  :: closed || n > free
  :: !closed && n <= free && overtakes && owed[oldest] && n > free - SIZE (oldest)
  :: else ->
     if
     :: overtakes ->
        PASS (oldest, free - n);
        if
        :: !owed[oldest] -> count_overtaken (oldest)    /* overtake_locked */
        :: else
        fi
     :: else
     fi;
     free = free - n;
     TAKE (n);
     taken = 1
  fi
}

/* ---- serving ----------------------------------------------------------------------------- */

inline wake (who)                                       /* wake_locked */
{
  assert (HAS (alive, who) && state[who] == ASLEEP);
  add_wakeup (who);
  if
  :: PROMISES -> state[who] = WOKEN; n_woken++; promised = promised + SIZE (who)
  :: else -> state[who] = LATE
  fi
}

#define IS_ASLEEP(w) (state[w] == ASLEEP)               /* in a tree, that is */

inline find_impossible ()                               /* find_impossible_locked */
{
  next = NOBODY;
  if
  :: closed && n_line > 0 -> next = line[0]
  :: closed && n_line == 0
  :: else ->
     k = 0;
     do
     :: k < n_line && !(IS_ASLEEP (line[k]) && SIZE (line[k]) > maximum) -> k++
     :: else -> break
     od;
     if
     :: k < n_line -> next = line[k]
     :: else -> has_impossible = 0
     fi
  fi
}

/* The bytes that others than the oldest may take. */
#define KEPT \
  (oldest != NOBODY && owed[oldest] && state[oldest] != WOKEN -> SIZE (oldest) : 0)

inline find_next ()                                     /* find_next_locked */
{
  next = NOBODY;
  get_oldest ();
  if
  :: oldest != NOBODY && IS_ASLEEP (oldest) && SIZE (oldest) <= FREE_FOR_OLDEST -> next = oldest
  :: oldest == NOBODY
  :: else ->
     unpromised = free - promised - KEPT;
     k = 0;
     do
     :: k < n_line && !(IS_ASLEEP (line[k]) && SIZE (line[k]) <= unpromised &&
                        (IS_TASK (line[k]) -> TASK_HAS_TURN : HAS_TURN)) -> k++
     :: else -> break
     od;
     if
     :: k < n_line -> next = line[k]
     :: else
     fi
  fi
}

inline grant (who)                                      /* grant_locked */
{
  take_free (who, SIZE (who));
  if
  :: taken -> finish (who, GRANTED)
  :: else
  fi
}

inline serve_one ()                                     /* serve_one_locked; next: NOBODY when done */
{
  next = (drained[DRAIN] -> DRAIN : (drained[DISPOSE] -> DISPOSE : NOBODY));
  if
  :: next != NOBODY -> finish (next, GRANTED)
  :: else ->
     if
     :: has_impossible -> find_impossible ()
     :: else
     fi;
     if
     :: next != NOBODY -> finish (next, (closed -> CLOSED : TOO_LARGE))
     :: else ->
        find_next ();
        if
        :: next == NOBODY
        :: next != NOBODY && IS_TASK (next) -> grant (next)
        :: else -> wake (next)
        fi
     fi
  fi
}

inline serve ()                                         /* buf_wait_queue_serve_locked */
{
  n_served = 0;
  do
  :: BATCH > 0 && n_served == BATCH -> break
  :: else ->
     serve_one ();
     if
     :: next == NOBODY -> break
     :: else -> n_served++
     fi
  od
}
#define ALL_SERVED (BATCH == 0 || n_served < BATCH)

inline note_drained ()                                  /* buf_wait_queue_note_drained_locked */
{
  if
  :: pinned == 0 ->
     drained[DRAIN] = drained[DRAIN] || drains[DRAIN];
     drains[DRAIN] = 0
  :: else
  fi;
  drained[DISPOSE] = drained[DISPOSE] || drains[DISPOSE]; /* spares_pinned */
  drains[DISPOSE] = 0
}

/* ---- time ---------------------------------------------------------------------------------- */

inline make_late (who)                                  /* make_late_locked */
{
  end_promise (who, LATE);
#ifdef LIVENESS
  lates[who] = lates[who] + owed[who];
#endif
  add_wakeup_again (who)
}

#ifdef LIVENESS
#define MAY_BE_LATE(w) \
  (state[w] == WOKEN && (HAS (starving, w) || !owed[w] || lates[w] < LATES))
#else
#define MAY_BE_LATE(w) (state[w] == WOKEN)
#endif
#define MAY_BECOME_OWED(w) (w != NOBODY && overtaken[w] > 0 && !owed[w]) /* is_being_overtaken */

/* ---- invariants -------------------------------------------------------------------------- */

/* The invariant at the top of buf-wait-queue.c: no waiter that the rule would serve is asleep. It
 * need not hold while a process is about to serve the rest of a batch: a caller that continues, or
 * the watcher, which then looks immediately. */
inline check_queue ()
{
  assert (n_woken == (state[0] == WOKEN) + (state[1] == WOKEN) + (state[2] == WOKEN));
  assert (n_woken <= MAX_WOKEN + 1);
  assert (promised == (state[0] == WOKEN -> SIZE0 : 0) + (state[1] == WOKEN -> SIZE1 : 0) +
                      (state[2] == WOKEN -> SIZE2 : 0));
#if PATIENCE_ENDS
  assert (n_woken == 0 || watch != NEVER);
#endif
  if
  :: n_going_on > 0 || watch == NOW
  :: else ->
     assert (!drained[DRAIN] && !drained[DISPOSE]);
     assert (!closed || n_line == 0);
     i = 0;
     do
     :: i < n_line && PROMISES && state[line[i]] == LATE -> i++
     :: else -> break
     od;
     oldest = (i < n_line -> line[i] : NOBODY);
     assert (oldest == NOBODY || !IS_ASLEEP (oldest) || SIZE (oldest) > free);
     unpromised = free - promised - KEPT;
     k = 0;
     do
     :: k < n_line ->
        assert (!IS_ASLEEP (line[k]) || SIZE (line[k]) <= maximum);
        assert (!IS_ASLEEP (line[k]) || SIZE (line[k]) > unpromised ||
                (!IS_TASK (line[k]) && n_woken >= MAX_WOKEN));
        k++
     :: else -> break
     od
  fi
}
