# Compiler and linker flags, each tried by itself, so that an older or another
# compiler leaves out what it does not know instead of failing.

# WRENND_CC_FLAGS(VARIABLE, FLAGS)
# Appends to VARIABLE each of FLAGS with which, beside those already there, the
# compiler takes a program without a word. -Werror turns the warning of
# compilers that only warn about unknown flags into a refusal.
AC_DEFUN([WRENND_CC_FLAGS], [
for wrennd_flag in $2; do
	AS_VAR_PUSHDEF([cached], [wrennd_cv_cc_flag_$wrennd_flag])
	AC_CACHE_CHECK([whether $CC takes $wrennd_flag], [cached], [
		wrennd_saved=$CFLAGS
		CFLAGS="$CFLAGS [$]$1 $wrennd_flag -Werror"
		AC_COMPILE_IFELSE(
			[AC_LANG_SOURCE([[#include <string.h>
			int main(void) { return 0; }]])],
			[AS_VAR_SET([cached], [yes])],
			[AS_VAR_SET([cached], [no])])
		CFLAGS=$wrennd_saved
	])
	AS_VAR_IF([cached], [yes], [AS_VAR_APPEND([$1], [" $wrennd_flag"])])
	AS_VAR_POPDEF([cached])
done
AC_SUBST([$1])
])

# WRENND_LD_FLAGS(VARIABLE, FLAGS)
# The same for flags of the linker: a program is linked with each.
AC_DEFUN([WRENND_LD_FLAGS], [
for wrennd_flag in $2; do
	AS_VAR_PUSHDEF([cached], [wrennd_cv_ld_flag_$wrennd_flag])
	AC_CACHE_CHECK([whether the linker takes $wrennd_flag], [cached], [
		wrennd_saved=$LDFLAGS
		LDFLAGS="$LDFLAGS [$]$1 $wrennd_flag"
		AC_LINK_IFELSE(
			[AC_LANG_PROGRAM([], [])],
			[AS_VAR_SET([cached], [yes])],
			[AS_VAR_SET([cached], [no])])
		LDFLAGS=$wrennd_saved
	])
	AS_VAR_IF([cached], [yes], [AS_VAR_APPEND([$1], [" $wrennd_flag"])])
	AS_VAR_POPDEF([cached])
done
AC_SUBST([$1])
])
