#!/bin/sh
# import, images, info, rmi. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
repo=$CAPSTAN_ROOT/repository
boot_disk loader.img
json () { command -v python3 >/dev/null || return 0; python3 -c "import json, sys
j = json.load (open ('$work/out')); assert $1, j" || fail "json: $1"; }

# an empty store
status 0 capstan images --json; json 'j == []'
status 0 capstan images; out_has Name
[ ! -e "$CAPSTAN_ROOT" ] || fail "reading made a store"

# import: stored for the hypervisor, with its format (the original stored it as .raw)
status 0 capstan import -v 1.2 -c '2020-01-02 03:04' -d 'a "quoted": text' -b 'make # x' ns/loader loader.img
same loader.img "$repo/ns/loader/loader.qemu"
sum=$(sha256sum <loader.img | cut -d' ' -f1)
grep -q "sha256: \"$sum\"" "$repo/ns/loader/index.yaml" || fail "no digest"
grep -q 'format_version: "1"' "$repo/ns/loader/index.yaml" || fail "no format_version"
status 0 capstan images --json
json 'len (j) == 1 and j[0]["name"] == "ns/loader" and j[0]["description"] == "a \"quoted\": text"'
status 0 capstan i; out_has ns/loader; out_has "2020-01-02 03:04"
status 0 capstan info ns/loader --json; json "j['format'] == 'raw' and j['sha256'] == '$sum' and j['version'] == '1.2'"
status 0 capstan info ./loader.img; out_has raw
status 0 capstan info loader.img --json; json 'j["format"] == "raw" and j["size"] == 196608'
# it is a base
mkdir app; echo x >app/f
printf 'base: ns/loader\ncmdline: /f\nfiles:\n  /f: f\n' >app/Capstanfile
status 0 capstan build -C app built
status 0 capstan info built; out_has ns/loader

# what is refused leaves nothing
status 3 capstan import x nothere.img; err_has nothere.img
status 2 capstan import ../x loader.img
status 2 capstan import X loader.img
status 2 capstan import onlyname
head -c 4096 /dev/zero >zeros
status 1 capstan import x zeros; err_has "--format raw"
status 1 capstan import --format qcow2 x loader.img; err_has "is raw, not qcow2"
head -c 100 /dev/zero >short
status 1 capstan import --format raw x short; err_has "512-byte"
mkfifo fifo
status 1 timeout 10 "$top_builddir/run" capstan import x fifo; err_has fifo
status 1 capstan import x app; err_has app
status 1 capstan import -d "$(printf '\377')" x loader.img; err_has UTF-8
[ ! -e "$repo/x" ] || fail "a refused import left $(ls -A "$repo/x")"
status 0 capstan import --format raw x zeros
status 0 capstan rmi x
if command -v qemu-img >/dev/null; then
  qemu-img create -q -f qcow2 -F raw -b "$work/loader.img" over.qcow2
  status 1 capstan import x over.qcow2; err_has "backing file"
  qemu-img create -q -f vmdk p.vmdk 1M
  qemu-img create -q -f vmdk -F vmdk -b p.vmdk c.vmdk
  status 1 capstan import x c.vmdk; err_has "depends on another"
  qemu-img convert -f raw -O qcow2 loader.img l.qcow2
  status 0 capstan import q l.qcow2
  status 0 capstan info q --json; json 'j["format"] == "qcow2" and j["size"] == 196608'
  status 0 capstan rmi q
fi

# a store as the original leaves it
mkdir -p "$repo/cloudius/osv" "$repo/bare" "$repo/broken"
cp loader.img "$repo/cloudius/osv/osv.qemu"
cat >"$repo/cloudius/osv/index.yaml" <<EOT
format_version: "1"
version: v0.24
created: "2016-03-22 12:00"
description: OSv base image
build: scripts/build
EOT
cp loader.img "$repo/bare/bare.vmw" # no index.yaml
cp loader.img "$repo/broken/broken.qemu"
echo 'a: b: c' >"$repo/broken/index.yaml"
status 0 capstan images
out_has cloudius/osv; out_has "OSv base image"; out_has bare; out_has broken
err_has broken/index.yaml; err_lacks bare
status 0 capstan info cloudius/osv; out_has v0.24
rm -r "$repo/broken"

# rmi: all names are looked at before anything is removed
status 2 capstan rmi bare ../../store/repository/bare
for n in ..// . ./ / ..; do status 2 capstan rmi "$n"; done # the original removed the whole store
[ -e "$repo/bare/bare.vmw" ] || fail "removed before the names were checked"
status 3 capstan rmi nothere; err_has nothere
status 0 capstan rmi bare cloudius/osv
[ ! -e "$repo/cloudius" ] || fail "the empty name space stayed"
if capstan plugin list | grep -q null; then
  status 0 capstan import mine loader.img
  status 0 capstan run -p null -d -i mine vm1
  status 4 capstan rmi mine; err_has vm1
  status 0 capstan delete vm1
  status 0 capstan rmi mine
fi

# many writers of one name: each commit is whole
for k in 1 2 3 4 5 6; do
  boot_disk d$k; printf "$k" | dd of=d$k bs=1 seek=1000 conv=notrunc 2>/dev/null
done
pids=
for k in 1 2 3 4 5 6; do capstan import -v v$k same d$k >/dev/null 2>&1 & pids="$pids $!"; done
for p in $pids; do wait "$p" || fail "an import failed"; done
v=$(sed -n 's/^version: "v\(.\)"/\1/p' "$repo/same/index.yaml")
same d$v "$repo/same/same.qemu"
[ "$(ls -A "$repo/same" | wc -l)" = 2 ] || fail "left over: $(ls -A "$repo/same")"

# permissions; as root everything is readable, so another user tries
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
  as () { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
  chmod 755 "$work" "$CAPSTAN_ROOT" "$repo" "$repo/same"
  if as test -x "$top_builddir/run" && as test -r "$work/loader.img"; then
    status 0 as "$top_builddir/run" capstan images; out_has same; err_lacks same
    status 1 as "$top_builddir/run" capstan import other loader.img; err_has "Permission denied"
    status 1 as "$top_builddir/run" capstan rmi same; err_has "Permission denied"
    same d$v "$repo/same/same.qemu"
    chmod 700 "$repo/same"
    status 0 as "$top_builddir/run" capstan images; out_lacks same; err_has "Permission denied"
  fi
fi
exit 0
