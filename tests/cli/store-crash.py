#!/usr/bin/env python3
# store-crash.py FAULT KIND,KIND... ARGUMENT...: runs "capstan ARGUMENT..." on copies of the
# store, each time with one failure of the kind at the next of the calls that write, and
# looks at what is left. SPDX-License-Identifier: BSD-3-Clause
import hashlib, itertools, os, re, shutil, subprocess, sys

fault, kinds, args = sys.argv[1], sys.argv[2].split (","), sys.argv[3:]
root = os.environ["CAPSTAN_ROOT"]
before = root + ".before"
KILLED, NOT_REACHED = 100, 101


def fail (text):
    sys.exit ("FAIL: capstan %s: %s" % (" ".join (args), text))


def content ():
    """What the repository holds, but for what differs from one run to the next."""
    found = {}
    for folder, dirs, files in os.walk (root + "/repository"):
        found[folder] = None
        for name in files:
            path = folder + "/" + name
            with open (path, "rb") as f:
                data = f.read ()
            if name == "index.yaml":
                data = re.sub (rb"(?m)^(#|inputs:).*\n", b"", data)
            found[path] = hashlib.sha256 (data).hexdigest ()
    return found


def fresh ():
    shutil.rmtree (root, ignore_errors=True)
    shutil.copytree (before, root)


def run (*command):
    p = subprocess.run (command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                        errors="replace", stdin=subprocess.DEVNULL)
    return p.returncode, p.stderr


def check (what, status, errors, old, new):
    if status not in (KILLED, 0):
        if status != 1:
            fail ("%s: exit status %d\n%s" % (what, status, errors))
        if not re.search ("(?s)^capstan: .*" + re.escape (root), errors, re.M):
            fail ("%s: the error names nothing:\n%s" % (what, errors))
    st, complaint = run ("capstan", "images")
    if st != 0 or complaint:
        fail ("%s: the next command complains:\n%s%s" % (what, errors, complaint))
    now = content ()
    if now == new or (now == old and status != 0):
        return
    print ("left over:", sorted (set (now.items ()) ^ set (new.items ())), file=sys.stderr)
    fail ("%s: %s\n%s" % (what, "neither old nor new" if status else "not done, but status 0",
                          errors))


if not os.path.exists (before):
    os.rename (root, before)
fresh ()
old = content ()
st, errors = run ("capstan", *args)
new = content ()
if st != 0 or new == old:
    fail ("status %d without a failure\n%s" % (st, errors))
os.environ["FAULT_VERBOSE"] = "1"
for kind in kinds:
    for n in itertools.count (1, int (os.environ.get ("CAPSTAN_TEST_STEP", "1"))):
        fresh ()
        st, errors = run (fault, root, str (n), kind, "capstan", *args)
        if st == NOT_REACHED:
            break
        if (st == KILLED) != (kind == "kill"):
            fail ("%s at call %d: status %d\n%s" % (kind, n, st, errors))
        check ("%s at call %d" % (kind, n), st, errors, old, new)
    if n < 6:
        fail ("only %d calls" % n)
    print ("%s at each of %d calls: capstan %s" % (kind, n - 1, " ".join (args)))
