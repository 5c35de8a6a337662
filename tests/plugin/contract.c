/* What every plugin must hold to. CAPSTAN_TEST_PLUGIN=NAME runs it through that one; exit
 * status 77 where it cannot work here. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/loader.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct cs_plugin *plugin;
static struct cs_hv *hv;
static char *disk;

static char nobody[] = "2e4bd5d8-0000-4000-8000-00000000dead"; /* the id of no machine */

/* It failed in words: the plugin is named and something is said after it. */
static void
failed (gboolean done, GError **err, int code)
{
  assert_false (done);
  assert_non_null (*err);
  assert_non_null (strstr ((*err)->message, plugin->name));
  assert_null (strstr ((*err)->message, "gave no reason"));
  if (code != 0)
    assert_int_equal ((*err)->code, code);
  g_clear_error (err);
}

static void
ok (gboolean done, const GError *err)
{
  if (!done)
    fail_msg ("%s", err->message);
}

/* Every byte but the size is poison, to see what a failing operation touches. */
#define POISONED(type, v)                                                                \
  type v, v##_before;                                                                    \
  memset (&v, 0xa5, sizeof v);                                                           \
  v.struct_size = sizeof v;                                                              \
  memcpy (&v##_before, &v, sizeof v)
#define UNTOUCHED(v) assert_memory_equal (&v, &v##_before, sizeof v)

struct machine {
  struct capstan_disk disk;
  const struct capstan_disk *disks[2];
  struct capstan_serial serial;
  const struct capstan_serial *serials[2];
  struct capstan_kv hold;
  struct capstan_vm_spec spec;
  char *uuid, *name, *log, *socket, *dir;
};

static struct machine *
machine_new (void)
{
  struct machine *m = g_new0 (struct machine, 1);
  m->dir = g_get_current_dir ();
  m->uuid = cs_uuid_new ();
  m->name = g_strdup_printf ("capstan-%.8s", m->uuid);
  m->log = g_build_filename (m->dir, m->name, NULL);
  m->socket = g_strdup_printf ("%s/s-%.8s", m->dir, m->uuid);
  m->disk = (struct capstan_disk) { .struct_size = sizeof m->disk, .flags = CAPSTAN_F_BOOT,
    .path = disk, .format = "raw", .size = 1024 * 1024 };
  m->disks[0] = &m->disk;
  m->serial = (struct capstan_serial) { .struct_size = sizeof m->serial, .role = "console",
    .log = m->log, .socket = m->socket };
  m->serials[0] = &m->serial;
  m->spec = (struct capstan_vm_spec) { .struct_size = sizeof m->spec, .name = m->name,
    .title = "contract", .uuid = m->uuid, .arch = "x86_64", .guest = "osv", .run_dir = m->dir,
    .cpus = 1, .memory = 64 << 20, .disks = m->disks, .serials = m->serials };
  for (gsize i = 0; i < plugin->provider.n_vm_options; i++)
    if (strcmp (plugin->provider.vm_options[i].key, "hold") == 0) {
      m->hold = (struct capstan_kv) { "hold", "true" }; /* one that would end at once */
      m->spec.params = &m->hold;
      m->spec.n_params = 1;
    }
  return m;
}

static void
machine_free (struct machine *m)
{
  g_free (m->uuid);
  g_free (m->name);
  g_free (m->log);
  g_free (m->socket);
  g_free (m->dir);
  g_free (m);
}

static guint
state (const struct cs_vm_ref *r)
{
  g_autoptr (cs_vm) vm = NULL;
  g_autoptr (GError) err = NULL;
  ok (cs_hv_info (hv, r, &vm, &err), err);
  return vm->info.state;
}

/* ---- options ---- */

static void
unknown_option (void **st)
{
  g_autoptr (GError) err = NULL;
  const char *bad[] = { "no-such-option=1", NULL }, *no_value[] = { "novalue", NULL };
  assert_null (cs_hv_open (plugin->name, bad, &err));
  assert_non_null (strstr (err->message, "no-such-option"));
  failed (FALSE, &err, CS_E_USAGE);
  assert_null (cs_hv_open (plugin->name, no_value, &err));
  failed (FALSE, &err, CS_E_USAGE);
}

static void
unknown_params (void **st)
{
  g_autoptr (GError) err = NULL;
  struct machine *m = machine_new ();
  struct capstan_kv kv = { "no-such-param", "1" };
  struct cs_vm_ref ref = { NULL, NULL };
  m->spec.params = &kv;
  m->spec.n_params = 1;
  failed (cs_hv_check (hv, &m->spec, &err), &err, CS_E_USAGE);
  failed (cs_hv_create (hv, &m->spec, &ref, &err), &err, CS_E_USAGE);
  assert_null (ref.id);
  m->spec.n_params = 0;
  m->disk.params = &kv;
  m->disk.n_params = 1;
  failed (cs_hv_check (hv, &m->spec, &err), &err, CS_E_USAGE);
  machine_free (m);
}

static void
tables (void **st)
{
  const struct capstan_provider *p = &plugin->provider;
  const struct capstan_option *all[] = { p->options, p->vm_options, p->disk_options, p->nic_options };
  const gsize n[] = { p->n_options, p->n_vm_options, p->n_disk_options, p->n_nic_options };
  assert_non_null (p->summary);
  assert_non_null (plugin->head.version);
  assert_non_null (plugin->head.license);
  for (guint t = 0; t < G_N_ELEMENTS (all); t++)
    for (gsize i = 0; i < n[t]; i++) {
      const struct capstan_option *o = &all[t][i];
      assert_non_null (o->help);
      if (o->type == CAPSTAN_OPT_CHOICE)
        assert_non_null (o->choices);
      if (o->def == NULL)
        continue;
      g_autofree char *v = cs_option_value (plugin->name, "option", all[t], n[t], o->key, o->def, NULL);
      assert_non_null (v); /* a default is a value of its type */
    }
}

static void
option_types (void **st)
{
  static const struct capstan_option t[] = {
    { .key = "n", .type = CAPSTAN_OPT_UINT }, { .key = "b", .type = CAPSTAN_OPT_BOOL },
    { .key = "s", .type = CAPSTAN_OPT_SIZE },
    { .key = "c", .type = CAPSTAN_OPT_CHOICE, .choices = "x,y" } };
  static const char *const good[][3] = { { "n", "7", "7" }, { "b", "true", "true" },
                                         { "s", "2K", "2048" }, { "c", "y", "y" } };
  static const char *const bad[][2] = { { "n", "-1" }, { "n", "" }, { "n", "1x" }, { "b", "yes" },
    { "s", "much" }, { "c", "z" }, { "n", "99999999999999999999" } };
  g_autoptr (GError) err = NULL;
  for (guint i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autofree char *v = cs_option_value (plugin->name, "option", t, 4, good[i][0], good[i][1], NULL);
    assert_string_equal (v, good[i][2]);
  }
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    failed (cs_option_value (plugin->name, "option", t, 4, bad[i][0], bad[i][1], &err) != NULL, &err,
            CS_E_USAGE);
  assert_null (cs_option_value (plugin->name, "option", t, 4, "q", "1", &err));
  assert_non_null (strstr (err->message, "n, b, s, c")); /* those that there are */
}

/* ---- capabilities ---- */

static void
caps (void **st)
{
  g_autoptr (GError) err = NULL;
  struct capstan_caps c;
  const struct capstan_hypervisor_ops *o = &plugin->hv_ops;
  ok (cs_hv_caps (hv, &c, &err), err);
  assert_true ((c.bits & ~plugin->provider.caps) == 0); /* it narrows, never widens */
  assert_true (!(c.bits & CAPSTAN_HV_PAUSE) || (o->pause != NULL && o->resume != NULL));
  assert_true (!(c.bits & CAPSTAN_HV_NEEDS_IMPORT) || o->image_import != NULL);
  assert_true (o->create != NULL && o->destroy != NULL && o->start != NULL && o->stop != NULL &&
               o->info != NULL && o->close != NULL);
}

/* A missing operation is refused in words, never called. */
static void
null_ops (void **st)
{
  g_autoptr (GError) err = NULL;
  struct cs_vm_ref r = { nobody, NULL };
  struct capstan_hypervisor_ops saved = plugin->hv_ops;
  memset (&plugin->hv_ops, 0, sizeof plugin->hv_ops);
  failed (cs_hv_start (hv, &r, 0, &err), &err, CAPSTAN_E_UNSUPPORTED);
  failed (cs_hv_pause (hv, &r, &err), &err, CAPSTAN_E_UNSUPPORTED);
  failed (cs_hv_console (hv, &r, "console", &err) >= 0, &err, CAPSTAN_E_UNSUPPORTED);
  plugin->hv_ops = saved;
}

/* ---- failure ---- */

/* Struct by struct against the plugin itself, with no core in between. */
static void
outputs_untouched (void **st)
{
  const struct capstan_hypervisor_ops *o = &plugin->hv_ops;
  g_autoptr (GHashTable) options = cs_options_read (plugin, NULL, NULL);
  g_autoptr (GError) err = NULL;
  struct capstan_call c;
  void *self;
  struct machine *m = machine_new ();
  cs_call_init (&c, plugin, options, NULL);
  int rc = o->open (&c, &self);
  ok (cs_call_end (&c, rc, "open", &err), err);

  m->disk.path = "/nonexistent/disk";
  m->disk.format = "no-such-format";
  POISONED (struct capstan_vm_ref, ref);
  cs_call_init (&c, plugin, options, NULL);
  rc = o->create (&c, self, &m->spec, &ref);
  failed (cs_call_end (&c, rc, "create", &err), &err, 0);
  UNTOUCHED (ref);

  struct capstan_vm_ref gone = { .struct_size = sizeof gone, .id = nobody };
  struct capstan_console_req q = { .struct_size = sizeof q, .want = CAPSTAN_CONSOLE_FD };
  POISONED (struct capstan_console_rsp, rsp);
  cs_call_init (&c, plugin, options, NULL);
  rc = o->console (&c, self, &gone, &q, &rsp);
  failed (cs_call_end (&c, rc, "console", &err), &err, 0);
  UNTOUCHED (rsp);

  cs_call_init (&c, plugin, options, NULL); /* close follows a failed call */
  o->close (&c, self);
  cs_call_end (&c, 0, "close", NULL);
  machine_free (m);
}

static void
unknown_machine (void **st)
{
  g_autoptr (GError) err = NULL;
  struct cs_vm_ref r = { nobody, NULL };
  assert_int_equal (state (&r), CAPSTAN_VM_GONE);
  failed (cs_hv_start (hv, &r, 0, &err), &err, CAPSTAN_E_NOTFOUND);
  failed (cs_hv_resume (hv, &r, &err), &err, CAPSTAN_E_NOTFOUND);
  ok (cs_hv_destroy (hv, &r, CAPSTAN_F_FORCE, &err), err); /* gone already */
}

/* What was opened twice is closed twice, and neither close is felt by the other. */
static void
double_close (void **st)
{
  g_autoptr (GError) err = NULL;
  struct capstan_caps c;
  struct cs_hv *a = cs_hv_open (plugin->name, NULL, &err), *b = cs_hv_open (plugin->name, NULL, &err);
  struct cs_vm_ref r = { nobody, NULL };
  ok (a != NULL && b != NULL, err);
  failed (cs_hv_start (a, &r, 0, &err), &err, CAPSTAN_E_NOTFOUND); /* also after a failed call */
  cs_hv_close (a);
  ok (cs_hv_caps (b, &c, &err), err);
  assert_int_equal (state (&r), CAPSTAN_VM_GONE);
  cs_hv_close (b);
  cs_hv_close (NULL);
  ok (cs_hv_caps (hv, &c, &err), err);
}

/* ---- a life ---- */

/* The console says whatever it has to, and then goes on. */
static gboolean
stays_open (int con)
{
  char buf[4096];
  struct pollfd f = { con, POLLIN, 0 };
  gssize n = 1;
  while (n > 0 && poll (&f, 1, 200) == 1)
    n = read (con, buf, sizeof buf);
  return n > 0;
}

static void
life (void **st)
{
  g_autoptr (GError) err = NULL;
  g_autoptr (cs_vm) vm = NULL;
  struct machine *m = machine_new ();
  struct cs_vm_ref r = { NULL, NULL };
  ok (cs_hv_check (hv, &m->spec, &err), err);
  ok (cs_hv_create (hv, &m->spec, &r, &err), err);
  assert_int_equal (state (&r), CAPSTAN_VM_STOPPED);
  ok (cs_hv_start (hv, &r, CAPSTAN_F_PAUSED, &err), err);
  assert_int_equal (state (&r), CAPSTAN_VM_PAUSED);
  failed (cs_hv_destroy (hv, &r, 0, &err), &err, 0); /* not while it is there */
  cs_autofd int con = cs_hv_console (hv, &r, "console", &err);
  ok (con >= 0, err);
  assert_true (fcntl (con, F_GETFD) & FD_CLOEXEC);
  ok (cs_hv_resume (hv, &r, &err), err);
  assert_int_equal (state (&r), CAPSTAN_VM_RUNNING);
  failed (cs_hv_start (hv, &r, 0, &err), &err, 0); /* it runs */
  failed (cs_hv_resume (hv, &r, &err), &err, 0);

  double began = cs_now ();
  struct cs_vm *const poison = (struct cs_vm *) 0x5a;
  struct cs_vm *untouched = poison;
  failed (cs_hv_wait (hv, &r, CAPSTAN_VM_STOPPED, 100, &untouched, &err), &err, CAPSTAN_E_TIMEOUT);
  assert_true (stays_open (con)); /* while it runs */
  assert_ptr_equal (untouched, poison);
  assert_true (cs_now () - began < 10);

  ok (cs_hv_stop (hv, &r, CAPSTAN_F_FORCE, 0, &err), err);
  ok (cs_hv_wait (hv, &r, CAPSTAN_VM_STOPPED, 5000, &vm, &err), err);
  assert_int_equal (vm->info.state, CAPSTAN_VM_STOPPED);
  char buf[4096]; /* its console ends with it */
  struct pollfd f = { con, POLLIN, 0 };
  gssize n = 1;
  while (n > 0 && poll (&f, 1, 5000) == 1)
    n = read (con, buf, sizeof buf);
  assert_true (n <= 0);
  ok (cs_hv_destroy (hv, &r, 0, &err), err);
  ok (cs_hv_destroy (hv, &r, 0, &err), err); /* twice is fine */
  assert_int_equal (state (&r), CAPSTAN_VM_GONE);
  assert_int_equal (access (disk, F_OK), 0); /* files of the spec are the core's */
  cs_vm_ref_clear (&r);
  machine_free (m);
}

static gpointer
cancel_soon (gpointer data)
{
  g_usleep (200 * 1000);
  cs_cancel ();
  return NULL;
}

static void
cancel_in_the_middle (void **st)
{
  g_autoptr (GError) err = NULL;
  struct machine *m = machine_new ();
  struct cs_vm_ref r = { NULL, NULL };
  ok (cs_hv_create (hv, &m->spec, &r, &err), err);
  ok (cs_hv_start (hv, &r, 0, &err), err);
  GThread *t = g_thread_new ("cancel", cancel_soon, NULL);
  double began = cs_now ();
  gboolean done = cs_hv_wait (hv, &r, CAPSTAN_VM_STOPPED, 0, NULL, &err);
  g_thread_join (t);
  cs_cancel_reset ();
  failed (done, &err, CAPSTAN_E_CANCELLED);
  assert_true (cs_now () - began < 10);
  ok (cs_hv_destroy (hv, &r, CAPSTAN_F_FORCE, &err), err);
  assert_int_equal (state (&r), CAPSTAN_VM_GONE);
  cs_vm_ref_clear (&r);
  machine_free (m);
}

/* ---- the core's side: threads ---- */

static struct {
  GMutex mutex;
  GCond cond;
  gboolean same; /* what is waited for is another call of the same handle */
  guint in[2], most[2], all, most_all, saw_cancel;
} overlap;

static gpointer
ask_cancelled (gpointer call)
{
  return GINT_TO_POINTER (cs_host.cancelled (call));
}

/* Stays for a while, or until another call is in as well. The machine's id says which handle
 * it came through. */
static int
slow_info (struct capstan_call *call, void *self, const struct capstan_vm_ref *r,
           const struct capstan_action *a, struct capstan_list *list)
{
  guint h = *r->id == 'b';
  gint64 end = g_get_monotonic_time () + 100 * 1000;
  g_mutex_lock (&overlap.mutex);
  overlap.in[h]++;
  overlap.all++;
  overlap.most[h] = MAX (overlap.most[h], overlap.in[h]);
  overlap.most_all = MAX (overlap.most_all, overlap.all);
  g_cond_broadcast (&overlap.cond);
  while ((overlap.same ? overlap.in[h] : overlap.all) < 2 && g_cond_wait_until (&overlap.cond, &overlap.mutex, end))
    ;
  g_mutex_unlock (&overlap.mutex);
  GThread *t = g_thread_new ("cancelled", ask_cancelled, call); /* from any thread, at any time */
  gboolean cancelled = GPOINTER_TO_INT (g_thread_join (t)) != 0;
  g_mutex_lock (&overlap.mutex);
  overlap.saw_cancel += cancelled;
  overlap.in[h]--;
  overlap.all--;
  g_mutex_unlock (&overlap.mutex);
  return 0;
}

struct caller { struct cs_hv *hv; char id[2]; };

static gpointer
call_often (gpointer data)
{
  struct caller *c = data;
  struct cs_vm_ref r = { c->id, NULL };
  for (guint i = 0; i < 5; i++)
    if (!cs_hv_info (c->hv, &r, NULL, NULL))
      return NULL;
  return c;
}

/* Two threads on each of two handles. */
static void
run_callers (guint32 model)
{
  GThread *t[4];
  struct caller c[4];
  g_autoptr (cs_hv) other = cs_hv_open (plugin->name, NULL, NULL);
  struct cs_hv *const handles[2] = { hv, other };
  struct capstan_hypervisor_ops saved = plugin->hv_ops;
  guint32 threads = plugin->provider.threads;
  assert_non_null (other);
  memset (overlap.most, 0, sizeof overlap.most);
  overlap.most_all = overlap.saw_cancel = 0;
  overlap.same = model == CAPSTAN_THREADS_ANY;
  plugin->hv_ops.info = slow_info;
  plugin->provider.threads = model;
  for (guint i = 0; i < 4; i++) {
    c[i] = (struct caller) { handles[i % 2], { i % 2 ? 'b' : 'a', '\0' } };
    t[i] = g_thread_new ("caller", call_often, &c[i]);
  }
  gboolean all = TRUE;
  for (guint i = 0; i < 4; i++)
    all = g_thread_join (t[i]) != NULL && all;
  plugin->hv_ops = saved;
  plugin->provider.threads = threads;
  assert_true (all);
}

static void
threads (void **st)
{
  run_callers (CAPSTAN_THREADS_ONE);
  assert_int_equal (overlap.most_all, 1);
  run_callers (99); /* of a later header: the first, as the ABI says */
  assert_int_equal (overlap.most_all, 1);
  run_callers (CAPSTAN_THREADS_PER_OPEN);
  assert_int_equal (overlap.most[0], 1);
  assert_int_equal (overlap.most[1], 1);
  assert_int_equal (overlap.most_all, 2);
  assert_int_equal (overlap.saw_cancel, 0);
  cs_cancel ();
  run_callers (CAPSTAN_THREADS_ANY);
  cs_cancel_reset ();
  assert_true (overlap.most[0] > 1 || overlap.most[1] > 1);
  assert_true (overlap.saw_cancel > 0);
}

/* ---- the core's side: services ---- */

static void
programs (void **st)
{
  struct capstan_call c;
  const char *echo[] = { "sh", "-c", "cat; echo x >&2; exit 3", NULL }, *none[] = { "/no/such", NULL };
  const char *nap[] = { "sleep", "100", NULL };
  struct capstan_run_req q = { .struct_size = sizeof q, .argv = echo, .in_fd = -1, .out_fd = -1,
    .err_fd = -1, .input = "abc", .input_len = 3 };
  cs_call_init (&c, plugin, NULL, NULL);
  for (guint background = 0; background < 2; background++) {
    struct capstan_run_rsp r = { .struct_size = sizeof r };
    q.flags = background ? CAPSTAN_F_NO_WAIT : 0;
    assert_int_equal (cs_host.run (&c, &q, &r), 0);
    int64_t pid = r.pid;
    if (background)
      assert_int_equal (cs_host.run_wait (&c, pid, &r), 0);
    assert_int_equal (r.exit_status, 3);
    assert_string_equal (r.out, "abc");
    assert_string_equal (r.err, "x\n");
    if (background) /* once */
      assert_int_equal (cs_host.run_wait (&c, pid, &r), -CAPSTAN_E_NOTFOUND);
  }
  POISONED (struct capstan_run_rsp, rsp);
  q.flags = 0;
  q.out_max = 2;
  assert_int_equal (cs_host.run (&c, &q, &rsp), -CAPSTAN_E_LIMIT);
  UNTOUCHED (rsp);
  q.argv = none;
  assert_int_equal (cs_host.run (&c, &q, &rsp), -CAPSTAN_E_NOTFOUND);
  UNTOUCHED (rsp);
  struct capstan_run_rsp r = { .struct_size = sizeof r };
  q.argv = nap;
  q.flags = CAPSTAN_F_NO_WAIT;
  assert_int_equal (cs_host.run (&c, &q, &r), 0);
  assert_int_equal (cs_host.run_kill (&c, r.pid, 15), 0);
  assert_int_equal (cs_host.run_kill (&c, r.pid, 15), -CAPSTAN_E_NOTFOUND);
  cs_call_end (&c, 0, "", NULL);
}

static void
services (void **st)
{
  struct capstan_call c;
  g_autoptr (GError) err = NULL;
  cs_call_init (&c, plugin, NULL, NULL);
  assert_null (cs_host.dir (&c, "../x"));
  assert_non_null (cs_host.dir (&c, "state"));
  assert_int_equal (cs_host.lock (&c, "a/b"), -CAPSTAN_E_INVAL);
  assert_int_equal (cs_host.lock (&c, "a"), 0);
  assert_true (cs_host.time_left_ms (&c) == UINT64_MAX);
  assert_int_equal (cs_host.sink_write (NULL, "x", 1), -CAPSTAN_E_UNSUPPORTED);
  failed (cs_call_end (&c, -CAPSTAN_E_UNSUPPORTED, "fetch", &err), &err, CAPSTAN_E_UNSUPPORTED);
  cs_call_init (&c, plugin, NULL, NULL);
  assert_int_equal (cs_host.error (&c, 4711, ENOENT, "it"), -CAPSTAN_E_INTERNAL);
  failed (cs_call_end (&c, -4711, "x", &err), &err, CAPSTAN_E_INTERNAL);
  cs_call_init (&c, plugin, NULL, NULL); /* a silent failure gets words */
  assert_false (cs_call_end (&c, -CAPSTAN_E_IO, "start", &err));
  assert_non_null (strstr (err->message, "start failed and gave no reason"));
}

static void
emitted (void **st)
{
  char name[] = "vm", key[] = "k", value[] = "v", mode[] = "nat", fwd[] = "tcp:127.0.0.1:1:2";
  const char *forwards[] = { fwd, NULL };
  struct capstan_kv kv = { key, value };
  struct capstan_nic n = { .struct_size = sizeof n, .mode = mode, .forwards = forwards };
  const struct capstan_nic *nics[] = { &n, NULL };
  struct capstan_vm_info i = { .struct_size = sizeof i, .name = name, .state = 99, .props = &kv,
    .n_props = 1, .nics = nics };
  g_autoptr (cs_vm) vm = cs_vm_copy (&i);
  *name = *key = *value = *mode = *fwd = '#';
  assert_int_equal (vm->info.state, CAPSTAN_VM_UNKNOWN);
  assert_string_equal (vm->info.name, "vm");
  assert_string_equal (vm->info.props[0].key, "k");
  assert_string_equal (vm->info.nics[0]->mode, "nat");
  assert_string_equal (vm->info.nics[0]->forwards[0], "tcp:127.0.0.1:1:2");
  char ref[] = "r", path[] = "p";
  struct capstan_file f = { .struct_size = sizeof f, .path = path, .size = 5 };
  const struct capstan_file *files[] = { &f, NULL };
  /* one from a header that ended before size */
  struct capstan_entry e = { .struct_size = offsetof (struct capstan_entry, size), .ref = ref,
    .size = 1, .files = files };
  struct cs_entry *short_one = cs_entry_copy (&e);
  e.struct_size = sizeof e;
  struct cs_entry *full = cs_entry_copy (&e);
  *ref = *path = '#';
  assert_true (short_one->entry.size == UINT64_MAX);
  assert_null (short_one->entry.files[0]);
  assert_string_equal (full->entry.ref, "r");
  assert_string_equal (full->entry.files[0]->path, "p");
  cs_entry_free (short_one);
  cs_entry_free (full);
}

int
main (void)
{
  const char *name = g_getenv ("CAPSTAN_TEST_PLUGIN");
  g_autoptr (GError) err = NULL;
  g_autofree char *cwd = g_get_current_dir ();
  plugin = cs_plugin_find ("hypervisor", name != NULL ? name : "null");
  if (plugin == NULL || !cs_plugin_load (plugin, &err) ||
      (hv = cs_hv_open (plugin->name, NULL, &err)) == NULL || !cs_hv_probe (hv, &err)) {
    printf ("SKIP: %s\n", err != NULL ? err->message : "no such plugin");
    return 77;
  }
  disk = g_build_filename (cwd, "disk.raw", NULL);
  char block[1024] = "";
  strcpy (block + 512, "/hello of the contract");
  if (!cs_write_file (disk, block, sizeof block, 0666, NULL) || truncate (disk, 1024 * 1024) != 0)
    return 99;
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (unknown_option), cmocka_unit_test (unknown_params), cmocka_unit_test (tables),
    cmocka_unit_test (option_types), cmocka_unit_test (caps), cmocka_unit_test (null_ops),
    cmocka_unit_test (outputs_untouched), cmocka_unit_test (unknown_machine), cmocka_unit_test (double_close),
    cmocka_unit_test (life), cmocka_unit_test (cancel_in_the_middle), cmocka_unit_test (threads), cmocka_unit_test (programs),
    cmocka_unit_test (services), cmocka_unit_test (emitted) };
  int rc = cmocka_run_group_tests (tests, NULL, NULL);
  cs_hv_close (hv);
  g_free (disk);
  return rc;
}
