#!/bin/sh
# Git LFS: down and up, resumed, and servers that lie.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
. "$top_srcdir/tests/repo/git-functions.sh"
mkdir -p root/closed
bare root/closed/r.git
start_git_http "$work/root"
U=git+http://127.0.0.1:$port/closed/r.git
eval "CAPSTAN_SECRET_HTTP_127_0_0_1_${port}_USERNAME=ann; export CAPSTAN_SECRET_HTTP_127_0_0_1_${port}_USERNAME"
eval "CAPSTAN_SECRET_HTTP_127_0_0_1_${port}_PASSWORD='s3cret+/='; export CAPSTAN_SECRET_HTTP_127_0_0_1_${port}_PASSWORD"
export CAPSTAN_RETRIES=0
capstan -q repo add r "$U" --option max-blob=1M
mkdir -p store2
cp store/config.yaml store2/

# What is too large for a blob goes there, and comes back the same.
image app 3000000
image small 1000
status 0 capstan push --repo r --compress none app
status 0 capstan push --repo r small
[ "$(git -C root/closed/r.git cat-file -s HEAD:app/app.qemu)" -lt 200 ] || fail "no pointer"
git -C root/closed/r.git show HEAD:app/.gitattributes | grep -q "^app.qemu filter=lfs" || fail "no attribute"
same app.raw "root/lfs/$(sha256sum <app.raw | cut -d' ' -f1)"
grep -q "POST /closed/r.git/lfs-verify - ann" http.log || fail "the server was not asked to look"
status 0 store 2 capstan pull --repo r app
same app.raw "$(stored 2 app)"
status 0 store 2 capstan pull --repo r small
find store2/cache -size +1000k | grep . && fail "the cache has the image"

# Once there, it is not sent again; a path that .gitattributes names stays in LFS.
n=$(grep -c "^PUT" http.log)
status 0 capstan push --repo r --compress none --force app
[ "$(grep -c "^PUT" http.log)" = "$n" ] || fail "sent again"
image app 5000
status 0 capstan push --repo r --compress none app
[ "$(git -C root/closed/r.git cat-file -s HEAD:app/app.qemu)" -lt 200 ] || fail "no pointer"
[ "$(git -C root/closed/r.git show HEAD:app/.gitattributes | wc -l)" = 1 ] || fail "attributes grow"

# A connection that ends: the rest is fetched, or all of it from a server without ranges.
image app 4000000
status 0 capstan push --repo r --compress none app
for how in lfs-range lfs-whole; do
  store 2 capstan -q rmi app
  touch root/faults/lfs-cut
  status 1 store 2 capstan pull --repo r app
  [ ! -e store2/repository/app ] || fail "half an image"
  rm root/faults/lfs-cut
  touch root/faults/$how
  status 0 store 2 capstan pull --repo r app
  err_has "going on after"
  same app.raw "$(stored 2 app)"
  rm -f root/faults/$how
done
grep -q "lfs-store.* bytes=[1-9]" http.log || fail "no range was asked for"

# Lies: other bytes, another scheme, headers that are two.
store 2 capstan -q rmi app
touch root/faults/lfs-wrong
status 1 store 2 capstan pull --repo r app
err_has "sha256"
[ ! -e store2/repository/app ] || fail "a wrong image"
rm root/faults/lfs-wrong
touch root/faults/lfs-headers
status 1 store 2 capstan pull --repo r app
err_has "headers"
rm root/faults/lfs-headers
status 0 store 2 capstan pull --repo r app
same app.raw "$(stored 2 app)"

# Objects that are gone; a server without LFS, which is known before anything is sent.
store 2 capstan -q rmi app
mkdir away
mv root/lfs/* away/
status 3 store 2 capstan pull --repo r app
err_has "no such object"
mv away/* root/lfs/
touch root/faults/no-lfs
n=$(commits root/closed/r.git)
image app 3000000
status 1 capstan push --repo r --compress none app
err_has "no Git LFS server"
[ "$(commits root/closed/r.git)" = "$n" ] || fail "something was pushed"
rm root/faults/no-lfs

# lfs=never and lfs=always; a server of its own by lfs-url, for a repository in a folder.
capstan -q repo add never "$U" --option max-blob=1M --option lfs=never
status 1 capstan push --repo never --compress none app
err_has "max-blob"
bare r2.git
capstan -q repo add r2 "git+file://$work/r2.git" --option lfs=always \
  --option "lfs-url=http://127.0.0.1:$port/closed/r2.git/info/lfs"
status 0 capstan push --repo r2 --compress none small
git -C r2.git show HEAD:small/small.qemu | grep -q "^oid sha256:" || fail "no pointer"
cp store/config.yaml store2/
status 0 store 2 capstan pull --repo r2 small --as small2
same small.raw store2/repository/small2/small2.qemu

# .lfsconfig of the repository says where; not over http to elsewhere.
git clone -q r2.git clone
git -C clone config -f .lfsconfig lfs.url "http://127.0.0.1:$port/closed/r3.git/info/lfs"
git -C clone add .
git -C clone commit -qm config
git -C clone push -q
status 0 store 2 capstan pull --repo "git+file://$work/r2.git" small --as small3 --force
grep -q "r3.git/info/lfs" http.log || fail ".lfsconfig was not read"
git -C clone config -f .lfsconfig lfs.url "http://192.0.2.1/lfs"
git -C clone commit -qam config
git -C clone push -q
status 1 store 2 capstan pull --repo "git+file://$work/r2.git" small --as small4 --force
err_has ".lfsconfig"
no_secret 's3cret+/='
