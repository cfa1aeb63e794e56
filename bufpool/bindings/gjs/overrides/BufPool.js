/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What makes BufPool natural in JavaScript: promises, construction that checks, iteration, and a
 * synchronous allocate() that does not wait for what only this thread could give back. */

/* exported _init */

const {Gio, GLib} = imports.gi;
const System = imports.system;

function wholeNumber(value, name) {
    if (!Number.isSafeInteger(value) || value < 0)
        throw new TypeError(`${name} must be a non-negative integer, not ${value}`);
    return value;
}

function checkTimeout(value) {
    if (!Number.isSafeInteger(value))
        throw new TypeError(`the timeout must be an integer, not ${value}`);
    return value;
}

function checkBytes(data) {
    if (Array.isArray(data) && !data.every(byte => Number.isInteger(byte) && byte >= 0 && byte < 256))
        throw new TypeError('the data must be bytes, which are integers from 0 to 255');
    return data;
}

/* What a callback was given may be fetched once, and from where it belongs: for GLib anything else is a
 * bug in the program, and not an error. */
const unfetched = new WeakMap();

function guardAsync(prototype, name) {
    const {[`${name}_async`]: start, [`${name}_finish`]: finish} = prototype;

    prototype[`${name}_async`] = function (...parameters) {
        const callback = parameters.pop();
        if (typeof callback !== 'function')
            return start.call(this, ...parameters, callback);

        return start.call(this, ...parameters, (source, result) => {
            unfetched.set(result, {name, owner: this});
            callback(this, result);
        });
    };
    // By this Gio._promisify() knows whether there is a callback.
    Object.defineProperty(prototype[`${name}_async`], 'length', {value: start.length});

    prototype[`${name}_finish`] = function (result) {
        const operation = unfetched.get(result);
        if (operation?.name !== name || operation.owner !== this)
            throw new TypeError('the result belongs to another operation, or has already been fetched');
        unfetched.delete(result);
        return finish.call(this, result);
    };
}

/* Not Gio._promisify(), which finishes on the source object of the result: an allocation is none. The
 * promise is for the number of bytes. */
function promisifyTransfer(prototype, name) {
    const {[`${name}_async`]: start, [name]: wait} = prototype;

    prototype[name] = function (stream, offset, size, cancellable = null) {
        return wait.call(this, stream, wholeNumber(offset, 'the offset'), wholeNumber(size, 'the size'),
            cancellable);
    };

    prototype[`${name}_async`] = function (stream, offset, size, priority, cancellable, callback) {
        const transfer = whenDone =>
            start.call(this, stream, wholeNumber(offset, 'the offset'), wholeNumber(size, 'the size'),
                priority, cancellable, whenDone);

        if (callback !== undefined)
            return transfer(callback);

        return new Promise((resolve, reject) => transfer((_, result) => {
            try {
                resolve(this[`${name}_finish`](result)[1]);
            } catch (error) {
                reject(error);
            }
        }));
    };
}

/* A program has one thread that runs JavaScript: while it waited, nothing that JavaScript holds could come
 * back, and it would wait for ever. So what need not wait is tried; then what is garbage is collected; then
 * it is tried for the last time. */
function collectBetween(code, firstTry, lastTry) {
    try {
        return firstTry();
    } catch (error) {
        if (!(error instanceof GLib.Error) || !error.matches(Gio.IOErrorEnum, code))
            throw error;
    }

    System.gc();
    return lastTry();
}

function overridePool(Pool) {
    const {WOULD_BLOCK, TIMED_OUT} = Gio.IOErrorEnum;
    const {_init, allocate_timeout, try_allocate, drain_timeout, get_max_memory, set_max_memory} = Pool.prototype;

    Pool.prototype._init = function (properties = {}) {
        for (const [name, value] of Object.entries(properties)) {
            if (/^(buffer.?size|max.?memory|alignment)$/i.test(name))
                wholeNumber(value, name);
        }
        _init.call(this, properties);
        this.init(null);
    };

    Pool.new = (buffer_size, max_memory) => new Pool({buffer_size, max_memory});

    Pool.prototype.try_allocate = function (count) {
        return try_allocate.call(this, wholeNumber(count, 'the number of buffers'));
    };

    /* It fails where it would wait. Who wants to wait has allocate_async(). */
    Pool.prototype.allocate = function (count, cancellable = null) {
        cancellable?.set_error_if_cancelled();
        return collectBetween(WOULD_BLOCK, () => this.try_allocate(count), () => this.try_allocate(count));
    };

    Pool.prototype.allocate_timeout = function (count, timeout, cancellable = null) {
        checkTimeout(timeout);
        cancellable?.set_error_if_cancelled();
        return collectBetween(WOULD_BLOCK, () => this.try_allocate(count),
            () => allocate_timeout.call(this, count, timeout, cancellable));
    };

    Pool.prototype.drain_timeout = function (timeout, cancellable = null) {
        checkTimeout(timeout);
        return collectBetween(TIMED_OUT, () => drain_timeout.call(this, 0, cancellable),
            () => drain_timeout.call(this, timeout, cancellable));
    };

    /* Likewise: who wants to wait has drain_async(). */
    Pool.prototype.drain = function (cancellable = null) {
        return this.drain_timeout(0, cancellable);
    };

    Pool.prototype.set_max_memory = function (bytes) {
        set_max_memory.call(this, wholeNumber(bytes, 'the budget'));
    };
    for (const name of ['max_memory', 'maxMemory'])
        Object.defineProperty(Pool.prototype, name, {get: get_max_memory, set: Pool.prototype.set_max_memory});

    guardAsync(Pool.prototype, 'allocate');
    // allocate_async() is the pinned request of C, whose own finish function is visible, too.
    Pool.prototype.allocate_pinned_finish = Pool.prototype.allocate_finish;
    guardAsync(Pool.prototype, 'allocate_full');
    Pool.prototype.allocate_full_pinned_finish = Pool.prototype.allocate_full_finish;
    guardAsync(Pool.prototype, 'drain');
    Gio._promisify(Pool.prototype, 'allocate_async', 'allocate_finish');
    Gio._promisify(Pool.prototype, 'allocate_full_async', 'allocate_full_finish');
    Gio._promisify(Pool.prototype, 'drain_async', 'drain_finish');

    /* What is garbage may hold what it is going to wait for. Not for each of many that wait. */
    const {allocate_async, drain_async} = Pool.prototype;
    Pool.prototype.allocate_async = function (count, ...others) {
        const bytes = wholeNumber(count, 'the number of buffers') * this.buffer_size;
        if (bytes > this.available_memory && this.waiting === 0)
            System.gc();
        return allocate_async.call(this, count, ...others);
    };

    Pool.prototype.drain_async = function (...parameters) {
        if (this.active_allocations > 0 && this.waiting === 0)
            System.gc();
        return drain_async.call(this, ...parameters);
    };
}

function overrideBudget(Budget) {
    const {try_acquire} = Budget.prototype;

    Budget.prototype.try_acquire = function (bytes) {
        return try_acquire.call(this, wholeNumber(bytes, 'the number of bytes'));
    };

    /* Like allocate(): it fails where it would wait. */
    Budget.prototype.acquire = function (bytes, cancellable = null) {
        cancellable?.set_error_if_cancelled();
        return collectBetween(Gio.IOErrorEnum.WOULD_BLOCK, () => this.try_acquire(bytes), () => this.try_acquire(bytes));
    };

    guardAsync(Budget.prototype, 'acquire');
    Gio._promisify(Budget.prototype, 'acquire_async', 'acquire_finish');
}

function overrideAllocation(PoolAllocation) {
    const {fill, extract, get_buffer_bytes} = PoolAllocation.prototype;

    PoolAllocation.prototype.fill = function (offset, data) {
        return fill.call(this, wholeNumber(offset, 'the offset'), checkBytes(data));
    };

    PoolAllocation.prototype.extract = function (offset, size) {
        return extract.call(this, wholeNumber(offset, 'the offset'), wholeNumber(size, 'the size'));
    };

    PoolAllocation.prototype.get_buffer_bytes = function (index) {
        const length = this.get_length();
        if (wholeNumber(index, 'the index') >= length && length > 0)
            throw new RangeError(`buffer index ${index} is out of range 0 to ${length - 1}`);
        return length > 0 ? get_buffer_bytes.call(this, index) : null;
    };

    /* Addresses are nothing in JavaScript; and whether an array shares the memory of the allocation depends
     * on the version of GJS. */
    for (const name of ['get_data', 'get_first', 'get_buffer'])
        PoolAllocation.prototype[name] = undefined;

    for (const name of ['fill_from_stream', 'write_to_stream']) {
        guardAsync(PoolAllocation.prototype, name);
        promisifyTransfer(PoolAllocation.prototype, name);
    }

    /* Each buffer as a copy: a view would hold the budget until the collector runs; and GJS 1.74 never drops
     * a GLib.Bytes of which a method of C was called, such as get_size(), though toArray() is none. */
    PoolAllocation.prototype[Symbol.iterator] = function* () {
        const size = this.get_buffer_size();

        for (let i = 0; i < this.get_length(); i++)
            yield this.extract(i * size, size).toArray();
    };
}

function _init() {
    overridePool(this.Pool);
    overrideBudget(this.Budget);
    overrideAllocation(this.PoolAllocation);
    overrideReader(this.Reader);
}

/* A block is a GLib.Bytes, whose memory comes back when the collector has found it. So what is garbage is
 * collected when the pool has no block. The collector may take the last block that was used for one that is
 * still in use: the pool should have room for two. */
function overrideReader(Reader) {
    const {_init: construct, next_block, set_read_ahead, get_read_ahead} = Reader.prototype;

    Reader.prototype._init = function (properties = {}) {
        for (const [name, value] of Object.entries(properties)) {
            if (/^(n.?buffers|read.?ahead)$/i.test(name))
                wholeNumber(value, name);
        }
        construct.call(this, properties);
    };
    Reader.new = (stream, pool, n_buffers) => new Reader({stream, pool, n_buffers});

    Reader.prototype.set_read_ahead = function (blocks) {
        set_read_ahead.call(this, wholeNumber(blocks, 'the number of blocks'));
    };
    for (const name of ['read_ahead', 'readAhead'])
        Object.defineProperty(Reader.prototype, name, {get: get_read_ahead, set: Reader.prototype.set_read_ahead});

    const lacksMemory = reader =>
        reader.n_buffers * reader.pool.buffer_size > reader.pool.available_memory;

    /* Like allocate(), it fails where it would wait for memory. Who wants to wait has next_block_async(). */
    Reader.prototype.next_block = function (cancellable = null) {
        if (this.pool && lacksMemory(this)) {
            System.gc();
            if (lacksMemory(this))
                this.pool.try_allocate(this.n_buffers).release();
        }
        return next_block.call(this, cancellable);
    };

    guardAsync(Reader.prototype, 'next_block');
    guardAsync(Reader.prototype, 'splice');
    Gio._promisify(Reader.prototype, 'next_block_async', 'next_block_finish');
    Gio._promisify(Reader.prototype, 'splice_async', 'splice_finish');

    const {next_block_async} = Reader.prototype;
    Reader.prototype.next_block_async = function (...parameters) {
        if (this.pool && lacksMemory(this) && this.pool.waiting === 0)
            System.gc();
        return next_block_async.call(this, ...parameters);
    };

    Reader.prototype[Symbol.asyncIterator] = async function* () {
        for (;;) {
            // Without a variable here, which would keep the block while the next one is awaited.
            const result = [await this.next_block_async(GLib.PRIORITY_DEFAULT, null)];
            if (result[0] === null)
                return;
            yield result.pop();
        }
    };
}
