/* Inside the room: plugins found, loaded, called. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_LOADER_H
#define CS_LOADER_H
#include "core/plugin/hv.h"

/* A plugin as its .plugin file describes it, or, where there is none, its file name. */
struct cs_plugin {
  char *file;     /* path of the .so */
  char *name;     /* "kvm" */
  char **aliases; /* "qemu" */
  char *kind;     /* "hypervisor", "repository" */
  char *suffix, *package, *schemes, *patterns, *summary;
  gboolean described;                /* there is a .plugin file */
  const struct capstan_plugin *desc; /* once loaded */
  /* Copied, so that a plugin built for an older or a newer header reads the same: what is
   * missing is NULL, what is unknown is cut off, and the option tables have our stride. */
  struct capstan_plugin head;
  struct capstan_provider provider;
  struct capstan_hypervisor_ops hv_ops;
  struct capstan_repo_ops repo_ops;
  char *refused; /* why it was not loaded, or NULL */
  GMutex one;    /* held by a call of a plugin that takes one at a time */
};
/* All that is on the search path, of struct cs_plugin *; found once, opened by nobody. The
 * first of a name wins. Borrowed. */
GPtrArray *cs_plugins (void);
struct cs_plugin *cs_plugin_find (const char *kind, const char *name);
/* "git+https,git+ssh", or NULL; of one that has no description, once it is loaded. */
const char *cs_plugin_schemes (const struct cs_plugin *p);
/* Says that there is none of this name, which name is near, and which there are. kind NULL:
 * of either. FALSE. */
gboolean cs_plugin_missing (const char *kind, const char *name, GError **err);
/* The one of its kind and name that goes before it on the search path, or NULL. */
const struct cs_plugin *cs_plugin_shadowed (const struct cs_plugin *p);
/* One that is no part of the search path, from its .so: it goes before all others. */
struct cs_plugin *cs_plugin_add (const char *file);
/* Maps it and negotiates; once. FALSE: p->refused says why, and so does err. */
gboolean cs_plugin_load (struct cs_plugin *p, GError **err);

/* ---- options.c: what a user or the core gives, against a table of the plugin ---- */
/* The value as the plugin is to see it (sizes in bytes), g_free; NULL and the error for a
 * key that is not in the table or a value of the wrong type. what: "option". */
char *cs_option_value (const char *plugin, const char *what, const struct capstan_option *table,
                       gsize n, const char *key, const char *value, GError **err);
/* "key=value" texts and the table's defaults, as key -> value; a required one is missed. */
GHashTable *cs_options_read (const struct cs_plugin *p, const char *const *given, GError **err);
/* The spec with the params of machine, disks and nics checked; cs_spec_free. */
struct cs_spec { struct capstan_vm_spec spec; GPtrArray *blocks; };
struct cs_spec *cs_spec_check (const struct cs_plugin *p, const struct capstan_vm_spec *s,
                               GError **err);
void cs_spec_free (struct cs_spec *s);

/* ---- call.c: one operation. Services may be used by any thread of the plugin. ---- */
struct capstan_call {
  struct cs_plugin *plugin;
  GMutex *serial;      /* held while it runs, or NULL */
  GHashTable *options; /* checked values of the plugin's own options; borrowed */
  GMutex mutex;        /* of what follows */
  guint code;
  char *message;
  GStringChunk *arena;
  GPtrArray *locks;    /* descriptors held until the call ends */
  double deadline;     /* cs_now (), or 0 */
  guint retry_ms;      /* what the plugin asks to wait, 0: it does not say */
  GPtrArray *secrets;  /* of char *: given out in this call, kept out of messages; or NULL */
};
struct cs_entry { struct capstan_entry entry; GStringChunk *strings; GPtrArray *blocks; };
struct capstan_list { GPtrArray *vms, *entries; /* either may be NULL */ };

/* What a fetch writes into and a push reads: who makes one fills in the operations. They may
 * be called by any thread of the plugin. `call' is set while an operation runs. */
struct cs_sink_ops {
  gboolean (*begin) (struct capstan_sink *s, const struct capstan_file *f, guint64 *ret_offset,
                     GError **err);
  gboolean (*write) (struct capstan_sink *s, const void *buf, gsize n, GError **err);
  gboolean (*pwrite) (struct capstan_sink *s, guint64 off, const void *buf, gsize n, GError **err);
  gboolean (*hole) (struct capstan_sink *s, guint64 n, GError **err);
  gboolean (*end) (struct capstan_sink *s, GError **err);
};
struct capstan_sink { const struct cs_sink_ops *ops; struct capstan_call *call; };
struct cs_source_ops {
  const struct capstan_file *(*file) (struct capstan_source *s, guint i); /* NULL: no more */
  gssize (*pread) (struct capstan_source *s, guint i, guint64 off, void *buf, gsize n, GError **err);
  const char *(*state_get) (struct capstan_source *s, const char *key);
  gboolean (*state_put) (struct capstan_source *s, const char *key, const char *value, GError **err);
};
struct capstan_source { const struct cs_source_ops *ops; struct capstan_call *call; };

/* Waits for its turn where the plugin says that its calls may not overlap. open: of the
 * handle that it works on; NULL: it works on none (probe, open, load). */
void cs_call_init (struct capstan_call *c, struct cs_plugin *p, GHashTable *options, GMutex *open);
/* Ends it: TRUE if rc is 0, else the plugin's error becomes a GError. */
gboolean cs_call_end (struct capstan_call *c, int rc, const char *what, GError **err);
/* Is it usable here? Its probe says; options: checked ones of open, or NULL. Without a probe
 * it is. The plugin has been loaded. */
gboolean cs_plugin_probe (struct cs_plugin *p, GHashTable *options, GError **err);
/* Sets the error; -code. host->error is this. */
int cs_call_error (struct capstan_call *c, uint32_t code, int sys_errno, const char *msg);
/* A message of the plugin as it may be shown: UTF-8, and no secret in it; g_free. */
char *cs_call_text (struct capstan_call *c, const char *msg);
/* The same for a service that was given no call: the one this thread is in, if any. */
int cs_call_error_here (uint32_t code, const char *msg);
const char *cs_call_keep (struct capstan_call *c, const char *s, gsize n);
struct cs_vm *cs_vm_copy (const struct capstan_vm_info *i);
struct cs_entry *cs_entry_copy (const struct capstan_entry *e);
void cs_entry_free (struct cs_entry *e);

extern const struct capstan_host cs_host; /* host.c */
/* run.c */
int cs_host_run (struct capstan_call *c, const struct capstan_run_req *q, struct capstan_run_rsp *r);
int cs_host_run_wait (struct capstan_call *c, int64_t pid, struct capstan_run_rsp *r);
int cs_host_run_kill (struct capstan_call *c, int64_t pid, int32_t sig);
#endif
