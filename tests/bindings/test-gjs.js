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

    'invalid numbers are refused': () => {
        const pool = newPool(8);
        const a = pool.allocate(8);
        for (const bad of [-1, 1.5, 2 ** 64, NaN, '8', null, {}]) {
            refuses(() => {
                pool.max_memory = bad;
            }, TypeError);
            refuses(() => {
                pool.maxMemory = bad;
            }, TypeError);
            refuses(() => {
                pool['max-memory'] = bad;
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

    'fill copies all bytes of any kind of data': () => {
        const a = newPool(4).allocate(4);
        const floats = new Float32Array([0.5, -0.25, 1]);
        const bytes = new Uint8Array(floats.buffer);
        const sources = {
            'Uint8Array': bytes,
            'Float32Array': floats,
            'ArrayBuffer': floats.buffer,
            'DataView': new DataView(floats.buffer),
            'GLib.Bytes': new GLib.Bytes(bytes),
            'array': [...bytes],
        };
        for (const [name, data] of Object.entries(sources)) {
            a.fill(0, new Uint8Array(64).fill(9));
            assert(a.fill(2, data), name);
            const result = [...a.extract(0, 16).toArray()].join();
            assert(result === [9, 9, ...bytes, 9, 9].join(), `${name}: ${result}`);
        }
        for (const Kind of [Int8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array,
            Float64Array, BigInt64Array, BigUint64Array]) {
            const data = new Kind(4);
            new Uint8Array(data.buffer).set([1, 2, 3, 4]);
            a.fill(0, new Uint8Array(64).fill(9));
            a.fill(0, data.subarray(0, 2));
            const size = 2 * Kind.BYTES_PER_ELEMENT;
            const expected = [...new Uint8Array(data.buffer, 0, size), ...new Uint8Array(64 - size).fill(9)];
            assert([...a.extract(0, 64).toArray()].join() === expected.join(), Kind.name);
        }
        for (const bad of ['text', 5, null, undefined, {}, [256], [-1], [1.5], ['1'], {length: 1, 0: 1}])
            refuses(() => a.fill(0, bad), TypeError);
        assert(a.fill(64, new ArrayBuffer(0)) && a.fill(64, []));
        a.release();
    },

    'writing to what iteration yields is lost': () => {
        const a = newPool(2).allocate(2);
        a.fill(0, new Uint8Array(32).fill(1));
        for (const copy of a)
            copy[0] = 2;
        assert(a.extract(0, 32).toArray().every(byte => byte === 1));
        a.release();
    },

    'errors name the parameter': async () => {
        const pool = newPool(1);
        const a = pool.allocate(1);
        const message = func => refuses(func, TypeError).message;
        assert(message(() => pool.allocate(Infinity)) === 'n_buffers must be an integer, not Infinity');
        assert(message(() => pool.allocate(1.5)) === 'n_buffers must be an integer, not 1.5');
        assert(message(() => pool.allocate(2 ** 64)).startsWith('n_buffers must be an integer, not 1844'));
        assert(message(() => pool.allocate(-1)) === 'n_buffers must be a non-negative integer, not -1');
        assert(message(() => pool.allocate(1, 'now')).includes('cancellable'));
        assert(message(() => pool.trim(-1)).includes('target'));
        assert(message(() => pool.set_max_cached_memory(-2)).includes('max_cached_memory'));
        assert(message(() => new BufPool.Pool({max_cached_memory: 0.5})).includes('max_cached_memory'));
        assert(message(() => {
            pool.maxCachedMemory = Infinity;
        }).includes('max_cached_memory'));
        assert(message(() => a.fill_from_stream(null, 0, 1)).includes('stream must be a Gio.InputStream'));
        for (const bad of [[-1], [1.5], ['1'], [], [1, 'low'], [1, 0, 'now']])
            assert(await pool.allocate_async(...bad).catch(error => error) instanceof TypeError, `${bad}`);
        pool.max_cached_memory = -1;
        a.release();
    },

    'a refusal does not collect garbage': () => {
        const {collector} = imports.overrides.BufPool;
        const pool = newPool(1);
        const a = pool.allocate(1);
        let n = 0, now = 1e6;
        const saved = {...collector};
        const collect = () => {
            n++;
            now += 10;
        };
        Object.assign(collector, {collect, now: () => now, at: now});
        try {
            const begin = now;
            for (let i = 0; i < 100000; i++) {
                refuses(() => pool.allocate(1), GLib.Error);
                now += 0.1;
            }
            const share = n * 10 / (now - begin);
            assert(n > 10 && share < 0.05, `${n} collections, ${share}`);
        } finally {
            Object.assign(collector, saved);
        }
        a.release();
    },

    'defaults': async () => {
        const pool = newPool(2);
        const a = await pool.allocate_async(2);
        const waiting = pool.allocate_async(1, GLib.PRIORITY_LOW);
        const cancellable = new Gio.Cancellable();
        const cancelled = pool.allocate_async(1, GLib.PRIORITY_LOW, cancellable).catch(error => error);
        cancellable.cancel();
        assert((await cancelled).matches(Gio.IOErrorEnum, Gio.IOErrorEnum.CANCELLED));
        assert(pool.waiting === 1);
        a.release();
        (await waiting).release();
        assert(await pool.drain_async());
    },

    'garbage that arises late is found': async () => {
        const pool = newPool(1);
        const held = [pool.allocate(1)];
        const {collector} = imports.overrides.BufPool;
        const {collect} = collector;
        let collections = 0;
        collector.collect = () => {
            collect();
            collections++;
        };
        GLib.timeout_add(GLib.PRIORITY_DEFAULT, 1, () => {
            if (collections === 0)
                return GLib.SOURCE_CONTINUE;
            held.pop();
            return GLib.SOURCE_REMOVE;
        });
        const a = await pool.allocate_async(1);
        a.release();
        assert(collections > 1, `${collections}`);
        collector.collect = collect;
    },

    'budgets and permits': async () => {
        const budget = new BufPool.Budget({max_memory: 100, name: 'shared'});
        const permit = budget.acquire(60);
        assert(permit.get_size() === 60 && budget.allocated_memory === 60 && budget.name === 'shared');
        raises(Gio.IOErrorEnum, Gio.IOErrorEnum.WOULD_BLOCK, () => budget.acquire(60));
        raises(Gio.IOErrorEnum, Gio.IOErrorEnum.TIMED_OUT, () => budget.acquire_full(60, 1000));
        raises(BufPool.PoolError, BufPool.PoolError.TOO_LARGE, () => budget.acquire(101));
        const waiting = budget.acquire_async(60);
        const cancellable = new Gio.Cancellable();
        const cancelled = budget.acquire_async(60, GLib.PRIORITY_LOW, cancellable).catch(error => error);
        assert(budget.waiting === 2);
        cancellable.cancel();
        assert((await cancelled).matches(Gio.IOErrorEnum, Gio.IOErrorEnum.CANCELLED));
        permit.release();
        const second = await waiting;
        assert(second.shrink(10) && budget.allocated_memory === 10);
        second.release();
        (() => budget.acquire(100))();
        (await budget.acquire_async(100)).release();

        const fatal = GLib.log_set_always_fatal(GLib.LogLevelFlags.LEVEL_ERROR);
        budget.acquire_async(100, 0, null, () => {
            throw new Error('an intentional bug of the test');
        });
        (await budget.acquire_async(100)).release();
        GLib.log_set_always_fatal(fatal);

        for (const bad of [-1, 1.5, Infinity, 2 ** 64, '1', null]) {
            refuses(() => budget.acquire(bad), TypeError);
            refuses(() => BufPool.Budget.new(bad), TypeError);
            refuses(() => {
                budget.reserved_memory = bad;
            }, TypeError);
        }
        refuses(() => BufPool.Budget.new_child(null, 1), TypeError);
        for (const bad of [null, undefined, 1, permit])
            refuses(() => BufPool.Pool.new_with_budget(16, bad), TypeError);
        assert(BufPool.Budget.new_child(budget, 50).parent === budget);
    },

    'full requests': async () => {
        const budget = BufPool.Budget.new(96);
        const pool = BufPool.Pool.new_with_budget(16, budget);
        const a = pool.allocate_full(1, 8);
        assert(a.get_length() === 6 && budget.allocated_memory === 96 && pool.budget === budget);
        raises(Gio.IOErrorEnum, Gio.IOErrorEnum.TIMED_OUT, () => pool.allocate_full(1, 2));
        raises(Gio.IOErrorEnum, Gio.IOErrorEnum.TIMED_OUT, () => pool.allocate_full(1, 2, 1000));
        const timedOut = await pool.allocate_full_async(1, 2, 1000).catch(error => error);
        assert(timedOut.matches(Gio.IOErrorEnum, Gio.IOErrorEnum.TIMED_OUT));
        a.release();
        const b = await pool.allocate_full_async(1, 2);
        assert(b.get_length() === 2 && b.shrink(1) && b.get_length() === 1);
        assert(await pool.allocate_full_async(1, 1.5).catch(error => error) instanceof TypeError);
        b.release();
    },

    'a callback that throws loses nothing': async () => {
        const pool = newPool(1);
        // GJS logs it.
        const fatal = GLib.log_set_always_fatal(GLib.LogLevelFlags.LEVEL_ERROR);
        pool.allocate_async(1, 0, null, () => {
            throw new Error('an intentional bug of the test');
        });
        (await pool.allocate_async(1)).release();
        GLib.log_set_always_fatal(fatal);
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

    // Each time the limit is reached, the collector runs, which takes a millisecond or two. Fewer buffers
    // would work, too, but take longer.
    '100,000 without release': () => {
        const pool = newPool(64);
        for (let i = 0; i < 100000; i++)
            pool.allocate(2);
    },

    'a release in one holder': () => {
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
        assert(await a.write_to_stream_async(output, 1, 4) === 4);
        assert(a.fill_from_stream(Gio.MemoryInputStream.new_from_bytes(bytes), 0, 16) === 5);
        assert(a.write_to_stream(Gio.MemoryOutputStream.new_resizable(), 0, 5) === 5);
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
        // Independent of what the last test holds. And GJS drops callbacks while it collects incrementally.
        System.gc();
        imports.overrides.BufPool.collector.credit = imports.overrides.BufPool.collector.ADVANCE;
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
