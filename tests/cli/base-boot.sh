#!/bin/sh
# The embedded Linux base by itself: the disk that make-base writes boots by its boot sector
# and by its kernel, runs the application, and reports how that ended (it boots machines).
# Needs no store.
. "$top_srcdir/tests/functions.sh"
export PATH="$PATH:/usr/sbin:/sbin"
libexec=$top_builddir/libexec/base-linux
[ -x "$libexec/init" ] || skip "the Linux base is not built (--enable-base-linux)"
for t in qemu-system-x86_64 mke2fs cpio grub-mkimage busybox python3 cc; do
  requires command -v $t
done
deb=${CAPSTAN_TEST_LINUX_DEB:-}
make_base () { "$libexec/make-base" --init "$libexec/init" --output "$@"; }
if ! make_base base.raw ${deb:+--deb "$deb"} >index 2>log; then
  [ -z "$deb" ] || { cat log; fail "make-base failed on $deb"; }
  skip "no kernel package here (CAPSTAN_TEST_LINUX_DEB=FILE gives one): $(tail -n 1 log)"
fi
idx () { sed -n "s/^$1 //p" index; }

# ---- what is wrong is said ----
status 1 make_base x.raw --deb /nothing.deb
err_has "/nothing.deb: no such file"
status 1 make_base x.raw --kernel /nothing --modules /
err_has "/nothing: no such file"
CAPSTAN_GRUB_DIR=/nothing status 1 make_base x.raw --deb /nothing.deb
err_has "apt-get install grub-pc-bin"

# ---- size: at most 20 MB over the application ----
size=$(stat -c %s base.raw)
[ "$size" -le 20000000 ] || fail "the base has $size bytes"

# ---- an application ----
mkdir -p root/dev root/proc root/sys root/tmp root/run root/etc
cat > t.c <<'END'
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* Is a DHCP client there? It is asked to renew now, and must be there a second later. */
static int client (void) {
  DIR *d = opendir ("/proc");
  for (struct dirent *e; (e = readdir (d));) {
    char path[300], name[32] = "";
    snprintf (path, sizeof path, "/proc/%s/cmdline", e->d_name);
    FILE *f = fopen (path, "r");
    if (f) { (void) !fread (name, 1, sizeof name - 1, f); fclose (f); }
    if (strcmp (name, "udhcpc") == 0) return atoi (e->d_name);
  }
  return 0;
}
static int renew (void) {
  int p = client ();
  if (p == 0 || kill (p, SIGUSR1)) { puts ("no client"); return 1; }
  sleep (2);
  printf ("%s\n", client () == p ? "renewed" : "the client is gone");
  return 0;
}
int main (int argc, char **argv) {
  char cwd[256];
  if (argc > 1 && strcmp (argv[1], "wait") == 0) { puts ("waiting"); fflush (stdout); pause (); }
  if (argc > 1 && strcmp (argv[1], "deaf") == 0) { signal (SIGTERM, SIG_IGN); for (;;) pause (); }
  if (argc > 1 && strcmp (argv[1], "renew") == 0) return renew ();
  for (int i = 1; i < argc; i++) printf ("[%s]", argv[i]);
  printf (" WHO=%s cwd=%s\n", getenv ("WHO"), getcwd (cwd, sizeof cwd));
  if (argc > 1 && strcmp (argv[1], "crash") == 0) abort ();
  return argc > 1 && strcmp (argv[1], "ok") == 0 ? 0 : 3;
}
END
cc -static -Os -o root/t t.c
printf 'data' > root/data
printf -- '--env=WHO=$FROM /t from script\n' > root/script
truncate -s 16M fs.ext4
mke2fs -q -F -t ext4 -d root fs.ext4

# disk CMDLINE: the base, the file system at the next 2 MiB, entry 2, the command line
disk () {
  cp base.raw disk.raw
  python3 - "$1" <<'END'
import os, struct, sys
f = open('disk.raw', 'r+b'); d = open('fs.ext4', 'rb').read()
p = -(-os.path.getsize('disk.raw') // (2 << 20)) * (2 << 20)
f.seek(p); f.write(d)
f.seek(512); f.write(sys.argv[1].encode() + b'\0')
f.seek(0x1ce); f.write(bytes([0, 1, 1, 0, 0x83, 254, 255, 255]))
f.write(struct.pack('<II', p // 512, len(d) // 512))
END
}
part () { dd if=base.raw of="$3" iflag=skip_bytes,count_bytes skip="$1" count="$2" bs=1M status=none; }
part "$(idx kernel_offset)" "$(idx kernel_length)" kernel
part "$(idx initrd_offset)" "$(idx initrd_length)" initrd
qemu () { # qemu direct|disk ARGUMENT...
  how=$1; shift
  [ "$how" = disk ] || set -- -kernel kernel -initrd initrd -append "$(idx kernel_args)" "$@"
  rm -f control
  timeout 120 qemu-system-x86_64 -accel tcg -m 128 -nodefaults -no-reboot -display none \
    -chardev stdio,id=a,signal=off -device isa-serial,chardev=a,index=0 "$@" </dev/null
}
control="-chardev file,id=b,path=control -device isa-serial,chardev=b,index=1"
virtio="-drive file=disk.raw,format=raw,if=virtio"
# boots HOW STATUS OUTPUT CMDLINE [QEMU ARGUMENTS]: console byte for byte, then the status
boots () {
  how=$1 want=$2; printf '%b' "$3" > expected; disk "$4"; shift 4
  # shellcheck disable=SC2086
  [ $# -gt 0 ] || set -- $virtio
  start=$(date +%s%N)
  # shellcheck disable=SC2086
  qemu "$how" $control "$@" > console || fail "qemu failed or did not end"
  echo "$how: $((($(date +%s%N) - start) / 1000000)) ms, exit $want"
  cmp expected console || { cat -A console; cat control; fail "wrong output"; }
  grep -qx ready control || { cat control; fail "no ready"; }
  grep -qx "exit $want" control || { cat control; fail "not: exit $want"; }
}
boots direct 3 '[a b][c] WHO=me you cwd=/tmp\r\n' '--env=WHO=me\ you --cwd=/tmp /t "a b" c'
boots disk 3 '[a b][c] WHO=me you cwd=/tmp\r\n' '--env=WHO=me\ you --cwd=/tmp /t "a b" c'
boots direct 0 '[from][script] WHO=f cwd=/\r\n[ok] WHO=f cwd=/\r\n' '--env=FROM=f --rootfs=rofs runscript /script; t ok'
boots direct 134 '[crash] WHO=(null) cwd=/\r\n' '/t crash'
boots direct 127 '/nothing: not found in the image\r\n' '/nothing'
boots direct 126 '/data: not executable\r\n' '/data'
# IDE and NVMe, network cards with and without an answer
boots disk 0 '[ok] WHO=(null) cwd=/\r\n' '/t ok' -drive file=disk.raw,format=raw,if=ide \
  -netdev user,id=n -device virtio-net-pci,netdev=n
boots direct 0 '[ok] WHO=(null) cwd=/\r\n' '--ip=eth0,10.0.2.15,255.255.255.0 --defaultgw=10.0.2.2 /t ok' \
  -drive file=disk.raw,format=raw,if=none,id=d -device nvme,drive=d,serial=1 \
  -netdev user,id=n -device virtio-net-pci,netdev=n

# The lease is kept by a client in the background, which is not waited for at the end.
boots direct 0 'renewed\r\n' '/t renew &' $virtio -netdev user,id=n -device virtio-net-pci,netdev=n \
  -object filter-dump,id=d,netdev=n,file=net.pcap
python3 - <<'END' || fail "the lease was not renewed"
data = open ("net.pcap", "rb").read ()
# the DHCP message type option: 3 a request, 5 an acknowledgement
assert data.count (b"\x63\x82\x53\x63\x35\x01\x03") >= 2, "requests"
assert data.count (b"\x63\x82\x53\x63\x35\x01\x05") >= 2, "acknowledgements"
END

# ---- nonsense ends with a message, not with a machine that hangs ----
disk '--nonsense /t'
# shellcheck disable=SC2086
qemu direct $control $virtio > console
grep -q 'option --nonsense is not known' console || { cat console; fail "no message"; }
grep -qx 'exit 125' control || fail "no exit 125"

# ---- stop: by the control channel ----
cat > stop.py <<'END'
import socket, subprocess, sys
subj, text = sys.argv[1], b''
def listen(name):
    s = socket.socket(socket.AF_UNIX); s.bind(name); s.listen(1); return s
con, ctl = listen('con'), listen('ctl')
q = subprocess.Popen(sys.argv[2:] + ['-chardev', 'socket,id=a,path=con', '-device', 'isa-serial,chardev=a,index=0',
    '-chardev', 'socket,id=b,path=ctl', '-device', 'isa-serial,chardev=b,index=1'], stdin=subprocess.DEVNULL)
con, ctl = con.accept()[0], ctl.accept()[0]
con.settimeout(90); ctl.settimeout(90)
while b'waiting' not in text:
    text += con.recv(100)
ctl.sendall(b'stop\n')
seen = b''
while True:
    b = ctl.recv(100)
    if not b: break
    seen += b
q.wait(30)
sys.exit(0 if b'exit 143\n' in seen else print(seen) or 1)
END
disk '/t deaf & /t wait'
# shellcheck disable=SC2086
timeout 120 python3 stop.py x qemu-system-x86_64 -accel tcg -m 128 -nodefaults -no-reboot -display none \
  $virtio -kernel kernel -initrd initrd -append "$(idx kernel_args)" || fail "stop did not end it with 143"

# ---- the same inputs give the same bytes ----
make_base again.raw ${deb:+--deb "$deb"} >/dev/null 2>&1 || fail "the second base"
same base.raw again.raw
