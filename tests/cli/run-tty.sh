#!/bin/sh
# It boots machines.
# The terminal as a console: what Ctrl-] does, that the terminal is as it was afterwards
# whatever ended it, and input that the guest is slow to read.
. "$top_srcdir/tests/functions.sh"
use_linux_base
requires python3 --version
requires capstan plugin info kvm
virsh -q list >/dev/null 2>&1 || skip "libvirt does not answer here (tools/start-libvirt starts it)"

mkdir app; cat >app/t.c <<'END'
#include <stdio.h>
#include <string.h>
#include <unistd.h>
/* Says how many lines it got until "end"; prints before it reads, so that both ways are full. */
int main (void) {
  char line[512]; long n = 0;
  puts ("listening"); fflush (stdout);
  while (fgets (line, sizeof line, stdin) && strncmp (line, "end", 3)) n++;
  printf ("got %ld lines\n", n);
  return 5;
}
END
cc -static -O1 -o app/t app/t.c
cp "$(command -v busybox)" app/sh
printf 'base: linux\ncmdline: /t\nfiles:\n  /t: t\n  /bin/sh: sh\n  /bin/cat: sh\n' >app/Capstanfile
status 0 capstan build -C app app
cleanup 'for i in app tty; do capstan delete -f $i >/dev/null 2>&1; done'

cat >drive.py <<'END'
import os, select, signal, subprocess, sys, termios, time
master, slave = os.openpty ()
before = termios.tcgetattr (slave)
def run (*args):
    return subprocess.Popen ([os.environ["top_builddir"] + "/run", "capstan", *args], stdin=slave,
                             stdout=slave, stderr=slave, start_new_session=True)
def until (text, seconds=90):
    got, end = b"", time.monotonic () + seconds
    while text not in got:
        left = end - time.monotonic ()
        assert left > 0 and select.select ([master], [], [], left)[0], (text, got)
        got += os.read (master, 65536)
    return got
def ends (p, want):
    got = p.wait (60)
    assert got == want, (got, want)
    assert termios.tcgetattr (slave) == before, "the terminal is not as it was"
# detach, come back, type, end
p = run ("run", "--name", "tty", "app")
until (b"Ctrl-] detaches"); until (b"listening")
assert termios.tcgetattr (slave) != before
os.write (master, b"\x1d"); until (b"detached"); ends (p, 0)
p = run ("console", "tty"); until (b"Ctrl-] detaches")
# what is typed comes back once, from the guest's terminal
os.write (master, b"one\rtwo\rend\r"); got = until (b"got 2 lines"); ends (p, 0)
assert got.count (b"one\r\n") == got.count (b"two\r\n") == got.count (b"end\r\n") == 1, got
# a shell works as on any terminal, and so does what it runs
p = run ("run", "--rm", "-e", "/bin/sh", "app"); until (b"# ")
os.write (master, b"echo a$((1+1))b\r"); until (b"a2b\r\n")
os.write (master, b"echo g$((0))o; cat\r"); until (b"g0o\r\n") # its own line editor is done
os.write (master, b"xyz\r"); until (b"xyz\r\nxyz\r\n")
os.write (master, b"\x04"); until (b"# ")
os.write (master, b"exit 7\r"); ends (p, 7)
# Ctrl-] twice stops; SIGTERM does
p = run ("run", "--rm", "app"); until (b"listening")
os.write (master, b"\x1d\x1d"); ends (p, 143)
p = run ("run", "--rm", "app"); until (b"listening")
os.kill (p.pid, signal.SIGTERM); ends (p, 143)
END
python3 drive.py || fail "the terminal"
status 0 capstan delete tty

# text from a pipe does not come back as output, and its end is the application's
got=0; printf 'one\ntwo' | timeout 120 "$top_builddir/run" capstan run --rm -e /bin/cat app >out 2>err || got=$?
[ $got = 0 ] || { cat out err >&2; fail "status $got"; }
[ "$(cat out)" = "one
two" ] || { cat -A out >&2; fail "not what was piped"; }
# the same for one that is attached later, whose input is not all that there is
status 0 capstan run -d --name later app
wait_for 60 grep -q listening "$CAPSTAN_ROOT/instances/qemu/later/console.log"
cleanup 'capstan delete -f later >/dev/null 2>&1'
{ printf 'one\n' | timeout 120 "$top_builddir/run" capstan console later >out 2>err & } ; first=$!
wait_for 60 grep -q 'echo off' "$CAPSTAN_ROOT/instances/qemu/later/control.log"
status 0 capstan stop later
wait $first || { cat err >&2; fail "the console: status $?"; }
! grep one out || fail "the input came back"
grep -q 'echo off' "$CAPSTAN_ROOT/instances/qemu/later/control.log" || fail "nobody asked for quiet"

# more input than every buffer on the way holds
{ seq -f '%.0f a line of input' 20000; echo end; } >input
got=0; timeout 120 "$top_builddir/run" capstan run --rm app <input >out 2>err || got=$?
[ $got = 5 ] || { tail -n 3 out err >&2; fail "status $got"; }
grep -qx 'got 20000 lines' out || { tail -n 3 out >&2; fail "input was lost"; }
