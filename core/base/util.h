/* Files, sizes, names: what every room of the core uses. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_UTIL_H
#define CS_UTIL_H
#include <glib.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#define CS_ALIGN(n, a) (((n) + (a) -1) / (a) * (a))

/* A descriptor that closes itself: cs_autofd int fd = open (..., O_CLOEXEC). */
static inline void
cs_close_fd (int *fd)
{
  if (*fd >= 0)
    close (*fd);
}
#define cs_autofd __attribute__ ((cleanup (cs_close_fd)))
static inline int
cs_steal_fd (int *fd)
{
  int f = *fd;
  *fd = -1;
  return f;
}

/* ---- names ---- */
/* The one name check: [a-z0-9][a-z0-9._-]* in parts separated by '/', at most 255 bytes a
 * part and 1,000 in all, no part "." or ".."; upper case is accepted in names that exist
 * already (existing TRUE), since old stores have it. `what` is "image name", ... */
gboolean cs_name_check (const char *what, const char *name, gboolean existing,
                        GError **err);

/* ---- sizes ---- */
/* "512", "64K", "512M", "2G", "1T", also "MB", "MiB": bytes. A bare number is `unit`
 * bytes (1, or 1 << 20 for options the original read as MiB). */
gboolean cs_size_parse (const char *s, guint64 unit, guint64 *ret, GError **err);
/* "16.1 MB" (powers of 1000), for people; g_free. */
char *cs_size_format (guint64 n);

/* ---- reading and writing; EINTR and short counts are handled ---- */
gboolean cs_write_all (int fd, const void *buf, gsize n, const char *what, GError **err);
gboolean cs_pwrite_all (int fd, const void *buf, gsize n, guint64 off, const char *what,
                        GError **err);
/* Exactly n bytes; an end of file before that is an error. */
gboolean cs_pread_all (int fd, void *buf, gsize n, guint64 off, const char *what,
                       GError **err);
/* Moves n bytes from in@in_off to out@out_off in the kernel where it can (FICLONERANGE by
 * way of copy_file_range, else a 256 KiB buffer). Holes of the source stay holes if the
 * target is a hole there. A source that ends early is an error that names it. Shows
 * progress; fails once cancelled. */
gboolean cs_copy_range (int in, guint64 in_off, int out, guint64 out_off, guint64 n,
                        const char *in_name, const char *out_name, GError **err);
/* The same; adds to *moved how many of the bytes were no hole. */
gboolean cs_copy_counted (int in, guint64 in_off, int out, guint64 out_off, guint64 n,
                          const char *in_name, const char *out_name, guint64 *moved,
                          GError **err);
/* Whole small file, at most max bytes; NUL-terminated; g_free. */
char *cs_read_file (const char *path, gsize max, gsize *ret_len, GError **err);
/* Write a small file whole: temporary name, fsync, rename, fsync of the folder. */
gboolean cs_write_file (const char *path, const void *buf, gsize n, mode_t mode,
                        GError **err);
gboolean cs_fsync (int fd, const char *what, GError **err);
gboolean cs_fsync_dir (const char *dir, GError **err);
gboolean cs_mkdirs (const char *dir, mode_t mode, GError **err); /* like mkdir -p */
/* Removes a tree, never following a link; a missing one is fine. */
gboolean cs_rmtree (const char *path, GError **err);

/* ---- locks ---- */
/* flock on path, made if needed. wait FALSE: fails with CAPSTAN_E_BUSY if held. Returns
 * the descriptor that holds it (close to unlock), or -1. */
int cs_lock_file (const char *path, gboolean exclusive, gboolean wait, GError **err);

/* 32 hex digits of a digest of the text: the name of a file for it; g_free. */
char *cs_key (const char *text);
/* 16 random bytes as a version 4 UUID, 36 characters; g_free. */
char *cs_uuid_new (void);
/* "Did you mean": keeps the candidate if it is nearer to word than what s has, and near
 * enough; upper and lower case are the same. Starts as { 0 }. */
struct cs_suggestion { const char *best; guint distance; };
void cs_suggest (const char *word, const char *candidate, struct cs_suggestion *s);
/* "did you mean 'hello'?" for the end of a message, or a copy of otherwise; g_free. */
char *cs_suggestion_text (const struct cs_suggestion *s, const char *otherwise);

/* Monotonic seconds. */
double cs_now (void);
/* Quoted for a message: bytes that are not printable become \xNN, in '...'; g_free. */
char *cs_quote (const char *bytes);
#endif
