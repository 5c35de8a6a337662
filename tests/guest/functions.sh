# use_guest: one hypervisor, CAPSTAN_TEST_HYPERVISOR=null|kvm|vbox, and the images osv and linux,
# which hold the guest of guest.S. Sourced after tests/functions.sh and tests/vbox/functions.sh.
use_guest () {
  CAPSTAN_HYPERVISOR=${CAPSTAN_TEST_HYPERVISOR:-null}; export CAPSTAN_HYPERVISOR
  real=1
  case $CAPSTAN_HYPERVISOR in
    null) real=0; requires capstan plugin info null ;;
    kvm) requires capstan plugin info kvm; requires virsh --version
      virsh -q list >/dev/null 2>&1 || skip "libvirt does not answer here (tools/start-libvirt starts it)" ;;
    vbox) use_virtualbox ;;
    plain-qemu) requires capstan plugin info plain-qemu ;; # of the examples
    *) fail "CAPSTAN_TEST_HYPERVISOR=$CAPSTAN_HYPERVISOR: null, kvm, vbox or plain-qemu" ;;
  esac
  requires as --version
  requires ld --version
  "$top_srcdir/tests/guest/make-guest" guest.img
  mkdir app; echo data >app/data
  # the one as another hypervisor's image, which serves as well
  for kind in osv linux; do
    printf 'base: guest-%s\ncmdline: /guest 3\nfiles:\n  /data: data\n' $kind >app/Capstanfile
    (
      [ $kind = linux ] || CAPSTAN_HYPERVISOR=null
      status 0 capstan import --guest $kind guest-$kind guest.img
      status 0 capstan build -C app $kind
    )
  done
  cleanup 'for i in $(capstan instances 2>/dev/null | awk "NR > 1 { print \$1 }"); do capstan delete -f $i; done >/dev/null 2>&1'
}
over () { capstan instances | grep -q "^$1 .* \(stopped\|crashed\) "; }
state_is () { capstan instances | grep -q "^$1 .* $2 "; }
ready () { grep -q '^ready' "$CAPSTAN_ROOT"/instances/*/"$1"/control.log; }
