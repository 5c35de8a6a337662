/* capstan doctor. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/cli/doctor.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static json_t *
finding_json (const struct cs_finding *f)
{
  json_t *o = json_object ();
  cs_json_set (o, "name", f->name);
  cs_json_set (o, "kind", f->kind);
  json_object_set_new (o, "usable", json_boolean (f->problem == NULL));
  if (strcmp (f->kind, "hypervisor") == 0)
    json_object_set_new (o, "default", json_boolean (f->is_default));
  cs_json_set (o, "problem", f->problem);
  cs_json_set (o, "detail", f->detail);
  cs_json_set (o, "accel", f->accel);
  if (f->boots)
    json_object_set_new (o, "seconds_to_output", json_real (f->seconds));
  if (strcmp (f->kind, "store") == 0)
    json_object_set_new (o, "free", json_integer ((json_int_t) f->free_bytes));
  json_t *notes = json_array ();
  for (guint i = 0; i < f->notes->len; i++)
    json_array_append_new (notes, json_string (f->notes->pdata[i]));
  json_object_set_new (o, "notes", notes);
  return o;
}

/* The first text stands beside the name, and each other below it. */
static void
print_finding (const struct cs_finding *f)
{
  enum { NAME = 12, WORD = 12 };
  gboolean bad = f->problem != NULL, base = strcmp (f->kind, "base") == 0;
  const char *word = bad ? (base ? "not there" : "not usable") : "ok";
  const char *colour = !cs_stdout_colour () ? "" : !bad ? "\033[32m" : base ? "\033[33m" : "\033[31m";
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *name = base ? g_strconcat ("base ", f->name, NULL) : g_strdup (f->name);
  const char *mark = f->is_default ? "(the default)" : "", *by = f->accel != NULL ? f->accel : "";
  if (f->boots)
    g_ptr_array_add (lines, g_strdup_printf ("%s%sa guest boots: %.2f s to its first output%s%s",
                                             mark, *mark != '\0' ? " " : "", f->seconds,
                                             *by != '\0' ? ", by " : "", by));
  else if (f->is_default)
    g_ptr_array_add (lines, g_strdup (mark));
  if (bad)
    g_ptr_array_add (lines, g_strdup (f->problem));
  if (f->detail != NULL)
    g_ptr_array_add (lines, g_strdup (f->detail));
  for (guint i = 0; i < f->notes->len; i++)
    g_ptr_array_add (lines, g_strdup (f->notes->pdata[i]));
  printf ("%-*s %s%-*s%s %s\n", NAME, name, colour, lines->len > 0 ? WORD : 0, word,
          *colour != '\0' ? "\033[m" : "", lines->len > 0 ? (const char *) lines->pdata[0] : "");
  for (guint i = 1; i < lines->len; i++)
    printf ("%*s%s\n", NAME + WORD + 2, "", (const char *) lines->pdata[i]);
}

static gboolean
run_doctor (struct cs_cli *cli, GError **err)
{
  const struct cs_doctor d = { .hypervisor = cs_cli_hypervisor (cli), .boot = !cs_cli_flag (cli, "no-boot"),
                               .seconds = (guint) cs_cli_num (cli, "timeout") };
  gboolean as_json = cs_cli_flag (cli, "json"), works = FALSE;
  if (d.seconds < 1 || d.seconds > 3600)
    return cs_fail (err, CS_E_USAGE, "--timeout takes 1 to 3600 seconds");
  cs_cancel_on_signals ();
  g_autoptr (GPtrArray) all = cs_doctor (&d, err);
  if (all == NULL)
    return FALSE;
  json_t *list = as_json ? json_array () : NULL;
  for (guint i = 0; i < all->len; i++) {
    const struct cs_finding *f = g_ptr_array_index (all, i);
    works |= f->is_default && f->problem == NULL;
    if (as_json)
      json_array_append_new (list, finding_json (f));
    else
      print_finding (f);
  }
  cli->exit_status = works ? 0 : 1;
  if (!as_json)
    return TRUE;
  return cs_print_json (json_pack ("{s:s, s:b, s:o}", "default", d.hypervisor, "works", works,
                                   "findings", list), err);
}

static const struct cs_opt opts[] = {
  { .name = "json", .type = CS_OPT_FLAG, .help = "print JSON" },
  { .name = "no-boot", .type = CS_OPT_FLAG, .help = "ask only; boot no guest" },
  { .name = "timeout", .type = CS_OPT_UINT, .arg = "SECONDS", .def = "60",
    .help = "how long the first output of a guest is waited for" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_doctor = { .name = "doctor", .args = "", .opts = opts, .run = run_doctor,
  .summary = "Find out what works here, and what to do about what does not",
  .text = "Looks at the store (may it be written, and how much room is there), the base linux, qemu-img, "
          "and every plugin of a hypervisor or a repository; says of each whether it can be used on this "
          "host, and if not, why, and what to do. No repository's server is asked.\n\n"
          "In each hypervisor that can be used it boots a guest of 512 bytes, which prints a word and "
          "powers off, and says how long that took. Its image and its instance are named capstan-doctor; "
          "they go the way of every other, and are gone afterwards. --no-boot leaves this out; that "
          "libvirt's user cannot reach the folder of the instances is then not seen.\n\n"
          "The exit status is 0 if the hypervisor that capstan run takes (-p, CAPSTAN_HYPERVISOR, "
          "hypervisor: in config.yaml, or kvm) works, and 1 if it does not.",
  .examples = "capstan doctor\ncapstan doctor -p vbox --no-boot --json" };
