/* Inside the room: the disk of an instance. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_DISK_H
#define CS_DISK_H
#include "core/store/store.h"
#include "core/vm/instance.h"

#define CS_DISK_BASE "base"

/* Are the programs that make disks here, and of a version that will do? It, g_free. */
char *cs_disk_tools (GError **err);
/* Decides name and format of the disk for a hypervisor with these capabilities. */
gboolean cs_disk_choose (struct cs_instance *i, const struct cs_image *im, const char *format,
                         const struct capstan_caps *caps, GError **err);
/* format: the image's. */
gboolean cs_disk_make (struct cs_instance *i, const struct cs_image *im, const char *format,
                       GError **err);
/* -e and --env: on the disk of this instance, not in the image. */
gboolean cs_disk_cmdline (struct cs_instance *i, const char *cmd, const char *const *env,
                          GError **err);
/* Part of an image as a file of its own: a kernel. */
gboolean cs_disk_extract (const struct cs_image *im, guint64 off, guint64 n, const char *path,
                          GError **err);
#endif
