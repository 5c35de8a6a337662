#!/bin/sh
# What repositories, settings and surroundings try, and have no effect with.
. "$top_srcdir/tests/functions.sh"
. "$top_srcdir/tests/repo/functions.sh"
. "$top_srcdir/tests/repo/git-functions.sh"
bare r.git
U=git+file://$work/r.git
image app 300000
status 0 capstan push --repo "$U" app

# Hooks and monitors of the user's settings, templates, variables of somebody else's git.
mkdir hooks
for h in pre-push post-checkout post-index-change pre-receive update post-receive post-update reference-transaction; do
  printf '#!/bin/sh\necho %s >>"%s/ran"\n' $h "$work" >hooks/$h
  chmod +x hooks/$h
done
printf '#!/bin/sh\necho fsmonitor >>"%s/ran"\n' "$work" >monitor
chmod +x monitor
cp "$HOME/.gitconfig" saved
git config --global core.hooksPath "$work/hooks"
git config --global core.fsmonitor "$work/monitor"
git config --global uploadpack.packObjectsHook "$work/monitor"
git config --global push.gpgSign false
# a folder that claims to be a repository, in which capstan happens to run
git init -q trap
git -C trap config url."file://$work/elsewhere".insteadOf "file://$work/r.git"
git -C trap config core.fsmonitor "$work/monitor"
(
  cd trap
  GIT_DIR=$work/trap/.git GIT_TRACE=$work/trace GIT_OBJECT_DIRECTORY=$work/nowhere GIT_TEMPLATE_DIR=$work/hooks
  GIT_PROXY_COMMAND=$work/monitor GIT_SSH_VARIANT=simple GIT_INDEX_FILE=$work/nowhere
  export GIT_DIR GIT_TRACE GIT_OBJECT_DIRECTORY GIT_TEMPLATE_DIR GIT_PROXY_COMMAND GIT_SSH_VARIANT GIT_INDEX_FILE
  image other 2000
  status 0 capstan push --repo "$U" other
  status 0 store 2 capstan pull --repo "$U" app
)
same app.raw "$(stored 2 app)"
[ ! -e ran ] || { cat ran >&2; fail "hooks were run"; }
[ ! -e trace ] || fail "a variable was heeded"
cp saved "$HOME/.gitconfig"

# Links, submodules and folders where files are to be.
git clone -q r.git clone
cd clone
mkdir link sub deep
ln -s /etc/passwd link/link.qemu
ln -s ../app/index.yaml link/index.yaml
mkdir -p deep/deep.qemu
echo x >deep/deep.qemu/x
printf 'format_version: "1"\n' >deep/index.yaml
git -c protocol.file.allow=always submodule --quiet add "$work/r.git" sub/sub.qemu
git add .
git commit -qm hostile
git push -q
cd ..
status 3 store 2 capstan pull --repo "$U" link
err_has "symbolic link"
status 3 store 2 capstan pull --repo "$U" sub
status 3 store 2 capstan pull --repo "$U" deep
status 0 store 2 capstan search --repo "$U"
out_lacks link
out_lacks sub
image readme 1000
printf x >clone/readme
git -C clone add .
git -C clone commit -qm readme
git -C clone push -q
status 4 capstan push --repo "$U" readme
err_has "is a file there"

# URLs and versions that want to be something else.
for u in "ext::sh -c 'touch $work/ran'" "git+ext::touch%20$work/ran" "--upload-pack=touch $work/ran" \
  "git+ssh://-oProxyCommand=touch $work/ran/x" "git+file://$work/r.git --upload-pack=x"; do
  got=0
  capstan pull --repo-type git --repo "$u" app >out 2>err || got=$?
  [ $got -gt 0 ] || fail "it was taken: $u"
done
for v in "--upload-pack=touch $work/ran" 'HEAD^{/x}' '../../x' '*' 'v1:x'; do
  got=0
  capstan pull --repo "$U" "app:$v" >out 2>err || got=$?
  [ $got -gt 0 ] || fail "it was taken: $v"
done
[ ! -e ran ] || fail "something was run"
status 2 capstan pull --repo "git+https://ann:secret@127.0.0.1/r.git" app
err_lacks secret

# What a server says is shown, but it is text.
cat >r.git/hooks/pre-receive <<'EOF'
#!/bin/sh
printf '\033[31mnot on a Friday\033[0m\n' >&2
exit 1
EOF
chmod +x r.git/hooks/pre-receive
image app 310000
status 1 capstan push --repo "$U" app
err_has "not on a Friday"
! grep -q "$(printf '\033')" err || fail "control characters from a server"
rm r.git/hooks/pre-receive
git init -q work2
git -C work2 commit -q --allow-empty -m start
status 1 capstan push --repo "git+file://$work/work2" app
err_has "bare"
