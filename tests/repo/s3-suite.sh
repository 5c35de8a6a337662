#!/bin/sh
# The behaviour of repositories over S3.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
. "$top_srcdir/tests/repo/s3-functions.sh"
. "$top_srcdir/tests/repo/suite.sh"
suite_tamper () {
  key=images/some/where/$1/${1##*/}.qemu.gz
  s3 GET "$key" >object || fail "no $key"
  printf x | dd of=object bs=1 seek=100000 conv=notrunc 2>/dev/null
  curl -sf -T object -H "x-amz-content-sha256: $(sha256sum <object | cut -d' ' -f1)" \
    --aws-sigv4 aws:amz:us-east-1:s3 -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" "$S3_ENDPOINT/$key"
}
# the gateway alone: what it holds stays in the object store behind it
suite_stop () {
  gateway=$(cat "$work"/ceph/pid/client.rgw)
  kill "$gateway"
  wait_for 60 sh -c "! kill -0 $gateway"
}
suite_start () {
  radosgw -c "$work/ceph/ceph.conf" -n client.rgw >/dev/null 2>&1
  wait_for 60 curl -s -o answer "$S3_ENDPOINT/"
}
suite_bad=AWS_SECRET_ACCESS_KEY=another
suite_secret=$AWS_SECRET_ACCESS_KEY
repo_suite s3://images/some/where --endpoint "$S3_ENDPOINT"
[ -z "$(s3 GET 'images?uploads=' | grep -o '<UploadId>')" ] || fail "an upload is left"
! s3 GET 'images?list-type=2' | grep -q '\.lock' || fail "a lock is left"
