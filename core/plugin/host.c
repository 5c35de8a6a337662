/* The services that plugins are given. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/loader.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/spawn.h"
#include "core/base/util.h"
#include "core/store/store.h"
#include <poll.h>
#include <signal.h>
#include <string.h>

static int
host_error (struct capstan_call *c, uint32_t code, int sys, const char *msg)
{
  char *m = sys != 0 ? g_strdup_printf ("%s: %s", msg, g_strerror (sys)) : g_strdup (msg);
  g_free (c->message);
  c->message = m;
  c->code = code != 0 ? code : CAPSTAN_E_INTERNAL;
  return -(int) c->code;
}

static void
host_retry_after (struct capstan_call *c, uint32_t ms)
{
}

static void
host_log (struct capstan_call *c, uint32_t level, const char *msg)
{
  const char *name = c->plugin->name;
  if (level == CAPSTAN_LOG_ERROR || level == CAPSTAN_LOG_WARN)
    cs_warn ("%s: %s", name, msg);
  else if (level == CAPSTAN_LOG_INFO)
    cs_info ("%s: %s", name, msg);
  else
    cs_debug ("%s: %s", name, msg);
}

static int
host_cancelled (struct capstan_call *c)
{
  return cs_cancelled ();
}

static int
check_cancelled (struct capstan_call *c)
{
  return cs_cancelled () ? host_error (c, CAPSTAN_E_CANCELLED, 0, "cancelled") : 0;
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
  return UINT64_MAX;
}

static const char *
host_keep (struct capstan_call *c, const char *s, size_t n)
{
  if (s == NULL)
    return NULL;
  return g_string_chunk_insert_len (c->arena, s, n == SIZE_MAX ? -1 : (gssize) n);
}

static const char *
host_option (struct capstan_call *c, const char *key)
{
  const char *v = c->options != NULL ? g_hash_table_lookup (c->options, key) : NULL;
  const struct capstan_provider *p = &c->plugin->provider;
  for (size_t i = 0; v == NULL && i < p->n_options; i++) {
    const struct capstan_option *o =
        (const void *) ((const char *) p->options + i * p->option_size);
    if (strcmp (o->key, key) == 0)
      v = o->def;
  }
  return v;
}

/* CAPSTAN_SECRET_<REALM>_<KEY>, until there is a credentials file. */
static const char *
host_secret (struct capstan_call *c, const char *realm, const char *key)
{
  g_autofree char *name = g_strdup_printf ("CAPSTAN_SECRET_%s_%s", realm, key);
  for (char *p = name; *p != '\0'; p++)
    *p = g_ascii_isalnum (*p) ? g_ascii_toupper (*p) : '_';
  return host_keep (c, g_getenv (name), SIZE_MAX);
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
  if (strcmp (which, "run") == 0)
    dir = g_build_filename (g_get_user_runtime_dir (), "capstan", sub, NULL);
  else
    dir = cs_root_path (strcmp (which, "cache") == 0 ? "cache" : "state", sub, NULL);
  if (!cs_mkdirs (dir, 0700, &err)) {
    host_error (c, CAPSTAN_E_IO, 0, err->message);
    return NULL;
  }
  return host_keep (c, dir, SIZE_MAX);
}

static int
from_gerror (struct capstan_call *c, GError *e)
{
  return host_error (c, (uint32_t) e->code, 0, e->message);
}

static int
host_run (struct capstan_call *c, const struct capstan_run_req *q, struct capstan_run_rsp *r)
{
  g_autoptr (GError) err = NULL;
  struct cs_spawn s = CS_SPAWN_INIT;
  if (q->flags & CAPSTAN_F_NO_WAIT)
    return host_error (c, CAPSTAN_E_UNSUPPORTED, 0, "run: CAPSTAN_F_NO_WAIT is not there yet");
  s.argv = q->argv;
  s.env = q->env;
  s.dir = q->dir;
  s.input = q->input;
  s.input_len = q->input_len;
  s.in_fd = q->in_fd;
  s.out_fd = q->out_fd;
  s.err_fd = q->err_fd;
  s.pass_fds = q->pass_fds;
  s.n_pass_fds = q->n_pass_fds;
  s.out_max = q->out_max;
  if (!cs_spawn_run (&s, &err)) {
    cs_spawn_clear (&s);
    return from_gerror (c, err);
  }
  r->exit_status = s.status;
  r->out = host_keep (c, s.out, s.out_len);
  r->err = host_keep (c, s.err, s.err_len);
  r->out_len = s.out_len;
  r->err_len = s.err_len;
  cs_spawn_clear (&s);
  return 0;
}

static int
host_run_wait (struct capstan_call *c, int64_t pid, struct capstan_run_rsp *r)
{
  return host_error (c, CAPSTAN_E_UNSUPPORTED, 0, "run_wait is not there yet");
}

static int
host_run_kill (struct capstan_call *c, int64_t pid, int32_t sig)
{
  return host_error (c, CAPSTAN_E_UNSUPPORTED, 0, "run_kill is not there yet");
}

static int
host_lock (struct capstan_call *c, const char *name)
{
  g_autoptr (GError) err = NULL;
  g_autofree char *dir = cs_root_path ("locks", NULL);
  g_autofree char *path = g_strdup_printf ("%s/plugin-%s-%s", dir, c->plugin->name, name);
  if (strchr (name, '/') != NULL)
    return host_error (c, CAPSTAN_E_INVAL, 0, "lock: a name has no '/'");
  if (!cs_mkdirs (dir, 0755, &err))
    return from_gerror (c, err);
  int fd = cs_lock_file (path, TRUE, TRUE, &err);
  if (fd < 0)
    return from_gerror (c, err);
  g_ptr_array_add (c->locks, GINT_TO_POINTER (fd));
  return 0;
}

static int
host_emit_vm (struct capstan_list *l, const struct capstan_vm_info *i)
{
  g_ptr_array_add (l->vms, cs_vm_copy (i));
  return 0;
}

/* Repositories: their sinks and sources come with them. These answers have no call to hang
 * an error text on; the operation that got one says what it was doing. */
static int no_entry (struct capstan_list *l, const struct capstan_entry *e) { return -CAPSTAN_E_UNSUPPORTED; }
static int no_begin (struct capstan_sink *s, const struct capstan_file *f, uint64_t *o) { return -CAPSTAN_E_UNSUPPORTED; }
static int no_write (struct capstan_sink *s, const void *p, size_t n) { return -CAPSTAN_E_UNSUPPORTED; }
static int no_pwrite (struct capstan_sink *s, uint64_t o, const void *p, size_t n) { return -CAPSTAN_E_UNSUPPORTED; }
static int no_hole (struct capstan_sink *s, uint64_t n) { return -CAPSTAN_E_UNSUPPORTED; }
static int no_end (struct capstan_sink *s) { return -CAPSTAN_E_UNSUPPORTED; }
static uint32_t no_count (struct capstan_source *s) { return 0; }
static const struct capstan_file *no_file (struct capstan_source *s, uint32_t i) { return NULL; }
static int64_t no_pread (struct capstan_source *s, uint32_t i, uint64_t o, void *p, size_t n) { return -CAPSTAN_E_UNSUPPORTED; }
static const char *no_get (struct capstan_source *s, const char *k) { return NULL; }
static int no_put (struct capstan_source *s, const char *k, const char *v) { return -CAPSTAN_E_UNSUPPORTED; }

const struct capstan_host cs_host = {
  .struct_size = sizeof (struct capstan_host),
  .abi_major = CAPSTAN_ABI_MAJOR, .abi_minor = CAPSTAN_ABI_MINOR,
  .error = host_error, .retry_after = host_retry_after, .log = host_log,
  .progress = host_progress, .cancelled = host_cancelled, .cancel_fd = host_cancel_fd,
  .sleep_ms = host_sleep_ms, .time_left_ms = host_time_left_ms, .keep = host_keep,
  .option = host_option, .secret = host_secret, .secret_result = host_secret_result,
  .dir = host_dir, .run = host_run, .run_wait = host_run_wait, .run_kill = host_run_kill,
  .lock = host_lock, .emit_vm = host_emit_vm, .emit_entry = no_entry,
  .sink_begin = no_begin, .sink_write = no_write, .sink_pwrite = no_pwrite,
  .sink_hole = no_hole, .sink_end = no_end, .source_count = no_count,
  .source_file = no_file, .source_pread = no_pread, .state_get = no_get, .state_put = no_put
};

void
cs_call_init (struct capstan_call *c, const struct cs_plugin *p, GHashTable *options)
{
  memset (c, 0, sizeof *c);
  c->plugin = p;
  c->options = options;
  c->arena = g_string_chunk_new (1024);
  c->locks = g_ptr_array_new ();
}

gboolean
cs_call_end (struct capstan_call *c, int rc, const char *what, GError **err)
{
  for (guint i = 0; i < c->locks->len; i++)
    close (GPOINTER_TO_INT (g_ptr_array_index (c->locks, i)));
  g_ptr_array_unref (c->locks);
  g_string_chunk_free (c->arena);
  g_autofree char *msg = c->message;
  if (rc >= 0)
    return TRUE;
  int code = -rc > CAPSTAN_E_UNTRUSTED ? CAPSTAN_E_INTERNAL : -rc;
  if (msg != NULL)
    return cs_fail (err, code, "%s: %s", c->plugin->name, msg);
  return cs_fail (err, code, "%s: %s failed and gave no reason", c->plugin->name, what);
}
