#!/bin/sh
CAPSTAN_TEST_HYPERVISOR=null exec "$top_srcdir/tests/guest/cycles.sh"
