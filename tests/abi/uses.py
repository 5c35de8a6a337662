#!/usr/bin/env python3
"""A program that uses all of capstan/plugin.h, for abidiff. SPDX-License-Identifier: BSD-3-Clause

uses.py FROZEN HEADERS OUT: OUT/uses.c has a variable of each struct, enum and function type that
FROZEN/capstan/plugin.h defines; OUT/capstan/plugin.h is that of HEADERS, without what came later
at the end of a struct or enum, and with a name for each enum (of its first constant), since
what has no name cannot be a variable's type.

A new minor version is frozen by these, in the top folder:
    d=tests/abi/1.N; mkdir -p $d/capstan; cp include/capstan/plugin.h $d/capstan/
    python3 tests/abi/uses.py $d $d out
    (cd out; gcc -g -O0 -w -fPIC -shared -nostdlib -I. -o uses.so uses.c)
    abidw --no-corpus-path --no-comp-dir-path --no-show-locs --out-file $d/x86_64.abi out/uses.so
"""
import os
import re
import sys

FROZEN, HEADERS, OUT = sys.argv[1:4]
STRUCT = re.compile(r"\bstruct (capstan_\w+) \{(.*?)\n?\};", re.S)
ENUM = re.compile(r"\benum \{\s*(CAPSTAN_\w+)(.*?)\};", re.S)


def text(folder):
    return re.sub(r"/\*.*?\*/", " ", open(folder + "/capstan/plugin.h").read(), flags=re.S)


def cut(items, old, name, separator):
    """As many of the items as there were: what came later stands at the end."""
    n = len(old[name].split(separator)) if name in old else None
    return separator.join(items.split(separator)[:n])


frozen = text(FROZEN)
structs, enums = dict(STRUCT.findall(frozen)), dict(ENUM.findall(frozen))
functions = re.findall(r"^typedef .*\b(capstan_\w+_fn) \(", frozen, flags=re.M)
if len(structs) < 25 or len(enums) < 10 or not functions:
    sys.exit("only %d structs, %d enums and %d functions were found" % (len(structs), len(enums), len(functions)))


def struct(m):
    body = cut(m[2].rstrip().rstrip(";"), {k: v.rstrip().rstrip(";") for k, v in structs.items()}, m[1], ";")
    return "struct %s {%s;\n};" % (m[1], body)


header = STRUCT.sub(struct, text(HEADERS))
header = ENUM.sub(lambda m: "enum of_%s { %s%s };" % (m[1], m[1], cut(m[2], enums, m[1], ",")), header)
os.makedirs(OUT + "/capstan", exist_ok=True)
with open(OUT + "/capstan/plugin.h", "w") as f:
    f.write(header)
with open(OUT + "/uses.c", "w") as f:
    f.write('#include "capstan/plugin.h"\n')
    for name in ["struct " + s for s in structs] + ["enum of_" + e for e in enums] + functions:
        f.write("%s *use_%s;\n" % (name, name.split()[-1]))
