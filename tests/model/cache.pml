/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A model of the cache of blocks for Spin, as it is implemented: buf-cache*.c, buf-depot.c,
 * buf-semaphore-keeper.c.
 *
 * The semaphore is reduced to what the cache sees of it: the mutex, the free bytes, whether the stripes of
 * credit are revoked, and a queue that is served in its order. model.pml checks the fast path of the semaphore;
 * here, every request that is not a hit takes the mutex.
 *
 * The lock of a stripe is one bit here. A thread tries it and drops it in separate steps, so it may be
 * interrupted while it holds the lock. With SPURIOUS, a try can fail at any time, as it does while a bias is
 * revoked or the stripe is biased toward another thread. lock.pml checks the lock itself. The contents of a
 * stripe change in the step that gets its lock. A locked section is split where it accesses a lock. A thread
 * may use either stripe each time, which covers every numbering of the threads, and a stale number of stripes.
 *
 * Blocks are numbered, and each has one byte. Sets of blocks are bits. A large request takes LARGE bytes, and
 * its block is never cached.
 *
 * With IDLE, the depot of a closed cache holds idle blocks, see buf-cache-idle.c and buf-semaphore-idle.c.
 * The large block, which is number BIG then, may be one of them, and stays in the depot when the cache opens.
 * A waiter whose bytes are taken in the section of another thread is a task: it is told when that thread has
 * freed what the section has set aside. A thread that waits takes its bytes in its own section; that is the
 * same as a request that need not wait.
 *
 * These exist only in the model, to check the code: exists, owned, owned_pinned, large_out, n_through, freed.
 */

#ifndef MAXIMUM
#define MAXIMUM 2
#endif
#ifndef USERS
#define USERS 2 /* threads that request one byte, and then release it */
#endif
#ifndef ROUNDS
#define ROUNDS 2 /* how many times each of them does so */
#endif
#ifndef LARGE
#define LARGE 0 /* bytes that another thread requests */
#endif
#ifndef TRIES
#define TRIES 0 /* whether that thread only tries */
#endif
#ifndef SOLE
#define SOLE 0 /* whether it starts when all others have finished */
#endif
#ifndef TRIMS
#define TRIMS 0
#endif
#ifndef CHANGES
#define CHANGES 0 /* whether a thread changes the limit */
#endif
#ifndef LOWERED
#define LOWERED 0 /* the value to which a thread lowers the maximum */
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
#ifndef IDLE
#define IDLE 0 /* whether a closed cache holds idle blocks */
#endif
#ifndef LARGE_ROUNDS
#define LARGE_ROUNDS 1 /* with IDLE: how often the large block is requested */
#endif
#ifndef STAYS_CLOSED
#define STAYS_CLOSED 0 /* with IDLE: whether the cache is closed at first, and there is no calm */
#endif
#ifndef CANCELS
#define CANCELS 0 /* with IDLE: whether a request that has waited may give up what it was granted */
#endif

#define NONE 255
#define COUNT(set) (((set) & 1) + (((set) >> 1) & 1) + (((set) >> 2) & 1) + (((set) >> 3) & 1))

#define BIG            4 /* the number of the large block */
#define SMALL(set)     ((set) & 15)
#define HAS_BIG(set)   (((set) >> BIG) & 1)
#if IDLE
#define BYTES(set)     (COUNT ((set)) + LARGE * HAS_BIG (set))
#else
#define BYTES(set)     COUNT (set)
#endif

#define N_WAITERS (USERS + 1) /* the last one is the large one */
#define ASKS(w)   (w == USERS -> LARGE : 1)

#define PENDING   0
#define GRANTED   1
#define TOO_LARGE 2
#define CLOSED    3

/* BufCacheStripe */
bit held[2] = 1;           /* lock */
bit shut[2] = 1;           /* closed */
byte magazine[2];          /* magazines: one of them, as a set */
short pinned_here[2];      /* pinned */

/* BufCache, BufCacheControl */
bit live;                  /* n_live: 2 stripes, or none */
bit closing = 1;           /* closing */
byte depot;                /* depot: a set */
byte depot_room;           /* depot.max_bytes */
#if IDLE
bit depot_is_idle;         /* depot_is_idle */
bit recent_big;            /* depot.sizes: whether the large block is the most recently used size */
byte set_aside;            /* set_aside: a set */
#endif

/* BufSemaphore */
bit mutex;
short free = MAXIMUM;      /* queue.free */
byte maximum = MAXIMUM;    /* queue.maximum */
short pinned;              /* level.pinned */
bit revoked = 1;           /* revoked, because the pool is new */
bit keeps;                 /* keeps */
bit unfinished;            /* tree: unfinished */
bit listed = 1;            /* keeper_link: whether other threads of the tree can find the cache */
bit watched = 1;           /* watch: until it has ended */
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
#if IDLE
byte idle;                 /* level.idle */
byte given[N_WAITERS] = NONE; /* want.idle */
byte told;                 /* tree: ready; two bits for each waiter: its outcome */
#endif

/* Only in the model */
byte exists;               /* blocks that were allocated and have not been freed */
byte owned;                /* blocks that a thread uses */
byte owned_pinned;         /* the pinned ones of these */
byte large_out;            /* bytes of the large block */
byte n_through;            /* users that have dropped everything */
bit freed;                 /* the memory is gone */
byte references = 1;       /* of the pool: that of the owner, and one for each thread that calls it */

hidden byte i, j;

#define TOUCH  assert (!freed)
#define CACHED (magazine[0] | magazine[1] | depot)

/* The state of every process: a block, a haul, a stripe, and some results. */
#if IDLE
hidden byte k, excess;

/* What is in use, cached, idle, or set aside never exceeds the maximum, unless that was lowered below what is
 * in use; then nothing is idle. */
#define BALANCE \
  assert (free + BYTES (exists) <= maximum + idle && (idle == 0 || idle <= free) && \
          (BYTES (exists) <= maximum || free < 0))
#ifdef FAULT_EVICT_IDLE_AS_CACHED
#define KEPT_BYTES  (COUNT (magazine[0]) + COUNT (magazine[1]) + BYTES (depot))
#else
#define KEPT_BYTES  (COUNT (magazine[0]) + COUNT (magazine[1]) + (depot_is_idle -> 0 : BYTES (depot)))
#endif
#define HAS_IDLE    (idle > 0)
#define LOCALS_IDLE byte aside, own_told;
#else
#define BALANCE     assert (free + COUNT (exists) + large_out <= maximum || free < 0)
#define KEPT_BYTES  COUNT (CACHED)
#define HAS_IDLE    0
#define LOCALS_IDLE
#endif

#define LOCALS \
  byte block = NONE, haul, s, n, out; \
  LOCALS_IDLE \
  bit pins; \
  bit got, open_ones, kept, filled, done, complete, ends, insists, moved, is_watcher

#define LOCK   !mutex; TOUCH; mutex = 1
#define UNLOCK check_queue (); TOUCH; mutex = 0

/* ---- the semaphore ------------------------------------------------------------------------ */

/* Only pinned blocks are outstanding, and the owner does not wait for them. */
#define IS_DRAINED (revoked && free + pinned == maximum && (pinned == 0 || !keeps))
#define IS_WANTED (closed || free < 0 || n_line > 0 || drains || n_reclaims > 0)

/* No waiter sleeps that could be served, or whose bytes stay cached. */
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

#if IDLE

inline set_one_aside (number)
{
  depot = depot & ~(1 << (number));
  set_aside = set_aside | (1 << (number))
}

/* The least recently used size comes first. At most the bytes that were taken are set aside. If the large block
 * has more, it is freed at once. */
inline make_room_locked ()                              /* make_room_locked */
{
  excess = idle - free;
  if
  :: HAS_BIG (depot) && !recent_big && LARGE <= excess -> set_one_aside (BIG); excess = excess - LARGE
  :: else
  fi;
  k = 0;
  do
  :: excess > 0 && SMALL (depot) != 0 ->
     if
     :: (depot >> k) & 1 -> set_one_aside (k); excess--
     :: else
     fi;
     k++
  :: else -> break
  od;
  if
  :: HAS_BIG (depot) && recent_big && LARGE <= excess -> set_one_aside (BIG); excess = excess - LARGE
  :: else
  fi;
  if
  :: excess > 0 ->
#ifndef FAULT_SET_ASIDE_MORE
     assert (HAS_BIG (depot) && (exists >> BIG) & 1 && !((owned >> BIG) & 1));
     depot = depot & ~(1 << BIG);
     exists = exists & ~(1 << BIG)
#else
     set_one_aside (BIG)
#endif
  :: else
  fi;
  idle = BYTES (depot);
  k = 0;
  excess = 0
}

/* The waiter w has taken its bytes. */
inline claim (w)                                        /* buf_cache_claim_locked */
{
  if
  :: idle > 0 ->
     if
     :: w < USERS && SMALL (depot) != 0 ->
        k = 0;
        do
        :: (depot >> k) & 1 -> break
        :: else -> k++
        od;
        recent_big = 0;
        given[w] = k
     :: w == USERS && HAS_BIG (depot) ->
        k = BIG;
        recent_big = 1;
        given[w] = k
     :: else -> k = NONE
     fi;
     if
     :: k != NONE ->
#ifdef FAULT_CLAIM_TWICE
        if
        :: BYTES (depot) > free -> depot = depot & ~(1 << k)
        :: else
        fi
#else
        depot = depot & ~(1 << k)
#endif
     :: else
     fi;
     k = 0;
     idle = BYTES (depot);
#ifndef FAULT_IDLE_BEYOND_FREE
     if
     :: idle > free -> make_room_locked ()
     :: else
     fi
#endif
  :: else
  fi
}

/* Tells those whose outcome was settled. */
inline deliver ()                                       /* buf_ready_complete */
{
  k = 0;
  do
  :: k < N_WAITERS ->
     if
     :: (own_told >> (2 * k)) & 3 -> outcome[k] = (own_told >> (2 * k)) & 3
     :: else
     fi;
     k++
  :: else -> break
  od;
  k = 0;
  own_told = 0
}

inline check_not_given (set)
{
  k = 0;
  do
  :: k < N_WAITERS ->
     if
     :: given[k] != NONE -> assert (!((set >> given[k]) & 1))
     :: else
     fi;
     k++
  :: else -> break
  od;
  k = 0
}

inline free_aside ()                                    /* buf_cache_unlock_and_free */
{
  TOUCH;
  assert ((exists & aside) == aside && (owned & aside) == 0 && (CACHED & aside) == 0);
  check_not_given (aside);
  exists = exists & ~aside;
  aside = 0
}

/* Moves all idle blocks into the haul; their bytes are in use from then on. */
inline evict_idle ()                                    /* buf_cache_evict_idle_locked */
{
  if
  :: idle > 0 ->
     haul = depot;
     depot = 0;
#ifndef FAULT_EVICT_IDLE_BYTES_TWICE
     free = free - idle;
#endif
     idle = 0
  :: else
  fi
}

#endif

inline finish (how)                                     /* the waiter at position i */
{
#if IDLE
  told = told | (how << (2 * line[i]));
#else
  outcome[line[i]] = how;
#endif
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
#if IDLE
     claim (line[i]);
#endif
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
#if IDLE
     if
     :: depot_is_idle ->                                /* buf_cache_keep_idle_locked */
        depot_is_idle = 0;
#ifndef FAULT_OPEN_WITHOUT_COUNTING
        free = free - BYTES (depot);
#endif
        idle = 0;
        assert (free >= 0)
     :: else
     fi;
#endif
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

/* The stripes are restored when the semaphore has been calm, which can be at any time. */
inline end_section ()                                   /* serve_locked */
{
  TOUCH;
  d_step { serve () }
  if
#ifdef FAULT_REOPEN_WHILE_WANTED
  :: revoked && !closed && free >= 0 -> revoked = (n_line > 0); d_step { open () }
#elif STAYS_CLOSED
  :: revoked && !IS_WANTED
#else
  :: revoked && !IS_WANTED -> revoked = 0; d_step { open () }
#endif
  :: revoked && IS_WANTED && keeps ->                   /* end_section_locked */
#ifndef FAULT_FORGET_WHAT_IS_HELD
     unfinished = 1
#else
     skip
#endif
  :: !(revoked && IS_WANTED && keeps)
  fi
}

#if IDLE

inline serve_and_unlock ()                              /* buf_semaphore_serve_and_unlock */
{
  atomic {
    end_section ();
    d_step {                                            /* unlock_and_complete */
      find_end ();
      aside = set_aside;
      set_aside = 0;
      own_told = told;
      told = 0;
#ifndef FAULT_DELIVER_BEFORE_FREEING
      if
      :: aside == 0 -> deliver ()
      :: else
      fi;
#else
      deliver ();
#endif
      UNLOCK
    }
  }
  if
  :: aside != 0 ->
     d_step { free_aside () }
     d_step { deliver () }
  :: else
  fi;
  if
  :: ends -> ends = 0; end_memory ()
  :: else
  fi
}

#else

inline serve_and_unlock ()                              /* buf_semaphore_serve_and_unlock */
{
  atomic {
    end_section ();
    d_step { find_end (); UNLOCK };
    if
    :: ends -> ends = 0; end_memory ()
    :: else
    fi
  }
}

#endif

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

inline take_locked (w, bytes)                           /* take_locked */
{
  if
  :: bytes > maximum -> out = TOO_LARGE
  :: bytes <= maximum && closed -> out = CLOSED
  :: bytes <= maximum && !closed && bytes <= free ->
     out = GRANTED;
     free = free - bytes;
#if IDLE
     claim (w);
#endif
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

/* A block for the bytes that w has taken: the idle one that came with them, or a new one. */
inline new_block (w)                                    /* buf_pool_allocation_new_for */
{
#if IDLE
  if
  :: given[w] != NONE -> d_step { block = given[w]; given[w] = NONE; hand_out () }
  :: else -> allocate_block ()
  fi
#else
  allocate_block ()
#endif
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

/* free() of blocks that no thread can find anymore, and the release of their bytes. */
inline free_haul ()                                     /* free_haul */
{
  d_step {
    assert ((exists & haul) == haul && (owned & haul) == 0 && (CACHED & haul) == 0);
    exists = exists & ~haul;
    n = BYTES (haul);
#if IDLE
    check_not_given (haul);
#endif
    haul = 0
  }
}

inline free_and_release_haul ()                         /* free_and_release_haul */
{
  if
  :: haul != 0 ->
#ifdef FAULT_RELEASE_BEFORE_FREEING
     n = BYTES (haul);
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
#ifdef SPURIOUS
  if
  :: got = !held[s]
  :: got = 0
  fi;
#else
  got = !held[s];
#endif
  held[s] = held[s] | got
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
     :: block == NONE && done && SMALL (depot) != 0 -> take_from_depot ()
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
         assert (BYTES (exists) + large_out <= maximum);
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
    :: got && magazine[s] == 0 && SMALL (depot) != 0 && COUNT (depot) <= ROOM ->
       d_step {
         magazine[s] = SMALL (depot);
         depot = depot & ~15;
         pop (magazine[s]);
         hand_out ();
         pinned = pinned + pins
       }
    :: else
    fi
  }
  if
  :: got -> drop_bit ()
  :: else
  fi;
  atomic {
    if
#if !IDLE || defined FAULT_TAKE_IDLE_AS_CACHED
    :: block == NONE && SMALL (depot) != 0 ->
#else
    :: block == NONE && SMALL (depot) != 0 && !depot_is_idle ->
#endif
       d_step { pop (depot); hand_out (); pinned = pinned + pins }
    :: else
    fi;
    d_step { UNLOCK }
  }
}

/* A full magazine moves to the depot or into the haul. */
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
         :: COUNT (magazine[s]) >= ROOM && BYTES (depot) + COUNT (magazine[s]) <= depot_room ->
            depot = depot | magazine[s];
            magazine[s] = 0
         :: COUNT (magazine[s]) >= ROOM && BYTES (depot) + COUNT (magazine[s]) > depot_room && insists ->
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

/* Under the mutex: takes blocks from the depot, and then from stripes whose bit is available, until it has
 * enough bytes. */
inline evict (enough)                                   /* buf_cache_evict_locked */
{
  do
#if !IDLE || defined FAULT_EVICT_IDLE_AS_CACHED
  :: depot != 0 && BYTES (haul) < enough ->
#else
  :: depot != 0 && BYTES (haul) < enough && !depot_is_idle ->
#endif
     d_step { pop (depot); haul = haul | (1 << block); block = NONE }
  :: else -> break
  od;
  s = 0;
  do
  :: s < 2 ->
     atomic {
       if
       :: BYTES (haul) < enough && magazine[s] != 0 -> try_bit_locked ()
       :: else -> got = 0
       fi;
       do
       :: got && magazine[s] != 0 && BYTES (haul) < enough ->
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

/* n is the number of missing bytes. */
inline evict_for (bytes)                                /* evict_for */
{
  atomic { LOCK; n = bytes - (free > 0 -> free : 0); moved = bytes > free && n <= KEPT_BYTES }
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
#if IDLE
     atomic {                                           /* close_depot_locked */
       closing = 1;
       live = 0;
       depot_room = 0;
       if
       :: !depot_is_idle -> haul = depot; depot = 0; depot_is_idle = 1
       :: else
       fi
     }
#else
     atomic { closing = 1; live = 0; depot_room = 0; haul = depot; depot = 0 }
#endif
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

#if IDLE
inline free_idle ()                                     /* buf_cache_free_idle */
{
  do
  :: atomic { LOCK; d_step { evict_idle (); UNLOCK } }
     if
     :: haul == 0 -> break
     :: else -> free_and_release_haul ()
     fi
  od
}
#endif

inline reclaim ()                                       /* buf_semaphore_reclaim, reclaim; complete */
{
#if IDLE && !defined FAULT_CLOSE_LEAVES_IDLE
  if
  :: complete -> free_idle ()
  :: else
  fi;
#endif
  do
  :: close_some ();
     moved = haul != 0;
     kept = done;
     free_and_release_haul ();
     if
     :: kept -> break
     :: !kept && (moved || complete)
     :: !kept && !moved && !complete                    /* the time has not ended */
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
#ifdef FAULT_CHANGE_WITH_IDLE
  :: keeps ->
#else
  :: keeps || HAS_IDLE ->
#endif
     atomic { n_reclaims++; revoked = 1; complete = 1 }
     serve_and_unlock ();
     reclaim ();
     atomic { LOCK; n_reclaims--; complete = 0 }
  :: else -> break
  od
}

/* ---- requests and the ends of blocks -------------------------------------------------------- */

#if IDLE

/* The hint may be wrong: the thread tries, or does not try. */
inline put_idle (bytes)                                 /* buf_cache_put_idle */
{
  if
  :: true
  :: atomic {
       LOCK;
       kept = !keeps && depot_is_idle && revoked && n_reclaims == 0 && idle <= free &&
#ifndef FAULT_IDLE_AFTER_CLOSING
              !closed &&
#endif
              (depot == 0 || BYTES (depot) + bytes <= DEPOT_ROOM)
     }
     if
     :: kept ->
        d_step {
          TOUCH;
          assert ((exists >> block) & 1);
          owned = owned & ~(1 << block);
          owned_pinned = owned_pinned & ~(1 << block);
          depot = depot | (1 << block);
          recent_big = block == BIG;
          pinned = pinned - (pins -> bytes : 0);
          idle = idle + bytes;
          free = free + bytes;
          block = NONE;
          BALANCE
        }
        serve_and_unlock ()
     :: else -> d_step { UNLOCK }
     fi
  fi
}

#endif

/* Takes bytes. The outcome is in out. A thread that continues to wait is inside. */
inline acquire (w, bytes, enters)                       /* buf_memory_acquire */
{
  atomic {
    LOCK;
    d_step {
      take_locked (w, bytes);
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
         take_locked (w, bytes);
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
      take_locked (me, ASKS (me));
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
#if CANCELS
  if
  :: outcome[me] == GRANTED ->                          /* buf_pool_allocation_give_up */
     d_step {
#ifndef FAULT_GIVE_UP_LOSES_THE_BLOCK
       if
       :: given[me] != NONE ->
          assert ((exists >> given[me]) & 1);
          exists = exists & ~(1 << given[me])
       :: else
       fi;
#endif
       given[me] = NONE
     }
     release (ASKS (me));
     outcome[me] = CLOSED
  :: true
  fi;
#endif
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
        acquire (me, 1, 1);
        if
        :: out == PENDING -> wait (me)
        :: else
        fi;
        if
        :: out == GRANTED && pins ->                    /* buf_semaphore_pin */
           atomic { LOCK; pinned++ }
           serve_and_unlock ();
           new_block (me);
           owned_pinned = owned_pinned | (1 << block)
        :: out == GRANTED && !pins -> new_block (me)
        :: else
        fi;
        out = 0
     :: else
     fi;
     round++;
     if
     :: round == ROUNDS -> drop_pool ()                 /* outstanding blocks keep the memory alive */
     :: else
     fi;
     if
     :: block != NONE ->
        assert ((owned >> block) & 1);
        put ();
#if IDLE
        if
        :: !kept -> put_idle (1)
        :: else
        fi;
#endif
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
#if IDLE
#define IS_LAST_ROUND (round == LARGE_ROUNDS - 1)

/* From the depot, from the bytes that were taken, or new. */
inline use_large ()
{
#if SOLE
  n_through == USERS;
#endif
  atomic {                                              /* take_from_depot */
    LOCK;
    d_step {
      if
      :: HAS_BIG (depot) && !depot_is_idle -> depot = depot & ~(1 << BIG); block = BIG; hand_out ()
      :: else
      fi;
      UNLOCK
    }
  }
  if
  :: block == NONE ->
     acquire (USERS, LARGE, !TRIES);
#if SOLE
     assert (out == GRANTED);
#endif
     if
     :: out == PENDING && !TRIES -> wait (USERS)
     :: else
     fi;
     if
     :: out == GRANTED && given[USERS] != NONE -> new_block (USERS)
     :: out == GRANTED && given[USERS] == NONE ->
        d_step {
          assert (!HAS_BIG (exists));
          block = BIG;
          exists = exists | (1 << BIG);
          owned = owned | (1 << BIG);
          BALANCE
        }
     :: else
     fi
  :: else
  fi;
  out = 0;
  if
  :: IS_LAST_ROUND -> drop_pool ()
  :: else
  fi;
  if
  :: block != NONE ->
     put_idle (LARGE);
     if
     :: !kept ->
        d_step { owned = owned & ~(1 << BIG); exists = exists & ~(1 << BIG); block = NONE }
        release (LARGE)
     :: else
     fi;
     kept = 0
  :: else
  fi
}
#else
inline use_large ()
{
#if SOLE
  n_through == USERS;
#endif
  acquire (USERS, LARGE, !TRIES);
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

/* If nothing is outstanding and no other thread runs, a try is never refused. */
proctype large ()
{
  LOCALS;
#if IDLE
  byte round;

  do
  :: round < LARGE_ROUNDS -> use_large (); round++
  :: else -> break
  od;
#else
  use_large ();
#endif
}
#endif

#if TRIMS
proctype trimmer ()                                     /* buf_memory_trim, to nothing */
{
  LOCALS;

  do
  :: atomic { LOCK };
#if IDLE
     d_step { evict_idle () };
#endif
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
  atomic { LOCK; closed = 1; revoked = 1; moved = keeps || HAS_IDLE; complete = 1 }
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

/* The thread that drops the pool last: buf_pool_dispose, buf_semaphore_abandon. */
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

/* The watcher asks the keeper again while the semaphore is entered. */
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
#if STAYS_CLOSED
    depot_is_idle = 1;
#else
    revoked = 0;
    d_step { open () }
#endif
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

  /* In the end, everything has been freed: no block is lost. */
  freed;
  assert (exists == 0 && owned == 0 && CACHED == 0 && !HAS_IDLE && free == maximum && pinned == 0)
}
