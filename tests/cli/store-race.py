#!/usr/bin/env python3
# One command is held at each of its calls that write, one after the other; another one runs
# meanwhile. Nobody waits who need not, and what comes out is right.
# store-race.py FAULT SCENARIO. SPDX-License-Identifier: BSD-3-Clause
import atexit, fcntl, hashlib, itertools, json, os, shutil, subprocess, sys

fault = sys.argv[1]
root = os.environ["CAPSTAN_ROOT"]
before = root + ".before"
NOT_REACHED, LIMIT = 101, 120


def fail (text):
    sys.exit ("FAIL: " + text)


def sha256 (path):
    with open (path, "rb") as f:
        return hashlib.sha256 (f.read ()).hexdigest ()


def fresh ():
    if not os.path.exists (before):
        os.rename (root, before)
    shutil.rmtree (root, ignore_errors=True)
    shutil.copytree (before, root)


def start (*args, **more):
    p = subprocess.Popen (args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace", **more)
    atexit.register (lambda: p.poll () is None and p.kill ())
    return p


def end (p, *good):
    out, err = p.communicate (timeout=LIMIT)
    if good and p.returncode not in good:
        fail ("%s: status %d, not %s\n%s" % (p.args, p.returncode, good, err))
    return p.returncode, out, err


def run (args, *good):
    return end (start ("capstan", *args), *good)


class Held:
    """A command that waits before its n-th call; not reached: it has ended."""

    def __init__ (self, n, *args):
        here, there = os.pipe (), os.pipe ()
        self.p = start (fault, root, str (n), "hold:%d:%d" % (here[1], there[0]), "capstan", *args,
                        pass_fds=(here[1], there[0]))
        os.close (here[1])
        os.close (there[0])
        self.reached = os.read (here[0], 1) == b"h"
        os.close (here[0])
        self.go = there[1]

    def end (self, *good):
        if self.go >= 0:
            os.close (self.go)
        self.go = -1
        return end (self.p, *good)


def free (name):
    """Whether the pair of the name is not being changed: then no reader has to wait."""
    try:
        with open ("%s/locks/image-%s" % (root, name)) as f:
            fcntl.flock (f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False


def image (name="app"):
    """What info says of it, when it fits the file; None if there is none."""
    st, out, err = run (("info", name, "--json"), 0, 3)
    if st == 3:
        return None
    i = json.loads (out)
    if "sha256" in i and sha256 (i["path"]) != i["sha256"]:
        fail ("image and index of %s do not belong together: %s" % (name, i))
    return i


def left_over ():
    run (("images",), 0)
    for folder, dirs, files in os.walk (root + "/repository"):
        for f in dirs + files:
            if f.startswith ("."):
                fail ("left over: %s/%s" % (folder, f))


def each (*args):
    """(n, held command) for each of the calls of it."""
    for n in itertools.count (1, int (os.environ.get ("CAPSTAN_TEST_STEP", "1"))):
        fresh ()
        held = Held (n, *args)
        if not held.reached:
            if held.end ()[0] != NOT_REACHED or n < 6:
                fail ("%s: it ended after %d calls" % (args, n))
            print ("held at each of %d calls: capstan %s" % (n - 1, " ".join (args)))
            return
        yield n, held


def write (text):
    with open ("app/file", "w") as f:
        f.write (text)


def import_and_readers ():
    # the image that is there can be looked at all the time
    old, new = sha256 ("one.img"), sha256 ("two.img")
    for n, held in each ("import", "app", "two.img"):
        was_free = free ("app")
        looker = start ("capstan", "images", "--json")
        if was_free:
            end (looker, 0)
            if image ()["sha256"] not in (old, new):
                fail ("call %d: not an image that was imported" % n)
        held.end (0)
        end (looker, 0)
        if image ()["sha256"] != new:
            fail ("call %d: the import is not there" % n)
        left_over ()


def import_and_rmi ():
    new = sha256 ("two.img")
    for n, held in each ("import", "app", "two.img"):
        st = run (("rmi", "app"), 0, 4)[0]
        held.end (0)
        if image ()["sha256"] != new:
            fail ("call %d: rmi took what was imported after it" % n)
        left_over ()
    for n, held in each ("rmi", "app"):
        other = start ("capstan", "import", "app", "two.img")
        st = held.end (0, 4)[0]
        end (other, 0)
        i = image ()
        if (st == 4 and i is None) or (i is not None and i["sha256"] != new):
            fail ("call %d: rmi ended with %d, and then there is %s" % (n, st, i))
        left_over ()
    for n, held in each ("rmi", "app"):
        st, other = held, run (("rmi", "app"), 0, 3, 4)[0]
        if sorted ((held.end (0, 3, 4)[0], other))[0] != 0 or image () is not None:
            fail ("call %d: two rmi, and none removed it" % n)


def import_and_import ():
    sums = sha256 ("two.img"), sha256 ("three.img")
    for n, held in each ("import", "app", "two.img"):
        other = start ("capstan", "import", "app", "three.img")
        held.end (0)
        end (other, 0)
        if image ()["sha256"] not in sums:
            fail ("call %d: neither of the imports" % n)
        left_over ()


def commands (name):
    """What an instance on hypervisor-null read from its disk."""
    return run (("logs", name), 0)[1].strip ()


def build_and_run ():
    for n, held in each ("build", "-C", "app", "app"):
        was_free = free ("app")
        vm = start ("capstan", "run", "-p", "null", "-d", "--name", "vm", "app")
        if was_free: # a build that takes long keeps nobody from running what there is
            end (vm, 0)
        held.end (0)
        end (vm, 0)
        if commands ("vm") not in ("/old", "/new") or run (("rmi", "app"), 4)[0] != 4:
            fail ("call %d: the instance says '%s'" % (n, commands ("vm")))


def run_and_others ():
    for n, held in each ("run", "-p", "null", "-d", "--name", "vm", "app"):
        other = start ("capstan", "build", "-C", "app", "app")
        held.end (0)
        end (other, 0)
        if commands ("vm") not in ("/old", "/new"):
            fail ("call %d: the instance says '%s'" % (n, commands ("vm")))
    for n, held in each ("run", "-p", "null", "-d", "--name", "vm", "app"):
        removed = run (("rmi", "app"), 0, 4)[0] == 0
        st = held.end (0, 125)[0]
        if (st == 0) == removed:
            fail ("call %d: run %d, and the image was %sremoved" % (n, st, "" if removed else "not "))
        if st == 0 and (commands ("vm") != "/old" or image () is None):
            fail ("call %d: an instance without its image" % n)


def many_builds ():
    fresh ()
    names = ["app"] * 10 + ["other%d" % k for k in range (10)]
    for p in [start ("capstan", "build", "--force", "-C", "app", name) for name in names]:
        end (p, 0)
    sums = {sha256 (image (name)["path"]) for name in names}
    if len (sums) != 1:
        fail ("builds of the same are not the same")
    # each on the other's image
    for p in [start ("capstan", "build", "-C", folder, name) for k in range (10)
              for folder, name in (("on-x", "y"), ("on-y", "x"))]:
        end (p, 0)
    image ("x"), image ("y"), left_over ()


globals ()[sys.argv[2]] ()
