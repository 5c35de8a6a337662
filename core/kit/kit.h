/* The contract suite: what a plugin has to hold to, as cases that `capstan plugin test` runs.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_KIT_H
#define CS_KIT_H
#include "core/plugin/hv.h"
#include "core/plugin/loader.h"

struct cs_kit_opts {
  const char *plugin;                  /* a name, or the path of a .so */
  const char *const *options;          /* "key=value" of open */
  const char *const *machine_options;  /* the same of the machines that are made */
  const char *url, *image, *suffix;    /* repository: where, and an image that is there */
  const char *disk, *kernel, *cmdline; /* hypervisor: what is booted; NULL: an empty disk */
  const char *const *only;             /* names of cases; none: all */
  guint timeout;                       /* seconds that a case may take */
};
/* Prints a line for each case. *ret_status: 0, 1 if one failed, 77 if the plugin cannot work
 * here or lacks what it could be tried on. FALSE: it could not be begun. */
gboolean cs_kit_run (const struct cs_kit_opts *o, int *ret_status, GError **err);

/* ---- for the cases. Each runs in a process of its own, with the plugin loaded afresh; the
 * first thing that is not as it should be ends it. ---- */
struct cs_hv;
struct cs_rp;
struct kit {
  const struct cs_kit_opts *o;
  struct cs_plugin *plugin;
  char *dir;           /* an empty folder */
  struct cs_hv *hv;    /* open, by kind */
  struct cs_rp *rp;    /* open where there is a URL, else NULL */
  guint64 bits;        /* of what is open */
};
struct kit_case {
  const char *name, *what;
  void (*run) (struct kit *k);
  gboolean target; /* it needs what is open: a hypervisor, or a repository at a URL */
};
extern const struct kit_case kit_common[], kit_hypervisor[], kit_repository[], kit_transfer[];

G_NORETURN void kit_fail (const char *fmt, ...) G_GNUC_PRINTF (1, 2);
G_NORETURN void kit_skip (const char *fmt, ...) G_GNUC_PRINTF (1, 2);
/* fn (data) when the case ends, however it ends; the last one first. */
void kit_cleanup (void (*fn) (gpointer), gpointer data);
#define kit_expect(cond, ...)                                                            \
  do {                                                                                   \
    if (!(cond))                                                                         \
      kit_fail (__VA_ARGS__);                                                            \
  } while (0)
/* It went well; what: "start". */
void kit_ok (const char *what, gboolean done, GError **err);
/* It failed, and in words: the message names the plugin, and `word' where that is not NULL;
 * the code is this one (0: any). Clears *err. */
void kit_refused (struct kit *k, const char *what, gboolean done, GError **err, int code,
                  const char *word);
const char *kit_code (int code); /* "E_NOTFOUND" */

/* Every byte but the size is poison, to see what a failing operation touches. */
#define KIT_POISONED(type, v)                                                            \
  type v, v##_before;                                                                    \
  memset (&v, 0xa5, sizeof v);                                                           \
  v.struct_size = sizeof v;                                                              \
  memcpy (&v##_before, &v, sizeof v)
#define KIT_UNTOUCHED(what, v)                                                           \
  kit_expect (memcmp (&v, &v##_before, sizeof v) == 0, what " failed and yet wrote into its answer")
#endif
