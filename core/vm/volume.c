/* Disks of the user's own, beside that of the instance. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/vm/volume.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/store/store.h"
#include "core/vm/vm.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void
cs_volume_free (struct cs_volume *v)
{
  if (v == NULL)
    return;
  g_free (v->text);
  g_free (v->path);
  g_free (v->format);
  g_ptr_array_unref (v->strings);
  g_array_unref (v->params);
  g_free (v);
}

/* What is said twice is said by the first: an option before the file beside the disk. */
static void
set (struct cs_volume *v, const char *key, const char *value)
{
  if (value == NULL)
    return;
  if (strcmp (key, "format") == 0) {
    if (v->format == NULL)
      v->format = g_strdup (value);
    return;
  }
  for (guint k = 0; k < v->params->len; k++)
    if (strcmp (g_array_index (v->params, struct capstan_kv, k).key, key) == 0)
      return;
  struct capstan_kv kv = { g_strdup (key), g_strdup (value) };
  g_ptr_array_add (v->strings, (gpointer) kv.key);
  g_ptr_array_add (v->strings, (gpointer) kv.value);
  g_array_append_val (v->params, kv);
}

/* Takes the options off the end of text, as long as there are some: a path may have colons. */
static void
take_options (struct cs_volume *v, char *text)
{
  for (char *colon; (colon = strrchr (text, ':')) != NULL; *colon = '\0') {
    char *eq = strchr (colon, '=');
    if (strcmp (colon + 1, "ro") == 0)
      v->disk.flags |= CAPSTAN_F_READONLY;
    else if (eq != NULL && eq > colon + 1 && memchr (colon, '/', (size_t) (eq - colon)) == NULL) {
      *eq = '\0';
      set (v, colon + 1, eq + 1);
    } else
      return;
  }
}

static char *
find (const char *text, GError **err)
{
  g_autoptr (GError) e = NULL;
  g_autofree char *stored =
      strchr (text, '/') == NULL && access (text, F_OK) != 0 ? cs_volume_path (text, &e) : NULL;
  char *path = realpath (stored != NULL ? stored : text, NULL);
  if (path == NULL && (stored != NULL || e != NULL))
    return cs_fail_null (err, CAPSTAN_E_NOTFOUND,
                         "volume %s: there is no such file here, and none in the store; "
                         "capstan volume create makes one",
                         text);
  if (path == NULL)
    return cs_fail_errno_null (err, "volume %s", text);
  char *r = g_strdup (path);
  free (path); /* not GLib's */
  return r;
}

/* What the original wrote beside the disk, or capstan volume create. */
static gboolean
read_beside (struct cs_volume *v, GError **err)
{
  static const char *const keys[] = { "format", "aio", "cache" };
  g_autofree char *path = g_strconcat (v->path, ".yaml", NULL);
  if (access (path, F_OK) != 0)
    return TRUE;
  g_autoptr (CsYaml) y = cs_yaml_load (path, err);
  for (guint k = 0; y != NULL && k < G_N_ELEMENTS (keys); k++)
    set (v, keys[k], cs_yaml_str (y, keys[k]));
  return y != NULL;
}

/* A guest writes what it likes into a raw disk, the header of another format as well: raw is
 * believed where it was said, and nothing else without a look. */
static gboolean
check_format (struct cs_volume *v, int fd, GError **err)
{
  struct stat st;
  if (fstat (fd, &st) != 0)
    return cs_fail_errno (err, "look at %s", v->path);
  if (!S_ISREG (st.st_mode) || st.st_size == 0)
    return cs_fail (err, CAPSTAN_E_INVAL, "volume %s: it is %s", v->path,
                    S_ISREG (st.st_mode) ? "empty" : "no file");
  v->disk.size = (guint64) st.st_size;
  if (g_strcmp0 (v->format, "raw") == 0)
    return TRUE;
  const char *format = cs_image_probe (fd, v->path, CS_PROBE_BARE, &v->disk.size, err);
  if (format == NULL)
    return FALSE;
  if (v->format == NULL && strcmp (format, "raw") != 0)
    return cs_fail (err, CS_E_USAGE,
                    "volume %s begins like a disk of format %s: say :format=%s or :format=raw",
                    v->path, format, format);
  if (v->format != NULL && strcmp (v->format, format) != 0)
    return cs_fail (err, CS_E_USAGE, "volume %s: it is of format %s, not %s", v->path, format,
                    v->format);
  if (v->format == NULL)
    v->format = g_strdup (format);
  return TRUE;
}

static char *
text_of (const struct cs_volume *v)
{
  GString *s = g_string_new (v->path);
  g_string_append_printf (s, ":format=%s", v->format);
  for (guint k = 0; k < v->params->len; k++) {
    const struct capstan_kv *kv = &g_array_index (v->params, struct capstan_kv, k);
    g_string_append_printf (s, ":%s=%s", kv->key, kv->value);
  }
  if (v->disk.flags & CAPSTAN_F_READONLY)
    g_string_append (s, ":ro");
  return g_string_free (s, FALSE);
}

struct cs_volume *
cs_volume_open (const char *text, GError **err)
{
  g_autoptr (cs_volume) v = g_new0 (struct cs_volume, 1);
  g_autofree char *rest = g_strdup (text);
  v->strings = g_ptr_array_new_with_free_func (g_free);
  v->params = g_array_new (FALSE, FALSE, sizeof (struct capstan_kv));
  take_options (v, rest);
  if (*rest == '\0')
    return cs_fail_null (err, CS_E_USAGE,
                         "volume '%s': expected PATH[:format=FORMAT][:KEY=VALUE][:ro]", text);
  if ((v->path = find (rest, err)) == NULL || !read_beside (v, err))
    return NULL;
  gboolean ro = v->disk.flags & CAPSTAN_F_READONLY;
  cs_autofd int fd = open (v->path, (ro ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return cs_fail_errno_null (err, "open volume %s%s", v->path, ro ? "" : " to write");
  if (!check_format (v, fd, err))
    return NULL;
  v->text = text_of (v);
  v->disk.struct_size = sizeof v->disk;
  v->disk.path = v->path;
  v->disk.format = v->format;
  v->disk.params = (const struct capstan_kv *) (void *) v->params->data;
  v->disk.n_params = v->params->len;
  return g_steal_pointer (&v);
}

GPtrArray *
cs_volumes_open (const char *const *texts, GError **err)
{
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_volume_free);
  for (; texts != NULL && *texts != NULL; texts++) {
    struct cs_volume *v = cs_volume_open (*texts, err);
    if (v == NULL)
      return NULL;
    for (guint k = 0; k < all->len; k++)
      if (strcmp (((struct cs_volume *) g_ptr_array_index (all, k))->path, v->path) == 0) {
        cs_fail (err, CS_E_USAGE, "volume %s is named twice", v->path);
        cs_volume_free (v);
        return NULL;
      }
    g_ptr_array_add (all, v);
  }
  return g_steal_pointer (&all);
}

/* ---- who uses it ---- */

const char *
cs_volume_of (const struct cs_instance *i, const char *path, gsize n)
{
  for (char **v = i->volumes; v != NULL && *v != NULL; v++)
    if (strncmp (*v, path, n) == 0 && strncmp (*v + n, ":format=", 8) == 0)
      return *v;
  return NULL;
}

static gboolean
is_awake (struct cs_instance *i)
{
  guint state;
  g_autoptr (cs_hv) hv = cs_instance_hv (i, NULL);
  return hv != NULL && cs_instance_state (i, hv, &state, NULL) && !cs_vm_is_over (state);
}

static gboolean
volume_unused (const struct cs_instance *i, const char *text, GPtrArray *all, GError **err)
{
  const char *end = strstr (text, ":format=");
  gsize n = end != NULL ? (gsize) (end - text) : strlen (text);
  for (guint k = 0; k < all->len; k++) {
    struct cs_instance *other = g_ptr_array_index (all, k);
    const char *theirs = g_strcmp0 (other->uuid, i->uuid) != 0 ? cs_volume_of (other, text, n) : NULL;
    if (theirs == NULL || (g_str_has_suffix (theirs, ":ro") && g_str_has_suffix (text, ":ro")))
      continue;
    if (is_awake (other))
      return cs_fail (
          err, CAPSTAN_E_BUSY,
          "volume %.*s is in use by '%s'; two can share it if both have it read-only (:ro)", (int) n,
          text, other->name);
  }
  return TRUE;
}

gboolean
cs_volumes_unused (const struct cs_instance *i, GError **err)
{
  if (i->volumes == NULL || *i->volumes == NULL)
    return TRUE;
  g_autoptr (GPtrArray) all = cs_instance_list (err);
  for (char **v = i->volumes; *v != NULL; v++)
    if (!volume_unused (i, *v, all, err))
      return FALSE;
  return TRUE;
}

char **
cs_volume_users (const char *path)
{
  g_autoptr (GPtrArray) all = cs_instance_list (NULL);
  GPtrArray *names = g_ptr_array_new ();
  char *real = realpath (path, NULL); /* as instances have it */
  const char *p = real != NULL ? real : path;
  for (guint k = 0; k < all->len; k++) {
    const struct cs_instance *i = g_ptr_array_index (all, k);
    if (cs_volume_of (i, p, strlen (p)) != NULL)
      g_ptr_array_add (names, g_strdup (i->name));
  }
  free (real);
  g_ptr_array_add (names, NULL);
  return (char **) g_ptr_array_free (names, FALSE);
}
