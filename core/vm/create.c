/* Making, ending and removing instances. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/vm.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/vm/disk.h"
#include "core/vm/volume.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct cs_hv *
cs_instance_hv (const struct cs_instance *i, GError **err)
{
  if (i->hypervisor == NULL)
    return cs_fail_null (err, CAPSTAN_E_UNSUPPORTED,
                         "instance '%s' was not made by this capstan; its folder is %s", i->name, i->dir);
  g_autofree char *uri = i->connect != NULL ? g_strconcat ("uri=", i->connect, NULL) : NULL;
  const char *options[] = { uri, NULL };
  return cs_hv_open (i->hypervisor, options, err);
}

/* Is nothing of it awake, so that another may take its place? */
static gboolean
is_at_rest (struct cs_instance *i, struct cs_hv *hv)
{
  guint state;
  return i->ref.id != NULL && !cs_monitor_is_there (i, NULL) && cs_instance_state (i, hv, &state, NULL) &&
         cs_vm_is_over (state);
}

static gboolean
name_taken (const char *name, GError **err)
{
  return cs_fail (err, CAPSTAN_E_EXISTS, "there is an instance '%s' already: capstan start %s runs it again, "
                  "capstan delete %s removes it", name, name, name);
}

gboolean
cs_instance_name_check (const char *name, GError **err)
{
  return cs_name_check ("instance name", name, FALSE, err) &&
         (strchr (name, '/') == NULL || cs_fail (err, CS_E_USAGE, "instance name '%s': it has no '/'", name));
}

int
cs_instance_names_lock (const char *suffix, GError **err)
{
  g_autofree char *top = cs_root_path ("instances", suffix, NULL);
  g_autofree char *path = g_build_filename (top, ".lock", NULL);
  return cs_mkdirs (top, 0711, err) ? cs_lock_file (path, TRUE, TRUE, err) : -1;
}

static void
set_name (struct cs_instance *i, const char *name, const char *folder)
{
  g_free (i->name);
  g_free (i->dir);
  i->name = g_strdup (name);
  i->dir = cs_root_path ("instances", i->suffix, folder, NULL);
}

/* The folder of that name, or, where an instance that was renamed lies there, another. */
static gboolean
make_folder (struct cs_instance *i, const char *name, GError **err)
{
  set_name (i, name, name);
  for (guint n = 1; mkdir (i->dir, 0711) != 0; n++) {
    if (errno != EEXIST || n == 1000)
      return cs_fail_errno (err, "create folder %s", i->dir);
    g_autofree char *folder = g_strdup_printf ("%s~%u", name, n); /* no name has a '~' */
    set_name (i, name, folder);
  }
  return TRUE;
}

/* Takes a name: the one asked for must be free; otherwise the image's, then -2, -3. A
 * stopped instance that got its name like that makes way. */
static gboolean
take_name (struct cs_instance *i, struct cs_hv *hv, const struct cs_run_opts *o, GError **err)
{
  g_autofree char *base = g_path_get_basename (o->image);
  /* two that find the same stopped instance must not both take its place */
  cs_autofd int lock = cs_instance_names_lock (i->suffix, err);
  if (lock < 0)
    return FALSE;
  g_autoptr (GPtrArray) all = cs_instance_list (err);
  for (guint n = 1; n < 10000; n++) {
    g_autofree char *name = o->name != NULL ? g_strdup (o->name)
                            : n == 1 ? g_strdup (base) : g_strdup_printf ("%s-%u", base, n);
    struct cs_instance *there = cs_instance_in (all, name, i->suffix);
    if (there == NULL)
      return make_folder (i, name, err);
    if (o->name != NULL)
      return name_taken (name, err);
    g_autofree char *mark = cs_instance_path (there, "auto");
    if (access (mark, F_OK) == 0 && is_at_rest (there, hv) && cs_instance_delete (there, hv, FALSE, NULL))
      return make_folder (i, name, err);
  }
  return cs_fail (err, CAPSTAN_E_EXISTS, "no free name for an instance of %s", o->image);
}

/* Everything a machine is made from. Strings are owned, so that the spec can point at them. */
struct plan {
  const struct cs_image *im;
  const char *format; /* the image's */
  gboolean direct;    /* the kernel is handed over */
  char *texts[8];
  guint n_texts;
  struct capstan_disk disk;
  struct capstan_nic nic;
  struct capstan_serial serial[2];
  GPtrArray *volumes;    /* of struct cs_volume *, or NULL */
  GPtrArray *disks;      /* of pointers to struct capstan_disk, NULL-terminated */
  const struct capstan_nic *nics[2];
  const struct capstan_serial *serials[3];
  GArray *params;
  struct capstan_vm_spec spec;
};

static void
plan_clear (struct plan *p)
{
  for (guint k = 0; k < p->n_texts; k++)
    g_free (p->texts[k]);
  p->n_texts = 0;
  g_clear_pointer (&p->params, g_array_unref);
  g_clear_pointer (&p->disks, g_ptr_array_unref);
}

static const char *
own (struct plan *p, char *text)
{
  return p->texts[p->n_texts++] = text;
}

/* How it is going to boot, from image, hypervisor and wish. */
static gboolean
plan_boot (struct plan *p, struct cs_instance *i, const struct capstan_caps *caps, const char *boot, GError **err)
{
  const struct cs_image *im = p->im;
  guint64 size = 0;
  p->format = im->index->format;
  if (p->format == NULL) {
    cs_autofd int fd = open (im->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
      return cs_fail_errno (err, "open %s", im->path);
    p->format = cs_image_probe (fd, im->path, FALSE, &size, err);
    if (p->format == NULL)
      return FALSE;
  }
  gboolean can = (caps->bits & CAPSTAN_HV_KERNEL_BOOT) && im->index->kernel_length > 0 && strcmp (p->format, "raw") == 0;
  if (g_strcmp0 (boot, "direct") == 0 && !can)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                    "--boot-method direct: image %s holds no kernel that can be taken out, or %s "
                    "cannot boot one", im->name, i->hypervisor);
  p->direct = can && g_strcmp0 (boot, "disk") != 0;
  i->boot = g_strdup (p->direct ? "direct" : "disk");
  return cs_disk_choose (i, im, p->format, caps, err);
}

/* "key=value" texts as what the ABI has for them. */
static gboolean
plan_params (struct plan *p, const char *const *given, GError **err)
{
  p->params = g_array_new (FALSE, FALSE, sizeof (struct capstan_kv));
  for (; given != NULL && *given != NULL; given++) {
    const char *eq = strchr (*given, '=');
    if (eq == NULL)
      return cs_fail (err, CS_E_USAGE, "--option %s: expected KEY=VALUE", *given);
    g_autofree char *key = g_strndup (*given, (gsize) (eq - *given));
    struct capstan_kv kv = { g_intern_string (key), eq + 1 };
    g_array_append_val (p->params, kv);
  }
  p->spec.params = (const struct capstan_kv *) (void *) p->params->data;
  p->spec.n_params = p->params->len;
  return TRUE;
}

/* The spec, from the names that the instance has now; its files may not be there yet. */
static gboolean
plan_spec (struct plan *p, const struct cs_instance *i, const struct cs_run_opts *o, const char *run_dir, GError **err)
{
  plan_clear (p);
  p->disk = (struct capstan_disk) { .struct_size = sizeof p->disk, .flags = CAPSTAN_F_BOOT,
    .path = own (p, cs_instance_path (i, i->disk)), .format = i->disk_format };
  p->nic = (struct capstan_nic) { .struct_size = sizeof p->nic, .mode = i->net, .mac = i->mac,
    .device = i->device, .forwards = (const char *const *) i->forwards };
  static const char *const roles[] = { "console", "control" }, *const logs[] = { "console.log", "control.log" };
  for (guint k = 0; k < 2; k++) {
    p->serial[k] = (struct capstan_serial) { .struct_size = sizeof p->serial[k], .role = roles[k],
      .log = own (p, cs_instance_path (i, logs[k])), .socket = own (p, g_build_filename (run_dir, roles[k], NULL)) };
    p->serials[k] = &p->serial[k];
  }
  p->disks = g_ptr_array_new ();
  g_ptr_array_add (p->disks, &p->disk);
  for (guint k = 0; k < p->volumes->len; k++)
    g_ptr_array_add (p->disks, &((struct cs_volume *) g_ptr_array_index (p->volumes, k))->disk);
  g_ptr_array_add (p->disks, NULL);
  p->nics[0] = strcmp (i->net, "none") != 0 ? &p->nic : NULL;
  p->spec = (struct capstan_vm_spec) { .struct_size = sizeof p->spec, .name = i->backend_name,
    .title = i->name, .uuid = i->uuid, .arch = "x86_64", .guest = i->guest, .accel = o->accel,
    .run_dir = run_dir, .cpus = i->cpus, .memory = i->memory,
    .disks = (const struct capstan_disk *const *) p->disks->pdata, .nics = p->nics,
    .serials = p->serials };
  if (p->direct) {
    p->spec.kernel = own (p, cs_instance_path (i, "kernel"));
    p->spec.initrd = own (p, cs_instance_path (i, "initrd"));
    p->spec.cmdline = p->im->index->kernel_args;
  }
  return plan_params (p, o->params, err);
}

/* Whether they are free is asked again at each start. */
static gboolean
plan_volumes (struct plan *p, struct cs_instance *i, const struct cs_run_opts *o, GError **err)
{
  p->volumes = cs_volumes_open (o->volumes, err);
  if (p->volumes == NULL)
    return FALSE;
  i->volumes = g_new0 (char *, p->volumes->len + 1);
  for (guint k = 0; k < p->volumes->len; k++)
    i->volumes[k] = g_strdup (((struct cs_volume *) g_ptr_array_index (p->volumes, k))->text);
  return cs_volumes_unused (i, err);
}

/* Would the hypervisor take it? Asked before anything is made or a name is taken. */
static gboolean
plan_check (struct plan *p, struct cs_hv *hv, struct cs_instance *i, const struct cs_run_opts *o, GError **err)
{
  g_autofree char *run_dir = cs_instance_run_path (i);
  return plan_spec (p, i, o, run_dir, err) && cs_hv_check (hv, &p->spec, err);
}

static gboolean
create_vm (struct plan *p, struct cs_hv *hv, struct cs_instance *i, const struct cs_run_opts *o, GError **err)
{
  const struct cs_index *x = p->im->index;
  g_autofree char *run_dir = cs_instance_run_dir (i, err);
  if (run_dir == NULL || !plan_spec (p, i, o, run_dir, err) || !cs_disk_make (i, p->im, p->format, err) ||
      !cs_disk_cmdline (i, o->cmd, o->env, err))
    return FALSE;
  if (p->direct && (!cs_disk_extract (p->im, x->kernel_offset, x->kernel_length, p->spec.kernel, err) ||
                    !cs_disk_extract (p->im, x->initrd_offset, x->initrd_length, p->spec.initrd, err)))
    return FALSE;
  return cs_hv_create (hv, &p->spec, &i->ref, err) && cs_instance_save (i, err);
}

/* The record, but for what is decided later: its name, how it boots, its disk. */
static struct cs_instance *
instance_new (struct cs_hv *hv, const struct cs_image *im, const struct cs_run_opts *o, GError **err)
{
  g_autoptr (cs_instance) i = g_new0 (struct cs_instance, 1);
  guint n = g_strv_length ((char **) o->forwards);
  i->forwards = g_new0 (char *, n + 1);
  for (guint k = 0; k < n; k++)
    if ((i->forwards[k] = cs_forward_parse (o->forwards[k], err)) == NULL)
      return NULL;
  if (!cs_net_check (o, err) || !cs_forwards_pick (i->forwards, err))
    return NULL;
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  i->suffix = g_strdup (cs_hv_suffix (hv));
  i->uuid = cs_uuid_new ();
  i->backend_name = g_strdup_printf ("capstan-%.8s", i->uuid);
  i->hypervisor = g_strdup (cs_hv_name (hv));
  i->image = g_strdup (im->name);
  i->guest = g_strdup (im->index->guest != NULL ? im->index->guest : "osv");
  i->created = g_date_time_format (now, "%Y-%m-%dT%H:%M:%SZ");
  i->connect = g_strdup (o->connect);
  i->memory = o->memory;
  i->cpus = o->cpus;
  i->remove = o->remove;
  i->restart = g_strdup (o->restart);
  i->net = g_strdup (o->net);
  i->device = g_strdup (o->bridge);
  i->labels = g_strdupv ((char **) o->labels);
  return g_steal_pointer (&i);
}

static gboolean
create (struct plan *p, struct cs_hv *hv, struct cs_instance *i, const struct cs_run_opts *o, GError **err)
{
  struct capstan_caps caps;
  g_autofree char *base = g_path_get_basename (o->image);
  const char *name = o->name != NULL ? o->name : base;
  g_autoptr (cs_instance) there = NULL;
  if (o->name != NULL && !cs_instance_name_check (name, err))
    return FALSE;
  if (o->name != NULL && (there = cs_instance_find (name, i->suffix, NULL)) != NULL)
    return name_taken (name, err);
  set_name (i, name, name); /* for the check; it is taken after that */
  if (strcmp (o->net, "none") != 0)
    i->mac = o->mac != NULL ? g_strdup (o->mac) : cs_mac_of_name (i->suffix, name);
  if (!cs_hv_caps (hv, &caps, err) || !plan_boot (p, i, &caps, o->boot, err) ||
      !plan_volumes (p, i, o, err) || !plan_check (p, hv, i, o, err) ||
      !take_name (i, hv, o, err))
    return FALSE;
  if (o->mac == NULL && i->mac != NULL) {
    g_free (i->mac);
    i->mac = cs_mac_of_name (i->suffix, i->name);
  }
  g_autofree char *mark = cs_instance_path (i, "auto"), *image = cs_instance_path (i, "image.yaml");
  g_autofree char *index = cs_index_text (p->im->index);
  if ((o->name != NULL || o->keep || cs_write_file (mark, "", 0, 0600, err)) &&
      cs_write_file (image, index, strlen (index), 0600, err) && create_vm (p, hv, i, o, err))
    return TRUE;
  cs_instance_delete (i, hv, TRUE, NULL);
  return FALSE;
}

struct cs_instance *
cs_instance_create (struct cs_hv *hv, const struct cs_run_opts *o, GError **err)
{
  const char *suffix = cs_hv_suffix (hv);
  struct cs_image *im = cs_store_want (o->image, suffix, err) ? cs_store_find (o->image, suffix, err) : NULL;
  /* until there is an instance that stands on it, nobody may replace or remove the image */
  cs_autofd int lock = im != NULL ? cs_store_lock (o->image, FALSE, TRUE, err) : -1;
  cs_image_free (im);
  im = lock >= 0 ? cs_store_find (o->image, suffix, err) : NULL;
  struct cs_instance *i = im != NULL ? instance_new (hv, im, o, err) : NULL;
  struct plan p = { .im = im };
  gboolean ok = i != NULL && create (&p, hv, i, o, err);
  plan_clear (&p);
  g_clear_pointer (&p.volumes, g_ptr_array_unref);
  cs_image_free (im);
  if (ok)
    return i;
  cs_instance_free (i);
  return NULL;
}
