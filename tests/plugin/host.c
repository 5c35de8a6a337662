/* The core's side of the contract: services, threads, option values, copies of what is
 * emitted; through hypervisor-null. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/loader.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct cs_plugin *plugin;
static struct cs_hv *hv;

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

/* Every byte but the size is poison, to see what a failing operation touches. */
#define POISONED(type, v)                                                                \
  type v, v##_before;                                                                    \
  memset (&v, 0xa5, sizeof v);                                                           \
  v.struct_size = sizeof v;                                                              \
  memcpy (&v##_before, &v, sizeof v)
#define UNTOUCHED(v) assert_memory_equal (&v, &v##_before, sizeof v)

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

/* ---- threads ---- */

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

/* ---- services ---- */

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
  assert_int_equal (cs_host.lock (&c, "a"), 0); /* not a second one, which would wait for the first */
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
  g_autoptr (GError) err = NULL;
  plugin = cs_plugin_find ("hypervisor", "null");
  if (plugin == NULL || !cs_plugin_load (plugin, &err) ||
      (hv = cs_hv_open (plugin->name, NULL, &err)) == NULL) {
    printf ("SKIP: %s\n", err != NULL ? err->message : "hypervisor-null is not built");
    return 77;
  }
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (option_types), cmocka_unit_test (threads), cmocka_unit_test (programs),
    cmocka_unit_test (services), cmocka_unit_test (emitted) };
  int rc = cmocka_run_group_tests (tests, NULL, NULL);
  cs_hv_close (hv);
  return rc;
}
