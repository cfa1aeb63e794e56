/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The stripes: buf-semaphore-private.h, buf-semaphore-stripes.c. */

/* ---- what the faults change -------------------------------------------------------------- */

#ifdef FAULT_GIVE_WITHOUT_COMPARING
#define GIVE_BLINDLY || true
#else
#define GIVE_BLINDLY
#endif
#ifdef FAULT_PUBLISH_BEFORE_MUTEX
#define WITHIN_MARK(n) true
#else
#define WITHIN_MARK(n) n <= m - w
#endif
#ifdef FAULT_REFILL_REVOKED
#define MAY_SETTLE  true
#define NOT_REVOKED skip
#else
#define MAY_SETTLE  !revoked
#define NOT_REVOKED assert (!revoked && w >= 0)
#endif
#ifdef FAULT_WAIT_WITHOUT_REVOKING
#define REVOKES && false
#else
#define REVOKES
#endif

/* ---- without the mutex -------------------------------------------------------------------- */

/* The state of every process: the stripe and the word it has loaded, the mark, the outcome of a
 * request, sets of tasks to complete and of wake-ups to signal, and some results. Here, to be late
 * is to have reached one's own deadline. */
#define LOCALS \
  byte s, m, out, done; \
  short w, to_signal; \
  bit ok, restoring, late, may_be_late, relies, more, going, ends, tail, keeps, is_watcher

/* From here on, the pool cannot end before this process has finished with it, or this process no
 * longer needs it. */
#define PROTECTED \
  unprotected = unprotected - relies; \
  relies = 0

inline choose_any_stripe ()                             /* buf_semaphore_get_stripe, stale mask */
{
  if
  :: s = 0
  :: s = 1
  fi
}

inline choose_stripe ()                                 /* buf_semaphore_get_stripe, under the mutex */
{
  if
  :: s = 0
  :: mask == 1 -> s = 1
  fi
}

inline load_mark ()                                     /* mark: it may be stale */
{
#ifdef OTHER_MARK
  if
  :: m = mark
  :: m = OTHER_MARK
  :: m = MAXIMUM / 4
  fi
#else
  m = mark
#endif
}

inline take_credit (n)                                  /* buf_semaphore_take_credit */
{
#ifdef NO_STRIPES
  ok = 0
#else
  atomic { TOUCH; choose_any_stripe (); w = stripe[s] } /* the load */
  if
  :: w >= n ->
     d_step {
       TOUCH;
       ok = (stripe[s] == w);                           /* buf_stripe_exchange */
       if
       :: ok ->
          stripe[s] = w - n;
          TAKE (n);
          get_oldest ();
          if
          :: oldest != NOBODY -> PASS (oldest, free)
          :: else
          fi;
          BALANCE;
          PROTECTED
       :: else
       fi;
       s = 0;
       w = 0
     }
  :: else -> d_step { ok = 0; s = 0; w = 0 }
  fi
#endif
}

inline give_credit (n)                                  /* buf_semaphore_give_credit */
{
#ifdef NO_STRIPES
  ok = 0
#else
  atomic { TOUCH; choose_any_stripe (); load_mark () }
  d_step { TOUCH; w = stripe[s] }                       /* the load */
  if
  :: w >= 0 && WITHIN_MARK (n) ->
     d_step {
       TOUCH;
       ok = (stripe[s] == w) GIVE_BLINDLY;              /* buf_stripe_exchange */
       if
       :: ok -> stripe[s] = w + n; in_use = in_use - n; BALANCE
       :: else
       fi;
       s = 0;
       w = 0;
       m = 0
     }
  :: else -> d_step { ok = 0; s = 0; w = 0; m = 0 }
  fi
#endif
}

/* ---- under the mutex: buf-semaphore-stripes.c ---------------------------------------------- */

inline collect (at, left)                               /* buf_semaphore_collect_locked: the exchange */
{
  TOUCH;
  assert (stripe[at] >= 0);
  free = free + stripe[at];
  stripe[at] = left;
  BALANCE
}

inline revoke ()                                        /* buf_semaphore_revoke_locked */
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

inline set_geometry ()                                  /* buf_semaphore_set_geometry_locked */
{
  mask = (maximum / 2 / MIN_UNITS >= 1);
  mark = (mask == 1 -> maximum / 4 : maximum)
}

inline settle ()                                        /* buf_semaphore_settle_locked */
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
