/* Images that go to a repository and come from it, whole and cut short.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/kit/kit.h"
#include "core/kit/streams.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/plugin/rp.h"
#include <string.h>

/* ---- an image there ---- */

struct image {
  struct kit *k;
  char *name;              /* "capstan-contract-1a2b3c4d/app" */
  struct kit_source *source;
  struct cs_entry *entry;  /* as it was resolved last, or NULL */
  gboolean pushed;         /* by us, so it is taken away in the end */
};

static void
image_end (gpointer data)
{
  struct image *i = data;
  if (i->pushed && i->k->plugin->repo_ops.remove != NULL) {
    g_clear_pointer (&i->entry, cs_entry_free);
    struct capstan_kv kv = { "suffix", i->k->o->suffix };
    struct capstan_query q = { .struct_size = sizeof q, .name = i->name, .params = &kv, .n_params = 1 };
    if (cs_rp_resolve (i->k->rp, &q, &i->entry, NULL))
      cs_rp_remove (i->k->rp, i->entry->entry.ref, NULL);
  }
  if (i->entry != NULL)
    cs_entry_free (i->entry);
  kit_source_free (i->source);
  g_free (i->name);
  g_free (i);
}

static struct image *
image_new (struct kit *k)
{
  struct image *i = g_new0 (struct image, 1);
  kit_cleanup (image_end, i);
  i->k = k;
  i->name = k->o->image != NULL ? g_strdup (k->o->image)
                                : g_strdup_printf ("capstan-contract-%08x/app", (unsigned) g_random_int ());
  i->source = kit_source_new (i->name, k->o->suffix);
  return i;
}

static gboolean
resolve (struct image *i, GError **err)
{
  struct capstan_kv kv = { "suffix", i->k->o->suffix };
  struct capstan_query q = { .struct_size = sizeof q, .name = i->name, .params = &kv, .n_params = 1 };
  g_clear_pointer (&i->entry, cs_entry_free);
  return cs_rp_resolve (i->k->rp, &q, &i->entry, err);
}

/* The request; `e' is what it points to. */
static struct capstan_push_req
push_request (const struct image *i, struct capstan_entry *e, struct capstan_kv *kv)
{
  *kv = (struct capstan_kv) { "suffix", i->k->o->suffix };
  *e = (struct capstan_entry) { .struct_size = sizeof *e, .name = i->name, .arch = "x86_64", .kind = "image",
    .version = "1", .format = "raw", .sha256 = i->source->files[0].sha256, .size = i->source->files[0].size,
    .created = INT64_MIN, .files = i->source->list };
  return (struct capstan_push_req) { .struct_size = sizeof (struct capstan_push_req), .entry = e,
    .message = "capstan plugin test", .params = kv, .n_params = 1 };
}

static gboolean
push (struct image *i, const char *if_match, const char *if_none_match, GError **err)
{
  struct capstan_kv kv;
  struct cs_pushed p = { NULL, NULL, NULL };
  struct capstan_entry e;
  struct capstan_push_req q = push_request (i, &e, &kv);
  q.if_match = if_match;
  q.if_none_match = if_none_match;
  gboolean ok = cs_rp_push (i->k->rp, &q, &i->source->base, &p, err);
  i->pushed = i->pushed || ok;
  cs_pushed_clear (&p);
  return ok;
}

static void
need_push (struct kit *k)
{
  g_auto (GStrv) encodings = g_strsplit (cs_rp_encodings (k->rp), ",", 0);
  if (!(k->bits & CAPSTAN_REPO_PUSH))
    kit_skip ("it takes no images");
  if (k->o->image != NULL)
    kit_skip ("the image of --image is only read");
  if (!g_strv_contains ((const char *const *) encodings, "none"))
    kit_skip ("it takes encoded images only");
}

static const struct capstan_file *
file_of (const struct image *i, const char *role)
{
  const struct capstan_file *const *f = i->entry->entry.files;
  for (; f != NULL && *f != NULL; f++)
    if (g_strcmp0 ((*f)->role, role) == 0)
      return *f;
  return NULL;
}

/* An image that is there: pushed for this case, or the one of --image. */
static struct image *
target (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  if (k->o->image == NULL && !(k->bits & CAPSTAN_REPO_PUSH))
    kit_skip ("it takes no images: name one that is there with --image");
  if (k->o->image == NULL)
    need_push (k);
  struct image *i = image_new (k);
  if (k->o->image == NULL)
    kit_ok ("push", push (i, NULL, "*", &err), &err);
  kit_ok ("resolve", resolve (i, &err), &err);
  kit_expect (file_of (i, "image") != NULL, "resolve of '%s' shows no file with the role 'image'", i->name);
  return i;
}

/* ---- fetching ---- */

static gboolean
fetch (struct image *i, const struct capstan_part *part, const char *if_none_match, struct kit_sink *s,
       GError **err)
{
  const struct capstan_part *parts[] = { part, NULL };
  struct capstan_fetch_req q = { .struct_size = sizeof q, .ref = i->entry->entry.ref,
    .if_none_match = if_none_match, .parts = parts };
  s->part = part;
  return cs_rp_fetch (i->k->rp, &q, &s->base, err);
}

static struct capstan_part
image_part (const struct image *i)
{
  const struct capstan_file *f = file_of (i, "image");
  return (struct capstan_part) { .struct_size = sizeof (struct capstan_part), .path = f->path, .etag = f->etag };
}

/* What came is what the source has, from `from' on. */
static void
compare (const struct image *i, guint n, const struct kit_sink *s, guint64 from)
{
  const GByteArray *want = i->source->bytes[n];
  kit_expect (s->ended == 1, "fetch called sink_end %u times, not once", s->ended);
  if (i->k->o->image != NULL)
    return; /* of that one only the server knows the bytes */
  kit_expect (s->got->len == want->len, "%u bytes of %s came, not %u", s->got->len, i->source->files[n].path,
              want->len);
  kit_expect (memcmp (s->got->data + from, want->data + from, want->len - from) == 0,
              "other bytes of %s came than were pushed", i->source->files[n].path);
}

static void
fetch_whole (struct image *i)
{
  g_autoptr (GError) err = NULL;
  struct capstan_part part = image_part (i);
  struct kit_sink *s = kit_sink_new ();
  kit_ok ("fetch", fetch (i, &part, NULL, s, &err), &err);
  compare (i, 0, s, 0);
  kit_sink_free (s);
}

/* ---- cases ---- */

static void
fetch_case (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct image *i = target (k);
  fetch_whole (i);
  const struct capstan_file *index = file_of (i, "index");
  if (index == NULL && k->o->image != NULL)
    return;
  kit_expect (index != NULL, "resolve shows no file with the role 'index'");
  struct capstan_part part = { .struct_size = sizeof part, .path = index->path };
  struct kit_sink *s = kit_sink_new ();
  kit_ok ("fetch of the index", fetch (i, &part, NULL, s, &err), &err);
  compare (i, 1, s, 0);
  kit_sink_free (s);
}

static gboolean
is_listed (struct image *i)
{
  g_autofree char *page = NULL;
  struct capstan_kv kv = { "suffix", i->k->o->suffix };
  for (gboolean first = TRUE; first || page != NULL; first = FALSE) {
    g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify) cs_entry_free);
    g_autoptr (GError) err = NULL;
    struct capstan_query q = { .struct_size = sizeof q, .page = page, .params = &kv, .n_params = 1 };
    char *next = NULL;
    kit_ok ("list", cs_rp_list (i->k->rp, &q, found, &next, &err), &err);
    for (guint n = 0; n < found->len; n++)
      if (strcmp (((struct cs_entry *) g_ptr_array_index (found, n))->entry.name, i->name) == 0)
        return g_free (next), TRUE;
    g_free (page);
    page = next;
  }
  return FALSE;
}

static void
life (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  need_push (k);
  struct image *i = target (k);
  kit_expect (!(k->bits & CAPSTAN_REPO_LIST) || is_listed (i), "the listing lacks the image that was pushed");
  kit_source_change (i->source);
  kit_ok ("push over what is there", push (i, i->entry->entry.etag, NULL, &err), &err);
  kit_ok ("resolve after the second push", resolve (i, &err), &err);
  fetch_whole (i);
  if (k->plugin->repo_ops.remove == NULL)
    return;
  g_autofree char *ref = g_strdup (i->entry->entry.ref);
  kit_ok ("remove", cs_rp_remove (k->rp, ref, &err), &err);
  kit_refused (k, "resolve of what was removed", resolve (i, &err), &err, CAPSTAN_E_NOTFOUND, i->name);
  kit_ok ("remove of what is gone already", cs_rp_remove (k->rp, ref, &err), &err);
}

/* if_none_match, if_match: of what changed meanwhile nothing is overwritten. */
static void
conditions (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct image *i = target (k);
  if (i->entry->entry.etag != NULL) {
    struct capstan_part part = image_part (i);
    struct kit_sink *s = kit_sink_new ();
    kit_refused (k, "fetch of an entry that is the same still", fetch (i, &part, i->entry->entry.etag, s, &err),
                 &err, CAPSTAN_E_NOT_MODIFIED, NULL);
    kit_expect (s->begun == 0, "fetch called sink_begin, and then answered E_NOT_MODIFIED");
    kit_sink_free (s);
  }
  need_push (k);
  g_autofree char *old = g_strdup (i->entry->entry.etag);
  kit_source_change (i->source);
  kit_refused (k, "push with if_none_match '*' over an image", push (i, NULL, "*", &err), &err,
               CAPSTAN_E_CONFLICT, NULL);
  kit_ok ("push with if_match", push (i, old, NULL, &err), &err);
  kit_source_change (i->source);
  kit_refused (k, "push with the if_match of before", push (i, old, NULL, &err), &err, CAPSTAN_E_CONFLICT, NULL);
}

/* From the middle, and from the start where the file is another by now. */
static void
resume (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct image *i = target (k);
  struct capstan_part part = image_part (i);
  if (!(k->bits & CAPSTAN_REPO_RESUME))
    kit_skip ("it always starts at the beginning");
  const struct capstan_file *f = file_of (i, "image"); /* the caller's may be small */
  part.offset = MIN (300001, f->wire_size / 2);        /* not said: UINT64_MAX */
  if (part.etag != NULL) {
    struct kit_sink *s = kit_sink_new ();
    kit_ok ("fetch from the middle", fetch (i, &part, NULL, s, &err), &err);
    compare (i, 0, s, s->resumed ? part.offset : 0);
    kit_sink_free (s);
  }
  part.etag = "\"another\"";
  struct kit_sink *s = kit_sink_new ();
  kit_ok ("fetch from the middle of a file that changed", fetch (i, &part, NULL, s, &err), &err);
  kit_expect (!s->resumed, "sink_begin was told an etag that nothing there has");
  compare (i, 0, s, 0);
  kit_sink_free (s);
}

/* The sink refuses: that code comes back, sink_end does not come, and the next fetch goes well. */
static void
sink_fails (struct kit *k)
{
  struct image *i = target (k);
  struct capstan_part part = image_part (i);
  for (guint at = 0; at < 2; at++) {
    g_autoptr (GError) err = NULL;
    struct kit_sink *s = kit_sink_new ();
    s->fail_begin = at == 0;
    s->fail_write = at == 1;
    kit_refused (k, at == 0 ? "fetch into a sink that refuses to begin" : "fetch into a sink that is full",
                 fetch (i, &part, NULL, s, &err), &err, CAPSTAN_E_QUOTA, KIT_FULL);
    kit_expect (s->ended == 0, "fetch called sink_end after the sink had failed");
    kit_sink_free (s);
    fetch_whole (i);
  }
}

static void
cancel_fetch (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct image *i = target (k);
  struct capstan_part part = image_part (i);
  struct kit_sink *s = kit_sink_new ();
  s->cancel = TRUE;
  gboolean done = fetch (i, &part, NULL, s, &err);
  cs_cancel_reset ();
  kit_refused (k, "fetch that was cancelled in the middle", done, &err, CAPSTAN_E_CANCELLED, NULL);
  kit_expect (s->ended == 0, "fetch was cancelled and called sink_end");
  kit_sink_free (s);
  fetch_whole (i);
}

/* Nothing of a push that ends early is seen under the final name, and the next one goes well. */
static void
cut_push (struct kit *k, gboolean cancel)
{
  g_autoptr (GError) err = NULL;
  need_push (k);
  struct image *i = image_new (k);
  i->source->cancel = cancel;
  i->source->fail = !cancel;
  gboolean done = push (i, NULL, "*", &err);
  cs_cancel_reset ();
  kit_refused (k, cancel ? "push that was cancelled in the middle" : "push of a file that cannot be read", done,
               &err, cancel ? CAPSTAN_E_CANCELLED : CAPSTAN_E_IO, cancel ? NULL : KIT_UNREADABLE);
  kit_refused (k, "resolve after a push that failed", resolve (i, &err), &err, CAPSTAN_E_NOTFOUND, NULL);
  i->source->cancel = i->source->fail = FALSE;
  kit_ok ("push after one that failed", push (i, NULL, "*", &err), &err);
  kit_ok ("resolve", resolve (i, &err), &err);
  fetch_whole (i);
}

static void
cancel_push (struct kit *k)
{
  cut_push (k, TRUE);
}

static void
source_fails (struct kit *k)
{
  cut_push (k, FALSE);
}

/* ---- struct by struct against the plugin itself, with no core in between ---- */

static void
fetch_nothing (struct kit *k, void *self, GHashTable *options)
{
  static const struct capstan_part part = { .struct_size = sizeof part, .path = "capstan-contract/no/such.file" };
  static const struct capstan_part *const parts[] = { &part, NULL };
  struct capstan_fetch_req q = { .struct_size = sizeof q, .parts = parts };
  struct kit_sink *s = kit_sink_new ();
  struct capstan_call c;
  g_autoptr (GError) err = NULL;
  KIT_POISONED (struct capstan_fetch_rsp, rsp);
  cs_call_init (&c, k->plugin, options, NULL);
  s->base.call = &c;
  int rc = k->plugin->repo_ops.fetch (&c, self, &q, &s->base, &rsp);
  kit_refused (k, "fetch of a file that is not there", cs_call_end (&c, rc, "fetch", &err), &err,
               CAPSTAN_E_NOTFOUND, "such.file");
  KIT_UNTOUCHED ("fetch", rsp);
  kit_expect (s->begun == 0, "fetch called sink_begin for a file that is not there");
  kit_sink_free (s);
}

static void
push_nothing (struct kit *k, void *self, GHashTable *options)
{
  struct image *i = image_new (k);
  struct capstan_kv kv;
  struct capstan_entry e;
  struct capstan_push_req q = push_request (i, &e, &kv);
  struct capstan_call c;
  g_autoptr (GError) err = NULL;
  KIT_POISONED (struct capstan_push_rsp, rsp);
  q.if_none_match = "*";
  i->source->fail = TRUE;
  cs_call_init (&c, k->plugin, options, NULL);
  i->source->base.call = &c;
  int rc = k->plugin->repo_ops.push (&c, self, &q, &i->source->base, &rsp);
  i->source->base.call = NULL;
  kit_refused (k, "push of a file that cannot be read", cs_call_end (&c, rc, "push", &err), &err,
               CAPSTAN_E_IO, KIT_UNREADABLE);
  KIT_UNTOUCHED ("push", rsp);
  i->source->fail = FALSE; /* what was begun is finished, so that it can be taken away */
  kit_ok ("push after one that failed", push (i, NULL, "*", &err), &err);
}

static void
outputs (struct kit *k)
{
  const struct capstan_repo_ops *o = &k->plugin->repo_ops;
  g_autoptr (GHashTable) options = cs_options_read (k->plugin, k->o->options, NULL);
  g_autoptr (GError) err = NULL;
  struct capstan_call c;
  void *self;
  cs_call_init (&c, k->plugin, options, NULL);
  int rc = o->open (&c, k->o->url, &self);
  kit_ok ("open", cs_call_end (&c, rc, "open", &err), &err);
  fetch_nothing (k, self, options);
  if ((k->bits & CAPSTAN_REPO_PUSH) && k->o->image == NULL)
    push_nothing (k, self, options);
  cs_call_init (&c, k->plugin, options, NULL); /* close follows a failed call */
  o->close (&c, self);
  cs_call_end (&c, 0, "close", NULL);
}

const struct kit_case kit_transfer[] = {
  { "outputs", "an operation that fails leaves its answers alone", outputs, TRUE },
  { "fetch", "image and index come as they were pushed", fetch_case, TRUE },
  { "push", "push, listing, push over it, fetch, remove", life, TRUE },
  { "conditions", "what changed meanwhile is not overwritten, what did not is not sent", conditions, TRUE },
  { "resume", "a fetch goes on in the middle, of the same file only", resume, TRUE },
  { "sink-fails", "the core's error of a fetch comes back unchanged", sink_fails, TRUE },
  { "source-fails", "the core's error of a push comes back, and nothing is left there", source_fails, TRUE },
  { "cancel-fetch", "a fetch ends when it is cancelled, and can be done again", cancel_fetch, TRUE },
  { "cancel-push", "a push ends when it is cancelled, and leaves nothing there", cancel_push, TRUE },
  { .name = NULL } };
