#!/bin/sh
# Git over ssh.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
. "$top_srcdir/tests/repo/git-functions.sh"
. "$top_srcdir/tests/repo/suite.sh"
PATH=$PATH:/usr/sbin plain_path=$plain_path:/usr/sbin
requires sh -c 'command -v sshd ssh ssh-keygen'
sshd=$(command -v sshd)
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N "" -f host_key
ssh-keygen -q -t ed25519 -N "" -f user_key
cp user_key.pub authorized_keys
chmod 600 authorized_keys
ssh_port=$(free_port)
cat >sshd_config <<EOF
ListenAddress 127.0.0.1:$ssh_port
HostKey $work/host_key
PidFile $work/sshd.pid
AuthorizedKeysFile $work/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
EOF
start_sshd () {
  PATH=$plain_path "$sshd" -D -f "$work/sshd_config" -E "$work/sshd.log" &
  sshd_pid=$!
  wait_for 20 python3 -c "import socket; socket.create_connection(('127.0.0.1', $ssh_port))"
}
stop_sshd () { kill $sshd_pid; wait $sshd_pid || :; }
cleanup 'stop_sshd'
start_sshd # its clients speak Git's older protocol, since it does not hand on GIT_PROTOCOL
printf '[127.0.0.1]:%s %s\n' "$ssh_port" "$(cut -d' ' -f1,2 host_key.pub)" >known_hosts
ssh="ssh -F none -i $work/user_key -o IdentitiesOnly=yes -o BatchMode=yes"
me=$(id -un)
bare images.git
url=git+ssh://$me@127.0.0.1:$ssh_port$work/images.git
export CAPSTAN_RETRIES=0

# A host that is not known, a key that the server does not take, a repository that is not there.
image app 300000
git config --global core.sshCommand "$ssh -o UserKnownHostsFile=$work/nobody"
status 1 capstan push --repo "$url" app
err_has "host"
git config --global core.sshCommand "$ssh -o UserKnownHostsFile=$work/known_hosts"
$ssh -p "$ssh_port" -o UserKnownHostsFile="$work/known_hosts" "$me@127.0.0.1" true ||
  { cat sshd.log >&2; skip "sshd does not let us in"; }
mv authorized_keys away
status 1 capstan push --repo "$url" app
err_has "ssh-add"
mv away authorized_keys
status 3 capstan pull --repo "${url%images.git}none.git" app
status 0 capstan push --repo "$url" app
status 0 store 2 capstan -v pull --repo "$url" app
err_has "no single files"
same app.raw "$(stored 2 app)"
status 0 capstan repo rm --repo "$url" app
stop_sshd
echo "AcceptEnv GIT_PROTOCOL" >>sshd_config
start_sshd

# As README.md has it, but for the names of user, server and folder.
mkdir srv
readme_block sh 'git init --bare' "s|git@server|$me@127.0.0.1:$ssh_port|; s|/srv|$work/srv|"
"$top_builddir/run" sh -eu block >out 2>err || fail "$(cat block out err)"
err_has "app"

# A server that is gone: that is worth another attempt, and a repository stays as it is.
status 0 capstan push --repo "$url" app
store 2 capstan -q rmi app
stop_sshd
status 1 store 2 capstan pull --repo "$url" app
err_has "Connection refused"
CAPSTAN_RETRIES=9 store 2 capstan pull --repo "$url" app >out 2>err &
pull=$!
wait_for 60 grep -q "trying again" err
start_sshd
wait $pull || { cat err >&2; fail "it did not try again"; }
same app.raw "$(stored 2 app)"

# The suite.
suite_tamper () { tamper "$work/images.git" "$1"; }
suite_stop () { stop_sshd; }
suite_start () { start_sshd; }
suite_only="basic list remove killed digest dies at_once" suite_ms=200
suite_why="keys are tried above; of disk and memory, git-file.sh"
rm -rf images.git
bare images.git
repo_suite "$url"
