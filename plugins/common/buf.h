/* Growing text. SPDX-License-Identifier: BSD-3-Clause
 *
 * Zero-initialised it is empty. An allocation that fails is remembered: what was to be added
 * is lost, and buf_str answers NULL, so that one test at the end is enough. */
#ifndef CAPSTAN_COMMON_BUF_H
#define CAPSTAN_COMMON_BUF_H
#include "capstan/plugin.h"

struct buf { char *s; size_t len, room; int failed; };

void buf_add (struct buf *b, const void *p, size_t n);
void buf_text (struct buf *b, const char *s);
void buf_printf (struct buf *b, const char *fmt, ...) CAPSTAN_PRINTF (2, 3);
/* NUL-terminated, "" when empty; NULL when memory ran out. Lives until the next change. */
const char *buf_str (struct buf *b);
/* The same, now the caller's: free (). The buffer is empty again. */
char *buf_steal (struct buf *b);
void buf_free (struct buf *b);
#endif
