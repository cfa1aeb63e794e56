/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A model of a tree of semaphores for Spin, as it is implemented: buf-semaphore-tree.c, and the
 * parts of buf-semaphore.c, buf-wait-queue-take.c and buf-semaphore-serve.c that concern levels.
 *
 * There are two children, 0 and 1, below a root, 2. Each level has one stripe, whose
 * compare-and-swap is one step. A section under the mutex is one step, too: model.pml, which has
 * one level, shows that the mutex guards the contents of a section, and how threads are woken.
 * Here, the serving thread grants, as for a task.
 *
 * The model checks that no level ever has more in use than its maximum; that nothing is lost; and
 * that no waiter stays when its bytes are available at all levels, which would leave it waiting at
 * the end.
 *
 * The options: USERS, the level at which each of them requests, and how much; ROUNDS; GIVE_UP, a
 * set of users, as bits, that may stop waiting at any moment; LOWERED, the value to which a thread
 * lowers the maximum of the root for a while. */

#ifndef USERS
#define USERS 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef GIVE_UP
#define GIVE_UP 0
#endif
#ifndef LOWERED
#define LOWERED 0
#endif
#ifndef MAXIMUM0
#define MAXIMUM0 2
#endif
#ifndef MAXIMUM1
#define MAXIMUM1 2
#endif
#ifndef MAXIMUM2
#define MAXIMUM2 3
#endif
#ifndef LEVEL1
#define LEVEL1 1 /* at which user 1 requests; user 0 does so at level 0 */
#endif
#ifndef LEVEL2
#define LEVEL2 2
#endif
#ifndef SIZE0
#define SIZE0 2
#endif
#ifndef SIZE1
#define SIZE1 1
#endif
#ifndef SIZE2
#define SIZE2 2
#endif

#define ROOT     2
#define N_LEVELS 3
#define PARENT(level) ((level) == ROOT -> 3 : ROOT)
#define NONE     3
#define AT(user) ((user) == 0 -> 0 : ((user) == 1 -> LEVEL1 : LEVEL2))
#define SIZE(user) ((user) == 0 -> SIZE0 : ((user) == 1 -> SIZE1 : SIZE2))
#define MAY_GIVE_UP(user) ((GIVE_UP >> (user)) & 1)
/* Whether the level is on the path of the user. */
#define PASSES(user, level) ((level) == ROOT || AT (user) == (level))

short free[N_LEVELS];
byte credit[N_LEVELS];
bool revoked[N_LEVELS];
short used[N_LEVELS]; /* exists only in the model */
short maximum[N_LEVELS];
bool waiting[USERS];
bool granted[USERS];
byte n_through;

inline revoke (level)
{
  if
  :: revoked[level]
  :: else ->
     free[level] = free[level] + credit[level];
     credit[level] = 0;
     revoked[level] = true
  fi
}

/* The invariant of a level; @put_aside are bytes taken by a fast path that has not continued. */
inline note_taken (user)
{
  l = AT (user);
  do
  :: l == NONE -> break
  :: else ->
     used[l] = used[l] + SIZE (user);
     assert (LOWERED || used[l] <= maximum[l]);
     l = PARENT (l)
  od
}

inline note_returned (user)
{
  l = AT (user);
  do
  :: l == NONE -> break
  :: else ->
     used[l] = used[l] - SIZE (user);
     l = PARENT (l)
  od
}

/* Sets @short to the lowest level that has too little for the user; NONE if there is none. */
inline find_short (user)
{
  short_at = NONE;
  l = AT (user);
  do
  :: l == NONE -> break
  :: else ->
     if
     :: free[l] < SIZE (user) && !revoked[l] ->
#ifdef FAULT_SHORT_WITHOUT_REVOKING
        skip
#else
        revoke (l)
#endif
     :: else
     fi;
     if
#ifdef FAULT_CHECK_OWN_LEVEL_ONLY
     :: l == AT (user) && free[l] < SIZE (user) -> short_at = l; break
#else
     :: free[l] < SIZE (user) -> short_at = l; break
#endif
     :: else -> l = PARENT (l)
     fi
  od
}

inline deduct (user)
{
  l = AT (user);
  do
  :: l == NONE -> break
  :: else ->
     free[l] = free[l] - SIZE (user);
     l = PARENT (l)
  od
}

/* Grants all that fit, in the order of their numbers. */
inline serve ()
{
  w = 0;
  do
  :: w == USERS -> break
  :: w < USERS && waiting[w] ->
     find_short (w);
     if
     :: short_at == NONE ->
        deduct (w);
        note_taken (w);
        waiting[w] = false;
        granted[w] = true;
        w = 0
     :: else -> w++
     fi
  :: w < USERS && !waiting[w] -> w++
  od
}

/* Whether the level has to stay revoked. */
inline find_wanted (level)
{
  wanted = free[level] < 0;
  w = 0;
  do
  :: w == USERS -> break
  :: else ->
     if
     :: waiting[w] && AT (w) == level -> wanted = true
#ifndef FAULT_RESTORE_WHILE_SHORT
     :: waiting[w] && PASSES (w, level) && SIZE (w) > free[level] -> wanted = true
#endif
     :: else
     fi;
     w++
  od
}

/* What a section at @level does at its end. */
inline end_section (level)
{
  serve ();
  e = level;
  do
  :: e == NONE -> break
  :: else ->
     find_wanted (e);
     if
     :: revoked[e] && !wanted -> revoked[e] = false
     :: else
     fi;
     if
     :: !revoked[e] && free[e] > 0 -> credit[e] = credit[e] + free[e]; free[e] = 0
     :: !revoked[e]
     :: else
     fi;
     e = PARENT (e)
  od
}

proctype user (byte me)
{
  byte l, e, w, rounds, short_at, refuser;
  bool wanted;

  do
  :: rounds == ROUNDS -> break
  :: else ->
     /* The fast path, from its level up. */
     refuser = AT (me);
     do
     :: refuser == NONE -> break
     :: else ->
        atomic {
          if
          :: !revoked[refuser] && credit[refuser] >= SIZE (me) ->
             credit[refuser] = credit[refuser] - SIZE (me);
             refuser = PARENT (refuser)
          :: else -> break
          fi
        }
     od;
     skip;

     if
     :: refuser == NONE -> d_step { note_taken (me); l = 0 }
     :: else ->
        d_step {
          /* The bytes taken below are put aside, and everything is decided again. */
          l = AT (me);
          do
          :: l == refuser -> break
          :: else ->
#ifndef FAULT_FORGET_WHAT_WAS_PUT_ASIDE
             free[l] = free[l] + SIZE (me);
#endif
             l = PARENT (l)
          od;
          find_short (me);
          if
          :: short_at == NONE -> deduct (me); note_taken (me); granted[me] = true
          :: else -> waiting[me] = true
          fi;
          end_section (AT (me));
          l = 0; e = 0; w = 0; wanted = false; short_at = 0
        };
        if
        :: granted[me] -> granted[me] = false
        :: MAY_GIVE_UP (me) && waiting[me] ->
           d_step {
             if
             :: waiting[me] -> waiting[me] = false
             :: else
             fi;
             end_section (AT (me));
             l = 0; e = 0; w = 0; wanted = false; short_at = 0
           };
           if
           :: granted[me] -> granted[me] = false
           :: else -> goto next
           fi
        fi
     fi;

     /* The bytes are in use. They are returned from the root down. */
     d_step { note_returned (me); l = 0 };
     refuser = ROOT;
     do
     :: refuser == NONE -> break
     :: else ->
        atomic {
          if
          :: !revoked[refuser] ->
             credit[refuser] = credit[refuser] + SIZE (me);
             if
             :: refuser == AT (me) -> refuser = NONE
             :: else -> refuser = AT (me)
             fi
          :: else -> break
          fi
        }
     od;
     skip;

     if
     :: refuser == NONE
     :: else ->
        d_step {
          l = AT (me);
          do
          :: true ->
             free[l] = free[l] + SIZE (me);
#ifdef FAULT_RETURN_TO_OWN_LEVEL_ONLY
             break;
#endif
             if
             :: l == refuser -> break
             :: else -> l = PARENT (l)
             fi
          od;
          end_section (AT (me));
          l = 0; e = 0; w = 0; wanted = false; short_at = 0
        }
     fi;

next:
     rounds++
  od;
  n_through++
}

proctype changer ()
{
  byte l, e, w, short_at;
  bool wanted;

  d_step {
    revoke (ROOT);
    free[ROOT] = free[ROOT] - (MAXIMUM2 - LOWERED);
    maximum[ROOT] = LOWERED;
    end_section (ROOT);
    l = 0; e = 0; w = 0; wanted = false; short_at = 0
  };
  d_step {
#ifndef FAULT_RAISE_WITHOUT_SERVING
    revoke (ROOT);
#endif
    free[ROOT] = free[ROOT] + (MAXIMUM2 - LOWERED);
    maximum[ROOT] = MAXIMUM2;
#ifndef FAULT_RAISE_WITHOUT_SERVING
    end_section (ROOT);
#endif
    l = 0; e = 0; w = 0; wanted = false; short_at = 0
  };
  d_step { n_through++ }
}

init
{
  byte i;

  d_step {
    maximum[0] = MAXIMUM0;
    maximum[1] = MAXIMUM1;
    maximum[2] = MAXIMUM2;
    credit[0] = MAXIMUM0;
    credit[1] = MAXIMUM1;
    credit[2] = MAXIMUM2
  };
  atomic {
    do
    :: i == USERS -> break
    :: else -> run user (i); i++
    od;
    if
    :: LOWERED > 0 -> run changer ()
    :: else
    fi
  };

  /* A user that waits forever does not finish. */
  n_through == USERS + (LOWERED > 0 -> 1 : 0);
  i = 0;
  do
  :: i == N_LEVELS -> break
  :: else ->
     assert (used[i] == 0 && free[i] + credit[i] == maximum[i]);
     i++
  od
}
