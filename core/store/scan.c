/* What the folder of a name holds. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/store/store.h"
#include "core/store/txn.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

gboolean
cs_suffix_valid (const char *s)
{
  gsize n = strspn (s, "abcdefghijklmnopqrstuvwxyz0123456789-");
  return n > 0 && n <= 16 && s[n] == '\0' && strcmp (s, "yaml") != 0;
}

void
cs_scan_clear (struct cs_scan *s)
{
  g_ptr_array_unref (s->suffixes);
  g_ptr_array_unref (s->subs);
}

/* Folders, also by a symbolic link, as users move them to other disks. */
static gboolean
is_dir (int fd, const char *name, unsigned char type)
{
  struct stat st;
  if (type != DT_UNKNOWN && type != DT_LNK)
    return type == DT_DIR;
  return fstatat (fd, name, &st, 0) == 0 && S_ISDIR (st.st_mode);
}

static void
take_entry (int fd, const char *base, gsize base_len, const char *name, unsigned char type,
            struct cs_scan *s)
{
  if (name[0] == '.') {
    s->commit |= strcmp (name, ".commit") == 0;
    s->removal |= strcmp (name, ".remove") == 0;
    s->rest |= strstr (name, ".tmp-") != NULL;
  } else if (strcmp (name, "index.yaml") == 0 && type != DT_DIR) {
    s->index = TRUE;
  } else if (is_dir (fd, name, type)) {
    g_ptr_array_add (s->subs, g_strdup (name));
  } else if (base_len > 0 && strncmp (name, base, base_len) == 0 && name[base_len] == '.' &&
             cs_suffix_valid (name + base_len + 1)) {
    g_ptr_array_add (s->suffixes, g_strdup (name + base_len + 1));
  }
}

gboolean
cs_scan (int fd, const char *base, struct cs_scan *ret)
{
  /* larger than what most folders need: each call counts when there are a thousand */
  _Alignas (struct dirent64) char buf[32768];
  gsize base_len = base != NULL ? strlen (base) : 0;
  struct cs_scan s = { .suffixes = g_ptr_array_new_with_free_func (g_free),
                       .subs = g_ptr_array_new_with_free_func (g_free) };
  guint entries = 0;
  ssize_t n;
  while ((n = getdents64 (fd, buf, sizeof buf)) > 0)
    for (ssize_t at = 0; at < n;) {
      const struct dirent64 *e = (const void *) (buf + at);
      at += e->d_reclen;
      if (strcmp (e->d_name, ".") == 0 || strcmp (e->d_name, "..") == 0)
        continue;
      entries++;
      take_entry (fd, base, base_len, e->d_name, e->d_type, &s);
    }
  if (n < 0) {
    int saved = errno;
    cs_scan_clear (&s);
    errno = saved;
    return FALSE;
  }
  s.rest |= entries == 0;
  *ret = s;
  return TRUE;
}
