/* A repository that is open. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/repo/room.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include "core/base/yaml.h"
#include "core/repo/download.h"
#include <string.h>

enum { RETRIES = 5, FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 120 * 1000, PAGES_MAX = 10000 };
#define GOT_ON (G_GUINT64_CONSTANT (1) << 20) /* bytes that count as success */

struct cs_repo *
cs_repo_open (const struct cs_repo_conf *c, int retries, GError **err)
{
  struct cs_rp *rp = cs_rp_open (c->url, c->type, (const char *const *) c->options, err);
  const char *env = g_getenv ("CAPSTAN_RETRIES");
  if (rp == NULL)
    return NULL;
  struct cs_repo *r = g_new0 (struct cs_repo, 1);
  r->rp = rp;
  r->retries = retries >= 0 ? retries : env != NULL ? atoi (env) : RETRIES;
  return r;
}

void
cs_repo_close (struct cs_repo *r)
{
  if (r == NULL)
    return;
  cs_rp_close (r->rp);
  g_free (r);
}

const char *
cs_repo_url (const struct cs_repo *r)
{
  return cs_rp_url (r->rp);
}

gboolean
cs_retry (struct cs_retry *t, const struct cs_repo *r, guint64 got, GError **err)
{
  int code = (*err)->code;
  if (code != CAPSTAN_E_NET && code != CAPSTAN_E_TIMEOUT && code != CAPSTAN_E_BUSY)
    return FALSE;
  if (got >= t->got + GOT_ON)
    t->n = 0;
  t->got = got;
  guint ms = cs_rp_retry_ms (r->rp);
  if (ms > LONGEST_WAIT_MS)
    g_prefix_error (err, "the server asks to come again in %u minutes: ", ms / 60000 + 1);
  if (ms > LONGEST_WAIT_MS || (int) t->n >= r->retries) {
    if (code == CAPSTAN_E_BUSY) /* the server, not an image that another holds: no conflict */
      (*err)->code = CAPSTAN_E_NET;
    return FALSE;
  }
  if (ms == 0)
    ms = FIRST_WAIT_MS << MIN (t->n, 6u);
  t->n++;
  cs_progress_hide ();
  cs_info ("%s; trying again in %.1f s", (*err)->message, ms / 1000.0);
  g_clear_error (err);
  return cs_sleep (ms) || cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled");
}

int
cs_lock_wait (const char *name, const char *label, gboolean *ret_waited, GError **err)
{
  enum { WAIT_MS = 100 };
  g_autofree char *dir = cs_root_path ("locks", NULL), *path = g_build_filename (dir, name, NULL);
  *ret_waited = FALSE;
  if (!cs_mkdirs (dir, 0755, err))
    return -1;
  for (;;) {
    g_autoptr (GError) e = NULL;
    int fd = cs_lock_file (path, TRUE, FALSE, &e);
    if (fd >= 0)
      return fd;
    if (e->code != CAPSTAN_E_BUSY) {
      g_propagate_error (err, g_steal_pointer (&e));
      return -1;
    }
    if (!*ret_waited)
      cs_info ("%s is on its way by another capstan; waiting for it", label);
    *ret_waited = TRUE;
    if (!cs_sleep (WAIT_MS)) {
      cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled");
      return -1;
    }
  }
}

gboolean
cs_index_line_is_local (const char *line)
{
  static const char *const keys[] = { "origin:", "origin_ref:", "origin_etag:", "inputs:" };
  for (guint i = 0; i < G_N_ELEMENTS (keys); i++)
    if (g_str_has_prefix (line, keys[i]))
      return TRUE;
  return FALSE;
}

struct cs_entry *
cs_repo_resolve (struct cs_repo *r, const char *name, const char *version, const char *suffix,
                 GError **err)
{
  struct capstan_kv kv = { "suffix", suffix };
  struct capstan_query q = { .struct_size = sizeof q, .name = name, .arch = "x86_64", .kind = "image",
    .version = cs_rp_bits (r->rp) & CAPSTAN_REPO_VERSIONS ? version : NULL, .params = &kv, .n_params = 1 };
  struct cs_retry t = { 0 };
  struct cs_entry *e = NULL;
  GError *why = NULL;
  while (!cs_rp_resolve (r->rp, &q, &e, &why))
    if (!cs_retry (&t, r, 0, &why)) {
      g_propagate_error (err, why);
      return NULL;
    }
  if (e->entry.arch == NULL || strcmp (e->entry.arch, "x86_64") == 0)
    return e;
  cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s: '%s' is for %s; only x86_64 is supported", cs_repo_url (r),
           name, e->entry.arch);
  cs_entry_free (e);
  return NULL;
}

static const char *
index_path (const struct capstan_entry *e)
{
  for (guint i = 0; e->files != NULL && e->files[i] != NULL; i++)
    if (g_strcmp0 (e->files[i]->role, "index") == 0 && e->files[i]->path != NULL)
      return e->files[i]->path;
  return NULL;
}

static struct cs_manifest *
parse (struct cs_repo *r, const char *path, const char *text, gsize len, GError **err)
{
  g_autofree char *where = g_strdup_printf ("%s %s", cs_repo_url (r), path);
  return cs_manifest_parse (text, len, where, err);
}

struct cs_manifest *
cs_repo_manifest (struct cs_repo *r, const struct cs_entry *e, GError **err)
{
  struct capstan_part part = { .struct_size = sizeof part, .path = index_path (&e->entry) };
  const struct capstan_part *parts[] = { &part, NULL };
  struct capstan_fetch_req q = { .struct_size = sizeof q, .ref = e->entry.ref, .parts = parts };
  struct cs_manifest *m = NULL;
  struct cs_retry t = { 0 };
  gsize n = 0;
  if (part.path == NULL)
    return cs_manifest_parse (NULL, 0, "", err);
  for (;;) {
    GError *why = NULL;
    struct cs_memory *mem = cs_memory_new (CS_YAML_MAX);
    gboolean ok = cs_rp_fetch (r->rp, &q, cs_memory_sink (mem), &why);
    const char *text = ok ? cs_memory_file (mem, 0, &n) : NULL;
    if (text != NULL)
      m = parse (r, part.path, text, n, err);
    else if (ok)
      cs_fail (err, CAPSTAN_E_INTERNAL, "%s: %s was fetched and did not come", cs_repo_url (r), part.path);
    cs_memory_free (mem);
    if (ok)
      return m;
    if (!cs_retry (&t, r, 0, &why)) {
      g_propagate_error (err, why);
      return NULL;
    }
  }
}

/* ---- searching ---- */

static void
found_free (struct cs_found *f)
{
  g_free (f->name);
  cs_manifest_free (f->manifest);
  g_free (f);
}

static int
by_name (gconstpointer a, gconstpointer b)
{
  return strcmp ((*(struct cs_found *const *) a)->name, (*(struct cs_found *const *) b)->name);
}

static gboolean
has_text (const char *in, const char *text)
{
  if (in == NULL)
    return FALSE;
  g_autofree char *a = g_utf8_casefold (in, -1), *b = g_utf8_casefold (text, -1);
  return strstr (a, b) != NULL;
}

static GPtrArray *
list_all (struct cs_repo *r, const char *text, const char *suffix, GError **err)
{
  struct capstan_kv kv = { "suffix", suffix };
  gboolean filters = (cs_rp_bits (r->rp) & CAPSTAN_REPO_SEARCH) != 0;
  g_autoptr (GPtrArray) out = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_entry_free);
  g_autofree char *page = NULL;
  struct cs_retry t = { 0 };
  for (guint n = 0; n < PAGES_MAX; n++) {
    struct capstan_query q = { .struct_size = sizeof q, .kind = "image", .text = filters ? text : NULL,
                               .page = page, .params = &kv, .n_params = 1 };
    GError *why = NULL;
    char *next = NULL;
    guint before = out->len;
    if (!cs_rp_list (r->rp, &q, out, &next, &why)) {
      g_ptr_array_set_size (out, (int) before); /* what came before the failure comes again */
      if (!cs_retry (&t, r, 0, &why)) {
        g_propagate_error (err, why);
        return NULL;
      }
      continue;
    }
    g_free (page);
    page = next;
    if (page == NULL)
      return g_steal_pointer (&out);
  }
  return cs_fail_null (err, CAPSTAN_E_LIMIT, "%s: its listing does not end", cs_repo_url (r));
}

GPtrArray *
cs_repo_search (struct cs_repo *r, const char *text, const char *suffix, GError **err)
{
  g_autoptr (GPtrArray) all = list_all (r, text, suffix, err);
  g_autoptr (GPtrArray) out = g_ptr_array_new_with_free_func ((GDestroyNotify) found_free);
  for (guint i = 0; all != NULL && i < all->len; i++) {
    const struct cs_entry *e = g_ptr_array_index (all, i);
    g_autoptr (GError) why = NULL;
    if (cs_cancelled ())
      return cs_fail_null (err, CAPSTAN_E_CANCELLED, "cancelled");
    if (e->entry.name == NULL || !cs_name_check ("image name", e->entry.name, TRUE, NULL)) {
      cs_debug ("%s lists what is no name of an image", cs_repo_url (r));
      continue;
    }
    struct cs_found *f = g_new0 (struct cs_found, 1);
    f->name = g_strdup (e->entry.name);
    f->manifest = cs_repo_manifest (r, e, &why);
    if (f->manifest == NULL)
      cs_warn ("%s", why->message);
    if (text == NULL || has_text (f->name, text) ||
        (f->manifest != NULL && has_text (f->manifest->index->description, text)))
      g_ptr_array_add (out, f);
    else
      found_free (f);
  }
  if (all == NULL)
    return NULL;
  g_ptr_array_sort (out, by_name);
  return g_steal_pointer (&out);
}

gboolean
cs_repo_remove (struct cs_repo *r, const char *name, GError **err)
{
  struct cs_retry t = { 0 };
  g_autoptr (cs_entry) e = cs_repo_resolve (r, name, NULL, "qemu", err);
  GError *why = NULL;
  if (e == NULL)
    return FALSE;
  while (!cs_rp_remove (r->rp, e->entry.ref != NULL ? e->entry.ref : name, &why))
    if (!cs_retry (&t, r, 0, &why)) {
      g_propagate_error (err, why);
      return FALSE;
    }
  cs_known_forget (cs_repo_url (r), name);
  return TRUE;
}
