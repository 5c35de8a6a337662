#!/bin/sh
# The behaviour of repositories over nginx: WebDAV behind TLS and a password, and PUT alone.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
. "$top_srcdir/tests/repo/suite.sh"
capstan plugin info http >/dev/null 2>&1 || skip "repo-http is not built"
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY SSL_CERT_FILE
make_ca
mkdir www put
printf 'joe:%s\n' "$(openssl passwd -apr1 open-sesame)" >users
start_nginx web <<EOT
server {
  listen 127.0.0.1:@PORT@;
  listen 127.0.0.1:@TLS@ ssl http2;
  ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
  location /dav/ { alias $work/www/; auth_basic images; auth_basic_user_file $work/users;
    dav_methods PUT DELETE MKCOL MOVE; create_full_put_path on; }
  location /put/ { alias $work/put/; dav_methods PUT DELETE; create_full_put_path on; }
}
EOT
suite_tamper () {
  f=$(ls "$work/$root/$1"/*.qemu*)
  printf 'x' | dd of="$f" bs=1 seek=100000 conv=notrunc 2>/dev/null
}
suite_stop () { kill "$nginx_pid"; wait "$nginx_pid" || :; }
suite_start () {
  rm -f "$work/web.pid"
  nginx -p "$work" -c "$work/web.conf" &
  nginx_pid=$!
  cleanup "kill $nginx_pid 2>/dev/null"
  wait_for 20 test -s "$work/web.pid"
}
realm=CAPSTAN_SECRET_HTTPS_LOCALHOST_$tls_port
export "${realm}_USERNAME=joe" "${realm}_PASSWORD=open-sesame"
suite_bad=${realm}_PASSWORD=another
suite_secret=open-sesame
root=www
repo_suite "https://localhost:$tls_port/dav/" --ca "$work/ca.pem"
[ -z "$(find www -name '*.part')" ] && [ ! -e www/capstan-push-lock ] || fail "left: $(find www)"

suite_say "PUT alone"
rm -rf store-*
suite_bad='' root=put
suite_lacks=conditional
suite_ms="60 220"
suite_only="basic list remove killed digest at_once" suite_why="PUT makes no difference to it"
repo_suite "http://127.0.0.1:$port/put"
