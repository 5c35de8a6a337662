#!/bin/sh
# The contract suite over repo-http and a web server that takes uploads.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
capstan plugin info http >/dev/null 2>&1 || skip "repo-http is not built"
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
mkdir www
start_nginx web <<EOT
server {
  listen 127.0.0.1:@PORT@;
  listen 127.0.0.1:@TLS@;
  root $work/www;
  dav_methods PUT DELETE MKCOL MOVE; create_full_put_path on; dav_access user:rw;
}
EOT
capstan plugin test http --on "http://127.0.0.1:$port/"
