/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The locked sections: buf-semaphore.c, and the threads inside: buf-semaphore-inside.c. */

/* Locks, and requests n bytes. The outcome is in out. */
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
  serve_and_unlock ()
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
    :: me == DRAIN && IS_DRAINED (0) -> finish (me, GRANTED)
    :: me == DISPOSE && IS_DRAINED (pinned) -> finish (me, GRANTED)
    :: else -> drains[me] = 1
    fi
  }
}

#ifdef FAULT_SIGNAL_ONCE_PER_WAIT
#define EXPECT(w, yes) skip
#else
#define EXPECT(w, yes) expects[w] = yes
#endif

#if STARVED
#define MAY_STARVE(me) :: HAS (STARVED, me) && !asleep[me] -> SET (starving, me); goto never_runs_again
#define NEVER_RUNS_AGAIN never_runs_again: skip
#else
#define MAY_STARVE(me)
#define NEVER_RUNS_AGAIN skip
#endif

#ifdef FAULT_NO_LAST_TRY
#define TRIES_AT_DEADLINE false
#else
#define TRIES_AT_DEADLINE true
#endif

/* A waiter that times out was short of bytes. */
inline check_refusal (who)
{
  get_oldest ();
  if
  :: who >= N_REQUESTERS -> assert (!drained[who])
  :: else ->
     assert (closed || SIZE (who) > free ||
             (oldest != NOBODY && oldest != who && owed[oldest] && SIZE (who) > free - SIZE (oldest)))
  fi
}

inline try_at_deadline (me)                             /* try_at_deadline_locked */
{
  taken = 0;
  if
  :: me < N_REQUESTERS && TRIES_AT_DEADLINE -> take_free (me, SIZE (me))
  :: me >= N_REQUESTERS && TRIES_AT_DEADLINE -> taken = drained[me]
  :: else
  fi;
  if
  :: taken -> finish (me, GRANTED)
  :: else -> check_refusal (me); finish (me, TIMED_OUT)
  fi
}

/* The outcome of the try is in m. */
#define SETTLED 0
#define FAILED  1
#define SLEEPS  2

inline try_when_woken (me)                              /* try_when_woken_locked */
{
  take_free (me, SIZE (me));
  if
  :: taken -> finish (me, GRANTED); m = SETTLED
  :: else -> rejoin (me); m = FAILED
  fi
}

/* Locks the mutex again before it continues. */
inline sleep (me)                                       /* sleep_locked */
{
  do
  :: outcome[me] != PENDING -> break
  :: else ->
     d_step {
       TOUCH;
       if
       :: late -> try_at_deadline (me); m = SETTLED
       :: !late && me < N_REQUESTERS && state[me] != ASLEEP -> try_when_woken (me)
       :: else ->
          asleep[me] = 1;                               /* buf_wakeup_sleep_locked */
          EXPECT (me, 1);
          m = SLEEPS;
          assert (ready == 0 && signals == 0);
          UNLOCK
       fi
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
     :: m == SLEEPS ->
        if
        :: !asleep[me]
        MAY_STARVE (me)
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
  set_watch ();
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

inline wait_until_drained (me)                          /* buf_semaphore_wait, for a drainer */
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
    :: n_line > 0 && IS_ASLEEP (line[0]) ->
       state[line[0]] = WOKEN;
       n_woken++;
       promised = promised + SIZE (line[0]);
       asleep[line[0]] = 0
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
    has_impossible = 1;                                 /* buf_wait_queue_set_maximum_locked */
    set_geometry ()
  }
  serve_and_unlock ()
}

inline close ()                                         /* buf_semaphore_close */
{
  QUEUE_UP
  atomic { LOCK; closed = 1; has_impossible = 1 }       /* buf_wait_queue_close_locked */
  revoke ();
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
#ifndef FAULT_LAST_LEAVER_DOES_NOT_END
      find_end ();
#endif
      UNLOCK
    }
  }
  end_memory ()
}

inline pin (n)                                          /* buf_semaphore_pin */
{
  QUEUE_UP
  atomic { LOCK; pinned = pinned + n }
  serve_and_unlock ()
}

inline release_pinned (n)                               /* buf_semaphore_release_pinned */
{
  QUEUE_UP
  atomic {
    LOCK;
    d_step {
      pinned = pinned - n;
      assert (pinned >= 0);
      free = free + n;
      in_use = in_use - n;
      BALANCE
    }
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
