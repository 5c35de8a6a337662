/* Inside the room: parsing and help. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_CLI_H
#define CS_CLI_H
#include "core/cli/cmd.h"

const struct cs_cmd *cs_cmd_find (const struct cs_cmd *const *table, const char *word);
/* `capstan help TOPIC`; those in_manual are sections of capstan(1) as well. */
struct cs_topic { const char *name, *title, *text, *see; gboolean in_manual; };
extern const struct cs_topic cs_topics[]; /* ends with a name of NULL */
const struct cs_topic *cs_topic_find (const char *name);
void cs_help_overview (void);
/* parent: the command it is a sub-command of, or NULL. */
void cs_help_command (const struct cs_cmd *c, const struct cs_cmd *parent);
#endif
