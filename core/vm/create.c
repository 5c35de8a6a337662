/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/vm.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/build/cmdline.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

char *
cs_forward_parse (const char *text, GError **err)
{
  g_autofree char *t = g_strdup (text);
  char *slash = strchr (t, '/');
  const char *proto = slash != NULL ? slash + 1 : "tcp";
  if (slash != NULL)
    *slash = '\0';
  g_auto (GStrv) p = g_strsplit (t, ":", 0);
  guint n = g_strv_length (p);
  struct in_addr a;
  gboolean ok = (n == 2 || n == 3) && (strcmp (proto, "tcp") == 0 || strcmp (proto, "udp") == 0) &&
                (n == 2 || inet_pton (AF_INET, p[0], &a) == 1);
  for (guint i = n - 2; ok && i < n; i++) {
    char *end;
    guint64 port = g_ascii_strtoull (p[i], &end, 10);
    ok = g_ascii_isdigit (*p[i]) && *end == '\0' && port > 0 && port < 65536;
  }
  if (!ok)
    return cs_fail_null (err, CS_E_USAGE,
                         "forward '%s': expected [ADDRESS:]HOSTPORT:GUESTPORT[/udp], like 8080:80", text);
  return g_strdup_printf ("%s:%s:%s:%s", proto, n == 3 ? p[0] : "127.0.0.1", p[n - 2], p[n - 1]);
}

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

static gboolean
has_format (const char *list, const char *format)
{
  g_auto (GStrv) l = g_strsplit (list != NULL ? list : format, ",", 0);
  return g_strv_contains ((const char *const *) l, format);
}

/* qemu-img or qemu-io in the instance's folder: file names are relative, since qemu-io parts
 * its commands at blanks and knows no quotes. */
static gboolean
tool (struct cs_instance *i, const char *const *argv, GError **err)
{
  struct cs_spawn s = CS_SPAWN_INIT;
  s.argv = argv;
  s.dir = i->dir;
  gboolean ok = cs_spawn_check (&s, err);
  cs_spawn_clear (&s);
  return ok;
}

static gboolean
make_overlay (struct cs_instance *i, const struct cs_image *im, const char *format,
              const struct capstan_caps *caps, GError **err)
{
  g_autofree char *path = NULL;
  if (has_format (caps->formats, "qcow2")) {
    i->disk = g_strdup ("disk.qcow2");
    i->disk_format = g_strdup ("qcow2");
    const char *argv[] = { "qemu-img", "create", "-q", "-f", "qcow2", "-F", format, "-b", im->path,
                           i->disk, NULL };
    return tool (i, argv, err);
  }
  if (!has_format (caps->formats, "raw") || strcmp (format, "raw") != 0)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "image %s is %s, which %s does not take (%s)",
                    im->name, format, i->hypervisor, caps->formats);
  i->disk = g_strdup ("disk.raw");
  i->disk_format = g_strdup ("raw");
  path = cs_instance_path (i, i->disk);
  cs_autofd int in = open (im->path, O_RDONLY | O_CLOEXEC);
  cs_autofd int out = open (path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (in < 0 || out < 0)
    return cs_fail_errno (err, "copy %s to %s", im->path, path);
  if (ftruncate (out, (off_t) im->file_size) != 0)
    return cs_fail_errno (err, "write %s", path);
  return cs_copy_range (in, 0, out, 0, im->file_size, im->path, path, err);
}

/* What the disk holds, whoever made it; g_free. */
static char *
read_cmdline (struct cs_instance *i, GError **err)
{
  gboolean is_raw = strcmp (i->disk_format, "raw") == 0;
  g_autofree char *path = cs_instance_path (i, is_raw ? i->disk : "head");
  /* the sector before it as well, so that one reader serves both */
  const char *argv[] = { "qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=512", "count=64",
                         "if=disk.qcow2", "of=head", NULL };
  if (!is_raw && !tool (i, argv, err))
    return NULL;
  cs_autofd int fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return cs_fail_errno_null (err, "open %s", path);
  if (!is_raw)
    unlink (path);
  return cs_cmdline_read (fd, path, err);
}

static gboolean
write_cmdline (struct cs_instance *i, GError **err)
{
  if (strcmp (i->disk_format, "raw") == 0) {
    g_autofree char *path = cs_instance_path (i, i->disk);
    cs_autofd int fd = open (path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
      return cs_fail_errno (err, "open %s", path);
    return cs_cmdline_write (fd, i->cmdline, path, err);
  }
  g_autofree char *text = cs_instance_path (i, "cmdline");
  gsize n = CS_ALIGN (strlen (i->cmdline) + 1, 512);
  g_autofree char *buf = g_malloc0 (n);
  memcpy (buf, i->cmdline, strlen (i->cmdline));
  g_autofree char *cmd =
      g_strdup_printf ("write -q -s cmdline %d %" G_GSIZE_FORMAT, CS_CMDLINE_OFFSET, n);
  const char *argv[] = { "qemu-io", "-f", "qcow2", "-c", cmd, i->disk, NULL };
  return cs_write_file (text, buf, n, 0600, err) && tool (i, argv, err);
}

/* -e and --env: of this instance, in its overlay. */
static gboolean
own_cmdline (struct cs_instance *i, const struct cs_run_opts *o, GError **err)
{
  if (o->cmd == NULL && o->env[0] == NULL)
    return TRUE;
  g_autofree char *built = read_cmdline (i, err);
  if (built == NULL)
    return FALSE;
  g_autofree char *app = o->cmd != NULL ? cs_cmdline_replace_app (built, o->cmd) : g_strdup (built);
  i->cmdline = cs_cmdline_make (o->env, app, i->guest, err);
  return i->cmdline != NULL && write_cmdline (i, err);
}

static gboolean
extract (struct cs_instance *i, const struct cs_image *im, const char *file, guint64 off, guint64 n,
         char **ret, GError **err)
{
  g_autofree char *path = cs_instance_path (i, file);
  cs_autofd int in = open (im->path, O_RDONLY | O_CLOEXEC);
  cs_autofd int out = open (path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (in < 0 || out < 0)
    return cs_fail_errno (err, "copy the %s of %s to %s", file, im->path, path);
  if (ftruncate (out, (off_t) n) != 0)
    return cs_fail_errno (err, "write %s", path);
  if (!cs_copy_range (in, off, out, 0, n, im->path, path, err))
    return FALSE;
  *ret = g_steal_pointer (&path);
  return TRUE;
}

static gboolean
is_running (struct cs_instance *i, struct cs_hv *hv)
{
  g_autoptr (cs_vm) vm = NULL;
  if (i->ref.id == NULL || !cs_hv_info (hv, &i->ref, &vm, NULL))
    return FALSE;
  return vm->info.state == CAPSTAN_VM_RUNNING || vm->info.state == CAPSTAN_VM_PAUSED ||
         vm->info.state == CAPSTAN_VM_STOPPING;
}

/* Takes a name: the one asked for must be free; otherwise the image's, then -2, -3. A
 * stopped instance that got its name like that makes way. */
static char *
take_name (struct cs_hv *hv, const struct cs_run_opts *o, GError **err)
{
  g_autofree char *base = g_path_get_basename (o->image);
  const char *suffix = cs_hv_suffix (hv);
  g_autofree char *top = cs_root_path ("instances", suffix, NULL);
  g_autofree char *lock_path = g_build_filename (top, ".lock", NULL);
  if (!cs_mkdirs (top, 0711, err) || (o->name != NULL && !cs_name_check ("instance name", o->name, FALSE, err)))
    return NULL;
  /* two that find the same stopped instance must not both take its place */
  cs_autofd int lock = cs_lock_file (lock_path, TRUE, TRUE, err);
  if (lock < 0)
    return NULL;
  for (guint n = 1; n < 10000; n++) {
    g_autofree char *name = o->name != NULL ? g_strdup (o->name)
                            : n == 1 ? g_strdup (base) : g_strdup_printf ("%s-%u", base, n);
    g_autofree char *dir = g_build_filename (top, name, NULL);
    if (mkdir (dir, 0711) == 0)
      return g_steal_pointer (&name);
    if (errno != EEXIST)
      return cs_fail_errno_null (err, "create folder %s", dir);
    if (o->name != NULL)
      return cs_fail_null (err, CAPSTAN_E_EXISTS, "there is an instance '%s' already: capstan delete %s",
                           name, name);
    struct cs_instance *i = cs_instance_find (name, suffix, NULL);
    g_autofree char *mark = g_build_filename (dir, "auto", NULL);
    gboolean gone = i != NULL && access (mark, F_OK) == 0 && i->ref.id != NULL && !is_running (i, hv) &&
                    cs_instance_delete (i, hv, FALSE, NULL);
    cs_instance_free (i);
    if (gone && mkdir (dir, 0711) == 0)
      return g_steal_pointer (&name);
  }
  return cs_fail_null (err, CAPSTAN_E_EXISTS, "no free name for an instance of %s", o->image);
}

static gboolean
create_vm (struct cs_instance *i, struct cs_hv *hv, const struct cs_image *im,
           const struct capstan_caps *caps, const struct cs_run_opts *o, GError **err)
{
  const char *format = im->index->format;
  guint64 size = 0;
  g_autofree char *kernel = NULL, *initrd = NULL;
  if (format == NULL) {
    cs_autofd int fd = open (im->path, O_RDONLY | O_CLOEXEC);
    format = fd >= 0 ? cs_image_probe (fd, im->path, FALSE, &size, err) : NULL;
    if (format == NULL)
      return fd >= 0 ? FALSE : cs_fail_errno (err, "open %s", im->path);
  }
  cs_autofd int lock = cs_store_lock (im->name, FALSE, TRUE, err);
  if (lock < 0 || !make_overlay (i, im, format, caps, err) || !own_cmdline (i, o, err))
    return FALSE;
  gboolean can = (caps->bits & CAPSTAN_HV_KERNEL_BOOT) && im->index->kernel_length > 0 && strcmp (format, "raw") == 0;
  if (g_strcmp0 (o->boot, "direct") == 0 && !can)
    return cs_fail (err, CAPSTAN_E_UNSUPPORTED,
                    "--boot-method direct: image %s holds no kernel that can be taken out, or %s "
                    "cannot boot one", im->name, i->hypervisor);
  gboolean direct = can && g_strcmp0 (o->boot, "disk") != 0;
  i->boot = g_strdup (direct ? "direct" : "disk");
  if (direct && (!extract (i, im, "kernel", im->index->kernel_offset, im->index->kernel_length, &kernel, err) ||
                 !extract (i, im, "initrd", im->index->initrd_offset, im->index->initrd_length, &initrd, err)))
    return FALSE;
  g_autofree char *run_dir = cs_instance_run_dir (i, err);
  if (run_dir == NULL)
    return FALSE;
  g_autofree char *disk_path = cs_instance_path (i, i->disk);
  g_autofree char *log = cs_instance_path (i, "console.log"), *clog = cs_instance_path (i, "control.log");
  g_autofree char *sock = g_build_filename (run_dir, "console", NULL), *csock = g_build_filename (run_dir, "control", NULL);
  struct capstan_disk disk = { .struct_size = sizeof disk, .flags = CAPSTAN_F_BOOT, .path = disk_path, .format = i->disk_format };
  struct capstan_nic nic = { .struct_size = sizeof nic, .mode = o->net, .mac = o->mac, .device = o->bridge,
                             .forwards = (const char *const *) i->forwards };
  struct capstan_serial con = { .struct_size = sizeof con, .role = "console", .log = log, .socket = sock };
  struct capstan_serial ctl = { .struct_size = sizeof ctl, .role = "control", .log = clog, .socket = csock };
  const struct capstan_disk *disks[] = { &disk, NULL };
  const struct capstan_nic *nics[] = { strcmp (o->net, "none") != 0 ? &nic : NULL, NULL };
  const struct capstan_serial *serials[] = { &con, &ctl, NULL };
  struct capstan_vm_spec s = { .struct_size = sizeof s, .name = i->backend_name, .title = i->name,
    .uuid = i->uuid, .arch = "x86_64", .guest = i->guest, .accel = o->accel, .run_dir = run_dir,
    .cpus = i->cpus, .memory = i->memory, .kernel = kernel, .initrd = initrd,
    .cmdline = direct ? im->index->kernel_args : NULL, .disks = disks, .nics = nics, .serials = serials };
  return cs_hv_create (hv, &s, &i->ref, err) && cs_instance_save (i, err);
}

struct cs_instance *
cs_instance_create (struct cs_hv *hv, const struct cs_run_opts *o, GError **err)
{
  struct capstan_caps caps;
  struct cs_image *im = cs_store_find (o->image, cs_hv_suffix (hv), err);
  if (im == NULL || !cs_hv_caps (hv, &caps, err)) {
    cs_image_free (im);
    return NULL;
  }
  struct cs_instance *i = g_new0 (struct cs_instance, 1);
  g_autoptr (GPtrArray) f = g_ptr_array_new ();
  gboolean ok = TRUE;
  for (guint k = 0; ok && o->forwards[k] != NULL; k++) {
    char *fw = cs_forward_parse (o->forwards[k], err);
    ok = fw != NULL;
    g_ptr_array_add (f, fw);
  }
  if (ok)
    g_ptr_array_add (f, NULL);
  i->forwards = (char **) g_ptr_array_steal (f, NULL);
  i->name = ok ? take_name (hv, o, err) : NULL;
  if (i->name == NULL) {
    cs_instance_free (i);
    cs_image_free (im);
    return NULL;
  }
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  i->suffix = g_strdup (cs_hv_suffix (hv));
  i->dir = cs_root_path ("instances", i->suffix, i->name, NULL);
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
  g_autofree char *mark = cs_instance_path (i, "auto");
  if (o->name == NULL)
    ok = cs_write_file (mark, "", 0, 0600, err);
  ok = ok && create_vm (i, hv, im, &caps, o, err);
  cs_image_free (im);
  if (ok)
    return i;
  cs_instance_delete (i, hv, TRUE, NULL);
  cs_instance_free (i);
  return NULL;
}

gboolean
cs_instance_delete (struct cs_instance *i, struct cs_hv *hv, gboolean force, GError **err)
{
  if (hv != NULL && i->ref.id != NULL && !cs_hv_destroy (hv, &i->ref, force ? CAPSTAN_F_FORCE : 0, err))
    return FALSE;
  if (i->backend_name != NULL) {
    g_autofree char *run_dir = cs_instance_run_dir (i, NULL);
    if (run_dir != NULL)
      cs_rmtree (run_dir, NULL);
  }
  return cs_rmtree (i->dir, err);
}

gboolean
cs_stop_say (int control)
{
  return cs_write_all (control, "stop\n", 5, "the control channel", NULL);
}

gboolean
cs_instance_stop (struct cs_instance *i, struct cs_hv *hv, guint seconds, GError **err)
{
  g_autoptr (GError) e = NULL;
  if (!is_running (i, hv))
    return TRUE;
  if (g_strcmp0 (i->guest, "linux") == 0) {
    cs_autofd int fd = cs_hv_console (hv, &i->ref, "control", &e);
    /* each second anew: a guest that is still booting does not listen yet */
    for (guint k = 0; k < seconds && fd >= 0 && cs_stop_say (fd); k++)
      if (cs_hv_wait (hv, &i->ref, CAPSTAN_VM_STOPPED, 1000, NULL, NULL))
        return TRUE;
    if (!is_running (i, hv)) /* it closed the channel by ending */
      return TRUE;
    cs_info ("%s did not stop in %u s; powering it off", i->name, seconds);
  } else
    cs_info ("%s: this guest cannot be asked to stop; powering it off", i->name);
  return cs_hv_stop (hv, &i->ref, CAPSTAN_F_FORCE, 0, err);
}
