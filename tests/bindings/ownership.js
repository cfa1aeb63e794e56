// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// The program that test-ownership.py runs under valgrind: every call that transfers ownership. It calls no C
// function on a GLib.Bytes, because GJS 1.74 never frees one after such a call.

const {BufPool, Gio, GLib, GObject} = imports.gi;
const System = imports.system;

const Holder = GObject.registerClass({
    Signals: {'passed': {param_types: [BufPool.PoolAllocation.$gtype]}},
}, class Holder extends GObject.Object {});

function assert(condition, text) {
    if (!condition)
        throw new Error(`assertion failed: ${text}`);
}

function fails(func) {
    try {
        func();
    } catch (error) {
        return;
    }
    throw new Error('nothing was thrown');
}

function cancelled() {
    const cancellable = new Gio.Cancellable();
    cancellable.cancel();
    return cancellable;
}

function viewsAndCopies(pool) {
    const a = pool.allocate(2);
    const [view, second, copy] = [a.get_bytes(), a.get_buffer_bytes(1), new BufPool.PoolAllocation(a)];
    const holder = new Holder();
    holder.connect('passed', (_, allocation) => assert(allocation.get_length() === 2, 'passed'));
    holder.emit('passed', a);
    a.fill(0, [1, 2, 3, 4]);
    assert([...a].length === 2 && a.extract(0, 4).toArray().join() === '1,2,3,4', 'extract');
    a.release();
    assert(copy.is_released() && view.toArray()[3] === 4 && second.toArray().length === 16, 'views');
}

function errors(pool) {
    const full = pool.allocate(4);
    fails(() => pool.allocate(0));
    fails(() => pool.allocate(5));
    fails(() => pool.allocate(1));
    fails(() => pool.allocate_timeout(1, 1000));
    fails(() => pool.allocate(1, cancelled()));
    fails(() => pool.drain());
    fails(() => full.extract(0, 65));
    full.release();
    fails(() => full.fill(0, [1]));
    fails(() => BufPool.Pool.new(0, 0));
}

async function streams(pool) {
    const a = pool.allocate(1);
    const source = Gio.MemoryInputStream.new_from_bytes(new GLib.Bytes(new Uint8Array(16)));
    const target = Gio.MemoryOutputStream.new_resizable();
    assert(await a.fill_from_stream_async(source, 0, 16, 0, null) === 16, 'read');
    assert(await a.write_to_stream_async(target, 0, 16, 0, null) === 16, 'written');
    await a.fill_from_stream_async(source, 0, 99, 0, null).catch(() => {});
    a.release();
}

async function requests(pool) {
    const full = pool.allocate(4);
    const waiting = pool.allocate_async(1, 0, null);
    await pool.allocate_async(1, 0, cancelled()).catch(() => {});
    full.release();
    const a = await waiting;
    const drained = pool.drain_async(0, null);
    a.release();
    await drained;
    // A result that is never fetched.
    await new Promise(resolve => pool.allocate_async(1, 0, null, resolve));
}

function nextIteration() {
    return new Promise(resolve => GLib.idle_add(GLib.PRIORITY_LOW, () => {
        resolve();
        return GLib.SOURCE_REMOVE;
    }));
}

async function main() {
    for (let i = 0; i < 3; i++) {
        for (const work of [viewsAndCopies, errors, streams, requests]) {
            const pool = new BufPool.Pool({buffer_size: 16, max_memory: 64});
            await work(pool); // eslint-disable-line no-await-in-loop
            // What a promise has waited for becomes garbage after the main loop has iterated again.
            await nextIteration(); // eslint-disable-line no-await-in-loop
            System.gc();
            assert(pool.allocated_memory === 0, `${work.name} ${pool.allocated_memory}`);
            pool.allocate(1);
            pool.close();
        }
    }
}

const loop = GLib.MainLoop.new(null, false);
let status = 1;
main().then(() => {
    status = 0;
}, error => printerr(error, error.stack)).finally(() => loop.quit());
loop.run();
// Not System.exit(), which frees nothing.
if (status !== 0)
    throw new Error('failed');
System.gc();
