/* What a program needs, read from its ELF headers. SPDX-License-Identifier: BSD-3-Clause
 *
 * Nothing in the file is trusted: sizes are bounded, and nothing is run. */
#ifndef CS_ELF_H
#define CS_ELF_H
#include <glib.h>
#include "core/build/tree.h"

#define CS_ELF_EXEC 2 /* types */
#define CS_ELF_DYN 3
#define CS_ELF_X86_64 62

struct cs_elf {
  gboolean is64; /* if not, or with another byte order, nothing more is known */
  guint16 type, machine;
  gboolean is_dynamic, is_pie;
  char *interp, *soname, *rpath, *runpath; /* or NULL */
  GPtrArray *needed;                       /* of char * */
};
enum { CS_ELF_NONE, CS_ELF_OK, CS_ELF_DAMAGED };
/* fd: an open file; -1: then i, whose data are not on the host. CS_ELF_NONE: no ELF at all.
 * *ret is to be cleared in any case. */
int cs_elf_read (int fd, struct cs_inode *i, struct cs_elf *ret);
/* Some bytes, in the same way. */
gboolean cs_elf_peek (int fd, struct cs_inode *i, void *buf, gsize n, guint64 off);
void cs_elf_clear (struct cs_elf *e);
#endif
