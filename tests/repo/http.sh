#!/bin/sh
# repo-http against nginx: pull, push, search, resume, pieces, TLS, credentials.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
capstan plugin info http >/dev/null 2>&1 || skip "repo-http is not built"
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY SSL_CERT_FILE
requires openssl version
make_ca
mkdir www ro
printf 'joe:%s\n' "$(openssl passwd -apr1 sesame)" >users
start_nginx web <<EOT
server {
  listen 127.0.0.1:@PORT@;
  listen 127.0.0.1:@TLS@ ssl http2;
  ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
  root $work/www;
  dav_methods PUT DELETE MKCOL MOVE; create_full_put_path on; dav_access user:rw;
  location /slow/ { alias $work/www/; limit_rate 8m; }
  location /trickle/ { alias $work/www/; limit_rate 2m; }
  location /ro/ { dav_methods off; alias $work/ro/; }
  location /put/ { dav_methods PUT DELETE; create_full_put_path on; alias $work/put/; }
  location /small/ { dav_methods PUT; client_max_body_size 1k; alias $work/small/; }
  location /closed/ { auth_basic closed; auth_basic_user_file $work/users; alias $work/www/; }
}
EOT
url=http://127.0.0.1:$port tls=https://localhost:$tls_port
log=$work/web.access
digest () { sha256sum "$1" | cut -d' ' -f1; }
# in_store NAME COMMAND...: with another store
in_store () { store=$1; shift; CAPSTAN_ROOT=$work/$store "$@"; }
stored () { echo "$work/$1/repository/$2/$(basename "$2").qemu"; }

make_image one 40; make_image two 40
capstan import --quiet --guest osv app one
capstan import --quiet --guest osv ns/deep two

# Push, with names of more than one part; the listing is kept; nothing else is left there
status 0 capstan push --repo "$url" app
status 0 capstan push --repo "$url" --compress none ns/deep
same two www/ns/deep/deep.qemu
zcat www/app/app.qemu.gz | cmp - one || fail "the image that was pushed is another"
[ "$(find www -type f | LC_ALL=C sort | tr '\n' ' ')" = "www/app/app.qemu.gz www/app/index.yaml www/index.html \
www/ns/deep/deep.qemu www/ns/deep/index.yaml " ] || fail "left over: $(find www)"
[ ! -d www/capstan-push-lock ] || fail "the lock stays"
status 0 capstan search --repo "$url"; out_has app; out_has ns/deep
status 0 capstan search --repo "$url" deep; out_has ns/deep; out_lacks 'app '

# Pull elsewhere, over HTTP and over TLS with HTTP/2
status 0 in_store s2 capstan pull --repo "$url" app
same one "$(stored s2 app)"
status 0 in_store s2 capstan repo add lab "$tls/" --ca "$work/ca.pem"
status 0 in_store s2 capstan pull --repo lab ns/deep
same two "$(stored s2 ns/deep)"
grep -q 'GET /ns/deep/deep.qemu 206 .* HTTP/2.0' "$log" || fail "no HTTP/2"
status 1 in_store s3 capstan pull --repo "$tls/" app; err_has certificate
status 3 in_store s2 capstan pull --repo "$url" absent; err_has "has no 'absent'"
status 2 capstan pull --repo "http://joe:sesame@127.0.0.1:$port/" app; err_lacks sesame

# Another encoding takes the place of the first, in the listing too
status 0 capstan push --repo "$url" --compress zstd --force app
[ ! -e www/app/app.qemu.gz ] && [ -e www/app/app.qemu.zst ] || fail "the old encoding stays"
! grep -q app.qemu.gz www/index.html || fail "the old encoding stays in the listing"
status 0 in_store s4 capstan pull --repo "$url" app; same one "$(stored s4 app)"

# Pieces, where one connection is slow
: >"$log"
status 0 in_store s5 capstan pull --repo "$url/slow" ns/deep
same two "$(stored s5 ns/deep)"
[ "$(grep -c 'GET /slow/ns/deep/deep.qemu 206' "$log")" = 5 ] || fail "not in five pieces"
: >"$log"
in_store s6 capstan repo add --quiet one "$url/slow" --option connections=1
status 0 in_store s6 capstan pull --repo one ns/deep
same two "$(stored s6 ns/deep)"
[ "$(grep -c 'GET /slow/ns/deep/deep.qemu 206' "$log")" = 2 ] || fail "in pieces, though one connection is all"

# Killed in the middle it goes on; of another file by then it starts again. (Not the function
# capstan: $! would be the shell around it.)
half_way () { [ "$(find "$work/s7/cache/pull" -name wire -size +7M 2>/dev/null | wc -l)" = 1 ]; }
killed_pull () {
  CAPSTAN_ROOT=$work/s7 "$top_builddir/run" capstan pull --quiet --repo "$url/trickle" ns/deep &
  wait_for 60 half_way
  kill -9 $!; wait $! 2>/dev/null || :
}
killed_pull
: >"$log"
status 0 in_store s7 capstan pull --repo "$url/trickle" ns/deep
same two "$(stored s7 ns/deep)"
grep -q 'GET /trickle/ns/deep/deep.qemu 206 bytes=[1-9]' "$log" || fail "it did not go on: $(cat "$log")"
! grep -q 'deep.qemu 206 bytes=0-' "$log" || fail "it started again"
in_store s7 capstan rmi --quiet ns/deep
killed_pull
make_image three 40
capstan rmi --quiet ns/deep
capstan import --quiet --guest osv ns/deep three
status 0 capstan push --repo "$url" --compress none --force ns/deep
status 0 in_store s7 capstan pull --repo "$url/slow" ns/deep
same three "$(stored s7 ns/deep)"

# Two pushers that saw the same: one succeeds, and what lies there is one's
for k in a b; do
  make_image "image-$k" 8
  in_store "$k" capstan import --quiet --guest osv race "image-$k"
  ( rc=0; in_store "$k" capstan push --quiet --repo "$url" race 2>"err-$k" || rc=$?
    echo $rc >"rc-$k" ) &
  pids="${pids:-} $!"
done
wait $pids
[ "$(sort rc-a rc-b | tr '\n' ' ')" = "0 4 " ] || { cat err-a err-b >&2; fail "two pushes: $(cat rc-a rc-b)"; }
status 0 in_store s8 capstan pull --repo "$url" race
winner=a; [ "$(cat rc-a)" = 0 ] || winner=b
same "image-$winner" "$(stored s8 race)"
! find www -name '*.part' | grep . || fail "an upload is left over"

# A push that is killed leaves nothing under a final name; prune removes what it left
make_image large 60
capstan import --quiet --guest osv left large
"$top_builddir/run" capstan push --quiet --repo "$url" --compress none left &
note () { [ -n "$(find "$CAPSTAN_ROOT/state" -name 'upload-*' 2>/dev/null)" ]; }
wait_for 30 note
kill -9 $!; wait $! 2>/dev/null || :
[ ! -e www/left/index.yaml ] || fail "it was not killed in the middle"
part=$(sed -n 2p "$(find "$CAPSTAN_ROOT/state" -name 'upload-*' | head -1)")
mkdir -p www/left; [ -e "www/$part" ] || cp one "www/$part"
status 0 capstan prune --repo "$url" --older-than 0 --dry-run
err_has "would remove $url/$part"
[ -e "www/$part" ] || fail "--dry-run removed it"
status 0 capstan prune --repo "$url" --older-than 0
[ ! -e "www/$part" ] || fail "$part is still there"
! note || fail "the note of it is still there"
status 0 capstan push --repo "$url" --compress none left; same large www/left/left.qemu

# Remove
status 0 capstan repo rm --repo "$url" left
[ ! -e www/left/left.qemu ] && [ ! -e www/left/index.yaml ] || fail "rm left $(find www/left)"
! grep -q left www/index.html || fail "it is still in the listing"
status 3 capstan pull --repo "$url" left

# Servers that take no uploads, or PUT alone, or no large files
mkdir put small
status 1 capstan push --repo "$url/ro" app; err_has 'takes no uploads'
status 0 capstan push --repo "$url/put" app
status 0 in_store s9 capstan pull --repo "$url/put" app; same one "$(stored s9 app)"
status 4 in_store s2 capstan push --repo "$url/put" ns/deep --as app
status 1 capstan push --repo "$url/small" app; err_has client_max_body_size
[ ! -e small/app ] || fail "a refused upload is there"

# A page of somebody's own at the root is not touched
mkdir own; echo '<html>our site</html>' >own/index.html
cp -r own want
start_nginx site <<EOT
server { listen 127.0.0.1:@PORT@; root $work/own; dav_methods PUT DELETE MKCOL MOVE;
  create_full_put_path on; location / { expires -1; } }
EOT
site=http://127.0.0.1:$port
status 0 capstan push --repo "$site" app; err_has 'keeps no listing'
same want/index.html own/index.html
status 0 in_store s10 capstan pull --repo "$site" app
status 1 capstan search --repo "$site"; err_has 'gives no listing'

# Credentials: none, wrong, right; never in what is said
status 1 in_store s11 capstan pull --repo "$url/closed" app; err_has 401
realm=CAPSTAN_SECRET_HTTP_127_0_0_1_${url##*:}
status 1 in_store s11 env "${realm}_USERNAME=joe" "${realm}_PASSWORD=wrong" \
  "$top_builddir/run" capstan pull -v --repo "$url/closed" app
err_has 401; err_lacks wrong; out_lacks wrong
status 0 in_store s11 env "${realm}_USERNAME=joe" "${realm}_PASSWORD=sesame" \
  "$top_builddir/run" capstan pull -v --repo "$url/closed" app
err_lacks sesame; out_lacks sesame; err_lacks am9l

# Options are checked
status 1 in_store s12 capstan repo add bad "$url" --ca "$work/absent.pem"; err_has absent.pem
status 1 in_store s12 capstan repo add bad "ftp://$url" --repo-type http; err_has 'http:// or https://'

# A lock that nobody takes away is of a push that was killed
mkdir www/capstan-push-lock
status 0 capstan push --repo "$url" --as locked app; err_has 'was left by a push that was killed'
[ -e www/locked/index.yaml ] && [ ! -d www/capstan-push-lock ] || fail "the old lock stays"

# The repositories of the original, asked through a proxy that only writes down for whom
python3 -c '
import socket
s = socket.socket (); s.bind (("127.0.0.1", 0)); s.listen ()
open ("proxy.tmp", "w").write (str (s.getsockname ()[1]))
__import__ ("os").rename ("proxy.tmp", "proxy.port")
while True:
    c = s.accept ()[0]
    with open ("proxy.log", "ab") as f: f.write (c.recv (4096).split (b"\r")[0] + b"\n")
    c.close ()' &
cleanup "kill $!"
wait_for 60 test -s proxy.port
asks () { # HOST ARGUMENT...: whom a pull asks
  host=$1; shift
  : >proxy.log
  status 1 in_store s13 env https_proxy="http://127.0.0.1:$(cat proxy.port)" CAPSTAN_RETRIES=0 CAPSTAN_REPO= \
    "$top_builddir/run" capstan pull "$@"
  [ "$(sort -u proxy.log)" = "CONNECT $host:443 HTTP/1.1" ] || fail "$* asked $(cat proxy.log), not $host"
}
asks mikelangelo-capstan.s3.amazonaws.com app
asks mikelangelo-capstan.s3.amazonaws.com --s3 app
asks api.github.com -r v1.0 app
asks api.github.com --release-tag latest app
asks images.example.com -u https://images.example.com/x app
asks api.github.com --repo github:me/images app
printf 'repo_url: https://from.config.example/\n' >s13/config.yaml
asks from.config.example app
CAPSTAN_REPO_URL=https://from.env.example/; export CAPSTAN_REPO_URL
asks from.config.example app
rm s13/config.yaml
asks from.env.example app
asks images.example.com -u https://images.example.com/x app
status 2 capstan pull --s3 --repo "$url" app
