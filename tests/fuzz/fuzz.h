/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_FUZZ_H
#define CS_FUZZ_H
#include <glib.h>

struct fuzz_target { const char *name; void (*run) (const char *data, gsize n); };
extern const struct fuzz_target fuzz_targets[]; /* ends with a name of NULL */

void fuzz_init (void); /* gives the targets a store of their own */
void fuzz_run (const struct fuzz_target *t, const void *data, gsize n);
void fuzz_end (void);
#endif
