#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Readers from Python. Usage: test-reader.py, with the paths to the library and the overrides set."""

import asyncio
import os
import pathlib
import signal
import sys
import tempfile
import threading

import gi

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

gi.require_version("BufPool", "1.0")
from cases import when_waiting  # noqa: E402
from gi.repository import BufPool, Gio, GLib  # noqa: E402
from tap import equal, run_checks  # noqa: E402

TEXT = b"The quick brown fox jumps over the lazy dog."


def new_pool(blocks):
    return BufPool.Pool(buffer_size=8, max_memory=8 * blocks)


def memory_reader(blocks=4, text=TEXT):
    stream = Gio.MemoryInputStream.new_from_bytes(GLib.Bytes.new(text))
    return BufPool.Reader(stream=stream, pool=new_pool(blocks), n_buffers=1)


def file_reader(blocks=4, text=TEXT):
    with tempfile.NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        stream = Gio.File.new_for_path(file.name).read(None)
    return BufPool.Reader(stream=stream, pool=new_pool(blocks), n_buffers=1)


def pipe_reader(blocks=4):
    ours, theirs = os.pipe()
    stream = Gio.UnixInputStream.new(ours, True)
    return BufPool.Reader(stream=stream, pool=new_pool(blocks), n_buffers=1), theirs


def raises(code, function, *arguments):
    try:
        function(*arguments)
    except GLib.Error as error:
        assert error.matches(Gio.io_error_quark(), code), error
        return
    raise AssertionError("nothing was raised")


def check_for():
    for reader in memory_reader(), file_reader(), BufPool.Reader.new(memory_reader().get_stream(), new_pool(4), 1):
        views = []
        for view in reader:
            assert isinstance(view, memoryview) and view.readonly and view.format == "B"
            views.append(bytes(view))
            del view
        equal(b"".join(views), TEXT)
        equal([len(view) for view in views], [8, 8, 8, 8, 8, 4])
        equal(reader.props.position, len(TEXT))


def check_no_copy():
    reader = memory_reader()
    view = next(reader)
    equal(reader.get_pool().props.allocated_memory, 8)
    part = view[2:4]
    del view
    equal(reader.get_pool().props.allocated_memory, 8)
    equal(bytes(part), b"e ")
    del part
    equal(reader.get_pool().props.allocated_memory, 0)


def check_more_than_the_budget():
    """Each view of the loop is freed before the next block is needed."""
    text = os.urandom(10000)
    for reader in memory_reader(2, text), file_reader(2, text):
        copy = bytearray()
        for view in reader:
            copy += view
        equal(bytes(copy), text)


def check_error_and_position():
    reader = memory_reader()
    next(reader)
    reader.get_stream().close(None)
    raises(Gio.IOErrorEnum.CLOSED, next, reader)
    equal(reader.get_position(), 8)


def check_numbers():
    for number in 1.5, "1", None:
        try:
            BufPool.Reader(stream=Gio.MemoryInputStream(), pool=new_pool(1), n_buffers=number)
        except TypeError:
            continue
        raise AssertionError(f"{number!r} was taken")


def check_splice():
    for reader in memory_reader(), file_reader():
        target = Gio.MemoryOutputStream.new_resizable()
        assert reader.splice(target, Gio.OutputStreamSpliceFlags.CLOSE_TARGET)
        equal(target.steal_as_bytes().get_data(), TEXT)
        equal(reader.get_position(), len(TEXT))


def check_position_after_a_failed_write():
    reader = memory_reader()
    target = Gio.MemoryOutputStream.new_resizable()
    target.close(None)
    raises(Gio.IOErrorEnum.CLOSED, reader.splice, target, Gio.OutputStreamSpliceFlags.NONE)
    for function in (reader.splice, reader.splice_async):
        for bad in ((0, 0), "", None, -1, 2**32):
            try:
                function(target, bad)
                raise AssertionError(f"it took {bad!r} for flags")
            except (TypeError, OverflowError) as error:
                assert "flags" in str(error), error
    equal(reader.get_position(), 0)
    equal(bytes(next(reader)), TEXT[:8])


def check_transferred():
    """How far a failed transfer came, although its out argument is lost."""
    with new_pool(2).allocate(2) as allocation:
        with tempfile.TemporaryDirectory() as folder:
            stream = Gio.File.new_for_path(folder + "/file").create(Gio.FileCreateFlags.NONE, None)
            allocation.write_to_stream(stream, 0, 10)
            equal(allocation.get_transferred_bytes(), 10)
            stream.close(None)
            raises(Gio.IOErrorEnum.CLOSED, allocation.write_to_stream, stream, 0, 10)
            equal(allocation.get_transferred_bytes(), 0)


def check_interrupt():
    """Ctrl-C ends a wait for a silent peer, and for memory, and nothing is lost."""
    reader, writer = pipe_reader(1)
    for _ in range(2):
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        try:
            next(reader)
        except KeyboardInterrupt:
            timer.join()
            continue
        raise AssertionError("not interrupted")
    os.write(writer, b"word")
    view = next(reader)
    equal(bytes(view), b"word")
    os.write(writer, b"more")
    thread = when_waiting(reader.get_pool(), os.kill, os.getpid(), signal.SIGINT)
    try:
        next(reader)
    except KeyboardInterrupt:
        thread.join()
    else:
        raise AssertionError("not interrupted")
    del view
    equal(bytes(next(reader)), b"more")
    os.close(writer)
    equal(list(reader), [])


def check_async_for():
    async def read(reader):
        return [bytes(view) async for view in reader]

    for reader in memory_reader(2), file_reader(2):
        equal(b"".join(asyncio.run(read(reader))), TEXT)


def check_async_for_of_many():
    """Idle readers hold no threads and no memory."""

    async def read_one(reader):
        async for view in reader:
            return bytes(view)

    async def read_all():
        pairs = [pipe_reader() for _ in range(100)]
        tasks = [asyncio.ensure_future(read_one(reader)) for reader, _ in pairs]
        for _ in range(10):  # all tasks begin in the first iteration
            await asyncio.sleep(0)
        assert threading.active_count() < 10, threading.active_count()
        for reader, writer in pairs:
            equal(reader.get_pool().props.allocated_memory, 0)
            os.write(writer, b"ready")
        equal(await asyncio.gather(*tasks), [b"ready"] * 100)
        for _, writer in pairs:
            os.close(writer)

    asyncio.run(read_all())


def check_async_cancelled():
    """A cancelled task ends immediately, and the next one gets the block."""

    async def cancel():
        reader, writer = pipe_reader()
        for _ in range(3):
            try:
                await asyncio.wait_for(reader.__anext__(), 0.02)
            except asyncio.TimeoutError:
                continue
            raise AssertionError("it did not wait")
        os.write(writer, b"late")
        equal(bytes(await reader.__anext__()), b"late")
        os.close(writer)
        equal([view async for view in reader], [])

    asyncio.run(cancel())


def check_async_error():
    async def read():
        reader = memory_reader()
        reader.get_stream().close(None)
        try:
            await reader.__anext__()
        except GLib.Error as error:
            assert error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.CLOSED)
            return
        raise AssertionError("nothing was raised")

    asyncio.run(read())


def check_callback():
    reader, loop, blocks = file_reader(), GLib.MainLoop(), []

    def on_block(source, result, more):
        assert source is reader and more == "more"
        block = source.next_block_finish(result)
        if block is None:
            loop.quit()
            return
        blocks.append(block.get_data())
        source.next_block_async(GLib.PRIORITY_DEFAULT, None, on_block, "more")

    reader.next_block_async(GLib.PRIORITY_DEFAULT, None, on_block, "more")
    loop.run()
    equal(b"".join(blocks), TEXT)


CHECKS = [
    ("for: read-only views of all blocks", check_for),
    ("a view is not a copy, and holds its block", check_no_copy),
    ("more data than the limit is read", check_more_than_the_budget),
    ("an error is raised, and the position stays correct", check_error_and_position),
    ("numbers are checked", check_numbers),
    ("splice", check_splice),
    ("the position tells how much was written", check_position_after_a_failed_write),
    ("an allocation tells how much was written", check_transferred),
    ("Ctrl-C interrupts", check_interrupt),
    ("async for, in the loop of asyncio", check_async_for),
    ("many idle readers", check_async_for_of_many),
    ("a cancelled task", check_async_cancelled),
    ("an error in an async for", check_async_error),
    ("callbacks", check_callback),
]
sys.exit(run_checks(CHECKS))
