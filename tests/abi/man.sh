#!/bin/sh
# The pages of the third section name every struct, operation and service of the header, and no
# other, and have no mistakes that man finds.
. "$top_srcdir/tests/functions.sh"
requires python3 --version
python3 - "$top_srcdir" <<'END' || fail "the pages and the header differ"
import re, sys
top = sys.argv[1]
header = re.sub (r"/\*.*?\*/", " ", open (top + "/include/capstan/plugin.h").read (), flags=re.S)
page = {n: open (top + "/docs/capstan-%s.3" % n).read ().replace ("\\-", "-")
        for n in ("plugin", "hypervisor-plugin", "repo-plugin")}
bad = []
structs = set (re.findall (r"struct (capstan_\w+)", header))
said = set (re.findall (r"struct (capstan_\w+)", "".join (page.values ())))
bad += ["struct %s is on no page" % s for s in structs - said]
bad += ["a page has struct %s, the header not" % s for s in said - structs]
for struct, name in (("host", "plugin"), ("hypervisor_ops", "hypervisor-plugin"), ("repo_ops", "repo-plugin")):
    body = re.search (r"struct capstan_%s \{(.*?)\n\};" % struct, header, re.S).group (1)
    ops = re.findall (r"\(\*(\w+)\) \(", body)
    assert len (ops) >= 10, struct
    items = set (re.findall (r"\w+", " ".join (re.findall (r"^\.IP (.*)$", page[name], re.M))))
    bad += ["capstan-%s(3) lacks %s" % (name, o) for o in ops if o not in items]
    bad += ["capstan-%s(3) has %s, the header not" % (name, i) for i in items
            if name != "plugin" and i not in ops]
for struct, name in (("plugin", "plugin"), ("provider", "plugin")):
    body = re.search (r"struct capstan_%s \{(.*?)\n\};" % struct, header, re.S).group (1)
    for field in ("providers", "load", "unload", "min_host_minor", "threads", "option_size", "vm_options", "ops"):
        if field in body and field not in page[name]:
            bad.append ("capstan-plugin(3) lacks %s" % field)
sys.exit ("\n".join (bad) or 0)
END
if command -v man >/dev/null; then
  for p in "$top_srcdir"/docs/capstan-*plugin.3; do
    man --warnings -l "$p" >/dev/null 2>warnings || fail "man $p"
    [ ! -s warnings ] || { cat warnings >&2; fail "$p"; }
  done
fi
