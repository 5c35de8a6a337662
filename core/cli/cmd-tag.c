/* capstan tag. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/store/store.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* The bytes under a second name. No image file is ever changed in place, so where the file
 * system cannot share the data of two files, one file may have two names. */
static gboolean
share (struct cs_store_txn *t, const struct cs_image *from, int in, GError **err)
{
  struct stat st;
  if (ioctl (t->fd, FICLONE, in) == 0)
    return TRUE;
  g_autofree char *link_name = g_strconcat (t->path, ".link", NULL);
  if (link (from->path, link_name) == 0)
    return rename (link_name, t->path) == 0 || cs_fail_errno (err, "rename %s", link_name);
  if (fstat (in, &st) < 0)
    return cs_fail_errno (err, "look at %s", from->path);
  cs_progress_begin (t->name, (guint64) st.st_size, 0);
  gboolean ok = ftruncate (t->fd, st.st_size) == 0
                    ? cs_copy_range (in, 0, t->fd, 0, (guint64) st.st_size, from->path,
                                     t->path, err)
                    : cs_fail_errno (err, "write %s", t->path);
  cs_progress_end ();
  return ok;
}

/* The image and its index, as they belong together. */
static struct cs_image *
open_image (const char *name, const char *suffix, int *ret_fd, GError **err)
{
  cs_autofd int lock = cs_store_lock (name, FALSE, TRUE, err);
  struct cs_image *i = lock >= 0 ? cs_store_find (name, suffix, err) : NULL;
  if (i && (*ret_fd = open (i->path, O_RDONLY | O_CLOEXEC)) < 0) {
    cs_fail_errno (err, "open %s", i->path);
    cs_image_free (i);
    return NULL;
  }
  return i;
}

static gboolean
tag (struct cs_image *from, int in, const char *to, gboolean force, GError **err)
{
  struct cs_store_txn *t = cs_store_begin (to, from->suffix, err);
  if (!t)
    return FALSE;
  struct cs_image *there = cs_store_find (to, NULL, NULL);
  gboolean ok = !there || force;
  if (!ok)
    cs_fail (err, CAPSTAN_E_EXISTS, "there is an image '%s' already; --force replaces it", to);
  if (there)
    cs_image_free (there);
  if (!ok || !share (t, from, in, err)) {
    cs_store_abort (t);
    return FALSE;
  }
  return cs_store_commit (t, from->index, err);
}

static gboolean
run_tag (struct cs_cli *cli, GError **err)
{
  const char *name = cs_cli_arg (cli, 0), *to = cs_cli_arg (cli, 1);
  cs_autofd int in = -1;
  if (!cs_name_check ("image name", to, FALSE, err))
    return FALSE;
  if (strcmp (name, to) == 0)
    return cs_fail (err, CS_E_USAGE, "'%s' has this name already", name);
  const char *suffix = cs_cli_given (cli, "hypervisor") ? cs_cli_suffix (cli) : NULL;
  cs_cancel_on_signals ();
  struct cs_image *from = open_image (name, suffix, &in, err);
  if (!from)
    return FALSE;
  gboolean ok = tag (from, in, to, cs_cli_flag (cli, "force"), err);
  cs_image_free (from);
  return ok;
}

static const struct cs_opt opts[] = {
  { .name = "force", .type = CS_OPT_FLAG, .help = "replace an image of that name" },
  { .name = NULL }
};

const struct cs_cmd cs_cmd_tag = {
  .name = "tag", .args = "NAME NEW-NAME", .summary = "Give an image a second name",
  .text = "Makes NEW-NAME an image of its own with the content of NAME. It takes no room on "
          "the disk: the data are shared. To remove or rebuild one of them leaves the other "
          "as it is.",
  .examples = "capstan tag app app-1.0\ncapstan tag app ns/app",
  .min_args = 2, .max_args = 2, .comp = CS_COMP_IMAGE, .opts = opts, .run = run_tag
};
