/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The queue: buf-waiter.c. All of it is under the mutex, and inside of one step. */

#ifdef FAULT_NO_BOUND
#define OWED(w) false
#define COUNT_OVERTAKEN(w) skip
#else
#define OWED(w) (overtaken[w] >= MAX_OVERTAKEN)         /* is_owed_locked */
#define COUNT_OVERTAKEN(w) overtaken[w]++
#endif

inline add_wakeup (who)                                 /* buf_wakeups_add_locked */
{
  if
  :: expects[who] && MAX_SIGNALS == 1 && signals != 0 -> expects[who] = 0; asleep[who] = 0
  :: expects[who] && !(MAX_SIGNALS == 1 && signals != 0) -> expects[who] = 0; SET (signals, WAKEUP (who))
  :: else
  fi
}

inline signal (who)                                     /* g_cond_signal, without the lock */
{
  if
  :: HAS (to_signal, WAKEUP (who)) -> asleep[who] = 0       /* lost when nobody sleeps there */
  :: else
  fi;
  CLEAR (to_signal, who);
  CLEAR (to_signal, who + N_WAITERS)                    /* of a wait that is over: wakes nobody */
}

inline forget_woken (who)                               /* buf_waiter_was_woken_locked */
{
  if
  :: who < N_REQUESTERS && woken[who] -> woken[who] = 0; n_woken--
  :: else
  fi
}

inline remove (who)                                     /* g_queue_unlink */
{
  k = 0;
  do
  :: k < n_line && line[k] != who -> k++
  :: else -> break
  od;
  if
  :: k < n_line ->
     n_line--;
     do
     :: k < n_line -> line[k] = line[k + 1]; k++
     :: else -> break
     od;
     line[n_line] = 0
  :: else
  fi
}

inline finish (who, how)                                /* buf_waiter_finish_locked */
{
  assert (outcome[who] == PENDING && HAS (alive, who));
  outcome[who] = how;
  if
  :: who < N_REQUESTERS -> forget_woken (who); remove (who); overtaken[who] = 0; passed[who] = 0
  :: else -> drains[who] = 0
  fi;
  if
  :: IS_TASK (who) -> ready = ready | (1 << who)
  :: else -> add_wakeup (who)
  fi
}

inline push (who)                                       /* buf_waiter_queue_push_locked */
{
  line[n_line] = who;
  n_line++;
  if
  :: SIZE (who) < smallest -> smallest = SIZE (who)
  :: else
  fi
}

inline take_free (who, n)                               /* buf_waiter_queue_take_locked */
{
  taken = 0;
  if
  :: n > free
  :: n <= free && n_line > 0 && line[0] != who && OWED (line[0])
  :: else ->
     if
     :: n_line > 0 && line[0] != who -> COUNT_OVERTAKEN (line[0]); PASS
     :: else
     fi;
     free = free - n;
     TAKE (n);
     taken = 1
  fi
}

inline wake (who)                                       /* wake_locked */
{
  if
  :: woken[who]
  :: else -> assert (HAS (alive, who)); woken[who] = 1; n_woken++; add_wakeup (who)
  fi
}

#ifdef FAULT_ALL_AWAKE
#define HAS_TURN(at) (at == 0 || !OWED (line[0]))
#elif defined FAULT_WAKE_ONLY_ONE
#define HAS_TURN(at) (at == 0)
#else
#define HAS_TURN(at) (at == 0 || (!OWED (line[0]) && n_woken < MAX_WOKEN)) /* has_turn_locked */
#endif

inline serve ()                                         /* buf_waiter_queue_serve_locked */
{
  unpromised = free;
  least = INFINITE;
  i = 0;
  do
  :: i < n_line && unpromised >= smallest ->
     other = line[i];
     if
     :: !HAS_TURN (i) -> break
     :: else
     fi;
     if
     :: SIZE (other) > unpromised ->
        if
        :: SIZE (other) < least -> least = SIZE (other)
        :: else
        fi;
        i++
     :: else ->
        unpromised = unpromised - SIZE (other);
        if
        :: IS_TASK (other) || OWED (other) ->
           take_free (other, SIZE (other));
           assert (taken);
           finish (other, GRANTED)
        :: else ->
           if
           :: SIZE (other) < least -> least = SIZE (other)
           :: else
           fi;
           wake (other);
           i++
        fi
     fi
  :: else -> break
  od;
  if
  :: i == n_line -> smallest = least
  :: else
  fi
}

/* The invariant at the top of buf-waiter.c: nobody sleeps whom the rule would let take. */
inline check_queue ()
{
  assert (n_woken == woken[0] + woken[1] + woken[2]);
  assert (n_woken <= MAX_WOKEN + 1);
  unpromised = free;
  i = 0;
  do
  :: i < n_line ->
     if
     :: i > 0 && (overtaken[line[0]] >= MAX_OVERTAKEN || n_woken >= MAX_WOKEN) -> break
     :: else
     fi;
     if
     :: SIZE (line[i]) <= unpromised ->
        assert (woken[line[i]]);
        unpromised = unpromised - SIZE (line[i])
     :: else
     fi;
     i++
  :: else -> break
  od
}

inline free_drainers ()                                 /* buf_waiter_queue_free_drainers_locked */
{
  if
  :: drains[DRAIN] -> finish (DRAIN, GRANTED)
  :: else
  fi;
  if
  :: drains[DISPOSE] -> finish (DISPOSE, GRANTED)
  :: else
  fi
}

inline fail_waiters (above, how)                        /* buf_waiter_queue_fail_locked */
{
  i = 0;
  do
  :: i < n_line ->
     other = line[i];
     if
     :: SIZE (other) > above -> finish (other, how)
     :: else -> i++
     fi
  :: else -> break
  od
}
