#!/bin/sh
# The Debian packages: built from what the tarball holds, looked at by lintian, installed into
# a throw-away root (what is here, under an overlay), and run there, by a libvirt of its own.
# --twice builds a second time elsewhere and compares.
if [ -z "${top_srcdir:-}" ]; then # by hand, in the top folder of a built tree
  top_srcdir=$PWD top_builddir=$PWD; export top_srcdir top_builddir
  exec tests/wrap tests/packages/debian.sh "$@"
fi
. "$top_srcdir/tests/functions.sh"
for t in dpkg-buildpackage dh lintian; do requires command -v $t; done
version=$(sed -n 's/^PACKAGE_VERSION = //p' "$top_builddir/Makefile")
packages () { # packages FOLDER: in it
  mkdir "$1"
  tree=$PWD/$1/capstan-$version
  make -C "$top_builddir" distdir distdir="$tree" top_distdir="$tree" >"$1.log" 2>&1 || { tail "$1.log"; fail "make distdir"; }
  # a tree that was unpacked has files of one time, so nothing in it is made anew
  cp -r "$top_srcdir/packaging/debian" "$tree/debian"
  find "$tree" -exec touch -h -d @"$(dpkg-parsechangelog -l "$tree/debian/changelog" -S Timestamp)" {} +
  (cd "$tree" && DEB_BUILD_OPTIONS="nocheck noautodbgsym parallel=$(nproc)" \
     dpkg-buildpackage -us -uc -b >../../"$1.log" 2>&1) || { tail -30 "$1.log"; fail "dpkg-buildpackage"; }
}
dpkg-checkbuilddeps "$top_srcdir/packaging/debian/control" 2>deps || skip "$(cat deps)"
packages one
lintian --fail-on error --allow-root one/*.changes >lintian.log 2>&1 ||
  { cat lintian.log; fail "lintian"; }
cat lintian.log
if [ "${1:-}" = --twice ]; then
  packages two
  for f in one/*.deb; do same "$f" "two/${f#one/}"; done
fi
# each plugin brings its own dependencies only, and the program none of theirs
needs () { dpkg-deb -f one/capstan"$1"_*.deb Depends; }
! needs "" | grep -E 'libvirt|libcurl|libxml2' || fail "capstan depends on what plugins need"
needs -plugin-kvm | grep -q libvirt0 || fail "capstan-plugin-kvm does not depend on libvirt"
! needs -plugin-kvm | grep libcurl || fail "capstan-plugin-kvm depends on libcurl"
! needs -plugin-vbox | grep -E 'libvirt|libcurl|libxml2' || fail "capstan-plugin-vbox needs others' libraries"
for p in kvm vbox http s3 git; do
  needs -plugin-$p | grep -q capstan-abi-1 || fail "capstan-plugin-$p does not say which ABI"
done

[ "$(id -u)" = 0 ] || { echo "not root: the packages are not installed"; exit 0; }
cat >within.sh <<'END2'
# sh within.sh ROOT DEBS: as the first process of namespaces of its own
set -eu
root=$1 debs=$2
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/all"
mount -t overlay -o lowerdir=/,upperdir="$root/upper",workdir="$root/work" overlay "$root/all" || exit 77
cd "$root/all"
mount --rbind /dev dev
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir tmp/debs
cp "$debs"/*.deb "$debs"/capstan-*/debian/tests/run-image tmp/debs
unset CAPSTAN_ROOT CAPSTAN_REPO CAPSTAN_TEST_STORE TMPDIR
HOME=/tmp; export HOME
cat >tmp/inside.sh <<'END3'
set -eu
cd /tmp/debs
exec 9>&2
inst () { dpkg -i "$@" >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log >&9; exit 1; }; }
inst capstan_*.deb capstan-plugin-http_*.deb
echo "one: $(capstan plugin list | awk 'NR > 1 { print $1 }' | xargs)"
capstan run -p kvm x 2>&1 | grep -F "package capstan-plugin-kvm"
capstan pull --repo s3://bucket/x y 2>&1 | grep -F "package capstan-plugin-s3"
capstan base make linux 2>&1 | grep -F "package capstan-base-linux"
inst capstan*.deb
echo "all: $(capstan plugin list | awk 'NR > 1 { print $1 }' | sort | xargs)"
man -P cat capstan-hypervisor-kvm >/dev/null
# QEMU gets no /dev of its own: the one here is a mount that libvirt does not expect
printf 'namespaces = []\ncgroup_controllers = []\n' >>/etc/libvirt/qemu.conf
sh -eu ./run-image
dpkg -r $(dpkg-query -W -f '${Package}\n' 'capstan*' | sort -r) >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log >&9; exit 1; }
find /usr -path '*capstan*' ! -path '/usr/src/*' -newer /tmp/debs/run-image | sed 's/^/left: /'
END3
chroot . sh /tmp/inside.sh
END2
mkdir root
got=0; unshare --mount --pid --fork --kill-child sh within.sh "$PWD/root" "$PWD/one" >installed.log 2>installed.err || got=$?
cat installed.log installed.err
[ $got != 77 ] || { echo "no overlay over /: the packages are not installed"; exit 0; }
[ $got = 0 ] || fail "in the throw-away root: status $got"
grep -qx 'one: http' installed.log || fail "with one plugin it is not the one that is there"
grep -qx 'all: git http kvm null s3 vbox' installed.log || fail "not all plugins"
grep -qx 'hello package' installed.log || fail "the image did not run"
! grep '^left: ' installed.log || fail "files are left"
