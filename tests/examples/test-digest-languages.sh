#!/usr/bin/env bash
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# The example `digest` in another language, compared with sha256sum, with the uninstalled library.
# Usage: test-digest-languages.sh BUILD_DIR COMMAND...

set -u
export LC_ALL=C.UTF-8

if [ -z "${IN_DEVENV:-}" ]; then
    # Messages of meson itself are not TAP.
    set -o pipefail
    IN_DEVENV=yes meson devenv -C "$1" --workdir "$PWD" "$(realpath "$0")" "${@:2}" |
        grep -vE '^(Meson detected|To load it automatically| - Add add-auto-load)'
    exit
fi

command=()
for word in "$@"; do
    [ -e "$word" ] && word=$(realpath -s "$word")
    command+=("$word")
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
mkdir files

n=0
failed=0

check() {
    local name=$1
    n=$((n + 1))
    if ("$2") >log 2>&1; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        tail -n 40 log | sed 's/^/# /'
        failed=1
    fi
}

# A program that hangs ends with status 124.
digest() {
    timeout 60 "${command[@]}" "$@"
}

expect_status() {
    [ "$1" -eq "$2" ] || { echo "exit status $1, not $2"; cat errors; return 1; }
}

# agree OPTION... -- FILE...: the output is that of sha256sum, in the same order
agree() {
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    digest "${options[@]}" "$@" >output 2>errors
    expect_status $? 0 || return 1
    sha256sum "$@" | diff - output
}

sizes=(0 1 299 300 301 600 4096 65535 65536 65537 131072 1000001 5242880)
for size in "${sizes[@]}"; do
    head -c "$size" /dev/urandom >"files/$size"
done
by_size=("${sizes[@]/#/files/}")
mapfile -t headers < <(find /usr/include -maxdepth 2 -type f -name '*.h' | sort | head -n 300)

# One allocation is the whole limit, and four workers need it.
one_allocation() {
    agree --max-memory 64K --buffer-size 16K --buffers 4 --workers 4 -- "${by_size[@]}"
}

odd_allocations() {
    agree --max-memory 700 --buffer-size 100 --buffers 3 --workers 5 -- "${by_size[@]:0:10}"
}

many_workers() {
    agree --max-memory 100K --workers 64 -- "${by_size[@]}" "${by_size[@]}"
}

default_options() {
    agree -- "${by_size[@]}"
}

many_files() {
    [ ${#headers[@]} -ge 100 ] || { echo "only ${#headers[@]} headers"; return 1; }
    agree --max-memory 128K --workers 8 -- "${headers[@]}"
}

odd_names() {
    local names=(' ' 'a b' $'new\nline' $'return\rreturn' 'back\slash' $'all\\\r\nthree\n' 'ä' '"quoted"' '%s%n' '*' '-dash')
    local name
    mkdir odd && cd odd || return 1
    for name in "${names[@]}"; do
        echo "in $name" >"./$name"
    done
    agree -- "${names[@]}" && sha256sum --check --quiet --strict -- output
}

# Names of files are bytes, and need not be UTF-8.
odd_bytes() {
    local names=($'\xff\xfe\x80' $'caf\xe9 %' $'new\nline\xc3' $'folder\xe4/../folder\xe4/file' $PWD/$'\xe4\xf6?#')
    local name
    mkdir $'folder\xe4'
    for name in "${names[@]}"; do
        echo "in $name" >"$name"
    done
    agree -- "${names[@]}" && cp output sums && sha256sum --check --quiet --strict -- sums || return 1
    digest --check sums >output 2>errors
    expect_status $? 0 && LC_ALL=C sed -E 's/^(\\?)[0-9a-f]{64}  (.*)$/\1\2: OK/' sums | diff - output || return 1
    digest files/1 $'no\xff' $'\xff\xfe\x80' >output 2>errors
    expect_status $? 1 && sha256sum files/1 $'\xff\xfe\x80' | diff - output || return 1
    LC_ALL=C grep -qa $'^digest: no\xff: .*No such file' errors || { cat errors; return 1; }
    cp sums $'sums\xff'
    digest --quiet --check $'sums\xff' >output 2>errors
    expect_status $? 0 && [ ! -s output ]
}

standard_input() {
    digest - <files/1000001 >output 2>errors
    expect_status $? 0 && sha256sum <files/1000001 | diff - output
}

bad_files() {
    digest files/1 missing $'no\nsuch' files files/600 >output 2>errors
    expect_status $? 1 || return 1
    grep -q '^digest: missing: .*No such file' errors && grep -q '^digest: no\\nsuch: ' errors &&
        grep -qi '^digest: files: .*is a directory' errors || { cat errors; return 1; }
    sha256sum files/1 files/600 | diff - output
}

check_sums() {
    local names=(files/1 files/600 'odd/back\slash' $'odd/new\nline')
    sha256sum -- "${names[@]}" >sums
    digest --check sums >output 2>errors
    # Old versions of sha256sum do not escape a backslash here.
    expect_status $? 0 && sed -E 's/^(\\?)[0-9a-f]{64}  (.*)$/\1\2: OK/' sums | diff - output || return 1
    digest --quiet --check - <sums >output 2>errors
    expect_status $? 0 && [ ! -s output ]
}

bad_sums() {
    sha256sum files/1 files/600 | sed '1s/^..../0000/' >sums
    { echo "no line of sums"; sha256sum files/0 | sed 's|files/0|missing|'; } >>sums
    digest --check sums >output 2>errors
    expect_status $? 1 || return 1
    grep -q '^digest: missing: .*No such file' errors && grep -q 'WARNING: 1 line is improperly' errors || { cat errors; return 1; }
    printf '%s\n' 'files/1: FAILED' 'files/600: OK' 'missing: FAILED open or read' | diff - output || return 1
    { echo "no line of sums"; echo "nor this"; sha256sum files/0; } >sums
    digest --check sums >output 2>errors
    expect_status $? 0 && grep -q 'WARNING: 2 lines are improperly' errors || { cat errors; return 1; }
    digest --check missing >output 2>errors
    expect_status $? 1 && grep -q 'missing.*No such file\|No such file.*missing' errors || { cat errors; return 1; }
    refuse '' --check sums
}

version_and_help() {
    digest --version >output 2>errors
    expect_status $? 0 && grep -qE '^digest \(libbufpool\) [0-9.]+$' output || { cat output; return 1; }
    digest --help >output 2>errors
    expect_status $? 0 && grep -q -- --check output
}

# Whether the process has opened the pipe, and only for reading.
has_opened_pipe() {
    find "/proc/$1/fd" -lname '*/pipe' ! -perm -u=w 2>find-errors | grep -q .
}

# It waits for a pipe that has no writer.
interrupted() {
    local pid i
    mkfifo pipe
    exec 99<>pipe
    python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execvp(sys.argv[1], sys.argv[1:])' "${command[@]}" pipe >output 2>errors 99>&- &
    pid=$!
    for ((i = 0; i < 300; i++)); do
        has_opened_pipe $pid && break
        sleep 0.1
    done
    has_opened_pipe $pid || { echo "it does not open the pipe"; return 1; }
    kill -INT $pid
    timeout 20 tail --pid=$pid -f /dev/null
    expect_status $? 0
}

# refuse WORDS OPTION...: status 2, no output, and the words in the message
refuse() {
    local words=$1
    shift
    digest "$@" files/1 >output 2>errors
    expect_status $? 2 && [ ! -s output ] && grep -q -- "$words" errors || { cat errors; return 1; }
}

bad_options() {
    refuse 1000 --max-memory 1000 && refuse 81920 --max-memory 65536 --buffers 5 &&
        refuse 65536 --buffers 65536 --buffer-size 1 && refuse '' --max-memory many && refuse '' --colour &&
        refuse '' --workers 0
}

# most_memory FILE...: the peak resident memory in KiB
most_memory() {
    timeout 100 python3 -c '
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=open("output", "wb"))
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' \
        "${command[@]}" --max-memory 256K --workers 4 "$@"
}

bounded_memory() {
    local little much
    truncate --size 64M large
    little=$(most_memory files/1) && much=$(most_memory large large large large) || return 1
    sha256sum large large large large | diff - output || return 1
    echo "$little KiB for 1 byte, $much KiB for 256 MiB"
    [ $((much - little)) -lt $((32 * 1024)) ]
}

echo 1..15
check "one allocation is enough" one_allocation
check "agrees if files end anywhere in an allocation" odd_allocations
check "agrees with more workers than allocations" many_workers
check "agrees by default" default_options
check "takes hundreds of files" many_files
check "agrees about unusual names" odd_names
check "agrees about names that are not UTF-8" odd_bytes
check "reads standard input" standard_input
check "reports bad files and hashes the others" bad_files
check "refuses impossible options" bad_options
check "checks sums" check_sums
check "reports wrong checksums" bad_sums
check "prints its version and its options" version_and_help
check "ends immediately when it is interrupted" interrupted
check "needs no more memory for more data" bounded_memory
exit $failed
