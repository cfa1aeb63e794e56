/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The watcher: buf-watcher.c, and its work when it looks: buf-semaphore-serve.c. Its own mutex is
 * never held for more than one step. */

#ifdef FAULT_PROMISES_NEVER_END
#define EXPIRES(w) false
#else
#define EXPIRES(w) (PATIENCE_ENDS && MAY_BE_LATE (w))
#endif

/* Of several promises, any number may end at one look; here one, or all. */
inline expire ()                                        /* buf_wait_queue_expire_locked */
{
  if
  :: EXPIRES (0) -> d_step { make_late (0) }
  :: EXPIRES (1) -> d_step { make_late (1) }
  :: EXPIRES (2) -> d_step { make_late (2) }
  :: EXPIRES (0) && EXPIRES (1) -> d_step { make_late (0); make_late (1) }
  :: EXPIRES (1) && EXPIRES (2) -> d_step { make_late (1); make_late (2) }
  :: EXPIRES (0) && EXPIRES (2) -> d_step { make_late (0); make_late (2) }
  :: !EXPIRES (0) && !EXPIRES (1) && !EXPIRES (2)
#if TIME_ENDS
  :: true                                               /* the other time has passed */
#endif
  fi;
#if TIME_ENDS
  if
  :: d_step {
       get_oldest ();
       if
       :: MAY_BECOME_OWED (oldest) -> owed[oldest] = 1
       :: else
       fi
     }
  :: PATIENCE_ENDS                                      /* or not yet */
  fi
#endif
}

#if WATCHED
proctype watcher ()                                     /* watch_all */
{
  LOCALS;

  is_watcher = 1;
end:
  do
  :: atomic { watch != NEVER -> looking = 1 }           /* look_locked */
     QUEUE_UP
     atomic { LOCK; d_step { watch = NEVER } expire () } /* buf_semaphore_look */
     serve_and_unlock ();
     looking = 0
  od
}
#endif
