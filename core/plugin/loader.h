/* Inside the room: plugins found, loaded, called. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_LOADER_H
#define CS_LOADER_H
#include "core/plugin/hv.h"

/* A plugin as its .plugin file describes it, or, where there is none, its file name. */
struct cs_plugin {
  char *file;    /* path of the .so */
  char *name;    /* "kvm" */
  char **aliases; /* "qemu" */
  char *kind;    /* "hypervisor", "repository" */
  char *suffix, *package, *schemes, *summary;
  const struct capstan_plugin *desc;        /* once loaded */
  struct capstan_provider provider;         /* copied; ops is the plugin's own */
  struct capstan_hypervisor_ops hv_ops;     /* copied, what is missing is NULL */
  char *refused;                            /* why it was not loaded, or NULL */
};
/* All that is on the search path, of struct cs_plugin *; found once, opened by nobody. The
 * first of a name wins. Borrowed. */
GPtrArray *cs_plugins (void);
struct cs_plugin *cs_plugin_find (const char *kind, const char *name);
/* Maps it and negotiates; once. FALSE: p->refused says why, and so does err. */
gboolean cs_plugin_load (struct cs_plugin *p, GError **err);

/* ---- one operation ---- */
struct capstan_call {
  const struct cs_plugin *plugin;
  GHashTable *options; /* checked values of the plugin's own options; borrowed */
  guint code;
  char *message;
  GStringChunk *arena;
  GPtrArray *locks; /* descriptors held until the call ends */
};
struct capstan_list { GPtrArray *vms; };
void cs_call_init (struct capstan_call *c, const struct cs_plugin *p, GHashTable *options);
/* Ends it: TRUE if rc is 0, else the plugin's error becomes a GError. */
gboolean cs_call_end (struct capstan_call *c, int rc, const char *what, GError **err);
extern const struct capstan_host cs_host; /* host.c */
struct cs_vm *cs_vm_copy (const struct capstan_vm_info *i);
#endif
