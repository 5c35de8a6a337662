#!/bin/sh
# repo-http against a server that lies: an image that enters the store is the one that was meant.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
capstan plugin info http >/dev/null 2>&1 || skip "repo-http is not built"
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY SSL_CERT_FILE
export CAPSTAN_RETRIES=0
make_image image 20
# As a push leaves it, and as the original did: without digests
mkdir -p www/app www/old www/zip
cp image www/app/app.qemu
cat >www/app/index.yaml <<EOT
format_version: "1"
version: "1"
files:
  qemu:
    file: "app.qemu"
    format: "raw"
    sha256: "$(sha256sum image | cut -d' ' -f1)"
    size: $(wc -c <image)
    wire_sha256: "$(sha256sum image | cut -d' ' -f1)"
    wire_size: $(wc -c <image)
EOT
cp image www/old/old.qemu
printf 'format_version: "1"\nversion: "1"\n' >www/old/index.yaml
gzip -1 <image >www/zip/zip.qemu.gz
cp www/old/index.yaml www/zip/
start_liar liar www
url=http://127.0.0.1:$port
start_liar other www
other=http://127.0.0.1:$port
nothing () { [ ! -e "$CAPSTAN_ROOT/repository/$1/$1.qemu" ] || fail "$1 is in the store"; }
there () { same image "$CAPSTAN_ROOT/repository/$1/$1.qemu"; capstan rmi --quiet "$1"; }
refused () { # FAULT NAME TEXT
  status 1 capstan pull --repo "$url/$1" "$2"; err_has "$3"; nothing "$2"
}

# What is no more than odd
for fault in ok no-range no-length; do
  for name in app old zip; do
    status 0 capstan pull --repo "$url/$fault" "$name"; there "$name"
  done
done

# Cut short, reset, more than was said
for name in app old zip; do
  refused truncated $name 'remaining'
  refused reset $name reset
  refused other-range $name 'another range'
done
refused no-length-truncated app ended
refused no-length-truncated zip 'ends in the middle'
refused longer app bytes
# what ends a connection was all there was, and nothing says how much it is to be: gzip does
refused longer zip 'ends in the middle'

# Another file between two ranges
refused changing app 'changed while it was fetched'
refused changing old 'changed while it was fetched'
refused changing-unsaid app sha256
# and once more it is well, with nothing of the other in it
status 0 capstan pull --repo "$url/ok" app; there app

# What passes is tried again, and goes on
: >liar.log
status 0 env CAPSTAN_RETRIES=2 "$top_builddir/run" capstan pull --repo "$url/reset-once" app; there app
[ "$(grep -c 'GET /reset-once/app/app.qemu bytes=[1-9]' liar.log)" -ge 1 ] || fail "it started again"
status 0 env CAPSTAN_RETRIES=2 "$top_builddir/run" capstan pull --repo "$url/error-once" zip; there zip
refused error-once old 'a bad moment'

# Answers that are no files
refused forbidden app 'AccessDenied'
status 3 capstan pull --repo "$url/pages" app; nothing app
status 1 capstan pull --repo "$url/busy" app; err_has 'later, please'; nothing app
refused bomb zip ''
[ "$(du -sk "$CAPSTAN_ROOT" | cut -f1)" -lt 100000 ] || fail "a bomb went off: $(du -sk "$CAPSTAN_ROOT")"

# Silence
capstan repo add --quiet slow "$url/drip" --option timeout=1
status 1 capstan pull --repo slow app; err_has 'too slow'; nothing app

# Redirects: to another host, without what is for this one; not from https to http
make_ca
start_liar tls www cert.pem key.pem
tls=https://localhost:$port
realm=$(echo "${url#http://127.0.0.1}" | tr -d :)
: >other.log
status 0 env "CAPSTAN_SECRET_HTTP_127_0_0_1_${realm}_TOKEN=right" "$top_builddir/run" \
  capstan pull --repo "$url/moved/${other##*:}" app
there app
grep -q 'Bearer right' liar.log || fail "the token was not sent to its own host"
! grep -q right other.log || fail "the token went to another host: $(cat other.log)"
capstan repo add --quiet tls "$tls/moved/${url##*:}" --ca "$work/ca.pem"
status 1 capstan pull --repo tls app; err_has 'not encrypted'; nothing app
