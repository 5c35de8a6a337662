/* The entry points of libFuzzer. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "tests/fuzz/fuzz.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize (int *argc, char ***argv);
int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

static const struct fuzz_target *target;

int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  const char *name = g_getenv ("CAPSTAN_FUZZ_TARGET");
  for (const struct fuzz_target *t = fuzz_targets; t->name != NULL; t++)
    if (g_strcmp0 (t->name, name) == 0)
      target = t;
  if (target == NULL)
    g_error ("CAPSTAN_FUZZ_TARGET=%s is none of the targets in fuzz.c", name != NULL ? name : "");
  fuzz_init ();
  atexit (fuzz_end);
  return 0;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
  fuzz_run (target, data, n);
  return 0;
}
