#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The relay example with real clients over loopback. Usage: test-relay.py RELAY"""

import asyncio
import hashlib
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys

RELAY = sys.argv[1]
BUDGET = 256 * 1024
MIB = 1 << 20
PATIENCE = 100


class Relay:
    """A running relay. SIGINT stops it; it has to print its report and exit successfully."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [RELAY, "--max-memory", str(BUDGET), *options], stdout=subprocess.PIPE, text=True
        )
        self.port = int(re.fullmatch(r"Listening on port (\d+)\n", self.process.stdout.readline())[1])
        self.report = None

    def peak_memory(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) * 1024

    def stop(self):
        if self.report is None:
            self.process.send_signal(signal.SIGINT)
            self.report = self.process.communicate(timeout=PATIENCE)[0]
        return self.report

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        assert self.process.returncode == 0, f"exit status {self.process.returncode}"
        out, budget = map(int, re.search(r"at most (\d+) of (\d+) bytes out", self.report).groups())
        assert 0 < out <= budget == BUDGET, self.report

    def connect(self):
        return asyncio.open_connection("127.0.0.1", self.port)


def random_bytes(size, seed):
    return hashlib.shake_128(struct.pack("q", seed)).digest(size)


async def echo(relay, size, seed):
    """Sends and receives at the same time; returns whether the received data is what was sent."""
    data = random_bytes(size, seed)
    reader, writer = await relay.connect()

    async def send():
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    received, _ = await asyncio.gather(reader.read(-1), send())
    writer.close()
    return hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


async def vanish(relay, seed):
    """Sends for a while, then resets the connection."""
    _, writer = await relay.connect()
    writer.write(random_bytes(MIB // 4, seed))
    await asyncio.sleep(0.01 * (seed % 10))
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def flood(relay):
    """A client that reads nothing and sends as much as it can. Returns the socket."""
    client = socket.create_connection(("127.0.0.1", relay.port))
    client.setblocking(False)
    return client


def push(client):
    sent = 0
    try:
        while sent < 64 * MIB:
            sent += client.send(bytes(MIB))
    except BlockingIOError:
        pass
    return sent


async def test_many_at_once():
    with Relay() as relay:
        assert await echo(relay, MIB, 0)
        before = relay.peak_memory()
        same = await asyncio.gather(*(echo(relay, MIB, seed) for seed in range(500)))
        grown = relay.peak_memory() - before
        assert same == [True] * 500
        print(f"# {relay.stop().strip()}")
        print(f"# peak resident memory grew by {grown // 1024} KiB for 500 connections, {grown // 500} bytes each")
        assert f" {501 * MIB} bytes," in relay.report and "501 connections (0 failed)" in relay.report
        # A sanitizer keeps memory for itself.
        assert os.environ.get("SANITIZED") or grown < BUDGET + 500 * 16 * 1024, grown


async def test_sizes():
    with Relay("--buffer-size", "1000", "--buffers", "3") as relay:
        sizes = [0, 1, 999, 1000, 1001, 3000, 3001, 12345]
        assert await asyncio.gather(*(echo(relay, size, size) for size in sizes)) == [True] * len(sizes)


async def test_silent_clients():
    with Relay() as relay:
        silent = [await relay.connect() for _ in range(300)]
        assert all(await asyncio.gather(*(echo(relay, MIB, seed) for seed in range(10))))
        for _, writer in silent:
            writer.close()


async def test_clients_that_do_not_read():
    with Relay() as relay:
        floods = [flood(relay) for _ in range(100)]
        loop = asyncio.get_running_loop()
        total, calm = 0, 0
        while calm < 5:
            sent = await loop.run_in_executor(None, lambda: sum(push(client) for client in floods))
            total += sent
            calm = calm + 1 if sent == 0 else 0
            await asyncio.sleep(0.05)
        print(f"# they are stuck after {total // 100} bytes each, in the buffers of the kernel")
        assert all(await asyncio.gather(*(echo(relay, MIB, seed) for seed in range(10))))
        for client in floods:
            client.close()


async def test_slow_readers():
    with Relay() as relay:

        async def read_slowly(seed):
            data = random_bytes(4 * MIB, seed)
            reader, writer = await relay.connect()
            sending = asyncio.create_task(send(writer, data))
            received = b""
            while len(received) < len(data):
                received += await reader.read(64 * 1024)
                await asyncio.sleep(0.005)
            await sending
            writer.close()
            return received == data

        async def send(writer, data):
            writer.write(data)
            await writer.drain()

        results = await asyncio.gather(
            *(read_slowly(seed) for seed in range(20)), *(echo(relay, MIB, seed) for seed in range(20))
        )
        assert all(results)


async def test_clients_that_vanish():
    with Relay() as relay:
        await asyncio.gather(
            *(vanish(relay, seed) for seed in range(100)), *(echo(relay, MIB, seed) for seed in range(5))
        )
        assert await echo(relay, MIB, 1)


async def test_forward():
    with Relay() as server, Relay("--forward", f"127.0.0.1:{server.port}") as relay:
        assert all(await asyncio.gather(*(echo(relay, MIB, seed) for seed in range(50))))
        assert server.stop().startswith("50 connections (0 failed)"), server.report


async def test_forward_to_nobody():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    relay = Relay("--forward", nobody)
    reader, _ = await relay.connect()
    assert await asyncio.wait_for(reader.read(1), PATIENCE) == b""
    assert "1 connection (1 failed)" in relay.stop()


async def test_timeout():
    with Relay("--timeout", "1") as relay:
        client = flood(relay)
        sent = push(client)
        while sent > 0:
            await asyncio.sleep(0.1)
            sent = push(client)
        assert await echo(relay, MIB, 1)
        client.close()


async def test_stop_under_load():
    with Relay() as relay:
        data = random_bytes(MIB, 1)

        async def send_for_ever(echoed):
            reader, writer = await relay.connect()
            received = 0
            try:
                while True:
                    writer.write(data)
                    chunk, _ = await asyncio.gather(reader.read(MIB), writer.drain())
                    if not chunk:
                        break
                    received += len(chunk)
                    echoed.set()
            except ConnectionError:
                pass
            return received

        events = [asyncio.Event() for _ in range(20)]
        running = [asyncio.create_task(send_for_ever(echoed)) for echoed in events]
        await asyncio.wait_for(asyncio.gather(*(echoed.wait() for echoed in events)), PATIENCE)
        await asyncio.get_running_loop().run_in_executor(None, relay.stop)
        assert all(await asyncio.gather(*running))


async def test_sizes_with_units():
    with Relay("--max-memory", "256K", "--buffer-size", "1K", "--buffers", "16") as relay:
        assert await echo(relay, MIB, 1)


async def test_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = subprocess.run(
            [RELAY, "--port", str(taken.getsockname()[1])], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert run.returncode == 1 and run.stderr.startswith("relay: "), run


async def test_bad_options():
    for options in (
        ["--max-memory", "100"], ["--buffers", "0"], ["--buffers", "65"], ["--port", "65536"], ["--port", "-1"],
        ["--buffer-size", "1G"], ["--timeout", "soon"], ["--forward", "localhost"], ["--forward", "a:b:c"],
        ["--colour"], ["word"], ["--", "word"],
    ):  # fmt: skip
        run = subprocess.run(
            [RELAY, "--max-memory", str(BUDGET), *options], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert run.returncode == 2 and run.stderr.startswith("relay: "), (options, run)


TESTS = [
    ("500 connections of 1 MiB each at once: no byte lost or altered", test_many_at_once),
    ("all sizes around the size of a request", test_sizes),
    ("clients that send nothing hold nothing", test_silent_clients),
    ("clients that read nothing are throttled, and do not delay others", test_clients_that_do_not_read),
    ("slow readers get everything", test_slow_readers),
    ("clients that vanish do no harm", test_clients_that_vanish),
    ("forwarding, in both directions", test_forward),
    ("forwarding to a closed port closes the connection", test_forward_to_nobody),
    ("a receiver that accepts nothing is dropped", test_timeout),
    ("SIGINT ends it under load", test_stop_under_load),
    ("sizes with units", test_sizes_with_units),
    ("a port that is taken", test_port_in_use),
    ("impossible options are refused", test_bad_options),
]


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    failed = 0
    print(f"1..{len(TESTS)}")
    for number, (name, test) in enumerate(TESTS, 1):
        try:
            asyncio.run(asyncio.wait_for(test(), PATIENCE))
            print("ok", number, name, flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"# {error!r}\nnot ok", number, name, flush=True)
    return failed != 0


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C"
    sys.exit(main())
