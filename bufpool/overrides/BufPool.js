/* SPDX-FileCopyrightText: The libbufpool authors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What makes BufPool natural in JavaScript: promises, construction that checks, iteration, and a
 * synchronous allocate() that does not wait for what only this thread could give back. */

/* exported _init */

const {Gio, GLib} = imports.gi;
const System = imports.system;

function wholeNumber(value, name) {
    if (!Number.isSafeInteger(value) || value < 0)
        throw new TypeError(`${name} is to be a whole number, not ${value}`);
    return value;
}

/* Not Gio._promisify(), which finishes on the source object of the result: an allocation is none. The
 * promise is for the number of bytes. */
function promisifyTransfer(prototype, name) {
    const start = prototype[`${name}_async`];

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

function _init() {
    const {Pool, PoolAllocation} = this;
    const {_init: construct, allocate_timeout, try_allocate} = Pool.prototype;

    Gio._promisify(Pool.prototype, 'allocate_async', 'allocate_finish');
    Gio._promisify(Pool.prototype, 'drain_async', 'drain_finish');
    promisifyTransfer(PoolAllocation.prototype, 'fill_from_stream');
    promisifyTransfer(PoolAllocation.prototype, 'write_to_stream');

    Pool.prototype._init = function (properties = {}) {
        for (const [name, value] of Object.entries(properties)) {
            if (['buffer_size', 'max_memory', 'alignment'].includes(name))
                wholeNumber(value, name);
        }
        construct.call(this, properties);
        this.init(null);
    };

    Pool.prototype.try_allocate = function (count) {
        return try_allocate.call(this, wholeNumber(count, 'the number of buffers'));
    };

    Pool.prototype.allocate_timeout = function (count, timeout, cancellable = null) {
        return allocate_timeout.call(this, wholeNumber(count, 'the number of buffers'),
            wholeNumber(timeout, 'the timeout'), cancellable);
    };

    /* A program has one thread that runs JavaScript: while it waited, nothing that JavaScript holds
     * could come back, and it would wait for ever. So it collects what is garbage, and if that is not
     * enough it fails. Who wants to wait has allocate_async(). */
    Pool.prototype.allocate = function (count, cancellable = null) {
        if (cancellable)
            cancellable.set_error_if_cancelled();
        try {
            return this.try_allocate(count);
        } catch (error) {
            if (!(error instanceof GLib.Error) ||
                !error.matches(Gio.IOErrorEnum, Gio.IOErrorEnum.WOULD_BLOCK))
                throw error;
        }

        System.gc();
        return this.try_allocate(count);
    };

    const {allocate_async} = Pool.prototype;
    Pool.prototype.allocate_async = function (count, ...others) {
        return allocate_async.call(this, wholeNumber(count, 'the number of buffers'), ...others);
    };

    /* Whether an array shares the memory of the allocation depends on the version of GJS. */
    PoolAllocation.prototype.get_data = undefined;

    /* Each buffer as a copy: a view would hold the budget until the collector runs. */
    PoolAllocation.prototype[Symbol.iterator] = function* () {
        const size = this.get_buffer_size();

        for (let i = 0; i < this.get_length(); i++)
            yield this.extract(i * size, size).toArray();
    };
}
