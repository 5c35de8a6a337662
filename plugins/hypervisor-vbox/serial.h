/* Between the plugin and its program vbox-serial. SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERIAL_H
#define SERIAL_H
enum { SERIAL_PORTS = 4, SERIAL_BUSY = 3 /* exit status: another one works for it */ };
#endif
