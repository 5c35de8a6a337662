#!/bin/sh
# It boots machines.
CAPSTAN_TEST_HYPERVISOR=vbox exec "$top_srcdir/tests/guest/life.sh"
