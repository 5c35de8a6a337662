#!/bin/sh
# A name that is nearly one that is there: the message has the right one; for any other it says
# where names are listed. SPDX-License-Identifier: BSD-3-Clause
. "$top_srcdir/tests/functions.sh"
for p in null git http; do capstan plugin info $p >/dev/null 2>&1 || skip "the plugin $p is not built"; done
boot_disk disk
status 0 capstan import hello disk
status 0 capstan import team/web disk
mkdir mine; : >mine/hypervisor-fake.so
printf 'name: fake\nkind: hypervisor\naliases: pretend\n' >mine/hypervisor-fake.plugin
CAPSTAN_PLUGIN_PATH=$work/mine; export CAPSTAN_PLUGIN_PATH

# near STATUS TEXT COMMAND..., far STATUS TEXT COMMAND...
near () { st=$1 text=$2; shift 2; status "$st" capstan "$@"; err_has "$text"; err_lacks "lists"; }
far () { st=$1 text=$2; shift 2; status "$st" capstan "$@"; err_has "$text"; err_lacks "did you mean"; }

image="there is no image 'helo' in $CAPSTAN_ROOT; did you mean 'hello'?"
for c in rmi info export verify; do near 3 "$image" $c helo; done
near 3 "$image" tag helo new
near 3 "$image" push --repo git+file:///nowhere helo
near 125 "$image" run -p null helo
near 3 "did you mean 'team/web'?" info tea/web
mkdir app; printf 'base: helo\ncmdline: /x\n' >app/Capstanfile
near 3 "the base image 'helo' is not in the store; did you mean 'hello'?" build -C app
far 3 "capstan images lists what is there" rmi nothing-like-it
sed -i s/helo/nothing-like-it/ app/Capstanfile
far 3 "put it there: capstan import nothing-like-it FILE" build -C app
# where it could not be pulled, a wrong letter may be why
near 125 "'helo' is not in the store (did you mean 'hello'?), and cannot be pulled: " \
  run -p null --repo http://127.0.0.1:1/ helo
far 125 "'other' is not in the store, and cannot be pulled: " run -p null --repo http://127.0.0.1:1/ other

status 0 capstan run -d -p null --name machine hello
for c in stop start inspect logs delete; do near 3 "there is no instance 'machina'; did you mean 'machine'?" $c machina; done
far 3 "capstan instances lists them" stop nothing-like-it
status 0 capstan delete machine

status 0 capstan volume create data --size 1M
for c in delete info; do near 3 "there is no volume 'dta'; did you mean 'data'?" volume $c dta; done
far 3 "capstan volume list lists them" volume delete nothing-like-it

near 125 "there is no hypervisor plugin 'faek'; did you mean 'fake'? Installed: " run -p faek hello
near 125 "did you mean 'pretend'?" run -p pretnd hello
far 125 "it may be in the package capstan-plugin-other. Installed: fake" run -p other hello
near 3 "there is no plugin 'faek'; did you mean 'fake'?" plugin info faek
status 1 capstan plugin test faek; out_has "did you mean 'fake'?"

status 0 capstan repo add team git+file:///nowhere
near 3 "there is no repository 'taem'; did you mean 'team'?" search --repo taem
near 3 "there is no repository 'taem'; did you mean 'team'?" repo remove taem
far 3 "configured: team" search --repo nothing-like-it
