#!/bin/sh
# The spec and the PKGBUILD, as far as Debian has the tools; their version is configure's, and
# they package every plugin that there is.
. "$top_srcdir/tests/functions.sh"
version=$(sed -n 's/^PACKAGE_VERSION = //p' "$top_builddir/Makefile")
spec=$top_srcdir/packaging/rpm/capstan.spec pkgbuild=$top_srcdir/packaging/arch/PKGBUILD
grep -qx "Version: *$version" "$spec" || fail "the spec is not of $version"
grep -qx "pkgver=$version" "$pkgbuild" || fail "PKGBUILD is not of $version"
grep -q "^capstan ($version-" "$top_srcdir/packaging/debian/changelog" || fail "debian/changelog is not of $version"
for p in "$top_srcdir"/plugins/*/*.plugin; do
  n=${p##*/}; n=${n%.plugin}
  grep -q "capstan/$n\.so" "$spec" || fail "the spec has no $n"
  grep -qx "usr/lib/\*/capstan/$n.so" "$top_srcdir"/packaging/debian/*.install || fail "no Debian package has $n"
done
bash -n "$pkgbuild" || fail "PKGBUILD"
checked=
if command -v rpmspec >/dev/null; then
  rpmspec --parse "$spec" >parsed 2>err || { cat err; fail "rpmspec"; }
  rpmspec -q --qf '%{name}\n' "$spec" 2>err | sort >names
  for n in '' -base-linux -devel -plugin-git -plugin-http -plugin-kvm -plugin-s3 -plugin-vbox; do
    grep -qx "capstan$n" names || { cat names; fail "the spec makes no capstan$n"; }
  done
  checked="$checked rpmspec"
fi
if command -v rpmlint >/dev/null; then
  rpmlint "$spec" >lint 2>&1 || { cat lint; fail "rpmlint"; }
  checked="$checked rpmlint"
fi
if command -v makepkg >/dev/null; then
  # there is no pacman on Debian, and to print what was read it does nothing with it
  mkdir arch; cp "$pkgbuild" arch/; chmod 755 .; chmod 777 arch; chmod 644 arch/PKGBUILD
  as=; [ "$(id -u)" != 0 ] || as="setpriv --reuid=65534 --regid=65534 --clear-groups"
  (cd arch && HOME=/nonexistent PACMAN=true $as makepkg --printsrcinfo -p PKGBUILD >../srcinfo 2>../err) || { cat err; fail "makepkg"; }
  grep -q "pkgver = $version" srcinfo || fail "makepkg read another version"
  checked="$checked makepkg"
fi
[ -n "$checked" ] || skip "rpmspec, rpmlint and makepkg are not here"
echo "checked with$checked"
