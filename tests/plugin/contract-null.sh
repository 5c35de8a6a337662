#!/bin/sh
. "$top_srcdir/tests/functions.sh"
capstan plugin info null >/dev/null 2>&1 || skip "hypervisor-null is not built"
# hold: a machine of it that is not asked to would end at once
capstan plugin test null --machine-option hold=true
