/* The services that plugins are given. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/loader.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/store/store.h"
#include <poll.h>
#include <string.h>

static void
host_retry_after (struct capstan_call *c, uint32_t ms)
{
}

static void
host_log (struct capstan_call *c, uint32_t level, const char *msg)
{
  const char *name = c->plugin->name;
  g_autofree char *text = g_utf8_make_valid (msg != NULL ? msg : "", -1);
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
  cs_debug ("%s: %s %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT, c->plugin->name, phase, done, total);
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
  struct pollfd f = { cs_cancel_fd (), POLLIN, 0 };
  double end = cs_now () + ms / 1000.0;
  for (double left; (left = end - cs_now ()) > 0 && !cs_cancelled ();)
    poll (&f, 1, (int) (left * 1000) + 1);
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

/* CAPSTAN_SECRET_<REALM>_<KEY>, until there is a credentials file. */
static const char *
host_secret (struct capstan_call *c, const char *realm, const char *key)
{
  g_autofree char *name = g_strdup_printf ("CAPSTAN_SECRET_%s_%s", realm, key);
  for (char *p = name; *p != '\0'; p++)
    *p = g_ascii_isalnum (*p) ? g_ascii_toupper (*p) : '_';
  return cs_call_keep (c, g_getenv (name), SIZE_MAX);
}

static void
host_secret_result (struct capstan_call *c, const char *realm, const char *key, int accepted)
{
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

/* Sinks and sources come with the repositories; until then there is none to be had. */
static int
no_sink (void)
{
  return cs_call_error_here (CAPSTAN_E_UNSUPPORTED, "this capstan has no sink to fetch into");
}

static int
no_source (void)
{
  return cs_call_error_here (CAPSTAN_E_UNSUPPORTED, "this capstan has no source to push from");
}

static int
no_begin (struct capstan_sink *s, const struct capstan_file *f, uint64_t *ret)
{
  return no_sink ();
}

static int
no_write (struct capstan_sink *s, const void *p, size_t n)
{
  return no_sink ();
}

static int
no_pwrite (struct capstan_sink *s, uint64_t off, const void *p, size_t n)
{
  return no_sink ();
}

static int
no_hole (struct capstan_sink *s, uint64_t n)
{
  return no_sink ();
}

static int
no_end (struct capstan_sink *s)
{
  return no_sink ();
}

static uint32_t
no_count (struct capstan_source *s)
{
  return 0;
}

static const struct capstan_file *
no_file (struct capstan_source *s, uint32_t i)
{
  no_source ();
  return NULL;
}

static int64_t
no_pread (struct capstan_source *s, uint32_t i, uint64_t off, void *p, size_t n)
{
  return no_source ();
}

static const char *
no_get (struct capstan_source *s, const char *key)
{
  return NULL;
}

static int
no_put (struct capstan_source *s, const char *key, const char *value)
{
  return no_source ();
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
  .sink_begin = no_begin, .sink_write = no_write, .sink_pwrite = no_pwrite,
  .sink_hole = no_hole, .sink_end = no_end, .source_count = no_count,
  .source_file = no_file, .source_pread = no_pread, .state_get = no_get, .state_put = no_put
};
