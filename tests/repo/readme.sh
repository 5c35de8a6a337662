#!/bin/sh
# What README.md says of hosting a repository on a web server, done as it stands there.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
capstan plugin info http >/dev/null 2>&1 || skip "repo-http is not built"
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY
requires openssl version
block () { # LANGUAGE TEXT: with paths of ours
  readme_block "$1" "$2" "s|/srv/www|$work/www|g; s|/etc/nginx|$work|g; s|^chown.*||
    s|openssl passwd -apr1|& open-sesame|; s|https://images.example.com|${site:-}|; s|\"secret\"|\"open-sesame\"|"
}
make_image disk 4
capstan -q import --guest osv -d "a web server" app disk
block sh 'capstan repo index'
"$top_builddir/run" sh -eu block || fail "$(cat block)"
block sh 'openssl passwd'
sh -eu block
block nginx 'dav_methods'
start_nginx web <<EOT
server { listen 127.0.0.1:@PORT@; $(cat block) }
EOT
site=http://127.0.0.1:$port
CAPSTAN_ROOT=$work/other
status 0 capstan repo add team "$site/images/"
status 0 capstan search --repo team web; out_has app
status 0 capstan pull --repo team app; same disk "$CAPSTAN_ROOT/repository/app/app.qemu"
capstan -q import --guest osv mine disk
status 1 capstan push --repo team mine; err_has 401
block yaml 'username'
cp block "$CAPSTAN_ROOT/credentials"; chmod 600 "$CAPSTAN_ROOT/credentials"
status 0 capstan push --repo team mine
status 0 capstan search --repo team; out_has mine; out_has app
[ -e www/images/mine/index.yaml ] || fail "it was not pushed"
