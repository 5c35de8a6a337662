/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef INIT_H
#define INIT_H
#include <stddef.h>
struct options;

void say (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
/* Inserts the modules that the file lists, in its order; one that does not fit is no error. */
void modules_load (const char *list);
/* Calls found (cmdline, part, n) until it answers 1, whenever a device appears. */
void wait_for_device (char *cmdline, char *part, size_t n,
                      int (*found) (char *, char *, size_t));
/* Loopback, then --ip or DHCP on every interface; what fails is a warning. */
void network_up (struct options *o);
#endif
