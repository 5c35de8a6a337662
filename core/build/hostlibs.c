/* Where the host has a shared library. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <fcntl.h>
#include <string.h>
#include "core/base/le.h"
#include "core/base/util.h"
#include "core/build/elf.h"
#include "core/build/glob.h"
#include "core/build/hostlibs.h"

#define CACHE "/etc/ld.so.cache"
#define CACHE_MAX (64 * 1024 * 1024)
#define CONF "/etc/ld.so.conf"
#define CONF_DEPTH 8

enum { HEAD = 48, ENTRY = 24, OLD_HEAD = 16, OLD_ENTRY = 12 };
static const char magic[] = "glibc-ld.so.cache1.1", old_magic[] = "ld.so-1.7.0";

struct cs_hostlibs {
  guint8 *cache; gsize cache_size;
  GPtrArray *dirs; /* of ld.so.conf and what every loader looks at, of char * */
};

static const char *
cache_string (const guint8 *c, gsize n, guint32 at)
{
  return at < n && memchr (c + at, 0, n - at) ? (const char *) c + at : NULL;
}

char *
cs_ld_cache_find (const guint8 *c, gsize n, const char *name)
{
  if (n >= OLD_HEAD && memcmp (c, old_magic, sizeof old_magic - 1) == 0) {
    guint64 skip = CS_ALIGN (OLD_HEAD + (guint64) cs_le32 (c + 12) * OLD_ENTRY, 8);
    if (skip >= n)
      return NULL;
    c += skip;
    n -= skip;
  }
  if (n < HEAD || memcmp (c, magic, sizeof magic - 1) != 0)
    return NULL;
  guint64 count = MIN (cs_le32 (c + 20), (n - HEAD) / ENTRY);
  for (guint64 k = 0; k < count; k++) {
    const guint8 *e = c + HEAD + k * ENTRY;
    const char *key = cache_string (c, n, cs_le32 (e + 4));
    const char *value = cache_string (c, n, cs_le32 (e + 8));
    /* of glibc, for x86-64, and not for some kinds of CPU only */
    if (cs_le32 (e) == 0x0303 && cs_le64 (e + 16) == 0 && key && value &&
        *value == '/' && strcmp (key, name) == 0)
      return g_strdup (value);
  }
  return NULL;
}

static void
read_conf (GPtrArray *dirs, const char *path, guint depth)
{
  g_autofree char *text = depth < CONF_DEPTH ? cs_read_file (path, 1 << 16, NULL, NULL)
                                             : NULL;
  g_auto (GStrv) lines = g_strsplit_set (text ? text : "", "\n", -1);
  for (char **l = lines; *l; l++) {
    char *line = g_strstrip (*l);
    if (*line == '/')
      g_ptr_array_add (dirs, g_strdup (line));
    if (!g_str_has_prefix (line, "include") || (line[7] != ' ' && line[7] != '\t'))
      continue;
    char *what = g_strchug (line + 7);
    g_autofree char *full = *what == '/' ? g_strdup (what)
                                         : g_build_filename ("/etc", what, NULL);
    g_autoptr (GPtrArray) files = cs_glob_expand (full, 0, NULL);
    for (guint k = 0; files && k < files->len; k++)
      read_conf (dirs, g_ptr_array_index (files, k), depth + 1);
  }
}

struct cs_hostlibs *
cs_hostlibs_new (void)
{
  static const char *const usual[] = { "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu",
                                       "/lib64", "/usr/lib64", "/lib", "/usr/lib" };
  struct cs_hostlibs *h = g_new0 (struct cs_hostlibs, 1);
  h->dirs = g_ptr_array_new_with_free_func (g_free);
  h->cache = (guint8 *) cs_read_file (CACHE, CACHE_MAX, &h->cache_size, NULL);
  if (!h->cache)
    read_conf (h->dirs, CONF, 0);
  for (guint k = 0; k < G_N_ELEMENTS (usual); k++)
    g_ptr_array_add (h->dirs, g_strdup (usual[k]));
  return h;
}

void
cs_hostlibs_free (struct cs_hostlibs *h)
{
  if (!h)
    return;
  g_free (h->cache);
  g_ptr_array_unref (h->dirs);
  g_free (h);
}

gboolean
cs_hostlibs_usable (const char *path)
{
  struct cs_elf e;
  cs_autofd int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0)
    return FALSE;
  gboolean ok = cs_elf_read (fd, NULL, &e) == CS_ELF_OK && e.is64 &&
                e.machine == CS_ELF_X86_64;
  cs_elf_clear (&e);
  return ok;
}

static char *
find_in (const char *const *dirs, guint n, const char *name)
{
  for (guint k = 0; k < n; k++) {
    g_autofree char *path = g_build_filename (dirs[k], name, NULL);
    if (cs_hostlibs_usable (path))
      return g_steal_pointer (&path);
  }
  return NULL;
}

char *
cs_hostlibs_find (struct cs_hostlibs *h, const char *name, gboolean musl)
{
  static const char *const musl_dirs[] = { "/lib", "/usr/local/lib", "/usr/lib",
                                           "/lib/x86_64-linux-musl",
                                           "/usr/lib/x86_64-linux-musl" };
  if (musl)
    return find_in (musl_dirs, G_N_ELEMENTS (musl_dirs), name);
  g_autofree char *path = h->cache ? cs_ld_cache_find (h->cache, h->cache_size, name) : NULL;
  if (path && cs_hostlibs_usable (path))
    return g_steal_pointer (&path);
  return find_in ((const char *const *) h->dirs->pdata, h->dirs->len, name);
}
