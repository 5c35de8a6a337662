#!/bin/sh
# It boots machines.
CAPSTAN_TEST_HYPERVISOR=kvm exec "$top_srcdir/tests/guest/cycles.sh"
