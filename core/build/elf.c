/* Reads ELF headers. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <string.h>
#include "core/base/le.h"
#include "core/base/util.h"
#include "core/build/elf.h"

#define MAX_HEADERS 512
#define MAX_DYNAMIC 4096 /* entries */
#define MAX_NEEDED 1024
#define MAX_STRING 4096

enum { EHDR = 64, PHDR = 56, DYN = 16 };
enum { PT_LOAD = 1, PT_DYNAMIC = 2, PT_INTERP = 3 };
enum { DT_NULL = 0, DT_NEEDED = 1, DT_STRTAB = 5, DT_STRSZ = 10, DT_SONAME = 14,
       DT_RPATH = 15, DT_RUNPATH = 29 };
#define DT_FLAGS_1 0x6ffffffb
#define DF_1_PIE 0x08000000

struct reader {
  int fd;
  struct cs_inode *i;
  guint8 *headers; guint n_headers;
  guint8 *dyn; guint n_dyn;
  guint64 strtab, strsz; /* in the file */
};

/* Of a file whose data are in memory or in an image. */
static gboolean
read_plan (struct cs_inode *i, char *buf, gsize n, guint64 off)
{
  if (off > i->size || n > i->size - off)
    return FALSE;
  if (i->source == CS_SRC_MEMORY)
    return memcpy (buf, i->bytes + off, n) != NULL;
  memset (buf, 0, n);
  for (guint k = 0; i->source == CS_SRC_IMAGE && k < i->n_extents; k++) {
    const struct cs_extent *x = &i->extents[k];
    guint64 from = MAX (off, x->logical), to = MIN (off + n, x->logical + x->length);
    if (from < to && !cs_pread_all (i->fd, buf + (from - off), to - from,
                                    x->physical + (from - x->logical), "", NULL))
      return FALSE;
  }
  return TRUE;
}

gboolean
cs_elf_peek (int fd, struct cs_inode *i, void *buf, gsize n, guint64 off)
{
  if (off > G_MAXINT64 - n)
    return FALSE;
  return fd >= 0 ? cs_pread_all (fd, buf, n, off, "", NULL) : read_plan (i, buf, n, off);
}

static gboolean
read_at (struct reader *r, void *buf, gsize n, guint64 off)
{
  return cs_elf_peek (r->fd, r->i, buf, n, off);
}

/* A NUL-terminated string of at most `room` bytes; NULL if there is none. */
static char *
read_string (struct reader *r, guint64 off, guint64 room)
{
  char buf[MAX_STRING];
  gsize have = 0;
  room = MIN (room, sizeof buf);
  while (have < room) { /* the file may end soon behind it */
    gsize n = MIN (64, room - have);
    if (!read_at (r, buf + have, n, off + have)) {
      for (n = 0; have + n < room && read_at (r, buf + have + n, 1, off + have + n); n++)
        if (!buf[have + n])
          return g_strdup (buf);
      return NULL;
    }
    if (memchr (buf + have, 0, n))
      return g_strdup (buf);
    have += n;
  }
  return NULL;
}

/* Where in the file an address of the program is; G_MAXUINT64 if nowhere. */
static guint64
file_offset (struct reader *r, guint64 addr)
{
  for (guint k = 0; k < r->n_headers; k++) {
    const guint8 *h = r->headers + k * PHDR;
    guint64 off = cs_le64 (h + 8), at = cs_le64 (h + 16), size = cs_le64 (h + 32);
    if (cs_le32 (h) == PT_LOAD && addr >= at && addr - at < size &&
        off <= G_MAXINT64 && addr - at <= G_MAXINT64 - off)
      return off + (addr - at);
  }
  return G_MAXUINT64;
}

static gboolean
read_headers (struct reader *r, const guint8 *ehdr)
{
  guint64 off = cs_le64 (ehdr + 32);
  r->n_headers = cs_le16 (ehdr + 56);
  if (r->n_headers == 0)
    return TRUE;
  if (cs_le16 (ehdr + 54) != PHDR || r->n_headers > MAX_HEADERS)
    return FALSE;
  r->headers = g_malloc (r->n_headers * PHDR);
  return read_at (r, r->headers, r->n_headers * PHDR, off);
}

static gboolean
read_interp (struct reader *r, struct cs_elf *e, const guint8 *h)
{
  if (e->interp)
    return FALSE;
  e->interp = read_string (r, cs_le64 (h + 8), cs_le64 (h + 32));
  return e->interp && *e->interp == '/';
}

static gboolean
read_dynamic (struct reader *r, struct cs_elf *e, const guint8 *h)
{
  guint64 size = cs_le64 (h + 32), addr = 0;
  if (r->dyn || size > MAX_DYNAMIC * DYN)
    return FALSE;
  e->is_dynamic = TRUE;
  r->n_dyn = (guint) (size / DYN);
  r->dyn = g_malloc0 (size + 1);
  if (!read_at (r, r->dyn, r->n_dyn * DYN, cs_le64 (h + 8)))
    return FALSE;
  for (guint k = 0; k < r->n_dyn; k++) {
    guint64 tag = cs_le64 (r->dyn + k * DYN), value = cs_le64 (r->dyn + k * DYN + 8);
    if (tag == DT_NULL)
      r->n_dyn = k;
    else if (tag == DT_STRTAB)
      addr = value;
    else if (tag == DT_STRSZ)
      r->strsz = value;
    else if (tag == DT_FLAGS_1)
      e->is_pie = (value & DF_1_PIE) != 0;
  }
  r->strtab = file_offset (r, addr);
  return TRUE;
}

static gboolean
take_string (struct reader *r, guint64 at, char **ret)
{
  if (*ret || r->strtab == G_MAXUINT64 || at >= r->strsz)
    return FALSE;
  *ret = read_string (r, r->strtab + at, r->strsz - at);
  return *ret != NULL;
}

static gboolean
read_names (struct reader *r, struct cs_elf *e)
{
  for (guint k = 0; k < r->n_dyn; k++) {
    guint64 tag = cs_le64 (r->dyn + k * DYN), at = cs_le64 (r->dyn + k * DYN + 8);
    g_autofree char *name = NULL;
    if ((tag == DT_SONAME && !take_string (r, at, &e->soname)) ||
        (tag == DT_RPATH && !take_string (r, at, &e->rpath)) ||
        (tag == DT_RUNPATH && !take_string (r, at, &e->runpath)))
      return FALSE;
    if (tag != DT_NEEDED)
      continue;
    if (e->needed->len >= MAX_NEEDED || !take_string (r, at, &name) || !*name)
      return FALSE;
    g_ptr_array_add (e->needed, g_steal_pointer (&name));
  }
  return TRUE;
}

static gboolean
read_elf (struct reader *r, struct cs_elf *e, const guint8 *ehdr)
{
  if (!read_headers (r, ehdr))
    return FALSE;
  for (guint k = 0; k < r->n_headers; k++) {
    const guint8 *h = r->headers + k * PHDR;
    guint32 type = cs_le32 (h);
    if ((type == PT_INTERP && !read_interp (r, e, h)) ||
        (type == PT_DYNAMIC && !read_dynamic (r, e, h)))
      return FALSE;
  }
  return read_names (r, e);
}

int
cs_elf_read (int fd, struct cs_inode *i, struct cs_elf *ret)
{
  struct reader r = { .fd = fd, .i = i };
  guint8 ehdr[EHDR];
  memset (ret, 0, sizeof *ret);
  if (!read_at (&r, ehdr, 20, 0) || memcmp (ehdr, "\177ELF", 4) != 0)
    return CS_ELF_NONE;
  ret->needed = g_ptr_array_new_with_free_func (g_free);
  if (ehdr[4] != 2 || ehdr[5] != 1) {
    ret->machine = ehdr[5] == 1 ? cs_le16 (ehdr + 18) : 0;
    return CS_ELF_OK;
  }
  ret->is64 = TRUE;
  gboolean ok = read_at (&r, ehdr, EHDR, 0);
  ret->type = cs_le16 (ehdr + 16);
  ret->machine = cs_le16 (ehdr + 18);
  ok = ok && read_elf (&r, ret, ehdr);
  g_free (r.headers);
  g_free (r.dyn);
  return ok ? CS_ELF_OK : CS_ELF_DAMAGED;
}

void
cs_elf_clear (struct cs_elf *e)
{
  g_free (e->interp);
  g_free (e->soname);
  g_free (e->rpath);
  g_free (e->runpath);
  if (e->needed)
    g_ptr_array_unref (e->needed);
  memset (e, 0, sizeof *e);
}
