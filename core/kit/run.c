/* Runs the cases, each in a process of its own: one that crashes or hangs is one that failed,
 * and none meets what another has left. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/kit/kit.h"
#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/plugin/rp.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { OK = 'o', FAILED = 'f', SKIPPED = 's', CANNOT = 'c' /* the plugin does not work here */ };

/* ---- inside a case ---- */

static int report_fd = -1;
static struct { void (*fn) (gpointer); gpointer data; } cleanups[32];
static guint n_cleanups;

void
kit_cleanup (void (*fn) (gpointer), gpointer data)
{
  g_assert (n_cleanups < G_N_ELEMENTS (cleanups));
  cleanups[n_cleanups].fn = fn;
  cleanups[n_cleanups++].data = data;
}

static void
clean_up (void)
{
  cs_cancel_reset ();
  while (n_cleanups > 0) {
    n_cleanups--;
    cleanups[n_cleanups].fn (cleanups[n_cleanups].data);
  }
}

static void
report (char verdict, const char *text)
{
  g_autofree char *line = g_strdup_printf ("%c%s", verdict, text);
  cs_write_all (report_fd, line, strlen (line), "report", NULL);
}

G_NORETURN static void
finish (char verdict, const char *fmt, va_list ap)
{
  static gboolean ending; /* a cleanup that fails */
  g_autofree char *text = g_strdup_vprintf (fmt, ap);
  if (!ending) {
    ending = TRUE;
    report (verdict, text);
    clean_up ();
  }
  _exit (0);
}

void
kit_fail (const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  finish (FAILED, fmt, ap);
}

void
kit_skip (const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  finish (SKIPPED, fmt, ap);
}

G_NORETURN static void
cannot (const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  finish (CANNOT, fmt, ap);
}

const char *
kit_code (int code)
{
  static const char *const names[] = { "no code", "E_INTERNAL", "E_INVAL", "E_NOMEM", "E_IO",
    "E_NOTFOUND", "E_EXISTS", "E_STATE", "E_BUSY", "E_AUTH", "E_PERM", "E_NET", "E_TIMEOUT",
    "E_QUOTA", "E_UNSUPPORTED", "E_CHECKSUM", "E_CANCELLED", "E_PENDING", "E_CONFLICT",
    "E_NOT_MODIFIED", "E_LIMIT", "E_UNTRUSTED" };
  return code == CS_E_USAGE ? "an error of usage"
         : code >= 0 && code < (int) G_N_ELEMENTS (names) ? names[code] : "an unknown code";
}

void
kit_ok (const char *what, gboolean done, GError **err)
{
  if (!done)
    kit_fail ("%s: %s", what, *err != NULL ? (*err)->message : "failed without an error");
}

void
kit_refused (struct kit *k, const char *what, gboolean done, GError **err, int code, const char *word)
{
  kit_expect (!done, "%s succeeded", what);
  kit_expect (*err != NULL, "%s failed without an error", what);
  const char *m = (*err)->message;
  kit_expect (strstr (m, "gave no reason") == NULL, "%s failed without calling host->error", what);
  kit_expect (strstr (m, k->plugin->name) != NULL, "%s: the error does not name the plugin: %s", what, m);
  kit_expect (word == NULL || strstr (m, word) != NULL, "%s: the error does not name '%s': %s", what,
              word, m);
  kit_expect (code == 0 || (*err)->code == code, "%s: the error is %s, not %s: %s", what,
              kit_code ((*err)->code), kit_code (code), m);
  g_clear_error (err);
}

/* ---- a case's process ---- */

static void
load (struct kit *k)
{
  g_autoptr (GError) err = NULL;
  if (strchr (k->o->plugin, '/') != NULL)
    k->plugin = cs_plugin_add (k->o->plugin);
  else if ((k->plugin = cs_plugin_find ("hypervisor", k->o->plugin)) == NULL)
    k->plugin = cs_plugin_find ("repository", k->o->plugin);
  if (k->plugin == NULL) {
    cs_plugin_missing (NULL, k->o->plugin, &err);
    kit_fail ("%s", err->message);
  }
  if (!cs_plugin_load (k->plugin, &err))
    kit_fail ("%s", err->message);
}

static void
open_hv (struct kit *k, gboolean probe)
{
  g_autoptr (GError) err = NULL;
  struct capstan_caps c;
  k->hv = cs_hv_open (k->plugin->name, k->o->options, &err);
  if (k->hv == NULL || (probe && !cs_hv_probe (k->hv, &err)))
    cannot ("%s", err->message);
  k->bits = k->plugin->provider.caps;
  if (k->plugin->hv_ops.caps == NULL)
    return;
  kit_ok ("caps", cs_hv_caps (k->hv, &c, &err), &err);
  k->bits = c.bits;
}

static void
open_rp (struct kit *k, gboolean probe)
{
  g_autoptr (GError) err = NULL;
  if (probe && !cs_plugin_probe (k->plugin, NULL, &err))
    cannot ("%s", err->message);
  if (k->o->url == NULL)
    return;
  k->rp = cs_rp_open (k->o->url, k->plugin->name, k->o->options, &err);
  if (k->rp == NULL)
    cannot ("%s", err->message);
  k->bits = cs_rp_bits (k->rp);
}

G_NORETURN static void
child (struct kit *k, const struct kit_case *t, int fd)
{
  report_fd = fd;
  cs_cancel_on_signals ();
  load (k);
  gboolean hv = k->plugin->provider.kind == CAPSTAN_KIND_HYPERVISOR;
  if (t == NULL || t->target)
    (hv ? open_hv : open_rp) (k, t == NULL);
  if (t != NULL)
    t->run (k);
  clean_up ();
  cs_hv_close (k->hv);
  cs_rp_close (k->rp);
  report (OK, t == NULL && hv ? "h" : "");
  exit (0); /* what plugins want to do at the end, and the check for leaks where there is one */
}

/* ---- the process that starts them ---- */

static volatile sig_atomic_t interrupted;

static void
note (int sig)
{
  interrupted = 1; /* the case gets the signal as well, and is waited for */
}

/* What the case said, until it has closed its end or time is up. */
static GString *
listen_to (int fd, guint seconds)
{
  double end = cs_now () + seconds;
  GString *said = g_string_new (NULL);
  char buf[4096];
  for (;;) {
    struct pollfd f = { fd, POLLIN, 0 };
    double left = end - cs_now ();
    int n = left > 0 ? poll (&f, 1, (int) (left * 1000) + 1) : 0;
    if (n < 0 && errno == EINTR)
      continue;
    gssize got = n > 0 ? read (fd, buf, sizeof buf) : 0;
    if (got > 0)
      g_string_append_len (said, buf, got);
    if (n > 0 && got <= 0)
      return said;
    if (n <= 0) {
      g_string_assign (said, "T");
      return said;
    }
  }
}

enum { TIDY_TRIES = 50, TIDY_US = 100 * 1000 }; /* what a case that took too long may take to tidy */

/* The verdict; *ret_text: why, g_free. */
static char
run_case (struct kit *k, const struct kit_case *t, char **ret_text)
{
  int p[2], st = 0;
  fflush (NULL);
  if (pipe2 (p, O_CLOEXEC) != 0)
    g_error ("pipe: %s", g_strerror (errno));
  pid_t pid = fork ();
  if (pid < 0)
    g_error ("fork: %s", g_strerror (errno));
  if (pid == 0) {
    close (p[0]);
    child (k, t, p[1]);
  }
  close (p[1]);
  GString *said = listen_to (p[0], k->o->timeout);
  char v = said->len > 0 ? said->str[0] : FAILED;
  pid_t gone = 0;
  if (v == 'T') {
    kill (pid, SIGTERM); /* cancels: the case takes away what it made */
    for (guint i = 0; i < TIDY_TRIES && (gone = waitpid (pid, &st, WNOHANG)) == 0; i++)
      g_usleep (TIDY_US);
    if (gone == 0)
      kill (pid, SIGKILL);
  }
  while (gone == 0 && waitpid (pid, &st, 0) < 0 && errno == EINTR)
    ;
  close (p[0]); /* not before: what it still says must not end it */
  *ret_text = g_strdup (said->len > 0 ? said->str + 1 : "");
  g_string_free (said, TRUE);
  const char *late = NULL;
  if (v == 'T')
    late = "took longer than --timeout, and was killed";
  else if (WIFSIGNALED (st))
    late = g_strsignal (WTERMSIG (st));
  else if (WEXITSTATUS (st) != 0)
    late = "ended with an exit status of its own (see above)";
  if (late == NULL)
    return v;
  char *text = *ret_text;
  *ret_text = g_strdup_printf ("%s%s%s", v == FAILED ? text : "", v == FAILED && *text != '\0' ? "; " : "",
                               late);
  g_free (text);
  return FAILED;
}

static gboolean
wanted (const struct cs_kit_opts *o, const char *name)
{
  return o->only == NULL || o->only[0] == NULL || g_strv_contains (o->only, name);
}

struct tally { guint passed, failed, skipped; gboolean untried; };

static void
print_case (struct tally *n, char v, const char *name, const char *text)
{
  static const char *const words[] = { "ok", "FAIL", "skip" };
  guint w = v == OK ? 0 : v == FAILED ? 1 : 2;
  (w == 0 ? &n->passed : w == 1 ? &n->failed : &n->skipped)[0]++;
  printf ("%-4s  %s: %s\n", words[w], name, text);
  fflush (stdout);
}

static void
run_table (struct kit *k, const struct kit_case *t, gboolean has_target, struct tally *n)
{
  for (; t->name != NULL && !interrupted; t++) {
    g_autofree char *text = NULL;
    if (!wanted (k->o, t->name))
      continue;
    if (t->target && !has_target) {
      n->untried = TRUE;
      print_case (n, SKIPPED, t->name, "needs a repository to work on, which --on names");
      continue;
    }
    char v = run_case (k, t, &text);
    print_case (n, v, t->name, v == OK ? t->what : text);
  }
}

/* Loads it, and asks it whether it can work here. Answers its kind: 'h', 'r', or 0. */
static char
begin (struct kit *k, struct tally *n)
{
  g_autofree char *text = NULL;
  char v = run_case (k, NULL, &text);
  if (v == OK) {
    print_case (n, v, "load", "is a plugin for this ABI, and can work here");
    return *text == 'h' ? 'h' : 'r';
  }
  n->untried = v == CANNOT;
  print_case (n, v, "load", text);
  return 0;
}

static gboolean
check_cases (const struct cs_kit_opts *o, GError **err)
{
  const struct kit_case *const all[] = { kit_common, kit_hypervisor, kit_repository, kit_transfer };
  for (const char *const *w = o->only; w != NULL && *w != NULL; w++) {
    gboolean known = strcmp (*w, "load") == 0; /* which is always tried */
    for (guint i = 0; i < G_N_ELEMENTS (all); i++)
      for (const struct kit_case *t = all[i]; t->name != NULL; t++)
        known = known || strcmp (t->name, *w) == 0;
    if (!known)
      return cs_fail (err, CS_E_USAGE, "--case %s: there is no such case", *w);
  }
  return TRUE;
}

gboolean
cs_kit_run (const struct cs_kit_opts *o, int *ret_status, GError **err)
{
  struct kit k = { .o = o };
  struct tally n = { 0 };
  struct sigaction a, before[2];
  memset (&a, 0, sizeof a);
  a.sa_handler = note;
  if (!check_cases (o, err))
    return FALSE;
  k.dir = g_build_filename (g_get_tmp_dir (), "capstan-kit.XXXXXX", NULL); /* short: sockets */
  if (g_mkdtemp (k.dir) == NULL) {
    cs_fail_errno (err, "create a folder like %s", k.dir);
    g_free (k.dir);
    return FALSE;
  }
  sigaction (SIGINT, &a, &before[0]);
  sigaction (SIGTERM, &a, &before[1]);
  char kind = begin (&k, &n);
  if (kind != 0)
    run_table (&k, kit_common, TRUE, &n);
  if (kind == 'h')
    run_table (&k, kit_hypervisor, TRUE, &n);
  if (kind == 'r') {
    run_table (&k, kit_repository, o->url != NULL, &n);
    run_table (&k, kit_transfer, o->url != NULL, &n);
  }
  sigaction (SIGINT, &before[0], NULL);
  sigaction (SIGTERM, &before[1], NULL);
  printf ("%u passed, %u failed, %u not tried\n", n.passed, n.failed, n.skipped);
  *ret_status = n.failed > 0 ? 1 : n.untried ? 77 : 0;
  gboolean ok = cs_rmtree (k.dir, err);
  g_free (k.dir);
  return ok && (!interrupted || cs_fail (err, CAPSTAN_E_CANCELLED, "cancelled"));
}
