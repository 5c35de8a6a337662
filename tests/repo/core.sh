#!/bin/sh
# Repositories without a server: which one is asked, what is kept of it, digests, bad images,
# secrets, verify. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/suite.sh"
CAPSTAN_PLUGIN_PATH=$top_builddir/tests/plugin/.libs; export CAPSTAN_PLUGIN_PATH
mkdir repo other
repo=dir:$work/repo
suite_disk disk 4
suite_store a
conf=$CAPSTAN_ROOT/config.yaml
capstan -q import -v 1 app disk
status 0 capstan push --repo "$repo" app
status 0 capstan push --repo "dir:$work/other" app --as app2

# ---- repo add, list, show, remove: nothing else in config.yaml changes ----
printf '# mine\nhypervisor: null\nrepos:\n  old:\n    url: dir:/old\n\n# end\ndisable_kvm: true\n' >"$conf"
status 0 capstan repo add lab "$repo" --option page=3
status 0 capstan repo add lab "$repo"
[ "$(grep -c 'mine\|end\|disable_kvm: true\|hypervisor: null' "$conf")" = 4 ] || fail "config.yaml lost something"
status 0 capstan repo list; out_has "lab              $repo"; out_has old
status 0 capstan repo list --json; out_has '"url": "dir:/old"'
status 0 capstan repo show lab; out_has "plugin       dir"
status 0 capstan repo remove old; status 3 capstan repo remove old
status 0 capstan repo list; out_lacks old
status 2 capstan repo add lab "$repo" --option nosuch=1; err_has nosuch
status 2 capstan repo add a/b "$repo"; status 2 capstan repo add none "$repo"
status 2 capstan repo add x "dir://me:secret@host/x"; err_has "holds a password"; err_lacks secret
status 1 capstan repo add x nosuch://host/x; err_has "no repository plugin takes"
status 3 capstan pull --repo /nowhere x; err_has "neither the name"
status 0 capstan repo show lab; out_lacks page

# ---- which one is asked: flag, config.yaml, CAPSTAN_REPO_URL ----
unset CAPSTAN_REPO
suite_store b; conf=$CAPSTAN_ROOT/config.yaml; mkdir -p "$CAPSTAN_ROOT"
try () { # WANT COMMAND...: the repository that answers
  want=$1; shift
  status 0 "$@"; out_has "$want"
}
CAPSTAN_REPO_URL=dir:$work/other; export CAPSTAN_REPO_URL
try app2 capstan search
echo "repo_url: $repo" >"$conf"
try "app " capstan search; out_lacks app2
capstan -q repo add lab "dir:$work/other"; echo "repo: lab" >>"$conf"
try app2 capstan search
try "app " capstan search --repo "$repo"
try "app " capstan search -u "$repo"
try "app " env CAPSTAN_REPO="$repo" "$top_builddir/run" capstan search
try "app " capstan --repo-type dir --repo "$repo" search
status 3 capstan search --repo nosuch; err_has "configured: lab"
status 2 capstan search --repo lab -u "$repo"
status 3 capstan search --repo lab --repo-type nosuch; err_has "capstan-plugin-nosuch"
status 2 env CAPSTAN_REPO=none "$top_builddir/run" capstan search
status 2 capstan search -r v1 --repo lab --option x; err_has "--option"
status 0 capstan search -r v1 --repo lab # an option of the plugin
rm "$conf"; unset CAPSTAN_REPO_URL
# the same plugin once more on the search path is no second one that a URL may be for
mkdir again; cp "$top_builddir"/tests/plugin/.libs/repo-dir.* again/
try "app " env CAPSTAN_PLUGIN_PATH="$PWD/again:$CAPSTAN_PLUGIN_PATH" "$top_builddir/run" capstan search --repo "$repo"
status 0 env CAPSTAN_PLUGIN_PATH="$PWD/again:$CAPSTAN_PLUGIN_PATH" "$top_builddir/run" capstan plugin list
out_has "again/repo-dir.so goes before it"

# ---- build and run pull what is missing, and say so ----
cat >Capstanfile <<'END'
base: app
cmdline: /hello
END
CAPSTAN_REPO=none; export CAPSTAN_REPO
status 3 capstan build made; err_has "capstan import app"
status 125 capstan run -p null app; err_has "no image 'app'"
capstan build --repo "$repo" made >out 2>err || :
err_has "app is not here; looking for it in $repo"; suite_is app disk
capstan -q rmi app
status 125 capstan run -p null --repo "dir:$work/nowhere" app; err_has app
capstan run -p null --repo "$repo" app >out 2>err || :
suite_is app disk; err_has "pulled app"; capstan -q delete app
capstan -q rmi app

# ---- JSON ----
status 0 capstan -q pull --repo "$repo" --json app
python3 - <<'END' || fail "JSON events"
import json
e = [json.loads (l) for l in open ("out")]
assert e[-1]["event"] == "pulled" and len (e[-1]["sha256"]) == 64 and not e[-1]["unchanged"], e
assert any (x["event"] == "progress" and x["done"] == x["total"] for x in e), e
END
status 0 capstan pull --repo "$repo" app --as copy; err_has "copied"; suite_is copy disk

# ---- verify ----
status 0 capstan verify; out_has "ok"
printf x | dd of="$CAPSTAN_ROOT/repository/copy/copy.qemu" bs=1 seek=5000 conv=notrunc 2>/dev/null
status 1 capstan verify; out_has "damaged: sha256 is"; err_has "1 of the images"
status 1 capstan verify --json copy; out_has '"state": "damaged"'
status 0 capstan verify app
status 3 capstan verify nosuch
capstan -q rmi copy app

# ---- a repository without digests: what came first is remembered ----
mkdir -p plain/old
cp disk plain/old/old.qemu
printf 'version: "1"\ncreated: "2020-01-02 03:04"\n' >plain/old/index.yaml
status 0 capstan pull --repo "dir:$work/plain" old; suite_is old disk
status 0 capstan pull --repo "dir:$work/plain" old; err_has "up to date"
suite_disk disk2 4; cp disk2 plain/old/old.qemu
status 1 capstan pull --repo "dir:$work/plain" old; err_has "is another image than on"; suite_is old disk
status 0 capstan pull --repo "dir:$work/plain" --force old; err_has warning; suite_is old disk2
printf 'version: "2"\n' >plain/old/index.yaml; cp disk plain/old/old.qemu
status 0 capstan pull --repo "dir:$work/plain" old; err_has "version '1' is replaced by '2'"; suite_is old disk
rm plain/old/index.yaml; gzip -c disk2 >plain/old/old.qemu.gz; rm plain/old/old.qemu
status 0 capstan pull --repo "dir:$work/plain" old; suite_is old disk2 # no index.yaml at all
# with a digest a change is told, and taken
suite_store a; capstan -q import -v 1 -c "2020-01-02 03:04" t disk; capstan -q push --repo "$repo" t
suite_store b; status 0 capstan pull --repo "$repo" t
suite_store a; capstan -q import -v 1 -c "2020-01-02 03:04" t disk2; capstan -q push --repo "$repo" t
suite_store b; status 0 capstan pull --repo "$repo" t; err_has "under the same version '1'"; suite_is t disk2

# ---- images for several hypervisors under one name ----
CAPSTAN_PLUGIN_PATH=$CAPSTAN_PLUGIN_PATH:$work/hv; mkdir hv
printf 'name: fake\nkind: hypervisor\nsuffix: vbox\n' >hv/hypervisor-fake.plugin
suite_store a; capstan -q import -v 1 two disk; capstan -q import -p fake -v 1 two disk2
status 0 capstan push --repo "$repo" two
status 3 capstan pull --repo "$repo" -p fake two; err_has "no image of it for 'vbox'"
status 0 capstan push --repo "$repo" -p fake two
suite_store b; status 0 capstan pull --repo "$repo" -p fake two
same "$CAPSTAN_ROOT/repository/two/two.vbox" disk2
status 0 capstan pull --repo "$repo" two; same "$CAPSTAN_ROOT/repository/two/two.qemu" disk
status 0 capstan verify two

# ---- nobody overwrites what he has not seen ----
suite_store c; capstan -q import -v 9 app disk2
status 4 capstan push --repo "$repo" app; err_has "not pulled or pushed from here"
status 0 capstan push --repo "$repo" --force app
suite_store a
capstan -q import -v 10 app disk
status 4 capstan push --repo "$repo" app; err_has "changed since"
status 0 capstan pull --repo "$repo" app; status 0 capstan push --repo "$repo" app; err_has "there already"

# ---- what must not come in ----
bad () { # NAME TEXT: pulling it fails so
  status 1 capstan pull --repo "dir:$work/bad" "$1"
  err_has "$2"; suite_absent "$1"; suite_clean
}
mkdir -p bad/text bad/backing bad/bomb bad/index bad/digest bad/lie
suite_store b
yes text | head -c 65536 >bad/text/text.qemu; bad text "not a disk image"
if command -v qemu-img >/dev/null; then
  qemu-img create -q -f qcow2 -F raw -b "$work/disk" bad/backing/backing.qemu
  bad backing "backing file"
  printf 'format: raw\n' >bad/backing/index.yaml; bad backing "backing file"
  qemu-img create -q -f qcow2 bad/lie/lie.qemu 16M
  printf 'format: raw\n' >bad/lie/index.yaml; bad lie "its index says raw"
fi
# a bomb of a byte that is no zero; zeros become a hole, and are what they are
python3 -c "
import gzip, sys
f = gzip.open ('bad/bomb/bomb.qemu.gz', 'wb', 6)
for i in range (96): f.write (b'A' * (1 << 20))"
bad bomb "which no image does"
printf 'files: {qemu: {size: 5000}}\n' >bad/bomb/index.yaml; bad bomb "more than the 5000 bytes"
cp disk bad/index/index.qemu
for text in 'a: [' 'files: {qemu: {sha256: zz}}' 'files: {qemu: {size: -1}}' \
  'files: {qemu: {file: ../../etc/passwd}}' 'files: {qemu: {encoding: rot13}}' 'files: {qemu: {file: none.qemu}}'; do
  printf '%s\n' "$text" >bad/index/index.yaml
  got=0; capstan pull --repo "dir:$work/bad" index >out 2>err || got=$?
  case $got in 1 | 3) ;; *) fail "status $got with $text" ;; esac
  suite_absent index
done
head -c 2000000 /dev/zero | tr '\0' '#' >bad/index/index.yaml
bad index "larger than"
printf 'sha256: %064d\n' 0 >bad/digest/index.yaml; cp disk bad/digest/digest.qemu
bad digest "sha256 of the image is"
status 0 capstan images; out_lacks bad

# ---- secrets ----
capstan -q repo add s "$repo" --option realm=dir://vault/a --option password=s3cr3t-word
open () { status 0 capstan -v pull --repo s --force app; err_has "from $1"; err_lacks s3cr3t; capstan -q rmi app; }
status 1 capstan pull --repo s app; err_has "needs a password"
CAPSTAN_SECRET_DIR_VAULT_A_PASSWORD=wr0ng-word; export CAPSTAN_SECRET_DIR_VAULT_A_PASSWORD
status 1 capstan -v pull --repo s app
err_has "was not taken by dir://vault/a; it came from the environment"; err_lacks wr0ng; err_has '***'
CAPSTAN_SECRET_DIR_VAULT_A_PASSWORD=s3cr3t-word; open "the environment"
unset CAPSTAN_SECRET_DIR_VAULT_A_PASSWORD
printf 'dir://vault:\n  password: s3cr3t-word\ndir://vault/b:\n  password: no\ndir://vaul: {password: no}\n' >"$CAPSTAN_ROOT/credentials"
chmod 644 "$CAPSTAN_ROOT/credentials"
status 1 capstan pull --repo s app; err_has "chmod 600"
chmod 600 "$CAPSTAN_ROOT/credentials"; open credentials
rm "$CAPSTAN_ROOT/credentials"
printf 'machine else password no\nmachine vault login me\n password s3cr3t-word\ndefault password no\n' >"$HOME/.netrc"
chmod 600 "$HOME/.netrc"; open netrc
rm "$HOME/.netrc"
cat >helper <<'END'
#!/bin/sh
{ echo "$@"; cat; } >>"$HOME/asked"
[ "$2" = get ] && echo "password=$(cat "$HOME/word")"
exit 0
END
chmod +x helper; echo s3cr3t-word >"$HOME/word"
echo "credential_helper: $work/helper --flag" >>"$CAPSTAN_ROOT/config.yaml"
open "the credential helper"
grep -qx "host=vault" "$HOME/asked" || fail "the helper was not told the host"
grep -qx -e "--flag store" "$HOME/asked" || fail "the helper was not told that it was right"
echo wr0ng-word >"$HOME/word"
status 1 capstan pull --repo s app; err_lacks wr0ng
grep -qx -e "--flag erase" "$HOME/asked" || fail "the helper was not told that it was wrong"

# ---- repo index: a folder becomes a repository ----
suite_store d
mkdir -p www/ns/deep www/gz "www/no name"
cp disk www/ns/deep/deep.qemu; gzip -c disk2 >www/gz/gz.qemu.gz
printf '# mine\nversion: "7"\nauthor: "me"\n' >www/gz/index.yaml
touch -d '1 minute ago' www/ns/deep/deep.qemu www/gz/gz.qemu.gz
status 0 capstan repo index www
err_has "www: 2 names, 2 image files read anew"; err_has "www/no name is left out"
grep -q 'author: "me"' www/gz/index.yaml || fail "index.yaml lost a line"
python3 - <<'END' || fail "the listing"
import hashlib, os, xml.etree.ElementTree as tree
x = "{http://s3.amazonaws.com/doc/2006-03-01/}"
got = {c.find (x + "Key").text: c for c in tree.parse ("www/index.html").getroot ().findall (x + "Contents")}
assert sorted (got) == ["gz/gz.qemu.gz", "gz/index.yaml", "ns/deep/deep.qemu", "ns/deep/index.yaml"], got
for key, c in got.items ():
    data = open ("www/" + key, "rb").read ()
    assert int (c.find (x + "Size").text) == len (data), key
    sum = c.find (x + "Sha256")
    assert key.endswith (".yaml") or sum.text == hashlib.sha256 (data).hexdigest (), key
END
status 0 capstan repo index www; err_has " 0 image files read anew"
status 0 capstan pull --repo "dir:$work/www" gz; suite_is gz disk2
status 0 capstan info gz; out_has '7'
printf x | dd of=www/ns/deep/deep.qemu bs=1 seek=70000 conv=notrunc 2>/dev/null
status 1 capstan pull --repo "dir:$work/www" ns/deep; err_has "sha256 of"; suite_absent ns/deep
status 0 capstan repo index www; err_has " 1 image files read anew"
status 0 capstan pull --repo "dir:$work/www" ns/deep; suite_is ns/deep www/ns/deep/deep.qemu
rm -r www/gz; status 0 capstan repo index www
! grep -q gz www/index.html || fail "what is gone stays in the listing"
echo "<html>our site</html>" >www/index.html
status 4 capstan repo index www; err_has "page of somebody's own"
grep -q "our site" www/index.html || fail "the page is lost"
rm www/index.html
yes text | head -c 65536 >www/ns/deep/deep.qemu
status 1 capstan repo index www; err_has "not a disk image"; [ ! -e www/index.html ] || fail "a listing all the same"
status 3 capstan repo index none-such; err_has none-such
