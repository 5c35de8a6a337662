/* The disk of an instance as an image of the store. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/vm.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include <fcntl.h>
#include <string.h>

/* Overlay and what it stands on become one file; zeros stay holes. */
static gboolean
flatten (const struct cs_instance *i, const char *format, const char *to, GError **err)
{
  const char *argv[] = { "qemu-img", "convert", "-f", i->disk_format, "-O", format,
                        i->disk, to, NULL };
  return cs_spawn_tool (i->dir, argv, err);
}

/* What the image was when the instance was made, changed into what the new one is. */
static struct cs_index *
new_index (const struct cs_instance *i, const char *description, GError **err)
{
  g_autofree char *path = cs_instance_path (i, "image.yaml");
  struct cs_index *x = cs_index_load (path, err);
  if (x == NULL)
    return NULL;
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  char *of = description != NULL ? g_strdup (description)
                                 : g_strdup_printf ("instance %s of %s", i->name, i->image);
  struct {
    char **where, *value;
  } const texts[] = {
      { &x->created, g_date_time_format (now, "%Y-%m-%dT%H:%M:%SZ") },
      { &x->description, of },
      { &x->sha256, NULL },
      { &x->suffix, g_strdup (i->suffix) },
      { &x->guest, g_strdup (i->guest) },
      { &x->format, g_strdup (g_strcmp0 (x->format, "qcow2") == 0 ? "qcow2" : "raw") } };
  for (guint k = 0; k < G_N_ELEMENTS (texts); k++) {
    g_free (*texts[k].where);
    *texts[k].where = texts[k].value;
  }
  g_ptr_array_set_size (x->other, 0);            /* of what the old one was built from */
  g_clear_pointer (&x->more, g_ptr_array_unref); /* and its files for other hypervisors */
  if (i->cmdline != NULL) { /* it is on the disk, and so the image's own from now on */
    g_free (x->cmdline);
    x->cmdline = g_strdup (i->cmdline);
  }
  return x;
}

static gboolean
write_image (const struct cs_instance *i, const char *name, gboolean force, struct cs_index *x,
             GError **err)
{
  struct cs_store_txn *t = cs_store_begin (name, i->suffix, err);
  if (t == NULL)
    return FALSE;
  struct cs_image *there = cs_store_find (name, i->suffix, NULL);
  gboolean ok =
      there == NULL || force ||
      cs_fail (err, CAPSTAN_E_EXISTS, "there is an image '%s' already; --force replaces it", name);
  if (there != NULL)
    cs_image_free (there);
  ok = ok && flatten (i, x->format, t->path, err);
  cs_autofd int fd = ok ? open (t->path, O_RDONLY | O_CLOEXEC) : -1;
  ok = ok && cs_image_check (fd, t->path, x->format, &x->size, err) != NULL;
  if (ok)
    return cs_store_commit (t, x, err);
  cs_store_abort (t);
  return FALSE;
}

gboolean
cs_instance_commit (struct cs_instance *i, struct cs_hv *hv, const char *name,
                    const char *description, gboolean force, GError **err)
{
  guint state;
  if (!cs_name_check ("image name", name, FALSE, err) || !cs_instance_state (i, hv, &state, err))
    return FALSE;
  if (cs_vm_is_over (state) && i->restart != NULL && cs_monitor_is_there (i, NULL))
    return cs_fail (err, CAPSTAN_E_STATE, "'%s' is about to be started again: capstan stop %s", i->name,
                    i->name);
  if (!cs_vm_is_over (state))
    return cs_fail (err, CAPSTAN_E_STATE,
                    "'%s' is %s: its disk is whole once it has stopped; capstan stop %s", i->name,
                    cs_vm_state_name (state), i->name);
  struct cs_index *x = new_index (i, description, err);
  gboolean ok = x != NULL && write_image (i, name, force, x, err);
  cs_index_free (x);
  return ok;
}
