/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* GLib's mutexes and conditions are futexes, which ThreadSanitizer does not see, and its atomic
 * counts of references are in a library that is not instrumented: it would report every access that
 * they order. A program that is built with ThreadSanitizer links this file, whose
 * functions take the place of GLib's in the program and in the library under test. They do the same
 * by way of POSIX threads, which ThreadSanitizer knows. */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include <glib-object.h>

void __tsan_acquire (void *address);
void __tsan_release (void *address);

static gpointer
get_or_create (gpointer *place, gpointer (*create) (void), void (*destroy) (gpointer))
{
  gpointer object = __atomic_load_n (place, __ATOMIC_ACQUIRE);
  gpointer fresh;

  if (object != NULL)
    return object;

  fresh = create ();
  if (__atomic_compare_exchange_n (place,
                                   &object,
                                   fresh,
                                   FALSE,
                                   __ATOMIC_ACQ_REL,
                                   __ATOMIC_ACQUIRE))
    return fresh;
  destroy (fresh);
  return object;
}

static gpointer
create_mutex (void)
{
  pthread_mutex_t *mutex = g_new (pthread_mutex_t, 1);

  pthread_mutex_init (mutex, NULL);
  return mutex;
}

static void
destroy_mutex (gpointer mutex)
{
  pthread_mutex_destroy (mutex);
  g_free (mutex);
}

static gpointer
create_cond (void)
{
  pthread_cond_t *cond = g_new (pthread_cond_t, 1);
  pthread_condattr_t attributes;

  pthread_condattr_init (&attributes);
  pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
  pthread_cond_init (cond, &attributes);
  pthread_condattr_destroy (&attributes);
  return cond;
}

static void
destroy_cond (gpointer cond)
{
  pthread_cond_destroy (cond);
  g_free (cond);
}

static pthread_mutex_t *
get_mutex (GMutex *mutex)
{
  return get_or_create (&mutex->p, create_mutex, destroy_mutex);
}

static pthread_cond_t *
get_cond (GCond *cond)
{
  return get_or_create (&cond->p, create_cond, destroy_cond);
}

void
g_mutex_init (GMutex *mutex)
{
  mutex->p = NULL;
}

void
g_mutex_clear (GMutex *mutex)
{
  if (mutex->p != NULL)
    destroy_mutex (mutex->p);
}

void
g_mutex_lock (GMutex *mutex)
{
  pthread_mutex_lock (get_mutex (mutex));
}

gboolean
g_mutex_trylock (GMutex *mutex)
{
  return pthread_mutex_trylock (get_mutex (mutex)) == 0;
}

void
g_mutex_unlock (GMutex *mutex)
{
  pthread_mutex_unlock (get_mutex (mutex));
}

void
g_cond_init (GCond *cond)
{
  cond->p = NULL;
}

void
g_cond_clear (GCond *cond)
{
  if (cond->p != NULL)
    destroy_cond (cond->p);
}

void
g_cond_wait (GCond *cond, GMutex *mutex)
{
  pthread_cond_wait (get_cond (cond), get_mutex (mutex));
}

gboolean
g_cond_wait_until (GCond *cond, GMutex *mutex, gint64 end_time)
{
  struct timespec end = { .tv_sec = end_time / G_USEC_PER_SEC,
                          .tv_nsec = end_time % G_USEC_PER_SEC * 1000 };

  return pthread_cond_timedwait (get_cond (cond), get_mutex (mutex), &end) != ETIMEDOUT;
}

void
g_cond_signal (GCond *cond)
{
  pthread_cond_signal (get_cond (cond));
}

void
g_cond_broadcast (GCond *cond)
{
  pthread_cond_broadcast (get_cond (cond));
}

static void (*real_unref) (gpointer object);

/* To drop a reference is one atomic operation that acquires and releases. */
void
g_object_unref (gpointer object)
{
  __tsan_acquire (object);
  __tsan_release (object);
  real_unref (object);
}

/* What GLib creates by itself the first time, it creates behind ThreadSanitizer's back: have it
 * done before there are threads. */
__attribute__ ((constructor)) static void
warm_up (void)
{
  real_unref = dlsym (RTLD_NEXT, "g_object_unref");
  g_error_free (g_error_new_literal (G_FILE_ERROR, G_FILE_ERROR_FAILED, ""));
}
