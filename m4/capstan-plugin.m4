# CAPSTAN_PLUGIN(name, summary, pkg-config modules or empty)
# --enable-NAME=auto|yes|no; --enable-plugins sets the default for all.
# "yes" and a missing dependency is an error, never a silent "no".
# Sets BUILD_<NAME> (conditional) and <NAME>_STATIC, preprocessor flags for a build without
# shared libraries, and appends to plugin_summary and plugin_list_c.
AC_DEFUN([CAPSTAN_PLUGIN], [
  m4_pushdef([V], [enable_]m4_translit([$1], [-], [_]))dnl
  m4_pushdef([U], m4_translit([$1], [a-z-], [A-Z_]))dnl
  AC_ARG_ENABLE([$1], [AS_HELP_STRING([--enable-$1], [$2 (auto, yes, no)])],
    [], [V=$enable_plugins])
  AS_CASE([$V], [auto|yes|no], [],
    [AC_MSG_ERROR([--enable-$1=$V: say auto, yes or no])])
  plugin_why=
  AS_IF([test "x$V" != xno], [m4_ifval([$3], [
    PKG_CHECK_MODULES(U, [$3], [:], [plugin_why="needs $3"])], [:])])
  AS_CASE(["$V,$plugin_why"],
    [no,*], [plugin_why=" (by request)"],
    [yes,?*], [AC_MSG_ERROR([--enable-$1 was asked for but it $plugin_why])],
    [auto,?*], [V=no plugin_why=" ($plugin_why)"],
    [V=yes])
  AM_CONDITIONAL([BUILD_]U, [test "x$V" = xyes])
  U[_STATIC]=
  AS_IF([test "x$enable_shared" = xno],
    [U[_STATIC]=-DCAPSTAN_STATIC_NAME=m4_translit([$1], [-], [_])])
  AC_SUBST(U[_STATIC])
  plugin_summary="$plugin_summary
    m4_format([%-18s], [$1]) $V$plugin_why"
  plugin_list_c="$plugin_list_c  $1 $V$plugin_why\\n"
  m4_popdef([U])m4_popdef([V])])
