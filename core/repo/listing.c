/* `capstan repo index`: digests and a listing for a folder that a web server shows.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/repo.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/repo/stream.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK = 512 * 1024, DEPTH = 8, LISTING_MAX = 64 << 20 };
#define LISTING "index.html" /* web servers answer it for the folder */

struct listing { GString *out; guint entries, hashed; };

/* ---- one image file: what index.yaml is to say of it ---- */

static struct cs_wire *
read_image (int fd, const char *path, const char *file, guint64 size, GError **err)
{
  g_autofree guint8 *buf = g_malloc (CHUNK);
  struct cs_unpack *u = cs_unpack_new (cs_encoding_of_name (file), -1, 0, path);
  guint64 at = 0;
  gssize n;
  gboolean ok = TRUE;
  cs_progress_begin (path, size, 0);
  while (ok && (n = pread (fd, buf, CHUNK, (off_t) at)) != 0) {
    ok = n < 0 ? cs_fail_errno (err, "read %s", path)
               : cs_unpack_feed (u, buf, (gsize) n, err) && cs_progress_step ((guint64) n, err);
    at += n > 0 ? (guint64) n : 0;
  }
  cs_progress_end ();
  struct cs_wire *w = NULL;
  if (ok && cs_unpack_end (u, err)) {
    w = cs_wire_new ();
    w->file = g_strdup (file);
    w->encoding = g_strdup (cs_encoding_of_name (file));
    w->sha256 = g_strdup (cs_unpack_sha256 (u));
    w->wire_sha256 = g_strdup (cs_unpack_wire_sha256 (u));
    w->size = cs_unpack_size (u);
    w->stored = cs_unpack_stored (u);
    w->wire_size = at;
  }
  cs_unpack_free (u);
  return w;
}

/* The format is said where the file as it is can be looked at; a compressed one is looked at
 * by who pulls it. */
static gboolean
add_image (struct listing *l, struct cs_manifest *m, const char *dir, const char *file,
           const char *suffix, const struct stat *index, gboolean *changed, GError **err)
{
  struct stat st;
  guint64 virtual;
  g_autofree char *path = g_build_filename (dir, file, NULL);
  cs_autofd int fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat (fd, &st) != 0)
    return cs_fail_errno (err, "open %s", path);
  const struct cs_wire *old = cs_manifest_wire (m, suffix);
  if (old != NULL && old->sha256 != NULL && old->wire_sha256 != NULL && g_strcmp0 (old->file, file) == 0 &&
      old->wire_size == (guint64) st.st_size && st.st_mtim.tv_sec < index->st_mtim.tv_sec)
    return TRUE;
  const char *format = NULL;
  if (cs_encoding_of_name (file) == NULL &&
      (format = cs_image_check (fd, path, m->index->format, &virtual, err)) == NULL)
    return FALSE;
  struct cs_wire *w = read_image (fd, path, file, (guint64) st.st_size, err);
  if (w == NULL)
    return FALSE;
  w->format = g_strdup (format != NULL ? format : old != NULL ? old->format : m->index->format);
  g_hash_table_insert (m->files, g_strdup (suffix), w);
  l->hashed++;
  *changed = TRUE;
  return TRUE;
}

/* "qemu" of "app.qemu.gz", if it is an image of "app"; g_free. */
static char *
suffix_of (const char *file, const char *base)
{
  gsize n = strlen (base);
  if (strncmp (file, base, n) != 0 || file[n] != '.')
    return NULL;
  char *s = g_strdup (file + n + 1);
  const char *end = cs_encoding_suffix (cs_encoding_of_name (s));
  s[strlen (s) - strlen (end)] = '\0';
  if (cs_suffix_valid (s))
    return s;
  g_free (s);
  return NULL;
}

/* ---- the listing ---- */

static void
put_xml (GString *out, const char *name, const char *text)
{
  g_autofree char *safe = g_markup_escape_text (text, -1);
  g_string_append_printf (out, "<%s>%s</%s>", name, safe, name);
}

static gboolean
put_file (struct listing *l, const char *dir, const char *name, const char *file, const char *sha256,
          GError **err)
{
  struct stat st;
  g_autofree char *path = g_build_filename (dir, file, NULL), *key = g_strconcat (name, "/", file, NULL);
  if (stat (path, &st) != 0)
    return cs_fail_errno (err, "stat %s", path);
  g_autoptr (GDateTime) t = g_date_time_new_from_unix_utc (st.st_mtim.tv_sec);
  g_autofree char *when = g_date_time_format (t, "%Y-%m-%dT%H:%M:%S.000Z");
  g_string_append (l->out, "<Contents>");
  put_xml (l->out, "Key", key);
  put_xml (l->out, "LastModified", when);
  g_string_append_printf (l->out, "<Size>%" G_GUINT64_FORMAT "</Size>", (guint64) st.st_size);
  if (sha256 != NULL)
    put_xml (l->out, "Sha256", sha256);
  g_string_append (l->out, "</Contents>\n");
  return TRUE;
}

static gboolean
put_entry (struct listing *l, const char *dir, const char *name, GPtrArray *images, GError **err)
{
  g_autofree char *path = g_build_filename (dir, "index.yaml", NULL);
  g_autofree char *base = g_path_get_basename (name);
  struct stat st = { 0 };
  gsize len = 0;
  g_autofree char *text = stat (path, &st) == 0 ? cs_read_file (path, CS_YAML_MAX, &len, err) : NULL;
  if (st.st_ino != 0 && text == NULL)
    return FALSE;
  g_autoptr (cs_manifest) m = cs_manifest_parse (text, len, path, err);
  gboolean ok = m != NULL, changed = st.st_ino == 0;
  for (guint i = 0; ok && i < images->len; i++) {
    const char *file = g_ptr_array_index (images, i);
    g_autofree char *suffix = suffix_of (file, base);
    const struct cs_wire *w = cs_manifest_wire (m, suffix);
    /* of several encodings the one that is recorded, else the first */
    if (w == NULL || g_strcmp0 (w->file, file) == 0 ||
        !g_ptr_array_find_with_equal_func (images, w->file, g_str_equal, NULL))
      ok = add_image (l, m, dir, file, suffix, &st, &changed, err);
  }
  if (ok && changed) {
    g_autofree char *now = cs_manifest_text (m);
    ok = cs_write_file (path, now, strlen (now), 0644, err);
  }
  if (!ok || !put_file (l, dir, name, "index.yaml", NULL, err))
    return FALSE;
  for (guint i = 0; i < images->len; i++) {
    g_autofree char *suffix = suffix_of (images->pdata[i], base);
    const struct cs_wire *w = cs_manifest_wire (m, suffix);
    const char *sum = w != NULL && g_strcmp0 (w->file, images->pdata[i]) == 0 ? w->wire_sha256 : NULL;
    if (!put_file (l, dir, name, images->pdata[i], sum, err))
      return FALSE;
  }
  l->entries++;
  return TRUE;
}

static int
by_text (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *) a, *(const char *const *) b);
}

static gboolean
walk (struct listing *l, const char *dir, const char *name, int depth, GError **err)
{
  g_autoptr (GPtrArray) subs = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GPtrArray) images = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *base = g_path_get_basename (name);
  struct stat st;
  DIR *d = opendir (dir);
  if (d == NULL)
    return cs_fail_errno (err, "open %s", dir);
  for (struct dirent *e; (e = readdir (d)) != NULL;) {
    if (e->d_name[0] == '.' || fstatat (dirfd (d), e->d_name, &st, 0) != 0)
      continue;
    g_autofree char *suffix = S_ISREG (st.st_mode) && *name != '\0' ? suffix_of (e->d_name, base) : NULL;
    if (S_ISDIR (st.st_mode))
      g_ptr_array_add (subs, g_strdup (e->d_name));
    else if (suffix != NULL)
      g_ptr_array_add (images, g_strdup (e->d_name));
  }
  closedir (d);
  g_ptr_array_sort (subs, by_text);
  g_ptr_array_sort (images, by_text);
  if (images->len > 0 && !put_entry (l, dir, name, images, err))
    return FALSE;
  for (guint i = 0; i < subs->len && depth < DEPTH; i++) {
    g_autofree char *path = g_build_filename (dir, subs->pdata[i], NULL);
    g_autofree char *sub = *name != '\0' ? g_strconcat (name, "/", subs->pdata[i], NULL)
                                         : g_strdup (subs->pdata[i]);
    if (!cs_name_check ("name", sub, TRUE, NULL))
      cs_warn ("%s is left out: it cannot be the name of an image", path);
    else if (!walk (l, path, sub, depth + 1, err))
      return FALSE;
  }
  return TRUE;
}

gboolean
cs_repo_index (const char *dir, guint *ret_entries, guint *ret_hashed, GError **err)
{
  struct listing l = { 0 };
  g_autoptr (GString) out = g_string_new (
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n"
      "<IsTruncated>false</IsTruncated>\n");
  g_autofree char *path = g_build_filename (dir, LISTING, NULL);
  if (access (path, F_OK) == 0) {
    g_autofree char *old = cs_read_file (path, LISTING_MAX, NULL, err);
    if (old == NULL)
      return FALSE;
    if (strstr (old, "<ListBucketResult") == NULL)
      return cs_fail (err, CAPSTAN_E_EXISTS, "%s is a page of somebody's own and would be lost: move it "
                      "away, or keep the images in a folder of their own", path);
  }
  l.out = out;
  if (!walk (&l, dir, "", 0, err))
    return FALSE;
  g_string_append (out, "</ListBucketResult>\n");
  if (!cs_write_file (path, out->str, out->len, 0644, err))
    return FALSE;
  *ret_entries = l.entries;
  *ret_hashed = l.hashed;
  return TRUE;
}
