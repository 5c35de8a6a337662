/* Sparse VMDK, as VMware's "Virtual Disk Format 5.0" has it.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/store/probe.h"
#include <string.h>

static gboolean
depends (const struct cs_probe *p, GError **err)
{
  return cs_fail (err, CAPSTAN_E_INVAL,
                  "%s is a VMDK that depends on another: qemu-img convert it first", p->path);
}

/* The text that a sparse VMDK holds: QEMU and VirtualBox open the parent it names. */
static gboolean
check_description (const struct cs_probe *p, char *text, GError **err)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", 0);
  guint extents = 0;
  for (char **l = lines; *l != NULL; l++) {
    char *line = g_strstrip (*l);
    g_autofree char *low = g_ascii_strdown (line, -1);
    g_auto (GStrv) word = g_strsplit_set (low, " \t=", 3);
    gboolean parent = strcmp (word[0] != NULL ? word[0] : "", "parentcid") == 0 &&
                      !g_str_has_suffix (low, "ffffffff");
    if (parent || strstr (low, "parentfilenamehint") != NULL)
      return depends (p, err);
    if (g_str_has_prefix (low, "rw ") || g_str_has_prefix (low, "rdonly ") ||
        g_str_has_prefix (low, "noaccess ")) {
      if (++extents > 1 || strstr (low, " sparse ") == NULL)
        return cs_fail (err, CAPSTAN_E_INVAL,
                        "%s is a VMDK with its data in other files: qemu-img convert -f vmdk "
                        "-O raw it first",
                        p->path);
    }
  }
  return TRUE;
}

/* QEMU looks for a parent's name behind the header, whatever the header says of where the
 * description is. */
static gboolean
check_behind_header (const struct cs_probe *p, GError **err)
{
  static const char hint[] = "parentfilenamehint";
  char buf[20 * 512];
  gsize n = (gsize) MIN (p->size - 512, sizeof buf);
  if (!cs_pread_all (p->fd, buf, n, 512, p->path, err))
    return FALSE;
  for (gsize i = 0; i < n; i++)
    buf[i] = g_ascii_tolower (buf[i]);
  return memmem (buf, n, hint, sizeof hint - 1) == NULL || depends (p, err);
}

struct vmdk { guint64 version, flags, size, grain, at, length, gtes, directory; };

static struct vmdk
read_vmdk (const guint8 *h)
{
  return (struct vmdk) { .version = cs_le (h + 4, 4), .flags = cs_le (h + 8, 4),
                         .size = cs_le (h + 12, 8), .grain = cs_le (h + 20, 8),
                         .at = cs_le (h + 28, 8), .length = cs_le (h + 36, 8),
                         .gtes = cs_le (h + 44, 4), .directory = cs_le (h + 56, 8) };
}

/* A directory of all ones stands at the end of the file (streamOptimized): the header that
 * holds is in the second last sector. */
static gboolean
read_footer (const struct cs_probe *p, struct vmdk *v, GError **err)
{
  guint8 foot[512];
  if (p->size < 2048 || p->size % 512 != 0)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: its VMDK footer is missing; it is cut short", p->path);
  if (!cs_pread_all (p->fd, foot, sizeof foot, p->size - 1024, p->path, err))
    return FALSE;
  struct vmdk f = read_vmdk (foot);
  if (memcmp (foot, "KDMV", 4) != 0 || f.size != v->size || f.grain != v->grain ||
      f.directory == G_MAXUINT64)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: its VMDK footer is missing; it is cut short", p->path);
  *v = f;
  return TRUE;
}

static gboolean
grain_table_in_file (const guint8 *entry, guint64 sectors)
{
  return cs_le (entry, 4) < sectors;
}

gboolean
cs_probe_vmdk (const struct cs_probe *p, guint64 *ret_size, GError **err)
{
  enum { NEWLINES = 1, GTES = 512, MAX_TEXT = 2048 };
  struct vmdk v = read_vmdk (p->head);
  guint64 sectors = p->size / 512;
  if ((v.flags & NEWLINES) && memcmp (p->head + 73, "\n \r\n", 4) != 0)
    return cs_fail (err, CAPSTAN_E_INVAL,
                    "%s: its line ends were changed, as a transfer in text mode does; fetch it again",
                    p->path);
  if (v.directory == G_MAXUINT64 && !read_footer (p, &v, err))
    return FALSE;
  /* capacity 0: QEMU would take the whole file for a description of others */
  if (v.version < 1 || v.version > 3 || v.size == 0 || v.size > CS_DISK_MAX / 512 || v.grain < 8 ||
      v.grain > 65536 || (v.grain & (v.grain - 1)) != 0 || v.gtes != GTES || v.at > sectors ||
      v.length > MAX_TEXT || v.length > sectors - v.at || (v.at == 0) != (v.length == 0) ||
      v.directory == 0 || v.directory >= sectors)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: its VMDK header does not fit the file", p->path);
  guint64 entries = (v.size + v.grain * GTES - 1) / (v.grain * GTES);
  if (entries * 4 > p->size - v.directory * 512)
    return cs_fail (err, CAPSTAN_E_INVAL, "%s: its VMDK header does not fit the file", p->path);
  if (v.at != 0) {
    g_autofree char *text = g_malloc0 (v.length * 512 + 1);
    if (!cs_pread_all (p->fd, text, v.length * 512, v.at * 512, p->path, err) ||
        !check_description (p, text, err))
      return FALSE;
  }
  if (!check_behind_header (p, err) ||
      !cs_probe_table (p, v.directory * 512, entries, 4, grain_table_in_file, sectors, err))
    return FALSE;
  *ret_size = v.size * 512;
  return TRUE;
}
