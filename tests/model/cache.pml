/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The cache of blocks, as it is implemented, for Spin: buf-cache*.c, buf-depot.c, buf-semaphore-keeper.c.
 *
 * The semaphore is reduced to what the cache sees of it: the mutex, the free bytes, whether the stripes
 * of credit are revoked, and a queue that is served in its order. That its own fast path is right is
 * shown by model.pml; here every request that is no hit goes through the mutex.
 *
 * The bit of a stripe is exchanged, and stored, in separate steps, so a holder may be interrupted
 * between them. What lies in a stripe is changed in the step that gets its bit. A locked section is
 * cut where it touches a bit. A thread may use either stripe each time: that covers every numbering of
 * the threads, and a number of stripes that is stale.
 *
 * Blocks are numbered, each is one byte; sets of them are bits. A large request takes LARGE bytes, and
 * its block is never cached.
 *
 * What only the model has, to check the code against: exists, owned, owned_pinned, large_out, n_through, freed.
 */

#ifndef MAXIMUM
#define MAXIMUM 2
#endif
#ifndef USERS
#define USERS 2 /* threads that request one byte, and drop it */
#endif
#ifndef ROUNDS
#define ROUNDS 2 /* how often each of them does so */
#endif
#ifndef LARGE
#define LARGE 0 /* bytes that one more thread requests */
#endif
#ifndef TRIES
#define TRIES 0 /* whether that thread only tries */
#endif
#ifndef SOLE
#define SOLE 0 /* whether it comes when all others are through */
#endif
#ifndef TRIMS
#define TRIMS 0
#endif
#ifndef CHANGES
#define CHANGES 0 /* whether a thread changes the limit */
#endif
#ifndef LOWERED
#define LOWERED 0 /* what a thread lowers the maximum to */
#endif
#ifndef CLOSES
#define CLOSES 0 /* whether the pool is closed before it is dropped */
#endif
#ifndef DEPOT_ROOM
#define DEPOT_ROOM 1 /* bytes */
#endif
#ifndef PINS
#define PINS 0 /* a set of the users whose requests are pinned */
#endif
#ifndef ROOM
#define ROOM 1 /* of a stripe, in bytes */
#endif

#define NONE 255
#define COUNT(set) ((set & 1) + ((set >> 1) & 1) + ((set >> 2) & 1) + ((set >> 3) & 1))

#define N_WAITERS (USERS + 1) /* the last one is the large one */
#define ASKS(w)   (w == USERS -> LARGE : 1)

#define PENDING   0
#define GRANTED   1
#define TOO_LARGE 2
#define CLOSED    3

/* BufCacheStripe */
bit held[2] = 1;           /* bit */
bit shut[2] = 1;           /* closed */
byte magazine[2];          /* magazines: one of them, a set */
short pinned_here[2];      /* pinned */

/* BufCache, BufCacheControl */
bit live;                  /* n_live: 2 stripes, or none */
bit closing = 1;           /* closing */
byte depot;                /* depot: a set */
byte depot_room;           /* depot.max_bytes */

/* BufSemaphore */
bit mutex;
short free = MAXIMUM;      /* queue.free */
byte maximum = MAXIMUM;    /* queue.maximum */
short pinned;              /* level.pinned */
bit revoked = 1;           /* revoked; the pool is new */
bit keeps;                 /* keeps */
bit unfinished;            /* tree: unfinished */
bit listed = 1;            /* keeper_link: whether others of the tree find the cache */
bit watched = 1;           /* watch: until it is ended */
bit looking;               /* looked_at */
bit closed;                /* queue.closed */
bit drains;                /* queue.drainers: the owner */
bit is_drained;            /* what it is told */
byte n_reclaims;           /* n_reclaims */
byte n_inside;             /* n_inside */
bit abandoned;             /* abandoned */
byte line[N_WAITERS + 1];  /* queue.waiters */
byte n_line;
byte outcome[N_WAITERS];

/* Only in the model */
byte exists;               /* blocks that were allocated, and not freed */
byte owned;                /* blocks that a thread uses */
byte owned_pinned;         /* those of them that are pinned */
byte large_out;            /* bytes of the large block */
byte n_through;            /* users that have dropped all */
bit freed;                 /* the memory is gone */
byte references = 1;       /* of the pool: the owner's, and one for each thread that calls it */

hidden byte i, j;

#define TOUCH   assert (!freed)
#define CACHED  (magazine[0] | magazine[1] | depot)
#define BALANCE assert (free + COUNT (exists) + large_out <= maximum || free < 0)

/* What every process has of its own: a block, a haul, a stripe, and some answers. */
#define LOCALS \
  byte block = NONE, haul, s, n, out; \
  bit pins; \
  bit got, open_ones, kept, filled, done, complete, ends, insists, moved, is_watcher

#define LOCK   !mutex; TOUCH; mutex = 1
#define UNLOCK check_queue (); TOUCH; mutex = 0

/* ---- the semaphore ------------------------------------------------------------------------ */

/* Nothing is out but what is pinned: the owner does not wait for that. */
#define IS_DRAINED (revoked && free + pinned == maximum && (pinned == 0 || !keeps))
#define IS_WANTED (closed || free < 0 || n_line > 0 || drains || n_reclaims > 0)

/* No waiter sleeps that could be served, or whose bytes are cached for good. */
inline check_queue ()
{
  i = 0;
  do
  :: i < n_line ->
     assert (!closed && ASKS (line[i]) <= maximum && ASKS (line[i]) > free);
     i++
  :: else -> break
  od;
  assert (n_line == 0 || revoked);
  i = 0
}

inline finish (how)                                     /* the waiter at place i */
{
  outcome[line[i]] = how;
  j = i;
  do
  :: j < n_line -> line[j] = line[j + 1]; j++
  :: else -> break
  od;
  j = 0;
  n_line--
}

inline serve ()                                         /* buf_wait_queue_serve_locked */
{
  if
  :: drains && IS_DRAINED -> drains = 0; is_drained = 1
  :: else
  fi;
  i = 0;
  do
  :: i < n_line && closed -> finish (CLOSED)
  :: i < n_line && !closed && ASKS (line[i]) > maximum -> finish (TOO_LARGE)
  :: i < n_line && !closed && ASKS (line[i]) <= maximum && ASKS (line[i]) <= free ->
     free = free - ASKS (line[i]);
     finish (GRANTED)
  :: i < n_line && !closed && ASKS (line[i]) <= maximum && ASKS (line[i]) > free -> i++
  :: i >= n_line -> break
  od;
  i = 0
}

inline open ()                                          /* buf_cache_open_locked */
{
  if
  :: closing ->
     i = 0;
     do
     :: i < 2 && shut[i] ->
        held[i] = 0;
        shut[i] = 0;
        i++
     :: i < 2 && !shut[i] ->
#ifdef FAULT_OPEN_WHAT_IS_NOT_SHUT
        held[i] = 0;
#endif
        i++
     :: else -> break
     od;
     i = 0;
     depot_room = DEPOT_ROOM;
     closing = 0;
     keeps = 1;
     live = 1
  :: else
  fi
}

inline find_end ()                                      /* buf_semaphore_ends_locked */
{
  if
  :: abandoned && n_inside == 0 && free == maximum -> abandoned = 0; ends = 1
  :: else
  fi
}

/* When it has been calm, which is at any time, the stripes come back. */
inline serve_and_unlock ()                              /* buf_semaphore_serve_and_unlock */
{
  atomic {
    TOUCH;
    d_step { serve () }
    if
#ifdef FAULT_REOPEN_WHILE_WANTED
    :: revoked && !closed && free >= 0 -> revoked = (n_line > 0); d_step { open () }
#else
    :: revoked && !IS_WANTED -> revoked = 0; d_step { open () }
#endif
    :: revoked && IS_WANTED && keeps ->                 /* end_section_locked */
#ifndef FAULT_FORGET_WHAT_IS_HELD
       unfinished = 1
#else
       skip
#endif
    :: !(revoked && IS_WANTED && keeps)
    fi;
    d_step { find_end (); UNLOCK };
    if
    :: ends -> ends = 0; end_memory ()
    :: else
    fi
  }
}

inline end_memory ()                                    /* end_memory */
{
#ifndef FAULT_FREE_THE_CACHE_IN_ITS_TREE
  atomic { !mutex; listed = 0 }                         /* buf_semaphore_remove_keeper */
#endif
  atomic { !looking || is_watcher; watched = 0 }        /* buf_watch_end */
  assert (shut[0] && shut[1] && CACHED == 0 && exists == 0 && large_out == 0);
  atomic { assert (!listed); freed = 1 }                /* buf_cache_clear */
}

inline release (bytes)                                  /* buf_semaphore_release */
{
  atomic { LOCK; free = free + bytes; BALANCE }
  serve_and_unlock ()
}

inline take_locked (bytes)                              /* take_locked */
{
  if
  :: bytes > maximum -> out = TOO_LARGE
  :: bytes <= maximum && closed -> out = CLOSED
  :: bytes <= maximum && !closed && bytes <= free -> out = GRANTED; free = free - bytes
  :: else -> out = PENDING; revoked = 1
  fi
}

/* ---- memory -------------------------------------------------------------------------------- */

/* malloc(), for bytes that were taken. */
inline allocate_block ()
{
  atomic {
    block = 0;
    do
    :: (exists >> block) & 1 -> block++
    :: else -> break
    od;
    exists = exists | (1 << block);
    owned = owned | (1 << block);
    BALANCE
  }
}

/* A block comes from the cache. */
inline hand_out ()
{
  assert (((exists >> block) & 1) && !((owned >> block) & 1));
  owned = owned | (1 << block);
  if
  :: pins -> owned_pinned = owned_pinned | (1 << block)
  :: else
  fi
}

/* Takes a block out of a set. */
inline pop (set)
{
  block = 0;
  do
  :: (set >> block) & 1 -> break
  :: else -> block++
  od;
  set = set & ~(1 << block)
}

/* free() of blocks that nobody can find any more, and the release of their bytes. */
inline free_haul ()                                     /* free_haul */
{
  d_step {
    assert ((exists & haul) == haul && (owned & haul) == 0 && (CACHED & haul) == 0);
    exists = exists & ~haul;
    n = COUNT (haul);
    haul = 0
  }
}

inline free_and_release_haul ()                         /* free_and_release_haul */
{
  if
  :: haul != 0 ->
#ifdef FAULT_RELEASE_BEFORE_FREEING
     n = COUNT (haul);
     release (n);
     free_haul ();
#else
     free_haul ();
     release (n);
#endif
     n = 0
  :: else
  fi
}

/* ---- the cache without the mutex ------------------------------------------------------------ */

inline try_bit ()                                       /* buf_cache_stripe_try */
{
  TOUCH;
  got = !held[s];
  held[s] = 1
}

inline drop_bit ()                                      /* buf_cache_stripe_drop */
{
  atomic { TOUCH; assert (held[s]); held[s] = 0; got = 0 }
}

inline try_to_pop ()
{
  atomic {
    if
    :: s = 0
    :: s = 1
    fi;
    try_bit ();
#ifdef FAULT_POP_WITHOUT_THE_BIT
    if
    :: magazine[s] != 0 -> d_step { pop (magazine[s]); hand_out () }
    :: else
    fi
#else
    if
    :: got && magazine[s] != 0 ->
       d_step { pop (magazine[s]); hand_out (); pinned_here[s] = pinned_here[s] + pins }
    :: else
    fi
#endif
  }
  if
  :: got -> drop_bit (); done = 1
  :: else
  fi
}

inline take_cached ()                                   /* buf_pool_allocation_new_cached */
{
  atomic { TOUCH; open_ones = live; done = 0 }
  if
  :: open_ones ->
     try_to_pop ();
     if
     :: !done -> try_to_pop ()                          /* buf_cache_take_elsewhere */
     :: else
     fi;
     if
     :: block == NONE && done && depot != 0 -> take_from_depot ()
     :: else
     fi
  :: else
  fi;
  done = 0
}

inline try_to_push ()
{
  atomic {
    if
    :: s = 0
    :: s = 1
    fi;
    try_bit ();
    if
    :: got && COUNT (magazine[s]) < ROOM ->
       d_step {
         assert (COUNT (exists) + large_out <= maximum);
         owned = owned & ~(1 << block);
         owned_pinned = owned_pinned & ~(1 << block);
         magazine[s] = magazine[s] | (1 << block);
#ifndef FAULT_PUT_WITHOUT_UNPINNING
         pinned_here[s] = pinned_here[s] - pins;
#endif
         block = NONE;
         kept = 1
       }
    :: got && COUNT (magazine[s]) >= ROOM -> filled = 1
    :: else
    fi
  }
  if
  :: got ->
     drop_bit ();
#ifdef FAULT_TOUCH_AFTER_THE_BIT
     atomic { TOUCH };
#endif
     done = 1
  :: else
  fi
}

inline put ()                                           /* buf_pool_allocation_cache */
{
  atomic { TOUCH; open_ones = live; kept = 0; filled = 0; done = 0 }
  if
  :: open_ones ->
     try_to_push ();
     if
     :: !done -> try_to_push ()                         /* buf_cache_put_elsewhere */
     :: else
     fi;
     if
     :: filled ->
        if
        :: insists = 1
        :: insists = 0
        fi;
        put_slowly ()
     :: else
     fi
  :: else
  fi;
  done = 0;
  filled = 0
}

/* ---- the cache under the mutex -------------------------------------------------------------- */

inline try_bit_locked ()                                /* buf_cache_stripe_try_locked */
{
  if
  :: shut[s] -> got = 0
  :: else -> try_bit ()
  fi
}

inline take_from_depot ()                               /* take_from_depot, refill_held */
{
  atomic {
    LOCK;
    if
    :: !closing -> try_bit_locked ()
    :: else -> got = 0
    fi;
    if
    :: got && magazine[s] == 0 && depot != 0 && COUNT (depot) <= ROOM ->
       d_step { magazine[s] = depot; depot = 0; pop (magazine[s]); hand_out (); pinned = pinned + pins }
    :: else
    fi
  }
  if
  :: got -> drop_bit ()
  :: else
  fi;
  atomic {
    if
    :: block == NONE && depot != 0 -> d_step { pop (depot); hand_out (); pinned = pinned + pins }
    :: else
    fi;
    d_step { UNLOCK }
  }
}

/* A full magazine moves to the depot, or into the haul. */
inline put_slowly ()                                    /* put_slowly, buf_cache_put_locked */
{
  atomic {
    LOCK;
    if
    :: !closing -> try_bit_locked ()
    :: else -> got = 0
    fi;
    if
    :: got ->
       d_step {
         if
         :: COUNT (magazine[s]) >= ROOM && COUNT (depot) + COUNT (magazine[s]) <= depot_room ->
            depot = depot | magazine[s];
            magazine[s] = 0
         :: COUNT (magazine[s]) >= ROOM && COUNT (depot) + COUNT (magazine[s]) > depot_room && insists ->
            haul = depot;
            depot = magazine[s];
            magazine[s] = 0;
            if
            :: COUNT (depot) > depot_room -> haul = haul | depot; depot = 0
            :: else
            fi
         :: else
         fi;
         if
         :: COUNT (magazine[s]) < ROOM ->
            owned = owned & ~(1 << block);
            owned_pinned = owned_pinned & ~(1 << block);
            magazine[s] = magazine[s] | (1 << block);
            pinned = pinned - pins;
            block = NONE;
            kept = 1
         :: else
         fi
       }
    :: else
    fi
  }
  if
  :: got -> drop_bit ()
  :: else
  fi;
  d_step { UNLOCK }
  free_and_release_haul ()
}

/* Under the mutex: what the depot has, and then what lies in stripes whose bit can be had; until there
 * are so many bytes. */
inline evict (enough)                                   /* buf_cache_evict_locked */
{
  do
  :: depot != 0 && COUNT (haul) < enough -> d_step { pop (depot); haul = haul | (1 << block); block = NONE }
  :: else -> break
  od;
  s = 0;
  do
  :: s < 2 ->
     atomic {
       if
       :: COUNT (haul) < enough && magazine[s] != 0 -> try_bit_locked ()
       :: else -> got = 0
       fi;
       do
       :: got && magazine[s] != 0 && COUNT (haul) < enough ->
          d_step { pop (magazine[s]); haul = haul | (1 << block); block = NONE }
       :: else -> break
       od
     }
     if
     :: got -> drop_bit ()
     :: else
     fi;
     s++
  :: else -> break
  od;
  s = 0
}

/* With n as the bytes that are missing. */
inline evict_for (bytes)                                /* evict_for */
{
  atomic { LOCK; n = bytes - (free > 0 -> free : 0); moved = bytes > free && n <= COUNT (CACHED) }
  if
  :: moved -> evict (n)
  :: else
  fi;
  moved = 0;
  n = 0;
  d_step { UNLOCK }
}

inline close_stripe ()                                  /* close_stripe_locked */
{
  atomic {
    try_bit_locked ();
    if
    :: got ->
       d_step {
         haul = haul | magazine[s];
         magazine[s] = 0;
#ifndef FAULT_LOSE_WHAT_HITS_HAVE_PINNED
         pinned = pinned + pinned_here[s];
#endif
         pinned_here[s] = 0;
         shut[s] = 1;
         got = 0
       }
#ifdef FAULT_SHUT_WITHOUT_THE_BIT
    :: !got && !shut[s] -> shut[s] = 1
#endif
    :: else
    fi
#ifdef FAULT_SHUT_AND_DROP
    ; held[s] = 0
#endif
  }
}

inline close_some ()                                    /* close_some, buf_cache_close_locked */
{
  atomic { LOCK; done = 1; moved = revoked && IS_WANTED } /* buf_semaphore_may_keep_locked */
  if
  :: moved ->
     atomic { closing = 1; live = 0; depot_room = 0; haul = depot; depot = 0 }
     s = 0;
     close_stripe ();
     s = 1;
     close_stripe ();
     atomic { s = 0; done = shut[0] && shut[1]; keeps = !done }
  :: else
  fi;
  moved = 0;
  d_step { UNLOCK }
}

/* ---- the keeper ----------------------------------------------------------------------------- */

inline reclaim ()                                       /* buf_semaphore_reclaim, reclaim; complete */
{
  do
  :: close_some ();
     moved = haul != 0;
     kept = done;
     free_and_release_haul ();
     if
     :: kept -> break
     :: !kept && (moved || complete)
     :: !kept && !moved && !complete                    /* the time is not over */
     :: !kept && !moved && !complete ->
#ifndef FAULT_FORGET_WHAT_IS_HELD
        atomic { LOCK; d_step { unfinished = 1; UNLOCK } }
#endif
        break
     fi
  od;
  kept = 0;
  moved = 0;
  done = 0
}

inline reclaim_locked ()                                /* buf_semaphore_reclaim_locked */
{
  do
  :: keeps ->
     atomic { n_reclaims++; revoked = 1; complete = 1 }
     serve_and_unlock ();
     reclaim ();
     atomic { LOCK; n_reclaims--; complete = 0 }
  :: else -> break
  od
}

/* ---- requests and the ends of blocks -------------------------------------------------------- */

/* Takes bytes; what came of it is in out. A thread that goes on to wait is inside. */
inline acquire (bytes, enters)                          /* buf_memory_acquire */
{
  atomic {
    LOCK;
    d_step {
      take_locked (bytes);
      if
      :: out == PENDING && enters -> n_inside++
      :: else
      fi
    }
  }
  serve_and_unlock ();
#ifndef FAULT_REFUSE_WITHOUT_EVICTING
  do
  :: out == PENDING ->
     evict_for (bytes);
     if
     :: haul == 0 -> break
     :: else
     fi;
     free_haul ();
     atomic {
       LOCK;
       d_step {
         free = free + n;                               /* buf_semaphore_exchange */
         n = 0;
         take_locked (bytes);
         if
         :: enters && out != PENDING -> n_inside--
         :: else
         fi
       }
     }
     serve_and_unlock ()
  :: else -> break
  od
#endif
}

inline wait (me)                                        /* buf_semaphore_wait, buf_semaphore_leave */
{
  atomic {
    LOCK;
    d_step {
      take_locked (ASKS (me));
      if
      :: out == PENDING -> outcome[me] = PENDING; line[n_line] = me; n_line++
      :: else -> outcome[me] = out
      fi
    };
    moved = out == PENDING && keeps
  }
  serve_and_unlock ();
  if
  :: moved -> moved = 0; reclaim ()
  :: else
  fi;
  outcome[me] != PENDING;
  atomic { LOCK; out = outcome[me]; outcome[me] = PENDING; n_inside-- }
  serve_and_unlock ()
}

inline drop_pool ()
{
  references--
}

proctype user (byte me)
{
  LOCALS;
  byte round;

  pins = (PINS >> me) & 1;
  do
  :: round < ROUNDS ->
     take_cached ();
     if
     :: block == NONE ->
        acquire (1, 1);
        if
        :: out == PENDING -> wait (me)
        :: else
        fi;
        if
        :: out == GRANTED && pins ->                    /* buf_semaphore_pin */
           atomic { LOCK; pinned++ }
           serve_and_unlock ();
           allocate_block ();
           owned_pinned = owned_pinned | (1 << block)
        :: out == GRANTED && !pins -> allocate_block ()
        :: else
        fi;
        out = 0
     :: else
     fi;
     round++;
     if
     :: round == ROUNDS -> drop_pool ()                 /* what is out keeps the memory */
     :: else
     fi;
     if
     :: block != NONE ->
        assert ((owned >> block) & 1);
        put ();
        if
        :: !kept ->
           d_step {
             owned = owned & ~(1 << block);
             owned_pinned = owned_pinned & ~(1 << block);
             exists = exists & ~(1 << block);
             block = NONE
           }
           atomic { LOCK; pinned = pinned - pins; free++; BALANCE } /* buf_semaphore_release_pinned */
           serve_and_unlock ()
        :: else
        fi;
        kept = 0
     :: else
     fi
  :: else -> break
  od;
  n_through++
}

#if LARGE
/* When nothing is out, and no other thread runs, a try is never refused. */
proctype large ()
{
  LOCALS;

#if SOLE
  n_through == USERS;
#endif
  acquire (LARGE, !TRIES);
#if SOLE
  assert (out == GRANTED);
#endif
  if
  :: out == PENDING && !TRIES -> wait (USERS)
  :: else
  fi;
  drop_pool ();
  if
  :: out == GRANTED ->
     atomic { large_out = LARGE; BALANCE }
     large_out = 0;
     release (LARGE)
  :: else
  fi
}
#endif

#if TRIMS
proctype trimmer ()                                     /* buf_memory_trim, to nothing */
{
  LOCALS;

  do
  :: atomic { LOCK };
     evict (MAXIMUM);
     d_step { UNLOCK }
     if
     :: haul == 0 -> break
     :: else -> free_and_release_haul ()
     fi
  od;
  drop_pool ()
}
#endif

#if CHANGES
proctype changer ()                                     /* buf_memory_set_max_cached */
{
  LOCALS;

  atomic { LOCK };
  reclaim_locked ();
  atomic {
    assert (CACHED == 0);
    if
    :: revoked && !IS_WANTED -> revoked = 0; d_step { open () }
    :: !revoked -> d_step { open () }
    :: else
    fi
  }
  serve_and_unlock ();
  drop_pool ()
}
#endif

#if LOWERED
proctype lowerer ()                                     /* buf_semaphore_set_maximum */
{
  LOCALS;

  atomic { LOCK };
#ifndef FAULT_LOWER_WITHOUT_RECLAIMING
  reclaim_locked ();
#endif
  atomic { revoked = 1; free = free + LOWERED - maximum; maximum = LOWERED }
  serve_and_unlock ();
  drop_pool ()
}
#endif

inline close ()                                         /* buf_semaphore_close */
{
  atomic { LOCK; closed = 1; revoked = 1; moved = keeps; complete = 1 }
  serve_and_unlock ();
  if
  :: moved -> moved = 0; reclaim ()
  :: else
  fi;
  moved = 0;
  complete = 0
}

#if CLOSES
proctype closer ()
{
  LOCALS;

  close ();
  drop_pool ()
}
#endif

/* The one who drops the pool last: buf_pool_dispose, buf_semaphore_abandon. */
proctype owner ()
{
  LOCALS;

  references == 1;
  close ();
  atomic {
    LOCK;
    if
    :: IS_DRAINED -> is_drained = 1
    :: else -> drains = 1
    fi
  }
  serve_and_unlock ();
  is_drained;
  assert (large_out == 0 && owned == owned_pinned);
  atomic { LOCK; assert (closed && revoked); abandoned = 1; find_end (); d_step { UNLOCK } }
  if
  :: ends -> ends = 0; end_memory ()
  :: else
  fi
}

/* The watcher asks the keeper again, while the semaphore is entered. */
active proctype watcher ()                              /* buf_semaphore_look */
{
  LOCALS;

end_of_watch:
  do
  :: atomic { unfinished && watched; looking = 1 }
     atomic {
       LOCK;
       unfinished = 0;
       is_watcher = keeps && revoked && IS_WANTED;      /* buf_semaphore_ask_next_locked */
       if
       :: is_watcher -> n_inside++
       :: else
       fi;
       d_step { UNLOCK }
     }
     if
     :: is_watcher ->
        reclaim ();
        atomic { LOCK; n_inside--; d_step { find_end (); UNLOCK } }
        if
        :: ends -> ends = 0; end_memory ()
        :: else
        fi
     :: else
     fi;
     atomic { looking = 0; is_watcher = 0 }
  od
}

init
{
  byte u;

  atomic {
    revoked = 0;
    d_step { open () }
    do
    :: u < USERS -> references++; run user (u); u++
    :: else -> break
    od;
#if LARGE
    references++;
    run large ();
#endif
#if TRIMS
    references++;
    run trimmer ();
#endif
#if CHANGES
    references++;
    run changer ();
#endif
#if LOWERED
    references++;
    run lowerer ();
#endif
#if CLOSES
    references++;
    run closer ();
#endif
    run owner ()
  }

  /* In the end everything was freed: no block is lost. */
  freed;
  assert (exists == 0 && owned == 0 && CACHED == 0 && free == maximum && pinned == 0)
}
