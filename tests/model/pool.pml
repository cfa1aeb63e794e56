/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The users of the budget: buf-pool-take.c, buf-pool-async.c, buf-pool.c, and the program. */

/* ---- buf-cancel-link.c, buf-request.c, buf-pool-take.c ------------------------------------ */

inline on_wait_cancelled (who)                          /* withdraw, on_cancelled */
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

inline wait_cancellably (me)                            /* buf_request_wait */
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
#ifdef FAULT_LOOKS_AT_THE_POOL_INSIDE
  TOUCH_POOL;
#endif
  leave ();
#if LOGS
  if
  :: out == GRANTED ->                                  /* log_granted */
     d_step { TOUCH_POOL; references++ }
     drop_library_reference ()
  :: else
  fi
#endif
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

/* The allocation is dropped before the task, or after it: then it keeps the pool alive. */
inline return_allocation (me)                           /* return_allocation, task_end_free */
{
  if
  :: release (SIZE (me));
     drop_library_reference ()
  :: drop_library_reference ();
     TOUCH_POOL;
     release (SIZE (me))
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
  d_step { TOUCH; TOUCH_POOL }                          /* deliver_allocation */
  if
  :: out == GRANTED -> return_allocation (me)
  :: else -> drop_library_reference ()
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

/* What the stripes contain at first, as if others had used them before. */
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
    references = 1 + N_IN (TASKS) + (CONSUMER == 1);
    unprotected = N_IN (REQUESTERS) - N_IN (TASKS) + N_CLOSERS + N_DRAINERS + N_CHANGERS;
    start_requester (0);
    start_requester (1);
    start_requester (2);
#if HELD
    run holder ();
#endif
#if PINNED
    run pinned_holder ();
#endif
#if SHARED
    run user ();
    run transfer ();
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
    run other_waiter ();
    run dispose ();
    run undertaker ()
#endif
  }
}

#ifdef LIVENESS
#define IN_LINE(w) ((n_line > 0 && line[0] == w) || (n_line > 1 && line[1] == w) || (n_line > 2 && line[2] == w))
#define WAITS(w)   (!HAS (STARVED, w) && IN_LINE (w))

ltl served { [] ((WAITS (0) -> <> !WAITS (0)) && (WAITS (1) -> <> !WAITS (1)) && (WAITS (2) -> <> !WAITS (2))) }
#endif
