/* Bytes of a foreign file into the store. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include "core/store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

enum { CHUNK = 1 << 20, GRAIN = 64 * 1024 };

struct copy {
  int in, out; /* out -1: it has the bytes already */
  const char *in_name, *out_name;
  guint8 *buf; /* of CHUNK bytes */
  EVP_MD_CTX *sum;
};

static gboolean
is_zero (const guint8 *p, gsize n)
{
  return *p == 0 && memcmp (p, p + 1, n - 1) == 0;
}

/* Zeros are not written: the target is a hole there. */
static gboolean
put_chunk (struct copy *c, guint64 off, gsize n, GError **err)
{
  for (gsize at = 0; at < n;) {
    gsize len = MIN (n - at, GRAIN), run = at;
    while (run < n && !is_zero (c->buf + run, MIN (n - run, GRAIN)))
      run += MIN (n - run, GRAIN);
    if (run == at)
      at += len;
    else if (!cs_pwrite_all (c->out, c->buf + at, run - at, off + at, c->out_name, err))
      return FALSE;
    else
      at = run;
  }
  return TRUE;
}

static gboolean
copy_data (struct copy *c, guint64 off, guint64 end, GError **err)
{
  while (off < end) {
    gsize n = (gsize) MIN (end - off, CHUNK);
    if (cs_cancelled ())
      return cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled; nothing has changed");
    if (!cs_pread_all (c->in, c->buf, n, off, c->in_name, err) ||
        (c->out >= 0 && !put_chunk (c, off, n, err)))
      return FALSE;
    EVP_DigestUpdate (c->sum, c->buf, n);
    cs_progress_add (n);
    off += n;
  }
  return TRUE;
}

static void
digest_hole (struct copy *c, guint64 n)
{
  memset (c->buf, 0, CHUNK);
  cs_progress_add (n);
  for (; n > 0; n -= MIN (n, CHUNK))
    EVP_DigestUpdate (c->sum, c->buf, (gsize) MIN (n, CHUNK));
}

static gboolean
copy_all (struct copy *c, guint64 size, GError **err)
{
  for (guint64 off = 0; off < size;) {
    off_t data = lseek (c->in, (off_t) off, SEEK_DATA);
    if (data < 0 && errno != ENXIO) /* holes are not told here */
      return copy_data (c, off, size, err);
    guint64 from = data < 0 ? size : MIN ((guint64) data, size);
    digest_hole (c, from - off);
    off_t hole = from < size ? lseek (c->in, (off_t) from, SEEK_HOLE) : -1;
    guint64 to = hole < 0 ? size : MIN ((guint64) hole, size);
    if (!copy_data (c, from, to, err))
      return FALSE;
    off = to;
  }
  return TRUE;
}

static char *
hex_digest (EVP_MD_CTX *sum)
{
  unsigned char md[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  GString *hex = g_string_new (NULL);
  EVP_DigestFinal_ex (sum, md, &n);
  for (unsigned int i = 0; i < n; i++)
    g_string_append_printf (hex, "%02x", md[i]);
  return g_string_free (hex, FALSE);
}

char *
cs_store_copy_in (struct cs_store_txn *t, int in, const char *name, GError **err)
{
  struct stat was, is;
  struct copy c = { .in = in, .out = t->fd, .in_name = name, .out_name = t->path };
  if (fstat (in, &was) != 0)
    return cs_fail_errno_null (err, "stat %s", name);
  /* The clone is read, not the source: its digest is that of what is stored. */
  if (ioctl (t->fd, FICLONE, in) == 0) {
    c.in = t->fd;
    c.out = -1;
  } else if (ftruncate (t->fd, was.st_size) != 0)
    return cs_fail_errno_null (err, "write %s", t->path);
  c.buf = g_malloc (CHUNK);
  c.sum = EVP_MD_CTX_new ();
  EVP_DigestInit_ex (c.sum, EVP_sha256 (), NULL);
  cs_progress_begin (name, (guint64) was.st_size, 0);
  gboolean ok = copy_all (&c, (guint64) was.st_size, err);
  cs_progress_end ();
  g_free (c.buf);
  char *hex = hex_digest (c.sum);
  EVP_MD_CTX_free (c.sum);
  if (ok && fstat (in, &is) != 0)
    ok = cs_fail_errno (err, "stat %s", name);
  else if (ok && (is.st_size != was.st_size || is.st_mtim.tv_sec != was.st_mtim.tv_sec ||
                  is.st_mtim.tv_nsec != was.st_mtim.tv_nsec))
    ok = cs_fail (err, CAPSTAN_E_IO, "%s changed while it was read; import it again", name);
  if (ok)
    return hex;
  g_free (hex);
  return NULL;
}
