#!/bin/sh
# Git over HTTPS with a user and a password: the suite, and what may go wrong on the way.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
. "$top_srcdir/tests/repo/git-functions.sh"
. "$top_srcdir/tests/repo/suite.sh"
make_ca
mkdir -p root/open root/closed
bare root/open/images.git
bare root/closed/images.git
start_git_http "$work/root" "$work/cert.pem" "$work/key.pem"
open=git+https://localhost:$port/open/images.git
closed=git+https://localhost:$port/closed/images.git
ca="--option ca=$work/ca.pem"
export CAPSTAN_RETRIES=0
secret () { # USER PASSWORD
  eval "CAPSTAN_SECRET_HTTPS_LOCALHOST_${port}_USERNAME=$1; export CAPSTAN_SECRET_HTTPS_LOCALHOST_${port}_USERNAME"
  eval "CAPSTAN_SECRET_HTTPS_LOCALHOST_${port}_PASSWORD='$2'; export CAPSTAN_SECRET_HTTPS_LOCALHOST_${port}_PASSWORD"
}

# An authority that nobody knows, and nobody to ask for a password.
image app 300000
status 1 capstan push --repo "$open" app
err_has "certificate"
# shellcheck disable=SC2086
{
  capstan -q repo add open "$open" $ca
  capstan -q repo add closed "$closed" $ca
}
status 0 capstan push --repo open app
status 1 capstan push --repo closed app
err_has "credentials"

# The user's own helper of git is asked; what capstan knows comes before it.
cat >"$work/helper" <<'EOF'
#!/bin/sh
[ "$1" = get ] || exit 0
printf 'username=ann\npassword=s3cret+/=\n'
EOF
chmod +x "$work/helper"
git config --global credential.helper "$work/helper"
status 0 capstan push --repo closed app
secret ann wrong
image other 1000
status 1 capstan push --repo closed other
err_has "not those of the server"
secret ann 's3cret+/='
status 0 capstan push --repo closed other
git config --global --unset credential.helper
no_secret 's3cret+/='

# Faults of the server.
touch root/faults/413
image app 400000
status 1 capstan push --repo closed --force app
err_has "size"
rm root/faults/413
touch root/faults/503
CAPSTAN_RETRIES=3
status 0 capstan push --repo closed --force app
err_has "trying again"
CAPSTAN_RETRIES=0
image large 3000000
status 0 capstan push --repo closed --compress none large
touch root/faults/cut
status 1 store 2 capstan pull --repo "$closed" large # has no authority there
mkdir -p store2
cp store/config.yaml store2/
status 1 store 2 capstan pull --repo closed large
[ ! -e store2/repository/large ] || fail "half an image"
rm root/faults/cut
status 0 store 2 capstan pull --repo closed large
same large.raw "$(stored 2 large)"

# Another host is told nothing of the password.
mkdir -p other/faults other/closed
bare other/closed/images.git
(
  mkdir second
  work2=$work/second
  PATH=$plain_path python3 "$top_srcdir/tests/repo/git-server.py" "$work/other" "$work2/port" "$work2/log" \
    "$work/cert.pem" "$work/key.pem" 2>"$work2/err" &
  echo $! >"$work2/pid"
)
cleanup "kill $(cat second/pid)"
wait_for 20 test -s second/port
echo "https://localhost:$(cat second/port)" >root/faults/redirect
status 1 store 2 capstan pull --repo closed other
grep . second/log >/dev/null || fail "the redirect was not followed"
! grep -v -e "-$" second/log || fail "credentials went to another host"
rm root/faults/redirect

# The suite.
suite_tamper () { tamper "$work/root/closed/images.git" "$1"; }
suite_stop () { kill $git_http; wait $git_http || :; }
suite_start () { start_git_http "$work/root" "$work/cert.pem" "$work/key.pem"; }
suite_bad="CAPSTAN_SECRET_HTTPS_LOCALHOST_${port}_PASSWORD=wrong-one"
suite_secret='s3cret+/='
rm -rf root/closed/images.git
bare root/closed/images.git
suite_ms=200 suite_lacks=big # git-file.sh has that, and more moments
# shellcheck disable=SC2086
repo_suite "$closed" $ca
no_secret 's3cret+/='
