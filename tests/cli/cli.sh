#!/bin/sh
# The command line: help, version, errors and exit status.
# SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"

status 0 capstan --version
[ "$(cat "$work/out")" = "capstan version 0.1.0" ] || fail "version"
status 0 capstan -v
out_has "capstan version 0.1.0"
status 0 capstan --version -v
out_has hypervisor-null
status 2 capstan
out_has "usage: capstan"
for h in help h --help -h; do status 0 capstan $h; out_has "  images"; done
status 0 capstan help build
out_has --dry-run
status 0 capstan help plugin list
out_has --json
status 2 capstan help nothing

# one line, with the program's name once
status 2 capstan imgaes
err_has "capstan: unknown command 'imgaes'. Did you mean 'images'? See: capstan help"
[ "$(wc -l <"$work/err")" -eq 1 ] || fail "more than one line"
status 2 capstan build --frce
err_has "Did you mean --force?"
status 125 capstan run -n lan x
err_has "capstan: -n lan: expected one of nat"
status 3 capstan rmi not-there
err_has not-there

# the original's, not there yet, whatever follows
for c in "package compose --size 10G x" "runtime list" "stack push -f x" "openstack run" \
  "compose-remote h"
do
  status 2 capstan $c
  err_has "not supported yet: "
done
status 2 capstan -p vmw images
err_has "not supported yet"
# options that say nothing to a command are not passed over
for o in "--repo x" "-u http://127.0.0.1/" "-r any" --s3; do
  status 2 capstan $o images
  err_has "asks no repository"
done
status 2 capstan --repo x --s3 search
err_has "both name a repository"

# settings and where they come from
mkdir -p "$CAPSTAN_ROOT"
status 0 capstan config print
out_has "CAPSTAN_ROOT: $CAPSTAN_ROOT"
out_has "hypervisor: kvm (default)"
echo 'hypervisor: fromfile' >"$CAPSTAN_ROOT/config.yaml"
status 0 capstan config print
out_has "hypervisor: fromfile (config.yaml)"
CAPSTAN_HYPERVISOR=fromenv; export CAPSTAN_HYPERVISOR
status 0 capstan config print
out_has "hypervisor: fromenv (CAPSTAN_HYPERVISOR)"
unset CAPSTAN_HYPERVISOR

# output that cannot be written is an error; a reader that leaves is none
if [ -w /dev/full ]; then
  got=0; capstan help >/dev/full 2>"$work/err" || got=$?
  [ $got -eq 1 ] || fail "full disk: $got"
  err_has "standard output"
fi
got=0; capstan help >&- 2>"$work/err" || got=$?
[ $got -eq 1 ] || fail "closed output: $got"
{ got=0; capstan help || got=$?; echo $got >"$work/rc"; } | :
[ "$(cat "$work/rc")" -eq 0 ] || fail "closed pipe: $(cat "$work/rc")"
