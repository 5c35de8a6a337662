/* Boots a guest of one sector. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/prove.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/vm/prove-guest.h"
#include "core/vm/vm.h"
#include <errno.h>
#include <poll.h>
#include <string.h>

#define NAME "capstan-doctor"
#define SAYS "capstan"                      /* the guest */
#define MARK "made by capstan doctor, and removed by it" /* the image's description */
enum { DISK = 1 << 20, MEMORY = 64 << 20, END_MS = 10000, OUTPUT_MAX = 64 };

static gboolean
make_image (const char *suffix, GError **err)
{
  struct cs_store_txn *t = cs_store_begin (NAME, suffix, err);
  if (t == NULL)
    return FALSE;
  struct cs_index *x = cs_index_new ();
  x->format = g_strdup ("raw");
  x->guest = g_strdup ("osv"); /* that is: nothing is expected of it */
  x->description = g_strdup (MARK);
  x->size = DISK;
  gboolean ok = cs_pwrite_all (t->fd, guest, sizeof guest, 0, t->path, err) &&
                (ftruncate (t->fd, DISK) == 0 || cs_fail_errno (err, "write %s", t->path));
  if (ok)
    ok = cs_store_commit (t, x, err);
  else
    cs_store_abort (t);
  cs_index_free (x);
  return ok;
}

static gboolean
remove_image (GError **err)
{
  struct cs_image *im = cs_store_find (NAME, NULL, NULL);
  if (im == NULL)
    return TRUE;
  gboolean ours = g_strcmp0 (im->index->description, MARK) == 0;
  cs_image_free (im);
  if (ours)
    return cs_store_remove (NAME, NULL, err);
  return cs_fail (err, CAPSTAN_E_EXISTS, "capstan doctor boots an image that it calls " NAME ", and there "
                  "is another of that name; capstan tag it, and capstan rmi " NAME);
}

/* Of one that was killed. */
static gboolean
remove_instance (struct cs_hv *hv, GError **err)
{
  g_autoptr (cs_instance) i = cs_instance_find (NAME, cs_hv_suffix (hv), NULL);
  if (i == NULL)
    return TRUE;
  if (g_strcmp0 (i->image, NAME) != 0)
    return cs_fail (err, CAPSTAN_E_EXISTS, "capstan doctor runs an instance that it calls " NAME ", and "
                    "there is another of that name; capstan rename it");
  return cs_instance_delete (i, hv, TRUE, err);
}

/* It has said it where the console was not heard: what the hypervisor logged. */
static gboolean
is_logged (const struct cs_instance *i)
{
  g_autofree char *path = cs_instance_path (i, "console.log");
  g_autofree char *text = cs_read_file (path, OUTPUT_MAX * 16, NULL, NULL);
  return text != NULL && strstr (text, SAYS) != NULL;
}

static gboolean
listen_to (const struct cs_instance *i, int console, guint seconds, GError **err)
{
  char text[OUTPUT_MAX + 1];
  gsize n = 0;
  double end = cs_now () + seconds;
  for (;;) {
    double left = end - cs_now ();
    struct pollfd f[2] = { { console, POLLIN, 0 }, { cs_cancel_fd (), POLLIN, 0 } };
    int ready = left > 0 ? poll (f, 2, (int) (left * 1000) + 1) : 0;
    if (ready < 0 && errno == EINTR)
      continue;
    if (cs_cancelled ())
      return cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled");
    ssize_t got = ready > 0 ? read (console, text + n, OUTPUT_MAX - n) : 0;
    if (got > 0) {
      n += (gsize) got;
      text[n] = '\0';
      if (strstr (text, SAYS) != NULL)
        return TRUE;
    }
    if (got > 0 && n < OUTPUT_MAX)
      continue;
    if (is_logged (i))
      return TRUE;
    if (n > 0)
      return cs_fail (err, CAPSTAN_E_IO, "the guest should say '" SAYS "', and another text came");
    if (ready > 0)
      return cs_fail (err, CAPSTAN_E_IO, "the machine ended before its guest said anything");
    return cs_fail (err, CAPSTAN_E_TIMEOUT, "the machine was started, and its guest said nothing in %u "
                    "seconds", seconds);
  }
}

static gboolean
boot (struct cs_instance *i, struct cs_hv *hv, guint seconds, double *ret, GError **err)
{
  struct capstan_caps caps;
  if (!cs_hv_caps (hv, &caps, err) || !cs_instance_begin (i, hv, err))
    return FALSE;
  gboolean pause = (caps.bits & CAPSTAN_HV_PAUSE) != 0;
  double began = cs_now ();
  if (!cs_hv_start (hv, &i->ref, pause ? CAPSTAN_F_PAUSED : 0, err))
    return FALSE;
  cs_autofd int console = cs_hv_console (hv, &i->ref, "console", err);
  if (console < 0 || (pause && !cs_hv_resume (hv, &i->ref, err)) || !listen_to (i, console, seconds, err))
    return FALSE;
  *ret = cs_now () - began;
  if (cs_hv_wait (hv, &i->ref, CAPSTAN_VM_STOPPED, END_MS, NULL, err))
    return TRUE;
  g_prefix_error (err, "the guest ran, and did not power off: ");
  return FALSE;
}

/* What follows is done even so, and then cs_cancel says it again. */
static gboolean
put_off (void)
{
  gboolean cancelled = cs_cancelled ();
  cs_cancel_reset ();
  return cancelled;
}

static gboolean
run (struct cs_hv *hv, const struct cs_prove *p, double *ret, GError **err)
{
  static const char *const none[] = { NULL };
  const struct cs_run_opts o = { .image = NAME, .name = NAME, .env = none, .forwards = none, .params = none,
    .labels = none, .volumes = none, .net = "nat", .connect = p->connect, .accel = p->accel,
    .memory = MEMORY, .cpus = 1 };
  g_autoptr (cs_instance) i = cs_instance_create (hv, &o, err);
  if (i == NULL)
    return FALSE;
  gboolean ok = boot (i, hv, p->seconds, ret, err), cancelled = put_off ();
  g_autoptr (GError) e = NULL;
  gboolean gone = cs_instance_delete (i, hv, TRUE, ok ? err : &e);
  if (e != NULL)
    cs_warn ("%s", e->message);
  if (cancelled)
    cs_cancel ();
  return gone && ok;
}

gboolean
cs_prove (struct cs_hv *hv, const struct cs_prove *p, double *ret_seconds, GError **err)
{
  g_autofree char *dir = cs_root_path ("locks", NULL);
  g_autofree char *path = g_build_filename (dir, "doctor", NULL);
  /* there is one image and one instance of the name; what is there before is nobody's */
  cs_autofd int lock = cs_mkdirs (dir, 0755, err) ? cs_lock_file (path, TRUE, TRUE, err) : -1;
  if (lock < 0 || !remove_instance (hv, err) || !remove_image (err) || !make_image (cs_hv_suffix (hv), err))
    return FALSE;
  gboolean ok = run (hv, p, ret_seconds, err), cancelled = put_off ();
  ok = remove_image (ok ? err : NULL) && ok;
  if (cancelled)
    cs_cancel ();
  return ok;
}
