#!/bin/sh
# Plugins that are broken, too old or too new: each is refused or loaded in the right words,
# and hurts nobody else.
. "$top_srcdir/tests/functions.sh"
CC=${CC:-cc}
command -v "${CC%% *}" >/dev/null || skip "needs a C compiler"
mkdir p
so () { # NAME [FLAG]...: standard input is the source
  n=$1; shift
  cat >"$n.c"
  $CC -w -shared -fPIC -I"$top_srcdir/include" -o "p/hypervisor-$n.so" "$n.c" "$@"
}
plugin () { # a good one; what is defined before it makes it a bad one
  cat <<'END'
#include "capstan/plugin.h"
#ifndef OPS
#define OPS struct capstan_hypervisor_ops
#endif
#ifndef OPT
#define OPT struct capstan_option
#endif
#ifndef DESC
#define DESC struct capstan_plugin
#endif
#ifndef MIN_MINOR
#define MIN_MINOR 0
#endif
#ifndef LOAD
#define LOAD NULL
#endif
#ifndef MAJOR
#define MAJOR CAPSTAN_ABI_MAJOR
#endif
#ifndef KIND
#define KIND CAPSTAN_KIND_HYPERVISOR
#endif
#ifndef OPS_SIZE
#define OPS_SIZE sizeof (OPS)
#endif
static int op (struct capstan_call *c, void **s) { *s = NULL; return 0; }
static void bye (void) { fprintf (stderr, "unloaded\n"); }
static const OPS ops = { .struct_size = OPS_SIZE, .open = op };
static const OPT options[] = { { .key = "one", .help = "first", .type = CAPSTAN_OPT_UINT },
                               { .key = "two", .help = "second", .def = "2" } };
static const struct capstan_provider prov = { .struct_size = sizeof prov, .kind = KIND,
  .name = "x", .summary = "s", .option_size = sizeof (OPT), .options = (const void *) options,
  .n_options = 2, .ops = &ops };
static const struct capstan_provider *const provs[] = { &prov, NULL };
static const DESC desc = { .struct_size = sizeof desc, .abi_major = MAJOR, .abi_minor = 0,
  .min_host_minor = MIN_MINOR, .name = "x", .version = "1", .license = "L", .providers = provs,
  .load = LOAD, .unload = bye };
const struct capstan_host *capstan_host_;
CAPSTAN_EXPORT const struct capstan_plugin *capstan_plugin_init_v1 (const struct capstan_host *h)
{ capstan_host_ = h; return (const void *) &desc; }
END
}
plugin | so good || skip "needs a C compiler that makes shared libraries"
echo garbage >p/hypervisor-garbage.so
: >p/hypervisor-empty.so
mkdir p/hypervisor-folder.so
mkfifo p/hypervisor-pipe.so
printf 'name: halfthere\nkind: hypervisor\n' >p/hypervisor-halfthere.plugin
printf 'name: ../../evil\nkind: hypervisor\n' >p/hypervisor-evil.plugin
echo 'int nothing_here;' | so nosymbol
echo 'int nosuch (void); void *capstan_plugin_init_v1 (void) { nosuch (); return 0; }' | so unresolved
echo 'int dep (void) { return 0; }' >dep.c
$CC -shared -fPIC -o libdepgone.so dep.c
echo 'int dep (void); void *capstan_plugin_init_v1 (void) { dep (); return 0; }' |
  so depgone -L. -ldepgone
rm libdepgone.so
echo 'void *capstan_plugin_init_v1 (void) { return 0; }' | so nothing
plugin | so newer -DMIN_MINOR=99
plugin | so major -DMAJOR=2
plugin | so repo -DKIND=CAPSTAN_KIND_REPO
printf 'name: repo\nkind: hypervisor\n' >p/hypervisor-repo.plugin
{ echo '#include "capstan/plugin.h"
static int load (struct capstan_call *c) { return capstan_error (c, CAPSTAN_E_STATE, 0, "the moon is full"); }'
  plugin; } | so load -DLOAD=load
# of a later header: every struct is longer
{ echo '#include "capstan/plugin.h"
struct ops2 { uint32_t struct_size, reserved; void *probe; int (*open) (struct capstan_call *, void **);
  char rest[sizeof (struct capstan_hypervisor_ops)]; };
struct opt2 { const char *key, *help, *def, *choices; uint32_t type, flags; void *more; };
struct desc2 { uint32_t struct_size; uint16_t abi_major, abi_minor; uint32_t min_host_minor, reserved;
  const char *name, *version, *license, *contact; const struct capstan_provider *const *providers;
  int (*load) (struct capstan_call *); void (*unload) (void); void *more[4]; };'; plugin; } |
  so longer -DOPS='struct ops2' -DOPT='struct opt2' -DDESC='struct desc2'
# of an earlier one: the table ends after open
plugin | so shorter -DOPS_SIZE='offsetof (struct capstan_hypervisor_ops, close)'

CAPSTAN_PLUGIN_PATH=$work/p; export CAPSTAN_PLUGIN_PATH
status 0 capstan plugin list
row () { grep -q -e "^$1 .*$2" "$work/out" || { cat "$work/out" >&2; fail "$1: no '$2'"; }; }
row garbage 'refused: .*\(file too short\|invalid ELF header\)'
row empty 'refused: .*file too short'
row folder 'refused: it is no ordinary file'
row pipe 'refused: it is no ordinary file'
row halfthere 'refused: No such file'
row evil 'refused: No such file'
row nosymbol 'refused: no capstan_plugin_init_v1: not a plugin for ABI 1'
row unresolved 'refused: .*undefined symbol: nosuch'
row depgone 'refused: .*libdepgone.so: cannot open shared object file'
row nothing 'refused: its entry point answered nothing'
row newer 'refused: needs plugin ABI >= 1.99, this capstan has 1.0'
row major 'refused: needs plugin ABI >= 2.0, this capstan has 1.0'
row repo 'refused: it is repository, not hypervisor'
row load 'refused: .*the moon is full'
for good in good longer shorter; do row $good '1 *1\.0'; done
[ "$(grep -c unloaded "$work/err")" -eq 3 ] || fail "unload is called once for each that loaded"

status 0 capstan plugin list --json
python3 - <<'END' || fail "JSON"
import json
r = {p["name"]: p for p in json.load (open ("out"))}
assert "99" in r["newer"]["refused"] and r["good"]["abi"] == [1, 0] and "refused" not in r["good"]
END
# the rows of a longer option table are found by their stride
for good in good longer shorter; do
  status 0 capstan plugin info $good
  out_has one=number; out_has "second (2)"
done
status 1 capstan plugin info newer
err_has "1.99"
status 3 capstan plugin info nowhere
err_has nowhere

# a folder that others may write to is not read
mkdir -p "$CAPSTAN_ROOT/plugins"
cp p/hypervisor-good.so "$CAPSTAN_ROOT/plugins/hypervisor-mine.so"
chmod 755 "$CAPSTAN_ROOT/plugins"
status 0 capstan plugin list
row mine '1 *1\.0'
chmod o+w "$CAPSTAN_ROOT/plugins"
status 0 capstan plugin list
out_lacks mine
err_has "chmod go-w"
