#!/usr/bin/env bash
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# The example `digest`, compared with sha256sum.
# Usage: test-digest.sh DIGEST

set -u
export LC_ALL=C

program=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
mkdir files many

n=0
failed=0
SKIP=77

# check NAME FUNCTION: the function fails if something is wrong, and prints what
check() {
    local name=$1 status
    n=$((n + 1))
    ("$2") >log 2>&1
    status=$?
    if [ $status -eq $SKIP ]; then
        echo "ok $n - $name # SKIP $(cat log)"
    elif [ $status -eq 0 ]; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        tail -n 40 log | sed 's/^/# /'
        failed=1
    fi
}

# A program that hangs ends with status 124.
digest() {
    timeout 60 "$program" "$@"
}

# How to write to a pipe that may have no reader.
feed() {
    timeout 60 sh -c 'cat "$1" >"$2"' feed "$1" "$2"
}

expect_status() {
    [ "$1" -eq "$2" ] || { echo "exit status $1, not $2"; return 1; }
}

expect_message() {
    grep -qF -- "$1" errors || { echo "no message \"$1\", but:"; cat errors; return 1; }
}

# The output is that of sha256sum, in the same order. Options are those of digest, up to "--".
agree() {
    local options=() status
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    digest "${options[@]}" "$@" >output 2>errors
    status=$?
    sha256sum "$@" >expected
    cat errors
    diff expected output && expect_status $status 0
}

# A figure of the report, by the text around it.
figure() {
    sed -nE "s/^digest: $1\$/\\1/p" errors
}

sizes=(0 1 99 100 101 299 300 301 302 599 600 601 899 900 901 4095 4096 4097 65535 65536 65537 131072 3000000)
for size in "${sizes[@]}"; do
    head -c "$size" /dev/urandom >"files/$size"
done
for ((i = 0; i < 2000; i++)); do
    echo "$i" >"many/$i"
done
by_size=("${sizes[@]/#/files/}")
mapfile -t reversed < <(printf '%s\n' "${by_size[@]}" | tac)
mkfifo first second

# A chunk is three buffers of 100 bytes: there are files with each number of chunks, and with one byte more
# and less.
small_chunks=(--buffer-size 100 --buffers 3)

many_sizes() {
    agree -- "${by_size[@]}" && agree "${small_chunks[@]}" --max-memory 1000 --workers 4 -- "${by_size[@]}"
}

many_configurations() {
    local workers memory
    for workers in 1 2 3 16; do
        for memory in 64K 100K 128K 1M 1G; do
            agree --workers $workers --max-memory $memory -- "${by_size[@]}" || return 1
        done
    done
}

odd_names() {
    local names=(' ' 'a b' $'new\nline' $'return\rreturn' 'back\slash' $'all\\\r\nthree\n' $'\xff\xfe\x80' -- -dash '--max-memory'
        'ä' '"quoted"' "'" '%s%n' '*' '~' $'\e[31m' 'not\n')
    local name
    mkdir odd && cd odd || return 1
    for name in "${names[@]}"; do
        echo "in $name" >"./$name"
    done
    ln -s ../files/../many deeper
    echo "another file" >0
    ln -s "$work/many" many
    agree -- "${names[@]}" many/../files/3000000 deeper/../many/7 ./0 || return 1
    sha256sum --check --quiet --strict output
}

given_order() {
    agree --workers 8 -- "${reversed[@]}" files/0 "${by_size[@]}" files/0 files/0 "${reversed[@]}"
}

one_allocation() {
    local waits
    agree "${small_chunks[@]}" --max-memory 300 --workers 16 -- "${by_size[@]}" "${reversed[@]}" || return 1
    [ "$(figure 'at most ([0-9]+) of 300 bytes of memory .*')" = 300 ] || return 1
    waits=$(figure '([0-9]+) of [0-9]+ requests waited.*')
    [ "$waits" -gt 0 ] || { echo "no request waited"; return 1; }
}

within_budget() {
    local memory most
    for memory in 300 301 599 600 5000 30000 1000000; do
        agree "${small_chunks[@]}" --max-memory $memory --workers 8 -- "${by_size[@]}" || return 1
        most=$(figure "at most ([0-9]+) of $memory bytes of memory .*")
        [ -n "$most" ] && [ "$most" -ge 300 ] && [ "$most" -le $memory ] || return 1
    done
}

tiny_files() {
    agree --workers 4 -- many/*
}

# until_blocked PID N: until all threads of the program that PID runs, at least N of them, sleep.
until_blocked() {
    local i pid child states
    for ((i = 0; i < 600; i++)); do
        pid=$1
        while child=$(cut -d ' ' -f 1 "/proc/$pid/task/$pid/children") && [ -n "$child" ]; do
            pid=$child
        done
        states=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/task"/*/status)
        [ "$(grep -c S <<<"$states")" -ge "$2" ] && ! grep -q '[^S]' <<<"$states" && return
        sleep 0.1
    done 2>/dev/null
    echo "the states of its threads: $states"
    return 1
}

# If there are more results than are kept, they wait for the first one, which comes last.
slow_first() {
    local pid
    digest --max-memory 64K --workers 3 first many/* >output 2>errors &
    pid=$!
    until_blocked $pid 4 || return 1
    feed files/4096 first
    wait $pid || return 1
    sha256sum files/4096 many/* | sed 's|files/4096|first|' | diff - output
}

as_soon_as_done() {
    local pid i
    rm -f output
    digest files/300 first many/1 >output 2>errors &
    pid=$!
    for ((i = 0; i < 300; i++)); do
        [ -s output ] && break
        sleep 0.1
    done
    cp output early
    feed files/4096 first
    wait $pid || return 1
    sha256sum files/300 | diff - early
}

total_figures() {
    local bytes
    bytes=$(cat "${by_size[@]}" | wc -c)
    agree "${small_chunks[@]}" --workers 3 -- "${by_size[@]}" || return 1
    [ "$(figure "([0-9]+) of ${#by_size[@]} files, $bytes bytes in .*")" = ${#by_size[@]} ] || return 1
    [ "$(figure '[0-9]+ of ([0-9]+) requests waited.*')" -ge $((bytes / 300)) ]
}

unknown_size() {
    digest /proc/version - <files/65537 >output 2>errors || return 1
    { sha256sum /proc/version; sha256sum <files/65537; } | diff - output
}

# The idle pipe must not hold the only allocation, which another file needs.
idle_pipe() {
    local pid status
    exec 4<>second
    digest "${small_chunks[@]}" --max-memory 300 --workers 4 first second files/1 4>&- >output 2>errors &
    pid=$!
    feed files/3000000 first 4>&-
    cat files/4096 >&4
    exec 4>&-
    wait $pid
    status=$?
    cat errors
    sha256sum files/3000000 files/4096 files/1 | sed 's|files/3000000|first|; s|files/4096|second|' |
        diff - output && expect_status $status 0
}

bad_files() {
    digest files/1 files missing $'no\nsuch' "" files/601 >output 2>errors
    expect_status $? 1 || return 1
    expect_message 'digest: files: Is a directory' &&
        expect_message 'digest: missing: No such file or directory' &&
        expect_message 'digest: no\nsuch: No such file or directory' &&
        expect_message 'digest: 2 of 6 files, 602 bytes in ' || return 1
    sha256sum files/1 files/601 | diff - output
}

only_bad_files() {
    digest missing >output 2>errors
    expect_status $? 1 && expect_message 'digest: missing: ' && [ ! -s output ]
}

unreadable_file() {
    touch unreadable
    chmod 0 unreadable
    # Root can read every file, unless it has lost this capability.
    local as_user=()
    [ ! -r unreadable ] || as_user=(setpriv --bounding-set -dac_override,-dac_read_search)
    timeout 60 "${as_user[@]}" "$program" unreadable files/601 >output 2>errors
    expect_status $? 1 && expect_message 'digest: unreadable: Permission denied' || return 1
    sha256sum files/601 | diff - output
}

# With one worker, the second file is opened after the end of the first.
vanished_file() {
    local pid
    echo "here today" >vanishing
    digest --workers 1 first vanishing files/601 >output 2>errors &
    pid=$!
    rm vanishing
    feed files/1 first
    wait $pid
    expect_status $? 1 && expect_message 'digest: vanishing: No such file or directory' || return 1
    sha256sum files/1 files/601 | sed 's|files/1$|first|' | diff - output
}

read_error() {
    cat /proc/self/mem 2>&1 | grep -q 'Input/output error' || { echo "no file that fails"; return $SKIP; }
    digest files/1 /proc/self/mem files/601 >output 2>errors
    expect_status $? 1 && expect_message 'digest: /proc/self/mem: ' && expect_message 'Input/output error' || return 1
    sha256sum files/1 files/601 | diff - output
}

# refuse WORDS OPTION...: status 2, and one line on standard error that contains the words
refuse() {
    local words=$1
    shift
    digest "$@" >output 2>errors
    expect_status $? 2 && expect_message "$words" || { echo "with: $*"; return 1; }
    [ "$(wc -l <errors)" -eq 1 ] && [ ! -s output ] || { cat errors output; return 1; }
}

bad_options() {
    refuse '0 buffers' --buffers 0 files/1 &&
        refuse '65536 buffers' --buffers 65536 --buffer-size 1 files/1 &&
        refuse '0 bytes' --buffer-size 0 files/1 &&
        refuse '0 bytes' --max-memory 0 files/1 &&
        refuse '1000 bytes' --max-memory 1000 files/1 &&
        refuse '81920 bytes' --max-memory 65536 --buffers 5 files/1 &&
        refuse '300 bytes' "${small_chunks[@]}" --max-memory 299 files/1 &&
        refuse '299 bytes' "${small_chunks[@]}" --max-memory 299 files/1
}

bad_values() {
    local value
    for value in '' -1 +1 ' 1' 1.5 K 1KK 1k 1KB 0x10 99999999999999999999 99999999999999999G; do
        refuse '--max-memory' --max-memory "$value" files/1 &&
            refuse '--buffer-size' --buffer-size="$value" files/1 &&
            refuse '--buffers' --buffers "$value" files/1 &&
            refuse '--workers' --workers "$value" files/1 || return 1
    done
    refuse '--workers 0' --workers 0 files/1 && refuse '--workers 257' --workers 257 files/1
}

bad_usage() {
    refuse 'No files' && refuse 'No files' --workers 2 && refuse '--colour' --colour files/1 && refuse '--workers' --workers
}

# With 32 bits, there is no room for the stacks of 512 threads with the default size.
good_values() {
    agree --max-memory 64K --buffers 65535 --buffer-size 1 -- files/65537 &&
        [ "$(figure 'at most ([0-9]+) of 65536 bytes of memory .*')" = 65535 ] &&
        agree --max-memory 1M --buffer-size 1K --buffers 1K -- files/3000000 &&
        [ "$(figure 'at most ([0-9]+) of 1048576 bytes of memory .*')" = 1048576 ] &&
        (ulimit -S -s 1024 && agree --max-memory 1G --workers 256 -- files/1)
}

help() {
    local option
    digest --help >output 2>errors || return 1
    for option in --max-memory=BYTES --buffer-size=BYTES --buffers=N --workers=N --progress --check=FILE --quiet --version; do
        grep -q -- "$option" output || { echo "no $option"; return 1; }
    done
}

full_device() {
    [ -c /dev/full ] || { echo "no /dev/full"; return $SKIP; }
    digest files/1 >/dev/full 2>errors
    expect_status $? 1 && expect_message 'No space left on device' || return 1
    digest many/* >/dev/full 2>errors
    expect_status $? 1 && expect_message 'No space left on device'
}

# The pipe has no reader, and the program does not wait for the other one.
closed_pipe() {
    local status
    exec 5<>second 6>second 5>&-
    digest --workers 2 files/1 first >&6 2>errors 6>&-
    status=$?
    exec 6>&-
    expect_status $status 1 && expect_message 'Broken pipe'
}

no_progress_in_a_file() {
    agree --progress -- files/3000000 || return 1
    ! grep -q -e $'\r' -e $'\e' errors
}

progress_on_a_terminal() {
    local pid i
    command -v script >script || { echo "no script(1)"; return $SKIP; }
    timeout 60 script --quiet --return --command "'$program' --progress files/4096 first >output" /dev/null </dev/null >errors &
    pid=$!
    for ((i = 0; i < 300; i++)); do
        grep -qF '1 of 2 files' errors && break
        sleep 0.1
    done
    feed files/1 first
    wait $pid || return 1
    sha256sum files/4096 files/1 | sed 's|files/1$|first|' | diff - output || return 1
    expect_message '1 of 2 files, 0.0 MiB, ' && expect_message $'of 16.0 MiB out\e[K\r\e[Kdigest: 2 of 2 files'
}

quiet() {
    agree --quiet -- files/1 files/300 && [ ! -s errors ]
}

checks_sums() {
    local names=(files/1 files/300 'odd/back\slash' $'odd/new\nline')
    sha256sum -- "${names[@]}" >sums
    digest --check sums >output 2>errors || { cat output errors; return 1; }
    # Old versions of sha256sum do not escape a backslash here.
    sed -E 's/^(\\?)[0-9a-f]{64}  (.*)$/\1\2: OK/' sums | diff - output || return 1
    digest --quiet --check sums >output 2>errors && [ ! -s output ] && [ ! -s errors ] || return 1
    digest --quiet --check - <sums >output 2>errors && [ ! -s output ]
}

bad_sums() {
    sha256sum files/1 files/300 | sed '1s/^..../0000/' >sums
    { echo "no line of sums"; sha256sum files/99 | sed 's|files/99|missing|'; } >>sums
    digest --check sums >output 2>errors
    expect_status $? 1 && expect_message '1 computed checksum did NOT match' && expect_message 'missing: No such file' &&
        expect_message '1 line is improperly formatted' || return 1
    printf '%s\n' 'files/1: FAILED' 'files/300: OK' 'missing: FAILED open or read' | diff - output || return 1
    { echo "no line of sums"; echo "nor this"; sed -E 's/^..../0000/' sums; } >more-sums
    digest --check more-sums >output 2>errors
    expect_status $? 1 && expect_message '2 computed checksums did NOT match' &&
        expect_message '3 lines are improperly formatted' || return 1
    echo "no line of sums" >sums
    digest --check sums >output 2>errors
    expect_status $? 1 && expect_message 'has no checksums' || return 1
    digest --check missing >output 2>errors
    expect_status $? 1 && expect_message 'missing' && refuse 'or one file with --check' --check sums files/1
}

version() {
    digest --version >output 2>errors && grep -qE '^digest \(libbufpool\) [0-9]+\.[0-9]+\.[0-9]+$' output && [ ! -s errors ]
}

# It waits for a pipe that has no writer.
interrupted() {
    local pid status
    exec 4<>second
    (exec 4>&-; exec "$program" files/1 second >output 2>errors) &
    pid=$!
    while [ ! -s output ] && kill -0 $pid; do sleep 0.1; done
    kill -TERM $pid
    wait $pid
    status=$?
    exec 4>&-
    expect_status $status 143
}

echo 1..31
check "agrees with sha256sum about files of many sizes" many_sizes
check "agrees with sha256sum with any number of workers and any limit" many_configurations
check "agrees about unusual names" odd_names
check "keeps the given order" given_order
check "needs no more than one allocation" one_allocation
check "never exceeds the limit" within_budget
check "takes thousands of files" tiny_files
check "holds results back for a slow file" slow_first
check "prints a result as soon as it is done" as_soon_as_done
check "reports its figures" total_figures
check "reads files without a size: /proc, standard input" unknown_size
check "holds no memory for an idle pipe" idle_pipe
check "reports bad files and hashes the others" bad_files
check "fails when no file is good" only_bad_files
check "reports an unreadable file" unreadable_file
check "reports a file that vanished" vanished_file
check "reports a file that cannot be read to its end" read_error
check "refuses what cannot work, and reports the figures" bad_options
check "refuses what is not a number" bad_values
check "refuses what is not an option" bad_usage
check "accepts the largest numbers and the suffixes" good_values
check "helps" help
check "prints no figures with --quiet" quiet
check "checks sums" checks_sums
check "reports wrong checksums" bad_sums
check "prints its version" version
check "ends immediately" interrupted
check "reports that the disk is full" full_device
check "reports that the pipe has no reader" closed_pipe
check "draws no progress to a file" no_progress_in_a_file
check "draws progress on a terminal, and clears it" progress_on_a_terminal
exit $failed
