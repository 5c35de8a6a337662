#!/bin/sh
# The behaviour suite over a folder: the core's part, without a server.
# SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/suite.sh"
CAPSTAN_PLUGIN_PATH=$top_builddir/tests/plugin/.libs; export CAPSTAN_PLUGIN_PATH
suite_tamper () {
  f=$(ls "$work/repo/$1"/*.qemu*)
  printf 'x' | dd of="$f" bs=1 seek=100000 conv=notrunc 2>/dev/null
}
suite_bad=CAPSTAN_SECRET_DIR_TEST_PASSWORD=right-is-another
suite_secret=right-is
CAPSTAN_SECRET_DIR_TEST_PASSWORD=right-is-this; export CAPSTAN_SECRET_DIR_TEST_PASSWORD
mkdir repo
suite_lacks=big # nothing of it is a plugin that is shipped
repo_suite "dir:$work/repo" --option page=2 --option realm=dir:test --option password=right-is-this
rm -rf repo store-*; mkdir repo
suite_say "with several threads"
repo_suite "dir:$work/repo" --option parallel=true --option realm=dir:test --option password=right-is-this
