#!/bin/sh
# Images from the releases of a GitHub repository, on a server that answers as GitHub does.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
capstan plugin info http >/dev/null 2>&1 || skip "repo-http is not built"
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY SSL_CERT_FILE
unset GITHUB_TOKEN
export CAPSTAN_RETRIES=0
requires python3 -c 'import http.server'
make_image new 20; make_image old 1
mkdir -p hub/v1.0 hub/v1.1 hub/v1.2 hub/v2.0 hub/draft-3
cp old hub/v1.0/osv-loader.qemu
gzip -1 <old >hub/v1.0/tool.qemu.gz
cp new hub/v1.1/osv-loader.qemu.x86_64
cp old hub/v1.1/osv-loader.qemu.aarch64
cp old hub/v1.2/zfs-builder.x86_64
echo x >hub/v2.0/my.mpm
cp old hub/draft-3/osv-loader.qemu
: >hub.log
python3 "$top_srcdir/tests/repo/github-server.py" hub hub.port hub.log &
cleanup "kill $!"
wait_for 20 test -s hub.port
api=http://127.0.0.1:$(cat hub.port)
capstan repo add --quiet hub github:owner/repo --option "api=$api"
loader=$CAPSTAN_ROOT/repository/osv-loader/osv-loader.qemu

# The newest release that has it, drafts and other architectures left aside; over two pages
status 0 capstan pull --repo hub osv-loader; same new "$loader"
status 0 capstan search --repo hub; out_has osv-loader; out_has tool; out_lacks my
status 0 capstan pull --repo hub zfs-builder
status 0 capstan pull --repo hub tool
same old "$CAPSTAN_ROOT/repository/tool/tool.qemu"
# A release of one's own
status 0 capstan pull --repo hub osv-loader:v1.0; same old "$loader"
status 0 capstan pull --repo hub -r v1.1 osv-loader; same new "$loader"
status 3 capstan pull --repo hub -r latest osv-loader; err_has 'no asset osv-loader.qemu'
status 3 capstan pull --repo hub osv-loader:v9; err_has "no release 'v9'"
status 3 capstan pull --repo hub absent; err_has 'any of its releases'
status 1 capstan push --repo hub tool; err_has 'can only be read'

# What has not changed is asked for once
: >hub.log
status 0 capstan search --repo hub
! grep -q '^200.*releases' hub.log || fail "asked for again: $(cat hub.log)"
grep -q '^304.*releases' hub.log || fail "not asked with its ETag"

# The limit of requests: what is known is used, else the error says when and what to do
touch hub/.limited
status 0 capstan search --repo hub; err_has 'limit of requests is used up'
rm -rf "$CAPSTAN_ROOT"/cache/repository-http
status 1 capstan search --repo hub; err_has 'the 60 requests an hour'; err_has GITHUB_TOKEN
rm hub/.limited

# A private one: the token goes to the API, not to where the assets lie
touch hub/.private
capstan rmi --quiet osv-loader
status 3 capstan pull --repo hub osv-loader
: >hub.log
status 0 env GITHUB_TOKEN=right "$top_builddir/run" capstan pull -v --repo hub osv-loader
same new "$loader"
err_lacks 'Bearer'; err_lacks signature
grep -q 'releases/assets.* Bearer right' hub.log || fail "not through the API"
! grep '/blob/' hub.log | grep right || fail "the token went to another host"
rm hub/.private

# A digest that GitHub gives and the asset has not
printf X | dd of=hub/v1.1/osv-loader.qemu.x86_64 bs=1 seek=5000 conv=notrunc 2>/dev/null
: >hub/.wrong-digests
capstan rmi --quiet osv-loader
status 1 capstan pull --repo hub osv-loader; err_has sha256
[ ! -e "$loader" ] || fail "it is in the store"
status 1 capstan repo add bad github:owner; err_has OWNER/REPO
status 1 capstan repo add bad github:owner/repo --option release-tag=a/b; err_has release-tag
