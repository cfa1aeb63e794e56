#!/usr/bin/env bash
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# Tests what a program that depends on the library finds: symbols, headers, pkg-config files, installed and
# uninstalled, and as a subproject.
# Usage: test-installed.sh SOURCE_DIR BUILD_DIR

set -u

source_dir=$1
build_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0
failed=0

check() {
    local name=$1
    shift
    n=$((n + 1))
    if "$@" >"$work/log" 2>&1; then
        echo "ok $n $name"
    else
        echo "not ok $n $name"
        sed 's/^/# /' "$work/log"
        failed=1
    fi
}

write_program() {
    cat >"$1" <<'PROGRAM'
#include <bufpool/bufpool.h>

int
main (void)
{
  BufPool *pool = buf_pool_new (BUF_BUFFER_SIZE_S16, 1024, NULL);
  BufPoolAllocation *allocation = buf_pool_allocate (pool, 48, NULL, NULL);
  gsize length = buf_pool_allocation_get_length (allocation);

  buf_pool_allocation_unref (allocation);
  g_object_unref (pool);
  return length == 48 && BUF_CHECK_VERSION (1, 0, 0) ? 0 : 1;
}
PROGRAM
}

# compile PKG_CONFIG_PATH OUTPUT SOURCE: the output of pkg-config is quoted for a shell
compile() {
    eval "cc -o '$2' '$3' $(PKG_CONFIG_PATH="$1" pkg-config --cflags --libs bufpool-1.0)"
}

# The library exports exactly the symbols of the list.
symbols() {
    nm -D --defined-only "$build_dir/bufpool/libbufpool-1.0.so.0" | awk '{ print $3 }' | sort >"$work/symbols"
    diff -u "$source_dir/tests/exported-symbols.list" "$work/symbols"
}

soname() {
    readelf -d "$build_dir/bufpool/libbufpool-1.0.so.0" | grep -F 'soname: [libbufpool-1.0.so.0]'
}

# Each header may be included only through the public header.
single_include() {
    local header
    for header in buf-pool buf-pool-allocation buf-pool-enums buf-pool-enum-types buf-pool-error buf-version \
        buf-version-macros; do
        if echo "#include <bufpool/$header.h>" |
            cc -fsyntax-only -xc - -I"$source_dir" -I"$build_dir" $(pkg-config --cflags gio-2.0) 2>/dev/null; then
            echo "$header.h can be included by itself"
            return 1
        fi
    done
}

language() {
    write_program "$work/program.$1"
    $2 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "$work/program.$1" \
        -I"$source_dir" -I"$build_dir" $(pkg-config --cflags gio-2.0)
}

uninstalled() {
    write_program "$work/uninstalled.c"
    compile "$build_dir/meson-uninstalled" "$work/uninstalled" "$work/uninstalled.c" || return 1
    LD_LIBRARY_PATH="$build_dir/bufpool" "$work/uninstalled"
}

installed() {
    local prefix libdir folder
    DESTDIR="$work/destdir" meson install -C "$build_dir" --no-rebuild --quiet || return 1
    prefix=$(dirname "$(dirname "$(find "$work/destdir" -type d -path '*/include/bufpool-1.0')")")
    libdir=$(dirname "$(find "$prefix" -name libbufpool-1.0.so)")
    sed "s|^prefix=.*|prefix=$prefix|" "$libdir/pkgconfig/bufpool-1.0.pc" >"$work/bufpool-1.0.pc"
    write_program "$work/installed.c"
    compile "$work" "$work/installed" "$work/installed.c" || return 1
    LD_LIBRARY_PATH="$libdir" "$work/installed" || return 1
    # GDB looks for it under the path of the library without DESTDIR.
    [ -e "$prefix/share/gdb/auto-load${libdir#"$work/destdir"}/libbufpool-1.0.so.0.0.0-gdb.py" ] || return 1
    if [ -e "$build_dir/bufpool/BufPool-1.0.gir" ]; then
        [ -e "$prefix/share/gir-1.0/BufPool-1.0.gir" ] &&
            [ -e "$libdir/girepository-1.0/BufPool-1.0.typelib" ] || return 1
    fi
    if [ -d "$build_dir/bufpool/bindings/python" ]; then
        folder=$(dirname "$(dirname "$(dirname "$(find "$work/destdir" -name BufPool.py)")")")
        /usr/bin/python3 -c "import sys; sys.exit('${folder#"$work/destdir"}' not in sys.path)"
    fi
}

# Sets no option, like most users of a subproject. The folder stands for the tarball that the wrap file names.
configure_subproject() {
    local wrap=$source_dir/.packaging/libbufpool.wrap
    mkdir -p "$work/outer/subprojects"
    cp "$wrap" "$work/outer/subprojects"
    ln -s "$source_dir" "$work/outer/subprojects/$(sed -n 's/^directory = //p' "$wrap")"
    write_program "$work/outer/program.c"
    cat >"$work/outer/meson.build" <<'BUILD'
project('outer', 'c')
test('program', executable('program', 'program.c', dependencies: dependency('bufpool-1.0')))
BUILD
    meson setup "$work/outer/build" "$work/outer"
}

# defined_by BUILD_DIR: the folders and test suites that the subproject adds to a build.
defined_by() {
    meson introspect -i "$1" --targets --tests |
        sed -nE -e 's|.*"defined_in": ".*/subprojects/libbufpool[^/]*/(.*)meson.build".*|folder \1|p' \
            -e 's|.*"(libbufpool:?.*)"$|suite \1|p' |
        sort -u
}

subproject_alone() {
    configure_subproject && defined_by "$work/outer/build" >"$work/defined"
    cat "$work/defined"
    [ "$(cat "$work/defined")" = "folder bufpool/" ]
}

subproject_works() {
    meson test -C "$work/outer/build" program
}

subproject_with() {
    meson setup "$work/outer/$1" "$work/outer" -Dlibbufpool:"$1"=true -Dlibbufpool:introspection=disabled \
        -Dlibbufpool:vapi=disabled && defined_by "$work/outer/$1" | grep "^folder $1/"
}

echo 1..11
check "exports exactly the checked-in symbols" symbols
check "has its soname" soname
check "headers refuse to be included one by one" single_include
check "headers compile as C without a warning" language c "cc -std=c11"
check "headers compile as C++ without a warning" language cc "c++ -std=c++11"
check "works uninstalled, with pkg-config" uninstalled
check "works installed, with pkg-config" installed
check "as a subproject, builds only the library" subproject_alone
check "works as a subproject" subproject_works
check "can have its tests as a subproject" subproject_with tests
check "can have its examples as a subproject" subproject_with examples
exit $failed
