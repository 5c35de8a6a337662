/* Running VBoxManage. SPDX-License-Identifier: BSD-3-Clause
 *
 * Errors are told apart by their codes: the texts change from version to version. Three
 * kinds pass by themselves: VBoxSVC, which all clients share, comes and goes with them, and may
 * be just doing so; it crashes, and a new one comes; and a machine stays locked for a moment
 * after what has just been done. */
#define _GNU_SOURCE
#include "vbox.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SERVICE_TRIES = 6, LOCK_TRIES = 20, LOCK_MS = 200, ASK_TRIES = 3, ASK_SECONDS = 30, ASK_MS = 5,
       CHANGE_TIMES = 4, TURN_MS = 1500, PATIENCE_MS = 10000, UNDO_MS = 60000, KILLED = 128,
       UUID_LEN = 36 };

void
vb_arg (struct vb_args *a, const char *text)
{
  if (a->n < (int) (sizeof a->v / sizeof *a->v) - 1)
    a->v[a->n++] = text;
}

void
vb_argf (struct capstan_call *call, struct vb_args *a, const char *fmt, ...)
{
  char buf[VB_PATH + 256];
  va_list ap;
  va_start (ap, fmt);
  vsnprintf (buf, sizeof buf, fmt, ap);
  va_end (ap);
  vb_arg (a, capstan_host_->keep (call, buf, SIZE_MAX));
}

static int
is_program (const char *path)
{
  struct stat st;
  return stat (path, &st) == 0 && S_ISREG (st.st_mode) && access (path, X_OK) == 0;
}

int
vb_find (struct capstan_call *call, struct vbox *v)
{
  const char *given = capstan_host_->option (call, "vboxmanage"), *path = getenv ("PATH");
  if (given == NULL || *given == '\0')
    given = getenv ("CAPSTAN_VBOXMANAGE");
  if (given != NULL && *given != '\0') {
    snprintf (v->program, sizeof v->program, "%s", given);
    if (is_program (given))
      return 0;
    return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "vboxmanage=%s is no program", given);
  }
  for (size_t n; path != NULL && *path != '\0'; path += n, path += *path == ':') {
    n = strcspn (path, ":");
    snprintf (v->program, sizeof v->program, "%.*s/VBoxManage", (int) n, path);
    if (n > 0 && is_program (v->program))
      return 0;
  }
  return capstan_error (call, CAPSTAN_E_NOTFOUND, 0,
                        "VBoxManage is not in PATH: install VirtualBox 6.1 or later, or say where it "
                        "is with CAPSTAN_VBOXMANAGE=PATH");
}

/* Also when cancelled, if what is under way undoes. */
int
vb_pause (struct capstan_call *call, int flags, uint32_t ms)
{
  if (!(flags & VB_ALWAYS))
    return capstan_host_->sleep_ms (call, ms);
  usleep (ms * 1000);
  return 0;
}

static int
is_one_of (const char *command, const char *const *all)
{
  while (*all != NULL && strcmp (command, *all) != 0)
    all++;
  return *all != NULL;
}

/* Commands that change nothing and are answered at once. */
static int
is_question (const char *command)
{
  static const char *const all[] = { "showvminfo", "list", "getextradata", "--version", NULL };
  return is_one_of (command, all);
}

/* Those of which it does not matter whether they have been done already. */
static int
is_removal (const char *command)
{
  static const char *const all[] = { "unregistervm", "closemedium", NULL };
  return is_one_of (command, all);
}

/* How long a command may take. A running machine does at once what it is told, or, if it is
 * just ending, never (7.2). A client that has its answer may wait 10 s for a thread of its own
 * before it exits (7.2, two in a hundred): a question is soon asked anew, with more patience. */
static int64_t
limit_ms (const char *command, int flags, int tries)
{
  const char *given = getenv ("CAPSTAN_VBOX_TIMEOUT");
  long n = given != NULL ? strtol (given, NULL, 10) : 0;
  int64_t ms = (n > 0 && n <= 3600 ? n : ASK_SECONDS) * INT64_C (1000);
  if (is_question (command))
    return tries == 0 ? ms / 15 : tries == 1 ? ms / 3 : ms;
  ms = strcmp (command, "controlvm") == 0 ? ms / 3 : ms * CHANGE_TIMES;
  return (flags & VB_ALWAYS) && ms > UNDO_MS ? UNDO_MS : ms;
}

/* One command of a machine at a time: VBoxSVC crashes when it is asked about a machine that
 * another client is just removing (7.2: six workers on two processors, every second run). It
 * is a courtesy: who holds it for long, a stopped process say, is not waited for. *ret_fd is to
 * be closed after it, or -1. */
static int
take_turn (struct capstan_call *call, int flags, const char *id, int *ret_fd)
{
  const char *dir = id != NULL && strlen (id) == UUID_LEN && *id != '-' ? vb_file (call, id, "") : NULL;
  int64_t end = vb_now_ms () + PATIENCE_MS;
  int rc = 0;
  *ret_fd = dir != NULL ? open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  while (*ret_fd >= 0 && rc == 0 && flock (*ret_fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
         vb_now_ms () < end)
    rc = vb_pause (call, flags, ASK_MS);
  return rc;
}

static void
end_turn (int *fd)
{
  if (*fd >= 0)
    close (*fd);
  *fd = -1;
}

/* 1 once it has ended, 0 if it has not in time, or -code. One that is slow keeps nobody from
 * their turn (*turn, if it is one to give up). */
static int
await (struct capstan_call *call, int flags, int64_t pid, int64_t limit, int *turn)
{
  int64_t begin = vb_now_ms (), spent = 0;
  for (; spent < limit; spent = vb_now_ms () - begin) {
    siginfo_t si = { .si_pid = 0 };
    int rc;
    if (waitid (P_PID, (id_t) pid, &si, WEXITED | WNOHANG | WNOWAIT) != 0 || si.si_pid != 0)
      return 1;
    if (turn != NULL && spent > TURN_MS)
      end_turn (turn);
    if ((rc = vb_pause (call, flags, ASK_MS)) != 0)
      return rc;
  }
  return 0;
}

/* A question that is not answered in time is asked anew; with a change that is an error. */
static int
run_bounded (struct capstan_call *call, int flags, const struct capstan_run_req *q, struct capstan_run_rsp *p)
{
  const char *command = q->argv[1];
  int tries = is_question (command) ? ASK_TRIES : 1;
  for (int n = 0; n < tries; n++) {
    int turn, rc = take_turn (call, flags, q->argv[2], &turn), over = 0;
    if (rc == 0 && (rc = capstan_host_->run (call, q, p)) == 0) {
      int64_t pid = p->pid;
      over = await (call, flags, pid, limit_ms (command, flags, n), is_removal (command) ? NULL : &turn);
      rc = over == 1 ? capstan_host_->run_wait (call, pid, p) : over;
      if (over != 1)
        capstan_host_->run_kill (call, pid, SIGTERM);
    }
    end_turn (&turn);
    if (rc != 0 || over == 1)
      return rc;
  }
  if (flags & VB_QUIET)
    return -CAPSTAN_E_TIMEOUT;
  return capstan_error (call, CAPSTAN_E_TIMEOUT, 0, "VBoxManage %s does not answer, tried %d times; if VirtualBox "
                        "answers nobody any more, end its process VBoxSVC", command, tries);
}

static int
run_once (struct capstan_call *call, struct vbox *v, int flags, const struct vb_args *a, struct vb_reply *r)
{
  /* numbers and messages as they are in C; file names of any language */
  static const char *const env[] = { "LC_ALL=C.UTF-8", "LANGUAGE", NULL };
  const char *argv[sizeof a->v / sizeof *a->v + 2] = { v->program };
  memcpy (argv + 1, a->v, sizeof *argv * (size_t) a->n);
  struct capstan_run_req q = { .struct_size = sizeof q, .argv = argv, .env = env, .in_fd = -1, .out_fd = -1,
    .err_fd = -1, .flags = CAPSTAN_F_NO_WAIT | (flags & VB_ALWAYS ? CAPSTAN_F_FORCE : 0) };
  struct capstan_run_rsp p = { .struct_size = sizeof p };
  int rc = run_bounded (call, flags, &q, &p);
  if (rc != 0)
    return rc;
  if (p.exit_status > KILLED && !(flags & VB_ALWAYS) && capstan_host_->cancelled (call))
    return capstan_error (call, CAPSTAN_E_CANCELLED, 0, "cancelled"); /* the terminal's signal */
  *r = (struct vb_reply) { .status = p.exit_status, .out = p.out, .err = p.err,
                           .code = p.exit_status != 0 ? vb_error_code (p.err) : 0 };
  return 0;
}

int
vb_try (struct capstan_call *call, struct vbox *v, int flags, const struct vb_args *a, struct vb_reply *r)
{
  int services = 0, locks = 0, rc;
  for (;;) {
    if ((rc = run_once (call, v, flags, a, r)) != 0 || r->status == 0)
      return rc;
    int lost = r->status > KILLED || r->code == VB_ABORT;
    v->lost |= lost;
    int again = lost && (is_question (a->v[0]) || is_removal (a->v[0]));
    if ((again || vb_service_missing (r->err)) && services < SERVICE_TRIES)
      rc = vb_pause (call, flags, 100u << services++);
    else if ((flags & VB_LOCKED) && locks++ < LOCK_TRIES &&
             r->code == VB_INVALID_OBJECT_STATE)
      rc = vb_pause (call, flags, LOCK_MS);
    else
      return 0;
    if (rc != 0)
      return rc;
  }
}

static uint32_t
error_of (const struct vb_reply *r)
{
  switch (r->code) {
  case VB_OBJECT_NOT_FOUND:
    return CAPSTAN_E_NOTFOUND;
  case VB_INVALID_VM_STATE:
    return CAPSTAN_E_STATE;
  case VB_INVALID_OBJECT_STATE:
  case VB_OBJECT_IN_USE:
    return CAPSTAN_E_BUSY;
  case VB_ACCESS_DENIED:
    return CAPSTAN_E_PERM;
  default:
    return r->status == 2 ? CAPSTAN_E_UNSUPPORTED : CAPSTAN_E_IO;
  }
}

int
vb_fail (struct capstan_call *call, const struct vb_reply *r, const char *what, const char *object)
{
  char text[1024];
  vb_error_text (*r->err != '\0' ? r->err : r->out, text, sizeof text);
  const char *hint = "";
  if (*text == '\0' && r->status > KILLED)
    snprintf (text, sizeof text, "VBoxManage was ended by a signal: %s", strsignal (r->status - KILLED));
  if (strstr (r->err, "VERR_VMX_IN_VMX_ROOT_MODE") != NULL || strstr (r->err, "VERR_SVM_IN_USE") != NULL)
    hint = "; KVM has the processor: stop its machines first, or unload kvm_intel or kvm_amd";
  else if (r->code == VB_ABORT)
    hint = "; VBoxSVC or the machine's own process ended meanwhile";
  else if (access ("/dev/vboxdrv", F_OK) != 0 && strcmp (what, "start") == 0)
    hint = "; the kernel driver vboxdrv is not loaded: modprobe vboxdrv, or install virtualbox-dkms";
  return capstan_error (call, error_of (r), 0, "%s %s: %s%s", what, object,
                        *text != '\0' ? text : "VBoxManage gave no reason", hint);
}

int
vb_run (struct capstan_call *call, struct vbox *v, int flags, const struct vb_args *a,
        const char *what, const char *object)
{
  struct vb_reply r;
  int rc = vb_try (call, v, flags, a, &r);
  return rc != 0 || r.status == 0 ? rc : vb_fail (call, &r, what, object);
}

int
vb_simple (struct capstan_call *call, struct vbox *v, int flags, const char *what,
           const char *command, const char *id, ...)
{
  struct vb_args a = { .n = 0 };
  const char *word;
  va_list ap;
  vb_arg (&a, command);
  vb_arg (&a, id);
  va_start (ap, id);
  while ((word = va_arg (ap, const char *)) != NULL)
    vb_arg (&a, word);
  va_end (ap);
  return vb_run (call, v, flags, &a, what, id);
}

int
vb_version (struct capstan_call *call, struct vbox *v)
{
  struct vb_args a = { .v = { "--version" }, .n = 1 };
  struct vb_reply r;
  if (v->major != 0)
    return 0;
  int rc = vb_try (call, v, 0, &a, &r);
  if (rc != 0)
    return rc;
  if (r.status != 0 || vb_parse_version (r.out, &v->major, &v->minor) != 0) {
    v->major = 0;
    return vb_fail (call, &r, "ask the version of", v->program);
  }
  if (v->major > 6 || (v->major == 6 && v->minor >= 1))
    return 0;
  rc = capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0, "%s is version %d.%d; 6.1 is the oldest that is "
                      "supported", v->program, v->major, v->minor);
  v->major = 0;
  return rc;
}

/* Its folder is gone, or cannot be read: VirtualBox knows no more of it than its UUID. */
static int
is_inaccessible (struct capstan_call *call, struct vbox *v, int flags, const char *id)
{
  struct vb_args a = { .v = { "list", "vms" }, .n = 2 };
  struct vb_reply r;
  char line[64];
  snprintf (line, sizeof line, "\"<inaccessible>\" {%.36s}", id);
  return vb_try (call, v, flags, &a, &r) == 0 && r.status == 0 && strstr (r.out, line) != NULL;
}

int
vb_info (struct capstan_call *call, struct vbox *v, int flags, const char *id, struct vb_info *ret)
{
  struct vb_args a = { .v = { "showvminfo", id, "--machinereadable" }, .n = 3 };
  struct vb_reply r;
  int rc;
  for (int tries = 0; id != NULL; tries++) {
    if ((rc = vb_try (call, v, flags, &a, &r)) != 0)
      return rc;
    if (r.status == 0 || r.code == VB_OBJECT_NOT_FOUND)
      break;
    if (r.code == VB_ACCESS_DENIED && is_inaccessible (call, v, flags, id)) {
      *ret = (struct vb_info) { .state = "inaccessible", .changed = INT64_MIN };
      return 1;
    }
    /* while its process ends, a machine can say that it is not ready */
    if (tries == LOCK_TRIES || r.status > KILLED || r.code == VB_ABORT)
      return vb_fail (call, &r, "ask about", id);
    if ((rc = vb_pause (call, flags, LOCK_MS / 2)) != 0)
      return rc;
  }
  if (id == NULL || r.status != 0)
    return 0;
  char *text = strdup (r.out);
  if (text == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "out of memory");
  vb_parse_info (text, ret);
  free (text);
  return 1;
}

int
vb_driver (struct capstan_call *call, struct vbox *v)
{
  struct vb_args a = { .v = { "getextradata", "global", "VBoxInternal/HM/FallbackToIEM" }, .n = 3 };
  struct vb_reply r;
  if (access ("/dev/vboxdrv", F_OK) == 0)
    return 0;
  int rc = vb_try (call, v, 0, &a, &r);
  if (rc != 0 || (r.status == 0 && strstr (r.out, "Value: 1") != NULL))
    return rc;
  return capstan_error (call, CAPSTAN_E_UNSUPPORTED, 0,
                        "VirtualBox's kernel driver is not loaded (there is no /dev/vboxdrv): modprobe "
                        "vboxdrv, or install virtualbox-dkms and the headers of this kernel");
}
