// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Calls everything that introspection finds in BufPool from JavaScript, with random arguments: no call may
// crash, cause a critical warning, or hang. Usage: gjs fuzz-gjs.js [SEEDS [CALLS [FIRST-SEED]]]
//
// Each seed runs in a separate process. A call waits only if it has a timeout, so timeouts are short.

const {BufPool, Gio, GLib, GObject} = imports.gi;
const System = imports.system;

const ENOUGH_CALLS = 30000; // enough for nearly each call to succeed once
const MORE_SEEDS = 6; // for the calls that did not
const MOST_VALUES = 60;
const MOST_BYTES = 2 ** 20; // of an allocation that the fuzz test keeps
const MOST_KIBIBYTES = 4000000; // of the process
const LONGEST_WAIT = 1000; // microseconds
const PROGRAM = imports.system.programInvocationName;

imports.searchPath.unshift(GLib.path_get_dirname(PROGRAM));
const {allInfos} = imports.introspected;

const SMALL = [0, 1, 2, 3, 7, 8, 16];
const NUMBERS = [100, 4096, 65535, 65536, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 63, 2 ** 64, 2 ** 70, -(2 ** 31), -(2 ** 63), -1, -5,
    2 ** 31 - 1, 2 ** 32 - 1, 2 ** 53 - 1, 2 ** 53 + 2, -0, 0.5, 1.5, -0.1, 1e300, NaN, Infinity, -Infinity];
const OTHERS = [undefined, null, true, false, '', 'text', '8', '\0', '\ud800', 7n, 2n ** 64n, Symbol('symbol'), [],
    [1, 2], [300], ['x'], [undefined], {}, {length: 5}, {valueOf: () => 3}, new Uint8Array(9), new Float64Array(3),
    new ArrayBuffer(5), new DataView(new ArrayBuffer(5)), new Date(0), /x/, () => 1, class {}, Gio, BufPool.Pool,
    BufPool.PoolAllocation, BufPool.PoolAllocation.prototype, BufPool.Pool.prototype, new Map(), Promise.resolve(1)];

const FINISHING = [BufPool.Pool, BufPool.Budget, BufPool.PoolAllocation, BufPool.Reader];

/* The generator of Numerical Recipes: the engine's own one accepts no seed. */
class Random {
    constructor(seed) {
        this._state = seed >>> 0;
    }

    number() {
        this._state = Math.imul(this._state, 1664525) + 1013904223 >>> 0;
        return this._state / 2 ** 32;
    }

    below(limit) {
        return Math.floor(this.number() * limit);
    }

    choice(list) {
        return list[this.below(list.length)];
    }
}

/* A call that waits without an override waits for at most this long, and always has a limit. */
function shorten(value) {
    return typeof value === 'number' ? Math.min(Math.max(value, 0), LONGEST_WAIT) : value;
}

function methodCall(container, {name, isMethod, parameters}) {
    return {
        name: `${container.$gtype?.name ?? container.name}.${name}`,
        method: name,
        parameters: parameters.filter(parameter => parameter !== 'user_data'),
        container: isMethod ? container : null,
        // Calls that an override hides cannot succeed.
        introspected: (isMethod ? container.prototype : container)[name] !== undefined,
        run: isMethod
            ? (self, ...values) => container.prototype[name].call(self, ...values)
            : (...values) => container[name](...values),
    };
}

function propertyCalls(container, {name, isSettable}) {
    const spelled = name.replace(/-/g, '_');
    const second = {Pool: 'buffer_size', Budget: 'max_waiting'}[container.name] ?? 'n_buffers';
    const call = (title, parameters, run, owner = container) => ({name: title, parameters, run, container: owner});
    const calls = [
        call(`get ${name}`, [], self => [self[name], self[spelled]]),
        call(`construct with ${name}`, ['value', 'value'],
            (value, other) => new container({[second]: other, [spelled]: value}), null), // eslint-disable-line new-cap
    ];
    // Not set_property(), where any mistake is a critical warning.
    if (isSettable) {
        calls.push(call(`set ${name}`, ['value'], (self, value) => {
            self[spelled] = value;
        }));
    }
    return calls;
}

/* Everything in the namespace that can be called or set. */
function findCalls() {
    const calls = [{name: 'iterate', parameters: [], container: BufPool.PoolAllocation, run: self => [...self]}];

    for (const {name, methods, properties} of allInfos()) {
        const thing = BufPool[name];
        if (typeof thing === 'function') {
            calls.push({name, parameters: ['value'], run: (...p) => thing(...p)});
            const construct = (...p) => new thing(...p); // eslint-disable-line new-cap
            calls.push({name: `new ${name}`, parameters: ['value'], run: construct});
        }
        calls.push(...methods.map(method => methodCall(thing, method)));
        calls.push(...properties.flatMap(property => propertyCalls(thing, property)));
    }
    return calls;
}

function describe(value) {
    if (typeof value === 'object' && value !== null)
        return value instanceof GObject.Object ? value.constructor.$gtype.name : value.constructor?.name;
    return typeof value === 'function' ? 'function' : JSON.stringify(`${String(value)}`);
}

class Fuzz {
    constructor(seed, log) {
        this._random = new Random(seed);
        this._log = log;
        this._values = [];
        this._results = [];
        this._owners = []; // of the current call
        this.calls = findCalls();
        this.succeeded = new Set();
    }

    _number() {
        return this._random.choice(this._random.number() < 0.2 ? NUMBERS : SMALL);
    }

    _pool() {
        const kind = this._random.below(5);
        if (kind === 0)
            return GObject.Object.new_with_properties(BufPool.Pool.$gtype, [], []);
        const size = this._random.choice([1, 16, 64, 4096]);
        const max_memory = size * this._random.choice([1, 8, 5000]);
        const budget = this._random.number() < 0.3 ? this._budget() : null;
        const pool = new BufPool.Pool({buffer_size: size, max_memory, budget});
        if (kind === 1)
            pool.close();
        return pool;
    }

    /* Some are in one tree, and some have a reserve, or allow no waiting. */
    _budget() {
        const kept = this._values.filter(value => value instanceof BufPool.Budget);
        return new BufPool.Budget({
            max_memory: this._random.choice([0, 1, 100, 4096, 100000]),
            parent: this._random.choice([null, ...kept]),
            reserved_memory: this._random.choice([0, 0, 0, 50]),
            max_waiting: this._random.choice([-1, -1, 0, 1]),
        });
    }

    _permit() {
        const permit = BufPool.Budget.new(100).try_acquire(this._random.choice([0, 1, 100]));
        if (this._random.number() < 0.2)
            permit.release();
        return permit;
    }

    _allocation() {
        const allocation = BufPool.Pool.new(16, 128).try_allocate(1 + this._random.below(8));
        if (this._random.number() < 0.2)
            allocation.release();
        return this._random.number() < 0.2 ? new BufPool.PoolAllocation(allocation) : allocation;
    }

    _stream() {
        const stream = this._random.choice([
            () => Gio.MemoryInputStream.new_from_bytes(new GLib.Bytes(new Uint8Array(this._random.below(200)))),
            () => Gio.MemoryOutputStream.new_resizable(),
            () => Gio.MemoryOutputStream.new_resizable(),
            () => Gio.File.new_for_path(PROGRAM).read(null), // a stream that ends, because a splice cannot be interrupted
        ])();
        if (this._random.number() < 0.1)
            stream.close(null);
        return stream;
    }

    _reader() {
        const bytes = new GLib.Bytes(new Uint8Array(this._random.below(200)));
        return new BufPool.Reader({
            stream: Gio.MemoryInputStream.new_from_bytes(bytes),
            pool: new BufPool.Pool({buffer_size: 16, max_memory: this._random.choice([16, 128])}),
            n_buffers: 1,
            read_ahead: this._random.below(3),
        });
    }

    _cancellable() {
        const cancellable = new Gio.Cancellable();
        if (this._random.number() < 0.5)
            cancellable.cancel();
        return cancellable;
    }

    _callback() {
        if (this._random.number() < 0.1)
            return () => {};

        const owners = this._owners;
        return (_, result) => {
            this._results.push(result);
            const owner = this._random.choice([this._value(), ...owners, ...owners, ...owners]);
            // Streams of GIO have functions of the same names, where the result of another operation is a
            // critical warning.
            if (!FINISHING.some(kind => owner instanceof kind))
                return;
            // In both directions, because two of them fetch the same results.
            const finishers = this.calls.filter(call => call.method?.endsWith('_finish'));
            for (const {name, method} of this._random.below(2) ? finishers : finishers.reverse()) {
                try {
                    this._keep(owner[method](result));
                    if (name.startsWith(owner.constructor.$gtype.name))
                        this.succeeded.add(name);
                } catch (error) {
                    continue;
                }
            }
        };
    }

    _result() {
        if (this._results.length > 0 && this._random.number() < 0.5)
            return this._random.choice(this._results);
        return Gio.Task.new(this._random.choice([null, this._pool()]), null, null);
    }

    /* Any value: something that an earlier call returned, or something new. */
    _value() {
        const kind = this._random.number();
        if (this._values.length > 0 && kind < 0.3)
            return this._random.choice(this._values);
        if (kind < 0.5)
            return this._number();
        if (kind < 0.7)
            return this._random.choice(OTHERS);
        return this[this._random.choice(['_pool', '_budget', '_permit', '_allocation', '_reader', '_stream', '_cancellable', '_callback', '_result'])]();
    }

    /* A possible value for a parameter of this name; the names come from introspection. */
    _fitting(name) {
        if (this._random.number() < 0.15)
            return this._value();
        switch (name) {
        case 'cancellable': return this._random.choice([null, this._cancellable()]);
        case 'callback': return this._callback();
        case 'result': return this._result();
        case 'stream': return this._stream();
        case 'budget': return this._random.choice([null, this._budget(), this._budget()]);
        case 'parent': return this._budget();
        case 'pool': return this._pool();
        case 'target': return Gio.MemoryOutputStream.new_resizable();
        case 'flags': return this._random.below(4);
        case 'data': return new Uint8Array(this._random.below(100));
        case 'io_priority': return this._random.choice([0, 100, -100]);
        default: return this._number();
        }
    }

    _owner(container) {
        if (this._random.number() < 0.02)
            return this._value();
        const kept = this._values.filter(value => value instanceof container);
        if (kept.length > 0 && this._random.number() < 0.7)
            return this._random.choice(kept);
        switch (container) {
        case BufPool.Pool: return this._pool();
        case BufPool.Budget: return this._budget();
        case BufPool.Permit: return this._permit();
        case BufPool.Reader: return this._reader();
        default: return this._allocation();
        }
    }

    _keep(value) {
        if (value instanceof BufPool.PoolAllocation && value.get_allocated_bytes() > MOST_BYTES)
            return;
        if (value instanceof Promise)
            value.then(allocation => this._keep(allocation), () => {});
        this._values.push(value);
        if (this._values.length > MOST_VALUES)
            this._values.splice(this._random.below(MOST_VALUES), 1);
    }

    _arguments(call) {
        this._owners = [];
        const values = call.parameters.map(name => {
            const value = this._fitting(name);
            return name === 'timeout_us' ? shorten(value) : value;
        });
        const change = this._random.number();
        if (change < 0.1)
            values.push(this._value());
        else if (change < 0.2)
            values.pop();
        if (call.container)
            this._owners.push(this._owner(call.container));
        return [...this._owners, ...values];
    }

    step(number) {
        const call = this._random.choice(this.calls);
        const values = this._arguments(call);
        this._log.seek(0, GLib.SeekType.SET, null);
        this._log.truncate(0, null);
        this._log.get_output_stream().write_all(`${number}: ${call.name} (${values.map(describe)})`, null);
        try {
            this._keep(call.run(...values));
            this.succeeded.add(call.name);
        } catch (error) {
            // The expected errors.
        }
        this._results.splice(0, this._results.length - 5);
        for (let i = 0; i < 3; i++)
            GLib.MainContext.default().iteration(false);
    }
}

function runChild(seed, nCalls, path) {
    // Not every critical warning: GJS itself logs one when a callback throws.
    for (const domain of ['BufPool', 'GLib', 'GLib-GObject', 'GLib-GIO', 'GModule'])
        GLib.log_set_fatal_mask(domain, GLib.LogLevelFlags.LEVEL_CRITICAL | GLib.LogLevelFlags.LEVEL_ERROR);

    const fuzz = new Fuzz(seed, Gio.File.new_for_path(path).open_readwrite(null));

    for (let i = 0; i < nCalls; i++)
        fuzz.step(i);
    const never = fuzz.calls.filter(call => call.introspected && !fuzz.succeeded.has(call.name));
    print(never.map(call => call.name).join(' '));
}

/* Returns the errors that were found, and the calls that never succeeded. */
function runSeed(seed, nCalls) {
    const [file, stream] = Gio.File.new_tmp('fuzz-gjs-XXXXXX');
    stream.close(null);
    const launcher = Gio.SubprocessLauncher.new(Gio.SubprocessFlags.STDOUT_PIPE | Gio.SubprocessFlags.STDERR_PIPE);
    launcher.unsetenv('G_DEBUG');
    // A random allocation may be large: its memory must not be accessed, and the process has a limit.
    launcher.unsetenv('MALLOC_PERTURB_');
    const process = launcher.spawnv(['sh', '-c', `ulimit -v ${MOST_KIBIBYTES}; exec "$@"`, 'sh',
        'timeout', '--signal=KILL', `${60 + Math.floor(nCalls / 100)}`, 'gjs', PROGRAM,
        '--child', `${seed}`, `${nCalls}`, file.get_path()]);
    const [, output, errors] = process.communicate(null, null);
    const [, last] = file.load_contents(null);
    file.delete(null);
    const text = new TextDecoder();
    if (process.get_successful())
        return {never: text.decode(output.toArray()).trim().split(' ')};

    return {
        never: [],
        problem: `seed ${seed}, status ${process.get_status()}\nlast call: ${text.decode(last)}\n${
            text.decode(errors.toArray()).slice(-2000)}`,
    };
}

function main(nSeeds = 2, nCalls = ENOUGH_CALLS, firstSeed = 1) {
    const seeds = [];
    const run = () => {
        const seed = runSeed(firstSeed + seeds.length, nCalls);
        seeds.push(seed);
        if (seed.problem)
            print(`# ${seed.problem.replace(/\n/g, '\n# ')}`);
        return seed.problem ? 'not ok' : 'ok';
    };
    // Arguments that no call accepts would only test the binding.
    const findNever = () => seeds[0].never.filter(name => name && seeds.every(seed => seed.never.includes(name)));

    print(`1..${nSeeds + 1}`);
    for (let i = 0; i < nSeeds; i++)
        print(`${run()} ${i + 1} ${nCalls} random calls`);

    // What succeeds also depends on time, so a call that was unlucky gets another chance.
    while (nCalls >= ENOUGH_CALLS && findNever().length > 0 && seeds.length < nSeeds + MORE_SEEDS)
        run();
    const never = nCalls >= ENOUGH_CALLS ? findNever() : [];
    if (never.length > 0)
        print(`# never succeeded: ${never.join(' ')}`);
    const succeeded = never.length === 0 && !seeds.slice(nSeeds).some(seed => seed.problem);
    print(`${succeeded ? 'ok' : 'not ok'} ${nSeeds + 1} each call succeeded`);
    return succeeded && seeds.every(seed => !seed.problem) ? 0 : 1;
}

if (ARGV[0] === '--child')
    runChild(Number(ARGV[1]), Number(ARGV[2]), ARGV[3]);
else
    System.exit(main(...ARGV.map(Number)));
