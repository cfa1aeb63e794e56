/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The lock of a stripe for Spin, as it is implemented: buf-biased-lock.c.
 *
 * Each thread has a store buffer, as on x86: what it stores to its "inside" becomes visible later, in
 * order. A compare-and-swap empties the buffer of its thread. membarrier() waits for each thread until
 * its buffer has been empty once. The state itself is stored at once: that is only seen earlier.
 *
 * Threads use the lock and revoke its bias. Each one has a reference on the memory, as by a block, and
 * leaves it in what the lock guards when it uses the lock for the last time. Then another thread takes
 * the lock, never opens it again, and frees the memory, as the end of a pool does.
 */

#ifndef THREADS
#define THREADS 2
#endif
#ifndef ROUNDS
#define ROUNDS 3 /* how often each of them uses the lock */
#endif
#ifndef REVOCATIONS
#define REVOCATIONS 2 /* how often each of them revokes at most */
#endif
#ifndef USES
#define USES 1 /* in a row, before the lock is biased */
#endif

#define NOBODY 255
#define OPEN   254
#define HELD   253

byte state = OPEN;             /* state */
byte user = NOBODY;            /* user */
byte n_uses;                   /* n_uses */

bit inside[THREADS];           /* inside: whether it is this lock */
chan buffer0 = [2] of { bit }; /* stores to it that are not visible yet */
chan buffer1 = [2] of { bit };
chan buffer2 = [2] of { bit };

/* Only in the model */
byte holder = NOBODY;          /* the thread that may change what the lock guards */
bit freed;                     /* the memory is gone */
byte references = THREADS - 1; /* on the memory */

#define TOUCH assert (!freed)

#define IS_VISIBLE(t) ((t == 0 && empty (buffer0)) || (t == 1 && empty (buffer1)) || (t == 2 && empty (buffer2)))

/* A thread finds its own stores in its buffer. Here, it only looks when it is not inside. */
#define IS_INSIDE(t) (t != me && inside[t])

inline store (t, value)
{
  if
  :: t == 0 -> buffer0!value
  :: t == 1 -> buffer1!value
  :: t == 2 -> buffer2!value
  fi
}

/* The processor makes a store visible, at any time. */
active proctype processor ()
{
  bit value;

end_of_processor:
  do
  :: atomic { buffer0?value -> inside[0] = value }
#if THREADS > 1
  :: atomic { buffer1?value -> inside[1] = value }
#endif
#if THREADS > 2
  :: atomic { buffer2?value -> inside[2] = value }
#endif
  od
}

inline enter_guarded ()
{
  atomic { assert (holder == NOBODY); holder = me }
}

inline leave_guarded ()
{
  atomic { assert (holder == me); holder = NOBODY }
}

inline compare_and_swap (expected, value)               /* and whether it succeeded: got */
{
  atomic {
    IS_VISIBLE (me);
    TOUCH;
    if
    :: state == expected -> state = value; got = 1
    :: else -> got = 0
    fi
  }
}

inline barrier ()                                       /* buf_biased_lock_barrier: not for its own bias */
{
#ifdef FAULT_REVOKE_WITHOUT_A_BARRIER
  skip
#else
  other = 0;
  do
  :: owner == me -> break
  :: owner != me && other < THREADS -> IS_VISIBLE (other); other++
  :: owner != me && other >= THREADS -> break
  od;
  other = 0
#endif
}

inline enter ()                                         /* buf_biased_lock_enter */
{
  got = 0;
  atomic { TOUCH; look = state };
  if
  :: look == me ->
     store (me, 1);
#ifdef FAULT_ENTER_WITHOUT_A_SECOND_LOOK
     look = me;
#else
     atomic { TOUCH; look = state };
#endif
     if
     :: look == me -> got = 1; by_bias = 1
     :: else -> store (me, 0)
     fi
  :: else
  fi
}

inline try ()                                           /* buf_biased_lock_try */
{
  enter ();
  if
  :: !got -> compare_and_swap (OPEN, HELD)
  :: else
  fi
}

inline unlock ()                                        /* buf_biased_lock_unlock, ..._unbiased */
{
#ifdef FAULT_UNLOCK_BY_THE_STATE
  atomic { TOUCH; by_bias = (state == me) };
#endif
  if
  :: by_bias ->
     leave_guarded ();
     by_bias = 0;
     store (me, 0)
#ifdef FAULT_TOUCH_AFTER_LEAVING
     ;
     TOUCH
#endif
  :: else ->
     atomic {
       TOUCH;
       if
       :: user != me -> user = me; n_uses = 0
       :: else
       fi;
       n_uses++
     }
     atomic {
       leave_guarded ();
       TOUCH;
       if
       :: n_uses >= USES -> n_uses = 0; state = me
       :: else -> state = OPEN
       fi
     }
  fi
}

inline revoke ()                                        /* buf_biased_lock_revoke */
{
  atomic { TOUCH; owner = state };
  if
  :: owner < THREADS && !IS_INSIDE (owner) ->
     compare_and_swap (owner, HELD);
     if
     :: got ->
        barrier ();
        if
#ifdef FAULT_REVOKE_ALTHOUGH_INSIDE
        :: atomic { TOUCH; state = OPEN }
#else
        :: IS_INSIDE (owner) -> atomic { TOUCH; assert (state == HELD); state = owner }
        :: !IS_INSIDE (owner) -> atomic { TOUCH; assert (state == HELD); assert (holder == NOBODY); state = OPEN }
#endif
        fi
     :: else
     fi
  :: else
  fi;
  got = 0;
  owner = NOBODY
}

/* A closed stripe is held, but not by bias; another thread may open it. */
inline close_and_open ()                                /* close_stripe_locked, open_stripe_locked */
{
  revoke ();
#ifdef FAULT_CLOSE_BY_BIAS
  try ();
#else
  compare_and_swap (OPEN, HELD);
#endif
  if
  :: got ->
     enter_guarded ();
     leave_guarded ();
     atomic { TOUCH; state = OPEN }
  :: else
  fi
}

#define LOCALS byte look, owner = NOBODY, other; bit got, by_bias

inline use_and_revoke ()
{
  do
  :: round < ROUNDS ->
     round++;
     try ();
     if
     :: got -> enter_guarded (); unlock ()
     :: else
     fi
  :: n_revoked < REVOCATIONS -> n_revoked++; revoke ()
  :: n_revoked < REVOCATIONS -> n_revoked++; close_and_open ()
  :: round == ROUNDS -> break
  od
}

inline use_for_the_last_time ()
{
  try ();
  if
  :: got -> enter_guarded (); references--; unlock ()
  :: else -> references--
  fi
}

proctype user_of (byte me)
{
  LOCALS;
  byte round, n_revoked;

  use_and_revoke ();
  use_for_the_last_time ()
}

/* A pool ends. The last user may still be about to leave, but does not touch the memory anymore. */
proctype end (byte me)
{
  LOCALS;

  references == 0;
  do
  :: revoke ();
     compare_and_swap (OPEN, HELD);
     if
     :: got -> break
     :: else
     fi
  od;
  enter_guarded ();
  freed = 1
}

init
{
  byte t;

  atomic {
    do
    :: t < THREADS - 1 -> run user_of (t); t++
    :: else -> break
    od;
    run end (THREADS - 1)
  }
  freed
}
