#!/bin/sh
# The behaviour suite over a Git repository in a folder.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
. "$top_srcdir/tests/repo/git-functions.sh"
. "$top_srcdir/tests/repo/suite.sh"
bare images.git
suite_tamper () { tamper "$work/images.git" "$1"; }
suite_ms="60 320" # git starts many processes
repo_suite "git+file://$work/images.git"
