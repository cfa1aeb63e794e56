#!/usr/bin/env -S gjs -m
// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Prints the SHA-256 of files, like sha256sum, but hashes several files at once within a memory limit.
//
// Shows the pool with promises, which do not block the main loop. Each worker waits for an allocation, lets
// the stream fill it, and hashes its contents. A worker holds no allocation while it waits for the next one,
// so one allocation is enough for any number of workers.
//
// release() frees the memory as soon as it is hashed, because the collector does not know about the limit.
// For the same reason, the checksum gets a copy from extract(): GJS cannot pass it the memory itself, and a
// view from get_bytes() would hold the memory until the collector runs.
//
// Uninstalled: meson devenv -C build -w . gjs -m examples/digest.js FILE...

import BufPool from 'gi://BufPool?version=1.0';
import Gio from 'gi://Gio';
import GLib from 'gi://GLib';

// Not import, which converts all arguments, and fails if one of them is not UTF-8.
const System = imports.system;

let UnixInputStream, UnixOutputStream;
try {
    // Since GLib 2.80. Not import(), whose await would keep promises from being resolved in the loop below.
    ({InputStream: UnixInputStream, OutputStream: UnixOutputStream} = imports.gi.GioUnix);
} catch {
    ({UnixInputStream, UnixOutputStream} = Gio);
}

Gio._promisify(Gio.File.prototype, 'read_async', 'read_finish');

// Copies are garbage, whose size the collector does not know. So the program collects it explicitly.
const COLLECT_EVERY = 8 * 1024 * 1024;
let extracted = 0;

// File names are bytes, which need not be UTF-8. So here a name is a string whose characters are the bytes.
function nameOf(bytes) {
    return Array.from(bytes, byte => String.fromCharCode(byte)).join('');
}

function bytesOf(name) {
    return Uint8Array.from(name, character => character.charCodeAt(0));
}

function write(stream, name) {
    stream.write_all(bytesOf(name), null);
}

const stdout = UnixOutputStream.new(1, false);
const stderr = UnixOutputStream.new(2, false);

function writeError(name, error) {
    const message = nameOf(new TextEncoder().encode(error.message));
    write(stderr, `digest: ${name === null ? '' : `${name}: `}${message}\n`);
}

// ARGV crashes GJS if an argument is not UTF-8. On Linux, the arguments are available as bytes.
function getArguments() {
    let commandLine;
    try {
        [, commandLine] = GLib.file_get_contents('/proc/self/cmdline');
    } catch {
        return ARGV.map(argument => nameOf(new TextEncoder().encode(argument)));
    }
    const all = nameOf(commandLine).split('\0').slice(0, -1);
    const program = nameOf(new TextEncoder().encode(System.programInvocationName));
    return all.slice(all.indexOf(program) + 1);
}

// Not with new_for_path(), because GJS passes only UTF-8 as a path. In a URI, each byte can be encoded.
function fileOf(name) {
    const folder = name.startsWith('/') ? 'file://' : `${Gio.File.new_for_path('.').get_uri()}/`;
    const encode = byte => `%${byte.charCodeAt(0).toString(16).padStart(2, '0')}`;
    return Gio.File.new_for_uri(folder + name.replace(/[^0-9A-Za-z/]/g, encode));
}

function parseSize(text) {
    const [, digits, unit] = /^([0-9]+)([KMG]?)$/.exec(text) || [];
    if (digits === undefined)
        throw new Error(`“${new TextDecoder().decode(bytesOf(text))}” is not a number`);
    return Number(digits) * 1024 ** ' KMG'.indexOf(unit || ' ');
}

const USAGE = 'usage: digest.js [--max-memory BYTES] [--buffer-size BYTES] [--buffers N] [--workers N] [--quiet] ' +
    '[--help] [--version] FILE... | --check SUMS';

// The names and the checksums in the output of digest or sha256sum.
function readSums(path) {
    const [, text] = fileOf(path === '-' ? '/dev/stdin' : path).load_contents(null);
    const lines = nameOf(text).split('\n').filter(line => line !== '');
    const found = lines.map(line => /^(\\?)([0-9a-fA-F]{64}) [ *](.+)$/.exec(line)).filter(match => match);
    const nBad = lines.length - found.length;
    if (nBad > 0)
        printerr(`digest: WARNING: ${nBad} ${nBad === 1 ? 'line is' : 'lines are'} improperly formatted`);
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
            throw new Error(`Unknown option ${new TextDecoder().decode(bytesOf(option))}; there are ${Object.keys(keys).join(', ')}`);
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
    return fileOf(name).read_async(GLib.PRIORITY_DEFAULT, null);
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
        // Waits for memory. Each worker does one thing after the other, hence
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

// Like sha256sum: one line for each file, whatever its name is.
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
        pool.try_allocate(options.buffers).release(); // fails immediately if it could never be granted
    } catch (error) {
        writeError(null, error);
        return 2;
    }

    try {
        sums = options.check ? readSums(options.check) : {names: options.names};
    } catch (error) {
        writeError(null, error);
        return 1;
    }
    const {names, expected} = sums;
    const results = new Array(names.length);
    let started = 0, printed = 0, status = names.length > 0 ? 0 : 1;

    function printCheck(name, hexadecimal, wanted) {
        const equal = hexadecimal === wanted;
        if (!equal || !options.quiet) {
            const verdict = equal ? 'OK' : hexadecimal ? 'FAILED' : 'FAILED open or read';
            write(stdout, `${markOf(name)}${escape(name)}: ${verdict}\n`);
        }
        if (!equal)
            status = 1;
    }

    function printResults() {
        for (; results[printed]; printed++) {
            const {hexadecimal, error} = results[printed];
            const escaped = escape(names[printed]);
            if (error) {
                writeError(escaped, error);
                status = 1;
            }
            if (expected) {
                printCheck(names[printed], hexadecimal, expected[printed]);
            } else if (hexadecimal) {
                write(stdout, `${markOf(names[printed])}${hexadecimal}  ${escaped}\n`);
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
main(getArguments()).then(status => {
    exitStatus = status;
}).catch(logError).finally(() => loop.quit());
loop.run();
System.exit(exitStatus);
