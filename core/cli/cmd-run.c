/* capstan run. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/build.h"
#include "core/build/env.h"
#include "core/cli/cmd.h"
#include "core/vm/vm.h"
#include <string.h>

/* What to run: -i IMAGE [INSTANCE], IMAGE, or the Capstanfile here. */
static gboolean
choose (struct cs_cli *cli, struct cs_run_opts *o, char **built, GError **err)
{
  const char *arg = cs_cli_arg (cli, 0), *image = cs_cli_str (cli, "i");
  o->name = cs_cli_str (cli, "name");
  if (image != NULL && arg != NULL) {
    if (o->name != NULL)
      return cs_fail (err, CS_E_USAGE, "give the instance's name once: '%s' or --name", arg);
    o->name = arg;
  }
  o->image = image != NULL ? image : arg;
  if (o->image != NULL)
    return TRUE;
  if (access ("Capstanfile", F_OK) != 0)
    return cs_fail (err, CS_E_USAGE, "give the name of an image, or run it where a Capstanfile is");
  struct cs_build_opts b = { .suffix = cs_cli_suffix (cli) };
  if (!cs_build (&b, built, err))
    return FALSE;
  o->image = *built;
  return TRUE;
}

static gboolean
run_detached (struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  if (!cs_instance_start (i, hv, err)) {
    cs_instance_delete (i, hv, TRUE, NULL);
    return FALSE;
  }
  puts (i->name);
  return TRUE;
}

static gboolean
run_attached (struct cs_cli *cli, struct cs_instance *i, struct cs_hv *hv, GError **err)
{
  gboolean ended = FALSE, ran = FALSE;
  struct cs_outcome o;
  gboolean ok = cs_attach_run (i, hv, cs_cli_flag (cli, "no-tty"), &ran, &ended, &o, err);
  cs_cancel_reset (); /* what follows is done even so */
  if (!ok) {
    if (ran && !i->remove) /* its disk may hold something: it stays */
      cs_instance_kill (i, hv, NULL);
    else
      cs_instance_delete (i, hv, TRUE, NULL);
    return FALSE;
  }
  if (!ended)
    return TRUE;
  cli->exit_status = o.status;
  if (!o.known && o.failed)
    cs_warn ("the machine ended without saying how the application did");
  return !i->remove || cs_instance_delete (i, hv, TRUE, err);
}

/* -f and --publish are the same; g_free the list itself. */
static const char **
all_forwards (struct cs_cli *cli)
{
  const char *const *lists[] = { cs_cli_list (cli, "forward"), cs_cli_list (cli, "publish") };
  GPtrArray *all = g_ptr_array_new ();
  for (guint k = 0; k < 2; k++)
    for (const char *const *f = lists[k]; *f != NULL; f++)
      g_ptr_array_add (all, (gpointer) *f);
  g_ptr_array_add (all, NULL);
  return (const char **) g_ptr_array_free (all, FALSE);
}

static gboolean
check_opts (const struct cs_run_opts *o, GError **err)
{
  for (guint k = 0; o->forwards[k] != NULL; k++) {
    g_autofree char *f = cs_forward_parse (o->forwards[k], err);
    if (f == NULL)
      return FALSE;
  }
  for (guint k = 0; o->labels[k] != NULL; k++)
    if (strchr (o->labels[k], '=') == NULL || *o->labels[k] == '=')
      return cs_fail (err, CS_E_USAGE, "--label %s: expected KEY=VALUE", o->labels[k]);
  if (o->memory < (16 << 20) || o->cpus < 1 || o->cpus > 255)
    return cs_fail (err, CS_E_USAGE, "-m takes at least 16M, -c 1 to 255");
  if (o->remove && o->restart != NULL)
    return cs_fail (err, CS_E_USAGE, "--rm and --restart %s: an instance is deleted when it ends, or started again", o->restart);
  return cs_net_check (o, err);
}

const char *
cs_cli_connect (const char *hypervisor)
{
  return cs_hv_takes (hypervisor, "uri") ? cs_config ("libvirt_uri") : NULL;
}

const char *
cs_cli_accel (struct cs_hv *hv)
{
  struct capstan_caps caps;
  const char *disable = g_getenv ("CAPSTAN_DISABLE_KVM");
  if (!cs_hv_caps (hv, &caps, NULL) || caps.accel == NULL) /* there is none to choose */
    return NULL;
  if (disable == NULL)
    disable = cs_config ("disable_kvm");
  return disable != NULL && (strcmp (disable, "1") == 0 || strcmp (disable, "true") == 0) ? "tcg" : NULL;
}

static gboolean
run_run (struct cs_cli *cli, GError **err)
{
  struct cs_run_opts o = { 0 };
  g_autofree char *built = NULL;
  const char *name = cs_cli_hypervisor (cli);
  o.cmd = cs_cli_str (cli, "execute");
  g_autoptr (GPtrArray) env = g_ptr_array_new_with_free_func (g_free);
  if (!cs_env_gather (env, cs_cli_list (cli, "env-file"), cs_cli_list (cli, "env"), err))
    return FALSE;
  g_ptr_array_add (env, NULL);
  o.env = (const char *const *) env->pdata;
  g_autofree const char **forwards = all_forwards (cli);
  o.forwards = forwards;
  o.net = cs_cli_str (cli, "n");
  o.bridge = cs_cli_str (cli, "b");
  o.mac = cs_cli_str (cli, "mac");
  o.connect = cs_cli_given (cli, "connect") ? cs_cli_str (cli, "connect") : cs_cli_connect (name);
  o.params = cs_cli_list (cli, "option");
  o.accel = cs_cli_str (cli, "accel");
  o.boot = cs_cli_str (cli, "boot-method");
  o.memory = cs_cli_num (cli, "memory");
  o.cpus = (guint) cs_cli_num (cli, "cpus");
  o.remove = cs_cli_flag (cli, "rm");
  o.keep = cs_cli_flag (cli, "persist");
  o.restart = strcmp (cs_cli_str (cli, "restart"), "no") != 0 ? cs_cli_str (cli, "restart") : NULL;
  o.labels = cs_cli_list (cli, "label");
  o.volumes = cs_cli_list (cli, "volume");
  if (!check_opts (&o, err))
    return FALSE;
  if (!choose (cli, &o, &built, err))
    return FALSE;
  g_autofree char *uri = o.connect != NULL ? g_strconcat ("uri=", o.connect, NULL) : NULL;
  const char *options[] = { uri, NULL };
  g_autoptr (cs_hv) hv = cs_hv_open (name, options, err);
  if (hv == NULL || (cs_cli_flag (cli, "detach") && !cs_instance_can_detach (hv, err)))
    return FALSE;
  if (o.accel == NULL)
    o.accel = cs_cli_accel (hv);
  cs_cancel_on_signals (); /* so that what was made is removed again */
  g_autoptr (cs_instance) i = cs_instance_create (hv, &o, err);
  if (i == NULL)
    return FALSE;
  return cs_cli_flag (cli, "detach") ? run_detached (i, hv, err) : run_attached (cli, i, hv, err);
}

static const struct cs_opt opts[] = {
  { .short_name = 'i', .name = "i", .type = CS_OPT_STRING, .arg = "IMAGE", .comp = CS_COMP_IMAGE,
    .help = "image to run; the argument is then the instance's name" },
  { .name = "name", .type = CS_OPT_STRING, .arg = "NAME", .help = "name of the instance (that of the image)" },
  { .short_name = 'm', .name = "memory", .type = CS_OPT_SIZE, .arg = "SIZE", .def = "1G", .help = "memory; a bare number is MiB" },
  { .short_name = 'c', .name = "cpus", .type = CS_OPT_UINT, .arg = "N", .def = "2", .help = "processors" },
  { .short_name = 'n', .name = "n", .type = CS_OPT_CHOICE, .arg = "MODE", .choices = "nat|none|bridge|hostonly|tap|vhost", .def = "nat", .help = "network" },
  { .short_name = 'b', .name = "b", .type = CS_OPT_STRING, .arg = "DEVICE", .help = "device of the host: bridge, tap, or what a bridge of VirtualBox is made with" },
  { .name = "mac", .type = CS_OPT_STRING, .arg = "ADDRESS", .help = "address of the network card" },
  { .short_name = 'f', .name = "forward", .type = CS_OPT_LIST, .arg = "[ADDR:]HOST:GUEST[/udp]", .help = "forward a port of this host (127.0.0.1) to the guest; repeatable" },
  { .name = "publish", .type = CS_OPT_LIST, .arg = "[ADDR:]HOST:GUEST[/udp]", .help = "the same; HOST may be auto in both: a free port, which capstan port shows" },
  { .name = "volume", .type = CS_OPT_LIST, .arg = "PATH[:KEY=VALUE][:ro]", .comp = CS_COMP_FILE, .help = "another disk: a file, or a volume of the store; format=FORMAT, and what the hypervisor has for disks (aio, cache); repeatable" },
  { .short_name = 'e', .name = "execute", .type = CS_OPT_STRING, .arg = "COMMAND", .help = "application command line of this instance" },
  { .name = "env", .type = CS_OPT_LIST, .arg = "NAME=VALUE", .help = "set a variable for the application; repeatable" },
  { .name = "env-file", .type = CS_OPT_LIST, .arg = "FILE", .comp = CS_COMP_FILE,
    .help = "set variables, a line NAME=VALUE each; repeatable" },
  { .short_name = 'd', .name = "detach", .type = CS_OPT_FLAG, .help = "run in the background and print the instance's name" },
  { .name = "rm", .type = CS_OPT_FLAG, .help = "delete the instance when it has ended" },
  { .name = "restart", .type = CS_OPT_CHOICE, .arg = "WHEN", .choices = "no|on-failure|always", .def = "no", .help = "start it again when it has ended" },
  { .name = "persist", .type = CS_OPT_FLAG, .help = "keep the instance also if its name was not chosen; otherwise the next run replaces it" },
  { .name = "label", .type = CS_OPT_LIST, .arg = "KEY=VALUE", .help = "a label, which capstan instances --label looks for; repeatable" },
  { .name = "no-tty", .type = CS_OPT_FLAG, .help = "do not touch the terminal; Ctrl-C stops" },
  { .name = "connect", .type = CS_OPT_STRING, .arg = "URI", .help = "libvirt connection: qemu:///session, qemu:///system or qemu:///embed" },
  { .name = "accel", .type = CS_OPT_CHOICE, .arg = "HOW", .choices = "kvm|tcg", .help = "virtualise or emulate (the faster that works)" },
  { .name = "option", .type = CS_OPT_LIST, .arg = "KEY=VALUE", .help = "an option of the hypervisor's machines (capstan plugin info); repeatable" },
  { .name = "boot-method", .type = CS_OPT_CHOICE, .arg = "HOW", .choices = "direct|disk", .help = "hand the kernel over, or boot by BIOS (direct where it can be)" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_run = { .name = "run", .args = "[IMAGE]", .summary = "Run an image",
  .text = "Runs an image as an instance, with the terminal as its console, until the application "
          "ends; its exit status is that of the application. Without IMAGE, where a Capstanfile is, "
          "the image is built first. The image itself is never written: each instance has an overlay."
          "\n\nWith a terminal, Ctrl-] detaches and Ctrl-] twice stops; without, the first Ctrl-C "
          "stops the guest and the second powers it off. Output that goes to a file or a pipe has the "
          "guest's CR LF turned back into LF."
          "\n\n--restart is kept by the process that attends to the instance: this one, or, in the background, a "
          "supervisor that capstan starts with it and capstan inspect shows. There is no daemon: once that process is "
          "killed, or this host restarted, nobody starts the instance again but you (capstan start). The pause before "
          "it doubles from 0.1 seconds to a minute, until a run has lasted 10 seconds. What was stopped by capstan "
          "stop, by capstan kill or from the console stays stopped.",
  .examples = "capstan run\ncapstan run -d -f 8080:80 --name web nginx\ncapstan run -e '/hello again' --rm hello",
  .max_args = 1, .comp = CS_COMP_IMAGE, .opts = opts, .app_status = TRUE, .uses_repo = TRUE, .run = run_run };
