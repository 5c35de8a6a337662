/* What a push reads. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_SOURCE_H
#define CS_SOURCE_H
#include "core/plugin/loader.h"
#include "core/repo/manifest.h"

struct cs_source;
/* Two files: the image at <name>/<wire->file>, of the descriptor fd, and <name>/index.yaml.
 * dir: where the plugin's state is kept, for these bytes. Everything is copied but fd. */
struct cs_source *cs_source_new (int fd, const char *fd_name, const char *name,
                                 const struct cs_wire *wire, const char *index, const char *dir);
struct capstan_source *cs_source_base (struct cs_source *s);
const struct capstan_file *const *cs_source_files (const struct cs_source *s);
void cs_source_free (struct cs_source *s);
#endif
