#!/bin/sh
# Completion as a person meets it: bash, zsh and fish on a pseudo-terminal, the Tab key.
# SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
requires python3 --version
mkdir bin
printf '#!/bin/sh\nexec "%s/run" capstan "$@"\n' "$top_builddir" >bin/capstan
chmod +x bin/capstan
mkdir -p "$CAPSTAN_ROOT/repository/ns/webserver" "$CAPSTAN_ROOT/instances/qemu/instance-one"
head -c 1024 /dev/zero >"$CAPSTAN_ROOT/repository/ns/webserver/webserver.qemu"
echo 'name: instance-one' >"$CAPSTAN_ROOT/instances/qemu/instance-one/instance.yaml"
echo x >'Capstanfile.special'

cat >drive.py <<'END'
import os, pty, re, select, sys, time
shell, argv = sys.argv[1], sys.argv[2:]
# what is typed before Tab, and what the line must become
cases = [("capstan imag", "capstan images"), ("capstan plugin li", "capstan plugin list"),
         ("capstan build --dry", "capstan build --dry-run"), ("capstan rmi ns/", "ns/webserver"),
         ("capstan stop inst", "instance-one"), ("capstan -p nul", "null"),
         ("capstan build -f Capstanfile.", "Capstanfile.special")]
pid, fd = pty.fork ()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execvp (argv[0], argv)
seen = b""
def until (what, seconds = 60):
    global seen
    end = time.monotonic () + seconds
    while what not in re.sub (rb"\x1b(\[[0-9;?<>=]*[a-zA-Z]|[()=>][A-Z0-9]?)|\x07", b"", seen):
        left = end - time.monotonic ()
        if left <= 0 or not select.select ([fd], [], [], left)[0]:
            sys.exit ("%s: no %r after 60 s; there was %r" % (shell, what, seen[-600:]))
        chunk = os.read (fd, 65536)
        if b"\x1b[c" in chunk or b"\x1b[0c" in chunk: # "which terminal are you?"
            os.write (fd, b"\x1b[?62;c")
        seen += chunk
n = 0
def ready ():
    global n, seen
    n += 1 # the echo has the sum unsolved: only the answer matches
    os.write (fd, b"echo ready-$((%d + 0))\r" % n if shell != "fish" else b"echo ready-(math %d + 0)\r" % n)
    until (b"ready-%d" % n)
    seen = b""
for typed, becomes in cases:
    ready ()
    os.write (fd, typed.encode () + b"\t")
    until (becomes.encode ())
    os.write (fd, b"\x15") # erases the line
os.write (fd, b"exit\r")
END
PATH=$work/bin:$PATH; export PATH
HOME=$work; export HOME # no settings of the user's
unset BASH_ENV ENV
tried=
if command -v bash >/dev/null; then
  printf 'PS1="$ "\nbind "set enable-bracketed-paste off"\n. "%s/completion/capstan.bash"\n' "$top_srcdir" >rc.bash
  python3 drive.py bash bash --noprofile --rcfile rc.bash -i || fail "bash"
  tried="$tried bash"
fi
if command -v zsh >/dev/null; then
  printf 'PS1="$ "\nfpath=(%s/completion $fpath)\nautoload -Uz compinit; compinit -u -D\n' "$top_srcdir" >.zshrc
  ZDOTDIR=$work python3 drive.py zsh zsh -d -i || fail "zsh"
  tried="$tried zsh"
fi
if command -v fish >/dev/null; then
  mkdir -p .config/fish
  printf 'set -g fish_greeting\nset -g fish_autosuggestion_enabled 0\nsource %s/completion/capstan.fish\n' "$top_srcdir" >.config/fish/config.fish
  python3 drive.py fish fish -i || fail "fish"
  tried="$tried fish"
fi
[ -n "$tried" ] || skip "needs bash, zsh or fish"
echo "tried:$tried"
