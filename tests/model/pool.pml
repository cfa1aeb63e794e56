/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who uses the budget: buf-pool-blocking.c, buf-pool-async.c, buf-pool.c, and the program. */

/* ---- buf-pool-blocking.c ----------------------------------------------------------------- */

inline on_wait_cancelled (who)                          /* on_wait_cancelled */
{
#ifdef FAULT_HANDLER_WITHOUT_LINK_MUTEX
  ok = HAS (link_budget, who);
#else
  atomic { !HAS (link_mutex, who); SET (link_mutex, who); ok = HAS (link_budget, who) }
#endif
  if
  :: ok -> withdraw (who, CANCELLED)
  :: else
  fi;
  d_step { CLEAR (link_mutex, who); ok = 0 }
}

inline wait_cancellably (me)                            /* wait_cancellably */
{
  d_step {                                              /* g_cancellable_connect */
    SET (link_budget, me);
    if
    :: HAS (cancelled, me) -> m = 1
    :: else -> SET (connected, me)
    fi
  }
  if
  :: m == 1 -> m = 0; on_wait_cancelled (me)
  :: else
  fi;
  wait (me);
  atomic { !HAS (link_mutex, me); CLEAR (link_budget, me); CLEAR (connected, me) }
}

inline wait_for_budget (me)                             /* block, wait_for_budget */
{
  SET (alive, me);                                      /* buf_waiter_init */
#if CANCELLABLE
  if
  :: HAS (CANCELLABLE, me) -> wait_cancellably (me)
  :: else -> wait (me)
  fi;
#else
  wait (me);
#endif
  d_step { CLEAR (alive, me); latest[me] = !latest[me] } /* buf_waiter_clear */
#if CANCELLABLE
  if
  :: HAS (cancelled, me) ->
     if
     :: out == GRANTED -> release (SIZE (me))
     :: else
     fi;
     out = CANCELLED
  :: else
  fi;
#endif
  TOUCH;                                                /* buf_pool_set_request_error */
  leave ()
}

#if REQUESTERS & ~TASKS
proctype thread (byte me)                               /* buf_pool_allocate, and unref */
{
  LOCALS;
  byte round;

  may_be_late = HAS (TIMED, me);
  do
  :: HAS (FOREVER, me) || round < ROUNDS ->
     d_step {
       round = (HAS (FOREVER, me) -> 0 : round + 1);
       relies = (round == ROUNDS)
     }
     take_credit (SIZE (me));
     if
     :: ok -> ok = 0; out = GRANTED
     :: else -> acquire (me, SIZE (me), true)
     fi;
     if
     :: out == PENDING -> wait_for_budget (me)
     :: else
     fi;
     if
     :: out == GRANTED -> release (SIZE (me))           /* allocation_free */
     :: out != GRANTED && relies -> d_step { TOUCH; PROTECTED }
     :: else
     fi;
     out = PENDING
  :: else -> break
  od;
  NEVER_RUNS_AGAIN
}
#endif

#if HELD
proctype holder ()                                      /* allocation_free */
{
  LOCALS;

  release (HELD)
}
#endif

#if N_DRAINERS
proctype drainer ()                                     /* buf_pool_drain_timeout */
{
  LOCALS;

  may_be_late = HAS (TIMED, DRAIN);
  relies = 1;
  enter ();
  SET (alive, DRAIN);
  wait_until_drained (DRAIN);
  CLEAR (alive, DRAIN);
  assert (out == GRANTED || may_be_late);
  leave ();
  NEVER_RUNS_AGAIN
}
#endif

/* ---- buf-pool-async.c -------------------------------------------------------------------- */

inline unref_pool ()                                    /* g_object_unref */
{
  d_step { references--; ok = (references == 0) }
  if
  :: ok -> freed                                        /* it returns when dispose() has */
  :: else
  fi
}

#ifdef FAULT_UNFETCHED_WITHOUT_REFERENCE
#define N_ON_THE_WAY 0
#else
#define N_ON_THE_WAY 1
#endif

inline return_allocation (me)                           /* return_allocation */
{
  references = references + N_ON_THE_WAY;
  if
  :: references = references - N_ON_THE_WAY;            /* buf_pool_allocate_finish */
     release (SIZE (me));
     unref_pool ()                                      /* the task goes */
  :: unref_pool ();                                     /* the task goes, unfetched */
     release (SIZE (me));                               /* drop_unfetched */
     if
     :: N_ON_THE_WAY == 1 -> unref_pool ()
     :: else
     fi
  fi
}

#if TASKS
proctype task (byte me)                                 /* buf_pool_allocate_async_as, and its loop */
{
  LOCALS;

  take_credit (SIZE (me));
  if
  :: ok -> ok = 0; out = GRANTED
  :: else -> acquire (me, SIZE (me), false)
  fi;
  if
  :: out == PENDING ->                                  /* wait_in_queue */
     SET (alive, me);
     enqueue (me);
     serve_and_unlock ();                               /* buf_semaphore_enqueue */
     do
     :: HAS (settled, me) -> break                      /* on_deliver */
     :: HAS (cancelled, me) && !HAS (settled, me) && !late ->
        late = 1;
        withdraw (me, CANCELLED)                        /* on_cancelled */
     od;
     atomic { out = outcome[me]; CLEAR (alive, me) }
  :: else
  fi;
  TOUCH;                                                /* deliver_allocation */
  if
  :: out == GRANTED -> return_allocation (me)
  :: else -> unref_pool ()
  fi
}
#endif

/* ---- buf-pool.c, and the program --------------------------------------------------------- */

#if CANCELLABLE
proctype canceller (byte who)                           /* g_cancellable_cancel */
{
  LOCALS;

  if
  :: true                                               /* or never */
  :: d_step { SET (cancelled, who); ok = HAS (connected, who) }
     if
     :: ok -> on_wait_cancelled (who)
     :: else
     fi
  fi
}
#endif

#if N_CLOSERS
proctype closer ()                                      /* buf_pool_close */
{
  LOCALS;

  relies = 1;
  close ();
  d_step { TOUCH; PROTECTED }                           /* has_closed */
}
#endif

#if N_CHANGERS
proctype changer ()                                     /* buf_pool_set_max_memory */
{
  LOCALS;

  relies = 1;
  set_maximum (LOWERED);
  set_maximum (MAXIMUM);
  d_step { TOUCH; PROTECTED }
}
#endif

#if DISPOSED
proctype owner ()
{
  bit ok;

  /* It may drop its reference when those who have none are inside, or hold an allocation. */
  unprotected == 0;
  unref_pool ()
}
#endif

inline wait_for_the_last ()                             /* wait_for_the_last */
{
#ifdef FAULT_PEEK_AT_ZERO
  atomic { free == maximum; out = GRANTED }
#else
  may_be_late = 1;                                      /* as if it had just been dropped */
  do
  :: wait_until_drained (DISPOSE);
     may_be_late = 0;
     if
     :: out == GRANTED -> break
     :: else
     fi
  od;
#endif
#if !defined FAULT_PEEK_AT_ZERO && !defined FAULT_DO_NOT_WAIT_FOR_LEAVERS
  wait_for_leavers ()
#endif
}

#if DISPOSED
proctype dispose ()                                     /* buf_pool_dispose, buf_pool_finalize */
{
  LOCALS;

  references == 0;
  SET (alive, DISPOSE);
  close ();
  wait_for_the_last ();
  CLEAR (alive, DISPOSE);
  end_watch ();
  d_step {                                              /* buf_semaphore_clear */
    assert (closed && n_inside == 0 && n_line == 0 && !drains[DRAIN] && !drains[DISPOSE] &&
            !drained[DRAIN] && !drained[DISPOSE]);
    assert (in_use == 0);
    freed = 1
  };
  NEVER_RUNS_AGAIN
}
#endif

#define N_IN(set) (HAS (set, 0) + HAS (set, 1) + HAS (set, 2))

inline start_requester (who)
{
  if
#if TASKS
  :: HAS (REQUESTERS, who) && IS_TASK (who) -> run task (who)
#endif
#if REQUESTERS & ~TASKS
  :: HAS (REQUESTERS, who) && !IS_TASK (who) -> run thread (who)
#endif
  :: !HAS (REQUESTERS, who)
  fi;
#if CANCELLABLE
  if
  :: HAS (CANCELLABLE, who) -> run canceller (who)
  :: else
  fi
#endif
}

/* What lies in the stripes at first, as if others had been there before. */
inline fill_stripe (at)
{
#ifdef NO_STRIPES
  skip
#else
  if
  :: stripe[at] = 0
#ifndef EMPTY_STRIPES
  :: free >= MAXIMUM / 4 -> stripe[at] = MAXIMUM / 4
#endif
  fi;
  free = free - stripe[at]
#endif
}

init
{
  atomic {
    fill_stripe (0);
    fill_stripe (1);
    references = 1 + N_IN (TASKS);
    unprotected = N_IN (REQUESTERS) - N_IN (TASKS) + N_CLOSERS + N_DRAINERS + N_CHANGERS;
    start_requester (0);
    start_requester (1);
    start_requester (2);
#if HELD
    run holder ();
#endif
#if N_CLOSERS
    run closer ();
#endif
#if N_DRAINERS
    run drainer ();
#endif
#if N_CHANGERS
    run changer ();
#endif
#if WATCHED
    run watcher ();
#endif
#if DISPOSED
    run owner ();
    run dispose ()
#endif
  }
}

#ifdef LIVENESS
#define IN_LINE(w) ((n_line > 0 && line[0] == w) || (n_line > 1 && line[1] == w) || (n_line > 2 && line[2] == w))
#define WAITS(w)   (!HAS (STARVED, w) && IN_LINE (w))

ltl served { [] ((WAITS (0) -> <> !WAITS (0)) && (WAITS (1) -> <> !WAITS (1)) && (WAITS (2) -> <> !WAITS (2))) }
#endif
