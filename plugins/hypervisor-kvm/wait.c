/* Waiting for a machine, by libvirt's events. SPDX-License-Identifier: BSD-3-Clause
 *
 * libvirt gives events to connections that were opened after an event loop was registered,
 * and only while somebody runs that loop. A command that never waits needs none of it: the
 * first wait starts one thread for the loop and opens a second connection. */
#include "kvm.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000 }; /* with a libvirt that is being restarted */

static void *
run_loop (void *unused)
{
  for (;;)
    if (virEventRunDefaultImpl () < 0)
      virResetLastError ();
  return NULL;
}

int
events_start (struct capstan_call *call)
{
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static int running;
  sigset_t all, old;
  pthread_t t;
  int rc = 0, e;
  pthread_mutex_lock (&mutex);
  if (!running) {
    sigfillset (&all); /* signals are for the thread that asked for them */
    pthread_sigmask (SIG_SETMASK, &all, &old);
    if (virEventRegisterDefaultImpl () < 0)
      rc = kvm_error (call, "start", "libvirt's event loop");
    else if ((e = pthread_create (&t, NULL, run_loop, NULL)) != 0)
      rc = capstan_error (call, CAPSTAN_E_NOMEM, e, "start a thread");
    else {
      pthread_detach (t);
      running = 1;
    }
    pthread_sigmask (SIG_SETMASK, &old, NULL);
  }
  pthread_mutex_unlock (&mutex);
  return rc;
}

/* What the loop's thread and the one that waits share. A callback may still be on its way
 * when it has been taken back, so the last of them frees it. */
struct waiter {
  atomic_int refs, lost;
  int fd; /* readable when there is something to look at */
};

static void
waiter_unref (void *data)
{
  struct waiter *w = data;
  if (atomic_fetch_sub (&w->refs, 1) > 1)
    return;
  close (w->fd);
  free (w);
}

static void
wake (struct waiter *w)
{
  static const uint64_t one = 1;
  if (write (w->fd, &one, sizeof one) < 0)
    return; /* full: it is readable already */
}

static int
on_event (virConnectPtr c, virDomainPtr d, int event, int detail, void *data)
{
  wake (data);
  return 0;
}

static void
on_close (virConnectPtr c, int reason, void *data)
{
  atomic_store (&((struct waiter *) data)->lost, 1);
  wake (data);
}

static int64_t
now_ms (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A connection that gets events; one that was lost is waited for until end. */
static int
connect_events (struct capstan_call *call, struct kvm *k, int again, int64_t end)
{
  int rc = events_start (call);
  int64_t patience = now_ms () + PATIENCE_MS;
  if (rc != 0 || k->events != NULL)
    return rc;
  if (k->embed) {
    virConnectRef (k->conn);
    k->events = k->conn;
    return 0;
  }
  while ((k->events = virConnectOpen (k->uri)) == NULL) {
    if (!again || now_ms () >= patience || now_ms () >= end)
      return kvm_error (call, "wait: connect to", k->uri);
    if ((rc = capstan_host_->sleep_ms (call, 200)) != 0)
      return rc;
  }
  return 0;
}

/* Looks whenever something happened. The state, or -code; *ret_lost: neither. */
static int
look (struct capstan_call *call, virDomainPtr d, struct waiter *w, int until, uint64_t ms,
      int64_t end, int64_t *ret_when, int *ret_lost)
{
  for (int first = 1;; first = 0) {
    int reason, st = kvm_state (d, &reason);
    if (atomic_load (&w->lost) ||
        (st == CAPSTAN_VM_UNKNOWN && virConnectIsAlive (virDomainGetConnect (d)) == 0)) {
      *ret_lost = 1;
      return 0;
    }
    if (st == until || st == CAPSTAN_VM_STOPPED || st == CAPSTAN_VM_CRASHED ||
        st == CAPSTAN_VM_GONE) {
      *ret_when = first ? INT64_MIN : (int64_t) time (NULL);
      return st;
    }
    if (capstan_host_->cancelled (call))
      return capstan_error (call, CAPSTAN_E_CANCELLED, 0, "cancelled");
    int64_t left = end == INT64_MAX ? -1 : end - now_ms ();
    if (left <= 0 && end != INT64_MAX)
      return capstan_error (call, CAPSTAN_E_TIMEOUT, 0, "%s is still running after %llu ms",
                            virDomainGetName (d), (unsigned long long) ms);
    struct pollfd f[2] = { { w->fd, POLLIN, 0 }, { capstan_host_->cancel_fd (call), POLLIN, 0 } };
    uint64_t n;
    if (poll (f, 2, left > INT32_MAX ? INT32_MAX : (int) left) < 0 && errno != EINTR)
      return capstan_error (call, CAPSTAN_E_IO, errno, "poll");
    if (f[0].revents != 0 && read (w->fd, &n, sizeof n) < 0 && errno != EAGAIN)
      return capstan_error (call, CAPSTAN_E_IO, errno, "read");
  }
}

static struct waiter *
waiter_new (void)
{
  struct waiter *w = calloc (1, sizeof *w);
  if (w == NULL)
    return NULL;
  atomic_init (&w->refs, 1);
  w->fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  return w;
}

/* One look with a connection that gets events. The callbacks are there before the state is
 * asked for, so that nothing falls between. */
static int
watch_once (struct capstan_call *call, struct kvm *k, const char *id, int until, uint64_t ms,
            int64_t end, int64_t *ret_when, int *ret_lost)
{
  struct waiter *w = waiter_new ();
  int rc = 0, event = -1, closing = -1;
  if (w == NULL || w->fd < 0) {
    free (w);
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory or descriptors");
  }
  virDomainPtr d = virDomainLookupByUUIDString (k->events, id);
  if (d == NULL) {
    virErrorPtr e = virGetLastError ();
    rc = e != NULL && e->code == VIR_ERR_NO_DOMAIN ? CAPSTAN_VM_GONE : kvm_error (call, "find", id);
  } else {
    atomic_fetch_add (&w->refs, 2);
    event = virConnectDomainEventRegisterAny (k->events, d, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                              VIR_DOMAIN_EVENT_CALLBACK (on_event), w, waiter_unref);
    if (event < 0)
      waiter_unref (w);
    if (k->embed || (closing = virConnectRegisterCloseCallback (k->events, on_close, w, waiter_unref)) < 0)
      waiter_unref (w);
    rc = event < 0 ? kvm_error (call, "watch", id)
                   : look (call, d, w, until, ms, end, ret_when, ret_lost);
  }
  if (event >= 0)
    virConnectDomainEventDeregisterAny (k->events, event);
  if (closing == 0)
    virConnectUnregisterCloseCallback (k->events, on_close);
  if (d != NULL)
    virDomainFree (d);
  waiter_unref (w);
  return rc;
}

int
kvm_wait_for (struct capstan_call *call, struct kvm *k, const char *id, int until, uint64_t ms,
              int64_t *ret_when)
{
  int64_t end = ms != 0 ? now_ms () + (int64_t) ms : INT64_MAX;
  for (int again = 0;; again = 1) {
    int lost = 0, rc = connect_events (call, k, again, end);
    if (rc == 0)
      rc = watch_once (call, k, id, until, ms, end, ret_when, &lost);
    /* libvirt was restarted: machines outlive that */
    if (k->events != NULL && (lost || (rc < 0 && virConnectIsAlive (k->events) == 0))) {
      virConnectClose (k->events);
      k->events = NULL;
      if (lost || !again)
        continue;
    }
    return rc;
  }
}
