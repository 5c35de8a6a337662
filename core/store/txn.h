/* Inside the room. SPDX-License-Identifier: BSD-3-Clause */
#ifndef CS_TXN_H
#define CS_TXN_H
/* Finishes a commit of the name that a crash interrupted, if there is one and nobody is
 * at it. */
void cs_store_recover (const char *name);
/* Removes what dead writers left in the folder of a name, whose lock is held. */
void cs_store_clean (const char *dir);
#endif
