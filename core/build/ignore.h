/* .capstanignore: what is left out of an image. SPDX-License-Identifier: BSD-3-Clause
 *
 * One pattern a line; '#' begins a comment. A path is matched from the top ("/sub/file"), as
 * the original does it; a pattern without a '/' in front or within is matched with each name
 * at any depth. A '/' at the end: directories only. '!' in front: what matches is kept after
 * all; the last line that matches holds. What lies in a directory that is left out is not
 * looked at. */
#ifndef CS_IGNORE_H
#define CS_IGNORE_H
#include <glib.h>

#define CS_IGNORE_FILE ".capstanignore"

struct cs_ignore;
/* That of a directory, and what is always left out there: .git, .gitignore and the file
 * itself; of a package of the original also its meta data. */
struct cs_ignore *cs_ignore_load (const char *dir, GError **err);
/* text: of the file; `name` is for messages. */
struct cs_ignore *cs_ignore_parse (const char *text, const char *name, GError **err);
void cs_ignore_free (struct cs_ignore *g);
gboolean cs_ignore_has (const struct cs_ignore *g, const char *path, gboolean is_dir);
#endif
