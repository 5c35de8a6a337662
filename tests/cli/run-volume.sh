#!/bin/sh
# It boots machines.
# Volumes as Linux sees them: read and written, read-only, in another format, kept.
. "$top_srcdir/tests/functions.sh"
use_linux_base
requires capstan plugin info kvm
requires virsh --version
virsh -q list >/dev/null 2>&1 || skip "libvirt does not answer here (tools/start-libvirt starts it)"
CAPSTAN_HYPERVISOR=kvm; export CAPSTAN_HYPERVISOR
requires cc --version
mkdir app
cat >app/work.c <<'END'
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main (int argc, char **argv)
{
  static const char *const disks[] = { "/dev/vdb", "/dev/vdc", "/kept" };
  for (int i = 0; i < 3; i++) {
    char text[9] = "";
    int fd = open (disks[i], O_RDONLY);
    if (fd >= 0 && read (fd, text, 8) >= 0)
      printf ("%s holds '%s' of %ld\n", disks[i], text, (long) lseek (fd, 0, SEEK_END));
    if ((fd = open (disks[i], O_RDWR | (i == 2 ? O_CREAT : 0), 0644)) < 0 || write (fd, "wrot", 4) != 4 || fsync (fd) != 0)
      printf ("%s refuses\n", disks[i]);
  }
  return 0;
}
END
cc -static -o app/work app/work.c
printf 'base: linux\ncmdline: /work\nfiles:\n  /work: work\n' >app/Capstanfile
status 0 capstan build -C app app
status 0 capstan volume create --size 1M data
status 0 capstan volume create --size 2M --format qcow2 q
printf ABCDEFGH | dd of="$CAPSTAN_ROOT/volumes/data" conv=notrunc status=none
cp "$CAPSTAN_ROOT/volumes/data" own.raw
status 0 capstan run --rm --volume data --volume q:cache=none:aio=native app
out_has "/dev/vdb holds 'ABCDEFGH' of 1048576"
out_has "/dev/vdc holds '' of 2097152"
[ "$(head -c 8 "$CAPSTAN_ROOT/volumes/data")" = wrotEFGH ] || fail "it was not written"
status 0 capstan run --rm --volume ./own.raw:ro --volume q app
out_has "/dev/vdb holds 'ABCDEFGH' of 1048576"
out_has "/dev/vdb refuses"
out_has "/dev/vdc holds 'wrot' of 2097152"
[ "$(head -c 8 own.raw)" = ABCDEFGH ] || fail "it was written"
# what a run left behind is an image that stands alone
status 0 capstan run --name setup app
out_lacks "/kept holds"
status 0 capstan commit setup app2
status 0 capstan delete setup
status 0 capstan rmi app
status 0 capstan run --rm app2
out_has "/kept holds 'wrot' of 4"
