// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// The cost of the pool in JavaScript, compared with GLib.Bytes and Uint8Array. Usage: gjs languages.js
// [--quick]

const {BufPool, Gio, GLib} = imports.gi;
const System = imports.system;

const QUICK = ARGV.includes('--quick');
const RUNS = QUICK ? 1 : 11;
const KIB64 = 64 * 1024;

const pool = new BufPool.Pool({buffer_size: 4096, max_memory: 1 << 20});
const data = new Uint8Array(4096);
const [file, stream] = Gio.File.new_tmp(null);
stream.close(null);
file.replace_contents(new Uint8Array(KIB64), null, false, Gio.FileCreateFlags.NONE, null);

function check(size) {
    if (size !== KIB64)
        throw new Error(`${size} bytes`);
}

function withStream(work) {
    const input = file.read(null);
    work(input);
    input.close(null);
}

const CASES = [
    ['allocate and drop 4 KiB', 'libbufpool', 2000, () => pool.allocate(1).release()],
    ['allocate and drop 4 KiB', 'Uint8Array', 20000, () => new Uint8Array(4096)],
    ['allocate and drop 4 KiB', 'GLib.Bytes', 5000, () => new GLib.Bytes(data)],
    ['fill 64 KiB from a file', 'libbufpool, stream', 500, () => withStream(input => {
        const allocation = pool.allocate(16);
        allocation.fill_from_stream(input, 0, KIB64, null);
        allocation.release();
    })],
    ['fill 64 KiB from a file', 'GLib.Bytes, stream', 500,
        () => withStream(input => check(input.read_bytes(KIB64, null).get_size()))],
    ['fill 64 KiB from a file', 'Uint8Array', 500, () => check(file.load_contents(null)[1].length)],
];

function measure(work, count) {
    const begin = GLib.get_monotonic_time();
    for (let i = 0; i < count; i++)
        work();
    const took = GLib.get_monotonic_time() - begin;
    System.gc();
    return took / count;
}

const samples = CASES.map(() => []);
for (let run = 0; run < RUNS; run++)
    CASES.forEach(([, , count, work], i) => samples[i].push(measure(work, QUICK ? 10 : count)));
file.delete(null);

const figures = CASES.map(([name, subject], i) => {
    const sorted = [...samples[i]].sort((a, b) => a - b);
    return {
        'case': name,
        subject,
        quantity: 'time',
        unit: 'µs',
        median: sorted[Math.floor(sorted.length / 2)],
        minimum: sorted[0],
        maximum: sorted[sorted.length - 1],
        samples: samples[i],
    };
});
print(JSON.stringify({
    program: 'javascript',
    quick: QUICK,
    runs: RUNS,
    machine: {GJS: `${System.version}`},
    unfinished: [],
    figures,
}, null, 1));
