/* hypervisor-kvm against libvirt and QEMU: what a machine is asked to be, it is, or it is
 * refused by name. Nothing boots: machines are started with their processors held.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/plugin/hv.h"
#include "core/base/util.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <cmocka.h>

static struct cs_hv *hv;
static char *here;

struct machine {
  char *uuid, *name, *log, *socket, *path[3];
  struct capstan_disk disk[3];
  const struct capstan_disk *disks[4];
  struct capstan_nic nic[2];
  const struct capstan_nic *nics[3];
  struct capstan_serial serial;
  const struct capstan_serial *serials[2];
  struct capstan_kv kv;
  const char *forwards[3];
  char forward[64];
  struct capstan_vm_spec spec;
};

static void
machine_init (struct machine *m)
{
  memset (m, 0, sizeof *m);
  m->uuid = cs_uuid_new ();
  m->name = g_strdup_printf ("capstan-%.8s", m->uuid);
  m->log = g_strdup_printf ("%s/%s.log", here, m->name);
  m->socket = g_strdup_printf ("%s/s-%.8s", here, m->uuid);
  for (int i = 0; i < 3; i++) {
    m->path[i] = g_strdup_printf ("%s/disk%d.raw", here, i);
    m->disk[i] = (struct capstan_disk) { .struct_size = sizeof m->disk[i], .path = m->path[i], .format = "raw" };
  }
  m->disk[0].flags = CAPSTAN_F_BOOT;
  m->disks[0] = &m->disk[0];
  for (int i = 0; i < 2; i++)
    m->nic[i] = (struct capstan_nic) { .struct_size = sizeof m->nic[i], .mode = "nat" };
  m->nics[0] = &m->nic[0];
  m->serial = (struct capstan_serial) { .struct_size = sizeof m->serial, .role = "console",
    .log = m->log, .socket = m->socket };
  m->serials[0] = &m->serial;
  m->spec = (struct capstan_vm_spec) { .struct_size = sizeof m->spec, .name = m->name, .title = "test of kvm",
    .uuid = m->uuid, .arch = "x86_64", .guest = "linux", .run_dir = here, .cpus = 1, .memory = 64 << 20,
    .disks = m->disks, .nics = m->nics, .serials = m->serials };
}

static void
machine_clear (struct machine *m)
{
  g_free (m->uuid);
  g_free (m->name);
  g_free (m->log);
  g_free (m->socket);
  for (int i = 0; i < 3; i++)
    g_free (m->path[i]);
}

/* A socket on a free port of 127.0.0.1. */
static int
take_port (int type, guint *ret_port)
{
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  socklen_t n = sizeof a;
  int s = socket (AF_INET, type | SOCK_CLOEXEC, 0);
  assert_true (s >= 0 && bind (s, (struct sockaddr *) &a, n) == 0);
  assert_true (type != SOCK_STREAM || listen (s, 1) == 0);
  assert_int_equal (getsockname (s, (struct sockaddr *) &a, &n), 0);
  *ret_port = ntohs (a.sin_port);
  return s;
}

/* ---- refused ---- */

static void
expect (struct machine *m, const char *text)
{
  g_autoptr (GError) err = NULL;
  if (cs_hv_check (hv, &m->spec, &err))
    fail_msg ("accepted: %s", text);
  if (strstr (err->message, text) == NULL)
    fail_msg ("no '%s' in: %s", text, err->message);
}

#define REFUSED(text, change)                                                            \
  do {                                                                                   \
    struct machine m;                                                                    \
    machine_init (&m);                                                                   \
    change;                                                                              \
    expect (&m, text);                                                                   \
    machine_clear (&m);                                                                  \
  } while (0)

static void
refused (void **st)
{
  struct machine good;
  g_autoptr (GError) err = NULL;
  machine_init (&good);
  if (!cs_hv_check (hv, &good.spec, &err))
    fail_msg ("%s", err->message);
  machine_clear (&good);
  REFUSED ("architecture aarch64", m.spec.arch = "aarch64");
  REFUSED ("firmware coreboot", m.spec.firmware = "coreboot");
  REFUSED ("acceleration hax", m.spec.accel = "hax");
  REFUSED ("machine type m1.small", m.spec.machine = "m1.small");
  REFUSED ("flags 0x40", m.spec.flags = 0x40);
  REFUSED ("at least one processor", m.spec.cpus = 0);
  REFUSED ("memory", m.spec.memory = 0);
  REFUSED ("kernel command line x without a kernel", m.spec.cmdline = "x");
  REFUSED ("initrd /i without a kernel", m.spec.initrd = "/i");
  REFUSED ("its format must be said", m.disk[0].format = NULL);
  REFUSED ("disk format vmdk", m.disk[0].format = "vmdk");
  REFUSED ("disk bus nvme", m.disk[0].bus = "nvme");
  REFUSED ("without a path (image i)", (m.disk[0].path = NULL, m.disk[0].image = "i"));
  REFUSED ("flags 0x108", m.disk[0].flags |= 0x100);
  REFUSED ("no IDE bus", (m.disk[0].bus = "ide", m.spec.machine = "q35"));
  REFUSED ("bus ide knows no read-only", (m.disk[0].bus = "ide", m.disk[0].flags |= CAPSTAN_F_READONLY));
  REFUSED ("serial 'a b'", m.disk[0].serial = "a b");
  REFUSED ("serial '123456789012345678901'", m.disk[0].serial = "123456789012345678901");
  REFUSED ("'aio'", (m.kv = (struct capstan_kv) { "aio", "fast" }, m.disk[0].params = &m.kv, m.disk[0].n_params = 1));
  REFUSED ("aio=native needs", (m.kv = (struct capstan_kv) { "aio", "native" }, m.disk[0].params = &m.kv, m.disk[0].n_params = 1));
  REFUSED ("network mode hostonly", m.nic[0].mode = "hostonly");
  REFUSED ("model ne2k", m.nic[0].model = "ne2k");
  REFUSED ("network blue", m.nic[0].network = "blue");
  REFUSED ("'52:54:00:12:34' is no network address", m.nic[0].mac = "52:54:00:12:34");
  REFUSED ("device eth0", m.nic[0].device = "eth0");
  REFUSED ("mode bridge forwards no ports", (m.nic[0].mode = "bridge", m.forwards[0] = "tcp:127.0.0.1:1:1", m.nic[0].forwards = m.forwards));
  REFUSED ("forward tcp:127.0.0.1:0:80", (m.forwards[0] = "tcp:127.0.0.1:0:80", m.nic[0].forwards = m.forwards));
  REFUSED ("port 45678 on 127.0.0.1 is forwarded twice",
           (m.forwards[0] = "tcp:0.0.0.0:45678:80", m.forwards[1] = "tcp:127.0.0.1:45678:81", m.nic[0].forwards = m.forwards));
  REFUSED ("serial port: flags", m.serial.flags = 1);
}

static void
port_in_use (void **st)
{
  guint tcp, udp;
  cs_autofd int a = take_port (SOCK_STREAM, &tcp), b = take_port (SOCK_DGRAM, &udp);
  g_autofree char *who = g_strdup_printf ("(pid %ld)", (long) getpid ());
  const struct { const char *proto, *address; guint port; } all[] = {
    { "tcp", "127.0.0.1", tcp }, { "udp", "127.0.0.1", udp }, { "tcp", "0.0.0.0", tcp } };
  for (guint i = 0; i < G_N_ELEMENTS (all); i++) {
    struct machine m;
    machine_init (&m);
    g_snprintf (m.forward, sizeof m.forward, "%s:%s:%u:80", all[i].proto, all[i].address, all[i].port);
    m.forwards[0] = m.forward;
    m.nic[0].forwards = m.forwards;
    expect (&m, who);
    g_autofree char *port = g_strdup_printf ("port %u on %s (%s) is in use", all[i].port, all[i].address, all[i].proto);
    expect (&m, port);
    machine_clear (&m);
  }
  assert_true (a >= 0 && b >= 0);
}

/* ---- honoured ---- */

static void
ok (gboolean done, const GError *err)
{
  if (!done)
    fail_msg ("%s", err->message);
}

static gboolean
has (const char *const *list, const char *text)
{
  return list != NULL && g_strv_contains (list, text);
}

static void
dump (const char *name, const char *const *wanted)
{
  const char *argv[] = { "virsh", "-q", "dumpxml", name, NULL };
  g_autofree char *out = NULL;
  int status;
  assert_true (g_spawn_sync (NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, NULL, &status, NULL));
  for (; *wanted != NULL; wanted++)
    if (strstr (out, *wanted) == NULL)
      fail_msg ("no %s in %s", *wanted, out);
}

/* What info says of a machine whose processors are held. */
static void
check_info (struct machine *m, const struct cs_vm_ref *r)
{
  g_autoptr (GError) err = NULL;
  g_autoptr (cs_vm) vm = NULL;
  ok (cs_hv_info (hv, r, &vm, &err), err);
  const struct capstan_vm_info *i = &vm->info;
  assert_int_equal (i->state, CAPSTAN_VM_PAUSED);
  gint64 now = (gint64) time (NULL);
  assert_true (i->started > now - 120 && i->started <= now + 1);
  assert_true (i->stopped == INT64_MIN);
  g_autofree char *domain = g_strconcat ("domain:", m->name, NULL), *log = g_strconcat ("file:", m->log, NULL);
  g_autofree char *socket = g_strconcat ("socket:", m->socket, NULL);
  assert_true (has (i->resources, domain) && has (i->resources, log) && has (i->resources, socket));
  for (int k = 0; m->disks[k] != NULL; k++) {
    g_autofree char *file = g_strconcat ("file:", m->path[k], NULL);
    assert_true (has (i->resources, file));
  }
  guint pids = 0, nics = 0;
  for (const char *const *p = i->resources; *p != NULL; p++)
    if (g_str_has_prefix (*p, "pid:")) {
      g_autofree char *proc = g_strconcat ("/proc/", *p + 4, NULL);
      assert_int_equal (access (proc, F_OK), 0);
      pids++;
    }
  assert_int_equal (pids, 1);
  for (; m->nics[nics] != NULL; nics++) {
    const struct capstan_nic *is = i->nics[nics], *asked = m->nics[nics];
    assert_non_null (is);
    assert_string_equal (is->mode, "nat");
    assert_string_equal (is->model, asked->model != NULL ? asked->model : "virtio");
    if (asked->mac != NULL)
      assert_string_equal (is->mac, asked->mac);
    for (guint k = 0; asked->forwards != NULL && asked->forwards[k] != NULL; k++)
      assert_string_equal (is->forwards[k], asked->forwards[k]);
  }
  assert_null (i->nics[nics]);
}

/* Started, looked at, ended; wait sees when. */
static void
lives (struct machine *m, const char *const *xml)
{
  g_autoptr (GError) err = NULL;
  g_autoptr (cs_vm) vm = NULL;
  struct cs_vm_ref r = { NULL, NULL };
  ok (cs_hv_create (hv, &m->spec, &r, &err), err);
  gboolean started = cs_hv_start (hv, &r, CAPSTAN_F_PAUSED, &err);
  if (started) {
    check_info (m, &r);
    dump (m->name, xml);
  }
  gboolean stopped = !started || cs_hv_stop (hv, &r, CAPSTAN_F_FORCE, 0, &err);
  gboolean waited = !started || cs_hv_wait (hv, &r, CAPSTAN_VM_STOPPED, 5000, &vm, NULL);
  gboolean removed = cs_hv_destroy (hv, &r, CAPSTAN_F_FORCE, NULL);
  ok (started && stopped, err);
  assert_true (waited && removed);
  assert_int_equal (vm->info.reason, CAPSTAN_REASON_KILLED);
  cs_vm_ref_clear (&r);
}

static void
several (void **st)
{
  struct machine m;
  guint port;
  cs_autofd int s = take_port (SOCK_STREAM, &port);
  cs_close_fd (&s); /* free again, and not soon another's */
  s = -1;
  struct capstan_kv params[] = { { "cache", "none" }, { "aio", "native" } };
  struct capstan_kv label = { "colour", "blue & green" };
  machine_init (&m);
  m.disk[1].serial = "data-1";
  m.disk[1].flags = CAPSTAN_F_READONLY;
  m.disk[1].params = params;
  m.disk[1].n_params = 2;
  m.disk[2].bus = "scsi";
  m.disk[2].serial = "third";
  m.disks[1] = &m.disk[1];
  m.disks[2] = &m.disk[2];
  g_snprintf (m.forward, sizeof m.forward, "tcp:127.0.0.1:%u:80", port);
  m.forwards[0] = m.forward;
  m.nic[0].forwards = m.forwards;
  m.nic[1].mac = "52:54:00:12:34:56";
  m.nic[1].model = "e1000";
  m.nics[1] = &m.nic[1];
  m.spec.labels = &label;
  m.spec.n_labels = 1;
  m.spec.cpu_model = "Nehalem";
  m.spec.cpus = 2;
  const char *xml[] = { "<serial>data-1</serial>", "<readonly/>", "cache='none'", "io='native'", "bus='scsi'", "<boot order='1'/>",
    "virtio-scsi", "192.168.123.0/24", "Nehalem", "<vcpu placement='static'>2</vcpu>", "blue &amp; green</capstan:label>",
    "<title>test of kvm</title>", "<rng model='virtio'>", NULL };
  lives (&m, xml);
  machine_clear (&m);
}

static void
other_boards (void **st)
{
  struct machine m;
  machine_init (&m);
  m.spec.machine = "q35";
  m.disk[0].bus = "sata";
  m.spec.cpu_model = "max";
  const char *q35[] = { "q35", "bus='sata'", "mode='maximum'", NULL };
  lives (&m, q35);
  machine_clear (&m);
  machine_init (&m);
  m.disk[0].bus = "ide";
  m.disk[0].serial = "abc";
  const char *ide[] = { "dev='hda' bus='ide'", "<serial>abc</serial>", NULL };
  lives (&m, ide);
  machine_clear (&m);
}

/* ---- waiting ---- */

struct ender { struct cs_vm_ref r; gint64 ended; };

static gpointer
end_soon (gpointer data)
{
  struct ender *e = data;
  g_autoptr (cs_hv) mine = cs_hv_open ("kvm", NULL, NULL);
  g_usleep (300 * 1000);
  gboolean done = mine != NULL && cs_hv_stop (mine, &e->r, CAPSTAN_F_FORCE, 0, NULL);
  e->ended = done ? g_get_monotonic_time () : 0;
  return NULL;
}

static void
waiting (void **st)
{
  g_autoptr (GError) err = NULL;
  g_autoptr (cs_vm) vm = NULL;
  struct machine m;
  struct ender e = { { NULL, NULL }, 0 };
  machine_init (&m);
  ok (cs_hv_create (hv, &m.spec, &e.r, &err), err);
  ok (cs_hv_start (hv, &e.r, CAPSTAN_F_PAUSED, &err), err);
  gint64 began = g_get_monotonic_time ();
  assert_false (cs_hv_wait (hv, &e.r, CAPSTAN_VM_STOPPED, 250, NULL, &err));
  gint64 took = g_get_monotonic_time () - began;
  assert_int_equal (err->code, CAPSTAN_E_TIMEOUT);
  g_clear_error (&err);
  assert_true (took >= 250000); /* never less; more where the machine is busy */
  GThread *t = g_thread_new ("end", end_soon, &e);
  gboolean done = cs_hv_wait (hv, &e.r, CAPSTAN_VM_STOPPED, 60000, &vm, &err);
  g_thread_join (t);
  ok (done, err);
  assert_true (e.ended != 0);
  assert_int_equal (vm->info.state, CAPSTAN_VM_STOPPED);
  gint64 now = (gint64) time (NULL);
  assert_true (vm->info.stopped > now - 60 && vm->info.stopped <= now); /* it was seen */
  ok (cs_hv_destroy (hv, &e.r, 0, &err), err);
  cs_vm_ref_clear (&e.r);
  machine_clear (&m);
}

int
main (void)
{
  g_autoptr (GError) err = NULL;
  here = g_get_current_dir ();
  hv = cs_hv_open ("kvm", NULL, &err);
  if (hv == NULL) {
    printf ("SKIP: %s\n", err->message);
    return 77;
  }
  for (int i = 0; i < 3; i++) {
    g_autofree char *path = g_strdup_printf ("%s/disk%d.raw", here, i);
    if (!cs_write_file (path, "", 0, 0666, NULL) || truncate (path, 1024 * 1024) != 0)
      return 99;
  }
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (refused), cmocka_unit_test (port_in_use), cmocka_unit_test (several),
    cmocka_unit_test (other_boards), cmocka_unit_test (waiting) };
  int rc = cmocka_run_group_tests (tests, NULL, NULL);
  cs_hv_close (hv);
  return rc;
}
