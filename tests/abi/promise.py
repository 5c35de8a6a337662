#!/usr/bin/env python3
"""The promise of the plugin ABI, checked. SPDX-License-Identifier: BSD-3-Clause

promise.py CC FROZEN CURRENT: two copies of capstan/plugin.h (the folders that have it). What
the frozen one says has to hold in the current one: every field at its place with its size, in
structs that grow at their end only, every constant with its value. The same minor number
means the same declarations.
"""
import re
import subprocess
import sys

CC, FROZEN, CURRENT = sys.argv[1:4]
NO_SIZE = {"capstan_kv", "capstan_option"}


def text(folder):
    source = open(folder + "/capstan/plugin.h").read()
    return re.sub(r"/\*.*?\*/", " ", source, flags=re.S)


def structs(source):
    """Name -> fields, of those that are defined."""
    found = {}
    for name, body in re.findall(r"struct (capstan_\w+) \{(.*?)\n?\};", source, flags=re.S):
        body = re.sub(r"\(\*(\w+)\) \([^;]*\)", r" \1", body)  # a function's pointer is its name
        found[name] = [re.sub(r"[*\s]|const", "", word).split("[")[0]
                       for line in body.split(";") if line.strip()
                       for word in [line.split()[-1]] + [w.split()[-1] for w in line.split(",")[:-1]]]
    return found


def constants(source):
    names = re.findall(r"^#define (CAPSTAN_(?:HV|REPO)_\w+)", source, flags=re.M)
    for body in re.findall(r"enum \{(.*?)\}", source, flags=re.S):
        names += re.findall(r"\b(CAPSTAN_\w+)", body)
    return names


def values(folder, fields, names):
    lines = ["#include <stdio.h>", '#include "capstan/plugin.h"', "int main (void) {"]
    for s in fields:
        lines.append('printf ("sizeof %s %%zu\\n", sizeof (struct %s));' % (s, s))
        for f in fields[s]:
            lines.append('printf ("%s.%s %%zu+%%zu\\n", offsetof (struct %s, %s), '
                         'sizeof (((struct %s *) 0)->%s));' % (s, f, s, f, s, f))
    for n in names:
        lines.append('printf ("%s %%llu\\n", (unsigned long long) %s);' % (n, n))
    with open("promise.c", "w") as out:
        out.write("\n".join(lines + ["return 0; }\n"]))
    subprocess.run(CC.split() + ["-I" + folder, "-w", "-o", "promise", "promise.c"], check=True)
    out = subprocess.run(["./promise"], check=True, stdout=subprocess.PIPE).stdout.decode()
    return dict(line.rsplit(" ", 1) for line in out.splitlines())


old, new = text(FROZEN), text(CURRENT)
fields, names = structs(old), constants(old)
if len(fields) < 25 or len(names) < 70 or sum(map(len, fields.values())) < 200:
    sys.exit("only %d structs and %d constants were found" % (len(fields), len(names)))
before, after = values(FROZEN, fields, names), values(CURRENT, fields, names)
bad = []
for key, value in before.items():
    if key.startswith("sizeof "):
        grows = key[7:] not in NO_SIZE
        if int(after[key]) < int(value) or (not grows and after[key] != value):
            bad.append("%s was %s and is %s" % (key, value, after[key]))
    elif after[key] != value:
        bad.append("%s was %s and is %s" % (key, value, after[key]))


def minor(source):
    return re.search(r"CAPSTAN_ABI_MINOR (\d+)", source).group(1)


if minor(old) == minor(new) and old.split() != new.split():
    bad.append("the declarations changed, and CAPSTAN_ABI_MINOR is %s still" % minor(new))
if bad:
    sys.exit("\n".join(bad))
print("%d structs with %d fields and %d constants are as they were"
      % (len(fields), sum(map(len, fields.values())), len(names)))
