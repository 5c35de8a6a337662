/* Ports of this host that are forwarded to a machine. SPDX-License-Identifier: BSD-3-Clause
 *
 * Knows nothing of the plugin it is linked into: the text is the caller's to report. */
#ifndef PORTS_H
#define PORTS_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct forward { /* "tcp:127.0.0.1:8080:80" */
  int udp;
  char address[16]; /* IPv4 */
  uint16_t host, guest;
};
/* 0, or -1 if it is not of that form; port 0 is refused as well. */
int forward_parse (const char *text, struct forward *ret);
/* Can all of these (NULL-terminated) be bound now, and none twice? 0, or the negative of a
 * CAPSTAN_E_* code, with what is in the way, and who, in why. *ret_holder: the process that
 * has the port; 0 if this user may not see it. */
int forwards_check (const char *const *forwards, char *why, size_t n, pid_t *ret_holder);
#endif
