/* The record of an instance. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/instance.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/store/store.h"
#include "core/vm/runs.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void
cs_instance_free (struct cs_instance *i)
{
  if (i == NULL)
    return;
  char *texts[] = { i->name, i->dir, i->uuid, i->backend_name, i->hypervisor, i->suffix, i->image,
                    i->guest, i->created, i->cmdline, i->boot, i->connect, i->disk, i->disk_format,
                    i->restart, i->net, i->device, i->mac };
  for (guint k = 0; k < G_N_ELEMENTS (texts); k++)
    g_free (texts[k]);
  g_strfreev (i->forwards);
  g_strfreev (i->labels);
  g_strfreev (i->volumes);
  cs_vm_ref_clear (&i->ref);
  g_free (i);
}

char *
cs_instance_path (const struct cs_instance *i, const char *file)
{
  return g_build_filename (i->dir, file, NULL);
}

gboolean
cs_instance_save (const struct cs_instance *i, GError **err)
{
  GString *s = g_string_new (NULL);
  const struct { const char *key, *value; } texts[] = {
    { "name", i->name }, { "uuid", i->uuid }, { "backend_name", i->backend_name },
    { "hypervisor", i->hypervisor }, { "image", i->image }, { "guest", i->guest },
    { "created", i->created }, { "cmdline", i->cmdline }, { "boot", i->boot },
    { "connect", i->connect }, { "disk", i->disk }, { "disk_format", i->disk_format },
    { "id", i->ref.id }, { "state", i->ref.state }, { "remove", i->remove ? "true" : NULL },
    { "restart", i->restart }, { "net", i->net }, { "device", i->device }, { "mac", i->mac } };
  for (guint k = 0; k < G_N_ELEMENTS (texts); k++)
    cs_yaml_put (s, texts[k].key, texts[k].value);
  g_string_append_printf (s, "memory: %" G_GUINT64_FORMAT "\ncpus: %u\n", i->memory, i->cpus);
  cs_yaml_put_list (s, "forwards", i->forwards);
  cs_yaml_put_list (s, "labels", i->labels);
  cs_yaml_put_list (s, "volumes", i->volumes);
  g_autofree char *path = cs_instance_path (i, "instance.yaml");
  gboolean ok = cs_write_file (path, s->str, s->len, 0600, err);
  g_string_free (s, TRUE);
  return ok;
}

/* folder: the name it was made with, which holds where there is no record. */
static struct cs_instance *
load (const char *suffix, const char *folder)
{
  g_autofree char *dir = cs_root_path ("instances", suffix, folder, NULL);
  g_autofree char *path = g_build_filename (dir, "instance.yaml", NULL);
  g_autoptr (CsYaml) y = cs_yaml_load (path, NULL);
  struct cs_instance *i = g_new0 (struct cs_instance, 1);
  i->suffix = g_strdup (suffix);
  i->dir = g_strdup (dir);
  struct { const char *key; char **where; } const texts[] = {
    { "name", &i->name }, { "uuid", &i->uuid }, { "backend_name", &i->backend_name },
    { "hypervisor", &i->hypervisor }, { "image", &i->image }, { "guest", &i->guest },
    { "created", &i->created }, { "cmdline", &i->cmdline }, { "boot", &i->boot },
    { "connect", &i->connect }, { "disk", &i->disk }, { "disk_format", &i->disk_format },
    { "id", &i->ref.id }, { "state", &i->ref.state }, { "restart", &i->restart },
    { "net", &i->net }, { "device", &i->device }, { "mac", &i->mac } };
  for (guint k = 0; k < G_N_ELEMENTS (texts); k++)
    *texts[k].where = g_strdup (cs_yaml_str (y, texts[k].key));
  if (i->name == NULL || !cs_name_check ("instance name", i->name, TRUE, NULL)) {
    g_free (i->name);
    i->name = g_strdup (folder);
  }
  i->remove = cs_yaml_str (y, "remove") != NULL;
  const char *mem = cs_yaml_str (y, "memory"), *cpus = cs_yaml_str (y, "cpus");
  i->memory = mem != NULL ? g_ascii_strtoull (mem, NULL, 10) : 0;
  i->cpus = cpus != NULL ? (guint) g_ascii_strtoull (cpus, NULL, 10) : 0;
  i->forwards = cs_yaml_strv (y, "forwards");
  i->labels = cs_yaml_strv (y, "labels");
  i->volumes = cs_yaml_strv (y, "volumes");
  return i;
}

GPtrArray *
cs_instance_list (GError **err)
{
  GPtrArray *out = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_instance_free);
  g_autofree char *top = cs_root_path ("instances", NULL);
  DIR *d = opendir (top);
  for (struct dirent *e; d != NULL && (e = readdir (d)) != NULL;) {
    g_autofree char *sub = g_build_filename (top, e->d_name, NULL);
    DIR *s = e->d_name[0] != '.' ? opendir (sub) : NULL;
    for (struct dirent *f; s != NULL && (f = readdir (s)) != NULL;)
      if (f->d_name[0] != '.')
        g_ptr_array_add (out, load (e->d_name, f->d_name));
    if (s != NULL)
      closedir (s);
  }
  if (d != NULL)
    closedir (d);
  return out;
}

struct cs_instance *
cs_instance_in (const GPtrArray *all, const char *name, const char *suffix)
{
  for (guint k = 0; k < all->len; k++) {
    struct cs_instance *i = all->pdata[k];
    if ((strcmp (i->name, name) == 0 || g_strcmp0 (i->uuid, name) == 0) &&
        (suffix == NULL || strcmp (suffix, i->suffix) == 0))
      return i;
  }
  return NULL;
}

struct cs_instance *
cs_instance_find (const char *name, const char *suffix, GError **err)
{
  if (!cs_name_check ("instance name", name, TRUE, err))
    return NULL;
  g_autoptr (GPtrArray) all = cs_instance_list (err);
  struct cs_instance *i = cs_instance_in (all, name, suffix);
  guint k;
  if (i != NULL && g_ptr_array_find (all, i, &k))
    return g_ptr_array_steal_index (all, k);
  struct cs_suggestion near = { 0 };
  for (k = 0; all != NULL && k < all->len; k++)
    cs_suggest (name, ((struct cs_instance *) all->pdata[k])->name, &near);
  g_autofree char *what = cs_suggestion_text (&near, "capstan instances lists them");
  return cs_fail_null (err, CAPSTAN_E_NOTFOUND, "there is no instance '%s'; %s", name, what);
}

char *
cs_instance_using (const char *image)
{
  g_autoptr (GPtrArray) all = cs_instance_list (NULL);
  for (guint k = 0; k < all->len; k++) {
    struct cs_instance *i = g_ptr_array_index (all, k);
    if (g_strcmp0 (i->image, image) == 0)
      return g_strdup (i->name);
  }
  return NULL;
}

char *
cs_instance_run_path (const struct cs_instance *i)
{
  const char *x = g_getenv ("XDG_RUNTIME_DIR");
  g_autofree char *top = getuid () == 0 ? g_strdup ("/run/capstan")
                         : x != NULL && *x == '/' ? g_build_filename (x, "capstan", NULL)
                         : g_strdup_printf ("/tmp/capstan-%u", (unsigned) getuid ());
  return g_build_filename (top, i->backend_name, NULL);
}

char *
cs_instance_run_dir (const struct cs_instance *i, GError **err)
{
  struct stat st;
  g_autofree char *dir = cs_instance_run_path (i), *top = g_path_get_dirname (dir);
  if (!cs_mkdirs (dir, 0711, err))
    return NULL;
  if (lstat (top, &st) != 0 || st.st_uid != getuid () || !S_ISDIR (st.st_mode))
    return cs_fail_null (err, CAPSTAN_E_PERM, "%s belongs to somebody else; remove it or set "
                         "XDG_RUNTIME_DIR", top);
  return g_steal_pointer (&dir);
}

/* The last line of control.log, from that byte on, that begins with key; of a long line, its
 * start. The guest writes it, so it may be of any size. Closes fd. */
static char *
control_line (int fd, guint64 from, const char *key)
{
  char line[256], *found = NULL;
  gboolean start = TRUE;
  FILE *f = fd >= 0 ? fdopen (fd, "r") : NULL;
  if (f == NULL)
    cs_close_fd (&fd);
  else if (fseeko (f, (off_t) from, SEEK_SET) != 0)
    start = FALSE;
  while (f != NULL && fgets (line, sizeof line, f) != NULL) {
    gboolean whole = strchr (line, '\n') != NULL;
    if (start && g_str_has_prefix (line, key)) {
      g_free (found);
      found = g_strdup (g_strchomp (line + strlen (key)));
    }
    start = whole;
  }
  if (f != NULL)
    fclose (f);
  return found;
}

static int
open_control (const struct cs_instance *i)
{
  g_autofree char *path = cs_instance_path (i, "control.log");
  return open (path, O_RDONLY | O_CLOEXEC);
}

gboolean
cs_control_exit_status (int fd, guint64 from, int *ret_status)
{
  g_autofree char *v = control_line (fd >= 0 ? fcntl (fd, F_DUPFD_CLOEXEC, 0) : -1, from, "exit ");
  char *end;
  if (v == NULL || !g_ascii_isdigit (*v))
    return FALSE;
  gint64 n = g_ascii_strtoll (v, &end, 10);
  if (*end != '\0' || n > 255)
    return FALSE;
  *ret_status = (int) n;
  return TRUE;
}

gboolean
cs_instance_exit_status (const struct cs_instance *i, int *ret_status)
{
  struct cs_run run;
  cs_autofd int fd = open_control (i);
  cs_runs_last (i, &run);
  return cs_control_exit_status (fd, run.control, ret_status);
}

guint64
cs_instance_control_size (const struct cs_instance *i)
{
  struct stat st;
  g_autofree char *path = cs_instance_path (i, "control.log");
  return stat (path, &st) == 0 ? (guint64) st.st_size : 0;
}

gboolean
cs_instance_said (const struct cs_instance *i, guint64 from, const char *line)
{
  g_autofree char *v = control_line (open_control (i), from, line);
  return v != NULL && *v == '\0';
}
