/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The locked sections: buf-semaphore.c, buf-semaphore-inside.c. */

inline collect (at, left)                               /* collect_locked: the exchange */
{
  TOUCH;
  assert (stripe[at] >= 0);
  free = free + stripe[at];
  stripe[at] = left;
  BALANCE
}

inline revoke ()                                        /* revoke_locked */
{
  if
  :: revoked -> calm = 0
  :: else ->
     d_step { calm = 0; collect (0, REVOKED) }
     d_step {
       if
       :: mask == 1 -> collect (1, REVOKED)
       :: else
       fi;
       revoked = 1
     }
  fi
}

inline set_geometry ()                                  /* set_geometry_locked */
{
  mask = (maximum / 2 / MIN_UNITS >= 1);
  mark = (mask == 1 -> maximum / 4 : maximum)
}

inline settle ()                                        /* settle_locked */
{
  atomic { TOUCH; w = stripe[s] }                       /* the load */
  do
  :: atomic {
       stripe[s] == w;                                  /* the compare-and-swap, when it succeeds */
       TOUCH;
       NOT_REVOKED;
       unpromised = CREDIT (s) + free / (mask + 1);
       if
       :: unpromised > mark / 2 -> unpromised = mark / 2
       :: else
       fi;
       free = free + CREDIT (s) - unpromised;
       stripe[s] = unpromised;
       BALANCE;
       s = 0;
       w = 0
     }
     break
  :: atomic { stripe[s] != w; TOUCH; w = stripe[s] }    /* when it fails */
  od
}

#define IS_DRAINED (revoked && free == maximum)         /* is_drained_locked */
#ifdef FAULT_RESTORE_WHILE_QUEUED
#define IS_WANTED (closed || free < 0)
#else
#define IS_WANTED \
  (closed || free < 0 || n_line > 0 || drains[DRAIN] || drains[DISPOSE]) /* is_wanted_locked */
#endif

inline complete ()                                      /* buf_ready_complete, on_settled */
{
  do
  :: HAS (to_signal, 0) || HAS (to_signal, N_WAITERS) -> d_step { signal (0) }
  :: HAS (to_signal, 1) || HAS (to_signal, 1 + N_WAITERS) -> d_step { signal (1) }
  :: HAS (to_signal, 2) || HAS (to_signal, 2 + N_WAITERS) -> d_step { signal (2) }
  :: HAS (to_signal, DRAIN) -> d_step { signal (DRAIN) }
  :: HAS (to_signal, DISPOSE) -> d_step { signal (DISPOSE) }
  :: to_signal == 0 -> break
  od;
  if
  :: done != 0 -> d_step { settled = settled | done; done = 0 }
  :: else
  fi
}

inline serve_and_unlock ()                              /* serve_and_unlock */
{
  atomic {
    TOUCH;
    d_step {
      zero = (in_use == 0);                             /* whoever drains has to learn of it */
#ifndef FAULT_ZERO_IS_LOST
      if
      :: IS_DRAINED -> free_drainers ()
      :: else
      fi;
      serve ();
#else
      serve ();
      if
      :: IS_DRAINED -> free_drainers ()
      :: else
      fi;
#endif
      assert (!(zero && (drains[DRAIN] || drains[DISPOSE])));
      restoring = 0;
      if
      :: IS_WANTED -> calm = 0
      :: !IS_WANTED && revoked ->
         calm++;
         restoring = (calm >= CALM)
      :: else
      fi;
      done = ready;
      ready = 0;
      to_signal = signals;
      signals = 0;
      if
      :: !restoring -> UNLOCK
      :: else
      fi
    }
  }
  if
  :: restoring ->                                       /* restore_locked */
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
  complete ()
}

/* Locks, and asks for n bytes. What came of it is in out. */
inline lock_and_take (me, n)                            /* g_mutex_lock, take_locked */
{
  QUEUE_UP
  atomic {
    LOCK;
    out = outcome[me];                                  /* enqueue_locked: withdrawn before? */
    if
    :: out == PENDING && n > maximum -> out = TOO_LARGE
    :: out == PENDING && n <= maximum && closed -> out = CLOSED
    :: out == PENDING && n <= maximum && !closed && !revoked ->
       choose_stripe ();
       collect (s, 0)
    :: else
    fi
  }
  if
  :: out == PENDING ->
     if
     :: !revoked && n > free REVOKES -> revoke ()
     :: else
     fi;
     d_step {
       take_free (NOBODY, n);
       if
       :: taken -> out = GRANTED
       :: else -> calm = 0
       fi
     }
     if
     :: out == GRANTED && !revoked -> settle ()
     :: else -> s = 0
     fi
  :: else
  fi
}

inline acquire (me, n, enters)                          /* buf_semaphore_acquire */
{
  lock_and_take (me, n);
  atomic {
    if
    :: out == PENDING && enters -> n_inside++; PROTECTED
    :: out == GRANTED -> PROTECTED
    :: else
    fi
  }
#ifdef FAULT_NEWCOMER_DOES_NOT_SERVE
  d_step { UNLOCK }
#else
  serve_and_unlock ()
#endif
}

inline enqueue (me)                                     /* enqueue_locked */
{
  lock_and_take (me, SIZE (me));
  atomic {
    TOUCH;
    d_step {
      if
      :: outcome[me] != PENDING
      :: outcome[me] == PENDING && out == PENDING -> push (me)
      :: else -> finish (me, out)
      fi
    }
  }
}

inline enqueue_drainer (me)                             /* enqueue_locked, drain_locked */
{
  QUEUE_UP
  atomic { LOCK }
  revoke ();
  d_step {
    if
    :: IS_DRAINED -> finish (me, GRANTED)
    :: else -> drains[me] = 1
    fi
  }
}

#ifdef FAULT_SIGNAL_ONCE_PER_WAIT
#define EXPECT(w, yes) skip
#else
#define EXPECT(w, yes) expects[w] = yes
#endif

/* Locks the mutex again before it goes on. What came of the try is in m. */
#define SETTLED 0
#define FAILED  1
#define ASLEEP  2

inline sleep (me)                                       /* sleep_locked */
{
  do
  :: outcome[me] != PENDING -> break
  :: else ->
     d_step {
       TOUCH;
       ok = 0;
       taken = 0;
       if
       :: me < N_REQUESTERS && woken[me] ->
          ok = 1;
          forget_woken (me);
          take_free (me, SIZE (me))
       :: else
       fi;
       if
       :: taken -> finish (me, GRANTED); m = SETTLED
       :: !taken && late -> finish (me, TIMED_OUT); m = SETTLED
       :: !taken && !late && ok -> m = FAILED
       :: !taken && !late && !ok ->
          asleep[me] = 1;                               /* buf_wakeup_sleep_locked */
          EXPECT (me, 1);
          m = ASLEEP;
          assert (ready == 0 && signals == 0);
          UNLOCK
       fi;
       ok = 0
     }
     if
     :: m == SETTLED
     :: m == FAILED ->
#ifndef FAULT_WOKEN_DOES_NOT_SERVE
        serve_and_unlock ();
        QUEUE_UP
        atomic { LOCK }
#endif
        m = 0
     :: m == ASLEEP ->
        if
        :: !asleep[me]
        :: atomic { may_be_late && asleep[me]; asleep[me] = 0; late = 1 }
#if MAX_SPURIOUS
        :: atomic { n_spurious < MAX_SPURIOUS && asleep[me]; n_spurious++; asleep[me] = 0 }
#endif
        fi;
        QUEUE_UP
        atomic { LOCK; EXPECT (me, 0); m = 0 }
     fi
  od
}

inline sleep_and_unlock (me)
{
  sleep (me);
  atomic { out = outcome[me]; outcome[me] = PENDING; late = 0 }
#ifdef FAULT_LEAVER_DOES_NOT_SERVE
  d_step { UNLOCK }
#else
  serve_and_unlock ()
#endif
}

inline wait (me)                                        /* buf_semaphore_wait, for bytes */
{
  enqueue (me);
  sleep_and_unlock (me)
}

inline wait_until_drained (me)                          /* buf_semaphore_wait, for nobody */
{
  enqueue_drainer (me);
  sleep_and_unlock (me)
}

inline publish_before_mutex ()
{
  atomic { LOCK; choose_stripe () }
  if
  :: !revoked -> settle ()
  :: else -> s = 0
  fi;
  serve_and_unlock ()
}

inline notify_without_lock (n)
{
  d_step { TOUCH; free = free + n; in_use = in_use - n; BALANCE }
  d_step {
    TOUCH;
    if
    :: n_line > 0 && !woken[line[0]] -> woken[line[0]] = 1; n_woken++; asleep[line[0]] = 0
    :: else
    fi
  }
}

inline release_slowly (n)                               /* release_and_unlock */
{
  QUEUE_UP
  atomic {
    LOCK;
    d_step { free = free + n; in_use = in_use - n; BALANCE }
    if
    :: MAY_SETTLE -> choose_stripe ()
    :: else -> s = NOBODY
    fi
  }
  if
  :: s != NOBODY -> settle ()
  :: else -> s = 0
  fi;
  serve_and_unlock ()
}

inline release (n)                                      /* buf_semaphore_release */
{
  give_credit (n);
  if
#ifdef FAULT_PUBLISH_BEFORE_MUTEX
  :: ok -> publish_before_mutex ()
#else
  :: ok
#endif
#ifdef FAULT_NOTIFY_WITHOUT_LOCK
  :: else -> notify_without_lock (n)
#else
  :: else -> release_slowly (n)
#endif
  fi;
  ok = 0
}

inline withdraw (who, how)                              /* buf_semaphore_withdraw */
{
  QUEUE_UP
  atomic {
    LOCK;
    assert (HAS (alive, who));
    if
    :: outcome[who] == PENDING -> d_step { finish (who, how) }
    :: else
    fi
  }
  serve_and_unlock ()
}

inline set_maximum (n)                                  /* buf_semaphore_set_maximum */
{
  QUEUE_UP
  atomic { LOCK }
#ifndef FAULT_LOWER_WITHOUT_REVOKING
  revoke ();
#endif
  d_step {
    free = free + n - maximum;
    maximum = n;
    set_geometry ();
    fail_waiters (n, TOO_LARGE)
  }
  serve_and_unlock ()
}

inline close ()                                         /* buf_semaphore_close */
{
  QUEUE_UP
  atomic { LOCK; closed = 1 }
  revoke ();
  d_step { fail_waiters (-1, CLOSED) }
  serve_and_unlock ()
}

inline enter ()                                         /* buf_semaphore_enter */
{
  QUEUE_UP
  atomic { LOCK; d_step { n_inside++; PROTECTED; UNLOCK } }
}

inline leave ()                                         /* buf_semaphore_leave */
{
  QUEUE_UP
  atomic {
    LOCK;
    d_step {
      n_inside--;
      if
      :: n_inside == 0 && awaits_leavers -> leavers_awaited = 0 /* g_cond_broadcast */
      :: else
      fi;
      UNLOCK
    }
  }
}

inline wait_for_leavers ()                              /* buf_semaphore_wait_for_leavers */
{
  do
  :: QUEUE_UP
     atomic {
       LOCK;
       d_step {
#ifndef FAULT_NOBODY_AWAITS_LEAVERS
         awaits_leavers = 1;
#endif
         leavers_awaited = (n_inside > 0);
         done = leavers_awaited;
         UNLOCK
       }
     }
     if
     :: done == 0 -> break
     :: else -> atomic { !leavers_awaited; done = 0 }   /* g_cond_wait */
     fi
  od
}
