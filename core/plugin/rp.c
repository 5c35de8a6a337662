/* Repository plugins, for the rest of the core. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/rp.h"
#include "core/base/error.h"
#include <string.h>

struct cs_rp {
  struct cs_plugin *p;
  void *self;
  char *url;
  GHashTable *options;
  GMutex turn; /* of its calls */
  guint64 bits;
  char *encodings;
  guint retry_ms;
};

/* ---- which plugin ---- */

/* 2: a pattern fits, 1: the scheme, 0: it is not for this one. */
static int
claims (const struct cs_plugin *p, const char *url)
{
  g_auto (GStrv) patterns = g_strsplit_set (p->patterns != NULL ? p->patterns : "", ", ", 0);
  for (char **t = patterns; *t != NULL; t++)
    if (**t != '\0' && g_pattern_match_simple (*t, url))
      return 2;
  gsize n = strspn (url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
  g_autofree char *scheme = url[n] == ':' ? g_ascii_strdown (url, (gssize) n) : g_strdup ("");
  const char *list = cs_plugin_schemes (p);
  g_auto (GStrv) schemes = g_strsplit_set (list != NULL ? list : "", ", ", 0);
  return *scheme != '\0' && g_strv_contains ((const char *const *) schemes, scheme) ? 1 : 0;
}

static gboolean
matches (struct cs_plugin *p, const char *url)
{
  struct capstan_call call;
  g_autoptr (GError) err = NULL;
  if (!cs_plugin_load (p, &err) || p->provider.kind != CAPSTAN_KIND_REPO || p->repo_ops.match == NULL)
    return err == NULL; /* one that says nothing of URLs takes what its description claims */
  cs_call_init (&call, p, NULL, NULL);
  int rc = p->repo_ops.match (&call, url);
  return cs_call_end (&call, rc, "match", NULL) && rc == 1;
}

static char *
names (GPtrArray *plugins, gboolean with_schemes)
{
  GString *s = g_string_new (NULL);
  for (guint i = 0; i < plugins->len; i++) {
    const struct cs_plugin *p = g_ptr_array_index (plugins, i);
    g_string_append_printf (s, "%s%s", i > 0 ? ", " : "", p->name);
    if (with_schemes && cs_plugin_schemes (p) != NULL)
      g_string_append_printf (s, " (%s)", cs_plugin_schemes (p));
  }
  if (plugins->len == 0)
    g_string_append (s, "none");
  return g_string_free (s, FALSE);
}

struct cs_plugin *
cs_rp_find (const char *url, const char *type, GError **err)
{
  GPtrArray *all = cs_plugins ();
  g_autoptr (GPtrArray) repos = g_ptr_array_new (), best = g_ptr_array_new ();
  int score = 1;
  for (guint i = 0; i < all->len; i++) {
    struct cs_plugin *p = g_ptr_array_index (all, i);
    if (strcmp (p->kind, "repository") != 0 || cs_plugin_shadowed (p) != NULL)
      continue;
    g_ptr_array_add (repos, p);
    if (!p->described)
      cs_plugin_load (p, NULL); /* only then are its schemes known */
    int s = claims (p, url);
    if (s > score)
      g_ptr_array_set_size (best, 0);
    if (s >= score)
      g_ptr_array_add (best, p);
    score = MAX (score, s);
  }
  g_autofree char *installed = names (repos, TRUE);
  if (type != NULL) {
    struct cs_plugin *p = cs_plugin_find ("repository", type);
    if (p == NULL)
      cs_plugin_missing ("repository", type, err);
    return p;
  }
  for (guint i = best->len; i-- > 0 && best->len > 1;)
    if (!matches (g_ptr_array_index (best, i), url))
      g_ptr_array_remove_index (best, i);
  if (best->len == 1)
    return g_ptr_array_index (best, 0);
  if (best->len == 0 && strchr (url, ':') == NULL)
    return cs_fail_null (err, CAPSTAN_E_NOTFOUND, "'%s' is neither the name of a repository (capstan repo "
                         "list) nor a URL; a folder of this host is git+file:///...", url);
  if (best->len == 0) {
    /* by the rule for names of packages: git+https is git's, https is http's */
    g_autofree char *kind = g_strndup (url, strcspn (url, "+:"));
    if (g_str_equal (kind, "https"))
      kind[4] = '\0';
    return cs_fail_null (err, CAPSTAN_E_UNSUPPORTED,
                         "no repository plugin takes '%s' (package capstan-plugin-%s?); installed: %s",
                         url, kind, installed);
  }
  g_autofree char *equal = names (best, FALSE);
  return cs_fail_null (err, CS_E_USAGE, "'%s' may be for any of %s: say which with --repo-type", url,
                       equal);
}

/* ---- open, close ---- */

/* It would stand in the process list, in config.yaml and in messages. */
static gboolean
no_password (const char *url, GError **err)
{
  const char *p = strstr (url, "://");
  if (p == NULL)
    return TRUE;
  gsize n = strcspn (p + 3, "/?#");
  g_autofree char *authority = g_strndup (p + 3, n);
  char *at = strrchr (authority, '@'), *colon = strchr (authority, ':');
  if (at == NULL || colon == NULL || colon > at)
    return TRUE;
  return cs_fail (err, CS_E_USAGE,
                  "the URL of %s holds a password, which others could read: put it into "
                  "~/.capstan/credentials or netrc", at + 1);
}

static gboolean
read_caps (struct cs_rp *rp, GError **err)
{
  struct capstan_caps c = { .struct_size = sizeof c, .bits = rp->p->provider.caps };
  struct capstan_call call;
  gboolean ok = TRUE;
  if (rp->p->repo_ops.caps != NULL) {
    cs_call_init (&call, rp->p, rp->options, &rp->turn);
    int rc = rp->p->repo_ops.caps (&call, rp->self, &c);
    rp->encodings = rc >= 0 ? g_strdup (c.formats) : NULL; /* it may be of this call only */
    ok = cs_call_end (&call, rc, "caps", err);
  }
  rp->bits = c.bits;
  if (rp->encodings == NULL)
    rp->encodings = g_strdup ("none");
  return ok;
}

struct cs_rp *
cs_rp_open (const char *url, const char *type, const char *const *options, GError **err)
{
  if (*url == '\0' || *url == '-' || strlen (url) > 4096 || !g_utf8_validate (url, -1, NULL) ||
      strpbrk (url, "\r\n\t ") != NULL)
    return cs_fail_null (err, CS_E_USAGE, "'%s' is not the URL of a repository", url);
  struct cs_plugin *p = no_password (url, err) ? cs_rp_find (url, type, err) : NULL;
  if (p == NULL || !cs_plugin_load (p, err))
    return NULL;
  if (p->provider.kind != CAPSTAN_KIND_REPO || p->repo_ops.open == NULL)
    return cs_fail_null (err, CAPSTAN_E_UNSUPPORTED, "%s is no repository plugin", p->file);
  GHashTable *checked = cs_options_read (p, options, err);
  struct capstan_call call;
  void *self = NULL;
  if (checked == NULL)
    return NULL;
  cs_call_init (&call, p, checked, NULL);
  if (!cs_call_end (&call, p->repo_ops.open (&call, url, &self), "open", err)) {
    g_hash_table_unref (checked);
    return NULL;
  }
  struct cs_rp *rp = g_new0 (struct cs_rp, 1);
  rp->p = p;
  rp->options = checked;
  rp->self = self;
  rp->url = g_strdup (url);
  g_mutex_init (&rp->turn);
  if (read_caps (rp, err))
    return rp;
  cs_rp_close (rp);
  return NULL;
}

void
cs_rp_close (struct cs_rp *rp)
{
  if (rp == NULL)
    return;
  struct capstan_call call;
  cs_call_init (&call, rp->p, rp->options, &rp->turn);
  if (rp->p->repo_ops.close != NULL)
    rp->p->repo_ops.close (&call, rp->self);
  cs_call_end (&call, 0, "close", NULL);
  g_mutex_clear (&rp->turn);
  g_hash_table_unref (rp->options);
  g_free (rp->encodings);
  g_free (rp->url);
  g_free (rp);
}

const char *
cs_rp_name (const struct cs_rp *rp)
{
  return rp->p->name;
}

const char *
cs_rp_url (const struct cs_rp *rp)
{
  return rp->url;
}

guint64
cs_rp_bits (const struct cs_rp *rp)
{
  return rp->bits;
}

const char *
cs_rp_encodings (const struct cs_rp *rp)
{
  return rp->encodings;
}

guint
cs_rp_retry_ms (const struct cs_rp *rp)
{
  return rp->retry_ms;
}

/* ---- operations ---- */

#define NEED(what)                                                                       \
  if (rp->p->repo_ops.what == NULL)                                                      \
  return cs_fail (err, CAPSTAN_E_UNSUPPORTED, "%s: %s is not supported by the plugin %s", rp->url, \
                  #what, rp->p->name)

static gboolean
end (struct cs_rp *rp, struct capstan_call *call, int rc, const char *what, GError **err)
{
  gboolean ok = cs_call_end (call, rc, what, err);
  rp->retry_ms = ok ? 0 : call->retry_ms;
  return ok;
}

gboolean
cs_rp_list (struct cs_rp *rp, const struct capstan_query *q, GPtrArray *out, char **ret_next,
            GError **err)
{
  NEED (list);
  struct capstan_list l = { NULL, out };
  struct capstan_call call;
  const char *next = NULL;
  cs_call_init (&call, rp->p, rp->options, &rp->turn);
  int rc = rp->p->repo_ops.list (&call, rp->self, q, &l, &next);
  char *copy = rc >= 0 && next != NULL && *next != '\0' ? g_strdup (next) : NULL;
  if (!end (rp, &call, rc, "list", err))
    return FALSE;
  *ret_next = copy;
  return TRUE;
}

gboolean
cs_rp_resolve (struct cs_rp *rp, const struct capstan_query *q, struct cs_entry **ret, GError **err)
{
  NEED (resolve);
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_entry_free);
  struct capstan_list l = { NULL, found };
  struct capstan_call call;
  cs_call_init (&call, rp->p, rp->options, &rp->turn);
  if (!end (rp, &call, rp->p->repo_ops.resolve (&call, rp->self, q, &l), "resolve", err))
    return FALSE;
  if (found->len == 0)
    return cs_fail (err, CAPSTAN_E_NOTFOUND, "%s: there is no '%s'", rp->url, q->name);
  *ret = g_ptr_array_steal_index (found, 0);
  return TRUE;
}

gboolean
cs_rp_fetch (struct cs_rp *rp, const struct capstan_fetch_req *q, struct capstan_sink *s, GError **err)
{
  NEED (fetch);
  struct capstan_fetch_rsp a = { .struct_size = sizeof a };
  struct capstan_call call;
  cs_call_init (&call, rp->p, rp->options, &rp->turn);
  s->call = &call;
  int rc = rp->p->repo_ops.fetch (&call, rp->self, q, s, &a);
  s->call = NULL;
  return end (rp, &call, rc, "fetch", err);
}

void
cs_pushed_clear (struct cs_pushed *p)
{
  g_clear_pointer (&p->ref, g_free);
  g_clear_pointer (&p->etag, g_free);
  g_clear_pointer (&p->version, g_free);
}

gboolean
cs_rp_push (struct cs_rp *rp, const struct capstan_push_req *q, struct capstan_source *s,
            struct cs_pushed *ret, GError **err)
{
  NEED (push);
  struct capstan_push_rsp a = { .struct_size = sizeof a };
  struct capstan_call call;
  cs_call_init (&call, rp->p, rp->options, &rp->turn);
  s->call = &call;
  int rc = rp->p->repo_ops.push (&call, rp->self, q, s, &a);
  s->call = NULL;
  if (rc >= 0)
    *ret = (struct cs_pushed){ g_strdup (a.ref), g_strdup (a.etag), g_strdup (a.version) };
  return end (rp, &call, rc, "push", err);
}

gboolean
cs_rp_remove (struct cs_rp *rp, const char *ref, GError **err)
{
  NEED (remove);
  struct capstan_action act = { .struct_size = sizeof act };
  struct capstan_call call;
  cs_call_init (&call, rp->p, rp->options, &rp->turn);
  return end (rp, &call, rp->p->repo_ops.remove (&call, rp->self, ref, &act), "remove", err);
}

gboolean
cs_rp_maintain (struct cs_rp *rp, guint64 older_than, gboolean dry_run, GError **err)
{
  NEED (maintain);
  g_autofree char *seconds = g_strdup_printf ("%" G_GUINT64_FORMAT, older_than);
  struct capstan_kv kv[] = { { "older_than", seconds }, { "dry_run", dry_run ? "true" : "false" } };
  struct capstan_action act = { .struct_size = sizeof act, .params = kv, .n_params = 2 };
  struct capstan_call call;
  cs_call_init (&call, rp->p, rp->options, &rp->turn);
  return end (rp, &call, rp->p->repo_ops.maintain (&call, rp->self, &act), "maintain", err);
}
