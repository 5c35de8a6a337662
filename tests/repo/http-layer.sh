#!/bin/sh
# The HTTP layer of the repository plugins against a server that lies.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY SSL_CERT_FILE
get () { "$top_builddir/tests/repo/http-get" "$@"; }
# CAPSTAN_E_* as exit status
INVAL=2 IO=4 NOTFOUND=5 AUTH=9 PERM=10 NET=11 TIMEOUT=12 QUOTA=13 UNSUPPORTED=14 CANCELLED=16
LIMIT=20 UNTRUSTED=21 BUSY=8

mkdir www
head -c 3000000 /dev/urandom >www/big
echo small >www/small
make_ca
start_liar plain www
http=http://127.0.0.1:$port
start_liar other www
other=http://127.0.0.1:$port
start_liar tls www cert.pem key.pem
https=https://localhost:$port

# A file, a range of it, and several ranges at once
status 0 get "$http/ok/big"; same out www/big; err_has 'status 200'
status 0 get -r 1000-1999 "$http/ok/big"; err_has 'status 206'
tail -c +1001 www/big | head -c 1000 >want; tail -c 1000 out >got; same got want
status 0 get -r 0-2999999 -n 8 "$http/ok/big"; same out www/big
[ "$(grep -c 'bytes=' plain.log)" = 9 ] || fail "not as many ranges as asked for"
status 0 get -X HEAD "$http/ok/big"
# A server without ranges gives all
status 0 get -r 1000-1999 "$http/no-range/big"; err_has 'status 200'
# The end of the connection is the end
status 0 get "$http/no-length/big"; same out www/big

# Bodies that are not what was promised
for fault in truncated reset; do status $NET get "$http/$fault/big"; done
for fault in other-range huge-range; do status $NET get -r 1000-1999 "$http/$fault/big"; done
err_has 'more than the range'
status $TIMEOUT get -t 1 "$http/drip/big"; err_has 'drip/big'
status $TIMEOUT get -t 1 "$http/silent/big"
status $LIMIT get -m 5 "$http/ok/small"
status $LIMIT get -d -m 1000000 "$http/bomb/big"
[ "$(wc -c <out)" -le 1000000 ] || fail "the limit of a decoded body does not hold"
status $NET get "$http/big-headers/x"; err_has 'Too large'

# Statuses and the server's words
status $NOTFOUND get "$http/ok/absent"; err_has '404 Not Found'; err_lacks 'no such page'
status $PERM get "$http/forbidden/x"; err_has '403 Forbidden: AccessDenied Access Denied'
status $AUTH get "$http/login/x"; err_has 'wants other credentials'
status $BUSY get "$http/busy/x"; err_has 'retry 7000'; err_has 'later, please'
status $BUSY get "$http/later/x"; err_has 'retry '
status $NET get "$http/error-once/big"; status 0 get "$http/error-once/big"

# Credentials: from the host, to the origin of the request only, never in what is printed
status 0 get -a -T right "$http/login/x"; err_lacks right
status $AUTH get -a -T wrong "$http/login/x"; err_lacks wrong
: >other.log
status 0 get -a -T right -H 'X-Amz-Token:sesame' "$http/to/x?$other/ok/small"
[ "$(cat other.log)" = "GET /ok/small - - -" ] || fail "credentials went to another host: $(cat other.log)"
status 0 get -H 'Authorization:Basic eDp5' "$http/to/x?$other/ok/small"
[ "$(tail -1 other.log)" = "GET /ok/small - - -" ] || fail "credentials went to another host"
status 0 get -a -T right "$http/to/x?/login/y"
status $INVAL get "http://joe:secret@127.0.0.1:9/"; err_has 'take user and password out'; err_lacks secret
# not even from ~/.netrc
printf 'machine 127.0.0.1 login joe password secret\n' >"$HOME/.netrc"; chmod 600 "$HOME/.netrc"
status 0 get "$http/echo/x"; out_lacks Authorization; out_has 'capstan-test/1'

# Redirects
status $NET get "$http/loop/x"; err_has 'more than 5 redirects'
status $UNTRUSTED get "$http/to/x?file:///etc/passwd"; err_has 'only http and https'
status $UNTRUSTED get -c ca.pem "$https/to/x?$http/ok/small"; err_has 'not encrypted'
status 0 get -c ca.pem "$http/to/x?$https/ok/small"; out_has small
status 0 get -r 1000-1999 "$http/to/x?$other/ok/big"; err_has 'status 206'

# TLS is verified
status $UNTRUSTED get "$https/ok/small"; err_has 'ca=FILE'
status 0 get -c ca.pem "$https/ok/big"; same out www/big
status 0 env SSL_CERT_FILE="$work/ca.pem" "$top_builddir/tests/repo/http-get" "$https/ok/small"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=x" \
  -keyout x.key -out x.pem 2>/dev/null
status $UNTRUSTED get -c x.pem "$https/ok/small"
status $INVAL get -c absent.pem "$https/ok/small"; err_has absent.pem
# The right CA, but another name
start_liar name www cert.pem key.pem
status $UNTRUSTED get -c ca.pem "https://other.localhost:$port/ok/small"; err_has "target host name"; err_lacks "ca=FILE"

# Sending
status 0 get -X PUT -b 3000000 "$http/ok/new"; err_has 'status 201'
status 0 get -X PUT -b 0 "$http/ok/new"; err_has 'status 201'
status $QUOTA get -X PUT -b 3000000 "$http/full/new"; err_has 'the disk is full'
status $UNSUPPORTED get -X PUT -b 10 "$http/put-redirect/new"; err_has 'not followed for PUT'
status 0 get -X PUT -b 100000 "$http/put-moved/new"; err_has 'status 201'

# Ctrl-C in the middle, and while nothing comes
status $CANCELLED get -x 100000 "$http/ok/big"
status $CANCELLED get -x 3 "$http/drip/big"

# Nobody there
status $NET get "http://127.0.0.1:1/x"
# A proxy of the environment
status $NOTFOUND env HTTP_PROXY="$http" "$top_builddir/tests/repo/http-get" http://nowhere.invalid/x
grep -q 'GET http://nowhere.invalid/x' plain.log || fail "HTTP_PROXY was not asked"
status $NET env HTTP_PROXY="$http" no_proxy=nowhere.invalid "$top_builddir/tests/repo/http-get" http://nowhere.invalid/x
