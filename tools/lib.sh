# Sourced by quickstart, check and .ci/run. Working folder: the top of the tree.
# shellcheck shell=sh
step_start=
step () { # step TEXT: says what begins, and how long the last one took
  step_end
  step_start=$(date +%s); step_text=$*
  printf '\n==> %s\n' "$*"
}
step_end () {
  [ -z "$step_start" ] || printf '    (%s s)\n' "$(($(date +%s) - step_start))"
  step_start=
}
die () { printf '%s\n' "$0: $*" >&2; exit 1; }

# install PACKAGE...: those that are missing, by apt-get
install () {
  missing=
  for p in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
  done
  if [ -z "$missing" ]; then echo "    everything is there"; return; fi
  command -v apt-get >/dev/null || die "this needs Debian's apt-get; on other systems install the equivalents of:$missing"
  [ "$(id -u)" = 0 ] || die "run it as root once, or: sudo apt-get install$missing"
  echo "    installing:$missing"
  # shellcheck disable=SC2086
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } >apt.log 2>&1 ||
    { tail -20 apt.log >&2; die "apt-get failed, see apt.log"; }
}

build_packages='gcc make autoconf automake libtool libltdl-dev pkg-config libc6-dev
  libglib2.0-dev libyaml-dev libjansson-dev libssl-dev zlib1g-dev libzstd-dev
  libext2fs-dev comerr-dev libvirt-dev libxml2-dev libcurl4-openssl-dev'
run_packages='git libvirt-daemon libvirt-daemon-system libvirt-daemon-driver-qemu
  qemu-system-x86 qemu-utils busybox-static grub-common grub-pc-bin cpio kmod procps xz-utils zstd'
test_packages='libcmocka-dev clang g++ libclang-rt-14-dev e2fsprogs python3 curl
  valgrind util-linux procps binutils man-db groff-base libvirt-clients bash-completion zsh fish lighttpd patchelf
  openssl openssh-server debhelper dpkg-dev lintian fakeroot rpm rpmlint makepkg nginx-light ceph-mon ceph-osd
  ceph-common radosgw meson ninja-build abigail-tools'

# tests at once: those that boot machines wait for each other, and others for servers
jobs=$(($(nproc) * 3))

# build [CONFIGURE-ARGUMENT]...: in this tree. libtool, which runs once a file, takes half
# the time with dash.
build () {
  [ -x configure ] && [ configure -nt configure.ac ] || ./bootstrap >bootstrap.log 2>&1 ||
    { tail -20 bootstrap.log >&2; die "bootstrap failed, see bootstrap.log"; }
  [ -f Makefile ] && [ Makefile -nt configure ] || CONFIG_SHELL=/bin/sh /bin/sh ./configure "$@" >configure.log 2>&1 ||
    { tail -20 configure.log >&2; die "configure failed, see configure.log"; }
  make -j"$(nproc)" >make.log 2>&1 || { tail -30 make.log >&2; die "make failed, see make.log"; }
}

# linux_base: the embedded base in the store of CAPSTAN_ROOT, made where it is missing or
# older than what makes it; without a network an older one is kept.
linux_base () {
  index=${CAPSTAN_ROOT:-$HOME/.capstan}/repository/linux/index.yaml
  if ! ./run capstan info linux >/dev/null 2>&1; then
    ./run capstan base make linux
  elif [ -z "$(find libexec/base-linux -type f -newer "$index" 2>/dev/null)" ]; then
    echo "    it is there"
  elif ! ./run capstan base make linux; then
    echo "    it is older than this capstan, and is kept"
  fi
}
