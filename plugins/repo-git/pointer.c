/* LFS pointers and .gitattributes. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/repo-git/lfs.h"
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>

enum { HEX = 64, LINE_MAX_ = 512 };
#define VERSION_LINE "version https://git-lfs.github.com/spec/v1\n"

/* The value of a line "key value". */
static const char *
value_of (const char *text, const char *key)
{
  size_t n = strlen (key);
  for (const char *l = text; l != NULL && *l != '\0'; l = strchr (l, '\n') != NULL ? strchr (l, '\n') + 1 : NULL)
    if (strncmp (l, key, n) == 0 && l[n] == ' ')
      return l + n + 1;
  return NULL;
}

int
lfs_pointer_read (struct capstan_call *call, const char *text, size_t n, const char **ret_oid,
                  uint64_t *ret_size)
{
  uint64_t size;
  if (n > LFS_POINTER_MAX || strncmp (text, VERSION_LINE, strlen (VERSION_LINE)) != 0)
    return 0;
  const char *oid = value_of (text, "oid"), *s = value_of (text, "size");
  if (oid == NULL || s == NULL || strncmp (oid, "sha256:", 7) != 0 ||
      strspn (oid + 7, "0123456789abcdef") != HEX || *s < '0' || *s > '9' ||
      sscanf (s, "%" SCNu64, &size) != 1)
    return 0;
  *ret_oid = git_take (call, oid + 7, HEX);
  *ret_size = size;
  return 1;
}

const char *
lfs_pointer_text (struct capstan_call *call, const char *oid, uint64_t size)
{
  return git_text (call, VERSION_LINE "oid sha256:%s\nsize %" PRIu64 "\n", oid, size);
}

void
lfs_attributes_say (const char *text, const char *path, int *ret)
{
  const char *slash = strrchr (path, '/'), *base = slash != NULL ? slash + 1 : path;
  for (const char *l = text; *l != '\0';) {
    char line[LINE_MAX_], *save = NULL;
    size_t n = strcspn (l, "\n"), k = n < sizeof line - 1 ? n : sizeof line - 1;
    memcpy (line, l, k);
    line[k] = '\0';
    l += n + (l[n] == '\n');
    char *pattern = strtok_r (line, " \t\r", &save);
    if (pattern == NULL || *pattern == '#' || *pattern == '[')
      continue;
    int whole = strchr (pattern, '/') != NULL;
    if (fnmatch (pattern + (whole && *pattern == '/'), whole ? path : base, whole ? FNM_PATHNAME : 0) != 0)
      continue;
    for (char *a; (a = strtok_r (NULL, " \t\r", &save)) != NULL;)
      if (strcmp (a, "filter=lfs") == 0)
        *ret = 1;
      else if (strncmp (a, "filter=", 7) == 0 || strcmp (a, "-filter") == 0 || strcmp (a, "!filter") == 0)
        *ret = 0;
  }
}
