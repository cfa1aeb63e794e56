// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Readers from JavaScript. Usage: gjs test-reader.js, with the paths to the library and the overrides set.

const {BufPool, Gio, GLib} = imports.gi;
const System = imports.system;

const TEXT = 'The quick brown fox jumps over the lazy dog.';

function assert(condition, text = '') {
    if (!condition)
        throw new Error(`assertion failed: ${text}`);
}

async function fails(code, func) {
    try {
        await func();
    } catch (error) {
        assert(error instanceof GLib.Error && error.matches(Gio.IOErrorEnum, code), `${error}`);
        return;
    }
    throw new Error('nothing was thrown');
}

function refuses(func) {
    try {
        func();
    } catch (error) {
        assert(error instanceof TypeError, `${error}`);
        return;
    }
    throw new Error(`not refused: ${func}`);
}

function newPool(blocks) {
    return new BufPool.Pool({buffer_size: 8, max_memory: 8 * blocks});
}

function memoryReader(blocks = 4, text = TEXT) {
    const stream = Gio.MemoryInputStream.new_from_bytes(new GLib.Bytes(new TextEncoder().encode(text)));
    return new BufPool.Reader({stream, pool: newPool(blocks), n_buffers: 1});
}

function fileReader(blocks = 4, text = TEXT) {
    const [file, io] = Gio.File.new_tmp('test-reader-XXXXXX');
    io.output_stream.write_all(new TextEncoder().encode(text), null);
    const stream = file.read(null);
    file.delete(null);
    return BufPool.Reader.new(stream, newPool(blocks), 1);
}

async function readAll(reader) {
    let text = '';
    for await (const bytes of reader) {
        assert(bytes instanceof GLib.Bytes);
        text += new TextDecoder().decode(bytes.toArray());
    }
    return text;
}

const TESTS = {
    'for await: the bytes of all blocks': async () => {
        for (const reader of [memoryReader(), fileReader()]) {
            assert(await readAll(reader) === TEXT);
            assert(reader.position === TEXT.length, `${reader.position}`);
        }
    },
    'more data than the limit is read': async () => {
        const text = TEXT.repeat(50);
        for (const reader of [memoryReader(2, text), fileReader(2, text)])
            assert(await readAll(reader) === text);
    },
    'without a promise': () => {
        const reader = fileReader();
        assert(new TextDecoder().decode(reader.next_block(null).toArray()) === TEXT.slice(0, 8));
        while (reader.next_block(null) !== null)
            continue;
        assert(reader.position === TEXT.length);
    },
    'it fails instead of waiting for memory': async () => {
        const reader = memoryReader(1);
        const allocation = reader.pool.allocate(1);
        await fails(Gio.IOErrorEnum.WOULD_BLOCK, () => reader.next_block(null));
        allocation.release();
        assert(reader.next_block(null) !== null);
    },
    'splice': async () => {
        for (const reader of [memoryReader(), fileReader()]) {
            const target = Gio.MemoryOutputStream.new_resizable();
            // eslint-disable-next-line no-await-in-loop
            assert(await reader.splice_async(target, Gio.OutputStreamSpliceFlags.CLOSE_TARGET,
                GLib.PRIORITY_DEFAULT, null));
            assert(new TextDecoder().decode(target.steal_as_bytes().toArray()) === TEXT);
        }
    },
    'with and without the optional parameters': async () => {
        for (const others of [[], [GLib.PRIORITY_HIGH], [GLib.PRIORITY_HIGH, null]]) {
            const reader = fileReader();
            const target = Gio.MemoryOutputStream.new_resizable();
            // eslint-disable-next-line no-await-in-loop
            const block = await reader.next_block_async(...others);
            assert(new TextDecoder().decode(block.toArray()) === TEXT.slice(0, 8));
            // eslint-disable-next-line no-await-in-loop
            assert(await reader.splice_async(target, Gio.OutputStreamSpliceFlags.CLOSE_TARGET, ...others));
            assert(new TextDecoder().decode(target.steal_as_bytes().toArray()) === TEXT.slice(8));
        }
        const target = Gio.MemoryOutputStream.new_resizable();
        assert(memoryReader().splice(target, Gio.OutputStreamSpliceFlags.NONE));
        assert(memoryReader().splice(target, Gio.OutputStreamSpliceFlags.CLOSE_TARGET, new Gio.Cancellable()));
        assert(new TextDecoder().decode(target.steal_as_bytes().toArray()) === TEXT + TEXT);
    },
    'priorities and cancellables are checked': () => {
        const reader = memoryReader();
        const target = Gio.MemoryOutputStream.new_resizable();
        const callback = () => {};
        for (const bad of [1.5, 2 ** 31, -(2 ** 31) - 1, '1', null]) {
            refuses(() => reader.next_block_async(bad, callback));
            refuses(() => reader.splice_async(target, 0, bad, callback));
            refuses(() => reader.pool.allocate_async(1, bad, callback));
            refuses(() => reader.pool.allocate_full(1, 1, 0, bad));
        }
        refuses(() => reader.next_block_async(0, 'now', callback));
        refuses(() => reader.splice_async(target, 0, 0, 'now', callback));
        refuses(() => reader.splice(target, 0, 'now'));
        refuses(() => reader.next_block('now'));
        assert(new TextDecoder().decode(reader.next_block().toArray()) === TEXT.slice(0, 8));
    },
    'an error is thrown, and the position stays correct': async () => {
        const reader = memoryReader();
        await reader.next_block_async(GLib.PRIORITY_DEFAULT, null);
        reader.stream.close(null);
        await fails(Gio.IOErrorEnum.CLOSED, () => readAll(reader));
        assert(reader.position === 8);
    },
    'a cancelled request, and the next one': async () => {
        const reader = memoryReader(2);
        const allocation = reader.pool.allocate(2);
        const cancellable = new Gio.Cancellable();
        const promise = reader.next_block_async(GLib.PRIORITY_DEFAULT, cancellable);
        cancellable.cancel();
        await fails(Gio.IOErrorEnum.CANCELLED, () => promise);
        allocation.release();
        assert(await readAll(reader) === TEXT);
    },
    'numbers are checked': () => {
        const reader = BufPool.Reader.new(new Gio.MemoryInputStream(), newPool(1), 1);
        const setters = ['read_ahead', 'readAhead', 'read-ahead'].map(name => number => {
            reader[name] = number;
        });
        const calls = [number => BufPool.Reader.new(reader.stream, reader.pool, number), ...setters];
        for (const call of calls) {
            for (const number of [1.5, -1, Infinity, '1'])
                refuses(() => call(number));
        }
    },
    'an allocation knows how far a failed transfer came': async () => {
        const allocation = newPool(2).allocate(2);
        const [file, io] = Gio.File.new_tmp('test-reader-XXXXXX');
        allocation.write_to_stream(io.output_stream, 0, 10, null);
        assert(allocation.get_transferred_bytes() === 10);
        io.close(null);
        file.delete(null);
        await fails(Gio.IOErrorEnum.CLOSED, () => allocation.write_to_stream(io.output_stream, 0, 10, null));
        assert(allocation.get_transferred_bytes() === 0);
        allocation.release();
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
