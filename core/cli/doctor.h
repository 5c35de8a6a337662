/* Inside the room: what capstan doctor finds out. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_DOCTOR_H
#define CS_DOCTOR_H
#include "core/cli/cmd.h"

struct cs_finding { /* texts are owned; NULL where there is nothing to say */
  char *name;
  const char *kind;         /* "hypervisor", "repository", "tool", "store", "base" */
  gboolean is_default;      /* the hypervisor that capstan run takes */
  char *detail;             /* what is there */
  char *problem;            /* why it is not usable, and what to do about it */
  GPtrArray *notes;         /* of char *: what else it said, best heeded */
  const char *accel;        /* hypervisor: "kvm", "tcg" */
  gboolean boots;           /* a guest did */
  double seconds;           /* to its first output */
  guint64 free_bytes;       /* store */
};
struct cs_doctor { /* what is asked */
  const char *hypervisor;   /* the default one */
  gboolean boot;
  guint seconds;            /* how long the guest's first output is waited for */
};
/* All there is to say, of struct cs_finding *; NULL once it was cancelled. */
GPtrArray *cs_doctor (const struct cs_doctor *d, GError **err);
#endif
