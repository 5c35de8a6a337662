#!/bin/sh
# A large image goes through capstan in little memory, in each direction and encoding. `make
# bench' runs it with 2 GiB.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
. "$top_srcdir/tests/repo/suite.sh"
capstan plugin info http >/dev/null 2>&1 || skip "repo-http is not built"
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY
: "${CAPSTAN_TEST_REPO_SIZE:=128}"
mkdir www
start_nginx web <<EOT
server { listen 127.0.0.1:@PORT@; root $work/www; dav_methods PUT DELETE MKCOL MOVE; create_full_put_path on; }
EOT
suite_store h
capstan -q repo add suite "http://127.0.0.1:$port"
suite_big
