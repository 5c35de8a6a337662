#!/bin/sh
# Git repositories in a folder: layouts, versions, pushing, removing, pruning.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/git-functions.sh"
bare r.git
git -C r.git symbolic-ref HEAD refs/heads/trunk
U=git+file://$work/r.git

# An empty repository lists nothing and says so; the first push makes the branch of its HEAD.
status 0 capstan search --repo "$U"
status 3 capstan pull --repo "$U" app
err_has "is empty"
image app 300000
image team/db 200000
status 0 capstan push --repo "$U" --message "the first" app
[ "$(files r.git)" = "app/app.qemu.zst app/index.yaml " ] || fail "$(files r.git)"
[ "$(git -C r.git log -1 --format='%s %an' trunk)" = "the first Ann" ] || fail "message or author"
status 0 capstan push --repo "$U" --compress none team/db
status 0 capstan search --repo "$U"
out_has app
out_has team/db

# Another store gets the same bytes, and the commit is recorded.
status 0 store 2 capstan pull --repo "$U" app
status 0 store 2 capstan pull --repo "$U" team/db
same app.raw "$(stored 2 app)"
same db.raw "$(stored 2 team/db)"
grep -q "$(git -C r.git rev-parse HEAD)" "$work/store2/repository/team/db/index.yaml" || fail "no commit"
find store2/cache -name '*.pack' -size +100k | grep . && fail "the cache keeps images"

# The same again is no commit. Others' files stay where they are.
n=$(commits r.git)
status 0 capstan push --repo "$U" team/db --compress none
[ "$(commits r.git)" = "$n" ] || fail "a commit without a change"
git clone -q r.git clone
echo hello >clone/README
echo notes >clone/app/NOTES
git -C clone add .
git -C clone commit -qm notes
git -C clone push -q
old=$(git -C r.git rev-parse HEAD)
git -C r.git tag v1 HEAD
cp app.raw app-old.raw

# A new image replaces the old one, in other encodings too.
image app 310000
status 0 capstan push --repo "$U" --compress gzip app
[ "$(files r.git)" = "README app/NOTES app/app.qemu.gz app/index.yaml team/db/db.qemu team/db/index.yaml " ] ||
  fail "$(files r.git)"
[ "$(git -C r.git rev-parse HEAD^)" = "$old" ] || fail "not on the tip"
status 0 store 2 capstan pull --repo "$U" app
same app.raw "$(stored 2 app)"

# Versions: a tag, a tag of the image, a branch, a commit.
git -C r.git tag app/1.0 v1
git -C r.git branch old v1
for v in v1 1.0 old "$old"; do
  rm -rf store3
  status 0 store 3 capstan pull --repo "$U" "app:$v"
  same app-old.raw "$(stored 3 app)"
done
status 3 store 3 capstan pull --repo "$U" app:v7
err_has "no tag and no branch 'v7'"
status 3 store 3 capstan pull --repo "$U" app:deadbeef
err_has "in full"
status 3 store 3 capstan pull --repo "$U" nothing
err_has "nothing/index.yaml"
status 3 store 3 capstan pull --repo "git+file://$work/none.git" app

# A branch of its own; the tag of a version.
status 0 capstan repo add stable "$U" --option branch=stable --option tag=true
status 0 capstan import -v 2.1 app app.raw
status 0 capstan push --repo stable app
[ "$(git -C r.git rev-parse stable)" = "$(git -C r.git rev-parse app/2.1)" ] || fail "no tag"
status 0 store 3 capstan pull --repo "$U" app:2.1
same app.raw "$(stored 3 app)"
image app 300001
capstan import -v 2.1 app app.raw
status 0 capstan push --repo stable app
err_has "stays with commit"

# Neither tag nor branch, but what the newest calls itself.
capstan import -v 2.2 team/db db.raw
status 0 capstan push --repo "$U" --force team/db
status 0 store 3 capstan pull --repo "$U" team/db:2.2
same db.raw "$(stored 3 team/db)"
status 3 store 3 capstan pull --repo "$U" team/db:2.3

# remove: a commit as well; what others have put there stays.
status 0 capstan repo rm --repo "$U" app
[ "$(files r.git)" = "README app/NOTES team/db/db.qemu.zst team/db/index.yaml " ] || fail "$(files r.git)"
status 3 store 2 capstan pull --repo "$U" app --force
status 0 capstan repo rm --repo "$U" team/db
[ "$(files r.git)" = "README app/NOTES " ] || fail "$(files r.git)"

# The layout of the original: one image at the root.
bare one.git
git clone -q one.git work 2>/dev/null
cp app.raw work/one.qemu
printf 'format_version: "1"\nversion: "0.9"\ncreated: "2014-02-03 04:05"\ndescription: "an old one"\n' >work/index.yaml
git -C work add .
git -C work commit -qm image
git -C work push -q
O=git+file://$work/one.git
status 0 capstan search --repo "$O"
out_has "an old one"
status 0 store 4 capstan pull --repo "$O" one
same app.raw "$(stored 4 one)"
status 3 store 4 capstan pull --repo "$O" two
image one 250000
status 0 capstan push --force --repo "$O" --compress none one
[ "$(files one.git)" = "index.yaml one.qemu " ] || fail "$(files one.git)"
status 0 store 4 capstan pull --repo "$O" one
same one.raw "$(stored 4 one)"
capstan repo add one "$O" --option layout=one
image two 1000
status 1 capstan push --repo one two
err_has "holds one image only"
status 0 capstan push --repo "$O" two
status 0 capstan repo rm --repo "$O" one
[ "$(files one.git)" = "two/index.yaml two/two.qemu.zst " ] || fail "$(files one.git)"

# What is too large for the host is refused before anything is sent.
capstan repo add small "$U" --option max-blob=100K
n=$(commits r.git)
image app 300000
status 1 capstan push --repo small app
err_has "too large"
[ "$(commits r.git)" = "$n" ] || fail "something was pushed"

# Pruning takes what nobody uses.
status 0 capstan push --repo "$U" app
mkdir -p "$CAPSTAN_ROOT"/cache/repository-git/x-1/push-aaaaaa/pack "$CAPSTAN_ROOT"/cache/repository-git/x-1/blobs/abc
touch -d '3 days ago' "$CAPSTAN_ROOT"/cache/repository-git/x-1/push-aaaaaa "$CAPSTAN_ROOT"/cache/repository-git/x-1/blobs/abc
status 0 capstan prune --dry-run --repo "$U"
[ -d "$CAPSTAN_ROOT/cache/repository-git/x-1/blobs/abc" ] || fail "dry run removes"
status 0 capstan prune --repo "$U"
[ ! -e "$CAPSTAN_ROOT/cache/repository-git/x-1/blobs/abc" ] || fail "not removed"
[ ! -e "$CAPSTAN_ROOT/cache/repository-git/x-1/push-aaaaaa" ] || fail "not removed"
