#!/bin/sh
# capstan export: every format holds what the image holds, and an OVA is a machine to
# VirtualBox. (Where VirtualBox is there: it boots machines.)
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/vbox/functions.sh"
requires qemu-img --version
requires as --version
"$top_srcdir/tests/guest/make-guest" guest.img
mkdir app; echo data >app/data
printf 'base: guest\ncmdline: /guest 3\nfiles:\n  /data: data\n' >app/Capstanfile
status 0 capstan import --guest osv guest guest.img
for f in raw qcow2; do status 0 capstan build -C app --format $f ns/$f; done
raw=$CAPSTAN_ROOT/repository/ns/raw/raw.qemu
before=$(find "$CAPSTAN_ROOT/repository" -type f -exec sha256sum {} + | sort)

# ---- each format, from either kind ----
for from in raw qcow2; do
  for f in raw qcow2 vdi vmdk vhd vhdx; do
    status 0 capstan export ns/$from --format $f
    err_has "exported ns/$from to $from.$f"
    q=$f; [ $f != vhd ] || q=vpc
    qemu-img info --output=json -f $q $from.$f | grep -q "\"virtual-size\": $(stat -c %s "$raw")" || fail "$f: another size"
    qemu-img compare -q -f raw -F $q "$raw" $from.$f || fail "$f: other content"
  done
done
for f in qcow2 vmdk; do
  status 0 capstan export ns/raw --format $f --compress -o -small.$f
  [ "$(stat -c %s -- -small.$f)" -lt "$(stat -c %s raw.$f)" ] || fail "$f is not compressed"
done

# ---- what it refuses, and leaves as it is ----
status 2 capstan export ns/raw --format vdi --compress; err_has "vdi has no compression"
status 2 capstan export ns/raw --format tar; err_has "vhdx"
status 3 capstan export nothing
echo mine >mine.raw
status 4 capstan export ns/raw --format raw -o mine.raw; err_has "--force"
[ "$(cat mine.raw)" = mine ] || fail "a file was replaced"
status 2 capstan export ns/raw --format raw --force -o app; err_has "not a plain file"
status 3 capstan export ns/raw --format raw -o nowhere/x.raw; err_has "nowhere/x.raw"
status 0 capstan export ns/raw --format raw --force -o mine.raw
same mine.raw "$raw"
mkdir bin; printf '#!/bin/sh\n[ "$1" != compare ] || { echo "Content mismatch at offset 512" >&2; exit 1; }\nexec %s "$@"\n' "$(command -v qemu-img)" >bin/qemu-img
chmod +x bin/qemu-img
status 0 capstan prune # it would be copied from the cache
(PATH=$PWD/bin:$PATH; status 1 capstan export ns/raw --format vdi -o bad.vdi; err_has "not what the image is")
[ -z "$(ls | grep bad)" ] || fail "something is left: $(ls)"
[ "$(find "$CAPSTAN_ROOT/repository" -type f -exec sha256sum {} + | sort)" = "$before" ] || fail "an image was written"

# ---- an OVA: a tar whose manifest is right, and whose description is XML ----
status 0 capstan export ns/qcow2 --format ova
mkdir ova; tar -C ova -xf qcow2.ova
[ "$(tar tf qcow2.ova | xargs)" = "qcow2.ovf qcow2.mf qcow2-disk1.vmdk" ] || fail "$(tar tf qcow2.ova)"
(cd ova && sed 's/^SHA256 (\(.*\)) = \(.*\)/\2  \1/' qcow2.mf | sha256sum -c --quiet) || fail "the manifest"
python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse (sys.argv[1])' ova/qcow2.ovf
qemu-img compare -q -f raw -F vmdk "$raw" ova/qcow2-disk1.vmdk || fail "the disk of the OVA"
command -v VBoxManage >/dev/null 2>&1 && capstan plugin info vbox >/dev/null 2>&1 || exit 0
use_virtualbox
status 0 VBoxManage import qcow2.ova --vsys 0 --vmname imported --basefolder "$work/vms"
VBoxManage showvminfo imported --machinereadable >vm
grep -q 'storagecontrollertype0="PIIX4"' vm && grep -qx 'memory=512' vm || { cat vm; fail "another machine"; }
# it boots: so do the files for VirtualBox and for QEMU
serial () { # serial MACHINE: boots it, with the serial ports in files
  status 0 VBoxManage modifyvm "$1" --uart1 0x3F8 4 --uartmode1 file "$work/$1.txt" --uart2 0x2F8 3 --uartmode2 file "$work/$1.ctl" --hpet on
  status 0 VBoxManage startvm "$1" --type headless
  wait_for 120 grep -q 'exit 3' "$work/$1.ctl"
  wait_for 60 sh -c "VBoxManage showvminfo '$1' --machinereadable | grep -q 'VMState=\"poweroff\"'"
  grep -q '/guest 3' "$work/$1.txt" || fail "$1 said something else"
}
serial imported
for f in vdi vmdk; do
  status 0 VBoxManage createvm --name $f --basefolder "$work/vms" --register
  status 0 VBoxManage modifyvm $f --memory 64
  status 0 VBoxManage storagectl $f --name ide --add ide
  status 0 VBoxManage storageattach $f --storagectl ide --port 0 --device 0 --type hdd --medium "$work/raw.$f"
  serial $f
done
for m in imported vdi vmdk; do status 0 VBoxManage unregistervm $m --delete; done
