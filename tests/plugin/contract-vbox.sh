#!/bin/sh
# The contract suite over hypervisor-vbox; it boots machines.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/vbox/functions.sh"
use_virtualbox
capstan plugin test vbox
vbox_empty
