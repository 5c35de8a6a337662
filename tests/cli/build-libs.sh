#!/bin/sh
# The shared libraries of the programs: what is missing is said, or added on request.
# SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
PATH=$PATH:/sbin:/usr/sbin
requires cc --version
requires which e2fsck debugfs
repo=$CAPSTAN_ROOT/repository
mkdir -p "$repo/osv-loader" "$repo/linux"
head -c 65536 /dev/zero >"$repo/osv-loader/osv-loader.qemu"
printf '\125\252' | dd of="$repo/osv-loader/osv-loader.qemu" bs=1 seek=510 conv=notrunc 2>/dev/null
cp "$repo/osv-loader/osv-loader.qemu" "$repo/linux/linux.qemu"
echo 'format: raw' >"$repo/osv-loader/index.yaml"
printf 'format: raw\nguest: linux\n' >"$repo/linux/index.yaml"

# prog -> libone (RUNPATH $ORIGIN/../lib) -> libtwo (RPATH, a folder of this machine) -> libm
mkdir -p app/bin app/lib app/odd
echo '#include <math.h>
double two (double x) { return cos (x); }' >two.c
echo 'double two (double); int one (void) { return (int) two (0); }' >one.c
echo '#include <stdio.h>
int one (void); int main (void) { printf ("one: %d\\n", one ()); return 0; }' >prog.c
cc -shared -fPIC -o app/odd/libtwo.so two.c -lm
cc -shared -fPIC -o app/lib/libone.so one.c -Lapp/odd -ltwo -Wl,--disable-new-dtags,-rpath,"$work/app/odd"
cc -o app/bin/prog prog.c -Lapp/lib -lone -Wl,--allow-shlib-undefined,--enable-new-dtags,-rpath,'$ORIGIN/../lib'
echo 'int main (void) { return 0; }' >min.c
cc -static -o app/static min.c 2>/dev/null || skip "no static libc"
cat >app/Capstanfile <<'END'
base: linux
cmdline: /opt/bin/prog
files:
  /opt/bin/prog: bin/prog
END
sed 's/linux/osv-loader/' app/Capstanfile >app/osv
status 0 capstan build -C app
err_has "/lib64/ld-linux-x86-64.so.2  for /opt/bin/prog, here: /lib64/ld-linux-x86-64.so.2"
err_has "libone.so  for /opt/bin/prog, here: app/bin/../lib/libone.so"
err_has "libtwo.so  for /opt/lib/libone.so, here: $work/app/odd/libtwo.so"
err_has "libm.so.6  for $work/app/odd/libtwo.so, here: /"
err_has "--with-libs puts those that are here into the image"

# Added: it runs with nothing but the image's own files.
status 0 capstan build -C app --with-libs
err_lacks "warning"
dd if="$repo/app/app.qemu" of=fs.img bs=1M skip=2 conv=sparse 2>/dev/null
e2fsck -fn fs.img >/dev/null 2>&1 || fail "e2fsck"
mkdir root; debugfs -R "rdump / root" fs.img >/dev/null 2>&1
same root/opt/lib/libone.so app/lib/libone.so
same "root$work/app/odd/libtwo.so" app/odd/libtwo.so
if [ "$(id -u)" = 0 ]; then
  chmod +x root/lib64/* root/opt/bin/prog
  # without /proc the loader does not know where it is
  status 0 env -i LD_ORIGIN_PATH=/opt/bin "$(command -v chroot)" root /opt/bin/prog; out_has "one: 1"
fi
# A library is part of what decides whether there is something to do.
status 0 capstan build -C app --with-libs again
wait_for 20 sh -c '"$top_builddir/run" capstan build -C app --with-libs again 2>&1 | grep "up to date"'
cc -shared -fPIC -O2 -o new.so two.c -lm; mv new.so app/odd/libtwo.so
status 0 capstan build -C app --with-libs again; err_lacks "up to date"
# A library that is in the image already is left alone, and one that is nowhere is said.
printf '  /opt/lib/libone.so: lib/libone.so\n' >>app/Capstanfile
mv app/odd/libtwo.so app/odd/hidden
status 0 capstan build -C app --with-libs; err_has "libtwo.so  for /opt/lib/libone.so, which is not here either"
mv app/odd/hidden app/odd/libtwo.so

# OSv has a libc and a loader of its own; other libraries go where it looks for them.
status 0 capstan build -C app -f osv osv
err_has "libone.so  for /opt/bin/prog"; err_lacks "libc.so.6"; err_lacks "ld-linux"; err_lacks "libm.so.6"
status 0 capstan build -C app -f osv --with-libs --dry-run osv
out_has "/opt/lib/libone.so  "; out_has "$work/app/odd/libtwo.so  "; out_lacks "libc.so"
status 0 capstan compose --with-libs -c "/curl" osvcurl "$(command -v curl || command -v cc)"
status 0 capstan compose -c "/static" x app/static
err_has "/static is linked statically, which OSv up to v0.57 cannot run"
status 0 capstan compose -l linux -c "/static" x app/static; err_lacks "warning"

# Programs that are none.
printf '#!/bin/nothere -x\n' >script; printf 'x' >text; chmod +x script text
cp app/static foreign; printf '\267' | dd of=foreign bs=1 seek=18 conv=notrunc 2>/dev/null
cp app/static broken; printf '\377' | dd of=broken bs=1 seek=57 conv=notrunc 2>/dev/null
cp app/static plain; chmod 644 plain
status 0 capstan compose -l linux -c "/script; /text; /foreign; /broken; /nothere; plain&" x script text foreign broken plain
err_has "/bin/nothere  for /script, which is not here either"
err_has "/text is not a program"; err_has "/foreign is for another machine"
err_has "/broken: its ELF headers are damaged"
err_has "the command line starts '/nothere', which is not a file of the image"
err_has "/plain has no permission to be executed"
# Found as the guest finds them: by PATH, in the working folder, through links.
mkdir -p tree/my/bin tree/sub; cp app/static tree/my/bin/tool; cp app/static tree/sub/here; ln -s ../my/bin/tool tree/sub/link
status 0 capstan compose -l linux -c "--env=PATH=/no:/my/bin --cwd=/sub tool; ./here; /sub/link" x tree
err_lacks "warning"
# An interpreter of a script is a program as well.
printf '#!/my/bin/dynamic\n' >tree/script; chmod +x tree/script; cp app/bin/prog tree/my/bin/dynamic
status 0 capstan compose -l linux -c /script x tree; err_has "libone.so  for /my/bin/dynamic"
