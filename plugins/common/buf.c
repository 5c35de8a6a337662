/* Growing text. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "plugins/common/buf.h"
#include <stdlib.h>
#include <string.h>

static int
room_for (struct buf *b, size_t n)
{
  if (b->failed || n > SIZE_MAX / 2 - b->len)
    return (b->failed = 1, 0);
  if (b->len + n + 1 <= b->room)
    return 1;
  size_t room = b->room < 128 ? 256 : b->room * 2;
  if (room < b->len + n + 1)
    room = b->len + n + 1;
  char *s = realloc (b->s, room);
  if (s == NULL)
    return (b->failed = 1, 0);
  b->s = s;
  b->room = room;
  return 1;
}

void
buf_add (struct buf *b, const void *p, size_t n)
{
  if (!room_for (b, n))
    return;
  if (n > 0)
    memcpy (b->s + b->len, p, n);
  b->len += n;
  b->s[b->len] = '\0';
}

void
buf_text (struct buf *b, const char *s)
{
  buf_add (b, s, strlen (s));
}

void
buf_printf (struct buf *b, const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  int n = vsnprintf (NULL, 0, fmt, ap);
  va_end (ap);
  if (n < 0 || !room_for (b, (size_t) n)) {
    b->failed = 1;
    return;
  }
  va_start (ap, fmt);
  vsnprintf (b->s + b->len, (size_t) n + 1, fmt, ap);
  va_end (ap);
  b->len += (size_t) n;
}

const char *
buf_str (struct buf *b)
{
  return b->failed ? NULL : b->s != NULL ? b->s : "";
}

char *
buf_steal (struct buf *b)
{
  buf_add (b, "", 0);
  char *s = b->failed ? NULL : b->s;
  if (s != NULL)
    *b = (struct buf){ 0 };
  else
    buf_free (b);
  return s;
}

void
buf_free (struct buf *b)
{
  free (b->s);
  *b = (struct buf){ 0 };
}
