# The behaviour that every repository plugin shows. Sourced, after tests/functions.sh, by the
# test of a plugin, which starts its server and then calls
#
#   repo_suite URL [ARGUMENT of `capstan repo add`]...
#
# The repository at URL is there and empty. Functions and variables of the caller open more;
# where one is missing, the part that needs it says "not tried":
#   suite_stop, suite_start  the server, at the same address, with what it holds
#   suite_tamper NAME        changes bytes of the image NAME there, and not its index.yaml
#   suite_bad="K=V..."       environment that makes the credentials wrong
#   suite_secret=TEXT        must not be seen in any output
#   suite_lacks="WORD..."    of: list rm resume conditional gzip zstd none big
#   suite_only="PART..."     of the functions below, basic first; suite_why="..." says why
#   suite_from=URL           where the stores that only pull find the same repository, for what
#                            serves it for reading
#   suite_ms="N..."          after how many milliseconds it is killed
#   CAPSTAN_TEST_REPO_SIZE   MiB of an image that passes in 32 MiB of memory, in each encoding;
#                            without it 2048, and zstd
# shellcheck shell=sh

# A disk of N MiB: random, with a hole in its middle
suite_disk () { # FILE MIB
  rm -f "$1"
  head -c "$(($2 * 524288))" /dev/urandom >"$1"
  truncate -s "$(($2 * 786432))" "$1"
  head -c "$(($2 * 262144))" /dev/urandom >>"$1"
  printf '\125\252' | dd of="$1" bs=1 seek=510 conv=notrunc 2>/dev/null
}
suite_store () { CAPSTAN_ROOT=$work/store-$1; export CAPSTAN_ROOT; } # NAME, a to h
suite_lack () { case " ${suite_lacks:-} " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
suite_say () { echo "suite: $*"; }
suite_not () { suite_say "not tried: $*"; }
suite_is () { # NAME FILE: the image of the store is this one
  same "$2" "$CAPSTAN_ROOT/repository/$1/${1##*/}.qemu"
}
suite_absent () { [ ! -e "$CAPSTAN_ROOT/repository/$1" ] || fail "$1 came into the store"; }
# nothing is left of a pull or push that went well
suite_clean () {
  left=$(find "$CAPSTAN_ROOT/cache/pull" "$CAPSTAN_ROOT/cache/push" -type f 2>/dev/null || :)
  [ -z "$left" ] || fail "left behind: $left"
}
suite_secrets () {
  [ -z "${suite_secret:-}" ] || ! grep -qF -e "$suite_secret" "$work/out" "$work/err" ||
    fail "a secret in the output"
}
suite_function () { command -v "$1" >/dev/null; }

# ---- the parts ----

suite_basic () {
  suite_say "push, push again, pull elsewhere"
  suite_store a
  status 0 capstan import -v 1 -d "of the suite" team/app one
  status 0 capstan -v push --repo suite team/app; suite_secrets; suite_clean
  status 0 capstan push --repo suite team/app; err_has "there already"
  suite_store b
  status 0 capstan -v pull --repo suite team/app; suite_secrets; suite_is team/app one; suite_clean
  status 0 capstan pull --repo suite team/app; err_has "up to date"
  status 0 capstan verify team/app
  status 0 capstan info team/app; out_has "of the suite"
  suite_say "another version, other encodings"
  for how in none gzip zstd; do
    if suite_lack "$how"; then continue; fi
    suite_disk two 4
    suite_store a
    status 0 capstan import -v "$how" team/app two
    status 0 capstan push --repo suite --compress $how team/app
    suite_store b
    status 0 capstan pull --repo suite team/app; suite_is team/app two
    err_has "version"
  done
  suite_say "names, versions, what is not there"
  status 0 capstan pull --repo suite team/app --as old
  suite_is old two
  status 3 capstan pull --repo suite team/none; suite_absent team/none
  err_has none
  status 3 capstan pull --repo suite team; suite_absent team/none
  status 3 capstan pull --repo suite team/app:no-such-version
  status 3 capstan push --repo suite not-here
  status 3 capstan repo rm --repo suite team/none
}

suite_list () {
  if suite_lack list; then suite_not "a listing"; return; fi
  suite_say "search"
  suite_store a
  capstan -q import -d "Second of them" other two
  status 0 capstan push --repo suite other
  status 0 capstan search --repo suite; out_has team/app; out_has other; out_has "Second of them"
  status 0 capstan search --repo suite SECOND; out_has other; out_lacks team/app
  status 0 capstan search --repo suite --json; out_has '"name": "team/app"'
}

suite_remove () {
  if suite_lack rm; then suite_not "repo rm"; return; fi
  suite_say "remove"
  suite_store a
  capstan -q import other two
  capstan -q push --repo suite --force other
  status 0 capstan repo rm --repo suite other
  suite_store b
  status 3 capstan pull --repo suite other
  status 0 capstan images; out_lacks other
  suite_store a
  status 0 capstan push --repo suite other
  status 0 capstan repo rm --repo suite other
}

# The kernel kills a process that writes past `ulimit -f` (SIGXFSZ, like -9 without a chance
# to tidy up), so the byte at which it dies is known.
suite_killed () {
  suite_say "killed in the middle"
  suite_store a
  status 0 capstan import -v killed big/one big
  suite_store b
  bytes=$(stat -c %s big)
  resumed=0
  tries=0
  for part in 1 3 7 7 7 7 7 7 7 7; do
    # where pieces come side by side, the first may not be there yet: more than three times, then
    if [ $tries -ge 3 ] && { [ $resumed -gt 0 ] || suite_lack resume; }; then break; fi
    tries=$((tries + 1))
    suite_store a
    status 0 capstan push --repo suite --force --compress none big/one
    suite_store b
    capstan -q rmi big/one 2>/dev/null || :
    at=$((bytes * part / 8 / 512 + $(od -An -N1 -tu1 /dev/urandom)))
    got=0
    (ulimit -S -f $at; "$top_builddir/run" capstan pull --repo suite big/one) >out 2>err || got=$?
    [ $got -gt 128 ] || fail "it was to be killed: $got"
    suite_absent big/one
    there=$(cat "$CAPSTAN_ROOT"/cache/pull/*/resume 2>/dev/null | head -1) || :
    status 0 capstan pull --repo suite big/one
    if [ -n "$(echo "$there" | tr -d 0)" ] && ! suite_lack resume; then
      err_has "going on after"
      resumed=$((resumed + 1))
    fi
    suite_is big/one big; suite_clean
  done
  [ $resumed -gt 0 ] || suite_lack resume || fail "none of the pulls was gone on with"
  # what it left is not kept when the image has come in another way meanwhile
  capstan -q rmi big/one
  (ulimit -S -f $at; "$top_builddir/run" capstan pull --repo suite big/one) >out 2>err || :
  [ -n "$(find "$CAPSTAN_ROOT/cache/pull" -type f)" ] || fail "a killed pull has left nothing"
  capstan -q import -v killed big/one big
  status 0 capstan pull --repo suite big/one; err_has "up to date"
  suite_clean
  suite_say "killed at any time, pull and push"
  suite_disk big3 8
  for ms in ${suite_ms:-30 60 100 150 220 320}; do
    suite_store a
    capstan -q import -v $ms big/any big3
    timeout -s KILL 0.$(printf %03d $ms) "$top_builddir/run" capstan -q push --repo suite --force big/any || :
    status 0 capstan push --repo suite --force big/any
    suite_store b
    capstan -q rmi big/any 2>/dev/null || :
    timeout -s KILL 0.$(printf %03d $ms) "$top_builddir/run" capstan -q pull --repo suite big/any || :
    status 0 capstan pull --repo suite big/any
    suite_is big/any big3; suite_clean
  done
}

suite_credentials () {
  if [ -z "${suite_bad:-}" ]; then suite_not "wrong credentials"; return; fi
  suite_say "wrong credentials"
  suite_store a
  suite_disk two 4
  capstan -q import -v bad team/app two
  # shellcheck disable=SC2086
  status 1 env CAPSTAN_RETRIES=0 $suite_bad "$top_builddir/run" capstan -v push --repo suite --force team/app
  suite_secrets
  [ -s err ] || fail "no word of why"
  status 0 capstan push --repo suite --force team/app
}

suite_digest () {
  if ! suite_function suite_tamper; then suite_not "a changed image"; return; fi
  suite_say "changed digest"
  suite_store a
  suite_disk three 4
  capstan -q import -v tamper bad/app three
  status 0 capstan push --repo suite --force bad/app
  suite_tamper bad/app
  suite_store b
  status 1 capstan pull --repo suite bad/app; suite_absent bad/app
  suite_clean
  suite_store a
  status 0 capstan push --repo suite --force --compress none bad/app
}

suite_dies () {
  if ! suite_function suite_stop; then suite_not "a server that dies"; return; fi
  suite_say "the server dies"
  suite_store c
  suite_stop
  status 1 env CAPSTAN_RETRIES=0 "$top_builddir/run" capstan pull --repo suite team/app; suite_absent team/app
  if [ -z "${suite_from:-}" ]; then
    suite_store a
    status 1 env CAPSTAN_RETRIES=0 "$top_builddir/run" capstan push --repo suite team/app
    suite_store c
  fi
  CAPSTAN_RETRIES=9 capstan pull --repo suite team/app >out 2>err &
  suite_pid=$!
  wait_for 60 grep -q "trying again" err
  suite_start
  wait $suite_pid || { cat err >&2; fail "it did not try again"; }
  suite_is team/app two
}

suite_full () {
  if ! unshare -m true 2>/dev/null; then suite_not "a full disk (needs root)"; return; fi
  suite_say "a full disk"
  suite_store a
  capstan -q import -v full full/app big
  status 0 capstan push --repo suite --force --compress none full/app
  mkdir -p small
  # it fits neither by what index.yaml says, nor, where that is not known, while it comes
  CAPSTAN_ROOT=$work/store-a unshare -m sh -eu -c '
    mount -t tmpfs -o size=6m none small
    cp "$CAPSTAN_ROOT/config.yaml" small/
    CAPSTAN_ROOT=$PWD/small; export CAPSTAN_ROOT
    got=0; "$top_builddir/run" capstan pull --repo suite full/app >out 2>err || got=$?
    [ $got = 1 ] || { cat err >&2; echo "status $got on a full disk" >&2; exit 1; }
    grep -q "free\|No space" err || { cat err >&2; exit 1; }
    [ ! -e small/repository/full ] || { echo "half an image came into the store" >&2; exit 1; }
    mount -o remount,size=64m small
    "$top_builddir/run" capstan -q pull --repo suite full/app
    cmp big small/repository/full/app/app.qemu' || fail "full disk"
}

suite_at_once () {
  suite_say "two at once"
  suite_store a
  capstan -q import -v once two/pull big
  status 0 capstan push --repo suite --force two/pull
  suite_store d
  capstan pull --repo suite two/pull >out1 2>err1 & p1=$!
  capstan pull --repo suite two/pull >out2 2>err2 & p2=$!
  wait $p1 || { cat err1 >&2; fail "first pull"; }
  wait $p2 || { cat err2 >&2; fail "second pull"; }
  suite_is two/pull big; suite_clean
  grep -q "up to date\|pulled" err1 && grep -q "up to date\|pulled" err2 || fail "two pulls"
  for round in 1 2 3; do
    suite_disk p1 4; suite_disk p2 4
    suite_store e; capstan -q import -v $round two/push p1
    suite_store f; capstan -q import -v $round two/push p2
    suite_store e; capstan push --repo suite two/push >out1 2>err1 & p1=$!
    suite_store f; capstan push --repo suite two/push >out2 2>err2 & p2=$!
    s1=0; wait $p1 || s1=$?
    s2=0; wait $p2 || s2=$?
    case $s1,$s2 in
      0,4 | 4,0) ;;
      0,0) suite_lack conditional || { cat err1 err2 >&2; fail "both pushed, and one knows nothing of it"; } ;;
      *) cat err1 err2 >&2; fail "two pushes: $s1 $s2" ;;
    esac
    suite_store g
    status 0 capstan pull --repo suite two/push
    if [ $s1,$s2 = 0,4 ]; then suite_is two/push p1; fi
    if [ $s1,$s2 = 4,0 ]; then suite_is two/push p2; fi
    # the loser knows now what lies there, and may go on after pulling it
    suite_store e; capstan -q pull --repo suite two/push
    suite_store f; capstan -q pull --repo suite two/push
  done
}

# The largest memory of capstan or of one of its children (git), whichever is more.
suite_big () {
  if suite_lack big; then suite_not "memory"; return; fi
  size=${CAPSTAN_TEST_REPO_SIZE:-2048}
  if grep -q __asan_init "$top_builddir/capstan"; then suite_not "memory (sanitizers take more)"; return; fi
  measure=$top_builddir/tests/bench/measure
  suite_say "$size MiB in 32 MiB of memory"
  suite_disk huge 8
  truncate -s "${size}M" huge
  head -c 1M /dev/urandom >>huge
  suite_store h
  capstan -q import huge huge
  rm -f huge
  for how in ${CAPSTAN_TEST_REPO_SIZE:+none gzip} zstd; do
    if suite_lack "$how"; then continue; fi
    for what in "push --compress $how" pull; do
      # shellcheck disable=SC2086 # not ./run: a shell's memory would be counted as well
      CAPSTAN_PLUGIN_PATH=${CAPSTAN_PLUGIN_PATH:+$CAPSTAN_PLUGIN_PATH:}$top_builddir/plugins/.here \
        "$measure" "$top_builddir/capstan" $what --force --repo suite huge >numbers 2>err ||
        { cat err >&2; fail "measure"; }
      read -r wall cpu peak st <numbers
      [ "$st" = 0 ] || { cat err >&2; fail "$what of $size MiB"; }
      suite_say "$what: $((wall / 1000)) ms, $((cpu / 1000)) ms of processor, $peak KiB"
      [ "$peak" -le 32768 ] || fail "$what took $peak KiB of memory"
    done
  done
  status 0 capstan verify huge
}

repo_suite () {
  for suite_s in a b c d e f g h; do # each store knows the repository as "suite"
    suite_store $suite_s
    capstan -q repo add suite "$@"
  done
  if [ -n "${suite_from:-}" ]; then
    for suite_s in b c d g; do
      suite_store $suite_s
      capstan -q repo add suite "$suite_from"
    done
  fi
  suite_disk one 8
  suite_disk big 16
  suite_parts="basic list remove killed credentials digest dies full at_once big"
  for suite_part in $suite_parts; do
    case " ${suite_only:-$suite_parts} " in
      *" $suite_part "*) suite_$suite_part ;;
      *) suite_not "$suite_part (${suite_why:-not asked for})" ;;
    esac
  done
}
