#!/bin/sh
CAPSTAN_TEST_HYPERVISOR=kvm exec "$top_srcdir/tests/guest/cycles.sh"
