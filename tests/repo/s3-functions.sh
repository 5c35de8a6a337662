# Sourced by the tests of repo-s3, after tests/functions.sh and tests/repo/functions.sh: starts a
# real S3 server, Ceph's, at $S3_ENDPOINT, with a bucket "images".
# shellcheck shell=sh
capstan plugin info s3 >/dev/null 2>&1 || skip "repo-s3 is not built"
requires radosgw --version
requires ceph-mon --version
requires curl --version
requires python3 --version
[ "$(id -u)" = 0 ] || skip "needs root, to run Ceph"
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3
HOME=$work; export HOME
cleanup "'$top_srcdir/tests/repo/radosgw' stop '$work/ceph'"
bash "$top_srcdir/tests/repo/radosgw" start "$work/ceph" >s3.env || fail "radosgw does not start"
. ./s3.env
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
none=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
s3 () { # METHOD PATH: a signed request without a body
  curl -sf -X "$1" -H "x-amz-content-sha256: $none" --aws-sigv4 aws:amz:us-east-1:s3 \
    -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" "$S3_ENDPOINT/$2"
}
s3 PUT images || fail "no bucket"
