/* The services that plugins are given. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/loader.h"
#include "core/plugin/creds.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/base/util.h"
#include "core/store/store.h"
#include <string.h>
#include <sys/stat.h>

static void
host_retry_after (struct capstan_call *c, uint32_t ms)
{
  g_mutex_lock (&c->mutex);
  c->retry_ms = ms;
  g_mutex_unlock (&c->mutex);
}

static void
host_log (struct capstan_call *c, uint32_t level, const char *msg)
{
  const char *name = c->plugin->name;
  g_autofree char *text = cs_call_text (c, msg);
  cs_progress_hide ();
  if (level == CAPSTAN_LOG_ERROR || level == CAPSTAN_LOG_WARN)
    cs_warn ("%s: %s", name, text);
  else if (level == CAPSTAN_LOG_INFO)
    cs_info ("%s: %s", name, text);
  else
    cs_debug ("%s: %s", name, text);
}

static int
host_cancelled (struct capstan_call *c)
{
  return cs_cancelled ();
}

static int
check_cancelled (struct capstan_call *c)
{
  return cs_cancelled () ? cs_call_error (c, CAPSTAN_E_CANCELLED, 0, "cancelled") : 0;
}

static int
host_progress (struct capstan_call *c, const char *phase, uint64_t done, uint64_t total)
{
  if (phase != NULL && strcmp (phase, "upload") == 0)
    cs_progress_update (done); /* of the push that runs; what is fetched the sinks count */
  else
    cs_debug ("%s: %s %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT, c->plugin->name,
              phase != NULL ? phase : "-", done, total);
  return check_cancelled (c);
}

static int
host_cancel_fd (struct capstan_call *c)
{
  return cs_cancel_fd ();
}

static int
host_sleep_ms (struct capstan_call *c, uint32_t ms)
{
  cs_sleep (ms);
  return check_cancelled (c);
}

static uint64_t
host_time_left_ms (struct capstan_call *c)
{
  if (c->deadline == 0)
    return UINT64_MAX;
  double left = c->deadline - cs_now ();
  return left > 0 ? (uint64_t) (left * 1000) : 0;
}

/* The values were checked and the defaults filled in when the plugin was opened; a call
 * without them (probe, load) sees the defaults. */
static const char *
host_option (struct capstan_call *c, const char *key)
{
  const struct capstan_provider *p = &c->plugin->provider;
  if (key == NULL)
    return NULL;
  if (c->options != NULL)
    return g_hash_table_lookup (c->options, key);
  for (size_t i = 0; i < p->n_options; i++)
    if (strcmp (p->options[i].key, key) == 0)
      return p->options[i].def;
  return NULL;
}

/* What is given out is remembered, so that no message shows it. */
static const char *
host_secret (struct capstan_call *c, const char *realm, const char *key)
{
  g_autofree char *value = realm != NULL && key != NULL ? cs_secret_get (realm, key) : NULL;
  if (value == NULL)
    return NULL;
  g_mutex_lock (&c->mutex);
  if (c->secrets == NULL)
    c->secrets = g_ptr_array_new_with_free_func (g_free);
  if (strcmp (key, "username") != 0 && *value != '\0')
    g_ptr_array_add (c->secrets, g_strdup (value));
  g_mutex_unlock (&c->mutex);
  return cs_call_keep (c, value, SIZE_MAX);
}

static void
host_secret_result (struct capstan_call *c, const char *realm, const char *key, int accepted)
{
  if (realm != NULL && key != NULL)
    cs_secret_result (realm, key, accepted != 0);
}

static const char *
host_dir (struct capstan_call *c, const char *which)
{
  g_autofree char *sub = g_strdup_printf ("%s-%s", c->plugin->kind, c->plugin->name);
  g_autofree char *dir = NULL;
  g_autoptr (GError) err = NULL;
  if (which == NULL || (strcmp (which, "run") != 0 && strcmp (which, "cache") != 0 &&
                        strcmp (which, "state") != 0)) {
    cs_call_error (c, CAPSTAN_E_INVAL, 0, "dir: there is state, cache and run");
    return NULL;
  }
  if (strcmp (which, "run") == 0)
    dir = g_build_filename (g_get_user_runtime_dir (), "capstan", sub, NULL);
  else
    dir = cs_root_path (which, sub, NULL);
  if (!cs_mkdirs (dir, 0700, &err)) {
    cs_call_error (c, CAPSTAN_E_IO, 0, err->message);
    return NULL;
  }
  return cs_call_keep (c, dir, SIZE_MAX);
}

/* Has this call the lock already? It would wait for itself. */
static gboolean
is_held (struct capstan_call *c, const char *path)
{
  struct stat is, held;
  gboolean ours = FALSE;
  g_mutex_lock (&c->mutex);
  for (guint i = 0; i < c->locks->len && !ours && stat (path, &is) == 0; i++)
    ours = fstat (GPOINTER_TO_INT (c->locks->pdata[i]), &held) == 0 && held.st_ino == is.st_ino &&
           held.st_dev == is.st_dev;
  g_mutex_unlock (&c->mutex);
  return ours;
}

/* Waits for whoever has it, but not longer than the user does. */
static int
host_lock (struct capstan_call *c, const char *name)
{
  g_autofree char *dir = cs_root_path ("locks", NULL);
  g_autoptr (GError) err = NULL;
  if (name == NULL || *name == '\0' || strchr (name, '/') != NULL)
    return cs_call_error (c, CAPSTAN_E_INVAL, 0, "lock: a name is not empty and has no '/'");
  g_autofree char *path = g_strdup_printf ("%s/plugin-%s-%s", dir, c->plugin->name, name);
  if (!cs_mkdirs (dir, 0755, &err))
    return cs_call_error (c, (uint32_t) err->code, 0, err->message);
  if (is_held (c, path))
    return 0;
  for (;;) {
    g_clear_error (&err);
    int fd = cs_lock_file (path, TRUE, FALSE, &err), rc;
    if (fd >= 0) {
      g_mutex_lock (&c->mutex);
      g_ptr_array_add (c->locks, GINT_TO_POINTER (fd));
      g_mutex_unlock (&c->mutex);
      return 0;
    }
    if (err->code != CAPSTAN_E_BUSY)
      return cs_call_error (c, (uint32_t) err->code, 0, err->message);
    if ((rc = host_sleep_ms (c, 20)) != 0)
      return rc;
  }
}

static int
not_wanted (const char *what)
{
  g_autofree char *m = g_strdup_printf ("%s: this operation takes none", what);
  return cs_call_error_here (CAPSTAN_E_INVAL, m);
}

static int
host_emit_vm (struct capstan_list *l, const struct capstan_vm_info *i)
{
  if (l == NULL || l->vms == NULL || i == NULL)
    return not_wanted ("emit_vm");
  g_ptr_array_add (l->vms, cs_vm_copy (i));
  return 0;
}

static int
host_emit_entry (struct capstan_list *l, const struct capstan_entry *e)
{
  if (l == NULL || l->entries == NULL || e == NULL)
    return not_wanted ("emit_entry");
  g_ptr_array_add (l->entries, cs_entry_copy (e));
  return 0;
}

/* ---- sinks and sources: whoever made them does the work ---- */

/* A sink or source that is none, or is used when no operation runs. */
static int
none (const char *what)
{
  g_autofree char *m = g_strdup_printf ("%s: there is none in this operation", what);
  return cs_call_error_here (CAPSTAN_E_UNSUPPORTED, m);
}

static int
failed (struct capstan_call *c, const GError *e)
{
  return cs_call_error (c, e->code > 0 && e->code <= CAPSTAN_E_UNTRUSTED ? (uint32_t) e->code
                                                                         : CAPSTAN_E_INTERNAL,
                        0, e->message);
}

#define SINK(s, op, ...)                                                                 \
  g_autoptr (GError) e_ = NULL;                                                          \
  if ((s) == NULL || (s)->call == NULL)                                                  \
    return none ("sink");                                                                \
  if (check_cancelled ((s)->call) != 0)                                                  \
    return -CAPSTAN_E_CANCELLED;                                                         \
  return (s)->ops->op (__VA_ARGS__, &e_) ? 0 : failed ((s)->call, e_)

static int
host_sink_begin (struct capstan_sink *s, const struct capstan_file *f, uint64_t *ret_offset)
{
  SINK (s, begin, s, f, ret_offset);
}

static int
host_sink_write (struct capstan_sink *s, const void *p, size_t n)
{
  SINK (s, write, s, p, n);
}

static int
host_sink_pwrite (struct capstan_sink *s, uint64_t off, const void *p, size_t n)
{
  SINK (s, pwrite, s, off, p, n);
}

static int
host_sink_hole (struct capstan_sink *s, uint64_t n)
{
  SINK (s, hole, s, n);
}

static int
host_sink_end (struct capstan_sink *s)
{
  SINK (s, end, s);
}

static const struct capstan_file *
host_source_file (struct capstan_source *s, uint32_t i)
{
  const struct capstan_file *f = s != NULL && s->call != NULL ? s->ops->file (s, i) : NULL;
  if (f == NULL)
    none ("file of the source");
  return f;
}

static uint32_t
host_source_count (struct capstan_source *s)
{
  uint32_t n = 0;
  while (s != NULL && s->call != NULL && s->ops->file (s, n) != NULL)
    n++;
  return n;
}

static int64_t
host_source_pread (struct capstan_source *s, uint32_t i, uint64_t off, void *p, size_t n)
{
  g_autoptr (GError) e = NULL;
  if (s == NULL || s->call == NULL || s->ops->file (s, i) == NULL)
    return none ("file of the source");
  if (check_cancelled (s->call) != 0)
    return -CAPSTAN_E_CANCELLED;
  gssize r = s->ops->pread (s, i, off, p, n, &e);
  return r >= 0 ? r : failed (s->call, e);
}

static const char *
host_state_get (struct capstan_source *s, const char *key)
{
  return s != NULL && s->call != NULL && key != NULL
             ? cs_call_keep (s->call, s->ops->state_get (s, key), SIZE_MAX) : NULL;
}

static int
host_state_put (struct capstan_source *s, const char *key, const char *value)
{
  g_autoptr (GError) e = NULL;
  if (s == NULL || s->call == NULL || key == NULL)
    return none ("source");
  return s->ops->state_put (s, key, value, &e) ? 0 : failed (s->call, e);
}

const struct capstan_host cs_host = {
  .struct_size = sizeof (struct capstan_host),
  .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR,
  .error = cs_call_error, .retry_after = host_retry_after, .log = host_log,
  .progress = host_progress, .cancelled = host_cancelled, .cancel_fd = host_cancel_fd,
  .sleep_ms = host_sleep_ms, .time_left_ms = host_time_left_ms, .keep = cs_call_keep,
  .option = host_option, .secret = host_secret, .secret_result = host_secret_result,
  .dir = host_dir, .run = cs_host_run, .run_wait = cs_host_run_wait, .run_kill = cs_host_run_kill,
  .lock = host_lock, .emit_vm = host_emit_vm, .emit_entry = host_emit_entry,
  .sink_begin = host_sink_begin, .sink_write = host_sink_write, .sink_pwrite = host_sink_pwrite,
  .sink_hole = host_sink_hole, .sink_end = host_sink_end, .source_count = host_source_count,
  .source_file = host_source_file, .source_pread = host_source_pread,
  .state_get = host_state_get, .state_put = host_state_put
};
