/* One operation of a plugin: its error, its memory, its locks, and copies of what it emits.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/loader.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <string.h>

/* The innermost call of this thread, for services that are not told the call. */
static GPrivate here = G_PRIVATE_INIT (NULL);

/* A model of a later header is read as the first, which is the strictest. */
static GMutex *
serial_of (struct cs_plugin *p, GMutex *open)
{
  switch (p->provider.threads) {
  case CAPSTAN_THREADS_ANY:
    return NULL;
  case CAPSTAN_THREADS_PER_OPEN:
    return open;
  default:
    return &p->one;
  }
}

void
cs_call_init (struct capstan_call *c, struct cs_plugin *p, GHashTable *options, GMutex *open)
{
  memset (c, 0, sizeof *c);
  c->plugin = p;
  c->serial = serial_of (p, open);
  if (c->serial != NULL)
    g_mutex_lock (c->serial);
  c->options = options;
  g_mutex_init (&c->mutex);
  c->arena = g_string_chunk_new (1024);
  c->locks = g_ptr_array_new ();
  g_private_set (&here, c);
}

gboolean
cs_call_end (struct capstan_call *c, int rc, const char *what, GError **err)
{
  for (guint i = 0; i < c->locks->len; i++)
    close (GPOINTER_TO_INT (g_ptr_array_index (c->locks, i)));
  g_ptr_array_unref (c->locks);
  g_string_chunk_free (c->arena);
  g_clear_pointer (&c->secrets, g_ptr_array_unref);
  g_mutex_clear (&c->mutex);
  g_private_set (&here, NULL);
  if (c->serial != NULL)
    g_mutex_unlock (c->serial);
  g_autofree char *msg = c->message;
  if (rc >= 0)
    return TRUE;
  int code = rc < -CAPSTAN_E_UNTRUSTED ? CAPSTAN_E_INTERNAL : -rc;
  if (msg != NULL && *msg != '\0')
    return cs_fail (err, code, "%s: %s", c->plugin->name, msg);
  return cs_fail (err, code, "%s: %s failed and gave no reason", c->plugin->name, what);
}

gboolean
cs_plugin_probe (struct cs_plugin *p, GHashTable *options, GError **err)
{
  struct capstan_call c;
  int (*probe) (struct capstan_call *) =
      p->provider.kind == CAPSTAN_KIND_REPO ? p->repo_ops.probe : p->hv_ops.probe;
  if (probe == NULL)
    return TRUE;
  cs_call_init (&c, p, options, NULL);
  return cs_call_end (&c, probe (&c), "probe", err);
}

char *
cs_call_text (struct capstan_call *c, const char *msg)
{
  char *text = g_utf8_make_valid (msg != NULL ? msg : "", -1);
  g_mutex_lock (&c->mutex);
  for (guint i = 0; c->secrets != NULL && i < c->secrets->len; i++) {
    g_auto (GStrv) parts = g_strsplit (text, g_ptr_array_index (c->secrets, i), 0);
    g_free (text);
    text = g_strjoinv ("***", parts);
  }
  g_mutex_unlock (&c->mutex);
  return text;
}

int
cs_call_error (struct capstan_call *c, uint32_t code, int sys_errno, const char *msg)
{
  if (code == 0 || code > CAPSTAN_E_UNTRUSTED)
    code = CAPSTAN_E_INTERNAL;
  if (c == NULL)
    return -(int) code;
  g_autofree char *text = cs_call_text (c, msg);
  char *m = sys_errno != 0 ? g_strdup_printf ("%s: %s", text, g_strerror (sys_errno))
                           : g_steal_pointer (&text);
  g_mutex_lock (&c->mutex);
  g_free (c->message);
  c->message = m;
  c->code = code;
  g_mutex_unlock (&c->mutex);
  return -(int) code;
}

int
cs_call_error_here (uint32_t code, const char *msg)
{
  return cs_call_error (g_private_get (&here), code, 0, msg);
}

const char *
cs_call_keep (struct capstan_call *c, const char *s, gsize n)
{
  if (s == NULL)
    return NULL;
  g_mutex_lock (&c->mutex);
  const char *r = n == SIZE_MAX ? g_string_chunk_insert (c->arena, s)
                                : g_string_chunk_insert_len (c->arena, s, (gssize) n);
  g_mutex_unlock (&c->mutex);
  return r;
}

/* ---- deep copies ---- */

struct copy { GStringChunk *strings; GPtrArray *blocks; };

static const char *
text (const struct copy *c, const char *s)
{
  return s != NULL ? g_string_chunk_insert (c->strings, s) : NULL;
}

static gpointer
block (const struct copy *c, gsize n)
{
  gpointer p = g_malloc0 (MAX (n, 1));
  g_ptr_array_add (c->blocks, p);
  return p;
}

static const char *const *
texts (const struct copy *c, const char *const *list)
{
  guint n = 0;
  while (list != NULL && list[n] != NULL)
    n++;
  const char **r = block (c, (n + 1) * sizeof *r);
  for (guint i = 0; i < n; i++)
    r[i] = text (c, list[i]);
  return r;
}

static const struct capstan_kv *
kvs (const struct copy *c, const struct capstan_kv *kv, gsize n)
{
  struct capstan_kv *r = block (c, n * sizeof *r);
  for (gsize i = 0; i < n; i++) {
    r[i].key = text (c, kv[i].key);
    r[i].value = text (c, kv[i].value);
  }
  return r;
}

/* What the plugin knows of the struct, over zeros. */
#define TAKE(to, from)                                                                   \
  memcpy ((to), (from), MIN ((gsize) (from)->struct_size, sizeof *(to)));                \
  (to)->struct_size = sizeof *(to)

static const struct capstan_nic *
nic (const struct copy *c, const struct capstan_nic *from)
{
  struct capstan_nic *n = block (c, sizeof *n);
  TAKE (n, from);
  n->mode = text (c, n->mode);
  n->network = text (c, n->network);
  n->mac = text (c, n->mac);
  n->model = text (c, n->model);
  n->device = text (c, n->device);
  n->forwards = texts (c, n->forwards);
  n->params = kvs (c, n->params, n->n_params);
  return n;
}

struct cs_vm *
cs_vm_copy (const struct capstan_vm_info *from)
{
  struct cs_vm *v = g_new0 (struct cs_vm, 1);
  v->strings = g_string_chunk_new (256);
  v->blocks = g_ptr_array_new_with_free_func (g_free);
  struct copy c = { v->strings, v->blocks };
  struct capstan_vm_info *i = &v->info;
  guint n = 0;
  i->started = i->stopped = INT64_MIN;
  TAKE (i, from);
  if (i->state > CAPSTAN_VM_SAVED)
    i->state = CAPSTAN_VM_UNKNOWN;
  if (i->reason > CAPSTAN_REASON_FAILED)
    i->reason = CAPSTAN_REASON_UNKNOWN;
  i->id = text (&c, i->id);
  i->name = text (&c, i->name);
  i->detail = text (&c, i->detail);
  i->addresses = texts (&c, i->addresses);
  i->resources = texts (&c, i->resources);
  i->props = kvs (&c, i->props, i->n_props);
  while (i->nics != NULL && i->nics[n] != NULL)
    n++;
  const struct capstan_nic **nics = block (&c, (n + 1) * sizeof *nics);
  for (guint k = 0; k < n; k++)
    nics[k] = nic (&c, i->nics[k]);
  i->nics = nics;
  return v;
}

void
cs_vm_free (struct cs_vm *v)
{
  if (v == NULL)
    return;
  g_string_chunk_free (v->strings);
  g_ptr_array_unref (v->blocks);
  g_free (v);
}

static const struct capstan_file *
entry_file (const struct copy *c, const struct capstan_file *from)
{
  struct capstan_file *f = block (c, sizeof *f);
  f->size = f->wire_size = UINT64_MAX;
  TAKE (f, from);
  const char **all[] = { &f->path, &f->role, &f->format, &f->encoding,
                         &f->sha256, &f->wire_sha256, &f->etag };
  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    *all[i] = text (c, *all[i]);
  return f;
}

struct cs_entry *
cs_entry_copy (const struct capstan_entry *from)
{
  struct cs_entry *r = g_new0 (struct cs_entry, 1);
  r->strings = g_string_chunk_new (256);
  r->blocks = g_ptr_array_new_with_free_func (g_free);
  struct copy c = { r->strings, r->blocks };
  struct capstan_entry *e = &r->entry;
  guint n = 0;
  e->size = UINT64_MAX;
  e->created = INT64_MIN;
  TAKE (e, from);
  const char **all[] = { &e->name, &e->version, &e->arch, &e->kind,
                         &e->format, &e->ref, &e->sha256, &e->etag };
  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    *all[i] = text (&c, *all[i]);
  e->props = kvs (&c, e->props, e->n_props);
  while (e->files != NULL && e->files[n] != NULL)
    n++;
  const struct capstan_file **files = block (&c, (n + 1) * sizeof *files);
  for (guint i = 0; i < n; i++)
    files[i] = entry_file (&c, e->files[i]);
  e->files = files;
  return r;
}

void
cs_entry_free (struct cs_entry *e)
{
  if (e == NULL)
    return;
  g_string_chunk_free (e->strings);
  g_ptr_array_unref (e->blocks);
  g_free (e);
}
