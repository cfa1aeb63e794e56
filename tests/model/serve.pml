/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* How every section ends: buf-semaphore-serve.c. */

#define IS_DRAINED(n) (revoked && free + n == maximum)  /* buf_semaphore_is_drained_locked */
#ifdef FAULT_RESTORE_WHILE_QUEUED
#define IS_WANTED (closed || free < 0)
#elif defined NO_STRIPES
#define IS_WANTED true
#else
#define IS_WANTED \
  (closed || free < 0 || n_line > 0 || drains[DRAIN] || drains[DISPOSE] || drained[DRAIN] || \
   drained[DISPOSE])                                    /* is_wanted_locked */
#endif

inline set_watch ()                                     /* buf_semaphore_set_watch_locked */
{
#if PATIENCE_ENDS && !defined FAULT_WATCH_IS_NOT_SET
  if
  :: watch == NEVER && n_woken > 0 -> watch = LATER
  :: else
  fi;
#endif
#if TIME_ENDS
  get_oldest ();
  if
  :: watch == NEVER && MAY_BECOME_OWED (oldest) -> watch = LATER
  :: else
  fi;
#endif
  skip
}

#if MAX_LOST
/* For other threads, a thread that is preempted before it signals never signals. */
#define LOSE_SIGNALS \
  :: d_step { to_signal != 0 && n_lost < MAX_LOST && !is_watcher -> to_signal = 0; n_lost++ }
#else
#define LOSE_SIGNALS
#endif

inline complete ()                                      /* buf_ready_complete, on_settled */
{
  do
  :: HAS (to_signal, 0) || HAS (to_signal, N_WAITERS) -> d_step { signal (0) }
  :: HAS (to_signal, 1) || HAS (to_signal, 1 + N_WAITERS) -> d_step { signal (1) }
  :: HAS (to_signal, 2) || HAS (to_signal, 2 + N_WAITERS) -> d_step { signal (2) }
  :: HAS (to_signal, DRAIN) -> d_step { signal (DRAIN) }
  :: HAS (to_signal, DISPOSE) -> d_step { signal (DISPOSE) }
  LOSE_SIGNALS
  :: to_signal == 0 -> break
  od;
  if
  :: done != 0 -> d_step { settled = settled | done; done = 0 }
  :: else
  fi
}

/* Serves one batch, and sets more if a waiter is left. */
inline serve_batch ()                                   /* serve_locked */
{
  zero = (in_use == 0);                                 /* each drainer has to be notified */
  no_plain = (in_use == pinned);
#ifndef FAULT_ZERO_IS_LOST
  if
  :: IS_DRAINED (pinned) -> note_drained ()
  :: else
  fi;
  serve ();
#else
  serve ();
  if
  :: IS_DRAINED (pinned) -> note_drained ()
  :: else
  fi;
#endif
  assert (!(zero && drains[DRAIN]) && !(no_plain && drains[DISPOSE]));
  more = !ALL_SERVED;
  restoring = 0;
  if
  :: IS_WANTED -> calm = 0
  :: !IS_WANTED && revoked ->
     calm++;
     restoring = (calm >= CALM)
  :: else
  fi;
  set_watch ()
}

#ifdef FAULT_ENDS_UNDER_THOSE_INSIDE
#define NOBODY_INSIDE true
#else
#define NOBODY_INSIDE (n_inside == 0)
#endif

inline find_end ()                                      /* buf_semaphore_ends_locked */
{
  ends = abandoned && NOBODY_INSIDE && free == maximum;
#ifndef FAULT_ENDS_TWICE
  if
  :: ends -> abandoned = 0
  :: else
  fi
#endif
}

#ifdef FAULT_WATCHER_WAITS_FOR_ITSELF
#define LOOKS_ITSELF false
#else
#define LOOKS_ITSELF is_watcher
#endif

#ifdef FAULT_END_DOES_NOT_WAIT
#define IS_LOOKED_AT false
#else
#define IS_LOOKED_AT (looking && !LOOKS_ITSELF)
#endif

inline end_watch ()                                     /* buf_watch_end */
{
  atomic { !IS_LOOKED_AT -> watch = NEVER }
}

inline end_memory ()                                    /* end_memory, buf_semaphore_clear */
{
  if
  :: ends ->
     end_watch ();
     d_step {
       assert (!freed && gone);
       assert (closed && n_inside == 0 && in_use == 0 && n_line == 0);
       assert (!drains[DRAIN] && !drains[DISPOSE] && !drained[DRAIN] && !drained[DISPOSE]);
       freed = 1;
       ends = 0
     }
  :: else
  fi
}

#if BATCH
#ifdef FAULT_GOES_ON_OUTSIDE
#define COUNT_GOING_ON(n) n_going_on = n_going_on + n
#else
#define COUNT_GOING_ON(n) \
  n_going_on = n_going_on + n; \
  n_inside = n_inside + n
#endif

/* A caller that continues is counted as inside. It may leave the rest to the watcher. */
inline go_on_or_leave ()                                /* serve_more_and_unlock */
{
#ifdef FAULT_REST_IS_FORGOTTEN
  more = 0;
#endif
  if
  :: more && going                                      /* there is time */
#if PROMISES
  :: more && going ->                                   /* there is none */
     more = 0;
#ifndef FAULT_LEAVES_WITHOUT_A_WATCH
     watch = NOW
#endif
#endif
  :: else
  fi;
  d_step {
    if
    :: more && !going -> COUNT_GOING_ON (1)
    :: !more && going ->
       n_going_on--;
#ifndef FAULT_GOES_ON_OUTSIDE
       n_inside--
#endif
    :: else
    fi;
    going = more
  }
}
#else
inline go_on_or_leave ()
{
  skip
}
#endif

inline serve_section ()
{
  atomic {
    TOUCH;
    d_step { serve_batch () }
    go_on_or_leave ();
    d_step {
      done = ready;
      ready = 0;
      to_signal = signals;
      signals = 0;
      if
      :: !restoring -> find_end (); UNLOCK
      :: else
      fi
    }
  }
  if
  :: restoring ->                                       /* buf_semaphore_restore_locked */
     d_step { TOUCH; calm = 0; stripe[0] = 0 }
     d_step {
       TOUCH;
       if
       :: mask == 1 -> stripe[1] = 0
       :: else
       fi;
       revoked = 0;
       restoring = 0;
       UNLOCK
     }
  :: else
  fi;
  complete ();
  end_memory ()
}

inline serve_and_unlock ()                              /* buf_semaphore_serve_and_unlock */
{
#if BATCH
  do
  :: serve_section ();
     if
     :: more -> QUEUE_UP atomic { LOCK }
     :: !more -> break
     fi
  od;
  skip
#else
  serve_section ()
#endif
}
