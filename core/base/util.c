/* SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/util.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

gboolean
cs_name_check (const char *what, const char *name, gboolean existing, GError **err)
{
  const char *why = NULL;
  size_t part = 0;
  if (*name == '\0')
    why = "it is empty";
  else if (strlen (name) > 1000)
    why = "it is longer than 1000 bytes";
  for (const char *p = name; why == NULL; p++) {
    unsigned char c = (unsigned char) *p;
    if (c == '\0' || c == '/') {
      if (part == 0)
        why = "a part between slashes is empty";
      else if (part > 255)
        why = "a part is longer than 255 bytes";
      part = 0;
      if (c == '\0')
        break;
    } else if (islower (c) || isdigit (c) || (existing && isupper (c))) {
      part++;
    } else if (c == '.' || c == '_' || c == '-') {
      if (part++ == 0)
        why = "a part begins with '.', '_' or '-'";
    } else if (isupper (c)) {
      why = "upper case is not allowed";
    } else {
      why = "only a-z, 0-9, '.', '_', '-' and '/' between parts are allowed";
    }
  }
  if (why == NULL)
    return TRUE;
  g_autofree char *q = cs_quote (name);
  return cs_fail (err, CS_E_USAGE, "%s %s: %s", what, q, why);
}

gboolean
cs_size_parse (const char *s, guint64 unit, guint64 *ret, GError **err)
{
  static const char suffixes[] = "KMGT";
  char *end;
  if (!isdigit ((unsigned char) *s))
    return cs_fail (err, CS_E_USAGE, "size '%s': expected a number, like 512M or 2G", s);
  errno = 0;
  guint64 n = g_ascii_strtoull (s, &end, 10);
  if (errno == ERANGE)
    return cs_fail (err, CS_E_USAGE, "size '%s' is too large", s);
  if (*end != '\0') {
    char c = (char) toupper ((unsigned char) *end);
    const char *p = strchr (suffixes, c);
    if (p != NULL && c != '\0') {
      unit = G_GUINT64_CONSTANT (1) << (10 * (p - suffixes + 1));
      end++;
      if (*end == 'i')
        end++;
    } else if (c == 'B') {
      unit = 1;
    }
    if (*end == 'B' || *end == 'b')
      end++;
  }
  if (*end != '\0')
    return cs_fail (err, CS_E_USAGE, "size '%s': expected a number and K, M, G or T", s);
  if (n > G_MAXINT64 / unit)
    return cs_fail (err, CS_E_USAGE, "size '%s' is too large", s);
  *ret = n * unit;
  return TRUE;
}

char *
cs_size_format (guint64 n)
{
  static const char *const units[] = { "kB", "MB", "GB", "TB", "PB" };
  if (n < 1000)
    return g_strdup_printf ("%u B", (unsigned) n);
  double d = (double) n;
  int i = -1;
  while (d >= 999.95 && i < 4) {
    d /= 1000;
    i++;
  }
  return g_strdup_printf ("%.1f %s", d, units[i]);
}

gboolean
cs_write_all (int fd, const void *buf, gsize n, const char *what, GError **err)
{
  const char *p = buf;
  while (n > 0) {
    ssize_t w = write (fd, p, n);
    if (w < 0 && errno == EINTR)
      continue;
    if (w < 0)
      return cs_fail_errno (err, "write %s", what);
    p += w;
    n -= (gsize) w;
  }
  return TRUE;
}

gboolean
cs_pwrite_all (int fd, const void *buf, gsize n, guint64 off, const char *what,
               GError **err)
{
  const char *p = buf;
  while (n > 0) {
    ssize_t w = pwrite (fd, p, n, (off_t) off);
    if (w < 0 && errno == EINTR)
      continue;
    if (w < 0)
      return cs_fail_errno (err, "write %s", what);
    p += w;
    off += (guint64) w;
    n -= (gsize) w;
  }
  return TRUE;
}

gboolean
cs_pread_all (int fd, void *buf, gsize n, guint64 off, const char *what, GError **err)
{
  char *p = buf;
  while (n > 0) {
    ssize_t r = pread (fd, p, n, (off_t) off);
    if (r < 0 && errno == EINTR)
      continue;
    if (r < 0)
      return cs_fail_errno (err, "read %s", what);
    if (r == 0)
      return cs_fail (err, CAPSTAN_E_IO, "read %s: it ends before byte %" G_GUINT64_FORMAT,
                      what, off + n);
    p += r;
    off += (guint64) r;
    n -= (gsize) r;
  }
  return TRUE;
}

/* What copy_file_range could not do: through a buffer. */
static gboolean
copy_by_buffer (int in, guint64 in_off, int out, guint64 out_off, guint64 n,
                const char *in_name, const char *out_name, GError **err)
{
  enum { CHUNK = 256 * 1024 };
  g_autofree char *buf = g_malloc (MIN (n, CHUNK));
  while (n > 0) {
    gsize want = MIN (n, CHUNK);
    ssize_t r = pread (in, buf, want, (off_t) in_off);
    if (r < 0 && errno == EINTR)
      continue;
    if (r < 0)
      return cs_fail_errno (err, "read %s", in_name);
    if (r == 0)
      return cs_fail (err, CAPSTAN_E_IO, "%s became shorter while it was read", in_name);
    if (!cs_pwrite_all (out, buf, (gsize) r, out_off, out_name, err) ||
        !cs_progress_step ((guint64) r, err))
      return FALSE;
    in_off += (guint64) r;
    out_off += (guint64) r;
    n -= (guint64) r;
  }
  return TRUE;
}

/* One run of data without a hole. */
static gboolean
copy_data (int in, guint64 in_off, int out, guint64 out_off, guint64 n,
           const char *in_name, const char *out_name, GError **err)
{
  enum { STEP = 8 * 1024 * 1024 }; /* progress and Ctrl-C in between */
  while (n > 0) {
    off_t i = (off_t) in_off, o = (off_t) out_off;
    ssize_t r = copy_file_range (in, &i, out, &o, MIN (n, STEP), 0);
    if (r < 0 && errno == EINTR)
      continue;
    if (r < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
                  errno == EOPNOTSUPP || errno == EBADF || errno == ETXTBSY))
      break;
    if (r < 0)
      return cs_fail_errno (err, "copy %s to %s", in_name, out_name);
    if (r == 0)
      break; /* also what some kernels say of /proc and /sys: ask read */
    if (!cs_progress_step ((guint64) r, err))
      return FALSE;
    in_off += (guint64) r;
    out_off += (guint64) r;
    n -= (guint64) r;
  }
  return n == 0 || copy_by_buffer (in, in_off, out, out_off, n, in_name, out_name, err);
}

gboolean
cs_copy_counted (int in, guint64 in_off, int out, guint64 out_off, guint64 n,
                 const char *in_name, const char *out_name, guint64 *moved, GError **err)
{
  guint64 end = in_off + n;
  while (in_off < end) {
    guint64 stop = end;
    /* looking for holes in little costs more than it saves */
    off_t data = n < 64 * 1024 ? (off_t) in_off : lseek (in, (off_t) in_off, SEEK_DATA);
    if (data < 0 && errno == ENXIO) {
      struct stat st;
      if (fstat (in, &st) == 0 && (guint64) st.st_size < end)
        return cs_fail (err, CAPSTAN_E_IO, "%s became shorter while it was read", in_name);
      return cs_progress_step (end - in_off, err); /* the rest is a hole */
    }
    if (data >= 0 && n >= 64 * 1024) {
      guint64 hole = MIN ((guint64) data, end) - in_off;
      if (hole > 0 && !cs_progress_step (hole, err))
        return FALSE;
      out_off += hole;
      in_off += hole;
      off_t next = in_off < end ? lseek (in, data, SEEK_HOLE) : -1;
      stop = next < 0 ? end : MIN ((guint64) next, end);
    }
    if (!copy_data (in, in_off, out, out_off, stop - in_off, in_name, out_name, err))
      return FALSE;
    *moved += stop - in_off;
    out_off += stop - in_off;
    in_off = stop;
  }
  return TRUE;
}

gboolean
cs_copy_range (int in, guint64 in_off, int out, guint64 out_off, guint64 n,
               const char *in_name, const char *out_name, GError **err)
{
  guint64 moved = 0;
  return cs_copy_counted (in, in_off, out, out_off, n, in_name, out_name, &moved, err);
}

char *
cs_read_file (const char *path, gsize max, gsize *ret_len, GError **err)
{
  cs_autofd int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  struct stat st;
  if (fd < 0)
    return cs_fail_errno_null (err, "open %s", path);
  if (fstat (fd, &st) != 0)
    return cs_fail_errno_null (err, "stat %s", path);
  if (S_ISDIR (st.st_mode))
    return cs_fail_null (err, CAPSTAN_E_INVAL, "%s is a folder, not a file", path);
  GByteArray *a = g_byte_array_new ();
  for (;;) {
    guint8 buf[16384];
    ssize_t r = read (fd, buf, sizeof buf);
    if (r < 0 && errno == EINTR)
      continue;
    if (r < 0) {
      cs_fail_errno (err, "read %s", path);
      g_byte_array_unref (a);
      return NULL;
    }
    if (r == 0)
      break;
    g_byte_array_append (a, buf, (guint) r);
    if (a->len > max) {
      g_byte_array_unref (a);
      return cs_fail_null (err, CAPSTAN_E_LIMIT,
                           "%s is larger than %" G_GSIZE_FORMAT " bytes", path, max);
    }
  }
  if (ret_len != NULL)
    *ret_len = a->len;
  g_byte_array_append (a, (const guint8 *) "", 1);
  return (char *) g_byte_array_free (a, FALSE);
}

gboolean
cs_fsync (int fd, const char *what, GError **err)
{
  if (fsync (fd) != 0 && errno != EINVAL && errno != EROFS)
    return cs_fail_errno (err, "write %s to stable storage", what);
  return TRUE;
}

gboolean
cs_fsync_dir (const char *dir, GError **err)
{
  cs_autofd int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return cs_fail_errno (err, "open %s", dir);
  return cs_fsync (fd, dir, err);
}

gboolean
cs_write_file (const char *path, const void *buf, gsize n, mode_t mode, GError **err)
{
  g_autofree char *dir = g_path_get_dirname (path);
  g_autofree char *base = g_path_get_basename (path);
  g_autofree char *tmp = g_strdup_printf ("%s/.%s.tmp-XXXXXX", dir, base);
  cs_autofd int fd = g_mkstemp_full (tmp, O_RDWR | O_CLOEXEC, (int) mode);
  if (fd < 0)
    return cs_fail_errno (err, "create %s", tmp);
  if (!cs_write_all (fd, buf, n, path, err) || !cs_fsync (fd, path, err)) {
    unlink (tmp);
    return FALSE;
  }
  if (rename (tmp, path) != 0) {
    cs_fail_errno (err, "rename %s to %s", tmp, path);
    unlink (tmp);
    return FALSE;
  }
  return cs_fsync_dir (dir, err);
}

gboolean
cs_mkdirs (const char *dir, mode_t mode, GError **err)
{
  if (g_mkdir_with_parents (dir, (int) mode) != 0)
    return cs_fail_errno (err, "create folder %s", dir);
  return TRUE;
}

static gboolean
rmtree_at (int parent, const char *name, const char *path, GError **err)
{
  if (unlinkat (parent, name, 0) == 0 || errno == ENOENT)
    return TRUE;
  if (errno != EISDIR && errno != EPERM)
    return cs_fail_errno (err, "remove %s", path);
  int fd = openat (parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return cs_fail_errno (err, "remove %s", path);
  DIR *d = fdopendir (fd);
  if (d == NULL) {
    close (fd);
    return cs_fail_errno (err, "remove %s", path);
  }
  gboolean ok = TRUE;
  for (struct dirent *e; ok && (e = readdir (d)) != NULL;) {
    if (strcmp (e->d_name, ".") == 0 || strcmp (e->d_name, "..") == 0)
      continue;
    g_autofree char *sub = g_strconcat (path, "/", e->d_name, NULL);
    ok = rmtree_at (dirfd (d), e->d_name, sub, err);
  }
  closedir (d);
  if (ok && unlinkat (parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
    return cs_fail_errno (err, "remove %s", path);
  return ok;
}

gboolean
cs_rmtree (const char *path, GError **err)
{
  return rmtree_at (AT_FDCWD, path, path, err);
}

int
cs_lock_file (const char *path, gboolean exclusive, gboolean wait, GError **err)
{
  cs_autofd int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    cs_fail_errno (err, "open the lock %s", path);
    return -1;
  }
  int op = (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB);
  while (flock (fd, op) != 0) {
    if (errno == EINTR && !cs_cancelled ())
      continue;
    if (errno == EINTR)
      cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled");
    else if (errno == EWOULDBLOCK)
      cs_fail (err, CAPSTAN_E_BUSY, "%s is in use by another capstan", path);
    else
      cs_fail_errno (err, "lock %s", path);
    return -1;
  }
  return cs_steal_fd (&fd);
}

char *
cs_key (const char *text)
{
  char *sum = g_compute_checksum_for_string (G_CHECKSUM_SHA256, text, -1);
  sum[32] = '\0';
  return sum;
}

char *
cs_uuid_new (void)
{
  guint8 b[16];
  gsize have = 0;
  while (have < sizeof b) {
    ssize_t r = getrandom (b + have, sizeof b - have, 0);
    if (r > 0)
      have += (gsize) r;
    else if (errno != EINTR)
      g_error ("getrandom: %s", g_strerror (errno));
  }
  b[6] = (guint8) ((b[6] & 0x0f) | 0x40);
  b[8] = (guint8) ((b[8] & 0x3f) | 0x80);
  return g_strdup_printf (
      "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
      b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
      b[15]);
}

double
cs_now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

char *
cs_quote (const char *bytes)
{
  GString *s = g_string_new ("'");
  for (const unsigned char *p = (const unsigned char *) bytes; *p != '\0'; p++) {
    if (*p < 0x20 || *p >= 0x7f)
      g_string_append_printf (s, "\\x%02x", *p);
    else
      g_string_append_c (s, (char) *p);
  }
  g_string_append_c (s, '\'');
  return g_string_free (s, FALSE);
}

/* How many edits apart two words are; for "did you mean". */
static guint
distance (const char *a, const char *b)
{
  guint row[64], n = (guint) strlen (b);
  if (n >= G_N_ELEMENTS (row) || strlen (a) >= G_N_ELEMENTS (row))
    return 99;
  for (guint j = 0; j <= n; j++)
    row[j] = j;
  for (guint i = 1; a[i - 1] != '\0'; i++) {
    guint diag = row[0];
    row[0] = i;
    for (guint j = 1; j <= n; j++) {
      gboolean same = g_ascii_tolower (a[i - 1]) == g_ascii_tolower (b[j - 1]);
      guint best = MIN (MIN (row[j], row[j - 1]) + 1, diag + !same);
      diag = row[j];
      row[j] = best;
    }
  }
  return row[n];
}

void
cs_suggest (const char *word, const char *candidate, struct cs_suggestion *s)
{
  guint d = distance (word, candidate);
  if (d <= 2 && d < strlen (candidate) && (s->best == NULL || d < s->distance)) {
    s->best = candidate;
    s->distance = d;
  }
}

char *
cs_suggestion_text (const struct cs_suggestion *s, const char *otherwise)
{
  return s->best != NULL ? g_strdup_printf ("did you mean '%s'?", s->best) : g_strdup (otherwise);
}
