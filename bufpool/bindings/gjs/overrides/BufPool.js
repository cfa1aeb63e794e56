/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes BufPool idiomatic in JavaScript: promises, checked construction, iteration, and a synchronous
 * allocate() that does not wait for memory that only this thread could free. */

/* exported _init, collector */

const {Gio, GLib} = imports.gi;
const System = imports.system;

/* GJS converts Infinity, fractions and numbers that are too large to 0 or another number. */
function integer(value, name, least = 0) {
    if (!Number.isSafeInteger(value))
        throw new TypeError(`${name} must be an integer, not ${value}`);
    if (value < least)
        throw new TypeError(`${name} must be ${least === 0 ? 'a non-negative integer' : `at least ${least}`}, not ${value}`);
    return value;
}

function checkCancellable(cancellable) {
    if (cancellable !== null && !(cancellable instanceof Gio.Cancellable))
        throw new TypeError(`cancellable must be a Gio.Cancellable or null, not ${cancellable}`);
    return cancellable;
}

/* In microseconds; a negative value means no limit. */
function checkTimeout(timeout_us) {
    return integer(timeout_us, 'timeout_us', -Number.MAX_SAFE_INTEGER);
}

function checkPriority(priority) {
    if (integer(priority, 'io_priority', -(2 ** 31)) >= 2 ** 31)
        throw new TypeError(`io_priority must be less than 2^31, not ${priority}`);
    return priority;
}

/* All bytes of any buffer, view or GLib.Bytes. GJS would convert each number of an array to a byte. */
function bytesOf(data) {
    if (ArrayBuffer.isView(data))
        return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (data instanceof ArrayBuffer || globalThis.SharedArrayBuffer && data instanceof SharedArrayBuffer)
        return new Uint8Array(data);
    if (data instanceof GLib.Bytes)
        return data.toArray();
    if (Array.isArray(data) && data.every(byte => Number.isInteger(byte) && byte >= 0 && byte < 256))
        return Uint8Array.from(data);
    throw new TypeError(`data must be an ArrayBuffer, a view of one, a GLib.Bytes or an array of bytes, not ${data}`);
}

/* Garbage can hold the memory that a request waits for, and only a collection frees it. A collection takes time
 * in proportion to the live heap, so it is the last resort, and uses a bounded share of the time. A collection
 * that freed memory does not count, because the request needed it. */
var collector = {
    BRIEF: 5, // milliseconds that a request waits before the first collection
    INTERVAL: 100, // milliseconds until the next look after a collection that freed nothing
    SHARE: 0.03,
    ADVANCE: 100,
    credit: 100,
    at: 0,

    now: () => GLib.get_monotonic_time() / 1000,
    collect: () => System.gc(),

    /* Milliseconds until a collection is allowed. */
    getPause() {
        const now = this.now();
        this.credit = Math.min(this.credit + (now - this.at) * this.SHARE, this.ADVANCE);
        this.at = now;
        return this.credit > 0 ? 0 : Math.ceil(-this.credit / this.SHARE) + 1;
    },

    /* Collects if that is allowed. Returns whether this changed the result of progress(). */
    run(progress) {
        if (this.getPause() > 0)
            return false;

        const before = progress();
        const begin = this.now();
        this.collect();
        const helped = progress() !== before;
        if (!helped)
            this.credit -= this.now() - begin;
        return helped;
    },
};

/* A value that changes when memory of a pool or budget is freed, even if a waiter gets it immediately. */
function progressOf(source) {
    return () => `${source.get_allocated_memory()} ${source.get_waiting()}`;
}

/* Collects occasionally while requests of this program wait for a pool or budget. Counts the requests. */
const waits = new WeakMap();

function look(source) {
    let delay = collector.BRIEF;
    if (waits.get(source) === 0) {
        waits.delete(source);
        return;
    }
    if (!collector.run(progressOf(source)))
        delay = Math.max(collector.INTERVAL, collector.getPause());
    lookLater(source, delay);
}

function lookLater(source, delay) {
    GLib.timeout_add(GLib.PRIORITY_DEFAULT, delay, () => {
        look(source);
        return GLib.SOURCE_REMOVE;
    });
}

function beginToWait(source) {
    if (!waits.has(source))
        lookLater(source, collector.BRIEF);
    waits.set(source, (waits.get(source) ?? 0) + 1);
}

function endToWait(source) {
    waits.set(source, waits.get(source) - 1);
}

/* A program has one thread that runs JavaScript. While it waited, no memory that JavaScript holds could be
 * freed, and it would wait indefinitely. So this tries without waiting, collects garbage, and tries once
 * more. */
function collectBetween(source, code, firstTry, lastTry) {
    try {
        return firstTry();
    } catch (error) {
        if (!(error instanceof GLib.Error) || !error.matches(Gio.IOErrorEnum, code))
            throw error;
        if (!collector.run(progressOf(source)) && lastTry === firstTry)
            throw error;
    }
    return lastTry();
}

/* A result can be fetched only once, and only by its own operation. For GLib, anything else is a programming
 * error. */
const unfetched = new WeakMap();

function guardFinish(prototype, name, finish, convert) {
    prototype[`${name}_finish`] = function (result) {
        const operation = unfetched.get(result);
        if (operation?.name !== name || operation.owner !== this)
            throw new TypeError('the result belongs to another operation, or has already been fetched');
        unfetched.delete(result);
        return convert(finish.call(this, result));
    };
}

/* If a callback throws before it fetches its result, the result is freed, because nothing else can. */
function giveBack(owner, name, result) {
    if (!unfetched.has(result))
        return;
    try {
        owner[`${name}_finish`](result)?.release?.();
    } catch (error) {
        if (!(error instanceof GLib.Error))
            throw error;
    }
}

/* Replaces start(…, io_priority, cancellable, callback) and its finish function. Only the first nParameters are
 * required. Without a callback, the result is a promise. check() takes and returns the parameters. This does not
 * use Gio._promisify(), which finishes on the source object of the result; an allocation is not an object. */
function overrideAsync(prototype, name, nParameters, check, {mayWait = null, convert = value => value} = {}) {
    const {[`${name}_async`]: start, [`${name}_finish`]: finish} = prototype;
    guardFinish(prototype, name, finish, convert);

    const begin = (owner, parameters, whenDone) => {
        const [priority = GLib.PRIORITY_DEFAULT, cancellable = null] = parameters.splice(nParameters);
        const checked = [...check(...parameters), checkPriority(priority), checkCancellable(cancellable)];
        const waiting = mayWait?.call(owner, ...checked);

        start.call(owner, ...checked, (_, result) => {
            if (waiting)
                endToWait(owner);
            unfetched.set(result, {name, owner});
            try {
                whenDone(owner, result);
            } catch (error) {
                giveBack(owner, name, result);
                throw error;
            }
        });
        if (waiting)
            beginToWait(owner);
    };

    prototype[`${name}_async`] = function (...parameters) {
        if (typeof parameters[parameters.length - 1] === 'function')
            return begin(this, parameters, parameters.pop());

        return new Promise((resolve, reject) => begin(this, parameters, (_, result) => {
            try {
                resolve(this[`${name}_finish`](result));
            } catch (error) {
                reject(error);
            }
        }));
    };
}

/* Numbers are checked in every spelling of the property. */
function overrideProperty(prototype, name, least) {
    const {[`get_${name}`]: get, [`set_${name}`]: set} = prototype;
    const checkedSet = function (value) {
        set.call(this, integer(value, name, least));
    };
    prototype[`set_${name}`] = checkedSet;
    const spellings = [name, name.replaceAll('_', '-'), name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())];
    for (const spelling of spellings)
        Object.defineProperty(prototype, spelling, {get, set: checkedSet});
}

/* Common to pools and budgets. */
function overrideLimits(prototype) {
    overrideProperty(prototype, 'max_memory', 0);
    overrideProperty(prototype, 'reserved_memory', 0);
    overrideProperty(prototype, 'max_waiting', -1);
}

function checkProperties(properties) {
    for (const [name, value] of Object.entries(properties)) {
        if (/^(buffer.?size|max.?memory|reserved.?memory|alignment)$/i.test(name))
            integer(value, name);
        else if (/^max.?(cached.?memory|waiting)$/i.test(name))
            integer(value, name, -1);
    }
}

function checkCounts(least, most) {
    return [integer(least, 'min_buffers'), integer(most, 'max_buffers')];
}

function overrideWaiting(Pool) {
    const {WOULD_BLOCK, TIMED_OUT} = Gio.IOErrorEnum;
    const {allocate_timeout, allocate_full, try_allocate, drain_timeout} = Pool.prototype;

    Pool.prototype.try_allocate = function (count) {
        return try_allocate.call(this, integer(count, 'n_buffers'));
    };

    /* Fails instead of waiting. Use allocate_async() to wait. */
    Pool.prototype.allocate = function (count, cancellable = null) {
        checkCancellable(cancellable)?.set_error_if_cancelled();
        const attempt = () => this.try_allocate(count);
        return collectBetween(this, WOULD_BLOCK, attempt, attempt);
    };

    /* A negative value means no limit, but then this fails like allocate(). */
    Pool.prototype.allocate_timeout = function (count, timeout_us, cancellable = null) {
        if (checkTimeout(timeout_us) < 0)
            return this.allocate(count, cancellable);
        checkCancellable(cancellable)?.set_error_if_cancelled();
        return collectBetween(this, WOULD_BLOCK, () => this.try_allocate(count),
            () => allocate_timeout.call(this, count, timeout_us, cancellable));
    };

    Pool.prototype.allocate_full = function (least, most, timeout_us = -1, priority = GLib.PRIORITY_DEFAULT, cancellable = null) {
        const limit = checkTimeout(timeout_us) < 0 ? 0 : timeout_us;
        const counts = checkCounts(least, most);
        const parameters = [checkPriority(priority), checkCancellable(cancellable)];
        return collectBetween(this, TIMED_OUT, () => allocate_full.call(this, ...counts, 0, ...parameters),
            () => allocate_full.call(this, ...counts, limit, ...parameters));
    };

    Pool.prototype.drain_timeout = function (timeout_us, cancellable = null) {
        if (checkTimeout(timeout_us) < 0)
            return this.drain(cancellable);
        checkCancellable(cancellable);
        return collectBetween(this, TIMED_OUT, () => drain_timeout.call(this, 0, cancellable),
            () => drain_timeout.call(this, timeout_us, cancellable));
    };

    /* Fails instead of waiting. Use drain_async() to wait. Draining is rare, so the collection does not count. */
    Pool.prototype.drain = function (cancellable = null) {
        if (this.get_active_allocations() > 0)
            collector.collect();
        return drain_timeout.call(this, 0, checkCancellable(cancellable));
    };
}

function checkBudget(budget, name) {
    if (!(budget instanceof imports.gi.BufPool.Budget))
        throw new TypeError(`${name} must be a BufPool.Budget, not ${budget}`);
    return budget;
}

function overridePool(Pool) {
    const {_init, trim} = Pool.prototype;

    Pool.prototype._init = function (properties = {}) {
        checkProperties(properties);
        _init.call(this, properties);
        this.init(null);
    };
    Pool.new = (buffer_size, max_memory) => new Pool({buffer_size, max_memory});

    Pool.new_with_budget = (buffer_size, budget) => new Pool({buffer_size, budget: checkBudget(budget, 'budget')});
    overrideLimits(Pool.prototype);
    overrideProperty(Pool.prototype, 'max_cached_memory', -1);
    Pool.prototype.trim = function (target) {
        return trim.call(this, integer(target, 'target'));
    };

    overrideWaiting(Pool);
    const mayWait = function (count) {
        return count * this.get_buffer_size() > this.get_available_memory() || this.get_waiting() > 0;
    };
    overrideAsync(Pool.prototype, 'allocate', 1, count => [integer(count, 'n_buffers')], {mayWait});
    overrideAsync(Pool.prototype, 'allocate_full', 3,
        (least, most, timeout_us = -1) => [...checkCounts(least, most), checkTimeout(timeout_us)], {mayWait});
    // allocate_async() is the pinned request in C, whose own finish function is also visible.
    Pool.prototype.allocate_pinned_finish = Pool.prototype.allocate_finish;
    Pool.prototype.allocate_full_pinned_finish = Pool.prototype.allocate_full_finish;
    overrideAsync(Pool.prototype, 'drain', 0, () => [], {
        mayWait() {
            return this.get_active_allocations() > 0;
        },
    });
}

function overrideBudget(Budget) {
    const {_init, try_acquire, acquire_full} = Budget.prototype;
    const {WOULD_BLOCK, TIMED_OUT} = Gio.IOErrorEnum;

    Budget.prototype._init = function (properties = {}) {
        checkProperties(properties);
        _init.call(this, properties);
    };
    Budget.new = max_memory => new Budget({max_memory});
    Budget.new_child = (parent, max_memory) => {
        return new Budget({parent: checkBudget(parent, 'parent'), max_memory});
    };
    overrideLimits(Budget.prototype);

    Budget.prototype.try_acquire = function (bytes) {
        return try_acquire.call(this, integer(bytes, 'n_bytes'));
    };

    /* Fails instead of waiting, like allocate(). */
    Budget.prototype.acquire = function (bytes, cancellable = null) {
        checkCancellable(cancellable)?.set_error_if_cancelled();
        const attempt = () => this.try_acquire(bytes);
        return collectBetween(this, WOULD_BLOCK, attempt, attempt);
    };

    /* Waits if there is a timeout; without one, like acquire(). */
    Budget.prototype.acquire_full = function (bytes, timeout_us = -1, priority = GLib.PRIORITY_DEFAULT, cancellable = null) {
        const limit = checkTimeout(timeout_us) < 0 ? 0 : timeout_us;
        const parameters = [checkPriority(priority), checkCancellable(cancellable)];
        integer(bytes, 'n_bytes');
        return collectBetween(this, TIMED_OUT, () => acquire_full.call(this, bytes, 0, ...parameters),
            () => acquire_full.call(this, bytes, limit, ...parameters));
    };

    overrideAsync(Budget.prototype, 'acquire', 1, bytes => [integer(bytes, 'n_bytes')], {mayWait: () => true});
}

function overridePermit(Permit) {
    const {shrink} = Permit.prototype;

    Permit.prototype.shrink = function (bytes) {
        return shrink.call(this, integer(bytes, 'n_bytes'));
    };
}

function overrideAllocation(PoolAllocation) {
    const {fill, extract, get_buffer_bytes, shrink} = PoolAllocation.prototype;

    PoolAllocation.prototype.shrink = function (count) {
        return shrink.call(this, integer(count, 'n_buffers'));
    };

    PoolAllocation.prototype.fill = function (offset, data) {
        return fill.call(this, integer(offset, 'offset'), bytesOf(data));
    };

    PoolAllocation.prototype.extract = function (offset, size) {
        return extract.call(this, integer(offset, 'offset'), integer(size, 'size'));
    };

    PoolAllocation.prototype.get_buffer_bytes = function (index) {
        const length = this.get_length();
        if (integer(index, 'index') >= length && length > 0)
            throw new RangeError(`buffer index ${index} is out of range 0 to ${length - 1}`);
        return length > 0 ? get_buffer_bytes.call(this, index) : null;
    };

    /* Addresses are useless in JavaScript, and whether an array shares the memory of the allocation depends
     * on the version of GJS. */
    for (const name of ['get_data', 'get_first', 'get_buffer'])
        PoolAllocation.prototype[name] = undefined;

    for (const name of ['fill_from_stream', 'write_to_stream'])
        overrideTransfer(PoolAllocation.prototype, name);

    /* Each buffer is a copy: a view would hold the memory until the collector runs, and GJS 1.74 never frees
     * a GLib.Bytes after a call to one of its C methods, such as get_size(); toArray() is not one of them. */
    PoolAllocation.prototype[Symbol.iterator] = function* () {
        const size = this.get_buffer_size();

        for (let i = 0; i < this.get_length(); i++)
            yield this.extract(i * size, size).toArray();
    };
}

/* The number of bytes, without the boolean that GJS returns before it. */
function overrideTransfer(prototype, name) {
    const transfer = prototype[name];
    const kind = name === 'fill_from_stream' ? Gio.InputStream : Gio.OutputStream;
    const check = (stream, offset, size) => {
        if (!(stream instanceof kind))
            throw new TypeError(`stream must be a ${kind.name.replace('_', '.')}, not ${stream}`);
        return [stream, integer(offset, 'offset'), integer(size, 'size')];
    };

    prototype[name] = function (stream, offset, size, cancellable = null) {
        return transfer.call(this, ...check(stream, offset, size), checkCancellable(cancellable))[1];
    };
    overrideAsync(prototype, name, 3, check, {convert: ([, nBytes]) => nBytes});
}

function _init() {
    overridePool(this.Pool);
    overrideBudget(this.Budget);
    overridePermit(this.Permit);
    overrideAllocation(this.PoolAllocation);
    overrideReader(this.Reader);
}

/* A block is a GLib.Bytes, whose memory is freed when the collector finds it. So garbage is collected when the
 * pool has no block. The collector may consider the last block to be still in use, so the pool should have
 * room for two. */
function overrideReader(Reader) {
    const {_init: construct, next_block, splice} = Reader.prototype;

    Reader.prototype._init = function (properties = {}) {
        for (const [name, value] of Object.entries(properties)) {
            if (/^(n.?buffers|read.?ahead)$/i.test(name))
                integer(value, name);
        }
        construct.call(this, properties);
    };
    Reader.new = (stream, pool, n_buffers) => new Reader({stream, pool, n_buffers});

    overrideProperty(Reader.prototype, 'read_ahead', 0);

    const lacksMemory = reader =>
        reader.n_buffers * reader.pool.buffer_size > reader.pool.available_memory;

    /* Fails instead of waiting for memory, like allocate(). Use next_block_async() to wait. */
    Reader.prototype.next_block = function (cancellable = null) {
        if (this.pool && lacksMemory(this)) {
            collector.run(progressOf(this.pool));
            if (lacksMemory(this))
                this.pool.try_allocate(this.n_buffers).release();
        }
        return next_block.call(this, checkCancellable(cancellable));
    };

    Reader.prototype.splice = function (target, flags, cancellable = null) {
        return splice.call(this, target, flags, checkCancellable(cancellable));
    };

    overrideAsync(Reader.prototype, 'next_block', 0, () => []);
    overrideAsync(Reader.prototype, 'splice', 2, (target, flags) => [target, flags]);

    /* A block of this reader, or of another one, may be garbage. */
    const {next_block_async} = Reader.prototype;
    Reader.prototype.next_block_async = function (...parameters) {
        const source = this.pool && lacksMemory(this) ? this.pool : null;
        if (source === null || typeof parameters[parameters.length - 1] === 'function')
            return next_block_async.call(this, ...parameters);
        beginToWait(source);
        return next_block_async.call(this, ...parameters).finally(() => endToWait(source));
    };

    Reader.prototype[Symbol.asyncIterator] = async function* () {
        for (;;) {
            // Not a variable, which would keep the block alive while the next one is awaited.
            const result = [await this.next_block_async(GLib.PRIORITY_DEFAULT, null)];
            if (result[0] === null)
                return;
            yield result.pop();
        }
    };
}
