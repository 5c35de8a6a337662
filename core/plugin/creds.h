/* Where secrets come from. SPDX-License-Identifier: BSD-3-Clause
 *
 * Asked in this order: the environment CAPSTAN_SECRET_<REALM>_<KEY> (upper case, each run of
 * other characters one '_'); ~/.capstan/credentials, a YAML file of realms with their keys;
 * netrc ($NETRC or ~/.netrc) by the realm's host; the program of config.yaml's
 * credential_helper. A file that others can read is left out, with a warning. */
#ifndef CS_CREDS_H
#define CS_CREDS_H
#include <glib.h>

/* realm: "https://host:8443/path"; what is kept for a shorter one holds for it too, the
 * longest wins. key: "username", "password", "token", ... NULL: nobody has it; g_free. Any
 * thread. */
char *cs_secret_get (const char *realm, const char *key);
/* The server took it or not: one of the helper is told to it, a wrong one is named. */
void cs_secret_result (const char *realm, const char *key, gboolean accepted);
#endif
