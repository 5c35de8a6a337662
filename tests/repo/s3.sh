#!/bin/sh
# repo-s3 against a real S3 server, Ceph's. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
. "$top_srcdir/tests/repo/s3-functions.sh"
AWS_ENDPOINT_URL=$S3_ENDPOINT; export AWS_ENDPOINT_URL
repo=s3://images/a/b
proxy () { # MODE
  rm -f "$work/$1.port"
  python3 "$top_srcdir/tests/repo/s3-proxy.py" "$1" "$S3_ENDPOINT" "$work/$1.port" "$work/$1.log" 2>"$work/$1.err" &
  cleanup "kill $!"
  wait_for 20 test -s "$work/$1.port"
  AWS_ENDPOINT_URL=http://127.0.0.1:$(cat "$work/$1.port"); export AWS_ENDPOINT_URL
}
disk () { # FILE MIB: a boot disk that does not compress
  head -c "$(($2 << 20))" /dev/urandom >"$1"
  printf '\125\252' | dd of="$1" bs=1 seek=510 conv=notrunc 2>/dev/null
}
with () { (export "$1"; shift; "$@"); } # with NAME=VALUE COMMAND...
as () { CAPSTAN_ROOT=$work/$1; export CAPSTAN_ROOT; } # as STORE
got () { same "$1" "$CAPSTAN_ROOT/repository/team/app/app.qemu"; }

# ---- push, again, pull elsewhere, in parts and in one ----
disk one 24; disk two 24; disk small 1
as first
status 0 capstan import -v 1 team/app one
status 0 capstan push --repo $repo -v team/app
case $(grep -c 'PUT .*app.qemu.gz: 200' err) in 3 | 4) ;; *) fail "not in parts of 8 MiB" ;; esac
status 0 capstan push --repo $repo team/app; err_has "there already"
as second
status 0 capstan pull --repo $repo team/app; got one
status 0 capstan search --repo $repo; out_has team/app
# what the original reads: <name>/<last>.qemu.gz and index.yaml
s3 GET images/a/b/team/app/app.qemu.gz | gunzip | cmp - one || fail "not as the original has it"
s3 GET images/a/b/team/app/index.yaml | grep -q format_version || fail "no index"
for how in none zstd gzip; do
  as first
  status 0 capstan import -v "$how" team/app small
  status 0 capstan push --repo $repo --compress $how team/app
  rm -rf third; as third
  status 0 capstan pull --repo $repo team/app; got small
  [ "$(s3 GET 'images?list-type=2' | grep -o '<Key>' | wc -l)" = 2 ] || fail "$how: more than image and index"
done

# ---- as README.md has it, but for the names of bucket and server ----
as readme
status 0 capstan import app small
readme_block sh my-bucket "s|my-bucket|images|; s|eu-central-1|us-east-1|; s|https://s3.lab.example|$S3_ENDPOINT|"
"$top_builddir/run" sh -eu block || fail "$(cat block)"
for r in team:images/images lab:images; do
  status 0 capstan search --repo "${r%:*}"; out_has app
done
status 0 capstan repo rm --repo team app

# ---- a bucket that is open to all is read without credentials ----
cat >policy <<'END'
{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*",
  "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::images", "arn:aws:s3:::images/*"]}]}
END
curl -sf -T policy -H "x-amz-content-sha256: $(sha256sum <policy | cut -d' ' -f1)" --aws-sigv4 aws:amz:us-east-1:s3 \
  -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" "$S3_ENDPOINT/images?policy=" || fail "no policy"
rm -rf third; as third
with AWS_ACCESS_KEY_ID= status 0 capstan pull --repo $repo team/app; got small
with AWS_ACCESS_KEY_ID= status 0 capstan search --repo $repo; out_has team/app
as first
status 0 capstan import -v open team/app two
with AWS_ACCESS_KEY_ID= status 1 capstan push --repo $repo team/app; err_has "credentials"
status 0 capstan import -v gzip team/app small
s3 DELETE 'images?policy=' || fail "the policy stays"

# ---- two that push ----
as second
status 0 capstan import -v 2 team/app two
status 4 capstan push --repo $repo team/app # it has not seen what lies there now
rm -rf third; as third
status 0 capstan pull --repo $repo team/app; got small
as second
status 0 capstan push --force --repo $repo team/app
as first; status 0 capstan import -v 3 new one
as second; status 0 capstan import -v 4 new two
for k in first second; do
  CAPSTAN_ROOT=$work/$k "$top_builddir/run" capstan push -q --repo $repo new >$k.log 2>&1 & eval "p_$k=$!"
done
a=0; wait "$p_first" || a=$?
b=0; wait "$p_second" || b=$?
case $a$b in
  04) winner=one ;; 40) winner=two ;;
  *) cat first.log second.log >&2; fail "two pushes of one name ended with $a and $b" ;;
esac
as fourth; status 0 capstan pull --repo $repo new
same $winner "$CAPSTAN_ROOT/repository/new/new.qemu"
! s3 GET 'images?list-type=2' | grep -q '\.lock' || fail "a lock is left"

# what a push of this store has left when it was killed is no obstacle; what others hold is one
put_lock () { # TEXT
  printf 'capstan is pushing this image\n%s\n' "$1" >lock
  curl -sf -T lock -H "x-amz-content-sha256: $(sha256sum <lock | cut -d' ' -f1)" --aws-sigv4 aws:amz:us-east-1:s3 \
    -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" "$S3_ENDPOINT/images/a/b/new/.lock"
}
as first
status 0 capstan import -v 5 new one
put_lock 0123456789abcdef0123456789abcdef
status 4 capstan push --force --repo $repo new; err_has "somebody else is pushing"
owner=$(echo "$CAPSTAN_ROOT"/state/*/owner)
mv "$owner" word; mkdir "$owner"
status 1 capstan push --force --repo $repo new; err_has "write $owner"
rmdir "$owner"; mv word "$owner"
put_lock "$(cat "$owner")"
status 0 capstan push --force --repo $repo new
! s3 GET 'images?list-type=2' | grep -q '\.lock' || fail "a lock is left"

# ---- an upload that was killed goes on ----
as first
disk large 48
status 0 capstan import large large
proxy hang # two parts get there, the others are never answered
"$top_builddir/run" capstan push -q --compress none --repo $repo large >/dev/null 2>&1 & pid=$!
AWS_ENDPOINT_URL=$S3_ENDPOINT
uploads () { s3 GET 'images?uploads=' | grep -o "<UploadId>[^<]*" | sed 's/.*>//'; }
two_parts () { [ "$(grep -c '^part .*200' hang.log)" = 2 ]; }
wait_for 60 two_parts
kill -9 $pid
wait $pid || true
[ -n "$(uploads)" ] || fail "no upload is left"
status 0 capstan push -v --compress none --repo $repo large
[ "$(grep -c 'PUT .*large.qemu: 200' err)" = 4 ] || fail "the parts that were there were sent again"
as fourth; status 0 capstan pull --repo $repo large; same large "$CAPSTAN_ROOT/repository/large/large.qemu"
# one that nobody goes on with is removed
s3 POST 'images/a/b/gone/gone.qemu?uploads=' >/dev/null
status 0 capstan prune --repo $repo --older-than 0 --dry-run
[ -n "$(uploads)" ] || fail "a dry run removed something"
status 0 capstan prune --repo $repo --older-than 0
[ -z "$(uploads)" ] || fail "an upload is left"

# ---- what goes wrong is said ----
as fourth
with AWS_SECRET_ACCESS_KEY=wrong status 1 capstan pull --force --repo $repo team/app; err_has "secret key is wrong"
with AWS_ACCESS_KEY_ID=NOBODY status 1 capstan pull --force --repo $repo team/app; err_has "access key is not known"
with AWS_ACCESS_KEY_ID= status 1 capstan pull --force --repo $repo team/app; err_has "without credentials"
with AWS_ACCESS_KEY_ID= status 1 capstan push --repo $repo new; err_has "without credentials"
status 3 capstan pull --repo $repo nothing; err_has "nothing"
status 3 capstan pull --repo s3://nobucket app; err_has "no such bucket"
status 1 capstan pull --repo 's3://images/a?x=1' app; err_has options
status 1 capstan pull --repo s3:///x app; err_has "bucket"
with AWS_ENDPOINT_URL=http://127.0.0.1:1 with CAPSTAN_RETRIES=0 status 1 capstan pull --repo $repo app; err_has "127.0.0.1"

# ---- where settings come from ----
mkdir -p .aws
printf '[other]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >.aws/credentials
printf '[profile other]\nendpoint_url = %s\nregion = us-east-1\n' "$S3_ENDPOINT" >.aws/config
rm -rf third; as third
(unset AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
 with AWS_PROFILE=other status 0 capstan pull --repo $repo team/app) || exit 1
got two
id=$AWS_ACCESS_KEY_ID key=$AWS_SECRET_ACCESS_KEY
(unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
 printf 's3://images:\n  access_key_id: "%s"\n  secret_access_key: "%s"\n' "$id" "$key" >third/credentials
 chmod 600 third/credentials
 status 0 capstan repo add team $repo --endpoint "$S3_ENDPOINT" --region us-east-1
 status 0 capstan pull --force --repo team team/app) || exit 1
got two
# the bucket in front of the host's name
status 0 capstan repo add virtual $repo --endpoint "$(echo "$S3_ENDPOINT" | sed 's/127.0.0.1/localhost/')" --option style=virtual
status 0 capstan pull --force --repo virtual team/app; got two

# ---- servers that know less or want more ----
proxy 501 # no conditional writes: asked just before instead
as first
status 0 capstan import -v 5 team/app one
status 0 capstan push --force --repo $repo team/app
grep -q conditional 501.log || fail "no condition was tried"
as second
status 0 capstan import -v 6 team/app small
status 4 capstan push --repo $repo team/app
proxy token
as fourth
status 1 capstan pull --force --repo $repo team/app; err_has "session token"
with AWS_SESSION_TOKEN=the-token status 0 capstan pull --force --repo $repo team/app
AWS_ENDPOINT_URL=$S3_ENDPOINT

# ---- TLS: the authority has to be known ----
if command -v nginx >/dev/null; then
  make_ca
  mkdir ng
  tls=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  cat >ng/conf <<X
pid $work/ng/pid;
error_log $work/ng/error;
daemon on;
events { }
http {
  access_log off;
  client_body_temp_path $work/ng/b; proxy_temp_path $work/ng/p; fastcgi_temp_path $work/ng/f;
  uwsgi_temp_path $work/ng/u; scgi_temp_path $work/ng/s;
  server {
    listen 127.0.0.1:$tls ssl;
    ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
    client_max_body_size 0;
    location / { proxy_pass $S3_ENDPOINT; proxy_set_header Host \$http_host; }
  }
}
X
  nginx -c "$work/ng/conf" 2>/dev/null || fail "nginx does not start"
  cleanup "kill $(cat ng/pid)"
  AWS_ENDPOINT_URL=https://localhost:$tls; export AWS_ENDPOINT_URL
  status 1 capstan pull --force --repo $repo team/app; err_has "ca="
  status 0 capstan repo add tls $repo --endpoint "$AWS_ENDPOINT_URL" --ca "$work/ca.pem"
  status 0 capstan pull --force --repo tls team/app; got one
  AWS_ENDPOINT_URL=$S3_ENDPOINT
fi

# ---- remove ----
status 0 capstan repo rm --repo $repo team/app
status 3 capstan pull --force --repo $repo team/app
status 0 capstan repo rm --repo $repo large
status 0 capstan repo rm --repo $repo new
[ "$(s3 GET 'images?list-type=2' | grep -c '<Key>')" = 0 ] || fail "something is left"

# ---- the contract suite ----
AWS_ENDPOINT_URL=$S3_ENDPOINT capstan plugin test s3 --on $repo || fail "the contract"
[ "$(s3 GET 'images?list-type=2' | grep -c '<Key>')" = 0 ] || fail "the contract suite leaves something"

# ---- more than one page of a listing ----
python3 - "$S3_ENDPOINT" "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" <<'END' >urls
import hashlib, sys
text = "format_version: 1"
print ("next\n".join ('url = "%s/images/a/b/many/n%04d/index.yaml"\nrequest = PUT\ndata = "%s"\nuser = "%s"\n'
                     'header = "x-amz-content-sha256: %s"\naws-sigv4 = "aws:amz:us-east-1:s3"\nfail\n'
                     % (sys.argv[1], i, text, sys.argv[2], hashlib.sha256 (text.encode ()).hexdigest ())
                     for i in range (1100)))
END
curl -s -Z -K urls >/dev/null 2>&1 || fail "1100 objects"
status 0 capstan search --repo $repo many
[ "$(grep -c '^many/n' out)" = 1100 ] || fail "a page of the listing is missing: $(grep -c '^many/n' out)"
