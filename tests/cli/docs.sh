#!/bin/sh
# Help, manual page and completion say the same: every command and every option of --help is
# in the other two. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"

plain () { sed 's/\\f[BRIP]//g; s/\\-/-/g; s/\\e/\\/g'; }
capstan __man | plain >"$work/man"
# long options of a help text: "  -x, --name ARG" and "      --name"
options () { sed -n 's/^  \(-., \|    \)\(--[a-z0-9-]*\).*/\2/p' | sort -u; }
# check WORDS...: one command
n=0
check () {
  capstan "$@" --help >"$work/help"
  capstan __man "$1" | plain >"$work/page"
  grep -qF "capstan $* " "$work/page" || fail "'$*' is not in its manual page"
  capstan __complete "$@" -- >"$work/complete"
  head=".SS \"capstan $*\""; [ -n "${2:-}" ] || head=".SH DESCRIPTION"
  awk -v s="$head" '$0 == s { on = 1; next } /^\.S[SH]/ { on = 0 } on' "$work/page" >"$work/section"
  for o in $(options <"$work/help"); do
    n=$((n + 1))
    grep -q -e "^\(-., \)\{0,1\}$o\( \|\$\)" "$work/section" || fail "$* $o is not in the manual page"
    grep -qx -e "$o" "$work/complete" || fail "$* $o is not completed"
  done
}
capstan __complete "" >"$work/commands"
capstan help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' | sort >"$work/a"
sort "$work/commands" | cmp - "$work/a" || fail "help and completion list other commands"
while read -r c; do
  grep -qF "capstan-$c(1)" "$work/man" || fail "$c is not in capstan(1)"
  capstan "$c" --help >"$work/help"
  subs=$(sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' "$work/help")
  if [ -n "$subs" ]; then
    for s in $subs; do
      check "$c" "$s"
      capstan __complete "$c" "" | grep -qx "$s" || fail "$c $s is not completed"
    done
  else
    check "$c"
  fi
done <"$work/commands"
[ $n -gt 5 ] || fail "only $n options were seen"

# the options of every command
for o in $(capstan help | options); do
  grep -q -e "^\(-., \)\{0,1\}$o\( \|\$\)" "$work/man" || fail "$o is not in the manual page"
done

# values
[ "$(capstan __complete build --format "" | tr '\n' ' ')" = "raw qcow2 vdi vmdk vhd vhdx " ] || fail "choices"
# by the .plugin file: this .so cannot be loaded
mkdir "$work/plugins"
: >"$work/plugins/hypervisor-fake.so"
printf 'name: fake\nkind: hypervisor\n' >"$work/plugins/hypervisor-fake.plugin"
CAPSTAN_PLUGIN_PATH=$work/plugins; export CAPSTAN_PLUGIN_PATH
capstan __complete -p "" | grep -qx fake || fail "hypervisors"
capstan __complete plugin info "" | grep -qx fake || fail "plugins"
capstan __complete build -f "" | grep -qx :file || fail "files"

# the bash function itself
if command -v bash >/dev/null; then
  mkdir "$work/bin"
  printf '#!/bin/sh\nexec "%s/run" capstan "$@"\n' "$top_builddir" >"$work/bin/capstan"
  chmod +x "$work/bin/capstan"
  PATH=$work/bin:$PATH bash -c '. "$1"; COMP_WORDS=(capstan build --dry); COMP_CWORD=2; _capstan
    [ "${COMPREPLY[*]}" = --dry-run ]' - "$top_srcdir/completion/capstan.bash" || fail "bash: option"
  PATH=$work/bin:$PATH bash -c '. "$1"; COMP_WORDS=(capstan build --format = q); COMP_CWORD=4; _capstan
    [ "${COMPREPLY[*]}" = qcow2 ]' - "$top_srcdir/completion/capstan.bash" || fail "bash: value"
  : >"$work/one file"
  PATH=$work/bin:$PATH bash -c '. "$1"; COMP_WORDS=(capstan build -f one); COMP_CWORD=3; _capstan
    [ "${#COMPREPLY[@]}" = 1 ] && [ "${COMPREPLY[0]}" = "one file" ]' - \
    "$top_srcdir/completion/capstan.bash" || fail "bash: a file with a blank"
fi

# topics: each stands in the overview and explains something
for t in $(capstan help | sed -n 's/^capstan help TOPIC explains: //p'); do
  capstan help "$t" | grep -q 'See also:' || fail "help $t"
done
status 2 capstan help capstanfiel; err_has "Did you mean 'capstanfile'?"
status 2 capstan help plugin lits; err_has "Did you mean 'list'?"

# colour on a terminal only, and never with NO_COLOR
if command -v python3 >/dev/null; then
  cat >"$work/on-tty.py" <<'END'
import os, pty, sys
out = b""
def read (fd):
    global out
    b = os.read (fd, 4096)
    out += b
    return b""
pty.spawn (sys.argv[1:], read)
print (out.decode (), end = "")
END
  export TERM=xterm
  python3 "$work/on-tty.py" "$top_builddir/run" capstan rmi nothere </dev/null >"$work/tty"
  grep -q "$(printf '\033')" "$work/tty" || fail "no colour on a terminal: $(cat "$work/tty")"
  NO_COLOR=1 python3 "$work/on-tty.py" "$top_builddir/run" capstan rmi nothere </dev/null >"$work/tty"
  ! grep -q "$(printf '\033')" "$work/tty" || fail "colour with NO_COLOR"
  grep -q nothere "$work/tty" || fail "no message"
fi
status 3 capstan rmi nothere
! grep -q "$(printf '\033')" "$work/err" || fail "colour in a file"

# the pages are good roff
if command -v groff >/dev/null; then
  for page in "$top_builddir"/docs/man/*.1 "$top_srcdir"/docs/*.[1-9] "$top_srcdir"/plugins/*/*.1; do
    groff -t -man -Tutf8 -ww "$page" 2>"$work/err" >"$work/out"
    [ ! -s "$work/err" ] || { cat "$work/err" >&2; fail "$page"; }
  done
fi
