#!/bin/bash
# An image in a format that the store lacks is converted once and kept: capstan export, capstan
# build --format, and a machine of a hypervisor that takes raw disks only. It is never that of an
# older image, and goes with its image.
. "$top_srcdir/tests/functions.sh"
requires qemu-img --version
capstan plugin info null >/dev/null 2>&1 || skip "hypervisor-null is not built"
export CAPSTAN_HYPERVISOR=null
cache=$CAPSTAN_ROOT/cache/formats
# a qemu-img that tells how often it converts; with the file `full' it has no room for what goes into
# the cache, with `slow' it does not come to an end
mkdir bin; real=$(command -v qemu-img)
cat >bin/qemu-img <<END2
#!/bin/sh
[ "\$1" != convert ] || echo "\$*" >>"$work/converted"
if [ "\$1" = convert ] && [ -e "$work/full" ]; then
  case \$* in *"$cache"*) echo "No space left on device" >&2; exit 1 ;; esac
fi
if [ "\$1" = convert ] && [ -e "$work/slow" ]; then touch "$work/began"; exec sleep 1000; fi
exec $real "\$@"
END2
chmod +x bin/qemu-img; PATH=$work/bin:$PATH
converted () { # converted N: so often since it was asked
  n=$(cat converted 2>/dev/null | wc -l); rm -f converted
  [ "$n" = "$1" ] || fail "converted $n times, not $1"
}
kept () { find "$cache" -type f 2>/dev/null | wc -l; }
boot_disk loader.img
status 0 capstan import loader loader.img
mkdir app; echo one >app/data
printf 'base: loader\ncmdline: /x\nfiles:\n  /data: data\n' >app/Capstanfile
status 0 capstan build -C app --format qcow2 ns/app
rm -f converted
image=$(ls "$CAPSTAN_ROOT"/repository/ns/app/app.*)

# ---- once: the second export, in another process, copies ----
status 0 capstan export ns/app --format vmdk; converted 1
cp app.vmdk first.vmdk
status 0 capstan export ns/app --format vmdk --force; converted 0
same app.vmdk first.vmdk
qemu-img compare -q -f qcow2 -F vmdk "$image" app.vmdk
# what somebody does to the file does not come back
echo spoilt >app.vmdk
status 0 capstan export ns/app --format vmdk --force; same app.vmdk first.vmdk
status 0 capstan export ns/app --format vdi; converted 1
[ "$(kept)" = 2 ] || fail "$(ls "$cache")"
# its own format, and compressed, are not kept
status 0 capstan export ns/app --format qcow2; status 0 capstan export ns/app --format vmdk --compress -o small.vmdk
[ "$(kept)" = 2 ] || fail "$(ls "$cache")"
rm -f converted
# two at once wait for each other
rm "$cache"/*vdi
for i in 1 2 3; do "$top_builddir/run" capstan export ns/app --format vdi -o $i.vdi 2>/dev/null & done; wait
converted 1
same 1.vdi 2.vdi; same 1.vdi 3.vdi

# ---- a machine that needs it raw: all instances of one conversion, which they do not write ----
disk () { echo "$CAPSTAN_ROOT"/instances/*/"$1"/disk.raw; }
for n in a b; do status 0 capstan run --name $n ns/app; done
converted 1
same "$(disk a)" "$(disk b)"
sum=$(sha256sum "$cache"/*.raw)
status 0 capstan run --name c -e '/other words' ns/app; out_has '/other words'
converted 0
[ "$(sha256sum "$cache"/*.raw)" = "$sum" ] || fail "an instance wrote into the cache"
status 0 capstan delete a b c

# ---- another image of the name: never what the one before was ----
echo two >app/data
cp "$cache"/*.vmdk kept.vmdk; old=$(ls "$cache"/*.vmdk)
status 0 capstan build -C app --format qcow2 ns/app; rm -f converted
[ "$(kept)" = 0 ] || fail "what was made of the old one is left: $(ls "$cache")"
mv kept.vmdk "$old" # as if it had been killed before that
status 0 capstan export ns/app --format vmdk --force; converted 1
qemu-img compare -q -f qcow2 -F vmdk "$image" app.vmdk || fail "an old image"
[ "$(kept)" = 1 ] || fail "what was made of the old one is left: $(ls "$cache")"

# ---- no room for it: then without; cancelled: nothing is left ----
touch full
status 0 capstan export ns/app --format vdi --force
qemu-img compare -q -f qcow2 -F vdi "$image" app.vdi
status 0 capstan run --name a ns/app; status 0 capstan delete a
[ "$(kept)" = 1 ] || fail "$(ls -a "$cache")"
rm full; touch slow
"$top_builddir/run" capstan export ns/app --format vhdx 2>err.slow & pid=$!
wait_for 30 test -e began
status 0 capstan prune # what is being made stays
[ "$(kept)" = 2 ] || fail "prune: $(ls -a "$cache")"
kill -TERM $pid; st=0; wait $pid || st=$?
[ $st != 0 ] && [ "$(kept)" = 1 ] && [ ! -e app.vhdx ] || fail "cancelled: $st $(ls -a "$cache")"
rm -f slow began converted
# one that was killed leaves a part of a file: the next conversion of that image takes it away
key=$(ls "$cache" | cut -c1-32)
echo part >"$cache/.tmp-$key-dead00"
status 0 capstan export ns/app --format vhdx
[ "$(kept)" = 2 ] || fail "$(ls -a "$cache")"
rm -f converted app.vhdx

# ---- build ----
status 0 capstan build -C app --format vhdx -o out.vhdx ns/app
converted 1
qemu-img compare -q -f raw -F vhdx "$CAPSTAN_ROOT"/repository/ns/app/app.* out.vhdx
status 0 capstan build -C app --format vmdk ns/app
err_has "ns/app is up to date"; err_has "exported ns/app to app.vmdk"
status 0 capstan build -C app --format raw -o out.raw ns/app
same out.raw "$CAPSTAN_ROOT"/repository/ns/app/app.*
status 2 capstan build -C app -o out.raw ns/app; err_has "--format says"
rm -f plan.vdi; status 0 capstan build -C app --format vdi -o plan.vdi --dry-run ns/app
[ ! -e plan.vdi ] || fail "a dry run wrote a file"
status 2 capstan build -C app --format vdi -o app ns/app; err_has "not a plain file"

# ---- shown, and removed ----
[ "$(kept)" -ge 2 ] || fail "$(ls "$cache")"
status 0 capstan prune --dry-run; out_has "would remove converted image $cache/"
capstan df --json | python3 -c 'import json, sys; sys.exit (json.load (sys.stdin)["cache"]["allocated"] < 65536)' || fail "df"
status 0 capstan prune; out_has "removed converted image $cache/"
[ "$(kept)" = 0 ] || fail "$(ls -a "$cache")"
status 0 capstan export ns/app --format vdi --force
status 0 capstan export loader --format vdi --force
[ "$(kept)" = 2 ] || fail "$(ls "$cache")"
status 0 capstan rmi ns/app
[ "$(kept)" = 1 ] || fail "rmi: $(ls "$cache")"
