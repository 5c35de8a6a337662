/* Can the guest start the programs of the command line? SPDX-License-Identifier: BSD-3-Clause
 *
 * Their ELF headers are read, and those of the libraries they need, and of these. */
#ifndef CS_LIBS_H
#define CS_LIBS_H
#include "core/build/tree.h"

/* Warns of what would keep a program from starting. add: puts the shared libraries and the
 * loader that are missing into t, as far as the host has them. *ret_added: their paths on the
 * host, of char *, or NULL if nobody wants to know. */
gboolean cs_libs_check (struct cs_tree *t, const char *guest, const char *cmdline,
                        gboolean add, GPtrArray *added, GError **err);
#endif
