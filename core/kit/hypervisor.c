/* What every hypervisor plugin has to hold to. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/kit/kit.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <fcntl.h>
#include <poll.h>
#include <string.h>

static char nobody[] = "2e4bd5d8-0000-4000-8000-00000000dead"; /* the id of no machine */

/* ---- a machine to make ---- */

struct machine {
  struct kit *k;
  struct capstan_disk disk;
  const struct capstan_disk *disks[2];
  struct capstan_serial serial;
  const struct capstan_serial *serials[2];
  struct capstan_vm_spec spec;
  struct cs_vm_ref ref; /* once it was made */
  char *uuid, *name, *log, *socket, *disk_file;
  GPtrArray *texts;     /* behind the params */
  GArray *params;
};

/* Whatever became of the case, nothing of it stays. */
static void
machine_end (gpointer data)
{
  struct machine *m = data;
  if (m->ref.id != NULL)
    cs_hv_destroy (m->k->hv, &m->ref, CAPSTAN_F_FORCE, NULL);
  cs_vm_ref_clear (&m->ref);
  g_ptr_array_unref (m->texts);
  g_array_unref (m->params);
  g_free (m->uuid);
  g_free (m->name);
  g_free (m->log);
  g_free (m->socket);
  g_free (m->disk_file);
  g_free (m);
}

/* One that boots nothing: a boot sector is not there, a command line is. */
static char *
empty_disk (struct kit *k)
{
  char block[1024] = "", *path = g_build_filename (k->dir, "disk.raw", NULL);
  g_autoptr (GError) err = NULL;
  strcpy (block + 512, k->o->cmdline != NULL ? k->o->cmdline : "/hello of the contract");
  kit_ok ("the disk", cs_write_file (path, block, sizeof block, 0666, &err), &err);
  kit_expect (truncate (path, 1024 * 1024) == 0, "%s cannot be made longer", path);
  return path;
}

static struct machine *
machine_new (struct kit *k)
{
  struct machine *m = g_new0 (struct machine, 1);
  m->k = k;
  m->texts = g_ptr_array_new_with_free_func (g_free);
  m->params = g_array_new (FALSE, FALSE, sizeof (struct capstan_kv));
  kit_cleanup (machine_end, m);
  m->uuid = cs_uuid_new ();
  m->name = g_strdup_printf ("capstan-%.8s", m->uuid);
  m->log = g_build_filename (k->dir, m->name, NULL);
  m->socket = g_strdup_printf ("%s/s-%.8s", k->dir, m->uuid);
  m->disk_file = k->o->disk != NULL ? g_strdup (k->o->disk) : empty_disk (k);
  m->disk = (struct capstan_disk) { .struct_size = sizeof m->disk, .flags = CAPSTAN_F_BOOT,
    .path = m->disk_file, .format = "raw" };
  m->disks[0] = &m->disk;
  m->serial = (struct capstan_serial) { .struct_size = sizeof m->serial, .role = "console",
    .log = m->log, .socket = m->socket };
  m->serials[0] = &m->serial;
  for (const char *const *p = k->o->machine_options; p != NULL && *p != NULL; p++) {
    char *key = g_strdup (*p), *eq = strchr (key, '=');
    kit_expect (eq != NULL, "'%s' is not KEY=VALUE", *p);
    *eq = '\0';
    struct capstan_kv kv = { key, eq + 1 };
    g_ptr_array_add (m->texts, key);
    g_array_append_val (m->params, kv);
  }
  m->spec = (struct capstan_vm_spec) { .struct_size = sizeof m->spec, .name = m->name,
    .title = "contract", .uuid = m->uuid, .arch = "x86_64", .guest = "osv", .run_dir = k->dir,
    .cpus = 1, .memory = 64 << 20, .kernel = k->o->kernel, .cmdline = k->o->kernel != NULL ? k->o->cmdline : NULL,
    .disks = m->disks, .serials = m->serials,
    .params = (const struct capstan_kv *) (const void *) m->params->data, .n_params = m->params->len };
  return m;
}

static void
expect_state (struct kit *k, const struct cs_vm_ref *r, guint want, const char *when)
{
  g_autoptr (cs_vm) vm = NULL;
  g_autoptr (GError) err = NULL;
  kit_ok ("info", cs_hv_info (k->hv, r, &vm, &err), &err);
  kit_expect (vm->info.state == want, "%s the machine is %s, not %s", when,
              cs_vm_state_name (vm->info.state), cs_vm_state_name (want));
}

/* Without what boots there is nothing to start. */
static void
need_boot (struct kit *k)
{
  if (k->bits & CAPSTAN_HV_NEEDS_IMPORT)
    kit_skip ("images have to be imported first, which this suite does not");
  if (!(k->bits & CAPSTAN_HV_DISK_BOOT) && k->o->kernel == NULL)
    kit_skip ("it boots no disk: give a --kernel");
}

/* ---- requests that are wrong ---- */

static void
params (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct machine *m = machine_new (k);
  struct capstan_kv kv = { "no-such-param", "1" };
  m->spec.params = &kv;
  m->spec.n_params = 1;
  kit_refused (k, "create with an unknown option of the machine",
               cs_hv_create (k->hv, &m->spec, &m->ref, &err), &err, CS_E_USAGE, "no-such-param");
  kit_expect (m->ref.id == NULL, "create failed and yet answered");
  m->spec.n_params = 0;
  m->disk.params = &kv;
  m->disk.n_params = 1;
  kit_refused (k, "create with an unknown option of a disk",
               cs_hv_create (k->hv, &m->spec, &m->ref, &err), &err, CS_E_USAGE, "no-such-param");
}

static void
caps (struct kit *k)
{
  const struct capstan_hypervisor_ops *o = &k->plugin->hv_ops;
  const struct { const char *name; gboolean there; } needed[] = {
    { "create", o->create != NULL }, { "destroy", o->destroy != NULL }, { "start", o->start != NULL },
    { "stop", o->stop != NULL }, { "info", o->info != NULL }, { "close", o->close != NULL } };
  for (guint i = 0; i < G_N_ELEMENTS (needed); i++)
    kit_expect (needed[i].there, "there is no %s", needed[i].name);
  kit_expect ((k->bits & ~k->plugin->provider.caps) == 0,
              "caps answers more than the provider promises: it may narrow, not widen");
  kit_expect (!(k->bits & CAPSTAN_HV_PAUSE) || (o->pause != NULL && o->resume != NULL),
              "CAPSTAN_HV_PAUSE is there, pause and resume are not");
  kit_expect (!(k->bits & CAPSTAN_HV_NEEDS_IMPORT) || o->image_import != NULL,
              "CAPSTAN_HV_NEEDS_IMPORT is there, image_import is not");
}

/* A missing operation is refused in words, never called. */
static void
missing (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct cs_vm_ref r = { nobody, NULL };
  struct capstan_hypervisor_ops saved = k->plugin->hv_ops;
  memset (&k->plugin->hv_ops, 0, sizeof k->plugin->hv_ops);
  gboolean done = cs_hv_start (k->hv, &r, 0, &err);
  k->plugin->hv_ops = saved;
  kit_refused (k, "start without an operation", done, &err, CAPSTAN_E_UNSUPPORTED, NULL);
}

/* Struct by struct against the plugin itself, with no core in between. */
static void
outputs (struct kit *k)
{
  const struct capstan_hypervisor_ops *o = &k->plugin->hv_ops;
  g_autoptr (GHashTable) options = cs_options_read (k->plugin, k->o->options, NULL);
  g_autoptr (GError) err = NULL;
  struct capstan_call c;
  void *self;
  struct machine *m = machine_new (k);
  cs_call_init (&c, k->plugin, options, NULL);
  int rc = o->open (&c, &self);
  kit_ok ("open", cs_call_end (&c, rc, "open", &err), &err);

  m->disk.path = "/nonexistent/disk";
  m->disk.format = "no-such-format";
  KIT_POISONED (struct capstan_vm_ref, ref);
  cs_call_init (&c, k->plugin, options, NULL);
  rc = o->create (&c, self, &m->spec, &ref);
  kit_refused (k, "create on a disk that is not there", cs_call_end (&c, rc, "create", &err), &err, 0, NULL);
  KIT_UNTOUCHED ("create", ref);

  struct capstan_vm_ref gone = { .struct_size = sizeof gone, .id = nobody };
  struct capstan_console_req q = { .struct_size = sizeof q, .want = CAPSTAN_CONSOLE_FD };
  if (o->console != NULL) {
    KIT_POISONED (struct capstan_console_rsp, rsp);
    cs_call_init (&c, k->plugin, options, NULL);
    rc = o->console (&c, self, &gone, &q, &rsp);
    kit_refused (k, "console of no machine", cs_call_end (&c, rc, "console", &err), &err, 0, NULL);
    KIT_UNTOUCHED ("console", rsp);
  }
  cs_call_init (&c, k->plugin, options, NULL); /* close follows a failed call */
  o->close (&c, self);
  cs_call_end (&c, 0, "close", NULL);
}

static void
not_there (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct cs_vm_ref r = { nobody, NULL };
  expect_state (k, &r, CAPSTAN_VM_GONE, "asked for an id of none,");
  kit_refused (k, "start of no machine", cs_hv_start (k->hv, &r, 0, &err), &err, CAPSTAN_E_NOTFOUND, nobody);
  if (k->plugin->hv_ops.resume != NULL)
    kit_refused (k, "resume of no machine", cs_hv_resume (k->hv, &r, &err), &err, CAPSTAN_E_NOTFOUND, nobody);
  kit_ok ("destroy of what is gone already", cs_hv_destroy (k->hv, &r, CAPSTAN_F_FORCE, &err), &err);
}

/* What was opened twice is closed twice, and neither close is felt by the other. */
static void
double_close (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  struct cs_hv *a = cs_hv_open (k->plugin->name, k->o->options, &err);
  kit_ok ("a second open", a != NULL, &err);
  struct cs_hv *b = cs_hv_open (k->plugin->name, k->o->options, &err);
  kit_ok ("a third open", b != NULL, &err);
  struct cs_vm_ref r = { nobody, NULL };
  kit_refused (k, "start of no machine", cs_hv_start (a, &r, 0, &err), &err, CAPSTAN_E_NOTFOUND, NULL);
  cs_hv_close (a); /* also after a failed call */
  struct cs_hv *first = k->hv;
  k->hv = b;
  expect_state (k, &r, CAPSTAN_VM_GONE, "after another open was closed,");
  k->hv = first;
  cs_hv_close (b);
  expect_state (k, &r, CAPSTAN_VM_GONE, "after two others were closed,");
}

/* ---- a life ---- */

/* Reads what the console says; TRUE: it has ended. */
static gboolean
console_ended (int con, int wait_ms)
{
  char buf[4096];
  struct pollfd f = { con, POLLIN, 0 };
  gssize n = 1;
  while (n > 0 && poll (&f, 1, wait_ms) == 1)
    n = read (con, buf, sizeof buf);
  return n <= 0;
}

static int
open_console (struct kit *k, const struct cs_vm_ref *r)
{
  g_autoptr (GError) err = NULL;
  if (k->plugin->hv_ops.console == NULL)
    return -1;
  int con = cs_hv_console (k->hv, r, "console", &err);
  kit_ok ("console", con >= 0, &err);
  kit_expect (fcntl (con, F_GETFD) & FD_CLOEXEC, "the console's descriptor is not O_CLOEXEC");
  return con;
}

/* Made, started (the CPUs waiting where it can do that), and running in the end. */
static int
bring_up (struct kit *k, struct machine *m)
{
  g_autoptr (GError) err = NULL;
  gboolean pause = (k->bits & CAPSTAN_HV_PAUSE) != 0;
  if (k->plugin->hv_ops.check != NULL)
    kit_ok ("check", cs_hv_check (k->hv, &m->spec, &err), &err);
  kit_ok ("create", cs_hv_create (k->hv, &m->spec, &m->ref, &err), &err);
  expect_state (k, &m->ref, CAPSTAN_VM_STOPPED, "after create");
  kit_ok ("start", cs_hv_start (k->hv, &m->ref, pause ? CAPSTAN_F_PAUSED : 0, &err), &err);
  if (pause)
    expect_state (k, &m->ref, CAPSTAN_VM_PAUSED, "after start with CAPSTAN_F_PAUSED");
  kit_refused (k, "destroy of a machine that is up", cs_hv_destroy (k->hv, &m->ref, 0, &err), &err, 0, NULL);
  int con = open_console (k, &m->ref);
  if (pause)
    kit_ok ("resume", cs_hv_resume (k->hv, &m->ref, &err), &err);
  expect_state (k, &m->ref, CAPSTAN_VM_RUNNING, "after the start");
  kit_refused (k, "start of a running machine", cs_hv_start (k->hv, &m->ref, 0, &err), &err, 0, NULL);
  if (pause)
    kit_refused (k, "resume of a running machine", cs_hv_resume (k->hv, &m->ref, &err), &err, 0, NULL);
  return con;
}

static void
life (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  g_autoptr (cs_vm) vm = NULL;
  need_boot (k);
  struct machine *m = machine_new (k);
  cs_autofd int con = bring_up (k, m);
  if (k->plugin->hv_ops.wait != NULL) {
    struct cs_vm *const poison = (struct cs_vm *) 0x5a;
    struct cs_vm *untouched = poison;
    kit_refused (k, "wait of 0.1 s for the end of a machine that runs",
                 cs_hv_wait (k->hv, &m->ref, CAPSTAN_VM_STOPPED, 100, &untouched, &err), &err,
                 CAPSTAN_E_TIMEOUT, NULL);
    kit_expect (untouched == poison, "wait failed and yet answered");
  }
  kit_expect (con < 0 || !console_ended (con, 200), "the console ended while the machine runs");
  kit_ok ("stop", cs_hv_stop (k->hv, &m->ref, CAPSTAN_F_FORCE, 0, &err), &err);
  if (k->plugin->hv_ops.wait != NULL) {
    kit_ok ("wait after stop", cs_hv_wait (k->hv, &m->ref, CAPSTAN_VM_STOPPED, 60000, &vm, &err), &err);
    kit_expect (vm->info.state == CAPSTAN_VM_STOPPED, "wait after stop answers that the machine is %s",
                cs_vm_state_name (vm->info.state));
  }
  expect_state (k, &m->ref, CAPSTAN_VM_STOPPED, "after stop");
  kit_expect (con < 0 || console_ended (con, 60000), "the console stays open after the machine has stopped");
  kit_ok ("destroy", cs_hv_destroy (k->hv, &m->ref, 0, &err), &err);
  kit_ok ("destroy again", cs_hv_destroy (k->hv, &m->ref, 0, &err), &err);
  expect_state (k, &m->ref, CAPSTAN_VM_GONE, "after destroy");
  kit_expect (access (m->disk_file, F_OK) == 0, "destroy took the disk, which is the core's");
}

static gpointer
cancel_soon (gpointer data)
{
  g_usleep (200 * 1000);
  cs_cancel ();
  return NULL;
}

static void
cancel (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  need_boot (k);
  if (k->plugin->hv_ops.wait == NULL)
    kit_skip ("there is no wait");
  struct machine *m = machine_new (k);
  kit_ok ("create", cs_hv_create (k->hv, &m->spec, &m->ref, &err), &err);
  kit_ok ("start", cs_hv_start (k->hv, &m->ref, 0, &err), &err);
  GThread *t = g_thread_new ("cancel", cancel_soon, NULL);
  double began = cs_now ();
  gboolean done = cs_hv_wait (k->hv, &m->ref, CAPSTAN_VM_STOPPED, 0, NULL, &err);
  double took = cs_now () - began;
  g_thread_join (t);
  cs_cancel_reset ();
  kit_refused (k, "wait that was cancelled", done, &err, CAPSTAN_E_CANCELLED, NULL);
  kit_expect (took < 30, "wait took %.0f s to notice that it was cancelled", took);
  kit_ok ("destroy by force", cs_hv_destroy (k->hv, &m->ref, CAPSTAN_F_FORCE, &err), &err);
  expect_state (k, &m->ref, CAPSTAN_VM_GONE, "after destroy by force");
}

/* ---- threads, as the plugin says it takes them ---- */

static gpointer
ask_often (gpointer data)
{
  struct cs_vm_ref r = { nobody, NULL };
  for (guint i = 0; i < 10; i++) {
    g_autoptr (cs_vm) vm = NULL;
    if (!cs_hv_info (data, &r, &vm, NULL) || vm->info.state != CAPSTAN_VM_GONE)
      return NULL;
  }
  return data;
}

static void
threads (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  g_autoptr (cs_hv) other = cs_hv_open (k->plugin->name, k->o->options, &err);
  GThread *t[4];
  gboolean all = TRUE;
  kit_ok ("a second open", other != NULL, &err);
  for (guint i = 0; i < G_N_ELEMENTS (t); i++)
    t[i] = g_thread_new ("caller", ask_often, i % 2 ? other : k->hv);
  for (guint i = 0; i < G_N_ELEMENTS (t); i++)
    all = g_thread_join (t[i]) != NULL && all;
  kit_expect (all, "info failed or answered wrongly in one of four threads");
}

const struct kit_case kit_hypervisor[] = {
  { "params", "unknown options of machine and disk are refused by name", params, TRUE },
  { "caps", "what it says it can do it has operations for", caps, TRUE },
  { "missing", "a missing operation is refused in words", missing, TRUE },
  { "outputs", "an operation that fails leaves its answers alone", outputs, TRUE },
  { "not-there", "a machine that is not there is said to be so", not_there, TRUE },
  { "close", "opened twice and closed twice, also after a failure", double_close, TRUE },
  { "life", "create, start, console, wait, stop, destroy", life, TRUE },
  { "cancel", "wait ends at once when it is cancelled", cancel, TRUE },
  { "threads", "four threads on two opens", threads, TRUE },
  { .name = NULL } };
