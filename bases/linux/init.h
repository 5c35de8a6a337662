/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef INIT_H
#define INIT_H
#include <stddef.h>
struct options;

void say (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
/* Inserts the modules that the file lists, in its order; one that does not fit is no error. */
void modules_load (const char *list);
/* Calls found (cmdline, part, n) whenever a device appears, until it answers 1; 0 if it has
 * not after 30 s. */
int wait_for_device (char *cmdline, char *part, size_t n,
                     int (*found) (char *, char *, size_t));
/* Loopback, then --ip or DHCP on every interface; what fails is a warning. */
void network_up (struct options *o);
#endif
