#!/bin/sh
# The contract suite over repo-git and a bare repository in a folder.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/git-functions.sh"
bare r.git
capstan plugin test git --on "git+file://$work/r.git"
