// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// BufPool from JavaScript. Usage: gjs test-gjs.js, with the paths to the library and the overrides set.

const {BufPool, Gio, GLib, GObject} = imports.gi;
const System = imports.system;

const Holder = GObject.registerClass({
    Signals: {'passed': {param_types: [BufPool.PoolAllocation.$gtype]}},
    Properties: {
        'allocation': GObject.ParamSpec.boxed('allocation', '', '', GObject.ParamFlags.READWRITE,
            BufPool.PoolAllocation.$gtype),
    },
}, class Holder extends GObject.Object {});

function assert(condition, text = '') {
    if (!condition)
        throw new Error(`assertion failed: ${text}`);
}

function raises(domain, code, func) {
    try {
        func();
    } catch (error) {
        assert(error instanceof GLib.Error && error.matches(domain, code) && error.message, `${error}`);
        return;
    }
    throw new Error('nothing was thrown');
}

function refuses(func, type = Error) {
    try {
        func();
    } catch (error) {
        assert(error instanceof type, `${error}`);
        return error;
    }
    throw new Error(`not refused: ${func}`);
}

function newPool(buffers) {
    return new BufPool.Pool({buffer_size: 16, max_memory: 16 * buffers});
}

const TESTS = {
    'first example': () => {
        const pool = newPool(64);
        const a = pool.allocate(48);
        assert(a.get_length() === 48 && a.get_buffer_size() === 16 && a.get_allocated_bytes() === 768);
        for (let i = 0; i < 48; i++)
            a.fill(i * 16, new Uint8Array(16).fill(i));
        let n = 0;
        for (const buffer of a) {
            assert(buffer.length === 16 && buffer.every(byte => byte === n), `${n}`);
            n++;
        }
        assert(n === 48 && pool.allocated_memory === 768 && pool.active_allocations === 1);
        a.release();
    },

    'configuration': () => {
        const invalid = BufPool.PoolError.INVALID_CONFIG;
        raises(BufPool.PoolError, invalid, () => new BufPool.Pool({buffer_size: 64, max_memory: 63}));
        raises(BufPool.PoolError, invalid, () => new BufPool.Pool({buffer_size: 0}));
        raises(BufPool.PoolError, invalid, () => BufPool.Pool.new(0, 1));
        raises(BufPool.PoolError, invalid, () => new BufPool.Pool({buffer_size: 24, alignment: 16}));
        assert(new BufPool.Pool({buffer_size: 48, alignment: 16}).alignment === 16);
        assert(new BufPool.Pool().max_memory === Number.MAX_SAFE_INTEGER);
        assert(BufPool.POOL_UNLIMITED === Number.MAX_SAFE_INTEGER);
        for (const bad of [-1, 2 ** 64, 'many', 1.5, null, NaN])
            refuses(() => new BufPool.Pool({buffer_size: bad}));
    },

    'errors': () => {
        const pool = newPool(8);
        const {INVALID_COUNT, TOO_LARGE, OUT_OF_RANGE, CLOSED} = BufPool.PoolError;
        const kinds = [n => pool.allocate(n), n => pool.try_allocate(n), n => pool.allocate_timeout(n, 1000)];
        for (const allocate of kinds) {
            raises(BufPool.PoolError, INVALID_COUNT, () => allocate(0));
            raises(BufPool.PoolError, INVALID_COUNT, () => allocate(65536));
            raises(BufPool.PoolError, TOO_LARGE, () => allocate(9));
            for (const bad of [-1, 2 ** 64, '8', null, undefined, 1.5, NaN, [], pool])
                refuses(() => allocate(bad));
        }
        const a = pool.allocate(8);
        raises(Gio.IOErrorEnum, Gio.IOErrorEnum.WOULD_BLOCK, () => pool.try_allocate(1));
        raises(Gio.IOErrorEnum, Gio.IOErrorEnum.WOULD_BLOCK, () => pool.allocate(1));
        raises(Gio.IOErrorEnum, Gio.IOErrorEnum.TIMED_OUT, () => pool.allocate_timeout(1, 1000));
        const cancelled = new Gio.Cancellable();
        cancelled.cancel();
        raises(Gio.IOErrorEnum, Gio.IOErrorEnum.CANCELLED, () => pool.allocate(1, cancelled));
        raises(BufPool.PoolError, OUT_OF_RANGE, () => a.fill(125, new Uint8Array(4)));
        raises(BufPool.PoolError, OUT_OF_RANGE, () => a.extract(0, 129));
        pool.close();
        raises(BufPool.PoolError, CLOSED, () => pool.allocate(1));
        a.release();
    },

    'out of range': () => {
        const a = newPool(8).allocate(8);
        assert(a.get_buffer_bytes(7).get_size() === 16);
        const error = refuses(() => a.get_buffer_bytes(8), RangeError);
        assert(error.message === 'buffer index 8 is out of range 0 to 7', error.message);
        for (const bad of [-1, 1.5, 2 ** 64, NaN, '0', null, undefined])
            refuses(() => a.get_buffer_bytes(bad), TypeError);
        a.release();
        assert(a.get_buffer_bytes(8) === null);
        for (const name of ['get_data', 'get_first', 'get_buffer'])
            assert(a[name] === undefined, name);
    },

    'numbers that are none': () => {
        const pool = newPool(8);
        const a = pool.allocate(8);
        for (const bad of [-1, 1.5, 2 ** 64, NaN, '8', null, {}]) {
            refuses(() => {
                pool.max_memory = bad;
            }, TypeError);
            refuses(() => {
                pool.maxMemory = bad;
            }, TypeError);
            refuses(() => pool.set_max_memory(bad), TypeError);
            // -1 is no limit.
            if (bad !== -1) {
                refuses(() => pool.drain_timeout(bad), TypeError);
                refuses(() => pool.allocate_timeout(1, bad), TypeError);
            }
            refuses(() => BufPool.Pool.new(16, bad), TypeError);
            refuses(() => new BufPool.Pool({'max-memory': bad}), TypeError);
            refuses(() => new BufPool.Pool({maxMemory: bad}), TypeError);
            refuses(() => a.fill(bad, new Uint8Array(1)), TypeError);
            refuses(() => a.extract(0, bad), TypeError);
            refuses(() => a.fill(0, [bad]), TypeError);
        }
        pool.max_memory = 256;
        assert(pool.max_memory === 256 && pool.maxMemory === 256);
        a.release();
    },

    'draining does not wait for this thread': () => {
        const pool = newPool(1);
        let a = pool.allocate(1);
        raises(Gio.IOErrorEnum, Gio.IOErrorEnum.TIMED_OUT, () => pool.drain(null));
        raises(Gio.IOErrorEnum, Gio.IOErrorEnum.TIMED_OUT, () => pool.drain_timeout(1000, null));
        a.release();
        assert(pool.drain(null) && pool.drain_timeout(0, null));
        a = pool.allocate(1);
        a = null;
        assert(pool.drain(null));
    },

    'results are fetched once': async () => {
        const [pool, other] = [newPool(1), newPool(1)];
        const result = await new Promise(resolve =>
            pool.allocate_async(1, GLib.PRIORITY_DEFAULT, null, (_, task) => resolve(task)));
        refuses(() => other.allocate_finish(result), TypeError);
        refuses(() => pool.drain_finish(result), TypeError);
        assert(pool.allocate_finish(result).get_length() === 1);
        refuses(() => pool.allocate_finish(result), TypeError);
        refuses(() => pool.allocate_pinned_finish(result), TypeError);
        refuses(() => pool.allocate_finish(Gio.Task.new(pool, null, null)), TypeError);
    },

    'release': () => {
        const pool = newPool(1);
        const a = pool.allocate(1);
        const view = a.get_bytes();
        a.release();
        a.release();
        assert(a.is_released() && a.get_length() === 0 && a.get_bytes() === null);
        raises(BufPool.PoolError, BufPool.PoolError.RELEASED, () => a.fill(0, new Uint8Array(1)));
        assert([...a].length === 0 && view.get_size() === 16);
        assert(a.get_data === undefined);
    },

    '100,000 with release': () => {
        const pool = newPool(4);
        for (let i = 0; i < 100000; i++) {
            const a = pool.allocate(2);
            a.release();
        }
    },

    // Each time the budget is out, the collector runs, which takes a millisecond or two: so with fewer
    // buffers it would do, but take long.
    '100,000 without release': () => {
        const pool = newPool(64);
        for (let i = 0; i < 100000; i++)
            pool.allocate(2);
    },

    'copies that are released in one holder': () => {
        const pool = newPool(1);
        const holder = new Holder();
        const held = [pool.allocate(1)];
        holder.connect('passed', (_, allocation) => held.push(allocation));
        holder.emit('passed', held[0]);
        holder.allocation = held[0];
        holder.emit('passed', new BufPool.PoolAllocation(held[0]));
        held.push(new BufPool.PoolAllocation(held[1]));
        assert(held.length === 4 && new Set(held).size > 1);
        held[0].fill(0, [77]);
        let view = held[1].get_bytes();
        held[3].release();
        for (const allocation of held) {
            assert(allocation.is_released() && allocation.get_length() === 0 && allocation.get_bytes() === null);
            raises(BufPool.PoolError, BufPool.PoolError.RELEASED, () => allocation.fill(0, [1]));
            raises(BufPool.PoolError, BufPool.PoolError.RELEASED, () => allocation.extract(0, 1));
            allocation.release();
        }
        assert(view.toArray()[0] === 77 && pool.allocated_memory === 16);
        view = null;
        System.gc();
        assert(pool.allocated_memory === 0 && pool.active_allocations === 0);
        pool.allocate(1).release();
    },

    'many copies': () => {
        const pool = newPool(1);
        let a = pool.allocate(1);
        for (let i = 0; i < 1000; i++)
            a = new BufPool.PoolAllocation(a);
        System.gc();
        assert(pool.allocated_memory === 16 && a.get_length() === 1);
        a.release();
        System.gc();
        assert(pool.allocated_memory === 0 && pool.active_allocations === 0);
        pool.allocate(1).release();
    },

    'promises': async () => {
        const pool = newPool(1);
        const a = await pool.allocate_async(1, GLib.PRIORITY_DEFAULT, null);
        const waiting = pool.allocate_async(1, GLib.PRIORITY_DEFAULT, null);
        assert(pool.waiting === 1);
        a.release();
        const b = await waiting;
        const drained = pool.drain_async(GLib.PRIORITY_DEFAULT, null);
        b.release();
        assert(await drained);
    },

    'garbage does not keep promises waiting': async () => {
        const pool = newPool(1);
        (() => pool.allocate(1))();
        const a = await pool.allocate_async(1, GLib.PRIORITY_DEFAULT, null);
        a.release();
        (() => pool.allocate(1))();
        assert(await pool.drain_async(GLib.PRIORITY_DEFAULT, null));
    },

    'streams': async () => {
        const pool = newPool(1);
        const a = pool.allocate(1);
        const bytes = new GLib.Bytes(new Uint8Array([1, 2, 3, 4, 5]));
        const input = Gio.MemoryInputStream.new_from_bytes(bytes);
        const output = Gio.MemoryOutputStream.new_resizable();
        const read = await a.fill_from_stream_async(input, 0, 16, GLib.PRIORITY_DEFAULT, null);
        assert(read === 5, `${read}`);
        assert(await a.write_to_stream_async(output, 1, 4, GLib.PRIORITY_DEFAULT, null) === 4);
        const refused = await a.fill_from_stream_async(input, -1, 16, GLib.PRIORITY_DEFAULT, null).catch(e => e);
        assert(refused instanceof TypeError, `${refused}`);
        output.close(null);
        assert([...output.steal_as_bytes().toArray()].join() === '2,3,4,5');
        a.release();
    },
};

async function main() {
    let number = 0, failed = 0;
    print(`1..${Object.keys(TESTS).length}`);
    for (const [name, func] of Object.entries(TESTS)) {
        number++;
        try {
            await func(); // eslint-disable-line no-await-in-loop
            print(`ok ${number} ${name}`);
        } catch (error) {
            failed++;
            print(`# ${error} ${error.stack}`.trim().replace(/\n/g, '\n# '));
            print(`not ok ${number} ${name}`);
        }
    }
    return failed;
}

const loop = GLib.MainLoop.new(null, false);
let status = 1;
main().then(failed => {
    status = failed > 0 ? 1 : 0;
    loop.quit();
});
loop.run();
System.exit(status);
