#!/usr/bin/env -S gjs -m
// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Prints the SHA-256 of files, as sha256sum does, several at once, within a budget of memory.
//
// Shows the pool with promises: nothing blocks the main loop. Each worker waits for an allocation,
// lets the stream fill it, and hashes what is in it. A worker holds no allocation while it waits for
// the next, so any number of workers gets by with a budget of one allocation.
//
// release() gives the memory back when it was hashed: the collector does not see the budget. For the
// same reason what goes to the checksum is a copy, by extract(): GJS has no way to pass it the memory
// itself, and a view by get_bytes() would keep the budget until the collector runs.
//
// Uninstalled: meson devenv -C build -w . gjs -m examples/digest.js FILE...

import BufPool from 'gi://BufPool?version=1.0';
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import System from 'system';

let UnixInputStream;
try {
    // Since GLib 2.80. No import(), whose await would keep promises from being resolved in the loop below.
    UnixInputStream = imports.gi.GioUnix.InputStream;
} catch {
    UnixInputStream = Gio.UnixInputStream;
}

Gio._promisify(Gio.File.prototype, 'read_async', 'read_finish');

// What was extracted is garbage, of a size that the collector does not know. So it is told.
const COLLECT_EVERY = 8 * 1024 * 1024;
let extracted = 0;

function parseSize(text) {
    const [, digits, unit] = /^([0-9]+)([KMG]?)$/.exec(text) || [];
    if (digits === undefined)
        throw new Error(`“${text}” is not a number`);
    return Number(digits) * 1024 ** ' KMG'.indexOf(unit || ' ');
}

const USAGE = 'usage: digest.js [--max-memory BYTES] [--buffer-size BYTES] [--buffers N] [--workers N] [--quiet] ' +
    '[--help] [--version] FILE... | --check SUMS';

// The names and the checksums in what digest or sha256sum has printed.
function readSums(path) {
    const [, text] = GLib.file_get_contents(path === '-' ? '/dev/stdin' : path);
    const lines = new TextDecoder().decode(text).split('\n').filter(line => line !== '');
    const found = lines.map(line => /^(\\?)([0-9a-fA-F]{64}) [ *](.+)$/.exec(line)).filter(match => match);
    if (found.length < lines.length)
        printerr(`digest: WARNING: ${lines.length - found.length} lines are improperly formatted`);
    const unescape = name => name.replace(/\\([\\nr])/g, (_, c) => ({n: '\n', r: '\r'})[c] ?? c);
    return {
        names: found.map(([, mark, , name]) => mark ? unescape(name) : name),
        expected: found.map(([, , hexadecimal]) => hexadecimal.toLowerCase()),
    };
}

function parseOptions(args) {
    const options = {maxMemory: '16M', bufferSize: '16K', buffers: '4', workers: '4'};
    const keys = {
        '--check': 'check', '--max-memory': 'maxMemory', '--buffer-size': 'bufferSize', '--buffers': 'buffers', '--workers': 'workers',
    };
    let i = 0;

    for (; i < args.length && args[i].startsWith('--'); i++) {
        if (args[i] === '--') {
            i++;
            break;
        }
        if (['--quiet', '--help', '--version'].includes(args[i])) {
            options[args[i].slice(2)] = true;
            continue;
        }
        const [option, value = args[++i]] = args[i].split('=');
        if (!keys[option] || value === undefined)
            throw new Error(`Unknown option ${option}; there are ${Object.keys(keys).join(', ')}`);
        options[keys[option]] = value;
    }
    for (const key of ['maxMemory', 'bufferSize', 'buffers', 'workers'])
        options[key] = parseSize(options[key]);
    if (!options.help && !options.version && (options.workers < 1 || (i >= args.length) === !options.check))
        throw new Error(USAGE);
    return {...options, names: args.slice(i)};
}

function openStream(name) {
    if (name === '-')
        return UnixInputStream.new(0, false);
    return Gio.File.new_for_path(name).read_async(GLib.PRIORITY_DEFAULT, null);
}

function update(checksum, allocation, size) {
    checksum.update(allocation.extract(0, size).toArray());
    extracted += size;
    if (extracted >= COLLECT_EVERY) {
        extracted = 0;
        System.gc();
    }
}

// The SHA-256 of one file, in hexadecimal.
async function digest(pool, count, name) {
    const checksum = new GLib.Checksum(GLib.ChecksumType.SHA256);
    const stream = await openStream(name);
    let full = true;

    while (full) {
        // Waits for the budget. Each worker does one thing after the other, hence
        // eslint-disable-next-line no-await-in-loop
        const allocation = await pool.allocate_async(count, GLib.PRIORITY_DEFAULT, null);
        try {
            const capacity = allocation.get_allocated_bytes();
            // eslint-disable-next-line no-await-in-loop
            const size = await allocation.fill_from_stream_async(stream, 0, capacity, GLib.PRIORITY_DEFAULT, null);
            update(checksum, allocation, size);
            full = size === capacity;
        } finally {
            allocation.release();
        }
    }
    stream.close(null);
    return checksum.get_string();
}

// As sha256sum does it: one line for each file, whatever its name is.
function escape(name) {
    return name.replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/\r/g, '\\r');
}

// Before an escaped line.
function markOf(name) {
    return escape(name) === name ? '' : '\\';
}

async function main(args) {
    let options, pool, sums;

    try {
        options = parseOptions(args);
        if (options.help || options.version) {
            print(options.help ? USAGE : `digest (libbufpool) ${BufPool.VERSION_S}`);
            return 0;
        }
        pool = new BufPool.Pool({buffer_size: options.bufferSize, max_memory: options.maxMemory});
        pool.try_allocate(options.buffers).release(); // says at once what could never be granted
    } catch (error) {
        printerr(`digest: ${error.message}`);
        return 2;
    }

    try {
        sums = options.check ? readSums(options.check) : {names: options.names};
    } catch (error) {
        printerr(`digest: ${error.message}`);
        return 1;
    }
    const {names, expected} = sums;
    const results = new Array(names.length);
    let started = 0, printed = 0, status = names.length > 0 ? 0 : 1;

    function printCheck(name, hexadecimal, wanted) {
        const equal = hexadecimal === wanted;
        if (!equal || !options.quiet) {
            const verdict = equal ? 'OK' : hexadecimal ? 'FAILED' : 'FAILED open or read';
            print(`${markOf(name)}${escape(name)}: ${verdict}`);
        }
        if (!equal)
            status = 1;
    }

    function printResults() {
        for (; results[printed]; printed++) {
            const {hexadecimal, error} = results[printed];
            const escaped = escape(names[printed]);
            if (error) {
                printerr(`digest: ${escaped}: ${error.message}`);
                status = 1;
            }
            if (expected) {
                printCheck(names[printed], hexadecimal, expected[printed]);
            } else if (hexadecimal) {
                print(`${markOf(names[printed])}${hexadecimal}  ${escaped}`);
            }
            results[printed] = null;
        }
    }

    async function work() {
        while (started < names.length) {
            const number = started++;
            try {
                // eslint-disable-next-line no-await-in-loop
                results[number] = {hexadecimal: await digest(pool, options.buffers, names[number])};
            } catch (error) {
                results[number] = {error};
            }
            printResults();
        }
    }

    await Promise.all(Array.from({length: options.workers}, work));
    return status;
}

const loop = GLib.MainLoop.new(null, false);
let exitStatus = 1;
main(ARGV).then(status => {
    exitStatus = status;
}).catch(logError).finally(() => loop.quit());
loop.run();
System.exit(exitStatus);
