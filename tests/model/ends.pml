/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* How a pool ends: buf-pool.c, buf-pool-instance.c, buf-memory.c, buf-pool-allocation-holding.c. */

/* ---- references on the pool --------------------------------------------------------------- */

/* g_object_unref(). With the last reference, it runs dispose, which is a process here, and returns
 * after that has finished. Then the reference that dispose has kept is handed over:
 * buf_pool_drop_library_reference(). */
inline unref_once (library)
{
  d_step {
    TOUCH_POOL;
    ok = (references == 1);
    if
    :: ok -> disposing = 1; by_library = library
    :: else -> references--
    fi
  }
  if
  :: ok ->
     atomic {
       !disposing;
       ok = 0;
       tail = revived;
       revived = 0;
       keeps = keeps || kept;
       kept = 0
     }
  :: else
  fi
}

/* If others have taken references meanwhile, it accesses the pool once more, before GLib 2.80. */
inline unref_pool (library)
{
  unref_once (library);
  if
  :: tail ->
     d_step { TOUCH_POOL; tail = 0 }
#ifndef FAULT_UNREF_TOUCHES_THE_POOL
     unref_once (1);                                    /* buf_pool_drop_after_dispatch */
     assert (!tail)
#endif
  :: else
  fi;
  d_step { handed = handed || keeps; keeps = 0 }        /* hand_over */
}

#ifdef FAULT_TASK_DROPS_AS_OWNER
#define OF_LIBRARY 0
#else
#define OF_LIBRARY 1
#endif

inline drop_library_reference ()                        /* buf_pool_drop_library_reference */
{
  unref_pool (OF_LIBRARY)
}

#if DISPOSED
/* The owner, and whatever needs the main loop of its thread: a transfer. */
proctype owner ()
{
  bit ok, tail, keeps;

  /* It may drop its reference when consumers without a reference are inside, or hold an
   * allocation. */
  unprotected == 0;
  unref_pool (0);
  owner_is_through = 1
}

proctype other_waiter ()                                /* drop_in_thread */
{
  bit ok, tail, keeps;

end:
  do
  :: atomic { handed -> handed = 0 }
     unref_pool (0)
  od
}

inline find_plain ()                                    /* buf_semaphore_has_plain; in m */
{
  QUEUE_UP
  atomic { LOCK; d_step { m = !IS_DRAINED (pinned); UNLOCK } }
}

inline wait_for_the_last ()                             /* wait_for_the_last */
{
  may_be_late = 1;                                      /* until the warning */
  do
  :: wait_until_drained (DISPOSE);
     may_be_late = 0;
     if
     :: out == GRANTED -> break
     :: else
     fi
  od
}

inline leave_to_thread ()                               /* buf_pool_leave_to_thread */
{
#ifdef FAULT_NOBODY_WAITS
  skip
#elif defined FAULT_HAND_OVER_TOO_EARLY
  d_step { references++; handed = 1 }
#else
  d_step { references++; kept = 1 }
#endif
}

inline abandon ()                                       /* buf_memory_abandon, buf_semaphore_abandon */
{
#ifdef FAULT_ABANDON_WITHOUT_LOCK
  d_step { TOUCH; abandoned = 1; find_end () }
#else
  QUEUE_UP
  atomic { LOCK; d_step { assert (closed && revoked); abandoned = 1; find_end (); UNLOCK } }
#endif
  end_memory ()
}

proctype dispose ()
{
  LOCALS;

end:
  do
  :: disposing ->                                       /* buf_pool_dispose */
     SET (alive, DISPOSE);
     close ();
#ifdef FAULT_ABANDON_WITHOUT_LOCK
     free + pinned == maximum;                          /* peeks */
#else
     find_plain ();
     if
     :: m == 1 && by_library -> leave_to_thread ()
     :: m == 1 && !by_library -> wait_for_the_last ()
     :: else
     fi;
#endif
     atomic {                                           /* the rest of g_object_unref */
       CLEAR (alive, DISPOSE);
       m = 0;
       out = PENDING;
       revived = (references > 1);
#ifndef FAULT_UNREF_TOUCHES_THE_POOL
       references = references + revived;               /* buf_pool_keep_until_dispatch */
#endif
       references--;
       gone = (references == 0);
       disposing = gone
     }
     if
     :: gone -> abandon (); disposing = 0               /* buf_pool_finalize */
     :: else
     fi
  od
}

/* When no process can do anything anymore, everything is freed. */
proctype undertaker ()
{
  timeout -> assert (gone && freed && in_use == 0)
}
#endif

/* ---- allocations that are outstanding from the start ------------------------------------ */

#if HELD
/* A thread with a plain allocation may use the pool without a reference. */
proctype holder ()
{
  LOCALS;

#if CONSUMER == 2
  d_step { TOUCH_POOL; references++ }                   /* buf_pool_allocate_async */
#endif
#if CONSUMER == 1
  drop_library_reference ();                            /* task_end_free */
  TOUCH_POOL;
#endif
  release (HELD);                                       /* buf_pool_allocation_unref */
#if CONSUMER == 2
  drop_library_reference ()
#else
  skip
#endif
}
#endif

#if PINNED
proctype pinned_holder ()
{
  LOCALS;

  release_pinned (PINNED)                               /* end_data */
}
#endif

#if SHARED
#define LAST (users == 0 && holds == 0)

#ifdef FAULT_HELD_AND_NOT_PINNED
#define PIN_SHARED ok = 1
#else
#define PIN_SHARED ok = 1; pin (SHARED)
#endif

inline end_allocation (is_pinned)                       /* end_allocation */
{
  if
  :: is_pinned -> release_pinned (SHARED)
  :: else -> release (SHARED)
  fi
}

proctype user ()                                        /* drop_reference */
{
  LOCALS;
  bit pins, last;

#ifdef FAULT_PIN_AFTER_THE_LAST_REFERENCE
  d_step { users--; last = LAST; pins = (holds > 0) }
  if
  :: pins -> pin (SHARED)
  :: else
  fi;
#else
  if
  :: holds > 0 -> pins = 1; PIN_SHARED
  :: holds == 0
  fi;
  d_step { users--; last = LAST; ok = 0 }               /* the compare-and-swap, when it succeeds */
#endif
  if
  :: last -> end_allocation (pins)
  :: else
  fi
}

proctype transfer ()                                    /* buf_hold_drop */
{
  LOCALS;
  bit last;

  owner_is_through || !NEEDS_OWNER;                     /* whose main loop it needs */
  d_step { holds--; last = LAST }
  if
  :: last -> end_allocation (1)
  :: else
  fi
}
#endif
