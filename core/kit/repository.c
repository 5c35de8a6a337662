/* What every repository plugin has to hold to, but for moving images (transfer.c).
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/kit/kit.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/plugin/rp.h"
#include <string.h>

static const char nothing[] = "capstan-contract/no-such-image"; /* the name of no image */
static const char nonsense[] = "no-such-scheme:///a?b";

static struct capstan_query
query (struct kit *k, const char *name, struct capstan_kv *kv)
{
  *kv = (struct capstan_kv) { "suffix", k->o->suffix };
  return (struct capstan_query) { .struct_size = sizeof (struct capstan_query), .name = name,
    .params = kv, .n_params = 1 };
}

/* It takes the URL it was given, by its claims or because it was named, and not any URL. */
static void
url (struct kit *k)
{
  const struct capstan_repo_ops *o = &k->plugin->repo_ops;
  g_autoptr (GHashTable) options = cs_options_read (k->plugin, k->o->options, NULL);
  g_autoptr (GError) err = NULL;
  struct capstan_call c;
  void *const poison = (void *) 0x5a;
  void *self = poison;
  if (o->match != NULL) {
    cs_call_init (&c, k->plugin, NULL, NULL);
    int rc = o->match (&c, nonsense);
    cs_call_end (&c, rc, "match", NULL);
    kit_expect (rc == 0, "match answers %d for '%s'", rc, nonsense);
    cs_call_init (&c, k->plugin, NULL, NULL);
    rc = o->match (&c, k->o->url);
    cs_call_end (&c, rc, "match", NULL);
    kit_expect (rc == 1, "match answers %d for '%s', which it works on", rc, k->o->url);
  }
  cs_call_init (&c, k->plugin, options, NULL);
  int rc = o->open (&c, nonsense, &self);
  kit_refused (k, "open of a URL that means nothing", cs_call_end (&c, rc, "open", &err), &err, 0,
               "no-such-scheme");
  kit_expect (self == poison, "open failed and yet answered");
}

static void
caps (struct kit *k)
{
  const struct capstan_repo_ops *o = &k->plugin->repo_ops;
  static const struct { guint64 bit; const char *name; gsize at; } needs[] = {
    { CAPSTAN_REPO_PUSH, "push", offsetof (struct capstan_repo_ops, push) },
    { CAPSTAN_REPO_LIST, "list", offsetof (struct capstan_repo_ops, list) },
    { CAPSTAN_REPO_SEARCH, "list", offsetof (struct capstan_repo_ops, list) } };
  kit_expect (o->close != NULL, "there is no close");
  kit_expect (o->resolve != NULL, "there is no resolve");
  kit_expect (o->fetch != NULL, "there is no fetch");
  kit_expect ((k->bits & ~k->plugin->provider.caps) == 0,
              "caps answers more than the provider promises: it may narrow, not widen");
  for (guint i = 0; i < G_N_ELEMENTS (needs); i++) {
    void *op;
    memcpy (&op, (const char *) o + needs[i].at, sizeof op);
    kit_expect (!(k->bits & needs[i].bit) || op != NULL, "caps promises %s, and there is no such operation",
                needs[i].name);
  }
  g_auto (GStrv) encodings = g_strsplit (cs_rp_encodings (k->rp), ",", 0);
  for (char **e = encodings; *e != NULL; e++)
    kit_expect (**e != '\0' && strchr (*e, ' ') == NULL,
                "formats is '%s': words like 'gzip,none,zstd', without spaces", cs_rp_encodings (k->rp));
}

/* A missing operation is refused in words, never called. */
static void
missing (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct capstan_repo_ops saved = k->plugin->repo_ops;
  struct capstan_kv kv;
  struct capstan_query q = query (k, nothing, &kv);
  struct cs_entry *e = NULL;
  memset (&k->plugin->repo_ops, 0, sizeof k->plugin->repo_ops);
  gboolean removed = cs_rp_remove (k->rp, nothing, &err);
  k->plugin->repo_ops = saved;
  kit_refused (k, "remove without an operation", removed, &err, CAPSTAN_E_UNSUPPORTED, NULL);
  memset (&k->plugin->repo_ops, 0, sizeof k->plugin->repo_ops);
  gboolean resolved = cs_rp_resolve (k->rp, &q, &e, &err);
  k->plugin->repo_ops = saved;
  kit_refused (k, "resolve without an operation", resolved, &err, CAPSTAN_E_UNSUPPORTED, NULL);
}

static void
not_there (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct capstan_kv kv;
  struct capstan_query q = query (k, nothing, &kv);
  struct cs_entry *e = NULL;
  kit_refused (k, "resolve of an image that is not there", cs_rp_resolve (k->rp, &q, &e, &err), &err,
               CAPSTAN_E_NOTFOUND, "no-such-image");
  kit_expect (e == NULL, "resolve failed and yet answered");
}

static void
list (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  g_autofree char *page = NULL;
  struct capstan_kv kv;
  if (!(k->bits & CAPSTAN_REPO_LIST))
    kit_skip ("it lists nothing");
  for (guint pages = 0; pages < 100000; pages++) {
    g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_entry_free);
    struct capstan_query q = query (k, NULL, &kv);
    char *next = NULL;
    q.page = page;
    if (!cs_rp_list (k->rp, &q, found, &next, &err) && err->code == CAPSTAN_E_UNSUPPORTED)
      kit_skip ("%s", err->message);
    kit_ok ("list", err == NULL, &err);
    for (guint i = 0; i < found->len; i++) {
      const char *name = ((struct cs_entry *) g_ptr_array_index (found, i))->entry.name;
      kit_expect (name != NULL, "list emits an entry without a name");
      if (!cs_name_check ("image name", name, TRUE, &err))
        kit_fail ("list emits what is no name of an image: %s", err->message);
    }
    kit_expect (next == NULL || g_strcmp0 (next, page) != 0, "list answers the page it was asked for as the next");
    g_free (page);
    page = next;
    if (page == NULL)
      return;
  }
  kit_fail ("list has answered 100000 pages, and there is another");
}

/* What was opened twice is closed twice, and neither close is felt by the other. */
static void
double_close (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct capstan_kv kv;
  struct capstan_query q = query (k, nothing, &kv);
  struct cs_rp *two[2];
  struct cs_entry *e = NULL;
  for (guint i = 0; i < 2; i++) {
    two[i] = cs_rp_open (k->o->url, k->plugin->name, k->o->options, &err);
    kit_ok ("another open", two[i] != NULL, &err);
    kit_refused (k, "resolve of nothing", cs_rp_resolve (two[i], &q, &e, &err), &err, CAPSTAN_E_NOTFOUND, NULL);
  }
  cs_rp_close (two[0]); /* also after a failed call */
  kit_refused (k, "resolve after another open was closed", cs_rp_resolve (two[1], &q, &e, &err), &err,
               CAPSTAN_E_NOTFOUND, NULL);
  cs_rp_close (two[1]);
  kit_refused (k, "resolve after two others were closed", cs_rp_resolve (k->rp, &q, &e, &err), &err,
               CAPSTAN_E_NOTFOUND, NULL);
}

/* ---- threads, as the plugin says it takes them ---- */

struct caller { struct kit *k; struct cs_rp *rp; };

static gpointer
ask_often (gpointer data)
{
  struct caller *c = data;
  struct capstan_kv kv;
  struct capstan_query q = query (c->k, nothing, &kv);
  for (guint i = 0; i < 3; i++) {
    g_autoptr (GError) err = NULL;
    struct cs_entry *e = NULL;
    if (cs_rp_resolve (c->rp, &q, &e, &err) || err->code != CAPSTAN_E_NOTFOUND)
      return err != NULL ? g_strdup (err->message) : g_strdup ("it was found");
  }
  return NULL;
}

static void
threads (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct cs_rp *other = cs_rp_open (k->o->url, k->plugin->name, k->o->options, &err);
  kit_ok ("a second open", other != NULL, &err);
  struct caller c[2] = { { k, k->rp }, { k, other } };
  GThread *t[4];
  g_autofree char *why = NULL;
  for (guint i = 0; i < G_N_ELEMENTS (t); i++)
    t[i] = g_thread_new ("caller", ask_often, &c[i % 2]);
  for (guint i = 0; i < G_N_ELEMENTS (t); i++) {
    char *w = g_thread_join (t[i]);
    if (why == NULL)
      why = w;
    else
      g_free (w);
  }
  cs_rp_close (other);
  kit_expect (why == NULL, "resolve in one of four threads: %s", why);
}

const struct kit_case kit_repository[] = {
  { "url", "it takes its URL, and says what is wrong with another", url, TRUE },
  { "caps", "what it says it can do it has operations for", caps, TRUE },
  { "missing", "a missing operation is refused in words", missing, TRUE },
  { "not-there", "an image that is not there is said to be so", not_there, TRUE },
  { "list", "the listing ends, and is of names", list, TRUE },
  { "close", "opened twice and closed twice, also after a failure", double_close, TRUE },
  { "threads", "four threads on two opens", threads, TRUE },
  { .name = NULL } };
