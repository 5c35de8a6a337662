/* Disks of the user's own, beside that of the instance. SPDX-License-Identifier: BSD-3-Clause
 *
 *   volumes/NAME       one that `capstan volume create` made
 *   volumes/NAME.yaml  its format, and aio and cache where it has some. Such a file beside any
 *                      other disk is read as well: the original wrote them */
#ifndef CS_VOLUME_H
#define CS_VOLUME_H
#include "core/vm/instance.h"

struct cs_volume {
  char *text;               /* "/path:format=raw:aio=native:ro": all that is known of it */
  char *path, *format;
  GPtrArray *strings;       /* of params */
  GArray *params;           /* of struct capstan_kv */
  struct capstan_disk disk; /* as a hypervisor is told */
};
void cs_volume_free (struct cs_volume *v);
typedef struct cs_volume cs_volume; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (cs_volume, cs_volume_free)
/* "PATH[:KEY=VALUE]...[:ro]"; a PATH that is no file here is the name of one in the store. The
 * file is looked at: its format is never left to the hypervisor to find out. */
struct cs_volume *cs_volume_open (const char *text, GError **err);
/* Of all in the list, which must not name one twice; GPtrArray of struct cs_volume *. */
GPtrArray *cs_volumes_open (const char *const *texts, GError **err);
/* None of the instance's is in use by another that is awake, unless both only read. */
gboolean cs_volumes_unused (const struct cs_instance *i, GError **err);
/* The text of the instance's volume whose path is the n bytes at path, or NULL; borrowed. */
const char *cs_volume_of (const struct cs_instance *i, const char *path, gsize n);
/* Names of the instances that have a volume of this path, NULL-terminated; g_strfreev. */
char **cs_volume_users (const char *path);

/* ---- those of the store ---- */
char *cs_volume_path (const char *name, GError **err); /* g_free */
gboolean cs_volume_create (const char *name, guint64 size, const char *format, GError **err);
gboolean cs_volume_delete (const char *name, GError **err);
GPtrArray *cs_volume_names (void); /* of char *, sorted */
/* Says that there is none of this name, and which is near; FALSE. */
gboolean cs_volume_missing (const char *name, GError **err);
#endif
