/* The init of the embedded Linux base: follows the guest contract, runs the application,
 * reports how it ended, powers off. It is process 1 and never exits.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The console (ttyS0) carries the application's bytes only, but for one line where the
 * machine cannot do what was asked. The control channel is ttyS1: "ready", "exit N" out;
 * "stop", "echo on" and "echo off" in. */
#define _GNU_SOURCE
#include "init.h"
#include "cmdline.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { CMDLINE_OFFSET = 512, CMDLINE_MAX = 32256, STOP_SECONDS = 10,
       KERNEL_OFFSET = 2048 * 512 };
static int control = -1, power_button = -1, signals = -1;
static int stopping;
static pid_t asked[64];
static size_t n_asked;
static time_t kill_at;

void
say (const char *fmt, ...)
{
  va_list ap;
  va_start (ap, fmt);
  vfprintf (stderr, fmt, ap);
  va_end (ap);
  fputc ('\n', stderr);
}

static void
report (const char *fmt, ...)
{
  char line[64];
  va_list ap;
  va_start (ap, fmt);
  int n = vsnprintf (line, sizeof line, fmt, ap);
  va_end (ap);
  if (control >= 0 && write (control, line, (size_t) n) == n)
    tcdrain (control);
}

static void
power_off (int status)
{
  fflush (NULL);
  tcdrain (STDOUT_FILENO);
  report ("exit %d\n", status);
  sync ();
  mount (NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
  reboot (RB_POWER_OFF);
  for (;;)
    pause ();
}

static void
die (int status, const char *what)
{
  say ("init: %s: %s", what, strerror (errno));
  power_off (status);
}

static void
open_serials (void)
{
  struct termios t;
  int fd = open ("/dev/ttyS0", O_RDWR);
  if (fd < 0)
    fd = open ("/dev/console", O_RDWR);
  for (int i = 0; i < 3 && fd >= 0; i++)
    dup2 (fd, i);
  if (fd > 2)
    close (fd);
  control = open ("/dev/ttyS1", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (control >= 0 && tcgetattr (control, &t) == 0) {
    cfmakeraw (&t);
    t.c_cflag |= CLOCAL;
    cfsetspeed (&t, B115200);
    tcsetattr (control, TCSANOW, &t);
    fcntl (control, F_SETFL, O_RDWR);
  }
}

static void
mount_basics (void)
{
  mkdir ("/dev", 0755);
  mkdir ("/proc", 0555);
  mkdir ("/sys", 0555);
  mount ("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
  mount ("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount ("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/* Is this disk ours and no volume: partition entry 2 of type 0x83, and a kernel where the
 * base has it. Its command line goes to buf. */
static int
read_disk (const char *dev, char *buf)
{
  unsigned char mbr[512];
  char magic[4];
  int fd = open (dev, O_RDONLY | O_CLOEXEC);
  int ok = fd >= 0 && pread (fd, mbr, sizeof mbr, 0) == sizeof mbr && mbr[510] == 0x55 &&
           mbr[511] == 0xaa && mbr[0x1ce + 4] == 0x83 &&
           pread (fd, magic, sizeof magic, KERNEL_OFFSET + 0x202) == sizeof magic &&
           memcmp (magic, "HdrS", 4) == 0;
  if (ok) {
    ssize_t n = pread (fd, buf, CMDLINE_MAX - 1, CMDLINE_OFFSET);
    buf[n > 0 ? n : 0] = '\0';
  }
  if (fd >= 0)
    close (fd);
  return ok;
}

static int
find_disk (char *cmdline, char *part, size_t partlen)
{
  static const char *const disks[] = { "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/vdb",
                                       "/dev/sdb" };
  for (size_t i = 0; i < sizeof disks / sizeof *disks; i++) {
    snprintf (part, partlen, "%s%s2", disks[i], strstr (disks[i], "nvme") ? "p" : "");
    if (access (part, F_OK) == 0 && read_disk (disks[i], cmdline))
      return 1;
  }
  return 0;
}

/* What the network told us, where the application looks for it: never over a file or link
 * of the image's own, but over what we wrote at an earlier start. */
static void
write_resolv_conf (void)
{
  static const char mark[] = "# by init, from the network\n";
  char buf[4096], old[sizeof mark - 1];
  int in = open ("/etc/resolv.conf", O_RDONLY | O_CLOEXEC);
  if (in < 0)
    return;
  mkdir ("/root/etc", 0755);
  int out = open ("/root/etc/resolv.conf", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
  ssize_t have = out >= 0 ? read (out, old, sizeof old) : -1;
  if (have == 0 || (have == sizeof old && memcmp (old, mark, sizeof old) == 0)) {
    ssize_t n = read (in, buf, sizeof buf);
    if (n < 0 || ftruncate (out, 0) != 0 ||
        pwrite (out, mark, sizeof mark - 1, 0) != sizeof mark - 1 ||
        pwrite (out, buf, (size_t) n, sizeof mark - 1) != n)
      say ("init: warning: /etc/resolv.conf: %s", strerror (errno));
  }
  if (out >= 0)
    close (out);
  close (in);
}

static void
mount_root (const char *part)
{
  mkdir ("/root", 0755);
  if (mount (part, "/root", "ext4", MS_NOATIME, "") != 0 &&
      mount (part, "/root", "ext4", MS_RDONLY, "") != 0)
    die (125, "mounting the application's file system (ext4, partition 2)");
  static const char *const moved[] = { "dev", "proc", "sys" };
  for (size_t i = 0; i < 3; i++) {
    char from[16], to[32];
    snprintf (from, sizeof from, "/%s", moved[i]);
    snprintf (to, sizeof to, "/root/%s", moved[i]);
    mkdir (to, 0755);
    if (mount (from, to, NULL, MS_MOVE, NULL) != 0)
      say ("init: warning: /%s of the image: %s", moved[i], strerror (errno));
  }
  write_resolv_conf ();
  if (chdir ("/root") != 0 || mount (".", "/", NULL, MS_MOVE, NULL) != 0 ||
      chroot (".") != 0 || chdir ("/") != 0)
    die (125, "changing to the application's file system");
  mkdir ("/tmp", 01777);
  mkdir ("/run", 0755);
  mount ("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  mount ("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
  mkdir ("/dev/pts", 0755);
  mount ("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666");
  mkdir ("/dev/shm", 01777);
  mount ("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
}

/* A clock that the application cannot set. */
static time_t
now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec;
}

static void
begin_stop (void)
{
  if (stopping)
    return;
  stopping = 1;
  kill_at = now () + STOP_SECONDS;
  kill (-1, SIGTERM);
}

/* Does the console's terminal send back what it is sent? One that the application has put
 * into another mode than lines is its own business. */
static void
set_echo (int on)
{
  struct termios t;
  if (tcgetattr (STDIN_FILENO, &t) == 0 && (t.c_lflag & ICANON)) {
    t.c_lflag = on ? t.c_lflag | ECHO : t.c_lflag & ~(tcflag_t) ECHO;
    tcsetattr (STDIN_FILENO, TCSANOW, &t);
  }
  report ("echo %s\n", on ? "on" : "off");
}

static void
read_control (void)
{
  static char line[64];
  static size_t have;
  char c;
  while (read (control, &c, 1) == 1) {
    if (c == '\n' || c == '\r') {
      line[have] = '\0';
      have = 0;
      if (strcmp (line, "stop") == 0)
        begin_stop ();
      else if (strcmp (line, "echo on") == 0 || strcmp (line, "echo off") == 0)
        set_echo (line[6] == 'n');
      return;
    }
    if (have < sizeof line - 1)
      line[have++] = c;
  }
}

static void
read_power_button (void)
{
  struct input_event e;
  if (read (power_button, &e, sizeof e) == sizeof e && e.type == EV_KEY &&
      e.code == KEY_POWER && e.value == 1)
    begin_stop ();
}

/* The keyboard may be event0, and it has a power key too: the name decides. */
static void
open_power_button (void)
{
  for (int i = 0; i < 8 && power_button < 0; i++) {
    char path[32], name[64] = "";
    snprintf (path, sizeof path, "/dev/input/event%d", i);
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && ioctl (fd, EVIOCGNAME (sizeof name - 1), name) >= 0 &&
        strcmp (name, "Power Button") == 0)
      power_button = fd;
    else if (fd >= 0)
      close (fd);
  }
}

static int
status_of (int st)
{
  return WIFSIGNALED (st) ? 128 + WTERMSIG (st) : WEXITSTATUS (st);
}

/* Waits until pid has ended (0: until no child is left), serving the control channel. */
static int
wait_for (pid_t pid)
{
  for (;;) {
    int st;
    pid_t p;
    while ((p = waitpid (-1, &st, WNOHANG)) > 0)
      if (p == pid)
        return status_of (st);
    if (p < 0 && errno == ECHILD)
      return 0;
    struct pollfd f[3] = { { signals, POLLIN, 0 }, { control, POLLIN, 0 },
                           { power_button, POLLIN, 0 } };
    int left = stopping ? (int) (kill_at - now ()) * 1000 : -1;
    if (stopping && left <= 0) {
      kill (-1, SIGKILL);
      left = 1000;
    }
    if (poll (f, 3, left) <= 0)
      continue;
    if (f[0].revents & POLLIN) {
      struct signalfd_siginfo si;
      /* the last two: poweroff and halt of busybox, from inside */
      if (read (signals, &si, sizeof si) == sizeof si &&
          (si.ssi_signo == SIGTERM || si.ssi_signo == SIGUSR1 || si.ssi_signo == SIGUSR2))
        begin_stop ();
    }
    if (f[1].revents & POLLIN)
      read_control ();
    if (f[2].revents & POLLIN)
      read_power_button ();
  }
}

static void __attribute__ ((noreturn))
not_started (const char *name, int e)
{
  /* a program that is there and whose loader is not says ENOENT as well */
  if (e == ENOENT && access (name, F_OK) == 0)
    fprintf (stderr, "%s: its interpreter or dynamic loader is not in the image\n", name);
  else if (e == ENOENT)
    fprintf (stderr, "%s: not found in the image\n", name);
  else if (e == ENOEXEC)
    fprintf (stderr, "%s: not a program for this machine, nor a script that begins with #!\n",
             name);
  else if (e == EACCES)
    fprintf (stderr, "%s: not executable\n", name);
  else
    fprintf (stderr, "%s: %s\n", name, strerror (e));
  _exit (e == ENOENT ? 127 : 126);
}

/* Executes name from each folder of list; answers only if none has it. A folder that has
 * it and cannot execute it decides the error. */
static int
try_folders (const char *list, char **argv)
{
  char path[4096];
  int e = ENOENT;
  while (*list != '\0') {
    size_t n = strcspn (list, ":");
    if ((size_t) snprintf (path, sizeof path, "%.*s/%s", (int) n, list, argv[0]) < sizeof path) {
      execv (path, argv);
      int why = errno;
      if (e == ENOENT && why != ENOTDIR && access (path, F_OK) == 0) {
        e = why;
        if (why == ENOENT) /* it is there, its loader is not: with the path it is said */
          not_started (path, why);
      }
    }
    list += n + (list[n] == ':');
  }
  return e;
}

/* A foreground command becomes the terminal's, so that Ctrl-C reaches it and not us. */
static pid_t
start (char **argv, int foreground)
{
  static const char fallback[] = ".:/:/usr/lib"; /* where OSv looks for a bare name */
  pid_t p = fork ();
  if (p != 0) {
    /* both sides do it: whoever is first, it is done before either goes on */
    setpgid (p, p);
    if (foreground)
      tcsetpgrp (STDIN_FILENO, p);
    return p;
  }
  setpgid (0, 0);
  if (foreground)
    tcsetpgrp (STDIN_FILENO, getpid ());
  sigset_t none;
  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  if (strchr (argv[0], '/') != NULL) {
    execv (argv[0], argv);
    not_started (argv[0], errno);
  }
  const char *path = getenv ("PATH");
  int e = path != NULL ? try_folders (path, argv) : ENOENT;
  not_started (argv[0], e == ENOENT ? try_folders (fallback, argv) : e);
}

static void
set_env (char *kv)
{
  char *v = strchr (kv, '=');
  int soft = v > kv && v[-1] == '?';
  v[soft ? -1 : 0] = '\0';
  setenv (kv, v + 1, !soft);
}

static int run_text (const char *text, int depth);

/* `runscript FILE`: each line is a command line of its own. */
static int
run_script (const char *path, int depth)
{
  char *line = NULL;
  size_t size = 0;
  int st = 0;
  FILE *f = depth < 8 ? fopen (path, "re") : NULL;
  if (f == NULL) {
    say ("runscript %s: %s", path, depth < 8 ? strerror (errno) : "nested too deep");
    return 127;
  }
  while (getline (&line, &size, f) > 0) {
    line[strcspn (line, "\r\n")] = '\0';
    st = run_text (line, depth + 1);
  }
  free (line);
  fclose (f);
  return st;
}

/* Options and commands of one text; answers the status of the last foreground command. */
static int
run_text (const char *text, int depth)
{
  struct options o = { 0 };
  struct command *c;
  const char *rest;
  char err[512];
  if (options_parse (text, &o, &rest, err, sizeof err) != 0) {
    say ("init: %s", err);
    return 125;
  }
  for (size_t i = 0; i < o.n_env; i++)
    set_env (depth > 0 ? word_expand (o.env[i]) : o.env[i]);
  for (size_t i = 0; o.verbose && i < o.n_ignored; i++)
    say ("init: warning: --%s means nothing to this guest and is ignored", o.ignored[i]);
  if (depth == 0) {
    if (o.cwd != NULL && chdir (o.cwd) != 0)
      say ("init: --cwd=%s: %s", o.cwd, strerror (errno));
    if (o.redirect != NULL) {
      int append = strncmp (o.redirect, ">>", 2) == 0;
      int fd = open (o.redirect + (append ? 2 : 0),
                     O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), 0644);
      if (fd < 0)
        say ("init: --redirect=%s: %s", o.redirect, strerror (errno));
      else {
        dup2 (fd, 1);
        dup2 (fd, 2);
        close (fd);
      }
    }
    report ("ready\n");
  }
  int n = commands_parse (rest, &c, err, sizeof err), st = 0;
  if (n <= 0 && depth == 0) {
    say ("init: %s", n < 0 ? err : "this image has an empty command line: nothing to run");
    return 125;
  }
  for (int i = 0; i < n && !stopping; i++) {
    if (strcmp (c[i].argv[0], "runscript") == 0 && c[i].argv[1] != NULL) {
      st = run_script (c[i].argv[1], depth);
      continue;
    }
    int foreground = c[i].end == ';' || c[i].end == '!';
    pid_t p = start (c[i].argv, foreground);
    if (p < 0)
      die (125, "fork");
    if (foreground)
      st = wait_for (p);
    if (c[i].end == '!')
      kill (-p, SIGTERM);
    if (c[i].end == 'T' && n_asked < sizeof asked / sizeof *asked)
      asked[n_asked++] = p; /* asked to end when the rest is through */
  }
  return st;
}

int
main (void)
{
  static char cmdline[CMDLINE_MAX];
  char part[32], err[512];
  struct options o = { 0 };
  const char *rest;
  sigset_t set;
  mount_basics ();
  open_serials ();
  sigfillset (&set);
  sigprocmask (SIG_BLOCK, &set, NULL);
  signals = signalfd (-1, &set, SFD_CLOEXEC);
  modules_load ("/modules.list");
  open_power_button ();
  setenv ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
  setenv ("HOME", "/root", 1);
  setenv ("TERM", "linux", 0);
  if (!wait_for_device (cmdline, part, sizeof part, find_disk)) {
    say ("init: no disk with the application in partition 2 (looked for virtio, SATA, IDE and "
         "NVMe disks for 30 s)");
    power_off (125);
  }
  if (options_parse (cmdline, &o, &rest, err, sizeof err) == 0)
    network_up (&o);
  mount_root (part);
  setsid ();
  ioctl (STDIN_FILENO, TIOCSCTTY, 1);
  int st = run_text (cmdline, 0);
  for (size_t i = 0; i < n_asked; i++)
    kill (asked[i], SIGTERM);
  wait_for (0); /* what runs in the background is part of the application */
  power_off (st);
}
