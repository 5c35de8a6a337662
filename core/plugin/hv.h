/* A hypervisor plugin as the rest of the core sees it: the loader finds and opens it,
 * makes the capstan_call of each operation, turns its error into a GError (prefixed with
 * the plugin's name), and treats what is missing as CAPSTAN_E_UNSUPPORTED.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_HV_H
#define CS_HV_H
#include "capstan/plugin.h"
#include <glib.h>

struct cs_hv;

/* What the core remembers of a VM between processes; strings owned. */
struct cs_vm_ref { char *id, *state; };
void cs_vm_ref_clear (struct cs_vm_ref *r);

/* A deep copy of an emitted capstan_vm_info: vm->info and all it points to. */
struct cs_vm { struct capstan_vm_info info; GStringChunk *strings; GPtrArray *blocks; };
void cs_vm_free (struct cs_vm *v);
typedef struct cs_vm cs_vm; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (cs_vm, cs_vm_free)

/* By name or alias ("kvm", "qemu"). options: "key=value" for the plugin's own option
 * table, NULL-terminated, or NULL; checked before the plugin sees them. Not there: the
 * error says which package has it and what is installed. */
struct cs_hv *cs_hv_open (const char *name, const char *const *options, GError **err);
void cs_hv_close (struct cs_hv *hv);
typedef struct cs_hv cs_hv; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (cs_hv, cs_hv_close)
const char *cs_hv_name (const struct cs_hv *hv);   /* "kvm" */
const char *cs_hv_suffix (const struct cs_hv *hv); /* "qemu": of image files */
/* The same without loading the plugin, from its .plugin file: NULL if there is none. */
const char *cs_hv_suffix_of (const char *name);    /* borrowed, lives for ever */
const char *cs_hv_canonical (const char *name);    /* "qemu" -> "kvm"; borrowed */

/* Has it an option of that name ("uri")? */
gboolean cs_hv_takes (const char *name, const char *option);

/* Strings live as long as hv. */
gboolean cs_hv_caps (struct cs_hv *hv, struct capstan_caps *ret, GError **err);
gboolean cs_hv_probe (struct cs_hv *hv, GError **err);
gboolean cs_hv_check (struct cs_hv *hv, const struct capstan_vm_spec *s, GError **err);
gboolean cs_hv_create (struct cs_hv *hv, const struct capstan_vm_spec *s,
                       struct cs_vm_ref *ret, GError **err);
/* flags: CAPSTAN_F_*. timeout_ms 0: the plugin's default. */
gboolean cs_hv_start (struct cs_hv *hv, const struct cs_vm_ref *r, guint flags, GError **err);
gboolean cs_hv_stop (struct cs_hv *hv, const struct cs_vm_ref *r, guint flags,
                     guint timeout_ms, GError **err);
gboolean cs_hv_destroy (struct cs_hv *hv, const struct cs_vm_ref *r, guint flags, GError **err);
gboolean cs_hv_pause (struct cs_hv *hv, const struct cs_vm_ref *r, GError **err);
gboolean cs_hv_resume (struct cs_hv *hv, const struct cs_vm_ref *r, GError **err);
/* What the user calls it now; a plugin that cares for no such name is not asked. */
gboolean cs_hv_rename (struct cs_hv *hv, struct cs_vm_ref *r, const char *title, GError **err);
/* A VM that the backend no longer knows has the state GONE. */
gboolean cs_hv_info (struct cs_hv *hv, const struct cs_vm_ref *r, struct cs_vm **ret_vm,
                     GError **err);
/* CAPSTAN_E_TIMEOUT after timeout_ms (0: for ever). */
gboolean cs_hv_wait (struct cs_hv *hv, const struct cs_vm_ref *r, guint until_state,
                     guint timeout_ms, struct cs_vm **ret_vm, GError **err);
/* A descriptor for both ways, the caller's. role: "console", "control". -1: error. */
int cs_hv_console (struct cs_hv *hv, const struct cs_vm_ref *r, const char *role,
                   GError **err);

/* Cancelling: core/base/cancel.h. */
const char *cs_vm_state_name (guint state); /* "running"; static */
gboolean cs_vm_is_over (guint state); /* nothing of it runs or is on the way */
#endif
