/* Does a hypervisor boot anything here? SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_PROVE_H
#define CS_PROVE_H
#include "core/plugin/hv.h"

struct cs_prove {
  const char *connect, *accel; /* as of struct cs_run_opts */
  guint seconds;               /* how long the guest's first output is waited for */
};
/* Makes an image and an instance of a guest of one sector (prove-guest.S), as capstan run does
 * with any, boots it until it powers off, and removes both. *ret_seconds: from the start to its
 * first output. What a killed one left is removed as well. */
gboolean cs_prove (struct cs_hv *hv, const struct cs_prove *p, double *ret_seconds, GError **err);
#endif
