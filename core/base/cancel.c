/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/util.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static atomic_int flag;
static atomic_int event_fd = -1;

int
cs_cancel_fd (void)
{
  if (event_fd < 0)
    event_fd = eventfd (flag ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK);
  return event_fd;
}

void
cs_cancel (void)
{
  static const guint64 one = 1;
  int saved = errno;
  flag = 1;
  if (event_fd >= 0 && write (event_fd, &one, sizeof one) < 0)
    flag = 1; /* it is readable already */
  errno = saved;
}

void
cs_cancel_reset (void)
{
  guint64 n;
  flag = 0;
  if (event_fd >= 0 && read (event_fd, &n, sizeof n) < 0)
    flag = 0;
}

gboolean
cs_cancelled (void)
{
  return flag != 0;
}

gboolean
cs_sleep (guint ms)
{
  struct pollfd f = { cs_cancel_fd (), POLLIN, 0 };
  double end = cs_now () + ms / 1000.0;
  for (double left; (left = end - cs_now ()) > 0 && !cs_cancelled ();)
    poll (&f, 1, (int) (left * 1000) + 1);
  return !cs_cancelled ();
}

static void
on_signal (int sig)
{
  if (flag) {
    signal (sig, SIG_DFL);
    raise (sig);
  }
  cs_cancel ();
}

void
cs_cancel_on_signals (void)
{
  static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
  struct sigaction a, was;
  memset (&a, 0, sizeof a);
  a.sa_handler = on_signal;
  cs_cancel_fd ();
  for (guint i = 0; i < G_N_ELEMENTS (sigs); i++)
    if (sigs[i] != SIGHUP || sigaction (SIGHUP, NULL, &was) != 0 || was.sa_handler != SIG_IGN)
      sigaction (sigs[i], &a, NULL); /* nohup holds */
}
