/* The fingerprint of what an image is made of. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <string.h>
#include <sys/stat.h>
#include "core/base/yaml.h"
#include "core/build/inputs.h"

/* A file changed within this time of our looking may change again unseen, since clocks of
 * file systems are coarse. */
#define COARSE_NS G_GINT64_CONSTANT (20000000)
#define NS G_GINT64_CONSTANT (1000000000)

void
cs_inputs_init (struct cs_inputs *n)
{
  n->sum = g_checksum_new (G_CHECKSUM_SHA256);
  n->newest = 0;
}

void
cs_inputs_number (struct cs_inputs *n, guint64 v)
{
  v = GUINT64_TO_LE (v);
  g_checksum_update (n->sum, (const guchar *) &v, sizeof v);
}

void
cs_inputs_text (struct cs_inputs *n, const char *s)
{
  cs_inputs_number (n, s ? strlen (s) + 1 : 0);
  g_checksum_update (n->sum, (const guchar *) (s ? s : ""), s ? (gssize) strlen (s) : 0);
}

static void
add_stat (struct cs_inputs *n, const struct stat *st, const struct timespec *changed)
{
  const guint64 v[] = { st->st_dev, st->st_ino, (guint64) st->st_size,
                        (guint64) (changed->tv_sec * NS + changed->tv_nsec) };
  for (guint k = 0; k < G_N_ELEMENTS (v); k++)
    cs_inputs_number (n, v[k]);
}

void
cs_inputs_file (struct cs_inputs *n, const char *path)
{
  struct stat st;
  cs_inputs_text (n, path);
  if (stat (path, &st) == 0)
    add_stat (n, &st, &st.st_ctim);
}

void
cs_inputs_image (struct cs_inputs *n, int fd)
{
  struct stat st;
  if (fstat (fd, &st) == 0) /* a second name changes ctime */
    add_stat (n, &st, &st.st_mtim);
}

static void
add_dir (struct cs_inputs *n, struct cs_inode *dir)
{
  cs_inputs_number (n, dir->children->len);
  for (guint k = 0; k < dir->children->len; k++) {
    struct cs_node *c = g_ptr_array_index (dir->children, k);
    struct cs_inode *i = c->inode;
    const guint64 v[] = { i->type, i->perm, i->uid, i->gid, i->size, (guint64) i->dev,
                          (guint64) i->ino, (guint64) i->host_mtime_ns,
                          (guint64) i->host_ctime_ns };
    cs_inputs_text (n, c->name);
    for (guint w = 0; w < G_N_ELEMENTS (v); w++)
      cs_inputs_number (n, v[w]);
    if (S_ISLNK (i->type))
      cs_inputs_text (n, i->bytes);
    n->newest = MAX (n->newest, i->host_ctime_ns);
    if (S_ISDIR (i->type))
      add_dir (n, i);
  }
}

void
cs_inputs_tree (struct cs_inputs *n, struct cs_tree *t)
{
  cs_inputs_number (n, t->root->perm);
  cs_inputs_number (n, t->root->uid);
  cs_inputs_number (n, t->root->gid);
  add_dir (n, t->root);
}

char *
cs_inputs_end (struct cs_inputs *n, gint64 seen)
{
  char *hex = n->newest > seen - COARSE_NS ? NULL
                                           : g_strdup (g_checksum_get_string (n->sum));
  g_checksum_free (n->sum);
  n->sum = NULL;
  return hex;
}

char *
cs_inputs_of_index (const struct cs_index *x, const char *key)
{
  GString *text = g_string_new (NULL);
  for (guint k = 0; k < x->other->len; k++)
    g_string_append (text, g_ptr_array_index (x->other, k));
  g_autoptr (CsYaml) y = cs_yaml_parse (text->str, text->len, "index.yaml", NULL);
  g_string_free (text, TRUE);
  return g_strdup (y ? cs_yaml_str (y, key) : NULL);
}
