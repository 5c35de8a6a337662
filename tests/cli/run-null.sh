#!/bin/sh
# The life of an instance on the hypervisor that runs nothing: it prints the command line.
. "$top_srcdir/tests/functions.sh"
capstan plugin info null >/dev/null 2>&1 || skip "hypervisor-null is not built"
CAPSTAN_HYPERVISOR=null; export CAPSTAN_HYPERVISOR
# an OSv loader as far as composing looks at it
dd if=/dev/zero of=loader.img bs=64k count=3 status=none
printf '\125\252' | dd of=loader.img bs=1 seek=510 conv=notrunc status=none
status 0 capstan import loader loader.img
mkdir app; echo data >app/data
cat >app/Capstanfile <<'END'
base: loader
cmdline: --env=A=b /app one
files:
  /app: data
END
status 0 capstan build -C app app

# it boots what was built in, and -e and --env change the instance only
status 0 capstan run --rm app
out_has "--env=A=b /app one"
status 0 capstan run --rm -e '/other two' app
out_has "--env=A=b /other two"
status 0 capstan run --rm --env 'C=d e' app
out_has '--env=C=d\ e'
status 0 capstan run --rm app
out_lacks other

# names, logs, rmi in between
status 0 capstan run --name one app
status 0 capstan logs one
out_has "/app one"
status 0 capstan instances
out_has stopped
status 0 capstan instances --json
python3 -c 'import json; i = json.load (open ("out")); assert [x["name"] for x in i] == ["one"], i' || fail "JSON"
status 125 capstan run --name one app
err_has "capstan delete one"
status 4 capstan rmi app
status 0 capstan delete one
status 3 capstan delete one
status 3 capstan logs one

# in the background
status 0 capstan run -d --rm app
name=$(cat "$work/out")
gone () { ! capstan instances | grep -q "^$name "; }
wait_for 10 gone

# one that stays: attached, its console ends when somebody else stops it
runs () { capstan instances | grep -q "^$1 .*running"; }
capstan run --name held --option hold=true app >held </dev/null & pid=$!
wait_for 20 runs held
status 4 capstan delete held
status 0 capstan stop held
wait $pid || fail "the attached run: status $?"
grep -qxF -e '--env=A=b /app one' held || fail "its console: $(cat held)"
status 0 capstan delete held
# detached, and a console that comes later
status 0 capstan run -d --name held --option hold=true app
capstan console held >late </dev/null & pid=$!
# it has the lock; trying for it here would be in its way
wait_for 20 sh -c "grep -q \":\$(stat -c %i '$CAPSTAN_ROOT/instances/qemu/held/attached') \" /proc/locks"
status 0 capstan stop held
wait $pid || fail "the console: status $?"
status 0 capstan delete held

# what is wrong is said before anything is made, and costs nobody his stopped instance
status 0 capstan run app
before=$(find "$CAPSTAN_ROOT/instances" "$CAPSTAN_ROOT/state" | sort)
status 125 capstan run -f 8080 app
err_has 8080
status 125 capstan run -n bridge app
err_has bridge
status 125 capstan run nothing
err_has "no image 'nothing'"
status 125 capstan run -p nowhere app
err_has "no hypervisor plugin 'nowhere'"
status 125 capstan run --name two -n tap app
err_has tap
status 125 capstan run --option hold=perhaps app
err_has "hold"
status 125 capstan run --option nothing app
err_has "KEY=VALUE"
[ "$(find "$CAPSTAN_ROOT/instances" "$CAPSTAN_ROOT/state" | sort)" = "$before" ] || fail "something was made or lost"
status 0 capstan delete app
status 0 capstan rmi app
[ -z "$(ls "$CAPSTAN_ROOT/instances/qemu" 2>/dev/null)" ] || fail "an instance is left"
