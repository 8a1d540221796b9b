# WRENND_SYSTEMD_DIR(NAME, WHAT, DEFAULT)
# Sets NAME to the folder for WHAT: as --with-NAME says, else as systemd.pc
# says, else DEFAULT below $(prefix)/lib. The conditional WITH_NAME is false
# where --with-NAME=no leaves it out.
AC_DEFUN([WRENND_SYSTEMD_DIR], [
AC_ARG_WITH([$1],
	[AS_HELP_STRING([--with-$1=DIR], [$2 (default: as pkg-config says)])],
	[], [with_$1=yes])
AS_IF([test "$with_$1" = yes],
	[PKG_CHECK_VAR([systemd_$1], [systemd], [$1],
		[with_$1=$systemd_$1], [with_$1='${prefix}/lib/$3'])])
AC_SUBST([$1], [$with_$1])
AM_CONDITIONAL(m4_toupper([WITH_$1]), [test "$with_$1" != no])
])
