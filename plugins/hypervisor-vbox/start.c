/* Telling VirtualBox to start a machine. SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vbox.h"
#include <string.h>
#include <sys/stat.h>

enum { LOG_MAX = 4 * 1024 * 1024 };

/* The first line of the machine's log with text in it, from there on; whether there is one. */
static int
log_has (const struct vb_info *i, const char *text, char *buf, size_t n)
{
  char path[VB_PATH + 16], line[512];
  const char *p = NULL;
  long done = 0;
  snprintf (path, sizeof path, "%s/VBox.log", i->log_dir);
  FILE *f = fopen (path, "re");
  while (f != NULL && p == NULL && done < LOG_MAX && fgets (line, sizeof line, f) != NULL) {
    p = strcasestr (line, text);
    done += (long) strlen (line);
  }
  if (f != NULL)
    fclose (f);
  if (p != NULL)
    snprintf (buf, n, "%.*s", (int) strcspn (p, "\r\n"), p);
  return p != NULL;
}

static ino_t
log_inode (const struct vb_info *i)
{
  char path[VB_PATH + 16];
  struct stat st;
  snprintf (path, sizeof path, "%s/VBox.log", i->log_dir);
  return stat (path, &st) == 0 ? st.st_ino : 0;
}

/* Of a port that somebody else has taken meanwhile VirtualBox says nothing but in its log. */
static int
forwards_hold (struct capstan_call *call, const struct vb_info *i)
{
  char what[128];
  if (i->n_forwards == 0 || !log_has (i, "failed to set up redirection", what, sizeof what))
    return 0;
  return capstan_error (call, CAPSTAN_E_BUSY, 0, "%s: a port was taken by somebody else: %s", i->name, what);
}

/* VBoxManage asks the machine's process how the start goes on. One whose guest has ended
 * before it could answer has run all the same: its log, which each start begins anew, says so. */
int
vb_start (struct capstan_call *call, struct vbox *v, const char *id, const struct vb_info *i)
{
  struct vb_args a = { .v = { "startvm", id, "--type", "headless" }, .n = 4 };
  struct vb_reply r;
  char what[64];
  ino_t before = log_inode (i);
  int rc = vb_try (call, v, VB_LOCKED, &a, &r);
  if (rc != 0)
    return rc;
  int over = r.code == VB_ABORT && log_inode (i) != before && log_has (i, "to 'RUNNING'", what, sizeof what);
  return r.status == 0 || over ? forwards_hold (call, i) : vb_fail (call, &r, "start", id);
}
