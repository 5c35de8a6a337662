#!/bin/sh
. "$top_srcdir/tests/functions.sh"
capstan plugin info null >/dev/null 2>&1 || skip "hypervisor-null is not built"
CAPSTAN_TEST_PLUGIN=null "$top_builddir/run" "$top_builddir/tests/plugin/contract"
