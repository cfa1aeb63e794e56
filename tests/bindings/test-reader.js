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
    'more than the budget is read': async () => {
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
    'it fails where it would wait for memory': async () => {
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
    'an error is thrown, and the position stays': async () => {
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
        for (const number of [1.5, -1, Infinity, '1']) {
            try {
                BufPool.Reader.new(new Gio.MemoryInputStream(), newPool(1), number);
            } catch (error) {
                assert(error instanceof TypeError);
                continue;
            }
            throw new Error(`${number} was taken`);
        }
    },
    'an allocation tells how far a failed transfer came': async () => {
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
